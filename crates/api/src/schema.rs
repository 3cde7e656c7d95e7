//! The documents of the API as OpenAPI describes them. Invoices are read and rendered by
//! `sheaf-model`; their types here describe that JSON and are never filled.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sheaf_model::plain_value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

pub use crate::routes::archive::export::schema::*;
pub use crate::routes::archive::query::schema::*;
pub use crate::routes::customer::schema::*;
pub use crate::routes::invoice::change::schema::*;
pub use crate::routes::invoice::schema::*;
pub use crate::routes::invoice::validate::schema::*;
pub use crate::routes::privacy::schema::*;
pub use crate::routes::profile::schema::*;
pub use crate::routes::report::schema::*;

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantIn {
    /// For people.
    #[schema(min_length = 1, max_length = 200, example = "Acme Ltd")]
    pub name: String,
    /// The platform's own key, unique.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub struct TenantOut {
    /// Id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// The platform's own key.
    #[schema(required)]
    pub external_id: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An API key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyIn {
    /// For people.
    #[schema(min_length = 1, max_length = 200, example = "billing worker")]
    pub name: String,
    /// `admin` (the default), `finance` (reads and writes) or `viewer` (reads).
    #[schema(pattern = "^(admin|finance|viewer)$", default = "admin")]
    pub role: Option<String>,
    /// When it stops to work; never, if not given.
    #[serde(default, deserialize_with = "plain_value::optional_time")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// How an API key is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRotationIn {
    /// Seconds for which the old key goes on working: a day by default, 30 days at most.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    pub overlap_seconds: Option<i64>,
    /// When the new key stops to work; never, if not given.
    #[serde(default, deserialize_with = "plain_value::optional_time")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyOut {
    /// Handle for rotating and revoking.
    pub id: Uuid,
    /// Whose data it opens.
    pub tenant_id: Uuid,
    /// For people.
    pub name: String,
    /// What it may do.
    #[schema(pattern = "^(admin|finance|viewer)$")]
    pub role: String,
    /// The readable start of the key.
    #[schema(example = "sheaf_0a1b2c3d")]
    pub prefix: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it stops to work.
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    /// The key that it replaces.
    #[schema(required)]
    pub rotated_from: Option<Uuid>,
}

/// A new API key, with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyCreated {
    /// The key as it is listed.
    #[serde(flatten)]
    pub key: ApiKeyOut,
    /// The key itself, this once; `null` when the answer is an idempotent replay.
    #[schema(
        required,
        example = "sheaf_0a1b2c3d_Zm9yIGV4YW1wbGUgb25seSwgbm90IGEgcmVhbCBrZXk"
    )]
    pub api_key: Option<String>,
}

/// All API keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyList {
    /// The keys.
    pub data: Vec<ApiKeyOut>,
    /// Always false: a tenant has at most 1,000 keys.
    pub has_more: bool,
    /// Always `null`.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Paging of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Entries on the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u8>,
    /// `next_cursor` of the page before, with the same filters.
    pub cursor: Option<String>,
}

/// A page of tenants.
#[derive(Debug, ToSchema)]
pub struct TenantPage {
    /// Newest first.
    pub data: Vec<TenantOut>,
    /// Whether another page follows.
    pub has_more: bool,
    /// Send it as `cursor` for the next page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A published file of the archive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ArchiveFile)]
pub struct ArchiveFileOut {
    /// Month of its invoices, `YYYY-MM`; `YYYY-00` is a year, of which several months are in it.
    #[schema(example = "2024-11")]
    pub period: String,
    /// Number of the part within the period, from 0.
    pub part: i32,
    /// Counts the writings of the part, from 1.
    pub generation: i32,
    /// Key within the bucket.
    pub object_key: String,
    /// Smallest invoice id.
    pub min_id: Uuid,
    /// Largest invoice id.
    pub max_id: Uuid,
    /// Rows.
    pub invoices: i64,
    /// Lines of all rows.
    pub lines: i64,
    /// Payments of all rows.
    pub payments: i64,
    /// Events of all rows.
    pub events: i64,
    /// Size of the object.
    pub bytes: i64,
    /// Of the whole object, in hexadecimal.
    #[schema(required)]
    pub sha256: Option<String>,
    /// Sums of totals by currency and kind: `{"GBP": {"invoice": "1.00"}}`.
    #[schema(value_type = Object)]
    pub sums: serde_json::Value,
    /// Version of the Parquet schema.
    pub schema_version: i32,
    /// When it became its invoices' tier.
    #[schema(required)]
    pub published_at: Option<DateTime<Utc>>,
}

/// A page of archive files.
#[derive(Debug, ToSchema)]
pub struct ArchiveFilePage {
    /// Oldest period first.
    pub data: Vec<ArchiveFileOut>,
    /// Whether another page follows.
    pub has_more: bool,
    /// Send it as `cursor` for the next page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// The state of the process.
#[derive(Debug, ToSchema)]
pub struct Health {
    /// Always `ok`; anything else is a problem.
    #[schema(example = "ok")]
    pub status: String,
}

/// A mistake in one field.
#[derive(Debug, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorSchema {
    /// Where: `lines[0].quantity`; empty for the whole document.
    pub field: String,
    /// Stable, snake case.
    pub code: String,
    /// One sentence; may change.
    pub detail: String,
}

/// RFC 9457 problem details. An upload that ended early adds `received`, `created`, `duplicates`,
/// `rejected` and `line_errors`.
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemSchema {
    /// `urn:sheaf:problem:<code>`.
    #[schema(example = "urn:sheaf:problem:invalid_cursor")]
    pub r#type: String,
    /// The code in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable, snake case: what programs compare.
    #[schema(example = "invalid_cursor")]
    pub code: String,
    /// One sentence; may change.
    pub detail: String,
    /// The fields at fault.
    pub errors: Option<Vec<FieldErrorSchema>>,
    /// The same as in `X-Request-Id`.
    pub request_id: String,
}
