//! `sheaf-loadtest`: generates invoices and load, and tells what a server takes.

mod cli;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::Serialize;
use sheaf_loadtest::load::closed;
use sheaf_loadtest::load::closed::{Outcome, Plan, Prepared};
use sheaf_loadtest::load::generate::{Form, Generator, Shape, Skew};
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::setup;

use cli::{Exit, Failure, seconds};

/// Requests prepared for one run; they are sent in turns.
const PREPARED: usize = 5_000;

const EXIT: &str = "\
Exit codes:
  0  good
  1  it could not be done; stderr says why
  2  a condition was missed, or the arguments make no sense
  3  the run says nothing about the server
  4  worse than the baseline";

/// Load for Sheaf.
#[derive(Parser)]
#[command(name = "sheaf-loadtest", version, after_help = EXIT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes realistic invoices as NDJSON for a bulk upload; the same seed makes the same file.
    Generate(Generate),
    /// Sends single requests over a fixed number of connections, as fast as they are answered;
    /// prints JSON.
    Saturate(Saturate),
    /// Sends requests at a rate that no answer slows down, and reports the latency that users would
    /// see.
    Run(Box<cli::run::RunArguments>),
    /// Finds the highest rate that meets an objective.
    Sweep(Box<cli::sweep::SweepArguments>),
    /// Measures what operations cost, for `plan`.
    Measure(Box<cli::measure::MeasureArguments>),
    /// Years of invoices in an hour: whether latencies, the hot tier and tiering stay as they were.
    Simulate(Box<cli::simulate::SimulateArguments>),
    /// Machines, disks, objects and money for the years to come, from measured costs and your
    /// prices.
    Plan(Box<cli::plan::PlanArguments>),
    /// Puts together the runs of several workers over the same time.
    Merge(cli::run::MergeArguments),
    /// Does everything that clients do while things break, and decides whether the answers can be
    /// true.
    Check(Box<cli::check::CheckArguments>),
    /// Sends every field at its extremes, and tells what was answered wrongly or hurt others.
    Poison(cli::poison::PoisonArguments),
    /// How much nine quiet tenants notice of a hostile one.
    Neighbours(cli::poison::NeighboursArguments),
    /// A server with known delays and stalls, to check this tool or another against.
    Stub(cli::stub::StubArguments),
    /// Prints a script that completes this command line in a shell.
    Completions(cli::pages::CompletionsArguments),
    /// Prints the manual page, or writes one per command into a directory.
    Man(cli::pages::ManArguments),
}

#[derive(Args)]
struct Generate {
    /// How many.
    #[arg(long)]
    invoices: u64,
    /// Tenants over which they spread, named `tenant-00000` and so on.
    #[arg(long, default_value_t = 10)]
    tenants: u32,
    /// Mean number of lines; the counts are log-normal.
    #[arg(long, default_value_t = 2.0)]
    lines_mean: f64,
    /// Years over which the dates spread, back from the last day.
    #[arg(long, default_value_t = 1)]
    years: u32,
    /// The last day, YYYY-MM-DD. Default: today (UTC).
    #[arg(long)]
    last_day: Option<NaiveDate>,
    /// Exponent of Zipf's law for the sizes of tenants. Default: all are equally large.
    #[arg(long)]
    zipf: Option<f64>,
    /// Names the data set.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leaves the tenant out, for the bulk endpoint of one tenant.
    #[arg(long)]
    single_tenant: bool,
    /// The file; `-` is standard output.
    #[arg(long, default_value = "-")]
    out: String,
}

#[derive(Args)]
struct Saturate {
    /// The server, http://host:port.
    #[arg(long, env = "SHEAF_URL")]
    url: String,
    /// The admin key: tenants are made for the run.
    #[arg(long, env = "SHEAF_ADMIN_KEY", hide_env_values = true)]
    admin_key: String,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Measured time, such as 10s or 2m.
    #[arg(long, default_value = "10s", value_parser = seconds)]
    duration: Duration,
    /// Tenants to make.
    #[arg(long, default_value_t = 100)]
    tenants: u32,
    /// Reads invoices, made beforehand, instead of creating some.
    #[arg(long)]
    reads: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Generate(arguments) => generate(&arguments).map(|()| Exit::Good),
        Command::Saturate(arguments) => saturate(&arguments).map(|()| Exit::Good),
        Command::Run(arguments) => cli::run::run(&arguments),
        Command::Sweep(arguments) => cli::sweep::sweep(&arguments),
        Command::Measure(arguments) => cli::measure::measure(&arguments),
        Command::Simulate(arguments) => cli::simulate::simulate(&arguments),
        Command::Plan(arguments) => cli::plan::plan(&arguments),
        Command::Merge(arguments) => cli::run::merge(&arguments),
        Command::Check(arguments) => cli::check::check(*arguments),
        Command::Poison(arguments) => cli::poison::poison(arguments),
        Command::Neighbours(arguments) => cli::poison::neighbours(arguments),
        Command::Stub(arguments) => cli::stub::serve(&arguments).map(|()| Exit::Good),
        Command::Completions(arguments) => {
            cli::pages::completions(&arguments, Cli::command()).map(|()| Exit::Good)
        }
        Command::Man(arguments) => cli::pages::man(&arguments, Cli::command()).map(|()| Exit::Good),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("sheaf-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(arguments: &Generate) -> Result<(), Failure> {
    let last_day = arguments
        .last_day
        .unwrap_or_else(|| Utc::now().date_naive());
    let shape = Shape {
        skew: arguments.zipf.map_or(Skew::Uniform, Skew::Zipf),
        lines_mean: arguments.lines_mean,
        ..Shape::import(arguments.seed, arguments.tenants, last_day, arguments.years)
    };
    let mut generator = Generator::new(shape)?;
    let form = if arguments.single_tenant {
        Form::Tenant
    } else {
        Form::Platform
    };
    let sink: Box<dyn Write> = match arguments.out.as_str() {
        "-" => Box::new(io::stdout().lock()),
        path => {
            Box::new(File::create(path).map_err(|error| format!("cannot create {path}: {error}"))?)
        }
    };
    let mut sink = BufWriter::with_capacity(1 << 20, sink);
    let mut line = Vec::new();
    for _ in 0..arguments.invoices {
        line.clear();
        generator.write(form, &mut line);
        line.push(b'\n');
        sink.write_all(&line)?;
    }
    Ok(sink.flush()?)
}

/// What `saturate` prints.
#[derive(Serialize)]
struct Report {
    operation: &'static str,
    tenants: u32,
    #[serde(flatten)]
    outcome: Outcome,
}

#[tokio::main(flavor = "current_thread")]
async fn saturate(arguments: &Saturate) -> Result<(), Failure> {
    let server = Server::parse(&arguments.url)?;
    let prefix = format!("saturate-{}-", Utc::now().timestamp_millis());
    let tenants = setup::tenants(&server, &arguments.admin_key, arguments.tenants, &prefix).await?;
    let mut generator = Generator::new(Shape::single(1, arguments.tenants))?;
    let creates = Plan {
        server,
        connections: arguments.connections,
        warmup: Duration::from_secs(1),
        duration: arguments.duration,
        rate: None,
        requests: Prepared::creates(&mut generator, &tenants, PREPARED)?,
    };
    let (operation, outcome) = if arguments.reads {
        let warmup = Duration::ZERO;
        let some = Plan {
            warmup,
            duration: Duration::from_secs(2),
            ..creates.clone()
        };
        let mut created = closed::run(some).await?.created;
        created.truncate(PREPARED);
        if created.is_empty() {
            return Err("no invoice could be created to read".into());
        }
        let requests = Prepared::reads(&created, &tenants)?;
        (
            "read",
            closed::run(Plan {
                requests,
                ..creates
            })
            .await?,
        )
    } else {
        ("create", closed::run(creates).await?)
    };
    let report = Report {
        operation,
        tenants: arguments.tenants,
        outcome,
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report)?;
    Ok(writeln!(out)?)
}
