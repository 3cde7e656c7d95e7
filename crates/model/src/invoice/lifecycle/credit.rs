//! Credit notes: made for an invoice, set off against it or another one.

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{NewPayment, Refusal, Step};
use crate::Code;
use crate::{Invoice, Kind, Line, Metadata, PaymentKind, Status, id};

/// How a credit note is recorded as a payment.
const METHOD: &str = "credit_note";

/// A credit note to be made of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditNote {
    /// What is credited, whatever the taxes of the lines; all lines of the invoice when none are
    /// given.
    pub lines: Option<Vec<Line>>,
    /// Day of issue.
    pub issue_date: NaiveDate,
    /// From the tenant's series.
    pub number: Option<String>,
    /// Free-form.
    pub metadata: Metadata,
    /// Whether to set it off against the invoice at once, as far as something is owed there.
    pub apply: bool,
}

/// What an application moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// The payment that the invoice got.
    pub payment_id: Uuid,
    /// How much was set off.
    pub amount: Decimal,
}

impl Invoice {
    /// Corrects the invoice: makes an issued credit note of it, and sets it off as far as something
    /// is owed. All credit notes of an invoice together never exceed its total, nor what was
    /// charged at any of its tax rates.
    ///
    /// # Errors
    /// What [`super::forbidden`] says of [`Step::Credit`]; `credit_before_invoice`,
    /// `credit_rate_not_charged`, `credit_exceeds_invoice`, `credit_exceeds_rate`,
    /// `credit_of_nothing`.
    pub fn credit(
        &mut self,
        note: CreditNote,
        now: DateTime<Utc>,
    ) -> Result<(Self, Option<Application>), Refusal> {
        self.permit(Step::Credit)?;
        if self.issue_date.is_some_and(|day| note.issue_date < day) {
            let detail = "a credit note is not issued before its invoice";
            return Err(Refusal::new(Code::CreditBeforeInvoice, detail));
        }
        let whole = note.lines.is_none();
        let mut lines = note.lines.unwrap_or_else(|| self.lines.clone());
        if whole && self.tax_rounding.is_none() {
            // They came to the discounts by earlier rules; the discounts are what counts.
            for line in &mut lines {
                line.discount_percent = None;
            }
        }
        let (totals, credited) = self.credited_with(&mut lines)?;
        let now = now.trunc_subsecs(6);
        let mut made = Self {
            id: id::new_id(now),
            tenant_id: self.tenant_id,
            external_id: None,
            number: note.number,
            kind: Kind::CreditNote,
            status: Status::Issued,
            currency: self.currency,
            customer_id: self.customer_id,
            customer: self.customer.clone(),
            issue_date: Some(note.issue_date),
            due_date: None,
            discount: lines.iter().map(|line| line.document_discount).sum(),
            discount_percent: None,
            tax_rounding: Some(self.note_rounding()),
            lines,
            payments: Vec::new(),
            credits: Some(self.id),
            subtotal: totals.subtotal,
            discount_total: totals.discount_total,
            tax_total: totals.tax_total,
            total: totals.total,
            amount_paid: Decimal::ZERO,
            amount_credited: Decimal::ZERO,
            credited: None,
            amount_due: totals.total,
            metadata: note.metadata,
            profile_version: None,
            version: 1,
            created_at: now,
            modified_at: now,
        };
        self.amount_credited += made.total;
        self.credited = credited;
        let amount = made.total.min(self.amount_due);
        let application = if note.apply && amount > Decimal::ZERO {
            let version = made.version;
            let application = set_off(&mut made, self, amount, now)?;
            // It is made in this state.
            made.version = version;
            Some(application)
        } else {
            self.touch(now);
            None
        };
        Ok((made, application))
    }
}

/// Sets what is left of a credit note off against an invoice, or `amount` of it. Changes both.
///
/// # Errors
/// What [`super::forbidden`] says of [`Step::Apply`] and of [`Step::Pay`]; `currency_mismatch`,
/// `customer_mismatch`, `credit_exceeded`, `overpayment`.
pub fn apply_credit(
    note: &mut Invoice,
    invoice: &mut Invoice,
    amount: Option<Decimal>,
    now: DateTime<Utc>,
) -> Result<Application, Refusal> {
    note.permit(Step::Apply)?;
    invoice.permit(Step::Pay)?;
    if note.currency != invoice.currency {
        let detail = format!(
            "{} cannot be set off against {}",
            note.currency, invoice.currency
        );
        return Err(Refusal::new(Code::CurrencyMismatch, detail));
    }
    if note.customer_id != invoice.customer_id {
        let detail = "the credit note is another customer's";
        return Err(Refusal::new(Code::CustomerMismatch, detail));
    }
    let amount = amount.unwrap_or_else(|| note.amount_due.min(invoice.amount_due));
    if amount > note.amount_due {
        return Err(note.beyond(Code::CreditExceeded, amount, "is left", note.amount_due));
    }
    if amount > invoice.amount_due {
        return Err(invoice.beyond(Code::Overpayment, amount, "is owed", invoice.amount_due));
    }
    set_off(note, invoice, amount, now)
}

fn set_off(
    note: &mut Invoice,
    invoice: &mut Invoice,
    amount: Decimal,
    now: DateTime<Utc>,
) -> Result<Application, Refusal> {
    // A note can be set off against one invoice in several steps: the reference says which.
    let entry = |other: &Invoice, nth: usize| NewPayment {
        reference: match nth {
            0 => format!("{METHOD}:{}", other.id),
            nth => format!("{METHOD}:{}:{}", other.id, nth + 1),
        },
        amount,
        paid_on: now.date_naive(),
        method: METHOD.to_owned(),
    };
    let nth = |of: &Invoice, other: Uuid| {
        let start = format!("{METHOD}:{other}");
        let before = |p: &&crate::Payment| p.reference.starts_with(&start);
        of.payments.iter().filter(before).count()
    };
    let (on_invoice, on_note) = (
        entry(note, nth(invoice, note.id)),
        entry(invoice, nth(note, invoice.id)),
    );
    // Both or none: the second cannot fail where the first did not, but for its number of payments.
    let (invoice_before, note_before) = (invoice.clone(), note.clone());
    let recorded = invoice
        .record(PaymentKind::Credit, on_invoice, None, now)
        .and_then(|payment_id| {
            note.record(PaymentKind::Credit, on_note, None, now)?;
            Ok(Application { payment_id, amount })
        });
    if recorded.is_err() {
        (*invoice, *note) = (invoice_before, note_before);
    }
    recorded
}
