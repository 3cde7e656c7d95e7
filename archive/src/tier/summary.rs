//! The options of a tiering run, and its results.

use chrono::{Datelike, Months, NaiveDate};
use serde::Serialize;
use sheaf_model::bounds::{MAX_YEAR, MIN_YEAR};
use sheaf_model::{Period, TenantId};

use crate::ArchiveError;
use crate::file::totals::Totals;
use crate::run::failures::Failures;

/// Largest horizon, in months.
const MAX_MONTHS: u32 = 12 * 230;

/// The options of a run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The day to count from.
    pub as_of: NaiveDate,
    /// Settled invoices move when their whole month lies before the month of the day that is this
    /// number of months earlier.
    pub older_than_months: u32,
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// Count only; change nothing.
    pub dry_run: bool,
}

/// The results of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Months of tenants of which something moved.
    pub units: u64,
    /// Objects written and published.
    pub parts: u64,
    /// Invoices moved.
    pub invoices: u64,
    /// Their lines.
    pub lines: u64,
    /// Their payments.
    pub payments: u64,
    /// Their events.
    pub events: u64,
    /// Size of the objects.
    pub bytes: u64,
    /// Invoices older than the horizon that stay, because something is owed on them.
    pub skipped_unsettled: u64,
    /// Invoices that stay for a later run, because one of their part changed twice while it was
    /// written.
    pub skipped_changed: u64,
    /// Year partitions that were empty everywhere and are gone.
    pub years_dropped: Vec<i16>,
    /// Expired idempotency keys that are gone.
    pub idempotency_keys_swept: u64,
    /// Tenants looked at.
    pub tenants: u64,
    /// Whether this only counted.
    pub dry_run: bool,
    /// First day that stays hot.
    pub horizon: NaiveDate,
    /// Months of tenants that could not be moved: the next run takes them again.
    #[serde(flatten)]
    pub failures: Failures,
    /// Milliseconds.
    pub elapsed_ms: u64,
}

impl RunSummary {
    pub(super) fn add(&mut self, totals: &Totals) {
        self.invoices += totals.invoices;
        self.lines += totals.lines;
        self.payments += totals.payments;
        self.events += totals.events;
    }

    /// Adds what was done for other tenants and months.
    pub(super) fn merge(&mut self, other: Self) {
        self.units += other.units;
        self.parts += other.parts;
        self.invoices += other.invoices;
        self.lines += other.lines;
        self.payments += other.payments;
        self.events += other.events;
        self.bytes += other.bytes;
        self.skipped_unsettled += other.skipped_unsettled;
        self.skipped_changed += other.skipped_changed;
        self.idempotency_keys_swept += other.idempotency_keys_swept;
        self.tenants += other.tenants;
        self.failures.merge(other.failures);
    }
}

/// The month that holds the horizon: earlier months move.
///
/// # Errors
/// The date lies outside of what ids carry.
pub(super) fn horizon(options: &RunOptions) -> Result<Period, ArchiveError> {
    let invalid = || ArchiveError::InvalidRun("the horizon is out of range".to_owned());
    if options.older_than_months > MAX_MONTHS {
        return Err(invalid());
    }
    let day = options
        .as_of
        .checked_sub_months(Months::new(options.older_than_months))
        .ok_or_else(invalid)?;
    let years = i32::from(MIN_YEAR)..=i32::from(MAX_YEAR);
    if !years.contains(&day.year()) {
        return Err(invalid());
    }
    Ok(Period::of_date(day))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(as_of: &str, older_than_months: u32) -> RunOptions {
        RunOptions {
            as_of: as_of.parse().unwrap(),
            older_than_months,
            tenant: None,
            dry_run: false,
        }
    }

    #[test]
    fn the_month_of_the_horizon_stays_hot() {
        assert_eq!(
            horizon(&options("2026-11-20", 12)).unwrap(),
            Period {
                year: 2025,
                month: 11
            }
        );
        assert_eq!(
            horizon(&options("2024-02-29", 12)).unwrap(),
            Period {
                year: 2023,
                month: 2
            }
        );
        assert_eq!(
            horizon(&options("2024-03-31", 0)).unwrap(),
            Period {
                year: 2024,
                month: 3
            }
        );
    }

    #[test]
    fn a_horizon_that_no_id_can_carry_is_refused() {
        assert!(matches!(
            horizon(&options("1970-06-01", 12)),
            Err(ArchiveError::InvalidRun(_))
        ));
        assert!(matches!(
            horizon(&options("2024-06-01", u32::MAX)),
            Err(ArchiveError::InvalidRun(_))
        ));
    }
}
