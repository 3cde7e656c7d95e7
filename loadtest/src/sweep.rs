//! The knee: the highest rate that meets an objective.
//!
//! The rate doubles until the objective is missed, then the gap is halved (on a logarithmic scale)
//! until it is narrow, then longer runs confirm what was found, or the rate goes down a little and
//! is tried again. Every step is drained: the next one begins when all answers are in. Near the
//! knee a percentile of one step is chance, so each rate is tried until two of up to three steps
//! agree: one hiccup does not move the knee down, nor one lucky step up.
// Rates and latencies are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::result::objective::Objective;
use crate::result::plot::{Line, Plot, escape, number};
use crate::result::report;
use crate::result::run::{Run, Settings};

/// Times that a step is made again because something but the server may be to blame.
const DISTURBED: u32 = 4;
/// Steps that must agree on a rate.
const AGREE: u32 = 2;
/// Share of the machine's CPU time above which its host has disturbed a step.
const STOLEN: f64 = 0.02;
/// Steps of one sweep at most.
pub const MAX_STEPS: usize = 80;
/// A rate that meets the objective but leaves fewer right answers in time than this share is above
/// the knee: a queue grows.
const KEEPS_UP: f64 = 0.98;
/// The same for the time to drain, as a share of the step.
const DRAINS: f64 = 0.1;

/// Why a step was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Up from the first rate.
    Double,
    /// Into the gap.
    Bisect,
    /// Longer, at the rate found.
    Confirm,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Why it was made.
    pub phase: Phase,
    /// Requests per second that were to be due.
    pub rate: f64,
    /// Right answers per second within the step.
    pub accepted: f64,
    /// Right answers per second with the time to drain.
    pub drained: f64,
    /// Seconds until the last answer.
    pub drain_s: f64,
    /// Median latency, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Share of errors, 0 to 1.
    pub errors: f64,
    /// 99th percentile of the generator's lag.
    pub lag_p99_ms: f64,
    /// Why the objective was missed; empty if it was met.
    pub missed: Vec<String>,
    /// The generator was the limit, not the server.
    pub generator_late: bool,
    /// Share of the generator's machine that its host gave to others, 0 to 1.
    #[serde(default)]
    pub stolen: Option<f64>,
}

/// A finished sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Version of this form: 1.
    pub format: u32,
    /// When the first step began.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// The objective as it was given.
    pub objective: String,
    /// How steps were made; `rate` is the first one.
    pub settings: Settings,
    /// In order of time.
    pub steps: Vec<Step>,
    /// What was found.
    pub knee: Knee,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// Highest rate that met the objective.
    pub rate: Option<f64>,
    /// Lowest rate that missed it.
    pub missed_at: Option<f64>,
    /// Longer runs at the rate met it too.
    pub confirmed: bool,
    /// What should be known about it.
    pub note: Option<String>,
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first rate.
    pub start: f64,
    /// No higher one is tried.
    pub most: f64,
    /// The gap is narrow enough when the upper rate is at most this much above the lower: 0.05 for
    /// 5%.
    pub tolerance: f64,
}

impl Step {
    /// A step judged.
    #[must_use]
    pub fn of(phase: Phase, run: &Run, objective: &Objective) -> Self {
        let verdicts = objective.judge(run).into_iter();
        let mut missed: Vec<String> = verdicts
            .filter(|verdict| !verdict.met)
            .map(|verdict| verdict.condition)
            .collect();
        let (accepted, due) = (run.accepted_rate(), run.due_rate());
        let all = &run.recording.all;
        // What was refused did not queue: it is for the objective to judge.
        let answered = accepted / (due * (1.0 - all.error_share())).max(f64::MIN_POSITIVE);
        if answered < KEEPS_UP
            || run.recording.drain_s > (run.settings.duration_s * DRAINS).max(0.5)
        {
            missed.push("does not keep up".to_owned());
        }
        missed.extend(run.invalid.iter().cloned());
        let lag = run.recording.own.lag.ms(0.99);
        Self {
            phase,
            rate: run.settings.rate,
            accepted,
            drained: run.drained_rate(),
            drain_s: run.recording.drain_s,
            p50_ms: all.latency.ms(0.5),
            p99_ms: all.latency.ms(0.99),
            p999_ms: all.latency.ms(0.999),
            errors: all.error_share(),
            lag_p99_ms: lag,
            missed,
            generator_late: lag > run.bounds.lag_p99_ms,
            stolen: run.recording.own.stolen,
        }
    }

    fn met(&self) -> bool {
        self.missed.is_empty()
    }

    /// That it missed may not be the server's fault.
    fn disturbed(&self) -> bool {
        self.generator_late || self.stolen.is_some_and(|stolen| stolen > STOLEN)
    }
}

struct Walk<F> {
    steps: Vec<Step>,
    step: F,
}

impl<E, F: FnMut(Phase, f64) -> Result<Step, E>> Walk<F> {
    /// Whether the rate meets the objective, by two of three steps. One that was disturbed, by a
    /// late generator or by the machine's host, and missed says nothing about the server, and is
    /// made again, unless all of them are.
    fn holds(&mut self, phase: Phase, rate: f64) -> Result<bool, E> {
        let (mut met, mut missed, mut disturbed) = (0, 0, 0);
        while met < AGREE && missed < AGREE && self.steps.len() < MAX_STEPS {
            let step = (self.step)(phase, rate)?;
            if step.met() {
                met += 1;
            } else if step.disturbed() && disturbed < DISTURBED {
                disturbed += 1;
            } else {
                missed += 1;
            }
            self.steps.push(step);
        }
        Ok(met == AGREE)
    }
}

impl Search {
    /// Searches, one step after the other.
    ///
    /// # Errors
    /// The first error of a step.
    pub fn run<E>(
        &self,
        step: impl FnMut(Phase, f64) -> Result<Step, E>,
    ) -> Result<(Vec<Step>, Knee), E> {
        let mut walk = Walk {
            steps: Vec::new(),
            step,
        };
        let mut knee = Knee::default();
        let mut rate = self.start.min(self.most);
        loop {
            if walk.holds(Phase::Double, rate)? {
                knee.rate = Some(rate);
                if rate >= self.most {
                    knee.note = Some(
                        "The highest rate allowed meets the objective: the knee is above it"
                            .to_owned(),
                    );
                    break;
                }
                rate = (rate * 2.0).min(self.most);
            } else {
                knee.missed_at = Some(rate);
                if knee.rate.is_some() {
                    break;
                }
                // Below the first rate, then.
                rate /= 4.0;
                if rate < self.start / 1_000.0 || walk.steps.len() >= MAX_STEPS {
                    knee.note = Some("No rate that was tried meets the objective".to_owned());
                    return Ok((walk.steps, knee));
                }
            }
        }
        while let (Some(low), Some(high)) = (knee.rate, knee.missed_at) {
            if high <= low * (1.0 + self.tolerance) || walk.steps.len() >= MAX_STEPS {
                break;
            }
            let middle = (low * high).sqrt();
            if walk.holds(Phase::Bisect, middle)? {
                knee.rate = Some(middle);
            } else {
                knee.missed_at = Some(middle);
            }
        }
        for _ in 0..4 {
            let Some(found) = knee.rate else { break };
            if walk.holds(Phase::Confirm, found)? {
                knee.confirmed = true;
                break;
            }
            knee.missed_at = Some(found);
            knee.rate = Some(found / (1.0 + self.tolerance));
        }
        let above = |step: &&Step| Some(step.rate) == knee.missed_at && !step.met();
        let disturbed = walk
            .steps
            .iter()
            .filter(above)
            .find(|step| step.disturbed());
        if let Some(step) = disturbed {
            let what = if step.generator_late {
                "The generator itself was late".to_owned()
            } else {
                let stolen = step.stolen.unwrap_or_default() * 100.0;
                format!("The host of this machine took {stolen:.0}% of its CPU away")
            };
            knee.note = Some(format!(
                "{what} at the rate above the knee: the server's knee may be higher"
            ));
        }
        Ok((walk.steps, knee))
    }
}

impl Sweep {
    /// One sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let knee = match (self.knee.rate, self.knee.missed_at) {
            (Some(rate), Some(missed)) => format!(
                "Knee: {} requests/s meet {}; {} do not",
                number(rate),
                self.objective,
                number(missed)
            ),
            (Some(rate), None) => format!("{} requests/s meet {}", number(rate), self.objective),
            (None, _) => format!("No rate that was tried meets {}", self.objective),
        };
        let confirmed = if self.knee.confirmed {
            "; longer runs confirm it"
        } else {
            "; NOT confirmed by longer runs"
        };
        let note = self
            .knee
            .note
            .as_ref()
            .map_or(String::new(), |note| format!(". {note}"));
        let blur = self.blur().map_or(String::new(), |(missed, met)| {
            format!(
                ". Single steps missed from {}/s on, others met up to {}/s",
                number(missed),
                number(met)
            )
        });
        format!("{knee}{confirmed}{note}{blur}.")
    }

    /// The lowest rate of a step that missed and the highest of one that met, if they overlap: how
    /// far chance may have moved the knee.
    #[must_use]
    pub fn blur(&self) -> Option<(f64, f64)> {
        let rates = |met| {
            let steps = self.steps.iter().filter(move |step| step.met() == met);
            steps.map(|step| step.rate)
        };
        let missed = rates(false).min_by(f64::total_cmp)?;
        let met = rates(true).max_by(f64::total_cmp)?;
        (missed <= met).then_some((missed, met))
    }

    /// The report in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "# Sweep\n\n**{}**\n\n| step | rate/s | accepted/s | drained/s | drain s | p50 ms | \
            p99 ms | p99.9 ms | errors | |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
            self.sentence()
        );
        for step in &self.steps {
            // Writing into memory does not fail.
            let _ = writeln!(out, "| {} |", step.cells().join(" | "));
        }
        out
    }

    /// The report in HTML: the curve, and a row a step.
    #[must_use]
    pub fn html(&self) -> String {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let line = |name: &str, colour, value: &dyn Fn(&Step) -> f64| Line {
            name: name.to_owned(),
            colour,
            points: steps.iter().map(|step| (step.rate, value(step))).collect(),
            dots: true,
        };
        let plot = |y: &str, log_y, lines| Plot {
            x: "requests per second that were due".to_owned(),
            y: y.to_owned(),
            log_y,
            x_labels: Vec::new(),
            limit: None,
            lines,
        };
        let mut latency = plot(
            "latency, ms; each line is x10",
            true,
            vec![
                line("p99", report::ORANGE, &|step| step.p99_ms),
                line("median", report::BLUE, &|step| step.p50_ms),
            ],
        );
        let objective: Result<Objective, _> = self.objective.parse();
        latency.limit = objective.ok().and_then(|objective| objective.p99_bound());
        let answered = plot(
            "right answers per second",
            false,
            vec![
                line("due", report::GREY, &|step| step.rate),
                line("accepted: within the step", report::GREEN, &|step| {
                    step.accepted
                }),
                line(
                    "drained: with the time until the last answer",
                    report::BLUE,
                    &|step| step.drained,
                ),
            ],
        );
        let rows: String = self
            .steps
            .iter()
            .map(|step| {
                let cells: String = step
                    .cells()
                    .iter()
                    .map(|cell| format!("<td>{}</td>", escape(cell)))
                    .collect();
                format!("<tr>{cells}</tr>")
            })
            .collect();
        let class = if self.knee.confirmed { "good" } else { "bad" };
        let body = format!(
            "<h1>How much the server takes</h1><p class=\"soft\">Steps of {} s at rising rates, {} \
            connections, {} tenants; mix: {}. {}{}.</p><div class=\"verdict {class}\">{}</div>\
             <h2>Latency</h2><p class=\"soft\">Counted from when a request was due. A dot is a \
             step, the lines go through their medians. To the right of the knee a queue grows and \
             waits explode.</p>{}\
             <h2>Answers</h2><p class=\"soft\">Where the lines leave the grey one, the server does \
             not keep up.</p>{}\
             <h2>Steps</h2><table><tr><th>step</th><th>rate/s</th><th>accepted/s</th>\
             <th>drained/s</th><th>drain s</th><th>p50, ms</th><th>p99, ms</th><th>p99.9, ms</th>\
             <th>errors</th><th></th></tr>{rows}</table>",
            number(self.settings.duration_s),
            self.settings.connections,
            self.settings.tenants,
            report::mixed(&self.settings.mix),
            escape(&self.settings.server),
            self.started_at.map_or(String::new(), |at| at
                .format(" at %Y-%m-%d %H:%M:%S UTC")
                .to_string()),
            escape(&self.sentence()),
            latency.svg(),
            answered.svg()
        );
        report::page("How much the server takes", &body)
    }
}

impl Step {
    fn cells(&self) -> [String; 10] {
        let phase = match self.phase {
            Phase::Double => "double",
            Phase::Bisect => "bisect",
            Phase::Confirm => "confirm",
        };
        [
            phase.to_owned(),
            number(self.rate),
            number(self.accepted),
            number(self.drained),
            number(self.drain_s),
            number(self.p50_ms),
            number(self.p99_ms),
            number(self.p999_ms),
            format!("{:.2}%", self.errors * 100.0),
            match (self.met(), self.stolen.filter(|stolen| *stolen > STOLEN)) {
                (true, _) => "met".to_owned(),
                (false, None) => format!("missed: {}", self.missed.join("; ")),
                (false, Some(stolen)) => format!(
                    "missed: {}; the host took {:.0}% of the CPU",
                    self.missed.join("; "),
                    stolen * 100.0
                ),
            },
        ]
    }
}

#[cfg(test)]
mod tests;
