//! The steps of an invoice's life, as sent and as answered; and events.

use chrono::{DateTime, NaiveDate, Utc};
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

/// What a series' numbers look like.
#[derive(Debug, ToSchema)]
pub struct NumberSeriesIn {
    /// Before the number; `{year}` is the year of issue, and makes the numbers start again every
    /// year.
    #[schema(max_length = 40, example = "INV-{year}-")]
    pub prefix: String,
    /// Digits at least, filled up with zeros.
    #[schema(minimum = 0, maximum = 12, example = 6)]
    pub padding: i16,
    /// The next number; only forward.
    #[schema(minimum = 1, maximum = 999_999_999_999_i64)]
    pub next: Option<i64>,
    /// The year that `next` is of, where numbers start again every year; this year, if not sent.
    #[schema(minimum = 1970, maximum = 2199)]
    pub year: Option<i16>,
}

/// A number series.
#[derive(Debug, ToSchema)]
#[schema(as = NumberSeries)]
pub struct NumberSeriesOut {
    /// `invoice` or `credit_note`.
    pub series: String,
    /// Before the number.
    pub prefix: String,
    /// Digits at least.
    pub padding: i16,
    /// Where it goes on, by year.
    pub counts: Vec<NumberCount>,
}

/// Where a series goes on.
#[derive(Debug, ToSchema)]
pub struct NumberCount {
    /// The year of issue; `null` where numbers run through the years.
    #[schema(required)]
    pub year: Option<i16>,
    /// The next number.
    pub next: i64,
}

/// All number series of a tenant.
#[derive(Debug, ToSchema)]
pub struct NumberSeriesList {
    /// By name.
    pub data: Vec<NumberSeriesOut>,
    /// Always false.
    pub has_more: bool,
    /// Always `null`.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// One change of something.
#[derive(Debug, ToSchema)]
#[schema(as = Event)]
pub struct EventSchema {
    /// A UUIDv7.
    pub id: Uuid,
    /// The invoice or customer that changed.
    pub subject_id: Uuid,
    /// What happened.
    #[schema(example = "payment.recorded")]
    pub event_type: String,
    /// Who: `api_key:<id>`, `admin`, ...
    pub actor: String,
    /// The request that caused it.
    #[schema(required)]
    pub request_id: Option<String>,
    /// `X-Correlation-Id` of the request, or the request's id.
    #[schema(required)]
    pub correlation_id: Option<String>,
    /// `X-Causation-Id` of the request.
    #[schema(required)]
    pub causation_id: Option<String>,
    /// The new version, old and new values in `changes`, and what else belongs to the event.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A page of events.
#[derive(Debug, ToSchema)]
pub struct EventPage {
    /// Oldest first.
    pub data: Vec<EventSchema>,
    /// Whether another page is there now.
    pub has_more: bool,
    /// Send it as `cursor` for what follows.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
