//! Whether a server stays as it was: the last year compared with the first steady one.
//!
//! Steady is a year, from January on, in each month of which something was archived: by then the
//! hot tier is as full as it will ever be. What a year looks like (partitions fill up and are
//! dropped) is the same in both, so that months are compared in pairs: January with January.
// Latencies and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::BTreeSet;

use serde::Serialize;

use super::month::Month;
use crate::capacity::linear::{least_squares, t95};
use crate::result::baseline::t99;

/// The bytes of the hot tier, when a probe prints them.
const HOT_BYTES: &str = "hot_bytes";
/// Latencies whose percentiles must stay flat.
const OPERATIONS: [&str; 4] = ["get_hot", "get_cold", "list", "pay"];
const PERCENTILES: [(f64, &str); 2] = [(0.5, "p50"), (0.99, "p99")];
/// Pairs of months without which noise is not known.
const PAIRS: usize = 3;

/// What became of a figure from one year to the other, noise considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Higher by more than months differ from one another.
    Higher,
    /// Lower by more than that.
    Lower,
    /// Within noise.
    Same,
    /// Too few months to tell.
    Unknown,
}

/// One figure of both years.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Its name and unit.
    pub figure: String,
    /// Median over the months of the first steady year.
    pub before: f64,
    /// Median over the months of the last year.
    pub now: f64,
    /// The one divided by the other.
    pub ratio: f64,
    /// Bounds at 99% of the mean ratio of pairs of months.
    pub bounds: Option<(f64, f64)>,
    /// Change in a year, as a share, over all months from the first steady one on, and how far it
    /// may be off (95%).
    pub per_year: Option<(f64, f64)>,
    /// The verdict of the bounds.
    pub change: Change,
    /// Whether the ratio is below the bound; `None` for what is reported only, such as sizes that
    /// have to grow.
    pub flat: Option<bool>,
}

/// All figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The first steady year, and the last one; `None` when there are no two such years.
    pub years: Option<(i32, i32)>,
    /// The highest ratio that counts as flat, if one was asked for.
    pub bound: Option<f64>,
    /// Figures that must stay flat first.
    pub trends: Vec<Trend>,
}

/// A figure of each month: not a number where there is none.
struct Figure {
    name: String,
    must_be_flat: bool,
    values: Vec<f64>,
}

impl Verdict {
    /// Judges whole years; a bound is the highest ratio that counts as flat.
    #[must_use]
    pub fn of(months: &[Month], bound: Option<f64>) -> Self {
        let years: Vec<&[Month]> = months.chunks_exact(12).collect();
        let archives = |month: &Month| month.tier.as_ref().is_some_and(|tier| tier.invoices > 0);
        let steady = years.iter().position(|year| year.iter().all(archives));
        let last = years.len().saturating_sub(1);
        let Some(steady) = steady.filter(|steady| *steady < last) else {
            return Self {
                bound,
                ..Self::default()
            };
        };
        let trend = |figure: Figure| figure.trend(steady, last, bound);
        let year = |index: usize| years[index].first().map_or(0, |month| month.year);
        Self {
            years: Some((year(steady), year(last))),
            bound,
            trends: figures(months).into_iter().filter_map(trend).collect(),
        }
    }

    /// Whether nothing exceeds the bound. `None` when there is no bound, or nothing to compare.
    #[must_use]
    pub fn is_flat(&self) -> Option<bool> {
        self.bound.filter(|_| self.years.is_some())?;
        Some(self.trends.iter().all(|trend| trend.flat != Some(false)))
    }

    /// In one sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let Some((before, now)) = self.years else {
            let text =
                "Not judged: there are no two years in which invoices were archived every month";
            return text.to_owned();
        };
        let Some(bound) = self.bound else {
            return format!("{now} compared with {before}; no bound to hold (--flat)");
        };
        let grown = self.trends.iter().filter(|trend| trend.flat == Some(false));
        let grown: Vec<&str> = grown.map(|trend| trend.figure.as_str()).collect();
        if grown.is_empty() {
            format!("Flat: no figure of {now} is above {bound} times that of {before}")
        } else {
            format!(
                "NOT FLAT: above {bound} times {before} in {now}: {}",
                grown.join(", ")
            )
        }
    }
}

fn figures(months: &[Month]) -> Vec<Figure> {
    let of = |name: String, must_be_flat, value: &dyn Fn(&Month) -> Option<f64>| Figure {
        name,
        must_be_flat,
        values: months
            .iter()
            .map(|month| value(month).unwrap_or(f64::NAN))
            .collect(),
    };
    let probed = |month: &Month, name: &str| month.figures.get(name).copied();
    let mut found = vec![
        of(HOT_BYTES.to_owned(), true, &|month| {
            probed(month, HOT_BYTES)
        }),
        of("upload, ms an invoice".to_owned(), true, &|month| {
            month.upload_rate().map(|rate| 1_000.0 / rate)
        }),
        of("tiering, ms an invoice".to_owned(), true, &Month::tier_ms),
    ];
    for operation in OPERATIONS {
        for (quantile, percentile) in PERCENTILES {
            found.push(of(
                format!("{operation}.{percentile}, ms"),
                true,
                &|month| month.latency(operation, quantile),
            ));
        }
    }
    found.push(of("hot invoices".to_owned(), false, &|month| {
        Some(month.hot() as f64)
    }));
    let names: BTreeSet<&String> = months
        .iter()
        .flat_map(|month| month.figures.keys())
        .collect();
    for name in names.into_iter().filter(|name| *name != HOT_BYTES) {
        found.push(of(name.clone(), false, &|month| probed(month, name)));
    }
    found
}

impl Figure {
    fn trend(self, steady: usize, last: usize, bound: Option<f64>) -> Option<Trend> {
        let year = |index: usize| &self.values[index * 12..(index + 1) * 12];
        let (before, now) = (median(year(steady))?, median(year(last))?);
        let ratio = now / before;
        let bounds = paired(year(steady), year(last));
        let change = match bounds {
            None => Change::Unknown,
            Some((low, _)) if low > 1.0 => Change::Higher,
            Some((_, high)) if high < 1.0 => Change::Lower,
            Some(_) => Change::Same,
        };
        Some(Trend {
            figure: self.name,
            before,
            now,
            ratio,
            bounds,
            // What has to grow does not grow by the same share each year.
            per_year: self
                .must_be_flat
                .then(|| slope(&self.values[steady * 12..]))
                .flatten(),
            change,
            flat: bound
                .filter(|_| self.must_be_flat)
                .map(|bound| ratio <= bound),
        })
    }
}

fn usable(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| usable(*value))
        .collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        Some(f64::midpoint(
            *sorted.get(middle.checked_sub(1)?)?,
            *sorted.get(middle)?,
        ))
    } else {
        sorted.get(middle).copied()
    }
}

/// Bounds at 99% of the mean ratio of two years, from the logarithms of the ratios of their months.
fn paired(before: &[f64], now: &[f64]) -> Option<(f64, f64)> {
    let pairs = before
        .iter()
        .zip(now)
        .filter(|(before, now)| usable(**before) && usable(**now));
    let logs: Vec<f64> = pairs.map(|(before, now)| (now / before).ln()).collect();
    if logs.len() < PAIRS {
        return None;
    }
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    let reach = t99(count - 1.0) * (squares / (count - 1.0) / count).sqrt();
    Some(((mean - reach).exp(), (mean + reach).exp()))
}

/// The change in a year, as a share, and how far it may be off: a line through the logarithms, from
/// which the season was taken, that is the mean of all Januaries and so on. A saw that starts low
/// would look like growth.
fn slope(values: &[f64]) -> Option<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut seasons = 0;
    for calendar in 0..12 {
        let same = values.iter().enumerate().skip(calendar).step_by(12);
        let same = same.filter(|(_, value)| usable(**value));
        let same: Vec<(f64, f64)> = same
            .map(|(month, value)| (month as f64 / 12.0, value.ln()))
            .collect();
        let count = same.len() as f64;
        let sum = |of: fn(&(f64, f64)) -> f64| same.iter().map(of).sum::<f64>();
        let (year, log) = (sum(|point| point.0) / count, sum(|point| point.1) / count);
        seasons += usize::from(!same.is_empty());
        points.extend(same.iter().map(|point| (point.0 - year, point.1 - log)));
    }
    let freedom = points
        .len()
        .checked_sub(seasons + 1)
        .filter(|freedom| *freedom > 0)?;
    let rows: Vec<Vec<f64>> = points.iter().map(|point| vec![point.0]).collect();
    let right: Vec<f64> = points.iter().map(|point| point.1).collect();
    let found = least_squares(&rows, &right)?;
    // What it takes for the only unknown: the means are unknowns, too.
    let error = found.errors.first()? * ((points.len() - 1) as f64 / freedom as f64).sqrt();
    Some((found.coefficients.first()?.exp_m1(), error * t95(freedom)))
}

#[cfg(test)]
mod tests {
    use super::super::month::Tiered;
    use super::*;

    /// Years in which `hot_bytes` goes as the function of the month says, and tiering begins with
    /// the second.
    fn years(count: u32, hot_bytes: impl Fn(u32) -> f64) -> Vec<Month> {
        let month = |month: u32| Month {
            year: 2_020 + i32::try_from(month / 12).unwrap_or_default(),
            uploaded: 100,
            sent: u64::from(month + 1) * 100,
            archived: u64::from(month.saturating_sub(11)) * 100,
            upload_s: 0.1,
            tier: Some(Tiered {
                invoices: u64::from(month >= 12) * 100,
                seconds: 0.5,
                ..Tiered::default()
            }),
            figures: [
                (HOT_BYTES.to_owned(), hot_bytes(month)),
                ("archive_bytes".to_owned(), f64::from(month + 1) * 1e6),
            ]
            .into(),
            ..Month::default()
        };
        (0..count * 12).map(month).collect()
    }

    /// A season, and noise of 2% that no year repeats.
    fn seasonal(month: u32) -> f64 {
        let noise = f64::from(month * 7_919 % 41) / 1_000.0 - 0.02;
        1e9 * (1.0 + f64::from(month % 12) / 10.0) * (1.0 + noise)
    }

    fn trend<'a>(verdict: &'a Verdict, figure: &str) -> &'a Trend {
        let found = verdict.trends.iter().find(|trend| trend.figure == figure);
        found.unwrap_or_else(|| unreachable!())
    }

    #[test]
    fn seasons_and_noise_are_no_growth() {
        let verdict = Verdict::of(&years(5, seasonal), Some(1.5));
        assert_eq!(
            (verdict.years, verdict.is_flat()),
            (Some((2021, 2024)), Some(true))
        );
        let hot = trend(&verdict, HOT_BYTES);
        assert_eq!((hot.change, hot.flat), (Change::Same, Some(true)));
        assert!((0.97..1.03).contains(&hot.ratio), "{hot:?}");
        assert!(hot.per_year.is_some_and(|(share, off)| share.abs() < off));
        assert!(verdict.text().starts_with("Flat"));
    }

    #[test]
    fn growth_is_told_and_missed_from_the_bound_on() {
        let grows = |month: u32| seasonal(month) * 1.2_f64.powf(f64::from(month) / 12.0);
        let verdict = Verdict::of(&years(5, grows), Some(1.5));
        let hot = trend(&verdict, HOT_BYTES);
        // From the second year to the fifth: 1.2 cubed.
        assert!((hot.ratio - 1.728).abs() < 0.1, "{hot:?}");
        assert_eq!(
            (hot.change, hot.flat, verdict.is_flat()),
            (Change::Higher, Some(false), Some(false))
        );
        let (share, off) = hot.per_year.unwrap_or_default();
        assert!((share - 0.2).abs() < off, "{share} +- {off}");
        assert!(verdict.text().contains("NOT FLAT") && verdict.text().contains(HOT_BYTES));
        assert_eq!(
            Verdict::of(&years(5, grows), Some(2.0)).is_flat(),
            Some(true)
        );
        assert_eq!(Verdict::of(&years(5, grows), None).is_flat(), None);
    }

    #[test]
    fn what_has_to_grow_is_told_only() {
        let verdict = Verdict::of(&years(4, seasonal), Some(1.1));
        let archive = trend(&verdict, "archive_bytes");
        assert!(archive.ratio > 2.0 && archive.flat.is_none());
        assert_eq!(verdict.is_flat(), Some(true));
    }

    #[test]
    fn two_years_have_nothing_to_compare() {
        for months in [years(2, seasonal), years(1, seasonal), Vec::new()] {
            let verdict = Verdict::of(&months, Some(1.5));
            assert_eq!((verdict.years, verdict.is_flat()), (None, None));
            assert!(verdict.text().starts_with("Not judged"));
        }
        let mut never = years(5, seasonal);
        never.iter_mut().for_each(|month| month.tier = None);
        assert_eq!(Verdict::of(&never, Some(1.5)).years, None);
    }
}
