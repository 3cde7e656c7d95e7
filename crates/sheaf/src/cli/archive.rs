//! `sheaf tier`, `sheaf archive` and `sheaf numbers`: the cold tier.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use sheaf_archive::Archive;
use sheaf_model::TenantId;
use sheaf_store::Store;

use super::OutputArgs;
use crate::error::Result;
use crate::settings::{ApiSettings, ColdSettings, defaults};
use crate::terminal::units;

#[derive(Debug, Subcommand)]
pub(crate) enum TierCommand {
    /// Move settled invoices that are older than the horizon; prints a JSON summary
    Run(TierRunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TierRunArgs {
    /// The day to count from, YYYY-MM-DD [default: today, UTC]
    #[arg(long, value_name = "DATE", value_parser = units::date)]
    pub(crate) as_of: Option<NaiveDate>,
    /// Whole months before this horizon move: 12m, 1y, 0m
    #[arg(long, env = "SHEAF_TIER_OLDER_THAN", default_value = defaults::OLDER_THAN,
        value_name = "AGE", value_parser = units::months)]
    pub(crate) older_than: u32,
    /// Only this tenant
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<TenantId>,
    /// Count only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) cold: ColdSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// List published files: a table on a terminal, else one JSON object a line
    Ls(ArchiveArgs),
    /// Read every published object whole and compare it with the catalog; prints JSON; exits with 1
    /// when something is wrong
    Verify(VerifyArgs),
    /// Make one file of the small files of each month, without copies that recalls have put out of
    /// date; prints JSON
    ///
    /// The files that were replaced stay until `gc` collects them after its grace.
    Compact(CompactArgs),
    /// Go on with erasures of customers' personal data, in both tiers, and bring their receipts up
    /// to date; prints JSON
    ///
    /// Objects that were replaced stay until `gc` collects them after its grace.
    Erase(EraseArgs),
    /// Delete what killed runs and replaced generations left behind; prints JSON
    Gc(GcArgs),
    /// Ask the tenant's archive a read-only SQL query, through the HTTP API
    ///
    /// Tables: invoices, lines, payments, events. Exits with 1 when the answer is not whole.
    Query(QueryArgs),
    /// Export years of the tenant, through the HTTP API
    ///
    /// NDJSON is what `sheaf ingest` takes back. --format parquet prints a manifest of the archived
    /// objects; with --download it fetches them, and goes on with those that are missing when it is
    /// run again. Exits with 1 when the export is not whole.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// How it is written
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    pub(crate) format: ExportFormat,
    /// The first year [default: all there are]
    #[arg(long, value_name = "YEAR")]
    pub(crate) from: Option<u16>,
    /// The last year
    #[arg(long, value_name = "YEAR")]
    pub(crate) to: Option<u16>,
    /// What is read [default: both tiers]
    #[arg(long, value_enum)]
    pub(crate) tier: Option<ExportTier>,
    /// The file [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Go on after the last whole invoice in the file
    #[arg(long)]
    pub(crate) resume: bool,
    /// Fetch the objects into this directory and compare their SHA-256
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) download: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) api: ApiSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Ndjson,
    Csv,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportTier {
    All,
    Hot,
    Cold,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// One query, or EXPLAIN of one
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// How the answer is written; a table is for people, and is held in memory
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub(crate) format: QueryFormat,
    /// What is read: the archive, or the hot tier as well
    #[arg(long, value_enum, default_value_t = QueryTier::Cold)]
    pub(crate) tier: QueryTier,
    /// Rows of the answer; more are an error
    #[arg(long, value_name = "N")]
    pub(crate) max_rows: Option<u64>,
    #[command(flatten)]
    pub(crate) api: ApiSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    Table,
    Json,
    Csv,
    Arrow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryTier {
    Cold,
    All,
}

#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    /// Only this tenant
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<TenantId>,
    #[command(flatten)]
    pub(crate) cold: ColdSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl ArchiveArgs {
    /// Connects to both tiers; a tenant that does not exist is an error.
    pub(crate) async fn connect(&self) -> Result<(Store, Archive)> {
        self.cold.connect_for(self.tenant).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Read at most so much a second: 50MiB, 512KiB, 1GiB [default: as fast as can be]
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub(crate) rate: Option<NonZeroU64>,
    /// Go on after this tenant, the last that a stopped run named; tenants are read in the order of
    /// their ids
    #[arg(long, value_name = "ID", conflicts_with = "tenant")]
    pub(crate) after: Option<TenantId>,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// Count only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    /// The grace that `gc` is run with: receipts say by it when the last copies go
    #[arg(long, default_value = defaults::GRACE, value_name = "AGE",
        value_parser = units::duration)]
    pub(crate) grace: Duration,
    /// How far ahead the clock of an API process may be: a receipt is complete that much later
    #[arg(long, default_value = "15m", value_name = "AGE", value_parser = units::duration)]
    pub(crate) clock_skew: Duration,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Leave alone what is younger: 24h, 30m, 0s
    #[arg(long, default_value = defaults::GRACE, value_name = "AGE",
        value_parser = units::duration)]
    pub(crate) grace: Duration,
    /// Count only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}
