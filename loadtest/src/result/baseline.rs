//! Two runs compared, with noise in mind.
//!
//! Every run is cut into ten blocks of equal length; a percentile is taken in each, and Welch's
//! t-test on their logarithms tells whether the two runs differ by more than the blocks of one run
//! differ among themselves. A change is called one when the test is sure at 99% (there are many
//! comparisons in one report) and the change is larger than a floor, below which nobody cares.
// Latencies are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use serde::Serialize;

use crate::result::record::Latencies;
use crate::result::run::Run;

/// Answers of a block without which its percentile says nothing: at p99, two beyond it.
const ENOUGH: [(f64, &str, u64); 2] = [(0.5, "p50", 10), (0.99, "p99", 200)];

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Worse beyond noise and floor.
    Worse,
    /// Better beyond noise and floor.
    Better,
    /// Not distinguishable.
    Same,
    /// Too few answers to tell.
    Unknown,
}

/// One figure of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Operation and percentile, `create.p99`.
    pub figure: String,
    /// Of the baseline, milliseconds.
    pub before_ms: f64,
    /// Of this run, milliseconds.
    pub now_ms: f64,
    /// Ratio of now to before, lower and upper bound at 99%; `None` when nothing can be said.
    pub ratio: Option<(f64, f64)>,
    /// The verdict.
    pub change: Change,
}

/// Compares `now` with `before`; `floor` is the least relative change that counts, such as 0.05.
#[must_use]
pub fn compare(before: &Run, now: &Run, floor: f64) -> Vec<Comparison> {
    let mut found = Vec::new();
    for (operation, blocks) in &now.recording.blocks {
        let Some(old) = before.recording.blocks.get(operation) else {
            continue;
        };
        for (quantile, name, enough) in ENOUGH {
            let whole = |run: &Run| {
                run.recording
                    .operations
                    .get(operation)
                    .map_or(0.0, |series| series.latency.ms(quantile))
            };
            let ratio = ratio(
                &logs(old, quantile, enough),
                &logs(blocks, quantile, enough),
            );
            let change = match ratio {
                None => Change::Unknown,
                Some((low, _)) if low > 1.0 && whole(now) > whole(before) * (1.0 + floor) => {
                    Change::Worse
                }
                Some((_, high)) if high < 1.0 && whole(now) < whole(before) / (1.0 + floor) => {
                    Change::Better
                }
                Some(_) => Change::Same,
            };
            found.push(Comparison {
                figure: format!("{operation}.{name}"),
                before_ms: whole(before),
                now_ms: whole(now),
                ratio,
                change,
            });
        }
    }
    found
}

fn logs(blocks: &[Latencies], quantile: f64, enough: u64) -> Vec<f64> {
    let full = blocks.iter().filter(|block| block.count() >= enough);
    full.map(|block| block.ms(quantile).max(0.001).ln())
        .collect()
}

/// Bounds of the ratio of the second to the first, at 99%.
fn ratio(before: &[f64], now: &[f64]) -> Option<(f64, f64)> {
    if before.len() < 3 || now.len() < 3 {
        return None;
    }
    let ((mean_a, error_a), (mean_b, error_b)) = (mean(before), mean(now));
    let both = error_a + error_b;
    let freedom = (both * both)
        / (error_a * error_a / (before.len() - 1) as f64
            + error_b * error_b / (now.len() - 1) as f64)
            .max(f64::MIN_POSITIVE);
    let reach = t99(freedom) * both.sqrt();
    let difference = mean_b - mean_a;
    Some(((difference - reach).exp(), (difference + reach).exp()))
}

/// The mean, and the variance of the mean.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0) / count)
}

/// Student's t, two-sided 99%, for this many degrees of freedom, rounded down to the next one in
/// the usual table.
pub(crate) fn t99(freedom: f64) -> f64 {
    const TABLE: [(f64, f64); 12] = [
        (1.0, 63.657),
        (2.0, 9.925),
        (3.0, 5.841),
        (4.0, 4.604),
        (5.0, 4.032),
        (6.0, 3.707),
        (8.0, 3.355),
        (10.0, 3.169),
        (12.0, 3.055),
        (15.0, 2.947),
        (20.0, 2.845),
        (30.0, 2.750),
    ];
    let below = TABLE.iter().rev().find(|(entry, _)| *entry <= freedom);
    below.map_or(TABLE[0].1, |(_, t)| *t)
}
