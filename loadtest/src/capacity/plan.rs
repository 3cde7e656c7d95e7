//! The plan: from target, costs and prices to machines, disks, objects, requests and money for each
//! year. Pure.

mod findings;
mod money;
mod needed;

use serde::Serialize;

use needed::Needed;

use super::costs::{Costs, CostsError, Found, Resource, Work};
use super::prices::Prices;
use super::scaling::{Fit, REACH};
use super::target::{Finding, Target, Volume, large, thousands};
use super::{Basis, Estimate};

const GB: f64 = 1e9;

/// One figure of a year.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// Of the value.
    pub unit: String,
    /// How it is computed, in words.
    pub formula: &'static str,
    /// The same with this year's numbers.
    pub worked: String,
    /// The value, its bounds and its basis.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// One year.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Year {
    /// From 1.
    pub year: u32,
    /// In the same order for each year.
    pub figures: Vec<Figure>,
}

/// A cost that the plan uses, as it was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Used {
    /// `create.cpu_s`.
    pub name: String,
    /// Value, bounds and basis.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Rounds.
    pub n: u32,
    /// Relative scatter of one round.
    pub residual: f64,
    /// Invoices or requests that were measured.
    pub units: f64,
    /// Numbers of workers that it was measured on.
    pub workers: Vec<u32>,
}

/// The law of scaling, as it was fitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scaling {
    /// Operations per second of one worker, with 95% bounds.
    pub lambda: Estimate,
    /// Contention.
    pub sigma: Estimate,
    /// Coherency.
    pub kappa: Estimate,
    /// Relative scatter of a run around the curve.
    pub residual: f64,
    /// Runs.
    pub n: usize,
    /// The most workers measured.
    pub measured_to: u32,
    /// Workers beyond which more do less.
    pub most: Option<f64>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// What was asked.
    pub target: Target,
    /// What its reader should know first.
    pub findings: Vec<Finding>,
    /// What it rests on.
    pub costs: Vec<Used>,
    /// What more nodes bring; `None` when too little was measured.
    pub scaling: Option<Scaling>,
    /// Year by year.
    pub years: Vec<Year>,
    /// Of all years.
    pub total: Estimate,
    /// The money's name.
    pub currency: String,
}

/// Makes the plan.
///
/// # Errors
/// [`CostsError::Missing`] names all costs that the target needs and nobody measured.
pub fn plan(target: &Target, costs: &Costs, prices: &Prices) -> Result<Plan, CostsError> {
    let volumes = target.volumes();
    let most_hot = volumes.iter().map(|volume| volume.hot).fold(0.0, f64::max);
    let needed = Needed::of(target, costs)?;
    let planner = Planner {
        target,
        prices,
        needed: &needed,
        fit: Fit::of(&costs.scaling()).ok(),
        most_workers: costs.most_workers(),
    };
    let years: Vec<Year> = (1..)
        .zip(&volumes)
        .map(|(year, volume)| Year {
            year,
            figures: planner.year(
                volume,
                target.archived(f64::from(year) - 0.5),
                f64::from(year) - 0.5,
            ),
        })
        .collect();
    let bills = years.iter().filter_map(|year| year.figures.last());
    let none = Estimate::given(0.0);
    let total = bills.fold(none, |sum, bill| sum + bill.estimate);
    let mut findings = target.findings();
    findings.extend(planner.findings(most_hot, &years));
    Ok(Plan {
        target: *target,
        findings,
        costs: needed.0.iter().map(used).collect(),
        scaling: planner.fit.as_ref().map(scaling),
        years,
        total,
        currency: prices.currency.clone(),
    })
}

fn used(found: &Found) -> Used {
    Used {
        name: found.cost.name(),
        estimate: found.estimate,
        n: found.cost.n,
        residual: found.cost.residual,
        units: found.cost.units,
        workers: found.workers.clone(),
    }
}

fn scaling(fit: &Fit) -> Scaling {
    let estimate = |value: f64, (low, high): (f64, f64)| Estimate {
        value,
        low,
        high,
        basis: Basis::Measured,
    };
    Scaling {
        lambda: estimate(fit.law.lambda, fit.bounds(|law| law.lambda)),
        sigma: estimate(fit.law.sigma, fit.bounds(|law| law.sigma)),
        kappa: estimate(fit.law.kappa, fit.bounds(|law| law.kappa)),
        residual: fit.residual,
        n: fit.points.len(),
        measured_to: fit.measured_to(),
        most: fit.law.most(),
    }
}

struct Planner<'a> {
    target: &'a Target,
    prices: &'a Prices,
    needed: &'a Needed,
    fit: Option<Fit>,
    most_workers: u32,
}

impl Planner<'_> {
    /// The figures of a year: `archived` invoices in its middle, which is `middle` years from the
    /// start.
    fn year(&self, volume: &Volume, archived: f64, middle: f64) -> Vec<Figure> {
        let created = figure(
            "created",
            "invoices",
            "given: all invoices, by years",
            String::new(),
            Estimate::given(volume.created),
        );
        let hot = figure(
            "hot",
            "invoices",
            "created in the last (months hot + 1) months; tiering runs monthly",
            format!(
                "{} + 1 months of {} a year",
                self.target.hot_months,
                large(volume.created)
            ),
            Estimate::given(volume.hot),
        );
        let cold = figure(
            "archived",
            "invoices",
            "created so far - hot",
            String::new(),
            Estimate::given(volume.cold),
        );
        let cores = self.cores(volume);
        let disk = self.disk(volume);
        let nodes = self.nodes(cores.estimate, disk.estimate);
        let bytes = self.archive(volume);
        let objects = self.objects(volume);
        let gets = self.gets(volume, objects.estimate);
        let mut figures = vec![created, hot, cold, cores, disk, nodes, bytes, objects, gets];
        figures.extend(self.money(volume, &figures, archived, middle));
        figures
    }

    fn cores(&self, volume: &Volume) -> Figure {
        let target = self.target;
        let per_second = volume.peak_per_minute / 60.0;
        let hot = volume.hot / f64::from(self.most_workers.max(1));
        let cost = |work| self.needed.at_size(work, Resource::CpuS, hot);
        // Reads of the archive and tiering go with the peak as everything else.
        let cold_reads = volume.cold_reads / volume.created;
        let tiered = volume.moved / volume.created;
        let terms = [
            (Work::Create, 1.0 - target.bulk),
            (Work::Bulk, target.bulk),
            (Work::Pay, target.payments),
            (Work::GetHot, target.reads),
            (Work::List, target.lists),
            (Work::GetCold, cold_reads),
            (Work::Tier, tiered),
        ];
        let terms = terms.iter().filter(|(_, times)| *times > 0.0);
        let sum = terms
            .clone()
            .fold(Estimate::given(0.0), |sum, (work, times)| {
                sum + cost(*work) * *times
            });
        let words: Vec<String> = terms
            .map(|(work, times)| {
                format!(
                    "{:.3} {} x {:.0} us",
                    times,
                    work.name(),
                    cost(*work).value * 1e6
                )
            })
            .collect();
        figure(
            "CPUs at the peak",
            "cores",
            "peak a second x sum of (operations an invoice x CPU of one) / utilisation",
            format!(
                "{:.1}/s x ({}) / {}",
                per_second,
                words.join(" + "),
                target.utilisation
            ),
            sum * (per_second / target.utilisation),
        )
    }

    fn disk(&self, volume: &Volume) -> Figure {
        let target = self.target;
        let hot = volume.hot / f64::from(self.most_workers.max(1));
        let row = self.needed.at_size(Work::Keep, Resource::HotBytes, hot);
        let wal = |work| self.needed.at_size(work, Resource::WalBytes, hot);
        let wal = wal(Work::Create) * (1.0 - target.bulk)
            + wal(Work::Bulk) * target.bulk
            + wal(Work::Pay) * target.payments;
        let kept = volume.created / super::target::HOURS_A_YEAR * target.wal_hours;
        figure(
            "disk",
            "GB",
            "(hot x bytes of one + invoices of the hours of log x log of one) x copies / share \
            filled",
            format!(
                "({} x {:.0} B + {} x {:.0} B) x {} / {}",
                large(volume.hot),
                row.value,
                large(kept),
                wal.value,
                target.copies,
                target.disk_fill
            ),
            (row * volume.hot + wal * kept) * (target.copies / target.disk_fill / GB),
        )
    }

    /// The larger of what CPUs and disks ask for.
    fn nodes(&self, cores: Estimate, disk: Estimate) -> Figure {
        let (node, copies) = (&self.prices.node, self.target.copies);
        let each = node.vcpu * node.vcpu_speed;
        let nodes = |cores: f64, end: End| self.nodes_for(cores / each, end);
        let by_cpu = Estimate {
            value: nodes(cores.value, End::Middle),
            low: nodes(cores.low, End::Better),
            high: nodes(cores.high, End::Worse),
            basis: cores.basis,
        };
        let by_disk = (disk * (1.0 / copies / node.disk_gb)).map(|nodes| nodes.ceil().max(1.0));
        let mut both = by_cpu.max(by_disk);
        if self.fit.is_none() {
            both = both.at_best(Basis::Assumed);
        }
        if both.value > f64::from(self.most_workers) {
            both = both.at_best(Basis::Extrapolated);
        }
        figure(
            "nodes",
            "nodes",
            "the larger of CPUs / (CPUs of a node x efficiency at that number) and disk / disk of \
            a node, rounded up, x copies",
            format!(
                "max({:.1} / ({each} x {:.2}), {:.0} GB / copies / {:.0} GB) x {copies}",
                cores.value,
                self.efficiency(by_cpu.value),
                disk.value,
                node.disk_gb
            ),
            (both * copies).map(f64::ceil),
        )
    }

    fn efficiency(&self, nodes: f64) -> f64 {
        self.fit
            .as_ref()
            .map_or(1.0, |fit| fit.law.efficiency(nodes.max(1.0)))
    }

    /// The fewest nodes that do what `alone` nodes would do if none hindered another. Infinitely
    /// many where the law has no such number, or where nothing is said because it is too far from
    /// what was measured.
    fn nodes_for(&self, alone: f64, end: End) -> f64 {
        let Some(fit) = &self.fit else {
            return alone.ceil().max(1.0);
        };
        let mut nodes = alone.ceil().max(1.0);
        while nodes <= f64::from(fit.measured_to()) * REACH {
            let efficiency = match end {
                End::Middle => fit.law.efficiency(nodes),
                End::Better => fit.bounds(|law| law.efficiency(nodes)).1,
                End::Worse => fit.bounds(|law| law.efficiency(nodes)).0,
            };
            if nodes * efficiency >= alone {
                return nodes;
            }
            nodes += 1.0;
        }
        f64::INFINITY
    }

    fn archive(&self, volume: &Volume) -> Figure {
        let row = self.needed.cost(Work::Keep, Resource::ColdBytes);
        figure(
            "archive",
            "GB",
            "archived x bytes of one",
            format!("{} x {:.0} B", large(volume.cold), row.value),
            row * (volume.cold / GB),
        )
    }

    fn objects(&self, volume: &Volume) -> Figure {
        figure(
            "new objects",
            "objects",
            "tenants x months moved x parts of at most 100,000 invoices",
            format!(
                "{} x {:.0} x parts of {}",
                thousands(self.target.tenants),
                volume.months_moved,
                large(volume.moved)
            ),
            self.target.objects(volume.moved, volume.months_moved),
        )
    }

    fn gets(&self, volume: &Volume, objects: Estimate) -> Figure {
        let mut one = self.needed.cost(Work::GetCold, Resource::ObjectGets);
        if volume.cold_reads > 0.0 {
            // A footer that is not in the cache costs a second GET: with more objects than were
            // measured, up to all do.
            one.high = one.high.max(2.0);
        }
        figure(
            "GETs",
            "requests",
            "cold reads x GETs of one (up to 2: footers not cached) + one for each new object, to \
            verify it",
            format!(
                "{} x {:.2} + {}",
                large(volume.cold_reads),
                one.value,
                large(objects.value)
            ),
            one * volume.cold_reads + objects,
        )
    }
}

/// Which end of the bounds.
#[derive(Clone, Copy)]
enum End {
    Better,
    Middle,
    Worse,
}

fn figure(
    name: &'static str,
    unit: &str,
    formula: &'static str,
    worked: String,
    estimate: Estimate,
) -> Figure {
    Figure {
        name,
        unit: unit.to_owned(),
        formula,
        worked,
        estimate,
    }
}

#[cfg(test)]
mod tests;
