//! Years of invoices in an hour: whether a server is as fast, and its hot tier as small, after
//! years as in the first.
//!
//! Each simulated month: uploads of the month's invoices, payments of earlier ones, reads in an
//! open loop, a run of tiering as of the day after, a probe. Nothing of one overlaps with another,
//! so that figures of months compare. At the end everything hot is read, the archive's
//! catalog added up, and a random part of all invoices read.
//!
//! Memory does not grow with the number of invoices, but for one bit each, and for the numbers of
//! those that are open.

pub mod month;
pub mod report;
pub mod timeline;
pub mod verdict;

mod check;
mod pages;
mod pay;
mod reads;
mod upload;

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;

use crate::capacity::command;
use crate::capacity::command::CommandError;
use crate::load::generate::ShapeError;
use crate::load::http::{HttpError, Server};
use crate::load::open::OpenError;
use crate::load::setup;
use crate::load::setup::Tenant;
pub use check::{Check, Finding};
use month::{Figures, Month, Tiered};
use timeline::{Outline, OutlineError, Timeline};
use upload::Writer;
use verdict::Verdict;

/// Version of the file's form.
pub const FORMAT: u32 = 1;

/// How the years are sent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// To whom.
    pub server: Server,
    /// Tenants are made for the run, and uploads are the platform's.
    pub admin_key: String,
    /// What happens when.
    pub outline: Outline,
    /// Reads of each month: 40% hot ones, 40% archived ones (from when there are some), 20% lists.
    /// 0: none.
    pub reads: u32,
    /// Reads per second, above 0; well below what the server takes.
    pub rate: f64,
    /// Time of reading before measuring: connections and plans of statements warm up.
    pub warmup: Duration,
    /// Keep-alive connections of the reads.
    pub connections: usize,
    /// Invoices of all years that are read at the end.
    pub sample: u32,
    /// The ratio of the last year's median to the first steady year's that no figure may exceed,
    /// above 1. `None`: the report tells the ratios and judges nothing.
    pub flat: Option<f64>,
}

/// The reason why a simulation stopped early.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// No such years.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// No such invoices.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The server did not answer as it should.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Reads could not be sent.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A command of the user's.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The server refused what it must take, or answered too many reads wrongly.
    #[error("{0}: {1}")]
    Refused(String, String),
    /// A rate that is not above 0, or a bound that is not above 1.
    #[error("the rate of reads is above 0, the bound for flat figures above 1")]
    Settings,
    /// The system has no runtime for us.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What happens outside of HTTP.
pub trait Outside {
    /// Archives what is settled and old on this day. `None`: nothing is ever archived.
    ///
    /// # Errors
    /// [`CommandError`].
    fn tier(&mut self, day: NaiveDate) -> Result<Option<Tiered>, CommandError>;

    /// Reads figures, such as bytes of the hot tier, by name; none at all is fine.
    ///
    /// # Errors
    /// [`CommandError`].
    fn probe(&mut self) -> Result<Figures, CommandError>;
}

/// Commands of the user's.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// Archives, and prints JSON with `invoices` and `bytes`; `{date}` in it becomes the simulated
    /// day.
    pub tier: Option<String>,
    /// Prints lines `name value`.
    pub probe: Option<String>,
}

impl Outside for Commands {
    fn tier(&mut self, day: NaiveDate) -> Result<Option<Tiered>, CommandError> {
        let Some(template) = &self.tier else {
            return Ok(None);
        };
        let command = template.replace("{date}", &day.to_string());
        let begun = Instant::now();
        let text = command::output(&command)?;
        let seconds = begun.elapsed().as_secs_f64();
        let summary: Value = serde_json::from_str(&text)
            .map_err(|error| CommandError::new(&command, error.to_string()))?;
        if summary.get("invoices").and_then(Value::as_u64).is_none() {
            let lacks = "it prints no JSON with the number of `invoices`";
            return Err(CommandError::new(&command, lacks));
        }
        Ok(Some(Tiered::read(&summary, seconds)))
    }

    fn probe(&mut self) -> Result<Figures, CommandError> {
        let Some(probe) = &self.probe else {
            return Ok(Figures::new());
        };
        let text = command::output(probe)?;
        let figures = command::figures(&text);
        if figures.is_empty() {
            return Err(CommandError::new(probe, "it prints no line `name NUMBER`"));
        }
        Ok(figures)
    }
}

/// The progress of a simulation.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Something begins, in this month, which counts from 0.
    Begins(u32, &'static str),
    /// A month is over.
    Month(&'a Month),
    /// The check at the end begins.
    Checks,
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// [`FORMAT`].
    pub format: u32,
    /// The server, `host:port`.
    pub server: String,
    /// What happened when.
    pub outline: Outline,
    /// Reads of each month, and how many per second.
    pub reads: (u32, f64),
    /// Wall time of all, seconds.
    pub elapsed_s: f64,
    /// In order.
    pub months: Vec<Month>,
    /// Whether everything is there, once.
    pub check: Check,
    /// Whether figures stay flat.
    pub verdict: Verdict,
}

/// Simulates the years; blocks the calling thread. `tell` is called for each step.
///
/// # Errors
/// [`SimulateError`]. What was sent until then stays on the server.
pub fn simulate(
    settings: &Settings,
    outside: &mut dyn Outside,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Simulation, SimulateError> {
    let bound = settings
        .flat
        .is_none_or(|flat| flat > 1.0 && flat.is_finite());
    if !(settings.rate > 0.0 && settings.rate.is_finite() && bound) {
        return Err(SimulateError::Settings);
    }
    let begun = Instant::now();
    let timeline = Timeline::new(settings.outline)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let prefix = format!("sim-{}-", chrono::Utc::now().timestamp_millis());
    let (server, admin) = (&settings.server, &settings.admin_key);
    let tenants = setup::tenants(server, admin, settings.outline.tenants, &prefix);
    let tenants = runtime.block_on(tenants)?;
    let mut run = Run {
        settings,
        runtime,
        due: vec![Due::default(); timeline.months() as usize],
        writer: Writer::new(&timeline, &tenants)?,
        timeline: &timeline,
        tenants: &tenants,
    };
    let mut months: Vec<Month> = Vec::new();
    for month in 0..timeline.months() {
        let found = run.month(month, months.last(), outside, tell)?;
        tell(Told::Month(&found));
        months.push(found);
    }
    tell(Told::Checks);
    let check = run.check(&months)?;
    Ok(Simulation {
        format: FORMAT,
        server: server.authority().to_owned(),
        outline: settings.outline,
        reads: (settings.reads, settings.rate),
        elapsed_s: begun.elapsed().as_secs_f64(),
        verdict: Verdict::of(&months, settings.flat),
        months,
        check,
    })
}

/// What earlier months leave to a later one.
#[derive(Clone, Debug, Default)]
struct Due {
    /// Numbers of the invoices that are paid in it.
    payments: Vec<u64>,
    /// Invoices that its run of tiering should take.
    tiering: u64,
}

/// A run under way.
struct Run<'a> {
    settings: &'a Settings,
    runtime: tokio::runtime::Runtime,
    timeline: &'a Timeline,
    tenants: &'a [Tenant],
    writer: Writer<'a>,
    /// By month.
    due: Vec<Due>,
}

impl Run<'_> {
    fn month(
        &mut self,
        month: u32,
        before: Option<&Month>,
        outside: &mut dyn Outside,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Month, SimulateError> {
        tell(Told::Begins(month, "uploading"));
        let upload = upload::upload(self.settings, &mut self.writer, month, &mut self.due);
        let upload_s = self.runtime.block_on(upload)?.as_secs_f64();
        tell(Told::Begins(month, "paying"));
        let due = std::mem::take(&mut self.due[month as usize]);
        let pay = pay::pay(self.settings, &mut self.writer, &due.payments);
        let pay = self.runtime.block_on(pay)?;
        tell(Told::Begins(month, "reading"));
        let reads = reads::read(self.settings, self.timeline, self.tenants, month)?;
        tell(Told::Begins(month, "tiering"));
        let tier = outside.tier(self.timeline.day_after(month))?;
        tell(Told::Begins(month, "probing"));
        let figures = outside.probe()?;
        let taken = tier
            .as_ref()
            .map_or((0, 0), |tier| (tier.invoices, tier.bytes));
        let sum = before.map_or((0, 0), |before| (before.archived, before.archived_bytes));
        Ok(Month {
            month: self.timeline.period(month).to_string(),
            year: self.timeline.year(month),
            uploaded: self.timeline.before(month + 1) - self.timeline.before(month),
            sent: self.timeline.before(month + 1),
            upload_s,
            pay,
            reads: reads.operations,
            lag_p99_ms: reads.lag_p99_ms,
            tiering_due: due.tiering,
            tier,
            archived: sum.0 + taken.0,
            archived_bytes: sum.1 + taken.1,
            figures,
        })
    }

    fn check(&mut self, months: &[Month]) -> Result<Check, SimulateError> {
        let check = check::check(self.settings, &mut self.writer, months);
        self.runtime.block_on(check)
    }
}

/// Reads that get no answer for this long are given up.
const TIMEOUT: Duration = Duration::from_secs(30);
