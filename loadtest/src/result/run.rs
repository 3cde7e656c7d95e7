//! What a run found, as a file.
// Latencies and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::file::{self, FileError};
use crate::load::arrivals::Arrivals;
use crate::load::mix::Mix;
use crate::load::open::Plan;
use crate::result::record::Recording;

/// Version of the file's form. A reader refuses a higher one.
pub const FORMAT: u32 = 1;

/// How a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The server, `host:port`.
    pub server: String,
    /// Requests per second that were due, at the end of a climb.
    pub rate: f64,
    /// How they were spread over time.
    pub arrivals: Arrivals,
    /// Seconds before measuring.
    pub warmup_s: f64,
    /// Seconds measured.
    pub duration_s: f64,
    /// Keep-alive connections.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Tenants.
    pub tenants: usize,
    /// Seconds after which a request was given up.
    pub timeout_s: f64,
    /// What was sent.
    pub mix: Mix,
    /// Of operations and arrival times.
    pub seed: u64,
}

/// Above which a run says nothing about the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// 99th percentile of the generator's own lag, milliseconds.
    pub lag_p99_ms: f64,
    /// Share of requests never sent, 0 to 1.
    pub dropped: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            lag_p99_ms: 5.0,
            dropped: 0.001,
        }
    }
}

/// A run, or several workers' runs put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Version of this form: 1.
    pub format: u32,
    /// Version of the tool.
    pub version: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Generators that took part.
    pub workers: u32,
    /// How it was made.
    pub settings: Settings,
    /// Above which it says nothing.
    pub bounds: Bounds,
    /// Why it says nothing about the server; empty for a valid run.
    pub invalid: Vec<String>,
    /// What was counted.
    pub recording: Recording,
}

impl Run {
    /// A run of one worker, judged.
    #[must_use]
    pub fn new(
        plan: &Plan,
        tenants: usize,
        started_at: DateTime<Utc>,
        recording: Recording,
        bounds: Bounds,
    ) -> Self {
        let mut run = Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            workers: 1,
            settings: Settings {
                server: plan.server.authority().to_owned(),
                rate: plan.rate,
                arrivals: plan.arrivals,
                warmup_s: plan.warmup.as_secs_f64(),
                duration_s: plan.duration.as_secs_f64(),
                connections: plan.connections,
                threads: plan.threads,
                tenants,
                timeout_s: plan.timeout.as_secs_f64(),
                mix: plan.mix.clone(),
                seed: plan.seed,
            },
            bounds,
            invalid: Vec::new(),
            recording,
        };
        run.invalid = run.judge();
        run
    }

    fn judge(&self) -> Vec<String> {
        let mut invalid = Vec::new();
        let own = &self.recording.own;
        let lag = own.lag.ms(0.99);
        if lag > self.bounds.lag_p99_ms {
            let bound = self.bounds.lag_p99_ms;
            invalid.push(format!(
                "the generator was late: lag p99 {lag:.1} ms, bound {bound} ms; it needs a faster \
                machine, more threads, or a lower rate"
            ));
        }
        let dropped = own.dropped as f64 / self.recording.all.all().max(1) as f64;
        if dropped > self.bounds.dropped {
            invalid.push(format!(
                "{} requests ({:.2}%) were never sent, bound {}%: the server fell so far behind \
                that they waited longer than the timeout",
                own.dropped,
                dropped * 100.0,
                self.bounds.dropped * 100.0
            ));
        }
        if self.recording.all.all() == 0 {
            invalid.push("nothing was measured".to_owned());
        }
        invalid
    }

    /// Whether it says something about the server.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }

    /// Right answers per second that came within the measured time.
    #[must_use]
    pub fn accepted_rate(&self) -> f64 {
        self.recording.answered_in_time as f64 / self.settings.duration_s
    }

    /// Right answers per second of the measured time and the time until the last answer.
    #[must_use]
    pub fn drained_rate(&self) -> f64 {
        self.recording.all.ok as f64 / (self.settings.duration_s + self.recording.drain_s)
    }

    /// Requests per second that were due.
    #[must_use]
    pub fn due_rate(&self) -> f64 {
        self.recording.all.all() as f64 / self.settings.duration_s
    }

    /// Invoices created per second of the measured time.
    #[must_use]
    pub fn invoice_rate(&self) -> f64 {
        self.recording.invoices as f64 / self.settings.duration_s
    }

    /// Adds another worker's run of the same time.
    ///
    /// # Errors
    /// A sentence, when the two did not measure the same length of time.
    pub fn merge(&mut self, other: &Self) -> Result<(), String> {
        if (self.settings.duration_s - other.settings.duration_s).abs() > 1e-6 {
            return Err(format!(
                "runs of {} s and of {} s cannot be merged",
                self.settings.duration_s, other.settings.duration_s
            ));
        }
        self.workers += other.workers;
        self.settings.rate += other.settings.rate;
        self.settings.connections += other.settings.connections;
        self.settings.threads += other.settings.threads;
        self.started_at = self.started_at.min(other.started_at);
        self.recording.add(&other.recording);
        // One late worker spoils the sum, even where the sum of all lags is good.
        self.invalid.extend(other.invalid.iter().cloned());
        for reason in self.judge() {
            if !self.invalid.contains(&reason) {
                self.invalid.push(reason);
            }
        }
        Ok(())
    }

    /// Reads a file that [`Run::save`] wrote.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let value: serde_json::Value = file::read_json(path)?;
        let format = value
            .get("format")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default();
        if format > u64::from(FORMAT) {
            return Err(FileError::Format {
                path: path.display().to_string(),
                format: u32::try_from(format).unwrap_or(u32::MAX),
                newest: FORMAT,
            });
        }
        serde_json::from_value(value).map_err(|source| FileError::Json {
            path: path.display().to_string(),
            source,
        })
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        file::write_json(path, self)
    }
}
