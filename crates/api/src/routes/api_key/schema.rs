//! API keys, as sent and as answered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sheaf_model::plain_value;
use utoipa::ToSchema;
use uuid::Uuid;

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
