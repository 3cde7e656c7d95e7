//! The command line.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sheaf_model::TenantId;
use sheaf_store::NodeAddress;

use crate::error::{Error, Result};
use crate::settings::{ApiSettings, ColdSettings, DatabaseSettings, ServeSettings};
use crate::units;

/// An invoice store that is sharded by tenant on PostgreSQL and Citus, with older invoices in Parquet on S3.
#[derive(Debug, Parser)]
#[command(name = "sheaf", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "local")]
    /// Run everything on this machine, in the foreground: PostgreSQL (with Citus where it is installed), S3, the API
    ///
    /// When ready, writes `<data-dir>/env`, which the other commands' settings can be sourced from, and prints the
    /// same. Ctrl-C stops everything; the data stays. SIGUSR1 starts one more Citus worker, for `sheaf cluster add-node`.
    Up(UpArgs),
    /// Serve the HTTP API, from SHEAF_* settings
    Serve(Box<ServeSettings>),
    /// Bring the database's schema to this version, and distribute its tables where Citus is present
    Migrate(MigrateArgs),
    /// Tenants, through the HTTP API
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Upload invoices as NDJSON, one a line; prints the summary as JSON
    ///
    /// Exits with 1 when lines were rejected. Sending a file again is safe for lines with an external_id or an id, and
    /// for all lines with the same --idempotency-key: those that are stored already count as duplicates.
    Ingest(IngestArgs),
    /// Moving old settled invoices to the cold tier
    #[command(subcommand)]
    Tier(TierCommand),
    /// The cold tier by hand
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Find invoice numbers that several documents of a tenant have, in both tiers; prints JSON
    ///
    /// A number is unique in the year of the document's id and in its year of issue. Documents of releases that did not know
    /// of the second are entered for it; numbers that are double already are listed and stay. Exits with 1 when there are
    /// any.
    Numbers(ArchiveArgs),
    /// The Citus cluster by hand, through the database
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where all data is kept; made if it is missing
    #[arg(long, default_value = ".sheaf", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Port of the API on 127.0.0.1
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Port of GET /metrics on 127.0.0.1 [default: what the data directory has]
    #[arg(long, value_name = "PORT")]
    pub(crate) metrics_port: Option<u16>,
    /// Citus workers; 0 for one plain node [default: 2, or what the data directory has]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Delete all data in the data directory first
    #[arg(long)]
    pub(crate) reset: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    /// Shards of the distributed tables; decided at the first migration
    #[arg(long, env = "SHEAF_SHARDS", default_value_t = crate::migrate::DEFAULT_SHARDS,
        value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) shards: u32,
    /// Documents of earlier years share one partition; decided at the first migration
    #[arg(long, env = "SHEAF_FIRST_OWN_YEAR", default_value_t = sheaf_store::FIRST_OWN_YEAR, value_name = "YEAR",
        value_parser = clap::value_parser!(i16).range(1970..=2199))]
    pub(crate) first_own_year: i16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant and an API key for it; prints JSON
    Create(TenantCreateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TenantCreateArgs {
    #[command(flatten)]
    pub(crate) api: ApiSettings,
    /// For people
    #[arg(long)]
    pub(crate) name: String,
    /// Your own key of the tenant, unique
    #[arg(long, value_name = "KEY")]
    pub(crate) external_id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// An NDJSON file, plain or gzip; `-` reads stdin
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Lines name their tenants (tenant_id or tenant_external_id); takes the admin key
    #[arg(long)]
    pub(crate) platform: bool,
    /// Make tenants that do not exist
    #[arg(long, requires = "platform")]
    pub(crate) create_tenants: bool,
    /// All lines or none
    #[arg(long)]
    pub(crate) atomic: bool,
    /// The lines are an export, of whatever tenant: they become this one's, as they were
    #[arg(long)]
    pub(crate) restore: bool,
    /// How tax is rounded of lines that do not say: once a rate, or each line by itself
    #[arg(long, value_name = "HOW", value_parser = ["document", "line"])]
    pub(crate) tax_rounding: Option<String>,
    /// Names the upload: sent again with the same key within 7 days, it goes on where it broke off
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiSettings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TierCommand {
    /// Move settled invoices that are older than the horizon; prints a JSON summary
    Run(TierRunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TierRunArgs {
    /// The day to count from, YYYY-MM-DD [default: today, UTC]
    #[arg(long, value_name = "DATE", value_parser = sheaf_model::plain::date)]
    pub(crate) as_of: Option<NaiveDate>,
    /// Whole months before this horizon move: 12m, 1y, 0m
    #[arg(long, default_value = "12m", value_name = "AGE", value_parser = units::months)]
    pub(crate) older_than: u32,
    /// Only this tenant
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<TenantId>,
    /// Count only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) cold: ColdSettings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// List published files: a table on a terminal, else one JSON object a line
    Ls(ArchiveArgs),
    /// Read every published object whole and compare it with the catalog; exits with 1 when something is wrong
    Verify(VerifyArgs),
    /// Make one file of the small files of each month, without copies that recalls have put out of date; prints JSON
    ///
    /// The files that were replaced stay until `gc` collects them after its grace.
    Compact(CompactArgs),
    /// Go on with erasures of customers' personal data, in both tiers, and bring their receipts up to date; prints JSON
    ///
    /// Objects that were replaced stay until `gc` collects them after its grace.
    Erase(EraseArgs),
    /// Delete what killed runs and replaced generations left behind
    Gc(GcArgs),
    /// Ask the tenant's archive a read-only SQL query, through the HTTP API
    ///
    /// Tables: invoices, lines, payments, events. Exits with 1 when the answer is not whole.
    Query(QueryArgs),
    /// Export years of the tenant, through the HTTP API
    ///
    /// NDJSON is what `sheaf ingest` takes back. --format parquet prints a manifest of the archived objects; with --download
    /// it fetches them, and goes on with those that are missing when it is run again. Exits with 1 when the export is not
    /// whole.
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
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Read at most so much a second: 50MiB, 512KiB, 1GiB [default: as fast as can be]
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub(crate) rate: Option<NonZeroU64>,
    /// Go on after this tenant, the last that a stopped run named; tenants are read in the order of their ids
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
    #[arg(long, default_value = "24h", value_name = "AGE", value_parser = units::duration)]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Leave alone what is younger: 24h, 30m, 0s
    #[arg(long, default_value = "24h", value_name = "AGE", value_parser = units::duration)]
    pub(crate) grace: Duration,
    /// Count only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Draw nodes, shard groups, skew, moves and the busiest tenants; a node that is down is named
    Status(ClusterStatusArgs),
    /// Let a node in: PostgreSQL of the same major version with the same Citus and an empty database; prints JSON
    AddNode(AddNodeArgs),
    /// Move all shards off a node, and none onto it any more
    DrainNode(DrainNodeArgs),
    /// Spread the shards evenly over the nodes, in the background of the cluster, while everything goes on
    ///
    /// Waits until it is done and prints JSON. Ctrl-C leaves it running.
    Rebalance(RebalanceArgs),
    /// Move a tenant, and all that share its shard group, to a node while it is being used; prints JSON
    MoveTenant(MoveTenantArgs),
    /// Give a tenant a shard group of its own while it is being used; prints JSON
    IsolateTenant(IsolateTenantArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ClusterStatusArgs {
    /// Print JSON instead of drawing
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

/// A node as the others reach it.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Host name or address of the node, as the other nodes reach it
    pub(crate) host: String,
    /// Its port
    pub(crate) port: u16,
}

impl NodeArgs {
    pub(crate) fn address(&self) -> NodeAddress {
        NodeAddress {
            host: self.host.clone(),
            port: self.port,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AddNodeArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

#[derive(Debug, Args)]
pub(crate) struct DrainNodeArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Take the empty node out of the cluster as well
    #[arg(long)]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

#[derive(Debug, Args)]
pub(crate) struct RebalanceArgs {
    /// Print what would move; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop the rebalance (or drain) that is running
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) stop: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

#[derive(Debug, Args)]
pub(crate) struct MoveTenantArgs {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

#[derive(Debug, Args)]
pub(crate) struct IsolateTenantArgs {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// Then move it to this node
    #[arg(long, num_args = 2, value_names = ["HOST", "PORT"])]
    to: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

impl IsolateTenantArgs {
    /// Where to, if anywhere.
    pub(crate) fn to(&self) -> Result<Option<NodeAddress>> {
        let Some([host, port]) = self.to.as_deref() else {
            return Ok(None);
        };
        let port = port
            .parse()
            .map_err(|_| Error::new(format!("--to: {port} is not a port")))?;
        Ok(Some(NodeAddress {
            host: host.clone(),
            port,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn create_tenants_belongs_to_platform() {
        assert!(Cli::try_parse_from(["sheaf", "ingest", "-", "--create-tenants"]).is_err());
        let cli = Cli::try_parse_from(["sheaf", "ingest", "-", "--platform", "--create-tenants"]);
        assert!(matches!(cli.unwrap().command, Command::Ingest(args) if args.create_tenants));
    }

    #[test]
    fn a_tenant_is_isolated_on_a_node_that_is_named_whole() {
        let tenant = "0199f2a0-0000-7000-8000-000000000000";
        let parse = |to: &[&str]| {
            let start = [
                "sheaf",
                "cluster",
                "isolate-tenant",
                "--database-url",
                "x",
                tenant,
            ];
            Cli::try_parse_from(start.iter().chain(to))
        };
        assert!(parse(&["--to", "pg-1"]).is_err());
        for (port, good) in [("5432", true), ("http", false)] {
            let command = parse(&["--to", "pg-1", port]).unwrap().command;
            let Command::Cluster(ClusterCommand::IsolateTenant(args)) = command else {
                unreachable!("another command");
            };
            assert_eq!(args.to().is_ok_and(|to| to.is_some()), good);
        }
    }

    #[test]
    fn secrets_are_not_in_the_help() {
        let mut command = Cli::command();
        for name in ["serve", "ingest", "migrate"] {
            let subcommand = command.find_subcommand_mut(name).unwrap();
            for argument in subcommand.get_arguments() {
                let secret = ["KEY", "DATABASE_URL"].iter().any(|word| {
                    argument
                        .get_env()
                        .is_some_and(|env| env.to_string_lossy().contains(word))
                });
                assert!(
                    !secret || argument.is_hide_env_values_set(),
                    "{}",
                    argument.get_id()
                );
            }
        }
    }
}
