//! The invoice, as sent and as answered.

use chrono::{DateTime, NaiveDate, Utc};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Filters of a list of invoices; all hold together.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InvoiceParams {
    /// Entries on the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u8>,
    /// `next_cursor` of the page before, with the same filters.
    pub cursor: Option<String>,
    /// Exact status, or `overdue`: invoices that are issued or paid in part, and were due before
    /// today.
    #[param(inline)]
    pub status: Option<StatusFilter>,
    /// Exact kind.
    #[param(inline)]
    pub kind: Option<KindSchema>,
    /// Exact customer.
    pub customer_id: Option<Uuid>,
    /// Exact number.
    pub number: Option<String>,
    /// Exact external id.
    pub external_id: Option<String>,
    /// First day of issue, inclusive.
    pub issued_from: Option<NaiveDate>,
    /// Last day of issue, inclusive.
    pub issued_to: Option<NaiveDate>,
    /// `metadata.<key>=<value>`, at most 8 of them: top-level values of the metadata.
    #[param(rename = "metadata.{key}")]
    pub metadata: Option<String>,
    /// Only this tier.
    #[param(inline)]
    pub tier: Option<TierSchema>,
}

/// Where an invoice is stored.
#[derive(Debug, ToSchema)]
#[schema(as = Tier, rename_all = "snake_case")]
pub enum TierSchema {
    /// PostgreSQL.
    Hot,
    /// Parquet.
    Cold,
}

/// What the document is.
#[derive(Debug, ToSchema)]
#[schema(as = Kind, rename_all = "snake_case")]
pub enum KindSchema {
    /// Money that the customer owes.
    Invoice,
    /// Money credited to the customer.
    CreditNote,
}

/// Where the invoice is in its life.
#[derive(Debug, ToSchema)]
#[schema(as = Status, rename_all = "snake_case")]
pub enum StatusSchema {
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

/// A status to list by.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum StatusFilter {
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
    /// Issued or paid in part, and due before today.
    Overdue,
}

/// How a document's tax is rounded.
#[derive(Debug, ToSchema)]
#[schema(as = TaxRounding, rename_all = "snake_case")]
pub enum TaxRoundingSchema {
    /// Once a rate, on the sum of its nets (EN 16931).
    Document,
    /// Each line by itself.
    Line,
}

/// What a client may ask for: the other statuses follow from payments.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum StatusIn {
    /// Not yet given to the customer.
    Draft,
    /// The default when `issue_date` is given.
    Issued,
}

/// A customer, found by `external_id` or made.
#[derive(Debug, ToSchema)]
pub struct CustomerIn {
    /// The tenant's own key for the customer.
    #[schema(max_length = 200)]
    pub external_id: Option<String>,
    /// Name.
    #[schema(max_length = 300)]
    pub name: String,
    /// Email address.
    #[schema(max_length = 320)]
    pub email: Option<String>,
    /// Tax registration.
    #[schema(max_length = 100)]
    pub tax_id: Option<String>,
    /// Postal address.
    #[schema(max_length = 1000)]
    pub address: Option<String>,
    /// Country, as the tenant writes it; an e-invoice needs its ISO 3166-1 alpha-2 code.
    #[schema(max_length = 100)]
    pub country: Option<String>,
}

/// One line of an invoice. Decimals are strings; numbers are accepted and read exactly.
#[derive(Debug, ToSchema)]
pub struct LineIn {
    /// Article number.
    #[schema(max_length = 100)]
    pub sku: Option<String>,
    /// What was sold.
    #[schema(max_length = 2000)]
    pub description: String,
    /// How many; at most 6 decimals, not 0. Negative on a line that gives back.
    #[schema(example = "2")]
    pub quantity: String,
    /// Price of one; at most 6 decimals.
    #[schema(example = "9.99")]
    pub unit_price: String,
    /// Taken off the line, in the currency's decimals.
    #[schema(default = "0")]
    pub discount: Option<String>,
    /// Taken off the line, in percent: 10 is 10 %. An amount sent beside it is checked. Of a line
    /// that gives back, less is given back.
    #[schema(example = "10")]
    pub discount_percent: Option<String>,
    /// A fraction: 0.2 is 20 %.
    #[schema(default = "0", example = "0.2")]
    pub tax_rate: Option<String>,
}

/// One payment on an invoice.
#[derive(Debug, ToSchema)]
pub struct PaymentIn {
    /// Unique on the invoice.
    #[schema(max_length = 200)]
    pub reference: String,
    /// In the invoice's currency; greater than 0.
    #[schema(example = "9.99")]
    pub amount: String,
    /// The day on which the money came in; not after tomorrow in any time zone.
    pub paid_on: NaiveDate,
    /// `bank_transfer`, `card`, ...
    #[schema(max_length = 50)]
    pub method: String,
}

/// An invoice as a client sends it. Totals are computed.
#[derive(Debug, ToSchema)]
pub struct InvoiceIn {
    /// A UUIDv7 of the client's choice.
    pub id: Option<Uuid>,
    /// The tenant's own key, unique per tenant and year.
    #[schema(max_length = 200)]
    pub external_id: Option<String>,
    /// Invoice number, unique per tenant and year.
    #[schema(max_length = 100)]
    pub number: Option<String>,
    /// Default `invoice`.
    #[schema(inline)]
    pub kind: Option<KindSchema>,
    /// ISO 4217.
    #[schema(example = "GBP")]
    pub currency: String,
    /// An existing customer; or send `customer`.
    pub customer_id: Option<Uuid>,
    /// A customer, found by `external_id` or made; or send `customer_id`.
    pub customer: Option<CustomerIn>,
    /// Day of issue: 1970-01-01 to 2199-12-31.
    pub issue_date: Option<NaiveDate>,
    /// Not before `issue_date`.
    pub due_date: Option<NaiveDate>,
    /// Discount on the whole document, spread over the lines in proportion to their nets.
    #[schema(default = "0")]
    pub discount: Option<String>,
    /// The same in percent of the lines' nets: 10 is 10 %.
    pub discount_percent: Option<String>,
    /// Default `document`: the tax of a rate is the sum of its nets times the rate, rounded once.
    /// With `line` each line's tax is rounded by itself.
    #[schema(inline)]
    pub tax_rounding: Option<TaxRoundingSchema>,
    /// In document order.
    #[schema(min_items = 1, max_items = 10_000)]
    pub lines: Vec<LineIn>,
    /// Payments received before.
    #[schema(max_items = 1_000)]
    pub payments: Option<Vec<PaymentIn>>,
    /// `issued` when `issue_date` is given, else `draft`.
    #[schema(inline)]
    pub status: Option<StatusIn>,
    /// Free-form: at most 64 KiB, nested at most 32 deep.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// Checked against the computed total.
    pub total: Option<String>,
}

/// One line of a platform upload: an invoice and whose it is.
#[derive(Debug, ToSchema)]
pub struct InvoiceLineIn {
    /// The tenant by id; or send `tenant_external_id`.
    pub tenant_id: Option<Uuid>,
    /// The tenant by the platform's own key; or send `tenant_id`.
    #[schema(max_length = 200)]
    pub tenant_external_id: Option<String>,
    /// The invoice's own members.
    #[schema(inline)]
    #[allow(dead_code)]
    pub invoice: FlattenedInvoice,
}

/// See `InvoiceIn`: its members stand beside the tenant's.
#[derive(Debug, ToSchema)]
pub struct FlattenedInvoice {}

/// A customer as the document shows it.
#[derive(Debug, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerOut {
    /// The tenant's own key.
    #[schema(required)]
    pub external_id: Option<String>,
    /// Name.
    pub name: String,
    /// Email address.
    #[schema(required)]
    pub email: Option<String>,
    /// Tax registration.
    #[schema(required)]
    pub tax_id: Option<String>,
    /// Postal address.
    #[schema(required)]
    pub address: Option<String>,
    /// Country, as the tenant writes it; an e-invoice needs its ISO 3166-1 alpha-2 code.
    #[schema(required)]
    pub country: Option<String>,
}

/// One line of an invoice, computed.
#[derive(Debug, ToSchema)]
#[schema(as = Line)]
pub struct LineOut {
    /// Article number.
    #[schema(required)]
    pub sku: Option<String>,
    /// What was sold.
    pub description: String,
    /// How many.
    pub quantity: String,
    /// Price of one.
    pub unit_price: String,
    /// Taken off the line; negative where a percentage lowers what a line gives back.
    pub discount: String,
    /// The percentage that it was given as.
    #[schema(required)]
    pub discount_percent: Option<String>,
    /// The line's share of the document's discount.
    pub document_discount: String,
    /// A fraction.
    pub tax_rate: String,
    /// `round(quantity x unit_price) - discount - document_discount`, half up.
    pub net: String,
    /// The line's share of its rate's tax, less than a smallest unit from `net x tax_rate`; with
    /// `tax_rounding` `line`, `round(net x tax_rate)`.
    pub tax: String,
}

/// A recorded payment.
#[derive(Debug, ToSchema)]
#[schema(as = Payment)]
pub struct PaymentOut {
    /// Id.
    pub id: Uuid,
    /// What it records.
    pub kind: PaymentKindSchema,
    /// Unique on the invoice.
    pub reference: String,
    /// In the invoice's currency; negative where it takes back.
    pub amount: String,
    /// The day on which the money came in; not after tomorrow in any time zone.
    pub paid_on: NaiveDate,
    /// How.
    pub method: String,
    /// The payment that a reversal takes back.
    #[schema(required)]
    pub reverses: Option<Uuid>,
}

/// What a payment records.
#[derive(Debug, ToSchema)]
#[schema(as = PaymentKind, rename_all = "snake_case")]
pub enum PaymentKindSchema {
    /// Money that came in; on a credit note, money that was paid out.
    Payment,
    /// A payment taken back.
    Reversal,
    /// Money given back.
    Refund,
    /// A credit note set off.
    Credit,
}

/// What the lines of one tax rate come to.
#[derive(Debug, ToSchema)]
#[schema(as = TaxTotal)]
pub struct TaxOut {
    /// A fraction.
    pub rate: String,
    /// Sum of the lines' nets.
    pub net: String,
    /// Sum of the lines' taxes.
    pub tax: String,
}

/// A whole invoice. The same bytes from both tiers.
#[derive(Debug, ToSchema)]
#[schema(as = Invoice)]
pub struct InvoiceOut {
    /// A UUIDv7; its time is the invoice's own date.
    pub id: Uuid,
    /// The owner.
    pub tenant_id: Uuid,
    /// The tenant's own key.
    #[schema(required)]
    pub external_id: Option<String>,
    /// Invoice number.
    #[schema(required)]
    pub number: Option<String>,
    /// Invoice or credit note.
    pub kind: KindSchema,
    /// State.
    pub status: StatusSchema,
    /// ISO 4217.
    pub currency: String,
    /// The customer's record.
    #[schema(required)]
    pub customer_id: Option<Uuid>,
    /// The customer as shown on the document.
    #[schema(required)]
    pub customer: Option<CustomerOut>,
    /// Day of issue.
    #[schema(required)]
    pub issue_date: Option<NaiveDate>,
    /// Day on which payment is due.
    #[schema(required)]
    pub due_date: Option<NaiveDate>,
    /// In document order.
    pub lines: Vec<LineOut>,
    /// In order of recording.
    pub payments: Vec<PaymentOut>,
    /// On a credit note: the invoice that it corrects.
    #[schema(required)]
    pub credits: Option<Uuid>,
    /// Discount on the whole document.
    pub discount: String,
    /// The percentage that it was given as.
    #[schema(required)]
    pub discount_percent: Option<String>,
    /// How its tax is rounded. Not there on what was stored before there was a choice: by line.
    #[schema(inline)]
    pub tax_rounding: Option<TaxRoundingSchema>,
    /// Totals by tax rate, the lowest first.
    pub taxes: Vec<TaxOut>,
    /// Sum of the lines' nets.
    pub subtotal: String,
    /// Sum of all discounts.
    pub discount_total: String,
    /// Sum of the lines' taxes.
    pub tax_total: String,
    /// `subtotal + tax_total`.
    #[schema(example = "23.98")]
    pub total: String,
    /// Sum of payments.
    pub amount_paid: String,
    /// What is still owed.
    pub amount_due: String,
    /// Sum of the totals of its credit notes.
    pub amount_credited: String,
    /// Free-form.
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
    /// Counts changes, from 1; the ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub modified_at: DateTime<Utc>,
}

/// A page of invoices.
#[derive(Debug, ToSchema)]
pub struct InvoicePage {
    /// Newest first.
    pub data: Vec<InvoiceOut>,
    /// Whether another page follows.
    pub has_more: bool,
    /// Send it as `cursor` for the next page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
