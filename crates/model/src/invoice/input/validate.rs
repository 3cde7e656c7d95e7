//! The rules that make an [`Invoice`] of an [`InvoiceInput`].

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::bounds::{ANY, amount};
use super::check::{At, Mistakes, text_mistake};
use super::discount::Discount;
use super::document::{Context, CustomerInput, InvoiceInput, TenantRef};
use super::lines::{check_lines, out_of_range, put_amounts};
use super::payment::{check_paid, check_payments};
use super::read::{Field, Object};
use crate::Code;
use crate::invoice::totals;
use crate::invoice::totals::Totals;
use crate::money::decimal::render_amount;
use crate::{
    Currency, Customer, FieldError, Invalid, Invoice, Kind, Line, Status, TaxRounding, TenantId,
    bounds, id,
};

impl InvoiceInput {
    /// The tenant that the document names, if it names one.
    ///
    /// # Errors
    /// `invalid_uuid`; the codes of `tenant_external_id` as a text; `tenant_ambiguous` when both
    /// are named.
    pub fn tenant_ref(&self) -> Result<Option<TenantRef<'_>>, FieldError> {
        match (&self.tenant_id, self.tenant_external_id.as_deref()) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(FieldError::new(
                "tenant_id",
                Code::TenantAmbiguous,
                "name tenant_id or tenant_external_id, not both",
            )),
            (Some(Field(Ok(tenant))), None) => Ok(Some(TenantRef::Id(TenantId(*tenant)))),
            (Some(Field(Err(error))), None) => Err((**error).clone().at("tenant_id")),
            (None, Some(text)) => {
                if let Some((code, detail)) = text_mistake(text, bounds::MAX_EXTERNAL_ID) {
                    return Err(FieldError::new("tenant_external_id", code, detail));
                }
                if text.trim().is_empty() {
                    return Err(FieldError::new(
                        "tenant_external_id",
                        Code::StringEmpty,
                        "must not be empty",
                    ));
                }
                Ok(Some(TenantRef::ExternalId(text)))
            }
        }
    }

    /// Validates, computes the totals and the status, and makes the invoice: version 1, made now.
    ///
    /// `tenant_id` and `tenant_external_id` are not looked at: the caller checks who may name a
    /// tenant. Of a customer named by `customer`, the snapshot is set and `customer_id` left open;
    /// the other way round for `customer_id`: the store fills in the rest.
    ///
    /// # Errors
    /// All mistakes, at most 100, each with its code and field.
    pub fn into_invoice(self, context: &Context) -> Result<Invoice, Invalid> {
        let mut mistakes = Mistakes::default();
        if self.is_stored() {
            let detail = "only bulk ingestion takes an exported document";
            mistakes.note(At::Root, "version", Code::UnknownField, detail);
        }
        let invoice = self.build(context, &mut mistakes);
        mistakes.into_result(invoice)
    }

    /// The one way from an input to an invoice; an exported document is not compared with itself
    /// yet.
    pub(super) fn build(mut self, context: &Context, mistakes: &mut Mistakes) -> Option<Invoice> {
        let at = At::Root;
        let now = context.now.trunc_subsecs(6);
        let is_stored = self.is_stored();
        if !is_stored {
            self.refuse_stored(mistakes);
        }
        let sent_id = self.id.is_some();
        let client_id = check_id(self.id.take(), now, mistakes);
        let external_id = self.external_id.take();
        let external_id = mistakes.filled(at, "external_id", external_id, bounds::MAX_EXTERNAL_ID);
        let number = mistakes.filled(at, "number", self.number.take(), bounds::MAX_NUMBER);
        let kind = mistakes
            .optional(at, "kind", self.kind.take())
            .unwrap_or(Kind::Invoice);
        let currency = mistakes.required(at, "currency", self.currency.take());
        if is_stored && !sent_id {
            mistakes.missing(at, "id");
        }
        let stored = self.stored(currency, now, mistakes);
        let (customer_id, customer) = if is_stored {
            (None, check_stored_customer(self.customer, mistakes))
        } else {
            check_customers(self.customer_id, self.customer, mistakes)
        };
        let (issued, issue_date) = if is_stored {
            let status = mistakes.required(at, "status", self.status);
            let date = mistakes.date(at, "issue_date", self.issue_date);
            (status != Some(Status::Draft), date)
        } else {
            check_status(self.status, self.issue_date, now, mistakes)
        };
        let due_date = mistakes.date(at, "due_date", self.due_date);
        if issue_date
            .zip(due_date)
            .is_some_and(|(issue, due)| due < issue)
        {
            mistakes.note(
                at,
                "due_date",
                Code::DueBeforeIssue,
                "must not be before issue_date",
            );
        }
        let tax_rounding = mistakes.optional(at, "tax_rounding", self.tax_rounding);
        // What was stored before there was a choice does not say, and keeps the rules of that time.
        let tax_rounding = match is_stored {
            true => tax_rounding,
            false => Some(tax_rounding.unwrap_or(TaxRounding::Document)),
        };
        let told = stored.and_then(|stored| stored.told(self.lines.as_deref(), currency, mistakes));
        let mut lines = check_lines(self.lines, currency, tax_rounding, mistakes);
        let (amount_off, percent_off) = (self.discount, self.discount_percent);
        let discount = match told {
            Some(_) => Discount::of_credit(amount_off, percent_off, currency, mistakes),
            None => Discount::check(at, amount_off, percent_off, currency, mistakes),
        };
        let payments = check_payments(self.payments, currency, issued, (now, is_stored), mistakes);
        let metadata = mistakes
            .optional(at, "metadata", self.metadata)
            .unwrap_or_default();
        let sent_total = mistakes.number(at, "total", self.total, amount(currency, ANY));

        // Sums of mistaken parts would only add mistakes that are none.
        if !mistakes.none() {
            return None;
        }
        let currency = currency?;
        let rules = (currency, tax_rounding);
        let discount = match told {
            Some(told) => told.put(discount, &mut lines, rules, mistakes)?,
            None => put_amounts(discount, &mut lines, rules, mistakes)?,
        };
        let totals = check_totals(&lines, sent_total, rules, mistakes)?;
        let by_line = || totals::total_by_line(&lines, currency.exponent());
        let amount_paid = check_paid(&payments, (totals.total, currency), by_line, mistakes)?;
        let invoice = Invoice {
            id: client_id.unwrap_or_else(|| choose_id(issue_date, now)),
            tenant_id: context.tenant_id,
            external_id,
            number,
            kind,
            status: totals::status_for(totals.total, amount_paid, issued),
            currency,
            customer_id,
            customer,
            issue_date,
            due_date,
            lines,
            payments,
            credits: None,
            discount: discount.amount,
            discount_percent: discount.percent,
            tax_rounding,
            subtotal: totals.subtotal,
            discount_total: totals.discount_total,
            tax_total: totals.tax_total,
            total: totals.total,
            amount_paid,
            amount_credited: Decimal::ZERO,
            credited: None,
            amount_due: totals.total - amount_paid,
            metadata,
            profile_version: None,
            version: 1,
            created_at: now,
            modified_at: now,
        };
        Some(match stored {
            Some(stored) => stored.into(invoice),
            None => invoice,
        })
    }
}

/// The id of an invoice whose client sent none: its own date is its issue date when it is imported.
fn choose_id(issue_date: Option<NaiveDate>, now: DateTime<Utc>) -> Uuid {
    match issue_date {
        Some(date) if date < now.date_naive() => id::id_for_date(date),
        _ => id::new_id(now),
    }
}

fn check_id(
    field: Option<Field<Uuid>>,
    now: DateTime<Utc>,
    mistakes: &mut Mistakes,
) -> Option<Uuid> {
    let client_id = mistakes.optional(At::Root, "id", field)?;
    match id::check_client_id(client_id, now) {
        Ok(()) => Some(client_id),
        Err(error) => {
            mistakes.add(error);
            None
        }
    }
}

/// Whether the invoice is issued, and its issue date. A date issues it, unless it says that it is a
/// draft.
fn check_status(
    status: Option<Field<Status>>,
    issue_date: Option<Field<NaiveDate>>,
    now: DateTime<Utc>,
    mistakes: &mut Mistakes,
) -> (bool, Option<NaiveDate>) {
    let dated = issue_date.is_some();
    let issue_date = mistakes.date(At::Root, "issue_date", issue_date);
    let issued = match status {
        None => dated,
        Some(Field(Ok(Status::Draft))) => false,
        Some(Field(Ok(Status::Issued))) => true,
        Some(_) => {
            mistakes.note(
                At::Root,
                "status",
                Code::InvalidStatus,
                "only draft or issued can be sent",
            );
            return (true, issue_date);
        }
    };
    (
        issued,
        if issued && !dated {
            Some(now.date_naive())
        } else {
            issue_date
        },
    )
}

/// The customer, by one of its two names.
fn check_customers(
    id: Option<Field<Uuid>>,
    customer: Option<Object<CustomerInput>>,
    mistakes: &mut Mistakes,
) -> (Option<Uuid>, Option<Customer>) {
    if id.is_some() && customer.is_some() {
        mistakes.note(
            At::Root,
            "customer",
            Code::CustomerAmbiguous,
            "name customer_id or customer, not both",
        );
    }
    let id = mistakes.optional(At::Root, "customer_id", id);
    (
        id,
        customer.and_then(|Object(customer)| check_customer(customer, mistakes)),
    )
}

/// A stored document shows its customer, also one that never had a key.
fn check_stored_customer(
    customer: Option<Object<CustomerInput>>,
    mistakes: &mut Mistakes,
) -> Option<Customer> {
    let Object(mut customer) = customer?;
    let key = customer.external_id.take();
    let external_id = mistakes.filled(At::Customer, "external_id", key, bounds::MAX_EXTERNAL_ID);
    check_shown(external_id, customer, mistakes)
}

fn check_customer(mut input: CustomerInput, mistakes: &mut Mistakes) -> Option<Customer> {
    let key = input.external_id.take();
    let external_id =
        mistakes.required_text(At::Customer, "external_id", key, bounds::MAX_EXTERNAL_ID);
    let shown = check_shown(external_id, input, mistakes)?;
    shown.external_id.is_some().then_some(shown)
}

fn check_shown(
    external_id: Option<String>,
    input: CustomerInput,
    mistakes: &mut Mistakes,
) -> Option<Customer> {
    let at = At::Customer;
    let name = mistakes.required_text(at, "name", input.name, bounds::MAX_CUSTOMER_NAME);
    Some(Customer {
        email: mistakes.text(at, "email", input.email, bounds::MAX_EMAIL),
        tax_id: mistakes.text(at, "tax_id", input.tax_id, bounds::MAX_TAX_ID),
        address: mistakes.text(at, "address", input.address, bounds::MAX_ADDRESS),
        country: mistakes.text(at, "country", input.country, bounds::MAX_COUNTRY),
        external_id,
        name: name?,
    })
}

fn check_totals(
    lines: &[Line],
    sent: Option<Decimal>,
    (currency, rounding): (Currency, Option<TaxRounding>),
    mistakes: &mut Mistakes,
) -> Option<Totals> {
    let Some(totals) = totals::totals(lines) else {
        out_of_range(mistakes, At::Root, "lines", "the total is too large");
        return None;
    };
    if totals.total < Decimal::ZERO {
        let detail = "the lines come to less than nothing: that is a credit note";
        mistakes.note(At::Root, "lines", Code::NegativeTotal, detail);
        return None;
    }
    if let Some(sent) = sent.filter(|sent| *sent != totals.total) {
        let exponent = currency.exponent();
        let total = render_amount(totals.total, exponent);
        let by_line = rounding == Some(TaxRounding::Document)
            && totals::total_by_line(lines, exponent) == Some(sent);
        let (code, detail) = match by_line {
            true => (
                Code::TotalFitsLineRounding,
                format!(
                    "the lines come to {total}; what was sent is what they come to with the tax of \
                    each line rounded \
                     by itself: send \"tax_rounding\": \"line\" for that"
                ),
            ),
            false => (Code::TotalMismatch, format!("the lines come to {total}")),
        };
        mistakes.note(At::Root, "total", code, &detail);
    }
    Some(totals)
}
