//! The steps of an invoice's life, as sent and as answered.

use chrono::NaiveDate;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::routes::invoice::schema::{
    CustomerIn, InvoiceOut, KindSchema, LineIn, PaymentKindSchema, TaxRoundingSchema,
};

/// A merge patch of a draft: a field that is sent replaces the draft's, `null` removes it. On an
/// issued invoice only `metadata`.
#[derive(Debug, ToSchema)]
pub struct InvoicePatch {
    /// The tenant's own key.
    #[schema(max_length = 200)]
    pub external_id: Option<String>,
    /// Invoice number.
    #[schema(max_length = 100)]
    pub number: Option<String>,
    /// Invoice or credit note.
    #[schema(inline)]
    pub kind: Option<KindSchema>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// An existing customer; replaces `customer`.
    pub customer_id: Option<Uuid>,
    /// A customer, found by `external_id` or made; without one, the draft's own customer is
    /// patched.
    pub customer: Option<CustomerIn>,
    /// Day of issue.
    pub issue_date: Option<NaiveDate>,
    /// Not before `issue_date`.
    pub due_date: Option<NaiveDate>,
    /// Discount on the whole document; replaces `discount_percent`.
    pub discount: Option<String>,
    /// The same in percent; replaces `discount`.
    pub discount_percent: Option<String>,
    /// How tax is rounded. A draft that does not tell it, being older than the choice, becomes
    /// `line` by its first edit unless that says `document`.
    #[schema(inline)]
    pub tax_rounding: Option<TaxRoundingSchema>,
    /// All lines.
    #[schema(min_items = 1, max_items = 10_000)]
    pub lines: Option<Vec<LineIn>>,
    /// Merged key by key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// Checked against the computed total.
    pub total: Option<String>,
}

/// How a draft is issued.
#[derive(Debug, ToSchema)]
pub struct IssueIn {
    /// The draft's own, or today.
    pub issue_date: Option<NaiveDate>,
    /// The draft's own.
    pub due_date: Option<NaiveDate>,
}

/// How a document was sent.
#[derive(Debug, ToSchema)]
pub struct SendIn {
    /// `email`, `peppol`, ...
    #[schema(max_length = 50)]
    pub channel: Option<String>,
    /// An address.
    #[schema(max_length = 320)]
    pub recipient: Option<String>,
}

/// Why a document is cancelled.
#[derive(Debug, ToSchema)]
pub struct CancelIn {
    /// Kept in the event.
    #[schema(max_length = 2000)]
    pub reason: Option<String>,
}

/// A recall needs nothing but the invoice.
#[derive(Debug, ToSchema)]
pub struct RecallIn {}

/// A payment or refund.
#[derive(Debug, ToSchema)]
pub struct NewPaymentIn {
    /// Unique on the invoice.
    #[schema(max_length = 200)]
    pub reference: String,
    /// In the invoice's currency; greater than 0.
    #[schema(example = "9.99")]
    pub amount: String,
    /// The day on which the money moved, not after tomorrow in any time zone; today, if not sent.
    pub paid_on: Option<NaiveDate>,
    /// `bank_transfer`, `card`, ...
    #[schema(max_length = 50, default = "other")]
    pub method: Option<String>,
}

/// How a payment is taken back.
#[derive(Debug, ToSchema)]
pub struct ReversalIn {
    /// `reversal:<payment>`, if not sent.
    #[schema(max_length = 200)]
    pub reference: Option<String>,
    /// Not after tomorrow in any time zone; today, if not sent.
    pub paid_on: Option<NaiveDate>,
    /// Kept in the event.
    #[schema(max_length = 2000)]
    pub reason: Option<String>,
}

/// A credit note on an invoice.
#[derive(Debug, ToSchema)]
pub struct CreditNoteIn {
    /// What is credited, amounts positive; all of the invoice, if not sent.
    #[schema(min_items = 1, max_items = 10_000)]
    pub lines: Option<Vec<LineIn>>,
    /// Discount on the lines sent; without `lines` it is refused.
    pub discount: Option<String>,
    /// The same in percent.
    pub discount_percent: Option<String>,
    /// Today, if not sent.
    pub issue_date: Option<NaiveDate>,
    /// Kept in the event.
    #[schema(max_length = 2000)]
    pub reason: Option<String>,
    /// Whether to set it off at once.
    #[schema(default = true)]
    pub apply: Option<bool>,
    /// Free-form.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
}

/// What a credit note is set off against.
#[derive(Debug, ToSchema)]
pub struct ApplyIn {
    /// The invoice.
    pub invoice_id: Uuid,
    /// All that is possible, if not sent.
    pub amount: Option<String>,
}

/// A recorded payment, and the invoice as it is now.
#[derive(Debug, ToSchema)]
pub struct PaymentRecorded {
    /// Id.
    pub id: Uuid,
    /// What it records.
    pub kind: PaymentKindSchema,
    /// Unique on the invoice.
    pub reference: String,
    /// Negative where it takes back.
    pub amount: String,
    /// The day on which the money moved.
    pub paid_on: NaiveDate,
    /// How.
    pub method: String,
    /// The payment that a reversal takes back.
    #[schema(required)]
    pub reverses: Option<Uuid>,
    /// The invoice.
    pub invoice: InvoiceOut,
}
