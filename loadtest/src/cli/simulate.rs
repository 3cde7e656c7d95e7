//! `simulate`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{Datelike as _, Utc};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::simulate::month::{By, Month};
use sheaf_loadtest::simulate::timeline::Outline;
use sheaf_loadtest::simulate::{Commands, Settings, Simulation, Told, report, simulate as run};

use super::run::write;
use super::{Exit, Failure, print};

#[derive(Clone, Copy, ValueEnum)]
enum Rows {
    Month,
    Quarter,
    Year,
}

#[derive(Args)]
pub(crate) struct SimulateArguments {
    /// The server, http://host:port; best one that holds nothing else.
    #[arg(long, env = "SHEAF_URL")]
    url: String,
    /// The admin key: tenants are made for the run.
    #[arg(long, env = "SHEAF_ADMIN_KEY", hide_env_values = true)]
    admin_key: String,
    /// Years to simulate; three or more have something to compare.
    #[arg(long, default_value_t = 5)]
    years: u32,
    /// The first year. Default: the last one is the year before this.
    #[arg(long)]
    first_year: Option<i16>,
    /// Invoices over all years, equally many each month.
    #[arg(long, default_value_t = 1_000_000)]
    invoices: u64,
    /// Tenants to make; the first are the largest.
    #[arg(long, default_value_t = 20)]
    tenants: u32,
    /// Exponent of Zipf's law for the sizes of tenants.
    #[arg(long, default_value_t = 1.0)]
    zipf: f64,
    /// Makes the same years again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Invoices of each month that are uploaded open and paid in later months, one request each.
    #[arg(long, default_value_t = 500)]
    payments_per_month: u64,
    /// Reads of each month: 40% hot, 40% archived, 20% lists; 0: none.
    #[arg(long, default_value_t = 1_200)]
    reads: u32,
    /// Reads per second, well below the knee.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Keep-alive connections of the reads.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// A command that archives and prints JSON, `{date}` being the simulated day: `sheaf tier run
    /// --as-of {date}`.
    #[arg(long)]
    tier: Option<String>,
    /// Months that it leaves hot.
    #[arg(long, default_value_t = 12)]
    hot_months: u32,
    /// A command that prints lines `hot_bytes 789`, `catalog_rows 12` and so on: each name becomes
    /// a column.
    #[arg(long)]
    probe: Option<String>,
    /// Invoices of all years that are read at the end.
    #[arg(long, default_value_t = 2_000)]
    sample: u32,
    /// The exit code is 2 when a figure of the last year is above this many times that of the first
    /// steady one.
    #[arg(long)]
    flat: Option<f64>,
    /// What a row of the table stands for.
    #[arg(long, value_enum, default_value = "quarter")]
    by: Rows,
    /// Writes everything as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a report with plots, one file.
    #[arg(long)]
    html: Option<PathBuf>,
}

impl SimulateArguments {
    fn settings(&self) -> Result<Settings, Failure> {
        let this_year = Utc::now().year();
        let years = i32::try_from(self.years)?;
        let first_year = match self.first_year {
            Some(year) => year,
            None => i16::try_from(this_year - years)?,
        };
        if i32::from(first_year) + years > this_year {
            return Err(
                "the last simulated year is over today: payments and tiering are dated after it"
                    .into(),
            );
        }
        Ok(Settings {
            server: Server::parse(&self.url)?,
            admin_key: self.admin_key.clone(),
            outline: Outline {
                seed: self.seed,
                first_year,
                years: self.years,
                invoices: self.invoices,
                tenants: self.tenants,
                zipf: self.zipf,
                paid_later: self.payments_per_month,
                hot_months: self.hot_months,
            },
            reads: self.reads,
            rate: self.rate,
            warmup: Duration::from_secs(1),
            connections: self.connections,
            sample: self.sample,
            flat: self.flat,
        })
    }

    fn finish(&self, found: &Simulation) -> Result<Exit, Failure> {
        let by = match self.by {
            Rows::Month => By::Month,
            Rows::Quarter => By::Quarter,
            Rows::Year => By::Year,
        };
        if let Some(path) = &self.json {
            write(path, &(serde_json::to_string_pretty(found)? + "\n"))?;
        }
        if let Some(path) = &self.html {
            write(path, &report::html(found, by))?;
        }
        print(&report::markdown(found, by))?;
        if !found.check.holds() {
            return Err("invoices are lost, doubled or not where they belong".into());
        }
        Ok(match (self.flat, found.verdict.is_flat()) {
            (_, Some(false)) => Exit::Missed,
            (Some(_), None) => Exit::Invalid,
            _ => Exit::Good,
        })
    }
}

pub(crate) fn simulate(arguments: &SimulateArguments) -> Result<Exit, Failure> {
    let settings = arguments.settings()?;
    let mut commands = Commands {
        tier: arguments.tier.clone(),
        probe: arguments.probe.clone(),
    };
    let months = arguments.years * 12;
    let bar = std::io::stderr().is_terminal().then(|| bar(months));
    let begun = Instant::now();
    let found = run(&settings, &mut commands, &mut |told| match (&bar, told) {
        (Some(bar), Told::Begins(month, what)) => {
            bar.set_position(u64::from(month));
            bar.set_message(what);
        }
        (Some(bar), Told::Month(month)) => bar.println(line(month)),
        (Some(bar), Told::Checks) => {
            bar.set_position(u64::from(months));
            bar.set_message("checking");
        }
        (None, Told::Begins(..)) => {}
        (None, Told::Month(month)) => {
            eprintln!("{:>6.0} s  {}", begun.elapsed().as_secs_f64(), line(month));
        }
        (None, Told::Checks) => eprintln!("checking"),
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    arguments.finish(&found?)
}

fn bar(months: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(months));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:24} {pos}/{len} months, {eta} left: {msg}")
    {
        bar.set_style(style);
    }
    bar
}

/// One month in one line.
fn line(month: &Month) -> String {
    let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let [hot, cold, list] =
        ["get_hot", "get_cold", "list"].map(|name| show(month.latency(name, 0.5)));
    let tier = month.tier.clone().unwrap_or_default();
    format!(
        "{}  {} sent, {} hot; upload {:.0}/s; p50 hot {hot}, cold {cold}, list {list} ms; tiering \
        {} in {:.1} s",
        month.month,
        month.sent,
        month.hot(),
        month.upload_rate().unwrap_or_default(),
        tier.invoices,
        tier.seconds
    )
}
