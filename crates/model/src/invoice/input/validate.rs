//! The rules that make an [`Invoice`] of an [`InvoiceInput`].

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::check::{At, Bounds, Mistakes, Rule, text_mistake};
use super::discount::{Discount, Taken};
use super::read::{Field, Object};
use super::{Context, CustomerInput, InvoiceInput, LineInput, TenantRef};
use crate::Code;
use crate::invoice::input::payment::{check_paid, check_payments};
use crate::invoice::totals;
use crate::invoice::totals::{LineFault, Totals, earlier};
use crate::money::decimal::render_amount;
use crate::{
    Currency, Customer, FieldError, Invalid, Invoice, Kind, Line, Status, TaxRounding, TenantId,
    bounds, id,
};

/// A line that gives back has a negative quantity; its price is not negative (EN 16931, BR-27).
const QUANTITY: Bounds = fine((
    |value| !value.is_zero(),
    Code::QuantityZero,
    "must not be 0",
));
const UNIT_PRICE: Bounds = fine((
    |value| value >= Decimal::ZERO,
    Code::UnitPriceNegative,
    "must not be negative",
));
const TAX_RATE: Bounds = fine((
    |value| value >= Decimal::ZERO && value <= Decimal::ONE,
    Code::TaxRateOutOfRange,
    "a fraction from 0 to 1: 0.2 is 20 %",
));
/// The total needs no rule of its own: it must be the sum.
pub(super) const ANY: Rule = (|_| true, Code::Invalid, "");

/// DECIMAL(18,6), and a rule.
pub(super) const fn fine(rule: Rule) -> Bounds {
    Bounds {
        below: bounds::FINE_BOUND,
        decimals: bounds::FINE_DECIMALS,
        rule,
    }
}

/// DECIMAL(18,4) in the decimals of the currency, and a rule. An unknown currency is one mistake,
/// and must not make further ones of its amounts.
pub(super) fn amount(currency: Option<Currency>, rule: Rule) -> Bounds {
    let decimals = currency.map_or(bounds::AMOUNT_DECIMALS, Currency::exponent);
    Bounds {
        below: bounds::AMOUNT_BOUND,
        decimals,
        rule,
    }
}

pub(super) fn tenant_ref(input: &InvoiceInput) -> Result<Option<TenantRef<'_>>, FieldError> {
    match (&input.tenant_id, input.tenant_external_id.as_deref()) {
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

impl InvoiceInput {
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

/// The lines with their nets, before a discount on the document and, but for the earlier rules,
/// without their taxes.
pub(super) fn check_lines(
    input: Option<Vec<Object<LineInput>>>,
    currency: Option<Currency>,
    rounding: Option<TaxRounding>,
    mistakes: &mut Mistakes,
) -> Vec<Line> {
    let Some(input) = input else {
        mistakes.missing(At::Root, "lines");
        return Vec::new();
    };
    if input.is_empty() {
        mistakes.note(
            At::Root,
            "lines",
            Code::NoLines,
            "an invoice has at least one line",
        );
    }
    if input.len() > bounds::MAX_LINES {
        mistakes.note(
            At::Root,
            "lines",
            Code::TooManyLines,
            "an invoice has at most 10,000 lines",
        );
        return Vec::new();
    }
    let check =
        |(index, Object(line))| check_line(At::Line(index), line, (currency, rounding), mistakes);
    input.into_iter().enumerate().filter_map(check).collect()
}

fn check_line(
    at: At,
    input: LineInput,
    (currency, rounding): (Option<Currency>, Option<TaxRounding>),
    mistakes: &mut Mistakes,
) -> Option<Line> {
    let sku = mistakes.text(at, "sku", input.sku, bounds::MAX_SKU);
    let description = mistakes.required_text(
        at,
        "description",
        input.description,
        bounds::MAX_DESCRIPTION,
    );
    let quantity = mistakes.required_number(at, "quantity", input.quantity, QUANTITY);
    let unit_price = mistakes.required_number(at, "unit_price", input.unit_price, UNIT_PRICE);
    let discount = Discount::check(
        at,
        input.discount,
        input.discount_percent,
        currency,
        mistakes,
    );
    let tax_rate = mistakes.number_or_zero(at, "tax_rate", input.tax_rate, TAX_RATE);
    let tax_rate = tax_rate?;
    let (description, quantity, unit_price) = (description?, quantity?, unit_price?);
    let exponent = currency?.exponent();
    let gross = quantity.saturating_mul(unit_price);
    let discount = discount.of(at, gross, (exponent, rounding), mistakes)?;
    let amounts = match rounding {
        None => earlier::line_amounts(quantity, unit_price, discount.amount, tax_rate, exponent)
            .map(|amounts| (amounts.net, amounts.tax)),
        Some(_) => totals::line_net(quantity, unit_price, discount.of_line(), exponent)
            .map(|net| (net, Decimal::ZERO)),
    };
    match amounts {
        Ok((net, tax)) => Some(Line {
            sku,
            description,
            quantity,
            unit_price,
            discount: discount.amount,
            discount_percent: discount.percent,
            document_discount: Decimal::ZERO,
            tax_rate,
            net,
            tax,
        }),
        Err(LineFault::OutOfRange) => {
            out_of_range(
                mistakes,
                at,
                "unit_price",
                "quantity x unit_price is too large",
            );
            None
        }
        Err(LineFault::DiscountExceedsLine) => {
            mistakes.note(
                at,
                "discount",
                Code::DiscountExceedsLine,
                "larger than quantity x unit_price",
            );
            None
        }
    }
}

fn out_of_range(mistakes: &mut Mistakes, at: At, name: &str, detail: &str) {
    mistakes.note(at, name, Code::AmountOutOfRange, detail);
}

/// Takes the document's discount off the lines, and gives them their taxes.
pub(super) fn put_amounts(
    discount: Discount,
    lines: &mut [Line],
    (currency, rounding): (Currency, Option<TaxRounding>),
    mistakes: &mut Mistakes,
) -> Option<Taken> {
    let taken = discount.spread(lines, (currency, rounding), mistakes)?;
    if let Some(rounding) = rounding
        && totals::tax_lines(lines, rounding, currency.exponent()).is_none()
    {
        out_of_range(mistakes, At::Root, "lines", "the total is too large");
        return None;
    }
    Some(taken)
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
                    "the lines come to {total}; what was sent is what they come to with the tax of each line rounded \
                     by itself: send \"tax_rounding\": \"line\" for that"
                ),
            ),
            false => (Code::TotalMismatch, format!("the lines come to {total}")),
        };
        mistakes.note(At::Root, "total", code, &detail);
    }
    Some(totals)
}
