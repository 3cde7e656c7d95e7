//! `make bench`: Sheaf beside PostgreSQL's own tools, on the same cluster, in turns.
//!
//! Prints a table, and writes `target/bench/compare.json`. The peers write and read the same rows
//! in the same tables, with prepared statements, all indexes and fsync on.

mod against;
mod cpu;
mod creates;
mod ingest;
mod payments;
mod peer;
mod reads;
mod routes;
mod server;
mod skew;
mod tiering;
mod workers;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sheaf_benches::report::{Pair, Table};
use sheaf_loadtest::load::closed;
use sheaf_loadtest::load::closed::{Outcome, Plan};
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::setup;
use sheaf_loadtest::load::setup::Tenant;
use sheaf_local::{CitusMode, LocalEnv, Options};

use peer::Database;
use server::Serve;

/// Any error, as a sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Tenants of every comparison.
const TENANTS: u32 = 100;

/// Side-by-side comparisons.
#[derive(Parser)]
struct Cli {
    /// One plain node, even where Citus is installed.
    #[arg(long)]
    plain: bool,
    /// Short steps, for a first look: 3 s instead of 8 s, and 50,000 instead of 200,000 invoices.
    #[arg(long)]
    quick: bool,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// Only these comparisons.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Compare with another build of `sheaf` instead of PostgreSQL's tools, in turns, each on a
    /// cluster of its own; ends with 1 when this one is more than 3% slower, and by more than the
    /// other one differs from itself.
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
}

impl Cli {
    /// Whether a comparison was asked for.
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Ingest,
    Reads,
    Creates,
    Payments,
    Routes,
    Skew,
    Tiering,
    Workers,
}

/// What every comparison works with.
struct Bench {
    database: Database,
    serve: Serve,
    admin_key: String,
    tenants: Vec<Tenant>,
    /// Our files, below `target/bench`.
    dir: PathBuf,
    rounds: u8,
    /// Measured time of one step.
    step: Duration,
    /// Invoices of one upload.
    upload: u32,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let interrupted = tokio::signal::ctrl_c();
    let outcome = tokio::select! {
        done = run(&cli) => done,
        _ = interrupted => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    let release = std::env::current_exe()?;
    let release = release
        .parent()
        .ok_or("this program lies in no directory")?;
    let dir = release.with_file_name("bench");
    std::fs::create_dir_all(&dir)?;
    let sheaf = server::binary(release).await?;

    // Open to all, so that an unprivileged PostgreSQL gets through.
    let mode = std::fs::Permissions::from_mode(0o755);
    let scratch = tempfile::Builder::new()
        .prefix("run-")
        .permissions(mode)
        .tempdir_in(&dir)?;
    let pairs = match &cli.against {
        Some(other) => against::compare(cli, other, &sheaf, scratch.path()).await?,
        None => {
            let env = LocalEnv::start(&options(cli, scratch.path()), false).await?;
            eprintln!("compare: {}", env.describe());
            let compared = compare(cli, &env, &sheaf, scratch.path()).await;
            env.stop().await?;
            compared?
        }
    };

    let file = dir.join("compare.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&pairs)?)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{}", env_line(cli), Table(&pairs))?;
    writeln!(out, "written to {}", file.display())?;
    let falls = match cli.against {
        Some(_) => against::falls(&pairs),
        None => Vec::new(),
    };
    if falls.is_empty() {
        return Ok(());
    }
    let falls: Vec<&str> = falls.iter().map(|pair| pair.name.as_str()).collect();
    Err(format!("slower than the other build: {}", falls.join(", ")).into())
}

/// A local environment below `dir`.
fn options(cli: &Cli, dir: &Path) -> Options {
    let citus = if cli.plain {
        CitusMode::Off
    } else {
        CitusMode::Auto
    };
    Options {
        data_dir: dir.join("data"),
        citus,
        ..Options::default()
    }
}

/// A directory that is open to all, so that an unprivileged PostgreSQL gets through.
fn directory(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir(dir)?;
    Ok(std::fs::set_permissions(
        dir,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

fn env_line(cli: &Cli) -> String {
    format!(
        "median of {} rounds each, in turns{}",
        cli.rounds,
        if cli.quick { ", short steps" } else { "" }
    )
}

async fn compare(
    cli: &Cli,
    env: &LocalEnv,
    sheaf: &Path,
    dir: &Path,
) -> Result<Vec<Pair>, Failure> {
    let bench = Bench::start(cli, env, sheaf, dir).await?;
    let mut pairs = Vec::new();
    if cli.wants(Part::Ingest) {
        pairs.extend(ingest::compare(&bench).await?);
    }
    if cli.wants(Part::Reads) {
        pairs.extend(reads::compare(&bench).await?);
    }
    if cli.wants(Part::Creates) {
        pairs.extend(creates::compare(&bench).await?);
    }
    if cli.wants(Part::Payments) {
        pairs.extend(payments::compare(&bench).await?);
    }
    if cli.wants(Part::Routes) {
        pairs.extend(routes::compare(&bench, env, sheaf).await?);
    }
    if cli.wants(Part::Skew) {
        pairs.extend(skew::compare(&bench).await?);
    }
    if cli.wants(Part::Tiering) {
        pairs.extend(tiering::compare(&bench, tiering::Tier { sheaf, env }).await?);
    }
    bench.serve.stop().await?;
    if cli.wants(Part::Workers) {
        if env.is_citus() {
            pairs.extend(workers::compare(cli, sheaf, dir).await?);
        } else {
            eprintln!("compare: workers: left out, there is no Citus");
        }
    }
    Ok(pairs)
}

impl Bench {
    /// A server on a cluster, and tenants. `dir` takes the files of its comparisons.
    async fn start(cli: &Cli, env: &LocalEnv, sheaf: &Path, dir: &Path) -> Result<Self, Failure> {
        let admin_key = env.secret("admin_key")?;
        let serve = Serve::start(sheaf, env, &admin_key).await?;
        let server = Server::parse(serve.url())?;
        Ok(Self {
            database: Database::connect(env).await?,
            tenants: setup::tenants(&server, &admin_key, TENANTS, "").await?,
            serve,
            admin_key,
            dir: dir.to_path_buf(),
            rounds: cli.rounds,
            step: Duration::from_secs(if cli.quick { 3 } else { 8 }),
            upload: if cli.quick { 50_000 } else { 200_000 },
        })
    }

    /// Runs a plan on a thread of its own, with the cheapest runtime.
    async fn drive(&self, plan: Plan) -> Result<Outcome, Failure> {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(closed::run(plan))?)
        };
        let outcome: Result<Outcome, Failure> = tokio::task::spawn_blocking(run).await?;
        let outcome = outcome?;
        let bad: u64 = outcome
            .statuses
            .iter()
            .filter(|(status, _)| **status >= 400)
            .map(|(_, n)| n)
            .sum();
        if bad > 0 || outcome.broken > 0 || outcome.unanswered > 0 {
            let Outcome {
                statuses,
                broken,
                unanswered,
                ..
            } = &outcome;
            eprintln!("compare: answers {statuses:?}, broken {broken}, unanswered {unanswered}");
        }
        Ok(outcome)
    }

    /// A plan against our server.
    fn plan(&self, connections: usize, requests: Vec<closed::Prepared>) -> Result<Plan, Failure> {
        Ok(Plan {
            server: Server::parse(self.serve.url())?,
            connections,
            warmup: peer::WARMUP,
            duration: self.step,
            rate: None,
            requests,
        })
    }
}
