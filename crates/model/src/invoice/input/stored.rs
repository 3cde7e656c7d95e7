//! What an exported document has that a new one has not, and what is taken as it stands there.
//!
//! One that corrects an invoice was made from what was left of that: its taxes, and the shares that
//! its lines have of a discount, are taken as sent, if they can be right.

use crate::Code;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::bounds::{ANY, amount};
use super::check::{At, Mistakes, Rule};
use super::discount::{Discount, Taken};
use super::document::{InvoiceInput, LineInput};
use super::read::{Field, Object};
use crate::invoice::totals;
use crate::{Currency, Invoice, Line, Status, TaxRounding, bounds, id};

/// Smallest units by which taxes that are rounded by line can be off: half of one a line, of an
/// invoice and of its notes.
const LINE_ROUNDINGS: Decimal = Decimal::from_parts(10_000, 0, 0, false, 0);
const _: () = assert!(bounds::MAX_LINES == 10_000);

/// What a document has that a new one has not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    version: i64,
    created_at: DateTime<Utc>,
    modified_at: DateTime<Utc>,
    cancelled: bool,
    credits: Option<Uuid>,
    amount_credited: Decimal,
}

impl InvoiceInput {
    /// Only an exported document has them.
    pub(super) fn refuse_stored(&self, mistakes: &mut Mistakes) {
        let members = [
            ("created_at", self.created_at.is_some()),
            ("modified_at", self.modified_at.is_some()),
            ("credits", self.credits.is_some()),
            ("amount_credited", self.amount_credited.is_some()),
            ("taxes", self.taxes.is_some()),
            ("subtotal", self.subtotal.is_some()),
            ("discount_total", self.discount_total.is_some()),
            ("tax_total", self.tax_total.is_some()),
            ("amount_paid", self.amount_paid.is_some()),
            ("amount_due", self.amount_due.is_some()),
        ];
        mistakes.refuse_stored(At::Root, &members);
        refuse_lines(self.lines.as_deref().unwrap_or_default(), mistakes);
    }

    pub(super) fn stored(
        &mut self,
        currency: Option<Currency>,
        now: DateTime<Utc>,
        mistakes: &mut Mistakes,
    ) -> Option<Stored> {
        let at = At::Root;
        let version = self.version?;
        if !(1..=bounds::MAX_RESTORED_VERSION).contains(&version) {
            let detail = format!("from 1 to {}", bounds::MAX_RESTORED_VERSION);
            mistakes.note(at, "version", Code::InvalidVersion, &detail);
        }
        let mut time = |name, field: Option<Field<DateTime<Utc>>>| {
            let time = mistakes.required(at, name, field)?;
            if time > now {
                mistakes.note(at, name, Code::TimeOutOfRange, "from 1970 until now");
            }
            Some(time)
        };
        let created_at = time("created_at", self.created_at.take());
        let modified_at = time("modified_at", self.modified_at.take());
        if created_at > modified_at && modified_at.is_some() {
            let detail = "must not be before created_at";
            mistakes.note(at, "modified_at", Code::TimeOutOfRange, detail);
        }
        // Read for its form alone: records are the tenant's.
        mistakes.optional(at, "customer_id", self.customer_id.take());
        let credits = mistakes.optional(at, "credits", self.credits.take());
        if let Some(Err(error)) = credits.map(|id| id::check_client_id(id, now)) {
            mistakes.add(error.at("credits"));
        }
        let cancelled = matches!(self.status, Some(Field(Ok(Status::Cancelled))));
        let amount_credited = mistakes.number_or_zero(
            at,
            "amount_credited",
            self.amount_credited.take(),
            amount(currency, NOT_NEGATIVE),
        );
        Some(Stored {
            version,
            created_at: created_at?,
            modified_at: modified_at?,
            cancelled,
            credits,
            amount_credited: amount_credited?,
        })
    }
}

/// What a document says of its lines, in their order.
pub(super) struct Told(Vec<ToldLine>);

struct ToldLine {
    document_discount: Decimal,
    tax: Decimal,
}

impl Stored {
    /// What is taken as told, of a document that corrects another.
    pub(super) fn told(
        self,
        lines: Option<&[Object<LineInput>]>,
        currency: Option<Currency>,
        mistakes: &mut Mistakes,
    ) -> Option<Told> {
        self.credits?;
        let line = |(index, Object(line)): (usize, &Object<LineInput>)| {
            let mut told = |name, field: &Option<Box<Field<Decimal>>>| {
                let field = field.as_deref().cloned();
                let value = mistakes.number(At::Line(index), name, field, amount(currency, ANY));
                value.unwrap_or_default()
            };
            ToldLine {
                document_discount: told("document_discount", &line.document_discount),
                tax: told("tax", &line.tax),
            }
        };
        // No more than any document has; the check of the lines says so.
        let lines = lines.unwrap_or_default().iter().take(bounds::MAX_LINES);
        Some(Told(lines.enumerate().map(line).collect()))
    }
}

impl Told {
    /// Gives the lines what was told of them.
    pub(super) fn put(
        self,
        discount: Discount,
        lines: &mut [Line],
        (currency, rounding): (Currency, Option<TaxRounding>),
        mistakes: &mut Mistakes,
    ) -> Option<Taken> {
        let exponent = currency.exponent();
        let sum: Decimal = lines.iter().map(|line| line.net).sum();
        let taken = discount.of(At::Root, sum, (exponent, rounding), mistakes)?;
        let shares: Decimal = self.0.iter().map(|told| told.document_discount).sum();
        let mut right = shares == taken.amount && self.0.len() == lines.len();
        for (line, told) in lines.iter_mut().zip(self.0) {
            let share = told.document_discount;
            // Off the line, and at most all of it.
            let (from, to) = (line.net.min(Decimal::ZERO), line.net.max(Decimal::ZERO));
            right &= from <= share && share <= to;
            line.document_discount = share;
            line.net -= share;
            line.tax = told.tax;
        }
        if right && taxes_can_be_right(lines, rounding, exponent) {
            return Some(taken);
        }
        let detail = "their taxes or shares of the discount do not follow from the rest";
        mistakes.note(At::Root, "lines", Code::InconsistentDocument, detail);
        None
    }
}

/// Whether the tax of each rate is near its net times the rate.
///
/// By document it is within two roundings of it; what is asked for is a unit of the currency, or a
/// hundred of its smallest. By line, the note that takes the rest of a rate takes what the
/// roundings of the invoice's lines and of the notes before have left, half a smallest unit a line:
/// as many as documents have lines at most, on the invoice and on notes. The note itself can have
/// one line.
fn taxes_can_be_right(lines: &[Line], rounding: Option<TaxRounding>, exponent: u32) -> bool {
    let unit = Decimal::ONE.max(Decimal::new(100, exponent));
    let most = match rounding {
        Some(TaxRounding::Document) => unit,
        Some(TaxRounding::Line) | None => unit.max(LINE_ROUNDINGS * Decimal::new(1, exponent)),
    };
    let near = |tax: Decimal, expected: Decimal| (tax - expected).abs() <= most;
    lines
        .iter()
        .all(|line| near(line.tax, line.net * line.tax_rate))
        && totals::taxes(lines)
            .iter()
            .all(|of| near(of.tax, of.net * of.rate))
}

/// Only lines of an exported document have them.
pub(super) fn refuse_lines(lines: &[Object<LineInput>], mistakes: &mut Mistakes) {
    for (index, Object(line)) in lines.iter().enumerate() {
        let members = [
            ("document_discount", line.document_discount.is_some()),
            ("net", line.net.is_some()),
            ("tax", line.tax.is_some()),
        ];
        mistakes.refuse_stored(At::Line(index), &members);
    }
}

impl Stored {
    /// The document with what it had.
    pub(super) fn into(self, made: Invoice) -> Invoice {
        let (status, amount_due) = match self.cancelled {
            true => (Status::Cancelled, Decimal::ZERO),
            false => (made.status, made.amount_due),
        };
        Invoice {
            status,
            amount_due,
            credits: self.credits,
            amount_credited: self.amount_credited,
            version: self.version,
            created_at: self.created_at,
            modified_at: self.modified_at,
            ..made
        }
    }
}

const NOT_NEGATIVE: Rule = (
    |value| value >= Decimal::ZERO,
    Code::AmountNegative,
    "must not be negative",
);
