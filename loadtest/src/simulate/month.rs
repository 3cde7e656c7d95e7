//! What was found in each simulated month.
// Latencies and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::result::record::{Latencies, Series};

/// Figures that a probe printed, by name.
pub type Figures = BTreeMap<String, f64>;

/// One run of tiering.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tiered {
    /// Invoices that it archived.
    pub invoices: u64,
    /// Bytes of the objects that it wrote.
    pub bytes: u64,
    /// Invoices older than the horizon that stayed hot because something is owed on them.
    pub skipped_unsettled: u64,
    /// Year partitions that it dropped.
    pub years_dropped: Vec<i64>,
    /// Wall time of the command, its start included.
    pub seconds: f64,
}

impl Tiered {
    /// Reads the summary that `sheaf tier run` prints; what it lacks is 0.
    #[must_use]
    pub fn read(summary: &Value, seconds: f64) -> Self {
        let count = |name: &str| {
            summary
                .get(name)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        let years = summary.get("years_dropped").and_then(Value::as_array);
        Self {
            invoices: count("invoices"),
            bytes: count("bytes"),
            skipped_unsettled: count("skipped_unsettled"),
            years_dropped: years
                .into_iter()
                .flatten()
                .filter_map(Value::as_i64)
                .collect(),
            seconds,
        }
    }
}

/// One simulated month, or several put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Month {
    /// `YYYY-MM`; of several months also `2021 Q3` or `2021`.
    pub month: String,
    /// Its year.
    pub year: i32,
    /// Invoices that were uploaded in it.
    pub uploaded: u64,
    /// Invoices that were uploaded so far.
    pub sent: u64,
    /// Seconds that the uploads took, without making the documents.
    pub upload_s: f64,
    /// Payments, one request each, over a few connections that each wait for their answer.
    pub pay: Latencies,
    /// By name of the operation: `get_hot`, `get_cold`, `list`.
    pub reads: BTreeMap<String, Series>,
    /// 99th percentile of the generator's own lag with the reads, milliseconds: above 5, the
    /// latencies are the machine's as well as the server's.
    pub lag_p99_ms: f64,
    /// Invoices that were old and settled when tiering ran, and not archived yet.
    pub tiering_due: u64,
    /// What tiering did.
    pub tier: Option<Tiered>,
    /// Invoices archived so far.
    pub archived: u64,
    /// Bytes of the objects written so far.
    pub archived_bytes: u64,
    /// What the probe printed when the month was over.
    pub figures: Figures,
}

/// A percentile without at least one request beyond it would be the maximum by another name.
fn percentile(latencies: &Latencies, quantile: f64) -> Option<f64> {
    (latencies.count() as f64 * (1.0 - quantile) >= 0.999).then(|| latencies.ms(quantile))
}

impl Month {
    /// Invoices that are hot, by what was sent and archived.
    #[must_use]
    pub fn hot(&self) -> u64 {
        self.sent.saturating_sub(self.archived)
    }

    /// Uploaded invoices per second.
    #[must_use]
    pub fn upload_rate(&self) -> Option<f64> {
        (self.upload_s > 0.0).then(|| self.uploaded as f64 / self.upload_s)
    }

    /// Milliseconds of tiering for each invoice that it took.
    #[must_use]
    pub fn tier_ms(&self) -> Option<f64> {
        let tier = self.tier.as_ref().filter(|tier| tier.invoices > 0)?;
        Some(tier.seconds * 1_000.0 / tier.invoices as f64)
    }

    /// A percentile of an operation's latency in milliseconds; `pay` is one, too. `None` with too
    /// few requests.
    #[must_use]
    pub fn latency(&self, operation: &str, quantile: f64) -> Option<f64> {
        if operation == "pay" {
            return percentile(&self.pay, quantile);
        }
        percentile(&self.reads.get(operation)?.latency, quantile)
    }

    /// Reads that were not answered as they should.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.reads.values().map(Series::failed).sum()
    }

    fn add(&mut self, later: &Self) {
        self.uploaded += later.uploaded;
        self.upload_s += later.upload_s;
        self.pay.add(&later.pay);
        for (name, series) in &later.reads {
            self.reads.entry(name.clone()).or_default().add(series);
        }
        self.lag_p99_ms = self.lag_p99_ms.max(later.lag_p99_ms);
        self.tiering_due += later.tiering_due;
        if let Some(later) = &later.tier {
            let tier = self.tier.get_or_insert_default();
            tier.invoices += later.invoices;
            tier.bytes += later.bytes;
            tier.skipped_unsettled = later.skipped_unsettled;
            tier.years_dropped.extend(&later.years_dropped);
            tier.seconds += later.seconds;
        }
        // The rest says how it stands at the end.
        (self.sent, self.archived) = (later.sent, later.archived);
        self.archived_bytes = later.archived_bytes;
        self.figures.clone_from(&later.figures);
    }
}

/// How many months a row of a report stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One.
    Month,
    /// Three.
    Quarter,
    /// Twelve.
    Year,
}

/// Puts months together. Counts, times and latencies add up; sizes are those at the end.
#[must_use]
pub fn rows(months: &[Month], by: By) -> Vec<Month> {
    let length = match by {
        By::Month => 1,
        By::Quarter => 3,
        By::Year => 12,
    };
    let row = |(index, some): (usize, &[Month])| {
        let mut row = some.first().cloned().unwrap_or_default();
        for later in some.iter().skip(1) {
            row.add(later);
        }
        match by {
            By::Month => {}
            By::Quarter => row.month = format!("{} Q{}", row.year, index % 4 + 1),
            By::Year => row.month = row.year.to_string(),
        }
        row
    };
    months.chunks(length).enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn month(index: u64) -> Month {
        let mut month = Month {
            month: format!("2020-{:02}", index + 1),
            year: 2020,
            uploaded: 100,
            sent: 100 * (index + 1),
            upload_s: 0.5,
            tier: Some(Tiered {
                invoices: 40,
                bytes: 1_000,
                skipped_unsettled: index,
                years_dropped: vec![2_000 + i64::try_from(index).unwrap_or_default()],
                seconds: 0.1,
            }),
            archived: 40 * (index + 1),
            figures: [("hot_bytes".to_owned(), index as f64)].into(),
            ..Month::default()
        };
        month.pay.record(Duration::from_millis(index + 1));
        month
    }

    #[test]
    fn months_add_up_to_quarters() {
        let months: Vec<Month> = (0..6).map(month).collect();
        let quarters = rows(&months, By::Quarter);
        let second = &quarters[1];
        assert_eq!((quarters.len(), second.month.as_str()), (2, "2020 Q2"));
        assert_eq!(
            (second.uploaded, second.sent, second.hot()),
            (300, 600, 360)
        );
        assert_eq!(second.figures["hot_bytes"], 5.0);
        assert_eq!(second.upload_rate(), Some(200.0));
        let tier = second.tier.clone().unwrap_or_default();
        assert_eq!((tier.invoices, tier.skipped_unsettled), (120, 5));
        assert_eq!(tier.years_dropped, [2_003, 2_004, 2_005]);
        assert!(second.tier_ms().is_some_and(|ms| (ms - 2.5).abs() < 1e-9));
        assert_eq!(second.pay.count(), 3);
        // Latencies are kept to three digits.
        assert!(
            second
                .latency("pay", 0.5)
                .is_some_and(|ms| (ms - 5.0).abs() < 0.01)
        );
        // Three payments say nothing about one in a hundred.
        assert_eq!(second.latency("pay", 0.99), None);
        assert_eq!(rows(&months, By::Month), months);
        assert_eq!(rows(&months, By::Year)[0].month, "2020");
    }

    #[test]
    fn a_summary_of_tiering_is_read() {
        let summary =
            serde_json::json!({"invoices": 5, "bytes": 70, "years_dropped": [2019], "units": 2});
        let read = Tiered::read(&summary, 2.0);
        assert_eq!(
            (read.invoices, read.bytes, read.skipped_unsettled),
            (5, 70, 0)
        );
        assert_eq!(read.years_dropped, [2019]);
    }
}
