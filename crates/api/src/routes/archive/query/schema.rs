//! Queries over the archive.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::ToSchema;

/// A query over the archive.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ArchiveQuery)]
pub struct QueryIn {
    /// One query, or EXPLAIN of one.
    #[schema(
        max_length = 32768,
        example = "select year, currency, sum(total) as total from invoices \
                   where kind = 'invoice' group by 1, 2"
    )]
    pub sql: String,
    /// How the answer is written; without it `Accept` decides.
    pub format: Option<QueryFormat>,
    /// What is read; the archive alone unless it says otherwise.
    pub tier: Option<QueryTier>,
    /// Rows of the answer; more are an error. 100,000 unless it says otherwise, 1,000,000 at most.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub max_rows: Option<u64>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryFormat {
    /// One document.
    Json,
    /// RFC 4180, with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// What a query reads.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryTier {
    /// The archive.
    #[default]
    Cold,
    /// The archive and the hot tier, of one moment.
    All,
}

/// The answer to a query.
#[derive(Debug, ToSchema)]
#[schema(as = ArchiveQueryAnswer)]
pub struct QueryOut {
    /// In the order of the rows' values.
    pub columns: Vec<QueryColumn>,
    /// One array a row. Decimals are strings, numbers that are none are numbers.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// `cold` or `all`.
    #[schema(example = "cold")]
    pub tier: String,
    /// The moment of the snapshot that the query sees.
    pub as_of: DateTime<Utc>,
    /// What the query read.
    pub stats: QueryStatsOut,
}

/// A column of an answer.
#[derive(Debug, ToSchema)]
pub struct QueryColumn {
    /// Its name; several can have the same.
    pub name: String,
    /// Its Arrow type.
    #[schema(example = "Decimal128(28, 4)")]
    pub r#type: String,
}

/// What a query read.
#[derive(Debug, ToSchema)]
#[schema(as = QueryStats)]
pub struct QueryStatsOut {
    /// Rows of the answer.
    pub rows: u64,
    /// Published files of the tenant.
    pub files_total: u64,
    /// Files that the catalog could not rule out, once for each table that was scanned.
    pub files_planned: u64,
    /// Files of which at least the footer was looked at.
    pub files_read: u64,
    /// Size of the planned files.
    pub bytes_planned: u64,
    /// Bytes that came from the object storage.
    pub bytes_read: u64,
    /// Requests to the object storage.
    pub requests: u64,
    /// Hot invoices that were read.
    pub hot_invoices: u64,
    /// Milliseconds since the query began.
    pub elapsed_ms: u64,
}
