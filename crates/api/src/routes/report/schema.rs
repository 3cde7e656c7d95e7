//! Reports. Amounts of different currencies are never added up.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What a summary is narrowed to.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SummaryParams {
    /// First day of issue, inclusive.
    pub from: Option<NaiveDate>,
    /// Last day of issue, inclusive.
    pub to: Option<NaiveDate>,
}

/// Documents of one currency, kind and status.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusTotalOut {
    /// ISO 4217.
    pub currency: &'static str,
    /// `invoice` or `credit_note`.
    #[schema(pattern = "^(invoice|credit_note)$")]
    pub kind: &'static str,
    /// As on the documents.
    pub status: &'static str,
    /// How many.
    pub count: i64,
    /// Sum of their totals.
    #[schema(example = "120.00")]
    pub total: String,
    /// Sum of what was paid on them, set-offs of credit notes included.
    pub amount_paid: String,
    /// Sum of what is owed on them.
    pub amount_due: String,
}

/// A count and an amount in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencySum {
    /// ISO 4217.
    pub currency: &'static str,
    /// How many.
    pub count: i64,
    /// How much.
    #[schema(example = "120.00")]
    pub amount: String,
}

/// A count and an amount of one currency and kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyKindSum {
    /// ISO 4217.
    pub currency: &'static str,
    /// Of the invoices that are counted, or that the payments are for.
    #[schema(pattern = "^(invoice|credit_note)$")]
    pub kind: &'static str,
    /// How many.
    pub count: i64,
    /// How much.
    #[schema(example = "120.00")]
    pub amount: String,
}

/// Totals of the tenant, from the hot tier.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Summary)]
pub struct SummaryOut {
    /// When it was read: at most some seconds ago.
    pub as_of: DateTime<Utc>,
    /// The day that "overdue" and "the last 30 days" refer to, UTC.
    pub today: NaiveDate,
    /// Always `hot`: the last year, and whatever is still owed, however old.
    #[schema(example = "hot")]
    pub tier: &'static str,
    /// First day of issue, if it was given.
    #[schema(required)]
    pub from: Option<NaiveDate>,
    /// Last day of issue, if it was given.
    #[schema(required)]
    pub to: Option<NaiveDate>,
    /// By currency, kind and status.
    pub totals: Vec<StatusTotalOut>,
    /// Invoices past their due date on which something is owed.
    pub overdue: Vec<CurrencySum>,
    /// Documents issued in the last 30 days and not cancelled.
    pub issued_last_30_days: Vec<CurrencyKindSum>,
    /// Money that moved in the last 30 days: payments less what was reversed or refunded. Set-offs
    /// of credit notes are none.
    pub paid_last_30_days: Vec<CurrencyKindSum>,
}

/// What an aging report asks for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AgingParams {
    /// The day from which days past due are counted; today when it is not given.
    pub as_of: Option<NaiveDate>,
    /// `total` (the default): one entry a currency. `customer`: one a customer and currency, paged.
    #[param(inline)]
    pub group: Option<AgingGroup>,
    /// Entries on the page; with `group=customer`.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u8>,
    /// `next_cursor` of the page before; with `group=customer`.
    pub cursor: Option<String>,
}

/// What one entry of an aging report is about.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AgingGroup {
    /// All customers together.
    Total,
    /// One customer.
    Customer,
}

/// What is owed now in one currency, by days past due.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Aging)]
pub struct AgingOut {
    /// The customer; `null` for all together, and for invoices that name none.
    #[schema(required)]
    pub customer_id: Option<Uuid>,
    /// ISO 4217.
    pub currency: &'static str,
    /// Open invoices.
    pub invoices: i64,
    /// Not yet due, or without a due date.
    #[schema(example = "120.00")]
    pub current: String,
    /// 1 to 30 days past due.
    pub days_1_30: String,
    /// 31 to 60 days past due.
    pub days_31_60: String,
    /// 61 to 90 days past due.
    pub days_61_90: String,
    /// More than 90 days past due.
    pub days_over_90: String,
    /// What credit notes still have to give.
    pub unapplied_credit: String,
    /// All buckets less the credit.
    pub total: String,
}

/// What is owed, by days past due.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgingPage {
    /// The day from which days past due are counted. What is owed is what is owed now.
    pub as_of: NaiveDate,
    /// By currency, or by customer and currency.
    pub data: Vec<AgingOut>,
    /// Whether another page follows.
    pub has_more: bool,
    /// Send it as `cursor` for the next page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
