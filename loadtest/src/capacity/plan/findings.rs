//! What is weak about a plan.

use super::super::costs::{Resource, STRETCH, Work};
use super::super::scaling::{REACH, Reach};
use super::super::target::{Finding, Weight, large};
use super::{Planner, Year};

/// A residual above this is worth a warning.
const NOISY: f64 = 0.1;

impl Planner<'_> {
    /// What is weak about this plan.
    pub(super) fn findings(&self, most_hot: f64, years: &[Year]) -> Vec<Finding> {
        let mut found = Vec::new();
        for cost in &self.needed.0 {
            if cost.cost.residual > NOISY {
                let (name, percent) = (cost.cost.name(), cost.cost.residual * 100.0);
                found.push(Finding::new(
                    Weight::Warning,
                    format!(
                        "{name} scatters by {percent:.0}% from round to round: measure longer."
                    ),
                ));
            }
        }
        let nodes = years
            .iter()
            .filter_map(|year| year.figures.iter().find(|figure| figure.name == "nodes"));
        let most = nodes
            .map(|figure| figure.estimate.value / self.target.copies)
            .fold(0.0, f64::max);
        match &self.fit {
            None => found.push(Finding::new(
                Weight::Warning,
                "Scaling was not measured on three different numbers of workers: nodes are ASSUMED \
                to do the same each, however many there are.".to_owned(),
            )),
            Some(fit) => {
                let measured = fit.measured_to();
                if most.is_infinite() {
                    let peak = fit.law.most().map_or(String::new(),
                        |peak| format!("; by the law more than {peak:.0} nodes do less"));
                    found.push(Finding::new(
                        Weight::Contradiction,
                        format!("REFUSED: the peak needs more nodes than {REACH} times the \
                            {measured} measured{peak}. Measure a larger cluster, or larger nodes."),
                    ));
                } else if fit.predict(ceil(most)).is_ok_and(|prediction| prediction.reach ==
                    Reach::Beyond) {
                    found.push(Finding::new(
                        Weight::Warning,
                        format!("{most:.0} nodes were never measured (at most {measured} were): \
                            their number is EXTRAPOLATED by the law of scaling."),
                    ));
                }
            }
        }
        if let Some(keep) = self.needed.found(Work::Keep, Resource::HotBytes)
            && most_hot > keep.cost.units * STRETCH
        {
            let (hot, units, times) = (
                large(most_hot),
                large(keep.cost.units),
                most_hot / keep.cost.units,
            );
            found.push(Finding::new(
                Weight::Warning,
                format!(
                    "Bytes and CPU were measured with {units} invoices and are used for {hot}, \
                    {times:.0} times as many: EXTRAPOLATED. Trees grow deeper and caches colder."
                ),
            ));
        }
        found.push(Finding::new(
            Weight::Note,
            "Not in this plan: memory, network between nodes, backups, monitoring, people, tax."
                .to_owned(),
        ));
        found
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ceil(value: f64) -> u32 {
    // Saturates, which is meant.
    value.ceil() as u32
}
