//! The command line.

pub(crate) mod pages;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::settings::{ApiSettings, DatabaseSettings, DoctorSettings, ServeSettings};

mod archive;
mod cluster;

pub(crate) use archive::{
    ArchiveArgs, ArchiveCommand, CompactArgs, EraseArgs, ExportArgs, ExportFormat, ExportTier,
    GcArgs, QueryArgs, QueryFormat, QueryTier, TierCommand, TierRunArgs, VerifyArgs,
};
pub(crate) use cluster::{
    AddNodeArgs, ClusterCommand, ClusterStatusArgs, DrainNodeArgs, IsolateTenantArgs,
    MoveTenantArgs, RebalanceArgs,
};

const EXIT: &str = "\
Exit codes:
  0  done
  1  failed; stderr says why
  2  arguments or settings that make no sense";
const EXIT_INGEST: &str = "\
Exit codes:
  0  every line is stored, now or before
  1  lines were rejected, or the upload failed; stderr says why
  2  arguments or settings that make no sense";
const EXIT_TIER: &str = "\
Exit codes:
  0  done
  1  failed, as a whole or in part: stderr and `failed` of the summary say what; the next run \
  tries again
  2  arguments or settings that make no sense";
const EXIT_ARCHIVE: &str = "\
Exit codes:
  0  done
  1  failed, as a whole or in part: stderr and `failed` of the summary say what; of `verify` also: \
  something is wrong; of
     `query` and `export` also: the answer is not whole
  2  arguments or settings that make no sense";
const EXIT_NUMBERS: &str = "\
Exit codes:
  0  no number is on several documents
  1  some are, or the run failed; stderr says why
  2  arguments or settings that make no sense";
const EXIT_CLUSTER: &str = "\
Exit codes:
  0  done
  1  failed; stderr says why. Of `add-node` also: the node is in, but nodes cannot log in to one \
  another; of `rebalance` and
     `drain-node` also: Ctrl-C, and the moves go on in the background
  2  arguments or settings that make no sense";
const EXIT_DOCTOR: &str = "\
Exit codes:
  0  nothing fails; there may be warnings
  1  something fails
  2  arguments or settings that make no sense";

/// An invoice store that is sharded by tenant on PostgreSQL and Citus, with older invoices in
/// Parquet on S3.
#[derive(Debug, Parser)]
#[command(name = "sheaf", version, arg_required_else_help = true, after_help = EXIT)]
pub(crate) struct Cli {
    /// A TOML file with settings, below the environment and flags: SHEAF_S3_BUCKET is s3_bucket
    /// there
    #[arg(long, global = true, env = "SHEAF_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<std::ffi::OsString>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "local")]
    /// Run everything on this machine, in the foreground: PostgreSQL (with Citus where it is
    /// installed), S3, the API
    ///
    /// When ready, writes `<data-dir>/env`, which the other commands' settings can be sourced from,
    /// and prints the same. Ctrl-C stops everything; the data stays. SIGUSR1 starts one more Citus
    /// worker, for `sheaf cluster add-node`.
    #[command(after_help = EXIT)]
    Up(UpArgs),
    /// Serve the HTTP API, from SHEAF_* settings
    #[command(after_help = EXIT)]
    Serve(Box<ServeSettings>),
    /// Bring the database's schema to this version, and distribute its tables where Citus is
    /// present; prints JSON
    #[command(after_help = EXIT)]
    Migrate(MigrateArgs),
    /// Tenants, through the HTTP API
    #[command(subcommand, after_help = EXIT)]
    Tenant(TenantCommand),
    /// Upload invoices as NDJSON, one per line; prints the summary as JSON
    ///
    /// Exits with 1 when lines were rejected. Sending a file again is safe for lines with an
    /// external_id or an id, and for all lines with the same --idempotency-key: those that are
    /// stored already count as duplicates.
    #[command(after_help = EXIT_INGEST)]
    Ingest(IngestArgs),
    /// Moving old settled invoices to the cold tier
    #[command(subcommand, after_help = EXIT_TIER)]
    Tier(TierCommand),
    /// The cold tier by hand
    #[command(subcommand, after_help = EXIT_ARCHIVE)]
    Archive(ArchiveCommand),
    /// Find invoice numbers that several documents of a tenant have, in both tiers; prints JSON
    ///
    /// A number is unique in the year of the document's id and in its year of issue. Documents of
    /// releases that did not know of the second are entered for it; numbers that are double already
    /// are listed and stay. Exits with 1 when there are any.
    #[command(after_help = EXIT_NUMBERS)]
    Numbers(ArchiveArgs),
    /// The Citus cluster by hand, through the database
    #[command(subcommand, after_help = EXIT_CLUSTER)]
    Cluster(ClusterCommand),
    /// Look at everything that the settings name, and say what is wrong with it and what to do;
    /// changes nothing
    ///
    /// PostgreSQL and Citus on every node, the roles, the schema, S3 (by objects of its own, which
    /// it deletes again), disks, ports, clocks, credentials. A line each. Works from the settings
    /// of `serve` and `migrate`, and says which are not set.
    #[command(after_help = EXIT_DOCTOR)]
    Doctor(Box<DoctorArgs>),
    /// Print a script that completes this command line in a shell
    ///
    /// For bash: sheaf completions bash > ~/.local/share/bash-completion/completions/sheaf
    #[command(after_help = EXIT)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write one per command into a directory
    #[command(after_help = EXIT)]
    Man(ManArgs),
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// One line.
    Json,
}

#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct OutputArgs {
    /// How the result is printed [default: json; of `archive ls` in a terminal: table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON: --output json
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
    /// How the result is printed [default: table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// How long one question may take: 5s, 1m
    #[arg(long, default_value = "5s", value_name = "TIME",
        value_parser = crate::terminal::units::interval)]
    pub(crate) timeout: std::time::Duration,
    #[command(flatten)]
    pub(crate) settings: DoctorSettings,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write sheaf.1, sheaf-serve.1 and so on into this directory; made if it is missing [default:
    /// sheaf.1 on stdout]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
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
    #[arg(long, env = "SHEAF_SHARDS", default_value_t = crate::operate::migrate::DEFAULT_SHARDS,
        value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) shards: u32,
    /// Documents of earlier years share one partition; decided at the first migration
    #[arg(long, env = "SHEAF_FIRST_OWN_YEAR", default_value_t = sheaf_store::FIRST_OWN_YEAR,
        value_name = "YEAR",
        value_parser = clap::value_parser!(i16).range(1970..=2199))]
    pub(crate) first_own_year: i16,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    /// The tenant's name, for people
    #[arg(long)]
    pub(crate) name: String,
    /// Your own key for the tenant, unique among all tenants
    #[arg(long, value_name = "KEY")]
    pub(crate) external_id: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    /// How tax is rounded where the upload's invoices do not say it: once per tax rate (document),
    /// or line by line (line)
    #[arg(long, value_name = "HOW", value_parser = ["document", "line"])]
    pub(crate) tax_rounding: Option<String>,
    /// Names the upload: sent again with the same key within 7 days, it goes on where it broke off
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    fn every_command_group_lists_its_exit_codes() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(
                help.starts_with("Exit codes:\n  0  "),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn what_prints_data_prints_it_as_asked() {
        fn leaves(command: &clap::Command) -> Vec<&clap::Command> {
            match command.has_subcommands() {
                true => command.get_subcommands().flat_map(leaves).collect(),
                false => vec![command],
            }
        }
        // These run on, write what others read, or have --format.
        let others = ["up", "serve", "completions", "man", "query", "export"];
        for leaf in leaves(&Cli::command()) {
            let name = leaf.get_name();
            let has = leaf
                .get_arguments()
                .any(|argument| argument.get_id() == "output");
            assert_eq!(has, !others.contains(&name), "{name}");
        }
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
        for name in ["serve", "ingest", "migrate", "doctor"] {
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
