//! What is asked of Sheaf over the years, and what does not add up about it.

use serde::Serialize;

use super::{Basis, Estimate};

/// Of a year of 365.25 days.
pub const MINUTES_A_YEAR: f64 = 525_960.0;
/// Of the same.
pub const HOURS_A_YEAR: f64 = 8_766.0;
/// Of the same.
pub const SECONDS_A_YEAR: f64 = 31_557_600.0;
/// Years at most.
pub const MAX_YEARS: u32 = 200;

/// The target. Shares are for one invoice unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Invoices created in the busiest minute, in the busiest year.
    pub peak_per_minute: f64,
    /// Invoices over all years.
    pub invoices: f64,
    /// Years.
    pub years: u32,
    /// Months for which invoices stay hot.
    pub hot_months: f64,
    /// Growth of a year over the one before, 0.1 for 10%.
    pub growth: f64,
    /// Tenants.
    pub tenants: f64,
    /// The share of invoices that come by bulk upload, 0 to 1.
    pub bulk: f64,
    /// Payments.
    pub payments: f64,
    /// Reads while it is hot.
    pub reads: f64,
    /// Lists of 20.
    pub lists: f64,
    /// Reads of each archived invoice in a year.
    pub cold_reads: f64,
    /// Copies of the hot tier: 2 is one standby for each node.
    pub copies: f64,
    /// The share of its CPUs that a node may use at the peak, 0 to 1.
    pub utilisation: f64,
    /// The share of its disk that a node may fill, 0 to 1.
    pub disk_fill: f64,
    /// Hours of write-ahead log that are kept.
    pub wal_hours: f64,
    /// Bytes of one invoice in an answer.
    pub answer_bytes: f64,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            peak_per_minute: 10_000.0,
            invoices: 26e9,
            years: 50,
            hot_months: 12.0,
            growth: 0.0,
            tenants: 100.0,
            bulk: 0.0,
            payments: 1.0,
            reads: 2.0,
            lists: 0.2,
            cold_reads: 0.01,
            copies: 2.0,
            utilisation: 0.5,
            disk_fill: 0.7,
            wal_hours: 24.0,
            answer_bytes: 2_000.0,
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// The numbers cannot all be true.
    Contradiction,
    /// A figure is worth less than it looks.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something about the target or the plan that its reader should know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How bad.
    pub weight: Weight,
    /// A sentence or two.
    pub text: String,
}

impl Finding {
    pub(super) fn new(weight: Weight, text: String) -> Self {
        Self { weight, text }
    }
}

/// What happens in one year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Volume {
    pub(super) created: f64,
    pub(super) peak_per_minute: f64,
    /// At the end of the year.
    pub(super) hot: f64,
    /// At the end of the year.
    pub(super) cold: f64,
    /// Months whose invoices move into the archive.
    pub(super) months_moved: f64,
    /// Those invoices.
    pub(super) moved: f64,
    /// Reads of archived invoices.
    pub(super) cold_reads: f64,
}

impl Target {
    /// Every number is possible.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        let above_0 = [
            ("the peak", self.peak_per_minute),
            ("the number of invoices", self.invoices),
            ("the number of tenants", self.tenants),
        ];
        let from_0 = [
            ("the months hot", self.hot_months),
            ("the payments", self.payments),
            ("the reads", self.reads),
            ("the lists", self.lists),
            ("the cold reads", self.cold_reads),
            ("the hours of log", self.wal_hours),
            ("the bytes of an answer", self.answer_bytes),
        ];
        for (name, value) in above_0 {
            if !(value > 0.0 && value < 1e18) {
                return Err(format!("{name}: above 0 and below 1e18"));
            }
        }
        for (name, value) in from_0 {
            if !(0.0..1e9).contains(&value) {
                return Err(format!("{name}: from 0 and below 1e9"));
            }
        }
        let share = |value: f64| value > 0.0 && value <= 1.0;
        if !share(self.utilisation) || !share(self.disk_fill) || !(0.0..=1.0).contains(&self.bulk) {
            return Err(
                "the shares of CPU and disk in use are above 0 and at most 1, that of bulk \
                from 0 to 1"
                    .to_owned(),
            );
        }
        if !(1..=MAX_YEARS).contains(&self.years) || !(-0.5..=2.0).contains(&self.growth) {
            return Err(format!(
                "there are from 1 to {MAX_YEARS} years, which grow by -50% to 200%"
            ));
        }
        if !(1.0..=10.0).contains(&self.copies) {
            return Err("there are from 1 to 10 copies".to_owned());
        }
        Ok(())
    }

    /// Invoices a minute over all years.
    #[must_use]
    pub fn mean_per_minute(&self) -> f64 {
        self.invoices / (f64::from(self.years) * MINUTES_A_YEAR)
    }

    /// Invoices created in each year.
    fn created(&self) -> Vec<f64> {
        let years = i32::try_from(self.years).unwrap_or(i32::MAX);
        let weights: Vec<f64> = (0..years)
            .map(|year| (1.0 + self.growth).powi(year))
            .collect();
        let sum: f64 = weights.iter().sum();
        weights
            .iter()
            .map(|weight| self.invoices * weight / sum)
            .collect()
    }

    /// Invoices that have been archived at a time in years from the start. Tiering runs once a
    /// month: on average at its worst, just before a run, another month is still hot.
    pub(super) fn archived(&self, at: f64) -> f64 {
        let mut left = at - (self.hot_months + 1.0) / 12.0;
        let mut sum = 0.0;
        for created in self.created() {
            sum += created * left.clamp(0.0, 1.0);
            left -= 1.0;
        }
        sum
    }

    pub(super) fn volumes(&self) -> Vec<Volume> {
        let created = self.created();
        let busiest = created.iter().copied().fold(0.0, f64::max);
        let mut all = 0.0;
        let volume = |(year, created): (u32, f64)| {
            let (begin, end) = (f64::from(year), f64::from(year) + 1.0);
            let (before, cold) = (self.archived(begin), self.archived(end));
            all += created;
            Volume {
                created,
                peak_per_minute: self.peak_per_minute * created / busiest,
                hot: all - cold,
                cold,
                months_moved: (end * 12.0 - self.hot_months - 1.0).clamp(0.0, 12.0),
                moved: cold - before,
                cold_reads: f64::midpoint(before, cold) * self.cold_reads,
            }
        };
        (0..self.years).zip(created).map(volume).collect()
    }

    /// What does not add up about the target by itself.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let years = f64::from(self.years);
        let always = self.peak_per_minute * MINUTES_A_YEAR * years;
        let (big, peak, mean) = (
            large(always),
            thousands(self.peak_per_minute),
            self.mean_per_minute(),
        );
        let sum = large(self.invoices);
        if always < self.invoices * 0.999 {
            found.push(Finding::new(
                Weight::Contradiction,
                format!(
                    "{sum} invoices in {} years are {} a minute on average, above the peak of \
                    {peak} a minute, which makes {big} at \
                     most. One of the three numbers is wrong.",
                    self.years,
                    thousands(mean)
                ),
            ));
        } else if always > self.invoices * 1.5 {
            found.push(Finding::new(
                Weight::Note,
                format!(
                    "{peak} a minute all the time would be {big} invoices in {} years, not {sum}: \
                    it is a peak. {sum} are {} a minute \
                     on average; the peak is {:.1} times that. CPUs are sized for the peak, bytes \
                     for the sum.",
                    self.years,
                    thousands(mean),
                    self.peak_per_minute / mean
                ),
            ));
        }
        if self.hot_months > years * 12.0 {
            found.push(Finding::new(
                Weight::Contradiction,
                format!(
                    "Invoices stay hot for {} months, longer than the {} years planned: \
                    nothing is ever archived.",
                    self.hot_months, self.years
                ),
            ));
        }
        if self.copies < 2.0 {
            found.push(Finding::new(
                Weight::Warning,
                "Fewer than two copies: a node that fails takes its tenants with it until it is \
                restored."
                    .to_owned(),
            ));
        }
        found
    }

    /// Objects written for `moved` invoices of `months` months: a part holds at most 100,000
    /// invoices of one tenant and month. For tenants of equal size; the bounds are those of any
    /// other sizes.
    pub(super) fn objects(&self, moved: f64, months: f64) -> Estimate {
        const PART: f64 = 100_000.0;
        let units = self.tenants * months;
        if units <= 0.0 {
            return Estimate::exact(0.0, Basis::Design);
        }
        let full = moved / PART;
        Estimate {
            value: units * (full / units).ceil().max(1.0),
            low: full.ceil().max(months),
            high: full + units,
            basis: Basis::Design,
        }
    }
}

/// `26.0 billion`.
pub(super) fn large(value: f64) -> String {
    for (size, name) in [(1e12, "trillion"), (1e9, "billion"), (1e6, "million")] {
        if value >= size {
            let value = value / size;
            return if value >= 100.0 {
                format!("{value:.0} {name}")
            } else {
                format!("{value:.3} {name}").replace(".000 ", " ")
            };
        }
    }
    thousands(value)
}

/// A whole number with thousands set apart.
pub(super) fn thousands(value: f64) -> String {
    crate::result::plot::number(if value.abs() >= 10.0 {
        value.round()
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn about(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 1e-9
    }

    #[test]
    fn a_peak_is_told_from_a_mean() {
        let target = Target::default();
        // 10,000 * 525,960 * 50 = 262,980,000,000; 26e9 / (50 * 525,960) = 988.67 a minute.
        let text = &target.findings()[0].text;
        assert!(
            text.contains("263 billion") && text.contains("26 billion"),
            "{text}"
        );
        assert!(
            text.contains("989 a minute") && text.contains("10.1 times"),
            "{text}"
        );
        let few = Target {
            peak_per_minute: 900.0,
            ..target
        };
        assert_eq!(few.findings()[0].weight, Weight::Contradiction);
        let hot = Target {
            hot_months: 700.0,
            ..target
        };
        assert!(
            hot.findings()
                .iter()
                .any(|finding| finding.text.contains("ever archived"))
        );
    }

    #[test]
    fn years_by_hand() {
        // 120 a year, hot for 12 months and the one before the next run: 130 at the end of each
        // year from the second.
        let target = Target {
            invoices: 1_200.0,
            years: 10,
            cold_reads: 0.5,
            ..Target::default()
        };
        let volumes = target.volumes();
        let first = volumes[0];
        assert!(about(first.created, 120.0) && about(first.hot, 120.0));
        assert!(first.cold < 1e-9 && first.moved < 1e-9 && first.months_moved < 1e-9);
        let second = volumes[1];
        assert!(about(second.hot, 130.0) && about(second.cold, 110.0));
        // Reads: half of the mean of 0 and 110.
        assert!(about(second.months_moved, 11.0) && about(second.cold_reads, 27.5));
        let last = volumes[9];
        assert!(about(last.hot, 130.0) && about(last.cold, 1_070.0) && about(last.moved, 120.0));
    }

    #[test]
    fn growth_keeps_the_sum_and_puts_the_peak_last() {
        let target = Target {
            invoices: 700.0,
            years: 3,
            growth: 1.0,
            ..Target::default()
        };
        let volumes = target.volumes();
        let created: Vec<f64> = volumes.iter().map(|volume| volume.created).collect();
        assert!(about(created[0], 100.0) && about(created[1], 200.0) && about(created[2], 400.0));
        assert!(about(volumes[0].peak_per_minute, 2_500.0));
        assert!(about(volumes[2].peak_per_minute, 10_000.0));
    }

    #[test]
    fn parts_by_hand() {
        // 100 tenants, 12 months, 520 million: 433,333 for each, 5 parts of at most 100,000.
        let objects = Target::default().objects(520e6, 12.0);
        assert!(about(objects.value, 6_000.0));
        assert!(about(objects.low, 5_200.0) && about(objects.high, 6_400.0));
        // Small tenants make an object each.
        assert!(about(
            Target::default().objects(1_200.0, 12.0).value,
            1_200.0
        ));
        assert!(Target::default().objects(0.0, 0.0).value < 1e-9);
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = |target: Target| target.check().is_err();
        let usual = Target::default();
        assert!(usual.check().is_ok());
        assert!(
            bad(Target {
                peak_per_minute: 0.0,
                ..usual
            }) && bad(Target {
                invoices: f64::NAN,
                ..usual
            })
        );
        assert!(
            bad(Target { years: 0, ..usual })
                && bad(Target {
                    utilisation: 0.0,
                    ..usual
                })
        );
        assert!(
            bad(Target {
                copies: 0.5,
                ..usual
            }) && bad(Target {
                growth: 3.0,
                ..usual
            })
        );
    }
}
