//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand};
use sheaf_model::TenantId;

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
    /// Run everything on this machine, in the foreground: PostgreSQL (with Citus where it is installed), S3, the API
    ///
    /// When ready, writes `<data-dir>/env`, which the other commands' settings can be sourced from, and prints the
    /// same. Ctrl-C stops everything; the data stays.
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
    /// Exits with 1 when lines were rejected. Sending a file again is safe for lines with an external_id: those that
    /// are stored already count as duplicates.
    Ingest(IngestArgs),
    /// Moving old settled invoices to the cold tier
    #[command(subcommand)]
    Tier(TierCommand),
    /// The cold tier by hand
    #[command(subcommand)]
    Archive(ArchiveCommand),
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where all data is kept; made if it is missing
    #[arg(long, default_value = ".sheaf", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Port of the API on 127.0.0.1
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
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
    #[arg(long, value_name = "DATE")]
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
    Verify(ArchiveArgs),
    /// Delete what killed runs and replaced generations left behind
    Gc(GcArgs),
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
