//! `sweep`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sheaf_loadtest::load::arrivals::Arrivals;
use sheaf_loadtest::result::objective::Objective;
use sheaf_loadtest::sweep::{Phase, Search, Step, Sweep};

use super::run::{Target, watched, write};
use super::{Exit, Failure, print, seconds};

#[derive(Args)]
pub(crate) struct SweepArguments {
    #[command(flatten)]
    target: Target,
    /// What a rate must meet, such as `p99<100ms,errors<0.1%`.
    #[arg(long)]
    objective: Objective,
    /// The first rate, requests per second.
    #[arg(long, default_value_t = 100.0)]
    start: f64,
    /// No higher rate is tried.
    #[arg(long, default_value_t = 1_000_000.0)]
    most: f64,
    /// How narrow the gap around the knee shall be, in percent.
    #[arg(long, default_value_t = 4.0)]
    tolerance: f64,
    /// Measured time of a step; confirming ones take three times as long.
    #[arg(long, default_value = "8s", value_parser = seconds)]
    step: Duration,
    /// Time before measuring starts, in each step.
    #[arg(long, default_value = "2s", value_parser = seconds)]
    warmup: Duration,
    /// Rest between steps.
    #[arg(long, default_value = "1s", value_parser = seconds)]
    rest: Duration,
    /// Evenly spaced requests instead of random ones.
    #[arg(long)]
    constant: bool,
    /// Writes the sweep as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a report with the curve.
    #[arg(long)]
    html: Option<PathBuf>,
}

// A share, not money.
#[allow(clippy::float_arithmetic)]
pub(crate) fn sweep(arguments: &SweepArguments) -> Result<Exit, Failure> {
    if !(arguments.start > 0.0 && (0.5..=100.0).contains(&arguments.tolerance)) {
        return Err("the first rate is above 0, the tolerance from 0.5 to 100 percent".into());
    }
    let (server, mix, material) = arguments.target.prepare()?;
    let arrivals = if arguments.constant {
        Arrivals::Constant
    } else {
        Arrivals::Poisson
    };
    let search = Search {
        start: arguments.start,
        most: arguments.most,
        tolerance: arguments.tolerance / 100.0,
    };
    let mut first = None;
    let (steps, knee) = search.run(|phase, rate| {
        let duration = if phase == Phase::Confirm {
            arguments.step * 3
        } else {
            arguments.step
        };
        let plan = arguments
            .target
            .plan(&server, &mix, rate, arrivals, arguments.warmup, duration);
        let run = watched(&plan, &material, arguments.target.bounds())?;
        let step = Step::of(phase, &run, &arguments.objective);
        let verdict = if step.missed.is_empty() {
            "met".to_owned()
        } else {
            format!("missed: {}", step.missed.join("; "))
        };
        eprintln!(
            "{rate:>10.0}/s  accepted {:>8.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms  {verdict}",
            step.accepted, step.p50_ms, step.p99_ms
        );
        first.get_or_insert((run.started_at, run.settings));
        std::thread::sleep(arguments.rest);
        Ok::<_, Failure>(step)
    })?;
    let (started_at, settings) = first.ok_or("no step was made")?;
    let sweep = Sweep {
        format: 1,
        started_at: Some(started_at),
        objective: arguments.objective.text(),
        settings,
        steps,
        knee,
    };
    if let Some(path) = &arguments.json {
        write(path, &serde_json::to_string_pretty(&sweep)?)?;
    }
    if let Some(path) = &arguments.html {
        write(path, &sweep.html())?;
    }
    print(&sweep.markdown())?;
    Ok(if sweep.knee.confirmed {
        Exit::Good
    } else {
        Exit::Missed
    })
}
