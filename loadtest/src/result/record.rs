//! Latencies, counted without losing any.
// Latencies and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Reader, Serializer as _, V2DeflateSerializer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Latencies are recorded up to an hour, in microseconds; longer ones count as this.
pub const LONGEST_MICROS: u64 = 3_600_000_000;
/// A run's time is cut into this many blocks of equal length, to tell noise from change.
pub const BLOCKS: usize = 10;
/// Intervals of a plot at most.
pub const MAX_INTERVALS: usize = 600;

/// A histogram of latencies with three significant digits. In JSON it carries its percentiles to be
/// read, and `hdr`, the whole histogram in HdrHistogram's compressed V2 format, to be merged and
/// compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies(Histogram<u64>);

/// The form in JSON.
#[derive(Serialize, Deserialize)]
struct Written {
    count: u64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    hdr: String,
}

impl Default for Latencies {
    fn default() -> Self {
        // It grows from small: there are many of these in a run. Three digits are always valid.
        let mut histogram = Histogram::new(3).unwrap_or_else(|_| unreachable!());
        histogram.auto(true);
        Self(histogram)
    }
}

impl Latencies {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS);
        // It resizes itself, and an hour is far below what it may hold.
        let _ = self.0.record(micros.min(LONGEST_MICROS));
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        // As for `record`.
        let _ = self.0.add(&other.0);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of all (0 to 1) does not exceed, in milliseconds.
    #[must_use]
    pub fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }

    /// The mean, in milliseconds.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    fn written(&self) -> Result<Written, String> {
        let mut bytes = Vec::new();
        let mut writer = V2DeflateSerializer::new();
        writer
            .serialize(&self.0, &mut bytes)
            .map_err(|error| error.to_string())?;
        // To a thousandth of a millisecond, which is the unit recorded.
        let round = |ms: f64| (ms * 1_000.0).round() / 1_000.0;
        Ok(Written {
            count: self.count(),
            mean_ms: round(self.mean_ms()),
            p50_ms: round(self.ms(0.5)),
            p90_ms: round(self.ms(0.9)),
            p95_ms: round(self.ms(0.95)),
            p99_ms: round(self.ms(0.99)),
            p999_ms: round(self.ms(0.999)),
            max_ms: round(self.max_ms()),
            hdr: BASE64.encode(bytes),
        })
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = self.written().map_err(serde::ser::Error::custom)?;
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let bytes = BASE64.decode(&written.hdr).map_err(D::Error::custom)?;
        let mut histogram: Histogram<u64> = Reader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| D::Error::custom(format!("hdr: {error}")))?;
        histogram.auto(true);
        Ok(Self(histogram))
    }
}

/// What became of the requests of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Right answers.
    pub ok: u64,
    /// Everything else by name: status and problem code, `timeout`, `broken`, `dropped`.
    pub errors: BTreeMap<String, u64>,
    /// From the intended start to the answer, of right answers, and of requests given up, up to
    /// then. What a user waits.
    pub latency: Latencies,
    /// From the actual start to the answer, of right answers. What the server takes.
    pub service: Latencies,
}

impl Series {
    /// Requests that did not get the right answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// All requests.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.ok + self.failed()
    }

    /// The share of failed requests, from 0 to 1.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        self.failed() as f64 / self.all().max(1) as f64
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
        self.latency.add(&other.latency);
        self.service.add(&other.service);
    }

    fn note(&mut self, fate: &Fate) {
        match &fate.error {
            None => {
                self.ok += 1;
                self.latency.record(fate.latency);
                self.service.record(fate.service);
            }
            Some(error) => {
                if fate.given_up {
                    self.latency.record(fate.latency);
                }
                match self.errors.get_mut(error.as_str()) {
                    Some(count) => *count += 1,
                    None => {
                        self.errors.insert(error.clone(), 1);
                    }
                }
            }
        }
    }
}

/// A short stretch of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Requests that were due in it.
    pub due: u64,
    /// Right answers that came in it, whenever their requests were due.
    pub answered: u64,
    /// Requests due in it that failed.
    pub failed: u64,
    /// Latencies of the requests that were due in it.
    pub latency: Latencies,
}

/// The generator's own conduct.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// How late requests were sent that had a free connection: the generator's own fault.
    pub lag: Latencies,
    /// How long requests waited for a free connection: the server's fault, or too few connections.
    pub waited: Latencies,
    /// Requests that were never sent: too many were waiting, or one for longer than the timeout.
    pub dropped: u64,
    /// Requests that another operation took the place of, because there was nothing to read, pay or
    /// repeat.
    pub replaced: u64,
    /// Idle connections that the server had closed, and requests sent again on a new one.
    pub reconnected: u64,
    /// CPU time of the generator, in cores.
    pub cpu_cores: f64,
    /// Share of this machine's CPU time that its host gave to others, 0 to 1; `None` where that is
    /// not known. It makes latencies longer, never shorter.
    #[serde(default)]
    pub stolen: Option<f64>,
}

/// The result of one request.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) latency: Duration,
    pub(crate) service: Duration,
    pub(crate) error: Option<String>,
    /// Nobody waits any more: the time until then counts as a latency, which it exceeds.
    pub(crate) given_up: bool,
}

/// Everything that was counted in the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// All operations.
    pub all: Series,
    /// By name of the operation.
    pub operations: BTreeMap<String, Series>,
    /// By size of the tenant, see [`crate::load::workload::CLASSES`].
    pub classes: BTreeMap<String, Series>,
    /// Invoices that right answers created.
    pub invoices: u64,
    /// Right answers that came before the end of the measured time.
    pub answered_in_time: u64,
    /// Seconds from the end of the measured time to the last answer.
    pub drain_s: f64,
    /// Length of an interval in seconds.
    pub interval_s: f64,
    /// The measured time, in order.
    pub intervals: Vec<Interval>,
    /// Latencies of each operation in each of ten equal parts of the measured time.
    pub blocks: BTreeMap<String, Vec<Latencies>>,
    /// The generator's own conduct.
    pub own: Own,
}

impl Recording {
    /// Nothing yet, for a measured time of this length.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        let seconds = duration.as_secs_f64();
        let interval_s = (seconds / MAX_INTERVALS as f64).ceil().max(1.0);
        // At most MAX_INTERVALS + 1.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = (seconds / interval_s).ceil() as usize;
        Self {
            interval_s,
            intervals: vec![Interval::default(); count.max(1)],
            ..Self::default()
        }
    }

    /// A request that was due `due` after the start of the measured time.
    pub(crate) fn note(
        &mut self,
        operation: &'static str,
        class: Option<&'static str>,
        due: Duration,
        duration: Duration,
        fate: &Fate,
    ) {
        self.all.note(fate);
        of(&mut self.operations, operation).note(fate);
        if let Some(class) = class {
            of(&mut self.classes, class).note(fate);
        }
        let ok = fate.error.is_none();
        let interval = self.interval(due);
        if let Some(interval) = self.intervals.get_mut(interval) {
            interval.due += 1;
            interval.failed += u64::from(!ok);
            if ok || fate.given_up {
                interval.latency.record(fate.latency);
            }
        }
        let answered = due + fate.latency;
        if ok && answered < duration {
            self.answered_in_time += 1;
            let interval = self.interval(answered);
            if let Some(interval) = self.intervals.get_mut(interval) {
                interval.answered += 1;
            }
        }
        if ok || fate.given_up {
            let part = due.as_secs_f64() / duration.as_secs_f64();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let block = (part * BLOCKS as f64) as usize;
            let blocks = of_or(&mut self.blocks, operation, || {
                vec![Latencies::default(); BLOCKS]
            });
            if let Some(block) = blocks.get_mut(block.min(BLOCKS - 1)) {
                block.record(fate.latency);
            }
        }
        let late = answered.saturating_sub(duration).as_secs_f64();
        self.drain_s = self.drain_s.max(late);
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn interval(&self, at: Duration) -> usize {
        (at.as_secs_f64() / self.interval_s) as usize
    }

    /// Adds what another worker or thread recorded over the same time.
    pub fn add(&mut self, other: &Self) {
        self.all.add(&other.all);
        for (name, series) in &other.operations {
            of(&mut self.operations, name).add(series);
        }
        for (name, series) in &other.classes {
            of(&mut self.classes, name).add(series);
        }
        self.invoices += other.invoices;
        self.answered_in_time += other.answered_in_time;
        self.drain_s = self.drain_s.max(other.drain_s);
        if self.intervals.len() < other.intervals.len() {
            self.intervals
                .resize(other.intervals.len(), Interval::default());
        }
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.due += theirs.due;
            mine.answered += theirs.answered;
            mine.failed += theirs.failed;
            mine.latency.add(&theirs.latency);
        }
        for (name, theirs) in &other.blocks {
            let mine = of_or(&mut self.blocks, name, || {
                vec![Latencies::default(); BLOCKS]
            });
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                mine.add(theirs);
            }
        }
        self.own.lag.add(&other.own.lag);
        self.own.waited.add(&other.own.waited);
        self.own.dropped += other.own.dropped;
        self.own.replaced += other.own.replaced;
        self.own.reconnected += other.own.reconnected;
        self.own.cpu_cores += other.own.cpu_cores;
        self.own.stolen = match (self.own.stolen, other.own.stolen) {
            (Some(mine), Some(theirs)) => Some(mine.max(theirs)),
            (one, other) => one.or(other),
        };
    }
}

fn of<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    of_or(map, name, T::default)
}

/// The entry of this name; the name is copied for a new entry only, since this is done for every
/// request.
fn of_or<'a, T>(
    map: &'a mut BTreeMap<String, T>,
    name: &str,
    make: impl FnOnce() -> T,
) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), make());
    }
    map.get_mut(name).unwrap_or_else(|| unreachable!())
}
