//! The documents of the steps of an invoice's life: issue, send, cancel, payments, credit notes.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::bounds::amount;
use super::check::{At, Mistakes, Rule};
use super::discount::Discount;
use super::document::LineInput;
use super::lines::check_lines;
use super::parse::{ParseError, explain};
use super::payment::check_paid_on;
use super::read::{Field, Object};
use super::stored::refuse_lines;
use super::syntax;
use crate::Code;
use crate::invoice::lifecycle::{NewPayment, Reversal};
use crate::{Currency, Invalid, Line, Metadata, TaxRounding, bounds};

const MOVED: Rule = (
    |value| value > Decimal::ZERO,
    Code::PaymentNotPositive,
    "must be greater than 0",
);
/// The method of a payment that names none.
const METHOD: &str = "other";

/// What a document of this module is read as.
pub trait Body: Sized {
    /// Reads one JSON document; nothing at all is an empty one.
    ///
    /// # Errors
    /// As [`crate::InvoiceInput::parse`].
    fn parse(bytes: &[u8]) -> Result<Self, ParseError>;
}

macro_rules! body {
    ($($type:ty),*) => {$(
        impl Body for $type {
            fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
                read(bytes)
            }
        }
    )*};
}

body!(
    IssueInput,
    SendInput,
    CancelInput,
    RecallInput,
    PaymentBody,
    ReversalInput,
    ApplyInput,
    CreditNoteInput
);

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    let text = syntax::text(bytes)?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    match serde_json::from_str(text) {
        Ok(Object(input)) => Ok(input),
        Err(_) => Err(explain::<T>(text)),
    }
}

/// How a draft is issued.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueInput {
    issue_date: Option<Field<NaiveDate>>,
    due_date: Option<Field<NaiveDate>>,
}

impl IssueInput {
    /// Issue date and due date, where given.
    ///
    /// # Errors
    /// `invalid_date`, `date_out_of_range`.
    pub fn dates(self) -> Result<(Option<NaiveDate>, Option<NaiveDate>), Invalid> {
        let mut mistakes = Mistakes::default();
        let issue = mistakes.date(At::Root, "issue_date", self.issue_date);
        let due = mistakes.date(At::Root, "due_date", self.due_date);
        mistakes.into_result(Some((issue, due)))
    }
}

/// To whom and how a document was sent: kept in the event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendInput {
    channel: Option<String>,
    recipient: Option<String>,
}

impl SendInput {
    /// Channel and recipient.
    ///
    /// # Errors
    /// `string_empty`, `string_too_long`, `string_has_nul`.
    pub fn check(self) -> Result<(Option<String>, Option<String>), Invalid> {
        let mut mistakes = Mistakes::default();
        let channel = mistakes.filled(At::Root, "channel", self.channel, bounds::MAX_METHOD);
        let to = mistakes.filled(At::Root, "recipient", self.recipient, bounds::MAX_EMAIL);
        mistakes.into_result(Some((channel, to)))
    }
}

/// Why a document is cancelled: kept in the event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelInput {
    reason: Option<String>,
}

impl CancelInput {
    /// The reason.
    ///
    /// # Errors
    /// `string_empty`, `string_too_long`, `string_has_nul`.
    pub fn check(self) -> Result<Option<String>, Invalid> {
        let mut mistakes = Mistakes::default();
        let reason = mistakes.filled(At::Root, "reason", self.reason, bounds::MAX_DESCRIPTION);
        mistakes.into_result(Some(reason))
    }
}

/// A recall needs nothing but the invoice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecallInput {}

/// A payment or a refund.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    reference: Option<String>,
    amount: Option<Field<Decimal>>,
    paid_on: Option<Field<NaiveDate>>,
    method: Option<String>,
}

impl PaymentBody {
    /// The payment; the invoice, once it is read, checks the amount's decimals.
    ///
    /// # Errors
    /// All mistakes, each with its code and field.
    pub fn check(self, now: DateTime<Utc>) -> Result<NewPayment, Invalid> {
        let mut mistakes = Mistakes::default();
        let at = At::Root;
        let reference =
            mistakes.required_text(at, "reference", self.reference, bounds::MAX_REFERENCE);
        let amount = mistakes.required_number(at, "amount", self.amount, amount(None, MOVED));
        let paid_on = check_paid_on(at, self.paid_on, now, &mut mistakes);
        let method = mistakes.filled(at, "method", self.method, bounds::MAX_METHOD);
        let payment = reference.zip(amount).map(|(reference, amount)| NewPayment {
            reference,
            amount,
            paid_on: paid_on.unwrap_or_else(|| now.date_naive()),
            method: method.unwrap_or_else(|| METHOD.to_owned()),
        });
        mistakes.into_result(payment)
    }
}

/// How a payment is taken back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReversalInput {
    reference: Option<String>,
    paid_on: Option<Field<NaiveDate>>,
    reason: Option<String>,
}

impl ReversalInput {
    /// The reversal of `payment_id`, and the reason.
    ///
    /// # Errors
    /// All mistakes, each with its code and field.
    pub fn check(
        self,
        payment_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(Reversal, Option<String>), Invalid> {
        let mut mistakes = Mistakes::default();
        let at = At::Root;
        let reference = mistakes.filled(at, "reference", self.reference, bounds::MAX_REFERENCE);
        let paid_on = check_paid_on(at, self.paid_on, now, &mut mistakes);
        let reason = mistakes.filled(at, "reason", self.reason, bounds::MAX_DESCRIPTION);
        let reversal = Reversal {
            payment_id,
            reference,
            paid_on,
        };
        mistakes.into_result(Some((reversal, reason)))
    }
}

/// What a credit note is applied to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyInput {
    invoice_id: Option<Field<Uuid>>,
    amount: Option<Field<Decimal>>,
}

impl ApplyInput {
    /// The invoice, and the amount where not all of it is meant.
    ///
    /// # Errors
    /// All mistakes, each with its code and field.
    pub fn check(self) -> Result<(Uuid, Option<Decimal>), Invalid> {
        let mut mistakes = Mistakes::default();
        let invoice = mistakes.required(At::Root, "invoice_id", self.invoice_id);
        let amount = mistakes.number(At::Root, "amount", self.amount, amount(None, MOVED));
        mistakes.into_result(invoice.map(|invoice| (invoice, amount)))
    }
}

/// A credit note on an invoice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditNoteInput {
    lines: Option<Vec<Object<LineInput>>>,
    discount: Option<Field<Decimal>>,
    discount_percent: Option<Field<Decimal>>,
    issue_date: Option<Field<NaiveDate>>,
    reason: Option<String>,
    apply: Option<bool>,
    metadata: Option<Field<Metadata>>,
}

/// A credit note whose lines still need the invoice's currency.
#[derive(Clone, Debug)]
pub struct CreditNoteRequest {
    input: CreditNoteInput,
    /// Day of issue, where given.
    pub issue_date: Option<NaiveDate>,
    /// For the event.
    pub reason: Option<String>,
    /// Whether to set it off at once.
    pub apply: bool,
    /// Free-form.
    pub metadata: Metadata,
}

impl CreditNoteInput {
    /// Checks what needs no invoice.
    ///
    /// # Errors
    /// All mistakes, each with its code and field.
    pub fn check(mut self) -> Result<CreditNoteRequest, Invalid> {
        let mut mistakes = Mistakes::default();
        let at = At::Root;
        let issue_date = mistakes.date(at, "issue_date", self.issue_date.take());
        let reason = mistakes.filled(at, "reason", self.reason.take(), bounds::MAX_DESCRIPTION);
        let metadata = mistakes
            .optional(at, "metadata", self.metadata.take())
            .unwrap_or_default();
        // Without a currency as fine as the finest: mistakes of form are told before anything is
        // read.
        drop(check_lines_of(self.clone(), None, &mut mistakes));
        let request = CreditNoteRequest {
            apply: self.apply.unwrap_or(true),
            input: self,
            issue_date,
            reason,
            metadata,
        };
        mistakes.into_result(Some(request))
    }
}

impl CreditNoteRequest {
    /// The lines in the invoice's currency, without their taxes, which depend on the invoice;
    /// `None` when all of it is meant.
    ///
    /// # Errors
    /// All mistakes, each with its code and field.
    pub fn lines(&self, currency: Currency) -> Result<Option<Vec<Line>>, Invalid> {
        let mut mistakes = Mistakes::default();
        let lines = check_lines_of(self.input.clone(), Some(currency), &mut mistakes);
        mistakes.into_result(Some(lines))
    }
}

fn check_lines_of(
    input: CreditNoteInput,
    currency: Option<Currency>,
    mistakes: &mut Mistakes,
) -> Option<Vec<Line>> {
    let at = At::Root;
    let discount = Discount::check(
        at,
        input.discount,
        input.discount_percent,
        currency,
        mistakes,
    );
    let Some(lines) = input.lines else {
        // All of the invoice is meant, with the discounts that it has.
        if !discount.is_nothing() {
            let detail = "a discount is taken off the lines that are credited: send them as well";
            mistakes.note(at, "lines", Code::MissingField, detail);
        }
        return None;
    };
    refuse_lines(&lines, mistakes);
    // Nets are the same for both.
    let rounding = Some(TaxRounding::Line);
    let mut lines = check_lines(Some(lines), currency, rounding, mistakes);
    if let Some(currency) = currency.filter(|_| mistakes.none()) {
        discount.spread(&mut lines, (currency, rounding), mistakes)?;
    }
    Some(lines)
}
