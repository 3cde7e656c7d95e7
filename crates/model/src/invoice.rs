//! The invoice document, as both tiers store it and as the API answers it.

pub mod input;
pub mod lifecycle;
pub mod totals;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::Code;
use crate::{Credited, Currency, FieldError, Metadata, TaxRounding, TenantId};

mod render;

/// What the document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Money that the customer owes.
    Invoice,
    /// Money that is credited to the customer. Amounts are positive here as well.
    CreditNote,
}

/// Where the invoice is in its life. `overdue` is derived, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not yet given to the customer.
    Draft,
    /// Given to the customer, nothing paid.
    Issued,
    /// Paid in part.
    PartiallyPaid,
    /// Nothing is owed any more.
    Paid,
    /// Withdrawn.
    Cancelled,
}

/// The customer as the invoice shows it: a snapshot taken when the invoice is written, so that an
/// issued document never changes because the customer's record did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customer {
    /// The tenant's own key for the customer.
    pub external_id: Option<String>,
    /// Name.
    pub name: String,
    /// Email address.
    pub email: Option<String>,
    /// Tax registration, VAT number for example.
    pub tax_id: Option<String>,
    /// Postal address as one text.
    pub address: Option<String>,
    /// Country, as the tenant writes it.
    pub country: Option<String>,
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Article number.
    pub sku: Option<String>,
    /// What was sold.
    pub description: String,
    /// How many, at most 6 decimals.
    pub quantity: Decimal,
    /// Price of one, at most 6 decimals (usage is priced below the cent).
    pub unit_price: Decimal,
    /// Amount taken off the line before rounding, in the currency's decimals.
    pub discount: Decimal,
    /// The percentage that `discount` was given as: 10 is 10 %. At most 6 decimals.
    pub discount_percent: Option<Decimal>,
    /// The line's share of the document's discount, in the currency's decimals.
    pub document_discount: Decimal,
    /// A fraction: 0.2 is 20 %. At most 6 decimals.
    pub tax_rate: Decimal,
    /// round(quantity x unit_price - discount), half up to the currency's exponent, less
    /// `document_discount`.
    pub net: Decimal,
    /// round(net x tax_rate).
    pub tax: Decimal,
}

/// What a payment records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PaymentKind {
    /// Money that came in; on a credit note, money that was paid out.
    #[default]
    Payment,
    /// A payment taken back: negative, and names the payment.
    Reversal,
    /// Money given back to the customer: negative on an invoice, and what a credit note is settled
    /// with.
    Refund,
    /// A credit note set off against an invoice; recorded on both.
    Credit,
}

/// One payment on an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// UUIDv7.
    pub id: Uuid,
    /// The payer's or bank's reference, unique on the invoice.
    pub reference: String,
    /// What it records.
    pub kind: PaymentKind,
    /// Amount in the invoice's currency; negative where it takes back.
    pub amount: Decimal,
    /// The day on which the money came in.
    pub paid_on: NaiveDate,
    /// `bank_transfer`, `card`, ...: free text of the tenant.
    pub method: String,
    /// The payment that a reversal takes back.
    pub reverses: Option<Uuid>,
}

/// A whole invoice. The same value comes back from both tiers, and [`Invoice::render`] makes the
/// same bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// UUIDv7 whose time is the invoice's own date.
    pub id: Uuid,
    /// The owner of the document.
    pub tenant_id: TenantId,
    /// The tenant's own key, unique per tenant and year.
    pub external_id: Option<String>,
    /// Invoice number, unique per tenant and year.
    pub number: Option<String>,
    /// Invoice or credit note.
    pub kind: Kind,
    /// State.
    pub status: Status,
    /// ISO 4217.
    pub currency: Currency,
    /// The customer's record.
    pub customer_id: Option<Uuid>,
    /// The customer as shown on the document.
    pub customer: Option<Customer>,
    /// Day of issue; none on a draft that has no date yet.
    pub issue_date: Option<NaiveDate>,
    /// Day on which payment is due.
    pub due_date: Option<NaiveDate>,
    /// In document order; position is index + 1.
    pub lines: Vec<Line>,
    /// In order of recording (by id).
    pub payments: Vec<Payment>,
    /// On a credit note: the invoice that it corrects.
    pub credits: Option<Uuid>,
    /// Discount on the whole document, spread over its lines.
    pub discount: Decimal,
    /// The percentage that `discount` was given as: 10 is 10 %.
    pub discount_percent: Option<Decimal>,
    /// How its tax is rounded. None on what was stored before there was a choice: by line, and by
    /// the discounts' rules of that time.
    pub tax_rounding: Option<TaxRounding>,
    /// Sum of the lines' nets.
    pub subtotal: Decimal,
    /// Sum of all discounts, the lines' own and the document's.
    pub discount_total: Decimal,
    /// Sum of the lines' taxes.
    pub tax_total: Decimal,
    /// `subtotal + tax_total`.
    pub total: Decimal,
    /// Sum of payments.
    pub amount_paid: Decimal,
    /// Sum of the totals of its credit notes, whether set off against it or not.
    pub amount_credited: Decimal,
    /// What its credit notes took, by rate. None where there is no credit note, or where the first
    /// of them came before this was kept. Not part of the document that clients see.
    pub credited: Option<Credited>,
    /// `total - amount_paid`; zero on a cancelled invoice.
    pub amount_due: Decimal,
    /// Free-form, in jsonb's normal form. `{}` when none was sent.
    pub metadata: Metadata,
    /// The version of the tenant's profile that the document was issued with; none is the oldest
    /// that is kept. Not part of the document that clients see.
    pub profile_version: Option<i64>,
    /// Counts changes, from 1. The ETag.
    pub version: i64,
    /// Microseconds, UTC.
    pub created_at: DateTime<Utc>,
    /// Microseconds, UTC.
    pub modified_at: DateTime<Utc>,
}

impl Invoice {
    /// About how many bytes it has, in memory and as JSON: what a page is measured by.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Figures, names of members and punctuation: of the document, of a line, of a payment.
        const FIXED: [usize; 3] = [1_500, 250, 250];
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let customer = self.customer.as_ref().map_or(0, |c| {
            let texts = [&c.external_id, &c.email, &c.tax_id, &c.address, &c.country];
            c.name.len() + texts.into_iter().map(text).sum::<usize>()
        });
        let line = |line: &Line| FIXED[1] + text(&line.sku) + line.description.len();
        let payment = |p: &Payment| FIXED[2] + p.reference.len() + p.method.len();
        FIXED[0]
            + customer
            + self.metadata.as_str().len()
            + self.lines.iter().map(line).sum::<usize>()
            + self.payments.iter().map(payment).sum::<usize>()
    }
}

impl PaymentKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Payment, Self::Reversal, Self::Refund, Self::Credit];

    /// The name in JSON and in both tiers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Reversal => "reversal",
            Self::Refund => "refund",
            Self::Credit => "credit",
        }
    }
}

impl FromStr for PaymentKind {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                let detail = "must be payment, reversal, refund or credit";
                FieldError::new("kind", Code::InvalidPaymentKind, detail)
            })
    }
}

impl Kind {
    /// The name in JSON and in both tiers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::CreditNote => "credit_note",
        }
    }
}

impl FromStr for Kind {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        [Self::Invoice, Self::CreditNote]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                FieldError::new("kind", Code::InvalidKind, "must be invoice or credit_note")
            })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Draft,
        Self::Issued,
        Self::PartiallyPaid,
        Self::Paid,
        Self::Cancelled,
    ];

    /// The name in JSON and in both tiers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Issued => "issued",
            Self::PartiallyPaid => "partially_paid",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for Status {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                FieldError::new(
                    "status",
                    Code::InvalidStatus,
                    "must be draft, issued, partially_paid, paid or cancelled",
                )
            })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
