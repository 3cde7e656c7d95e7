//! `plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sheaf_loadtest::capacity::costs::{Costs, Measurement};
use sheaf_loadtest::capacity::plan::plan as compute;
use sheaf_loadtest::capacity::prices::Prices;
use sheaf_loadtest::capacity::scaling::Point;
use sheaf_loadtest::capacity::target::{Target, Weight};
use sheaf_loadtest::capacity::text::{self, Form};

use super::run::write;
use super::{Exit, Failure, print};

/// Measurement files at most.
const MAX_FILES: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

#[derive(Args)]
pub(crate) struct PlanArguments {
    /// Measured costs, as `measure` writes them; several files add up, such as one for each number
    /// of workers.
    #[arg(long, required = true, num_args = 1..)]
    measurement: Vec<PathBuf>,
    /// Runs on different numbers of workers for the law of scaling, WORKERS=PER_SECOND, such as the
    /// knees of sweeps.
    #[arg(long, value_delimiter = ',', value_parser = point)]
    throughput: Vec<Point>,
    /// Your prices, TOML; see docs/loadtest.md.
    #[arg(long)]
    prices: PathBuf,
    /// Invoices created in the busiest minute.
    #[arg(long)]
    peak_per_minute: f64,
    /// Invoices over all years; 26e9 is fine.
    #[arg(long)]
    invoices: f64,
    /// Years.
    #[arg(long)]
    years: u32,
    /// Months for which invoices stay hot.
    #[arg(long, default_value_t = Target::default().hot_months)]
    hot_months: f64,
    /// Growth of a year over the one before, in percent.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    growth: f64,
    /// Tenants.
    #[arg(long, default_value_t = Target::default().tenants)]
    tenants: f64,
    /// Invoices that come by bulk upload, in percent.
    #[arg(long, default_value_t = 0.0)]
    bulk: f64,
    /// Payments of each invoice.
    #[arg(long, default_value_t = Target::default().payments)]
    payments: f64,
    /// Reads of each invoice while it is hot.
    #[arg(long, default_value_t = Target::default().reads)]
    reads: f64,
    /// Lists for each invoice.
    #[arg(long, default_value_t = Target::default().lists)]
    lists: f64,
    /// Reads of each archived invoice in a year.
    #[arg(long, default_value_t = Target::default().cold_reads)]
    cold_reads: f64,
    /// Copies of the hot tier; 2 is a standby for each node.
    #[arg(long, default_value_t = Target::default().copies)]
    copies: f64,
    /// The share of its CPUs that a node may use at the peak, in percent.
    #[arg(long, default_value_t = 50.0)]
    utilisation: f64,
    /// The share of its disk that a node may fill, in percent.
    #[arg(long, default_value_t = 70.0)]
    disk_fill: f64,
    /// Hours of write-ahead log that are kept.
    #[arg(long, default_value_t = Target::default().wal_hours)]
    wal_hours: f64,
    /// Bytes of one invoice in an answer, for egress.
    #[arg(long, default_value_t = Target::default().answer_bytes)]
    answer_bytes: f64,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Writes it as JSON as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes it as Markdown as well.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

impl PlanArguments {
    // Shares, not money.
    #[allow(clippy::float_arithmetic)]
    fn target(&self) -> Target {
        Target {
            peak_per_minute: self.peak_per_minute,
            invoices: self.invoices,
            years: self.years,
            hot_months: self.hot_months,
            growth: self.growth / 100.0,
            tenants: self.tenants,
            bulk: self.bulk / 100.0,
            payments: self.payments,
            reads: self.reads,
            lists: self.lists,
            cold_reads: self.cold_reads,
            copies: self.copies,
            utilisation: self.utilisation / 100.0,
            disk_fill: self.disk_fill / 100.0,
            wal_hours: self.wal_hours,
            answer_bytes: self.answer_bytes,
        }
    }
}

fn point(text: &str) -> Result<Point, String> {
    let wrong = || "a run is WORKERS=PER_SECOND, such as 2=9100".to_owned();
    let (workers, per_second) = text.split_once('=').ok_or_else(wrong)?;
    Ok(Point {
        workers: workers.trim().parse().map_err(|_| wrong())?,
        per_second: per_second.trim().parse().map_err(|_| wrong())?,
    })
}

/// Exit code 2: the target contradicts itself, or needs more than any number of nodes does.
pub(crate) fn plan(arguments: &PlanArguments) -> Result<Exit, Failure> {
    let target = arguments.target();
    target.check()?;
    if arguments.measurement.len() > MAX_FILES {
        return Err(format!("at most {MAX_FILES} measurement files").into());
    }
    let files = arguments.measurement.iter();
    let files: Result<Vec<Measurement>, _> = files.map(|path| Measurement::load(path)).collect();
    let mut files = files?;
    if let Some(last) = files.last_mut() {
        last.scaling.extend(&arguments.throughput);
    }
    let prices = Prices::load(&arguments.prices)?;
    let plan = compute(&target, &Costs(files), &prices)?;
    let json = || serde_json::to_string_pretty(&plan);
    if let Some(path) = &arguments.json {
        write(path, &json()?)?;
    }
    if let Some(path) = &arguments.markdown {
        write(path, &text::write(&plan, Form::Markdown))?;
    }
    print(&match arguments.format {
        Format::Text => text::write(&plan, Form::Plain),
        Format::Markdown => text::write(&plan, Form::Markdown),
        Format::Json => json()? + "\n",
    })?;
    let contradicts = |weight: Weight| weight == Weight::Contradiction;
    Ok(
        if plan
            .findings
            .iter()
            .any(|finding| contradicts(finding.weight))
        {
            Exit::Missed
        } else {
            Exit::Good
        },
    )
}
