//! `run` and `merge`, and what `sweep` shares with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sheaf_loadtest::load::arrivals::Arrivals;
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::material::Material;
use sheaf_loadtest::load::mix::Mix;
use sheaf_loadtest::load::open;
use sheaf_loadtest::load::open::{Plan, Progress};
use sheaf_loadtest::load::setup;
use sheaf_loadtest::load::setup::Tenant;
use sheaf_loadtest::result::baseline;
use sheaf_loadtest::result::baseline::Change;
use sheaf_loadtest::result::objective::Objective;
use sheaf_loadtest::result::report;
use sheaf_loadtest::result::report::Extras;
use sheaf_loadtest::result::run::{Bounds, Run};

use super::{Exit, Failure, seconds};

/// Whom to send to, and what.
#[derive(Args)]
pub(crate) struct Target {
    /// The server, http://host:port.
    #[arg(long, env = "SHEAF_URL")]
    pub(crate) url: String,
    /// The admin key: tenants are made for the run.
    #[arg(long, env = "SHEAF_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// Tenants to make; the first are the largest.
    #[arg(long, default_value_t = 100)]
    tenants: u32,
    /// Tenants that exist, instead of new ones: a file with a line `tenant-id api-key` each, the
    /// largest first.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Operations and weights (`create=60,get_hot=40`), or a TOML file; see docs/loadtest.md.
    #[arg(long)]
    mix: Option<String>,
    /// Keep-alive connections, over all threads. A request that finds none free waits, and its wait
    /// counts.
    #[arg(long, default_value_t = 256)]
    pub(crate) connections: usize,
    /// Threads that send. One does for some 50,000 requests a second.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A request is given up after this.
    #[arg(long, default_value = "10s", value_parser = seconds)]
    timeout: Duration,
    /// Draws the same operations and times again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The run is invalid if the generator's own lag has a higher p99, in milliseconds.
    #[arg(long, default_value_t = 5.0)]
    max_lag: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    Constant,
    Poisson,
    Ramp,
    Step,
}

#[derive(Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    target: Target,
    /// Requests per second; at the end of a ramp or of steps.
    #[arg(long)]
    rate: f64,
    /// Measured time, such as 30s or 10m.
    #[arg(long, default_value = "30s", value_parser = seconds)]
    duration: Duration,
    /// Time before measuring starts.
    #[arg(long, default_value = "5s", value_parser = seconds)]
    warmup: Duration,
    /// How requests are spread over time. Poisson is how many independent users arrive.
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Shape,
    /// Requests per second at the start of a ramp or of steps. Default: a tenth of the rate.
    #[arg(long)]
    from: Option<f64>,
    /// Number of steps.
    #[arg(long, default_value_t = 5)]
    steps: u32,
    #[command(flatten)]
    output: Output,
}

/// What becomes of a run.
#[derive(Args)]
pub(crate) struct Output {
    /// Writes the run as JSON: for `merge`, `--baseline` and `plan`.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a report with plots, one file.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Writes the report as Markdown. It is printed in any case.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Conditions that must hold, such as `create.p99<100ms,errors<0.1%`; the exit code is 2 if one
    /// is missed.
    #[arg(long)]
    fail_if: Option<Objective>,
    /// An earlier run's JSON; the exit code is 4 if a percentile is worse beyond noise.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// The least change that counts against the baseline, in percent.
    #[arg(long, default_value_t = 5.0)]
    floor: f64,
}

#[derive(Args)]
pub(crate) struct MergeArguments {
    /// Runs of several workers over the same time, as JSON.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Target {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            lag_p99_ms: self.max_lag,
            ..Bounds::default()
        }
    }

    /// Tenants, and invoices to work on.
    pub(crate) fn prepare(&self) -> Result<(Server, Mix, Arc<Material>), Failure> {
        let mix = self.mix()?;
        let (server, material) = self.gather(&mix)?;
        Ok((server, mix, material))
    }

    /// What is sent.
    pub(crate) fn mix(&self) -> Result<Mix, Failure> {
        let mix = self.mix.as_deref().map(Mix::parse);
        Ok(mix.transpose()?.unwrap_or_default())
    }

    pub(crate) fn gather(&self, mix: &Mix) -> Result<(Server, Arc<Material>), Failure> {
        let server = Server::parse(&self.url)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let material = runtime.block_on(async {
            let tenants = if !mix.needs_tenants() {
                Vec::new()
            } else if let Some(keys) = &self.keys {
                read_keys(keys)?
            } else {
                let admin = self.admin_key.as_deref();
                let admin = admin.ok_or("--admin-key (or SHEAF_ADMIN_KEY) or --keys is needed")?;
                let prefix = format!("load-{}-", Utc::now().timestamp_millis());
                eprintln!("making {} tenants", self.tenants);
                setup::tenants(&server, admin, self.tenants, &prefix).await?
            };
            Ok::<_, Failure>(Material::gather(&server, tenants, mix).await?)
        })?;
        Ok((server, Arc::new(material)))
    }

    pub(crate) fn plan(
        &self,
        server: &Server,
        mix: &Mix,
        rate: f64,
        arrivals: Arrivals,
        warmup: Duration,
        duration: Duration,
    ) -> Plan {
        Plan {
            server: server.clone(),
            rate,
            arrivals,
            warmup,
            duration,
            connections: self.connections,
            threads: self.threads,
            timeout: self.timeout,
            mix: mix.clone(),
            seed: self.seed,
        }
    }
}

/// Lines of `tenant id, blank, API key`.
fn read_keys(path: &Path) -> Result<Vec<Tenant>, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = |line: &str| {
        let (id, key) = line
            .split_once(' ')
            .ok_or("a line of the keys' file is `tenant-id api-key`")?;
        Ok(Tenant {
            id: id.parse()?,
            api_key: key.trim().to_owned(),
        })
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .take(setup::MAX_TENANTS as usize)
        .map(line)
        .collect()
}

pub(crate) fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    // What is wrong with the baseline should be known before, not after.
    let baseline = arguments.output.baseline()?;
    let (server, mix, material) = arguments.target.prepare()?;
    let from = arguments.from.unwrap_or_else(|| tenth(arguments.rate));
    let arrivals = match arguments.arrivals {
        Shape::Constant => Arrivals::Constant,
        Shape::Poisson => Arrivals::Poisson,
        Shape::Ramp => Arrivals::Ramp { from },
        Shape::Step => Arrivals::Step {
            from,
            steps: arguments.steps,
        },
    };
    let plan = arguments.target.plan(
        &server,
        &mix,
        arguments.rate,
        arrivals,
        arguments.warmup,
        arguments.duration,
    );
    let found = watched(&plan, &material, arguments.target.bounds())?;
    arguments.output.finish(&found, baseline.as_ref())
}

// A rate, not money.
#[allow(clippy::float_arithmetic)]
fn tenth(rate: f64) -> f64 {
    rate / 10.0
}

pub(crate) fn merge(arguments: &MergeArguments) -> Result<Exit, Failure> {
    let baseline = arguments.output.baseline()?;
    let mut runs = arguments.runs.iter().map(|path| Run::load(path));
    let mut merged = runs.next().ok_or("there is no run to merge")??;
    for run in runs {
        merged.merge(&run?)?;
    }
    arguments.output.finish(&merged, baseline.as_ref())
}

impl Output {
    /// The run to compare with, if there is one.
    fn baseline(&self) -> Result<Option<Run>, Failure> {
        Ok(self.baseline.as_deref().map(Run::load).transpose()?)
    }

    fn finish(&self, run: &Run, baseline: Option<&Run>) -> Result<Exit, Failure> {
        let comparisons = baseline.map_or_else(Vec::new, |before| {
            baseline::compare(before, run, share(self.floor))
        });
        let worse = comparisons
            .iter()
            .any(|comparison| comparison.change == Change::Worse);
        let extras = Extras {
            objective: self.fail_if.clone(),
            comparisons,
        };
        let text = report::markdown(run, &extras);
        if let Some(path) = &self.json {
            run.save(path)?;
        }
        if let Some(path) = &self.html {
            write(path, &report::html(run, &extras))?;
        }
        if let Some(path) = &self.markdown {
            write(path, &text)?;
        }
        super::print(&text)?;
        Ok(if !run.is_valid() {
            Exit::Invalid
        } else if self
            .fail_if
            .as_ref()
            .is_some_and(|objective| !objective.met(run))
        {
            Exit::Missed
        } else if worse {
            Exit::Worse
        } else {
            Exit::Good
        })
    }
}

// A share, not money.
#[allow(clippy::float_arithmetic)]
fn share(percent: f64) -> f64 {
    percent / 100.0
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Runs a plan with a live view.
pub(crate) fn watched(
    plan: &Plan,
    material: &Arc<Material>,
    bounds: Bounds,
) -> Result<Run, Failure> {
    let progress = Arc::new(Progress::default());
    let started_at = Utc::now();
    let view = {
        let progress = Arc::clone(&progress);
        let whole = plan.warmup + plan.duration;
        let (rate, warmup) = (plan.rate, plan.warmup);
        std::thread::spawn(move || show(&progress, rate, warmup, whole))
    };
    let recording = open::run(plan, material, &progress);
    progress.stop.store(true, Ordering::Relaxed);
    // The view ends by itself; that it failed to draw is no reason to lose the run.
    let _ = view.join();
    Ok(Run::new(
        plan,
        material.tenants.len(),
        started_at,
        recording?,
        bounds,
    ))
}

/// One line, renewed four times a second, on standard error if that is a terminal.
// Rates and latencies are measurements, not money.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
fn show(progress: &Progress, rate: f64, warmup: Duration, whole: Duration) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(millis(whole));
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    let started = std::time::Instant::now();
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (mut at, mut ok, mut due, mut micros) = (0.0, 0, 0, 0);
    while !progress.stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(250));
        let now = started.elapsed().as_secs_f64();
        let (now_ok, now_due, now_micros) = (
            read(&progress.ok),
            read(&progress.due),
            read(&progress.micros),
        );
        let (answers, gap) = ((now_ok - ok) as f64, now - at);
        let mean = (now_micros - micros) as f64 / answers.max(1.0) / 1_000.0;
        let phase = if now < warmup.as_secs_f64() {
            "warm-up"
        } else {
            "measuring"
        };
        bar.set_position(millis(started.elapsed()).min(millis(whole)));
        bar.set_message(format!(
            "{phase}: {:.0} of {rate:.0} due/s, {:.0} right/s, mean {mean:.1} ms, {} pending, {} \
            errors",
            (now_due - due) as f64 / gap,
            answers / gap,
            read(&progress.pending),
            read(&progress.failed)
        ));
        (at, ok, due, micros) = (now, now_ok, now_due, now_micros);
    }
    bar.finish_and_clear();
}
