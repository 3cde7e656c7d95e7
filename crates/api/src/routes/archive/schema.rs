//! Files of the archive, as answered.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

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
