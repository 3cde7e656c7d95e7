//! The result of a comparison, as `target/bench/compare.json` has it.

use std::fmt;

use serde::Serialize;

/// One pair: ours and its peer, measured in one run, in turns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Stable name.
    pub name: String,
    /// Of `ours` and `peer`.
    pub unit: &'static str,
    /// Median of our rounds.
    pub ours: f64,
    /// Median of the peer's rounds, or a bound.
    pub peer: f64,
    /// Who the peer is; `bound` when it is a figure that ours must not exceed.
    pub peer_name: String,
    /// `ours / peer`.
    pub ratio: f64,
    /// Beside another build: how far that one's own steps were apart, as a part of its figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
}

// Rates and times are measurements, not money.
#[allow(clippy::float_arithmetic)]
impl Pair {
    /// Compares the medians of two series.
    #[must_use]
    pub fn of(name: &str, unit: &'static str, ours: &[f64], peer: &[f64], peer_name: &str) -> Self {
        let (ours, peer) = (median(ours), median(peer));
        Self {
            name: name.to_owned(),
            unit,
            ours: rounded(ours),
            peer: rounded(peer),
            peer_name: peer_name.to_owned(),
            ratio: rounded(ours / peer),
            spread: None,
        }
    }

    /// Compares the median of a series with a figure that it must not exceed.
    #[must_use]
    pub fn bound(name: &str, unit: &'static str, ours: &[f64], bound: f64) -> Self {
        Self::of(name, unit, ours, &[bound], "bound")
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            unit,
            ours,
            peer,
            peer_name,
            ratio,
            spread,
        } = self;
        write!(
            f,
            "{name:<26} {ours:>12.1} {peer:>12.1} {ratio:>9.2}  {unit:<11} {peer_name}"
        )?;
        match spread {
            Some(spread) => write!(f, ", apart from itself by {spread:.3}"),
            None => Ok(()),
        }
    }
}

/// Pairs as a table for a terminal.
pub struct Table<'a>(pub &'a [Pair]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ("comparison", "ours", "peer", "ratio", "unit", "peer is");
        let (name, ours, peer, ratio, unit, peer_name) = header;
        writeln!(
            f,
            "{name:<26} {ours:>12} {peer:>12} {ratio:>9}  {unit:<11} {peer_name}"
        )?;
        self.0.iter().try_for_each(|pair| writeln!(f, "{pair}"))
    }
}

/// The middle value, or the mean of the two middle ones; NaN of nothing.
#[must_use]
#[allow(clippy::float_arithmetic)]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(upper), 0) => f64::midpoint(sorted[middle - 1], *upper),
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

#[allow(clippy::float_arithmetic)]
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        assert_eq!(median(&[5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&[]).is_nan());
        let pair = Pair::of("a", "b/s", &[10.0, 30.0, 20.0], &[8.0], "peer");
        assert_eq!((pair.ours, pair.peer, pair.ratio), (20.0, 8.0, 2.5));
    }
}
