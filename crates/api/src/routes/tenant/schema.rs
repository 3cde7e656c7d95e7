//! Tenants, as sent and as answered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

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
