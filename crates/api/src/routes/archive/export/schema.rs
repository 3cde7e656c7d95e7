//! Exports of the archive.

use chrono::{DateTime, Utc};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What is exported.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// `ndjson` unless it says otherwise; `parquet` answers a manifest.
    #[param(pattern = "^(ndjson|csv|parquet)$", default = "ndjson")]
    pub format: Option<String>,
    /// The first year, by the invoices' ids.
    #[param(minimum = 1970, maximum = 2199, default = 1970)]
    pub from: Option<i16>,
    /// The last year.
    #[param(minimum = 1970, maximum = 2199, default = 2199)]
    pub to: Option<i16>,
    /// `all` (the default), `hot` or `cold`; a manifest is of the cold tier.
    #[param(pattern = "^(all|hot|cold)$")]
    pub tier: Option<String>,
    /// Only invoices behind this id. A CSV then has no header line.
    pub after: Option<Uuid>,
    /// Only so many invoices.
    #[param(minimum = 0)]
    pub limit: Option<u64>,
    /// Seconds for which a manifest's URLs work.
    #[param(minimum = 1, maximum = 43200, default = 3600)]
    pub expires: Option<u64>,
}

/// The archived objects of some years, of one moment.
#[derive(Debug, ToSchema)]
#[schema(as = ArchiveManifest)]
pub struct ManifestOut {
    /// The owner of all rows.
    pub tenant_id: Uuid,
    /// The first year.
    pub from: i16,
    /// The last year.
    pub to: i16,
    /// The moment of the snapshot.
    pub as_of: DateTime<Utc>,
    /// When the URLs stop to work.
    pub expires_at: DateTime<Utc>,
    /// Rows of the files, with those that are out of date.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// By period and part.
    pub files: Vec<ManifestFileOut>,
}

/// One object.
#[derive(Debug, ToSchema)]
#[schema(as = ArchiveManifestFile)]
pub struct ManifestFileOut {
    /// Key inside the bucket.
    pub object_key: String,
    /// Opens the object until `expires_at`.
    #[schema(required)]
    pub url: Option<String>,
    /// `YYYY-MM`, or `YYYY-00` for several months of a year.
    #[schema(example = "2024-11")]
    pub period: String,
    /// Size.
    pub bytes: i64,
    /// Of the object, in hexadecimal.
    #[schema(required)]
    pub sha256: Option<String>,
    /// Rows.
    pub invoices: i64,
    /// Lines of all rows.
    pub lines: i64,
    /// Payments of all rows.
    pub payments: i64,
    /// Sums of totals by currency and kind.
    #[schema(value_type = Object)]
    pub sums: serde_json::Value,
    /// Version of the Parquet schema.
    pub schema_version: i32,
    /// Smallest id.
    pub min_id: Uuid,
    /// Largest id.
    pub max_id: Uuid,
    /// When it became its invoices' tier.
    #[schema(required)]
    pub published_at: Option<DateTime<Utc>>,
    /// Recalled invoices whose row in this file, if it has one, is out of date.
    pub masked: Vec<MaskedOut>,
}

/// A row that is out of date.
#[derive(Debug, ToSchema)]
#[schema(as = ArchiveMaskedRow)]
pub struct MaskedOut {
    /// The invoice.
    pub id: Uuid,
    /// When it was recalled.
    pub recalled_at: DateTime<Utc>,
}
