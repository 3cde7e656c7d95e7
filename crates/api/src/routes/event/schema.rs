//! Events, as answered.

use chrono::{DateTime, Utc};
use utoipa::ToSchema;
use uuid::Uuid;

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
