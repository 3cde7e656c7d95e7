//! The measurement file: what one operation costs, as it was measured.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::linear::t95;
use super::scaling::Point;
use super::{Basis, Estimate};
use crate::file::{self, FileError};

/// Version of the file's form. A reader refuses a higher one.
pub const FORMAT: u32 = 1;
/// Costs of one file at most.
pub const MAX_COSTS: usize = 1_000;
/// A cost is extrapolated where it is used for more than this many times what it was measured with.
pub const STRETCH: f64 = 10.0;

/// What is done to an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Creating one by itself.
    Create,
    /// Creating one as part of a bulk upload.
    Bulk,
    /// Recording a payment.
    Pay,
    /// Reading one from the hot tier.
    GetHot,
    /// Reading an archived one.
    GetCold,
    /// Reading the first page of a list.
    List,
    /// Moving one into the archive.
    Tier,
    /// Keeping one: its bytes, with all that belongs to it.
    Keep,
}

/// What is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// CPU seconds of all of Sheaf's and PostgreSQL's processes.
    CpuS,
    /// Bytes of write-ahead log.
    WalBytes,
    /// Bytes in the database, tables and indexes.
    HotBytes,
    /// Bytes in the archive.
    ColdBytes,
    /// GET requests to the object store.
    ObjectGets,
    /// Bytes read from the object store.
    ObjectBytes,
}

macro_rules! names {
    ($($kind:ident { $($variant:ident $name:literal),* })*) => {$(
        impl $kind {
            /// As it is written.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    )*};
}
names! {
    Work { Create "create", Bulk "bulk", Pay "pay", GetHot "get_hot", GetCold "get_cold",
        List "list", Tier "tier", Keep "keep" }
    Resource { CpuS "cpu_s", WalBytes "wal_bytes", HotBytes "hot_bytes", ColdBytes "cold_bytes",
        ObjectGets "object_gets", ObjectBytes "object_bytes" }
}

/// One cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Of what.
    pub work: Work,
    /// Of which resource.
    pub resource: Resource,
    /// For one invoice or one request.
    pub value: f64,
    /// Independent measurements (rounds).
    pub n: u32,
    /// Relative scatter of one of them, 0.03 for 3%.
    pub residual: f64,
    /// Invoices or requests over all of them.
    pub units: f64,
}

/// A measurement file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Version of this form: 1.
    pub format: u32,
    /// Where and how: machine, versions, settings. For people.
    #[serde(default)]
    pub about: String,
    /// Database workers.
    pub workers: u32,
    /// The costs.
    #[serde(default)]
    pub costs: Vec<Cost>,
    /// Throughput on different numbers of workers, for the law of scaling.
    #[serde(default)]
    pub scaling: Vec<Point>,
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A number that cannot be.
    #[error(
        "{0}: {1} is not possible: values and units are above 0, n is at least 1, a residual is \
        from 0 to 10"
    )]
    Value(String, String),
    /// Too much of it.
    #[error("{0}: workers are at least 1, and there are at most {MAX_COSTS} costs")]
    Bounds(String),
    /// The plan needs what was not measured.
    #[error("not measured: {0}; measure it, or set its share in the target to 0")]
    Missing(String),
}

impl Measurement {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CostsError`], all but [`CostsError::Missing`].
    pub fn load(path: &Path) -> Result<Self, CostsError> {
        let name = path.display().to_string();
        let read: Self = file::read_json(path)?;
        read.check(&name)?;
        Ok(read)
    }

    /// Every member is possible.
    ///
    /// # Errors
    /// [`FileError::Format`], [`CostsError::Value`] or [`CostsError::Bounds`].
    pub fn check(&self, name: &str) -> Result<(), CostsError> {
        if self.format > FORMAT {
            return Err(CostsError::File(FileError::Format {
                path: name.to_owned(),
                format: self.format,
                newest: FORMAT,
            }));
        }
        if self.workers == 0 || self.costs.len() > MAX_COSTS {
            return Err(CostsError::Bounds(name.to_owned()));
        }
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        for cost in &self.costs {
            // A cost of 0 is possible: a hot read touches no object.
            let possible = cost.value >= 0.0
                && cost.value.is_finite()
                && above_0(cost.units)
                && cost.n > 0
                && (0.0..=10.0).contains(&cost.residual);
            if !possible {
                return Err(CostsError::Value(name.to_owned(), cost.name()));
            }
        }
        Ok(())
    }
}

impl Cost {
    /// `create.cpu_s`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.work.name(), self.resource.name())
    }

    /// Half of the width of the mean's 95% bounds, relative. One measurement says nothing about its
    /// own noise: it is given 30%.
    #[must_use]
    pub fn reach(&self) -> f64 {
        if self.n < 2 {
            return self.residual.max(0.3);
        }
        t95(self.n as usize - 1) * self.residual / f64::from(self.n).sqrt()
    }
}

/// All measurements of one plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs(pub Vec<Measurement>);

/// A cost out of all files.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Value and bounds.
    pub estimate: Estimate,
    /// Of the file with the most workers.
    pub cost: Cost,
    /// Numbers of workers on which it was measured, ascending.
    pub workers: Vec<u32>,
}

impl Costs {
    /// The cost as the file with the most workers has it, and of several of those the one with the
    /// most units. Its bounds span those of all files: what differs between numbers of workers is
    /// not known better than that.
    #[must_use]
    pub fn find(&self, work: Work, resource: Resource) -> Option<Found> {
        let is = |cost: &&Cost| cost.work == work && cost.resource == resource;
        let mut found: Vec<(u32, &Cost)> = self
            .0
            .iter()
            .flat_map(|file| {
                file.costs
                    .iter()
                    .filter(is)
                    .map(|cost| (file.workers, cost))
            })
            .collect();
        // Of as many workers, the one with more behind it.
        found.sort_by(|(a, x), (b, y)| a.cmp(b).then(x.units.total_cmp(&y.units)));
        let (_, best) = *found.last()?;
        let low = |cost: &Cost| (cost.value * (1.0 - cost.reach())).max(0.0);
        let high = |cost: &Cost| cost.value * (1.0 + cost.reach());
        let mut workers: Vec<u32> = found.iter().map(|(workers, _)| *workers).collect();
        workers.dedup();
        Some(Found {
            estimate: Estimate {
                value: best.value,
                low: found
                    .iter()
                    .map(|(_, cost)| low(cost))
                    .fold(f64::MAX, f64::min),
                high: found.iter().map(|(_, cost)| high(cost)).fold(0.0, f64::max),
                basis: Basis::Measured,
            },
            cost: best.clone(),
            workers,
        })
    }

    /// Runs of all files for the law of scaling.
    #[must_use]
    pub fn scaling(&self) -> Vec<Point> {
        self.0
            .iter()
            .flat_map(|file| file.scaling.clone())
            .collect()
    }

    /// The largest number of workers that anything was measured on.
    #[must_use]
    pub fn most_workers(&self) -> u32 {
        self.0
            .iter()
            .map(|file| file.workers)
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(workers: u32, value: f64, n: u32, residual: f64) -> Measurement {
        Measurement {
            format: 1,
            workers,
            costs: vec![Cost {
                work: Work::Create,
                resource: Resource::CpuS,
                value,
                n,
                residual,
                units: 1_000.0,
            }],
            ..Measurement::default()
        }
    }

    #[test]
    fn the_most_workers_count_and_the_bounds_span_all() {
        // 5 rounds: 2.776 * 0.05 / sqrt(5) = 6.21% each way.
        let costs = Costs(vec![file(2, 110e-6, 5, 0.05), file(1, 100e-6, 5, 0.05)]);
        let found = costs.find(Work::Create, Resource::CpuS).unwrap();
        let reach = 2.776 * 0.05 / 5.0_f64.sqrt();
        assert!((found.estimate.value - 110e-6).abs() < 1e-12);
        assert!((found.estimate.low - 100e-6 * (1.0 - reach)).abs() < 1e-12);
        assert!((found.estimate.high - 110e-6 * (1.0 + reach)).abs() < 1e-12);
        assert_eq!((found.workers, costs.most_workers()), (vec![1, 2], 2));
        assert_eq!(costs.find(Work::Pay, Resource::CpuS), None);
    }

    #[test]
    fn of_as_many_workers_the_one_with_more_units_counts() {
        let mut short = file(2, 90e-6, 5, 0.05);
        short.costs[0].units = 10.0;
        let costs = Costs(vec![file(2, 110e-6, 5, 0.05), short]);
        let found = costs.find(Work::Create, Resource::CpuS).unwrap();
        assert!((found.estimate.value - 110e-6).abs() < 1e-12 && found.estimate.low < 90e-6);
    }

    #[test]
    fn one_round_is_not_trusted() {
        assert!((file(1, 1.0, 1, 0.0).costs[0].reach() - 0.3).abs() < 1e-12);
    }

    #[test]
    fn impossible_files_are_refused_by_name() {
        let error = |file: Measurement| file.check("m.json").unwrap_err().to_string();
        assert!(error(file(1, -1.0, 1, 0.0)).contains("create.cpu_s"));
        assert!(error(file(1, f64::NAN, 1, 0.0)).contains("create.cpu_s"));
        assert!(error(file(1, 1.0, 0, 0.0)).contains("n is at least 1"));
        assert!(error(file(0, 1.0, 1, 0.0)).contains("at least 1"));
        let later = Measurement {
            format: 2,
            ..file(1, 1.0, 1, 0.0)
        };
        assert!(error(later).contains("format 2"));
    }
}
