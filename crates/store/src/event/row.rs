//! An event as it is stored.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// One audit event, as it moves to the archive with its invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// UUIDv7.
    pub id: Uuid,
    /// `invoice.created`, ...
    pub event_type: String,
    /// Who.
    pub actor: String,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// jsonb's text.
    pub data: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The business process that it belongs to.
    pub correlation_id: Option<String>,
    /// The event or message that caused the request.
    pub causation_id: Option<String>,
}

impl EventRow {
    /// About how many bytes it has: what a page is measured by.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Ids, times and names of members.
        const FIXED: usize = 400;
        FIXED + self.data.len()
    }
}
