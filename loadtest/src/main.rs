//! `sheaf-loadtest`: generates invoices, and finds the highest rate that a server takes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use sheaf_loadtest::closed::{self, Outcome, Plan, Prepared};
use sheaf_loadtest::generate::{Form, Generator, Shape, Skew};
use sheaf_loadtest::http::Server;
use sheaf_loadtest::setup;

type Failure = Box<dyn std::error::Error>;

/// Requests prepared for one run; they are sent in turns.
const PREPARED: usize = 5_000;

/// Load for Sheaf.
#[derive(Parser)]
#[command(name = "sheaf-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes realistic invoices as NDJSON for a bulk upload; the same seed makes the same file.
    Generate(Generate),
    /// Sends single requests over a fixed number of connections, as fast as they are answered; prints JSON.
    Saturate(Saturate),
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
        Command::Generate(arguments) => generate(&arguments),
        Command::Saturate(arguments) => saturate(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
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

/// A time such as `500ms`, `10s` or `2m`, at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number and one of ms, s, m, h".to_owned()),
    };
    let count: u64 = count
        .parse()
        .map_err(|_| "a time starts with a whole number".to_owned())?;
    let millis = count
        .checked_mul(millis)
        .filter(|millis| (1..=86_400_000).contains(millis));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is at least 1ms and at most 24h".to_owned())
}
