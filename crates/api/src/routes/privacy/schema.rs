//! Erasure and retention.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sheaf_model::plain_value;
use sheaf_store::{ErasureRecord, Held, Pending, Retention};
use utoipa::ToSchema;
use uuid::Uuid;

/// How far the erasure of a customer's personal data is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErasureReceipt)]
pub struct ErasureOut {
    /// Whose data.
    pub customer_id: Uuid,
    /// `requested`: the record is erased, documents are not gone through yet; `pending`: both tiers
    /// were gone through, and something is held or goes by itself; `complete`: nothing is left.
    #[schema(example = "pending")]
    pub status: &'static str,
    /// The last request.
    pub requested_at: DateTime<Utc>,
    /// Who made it.
    pub requested_by: String,
    /// What was changed in the hot tier, by all passes.
    pub hot: HotErasedOut,
    /// What was changed in the archive, by all passes.
    pub cold: ColdErasedOut,
    /// Years that retention keeps as they are, and that hold data of the customer.
    pub held: Vec<HeldOut>,
    /// What still holds data and goes by itself, the last first; 1,000 at most.
    pub pending: Vec<PendingOut>,
    /// When both tiers were gone through last for this request.
    #[schema(required)]
    pub passed_at: Option<DateTime<Utc>>,
    /// When nothing was left.
    #[schema(required)]
    pub completed_at: Option<DateTime<Utc>>,
}

/// What was changed in the hot tier.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HotErased)]
pub struct HotErasedOut {
    /// Invoices whose document or history was changed.
    pub invoices: u64,
    /// Events of them.
    pub events: u64,
}

/// What was changed in the archive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ColdErased)]
pub struct ColdErasedOut {
    /// Files that the last pass searched.
    pub files: u64,
    /// Files that were written anew.
    pub files_rewritten: u64,
    /// Invoices that were changed in them.
    pub invoices: u64,
}

/// A year that is kept as it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HeldYear)]
pub struct HeldOut {
    /// The year of the documents.
    pub year: i16,
    /// Until it is lifted.
    pub legal_hold: bool,
    /// The first day on which they may change.
    #[schema(required)]
    pub keep_until: Option<NaiveDate>,
}

/// Where data still is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PendingPlace)]
pub struct PendingOut {
    /// The key of an object, or `idempotency_keys`: answers that are kept for requests that are
    /// sent again.
    pub place: String,
    /// It goes with the first collection (`sheaf archive gc`, tiering) after this.
    pub until: DateTime<Utc>,
}

impl From<ErasureRecord> for ErasureOut {
    fn from(record: ErasureRecord) -> Self {
        let status = match (record.completed_at, record.passed_at) {
            (Some(_), _) => "complete",
            (None, Some(_)) => "pending",
            (None, None) => "requested",
        };
        Self {
            customer_id: record.customer_id,
            status,
            requested_at: record.requested_at,
            requested_by: record.requested_by,
            hot: HotErasedOut {
                invoices: record.hot_invoices,
                events: record.hot_events,
            },
            cold: ColdErasedOut {
                files: record.cold_files,
                files_rewritten: record.cold_files_rewritten,
                invoices: record.cold_invoices,
            },
            held: record.held.into_iter().map(HeldOut::from).collect(),
            pending: record.pending.into_iter().map(PendingOut::from).collect(),
            passed_at: record.passed_at,
            completed_at: record.completed_at,
        }
    }
}

impl From<Held> for HeldOut {
    fn from(held: Held) -> Self {
        Self {
            year: held.year,
            legal_hold: held.legal_hold,
            keep_until: held.keep_until,
        }
    }
}

impl From<Pending> for PendingOut {
    fn from(pending: Pending) -> Self {
        Self {
            place: pending.place,
            until: pending.until,
        }
    }
}

/// How long documents of a year must stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RetentionInput)]
pub struct RetentionIn {
    /// No document of the year may change by erasure, and no superseded copy be deleted, until it
    /// is lifted.
    #[serde(default)]
    pub legal_hold: bool,
    /// The first day on which erasure may change documents of the year.
    #[serde(default, deserialize_with = "plain_value::optional_date")]
    pub keep_until: Option<NaiveDate>,
}

/// How long documents of a year must stay as they are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Retention)]
pub struct RetentionOut {
    /// The year of the documents' ids.
    pub year: i16,
    /// As set.
    pub legal_hold: bool,
    /// As set.
    #[schema(required)]
    pub keep_until: Option<NaiveDate>,
    /// Counts changes, from 1. The ETag.
    pub version: i64,
    /// Of the last change.
    pub modified_at: DateTime<Utc>,
}

impl From<Retention> for RetentionOut {
    fn from(setting: Retention) -> Self {
        Self {
            year: setting.year,
            legal_hold: setting.legal_hold,
            keep_until: setting.keep_until,
            version: setting.version,
            modified_at: setting.modified_at,
        }
    }
}

/// All settings of a tenant.
#[derive(Debug, ToSchema)]
pub struct RetentionList {
    /// By year.
    pub data: Vec<RetentionOut>,
    /// Always false.
    pub has_more: bool,
    /// Always `null`.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
