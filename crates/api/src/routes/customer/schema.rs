//! Customers, as sent and as answered.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sheaf_model::plain_value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Filters of a list of customers; all hold together.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CustomerParams {
    /// Entries on the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u8>,
    /// `next_cursor` of the page before, with the same filters.
    pub cursor: Option<String>,
    /// Exact external id.
    pub external_id: Option<String>,
    /// Exact tax registration.
    pub tax_id: Option<String>,
    /// Email address, without regard to case.
    pub email: Option<String>,
    /// Only active customers, or only the others.
    pub active: Option<bool>,
}

/// A customer to be made.
#[derive(Debug, ToSchema)]
pub struct CustomerNew {
    /// The tenant's own key, unique.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
    /// Name.
    #[schema(min_length = 1, max_length = 300)]
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
    /// Free-form, regional fields for example: at most 64 KiB, nested at most 32 deep.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// Whether new invoices may name it.
    #[schema(default = true)]
    pub active: Option<bool>,
}

/// A JSON merge patch (RFC 7396) of a customer: `null` takes a field out, an absent one stays as it
/// is.
#[derive(Debug, ToSchema)]
pub struct CustomerPatchIn {
    /// The tenant's own key, unique.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
    /// Name; cannot be `null`.
    #[schema(min_length = 1, max_length = 300)]
    pub name: Option<String>,
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
    /// Merged member by member; `null` empties it.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// Whether new invoices may name it; cannot be `null`.
    pub active: Option<bool>,
}

/// A customer's record.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerRecord)]
pub struct CustomerRecordOut {
    /// A UUIDv7.
    pub id: Uuid,
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
    /// Free-form.
    #[schema(value_type = Object)]
    pub metadata: Box<RawValue>,
    /// Whether new invoices may name it.
    pub active: bool,
    /// The customer that it was merged into.
    #[schema(required)]
    pub merged_into: Option<Uuid>,
    /// Counts changes, from 1; the ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub modified_at: DateTime<Utc>,
}

/// A page of customers.
#[derive(Debug, ToSchema)]
pub struct CustomerPage {
    /// Newest first.
    pub data: Vec<CustomerRecordOut>,
    /// Whether another page follows.
    pub has_more: bool,
    /// Send it as `cursor` for the next page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What a duplicate is merged into.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeIn {
    /// The customer that survives.
    #[serde(deserialize_with = "plain_value::required_uuid")]
    pub into: Uuid,
}

/// How far a merge is.
#[derive(Debug, Serialize, ToSchema)]
pub struct MergeOut {
    /// The duplicate, inactive now.
    pub customer: CustomerRecordOut,
    /// Hot invoices that this request took to the survivor.
    pub invoices_moved: u64,
    /// Whether none are left. Else send the same request again: it goes on where this one ended.
    pub complete: bool,
}

/// A customer's account in one currency, from invoices in the hot tier: those of the last year, and
/// whatever is still owed, however old.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceOut {
    /// ISO 4217.
    pub currency: String,
    /// Sum of the invoices issued and not cancelled.
    #[schema(example = "120.00")]
    pub invoiced: String,
    /// What was paid on them, set-offs of credit notes included.
    pub paid: String,
    /// What is owed on them.
    pub due: String,
    /// The part of it that is past its due date.
    pub overdue: String,
    /// What credit notes still have to give.
    pub credit_available: String,
}

/// A customer's balance.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerBalance {
    /// The customer; those merged into it count as well.
    pub customer_id: Uuid,
    /// Always `hot`: archived invoices are settled, and are not counted in `invoiced` and `paid`.
    #[schema(example = "hot")]
    pub tier: &'static str,
    /// The day of which `overdue` speaks, UTC.
    pub as_of: NaiveDate,
    /// One entry a currency.
    pub balances: Vec<BalanceOut>,
}
