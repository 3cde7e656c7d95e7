//! Costs of operations from rounds of load: counters are read before and after each round, and what
//! they went up by is shared out among the operations that were answered meanwhile, and the time
//! that went by, by linear least squares.
//!
//! A payment needs an invoice, so that not every operation can have a round of its own: the
//! regression tells them apart, and the background (checkpoints, vacuum, metrics) from all of them.

use std::collections::BTreeMap;

use super::costs::{Cost, Resource, Work};
use super::linear::{Solution, least_squares};

/// Rounds of each operation at most.
pub const MAX_ROUNDS: u32 = 100;
/// A reading below this share of the largest is not trusted more than one of this size.
const FLOOR: f64 = 0.05;

/// Passes that the weights take to settle.
const PASSES: usize = 5;

/// One round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Between the readings.
    pub seconds: f64,
    /// Right answers, or invoices of bulk uploads.
    pub done: BTreeMap<Work, f64>,
    /// What the counters went up by.
    pub used: BTreeMap<Resource, f64>,
}

/// Why there are no costs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RegressError {
    /// Rounds that leave open what costs what.
    #[error(
        "the rounds do not tell the operations apart: there must be more rounds than operations, \
        an idle one among them"
    )]
    Undetermined,
}

/// The costs of every operation in every resource that all rounds have a reading of.
///
/// # Errors
/// [`RegressError::Undetermined`].
pub fn costs(rounds: &[Round]) -> Result<Vec<Cost>, RegressError> {
    let mut works: Vec<Work> = rounds
        .iter()
        .flat_map(|round| round.done.keys().copied())
        .collect();
    works.sort_unstable();
    works.dedup();
    let mut resources: Vec<Resource> = rounds
        .iter()
        .flat_map(|round| round.used.keys().copied())
        .collect();
    resources.sort_unstable();
    resources.dedup();
    resources.retain(|resource| rounds.iter().all(|round| round.used.contains_key(resource)));
    let done = |round: &Round, work: &Work| round.done.get(work).copied().unwrap_or_default();
    let row = |round: &Round| {
        let counts = works.iter().map(|work| done(round, work));
        std::iter::once(round.seconds)
            .chain(counts)
            .collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = rounds.iter().map(row).collect();
    if rows.len() <= works.len() + 1 {
        return Err(RegressError::Undetermined);
    }
    let mut found = Vec::new();
    for resource in resources {
        let used: Vec<f64> = rounds.iter().map(|round| round.used[&resource]).collect();
        let solution = relative(&rows, &used).ok_or(RegressError::Undetermined)?;
        for (index, work) in works.iter().enumerate() {
            let with: Vec<f64> = rounds
                .iter()
                .map(|round| done(round, work))
                .filter(|done| *done > 0.0)
                .collect();
            let n = u32::try_from(with.len()).unwrap_or(u32::MAX);
            let value = solution.coefficients[index + 1].max(0.0);
            // A residual is the scatter of one round: that of the mean of n is smaller by the root
            // of n.
            let scatter = solution.errors[index + 1] * f64::from(n).sqrt();
            let residual = if value > 0.0 {
                (scatter / value).min(10.0)
            } else {
                0.0
            };
            found.push(Cost {
                work: *work,
                resource,
                value,
                n,
                residual,
                units: with.iter().sum(),
            });
        }
    }
    Ok(found)
}

/// Least squares of relative errors, as noise is: relative to the fit, since weights that follow
/// the noise would prefer what came out low. A counter that hardly moved is given [`FLOOR`] of the
/// largest reading.
fn relative(rows: &[Vec<f64>], used: &[f64]) -> Option<Solution> {
    let most = used.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        // Nothing used it: any weights do.
        return least_squares(rows, used);
    }
    let mut sizes = used.to_vec();
    let mut found = None;
    for _ in 0..PASSES {
        let weights: Vec<f64> = sizes
            .iter()
            .map(|size| 1.0 / size.max(most * FLOOR))
            .collect();
        let weigh = |(row, weight): (&Vec<f64>, &f64)| row.iter().map(|x| x * weight).collect();
        let weighted: Vec<Vec<f64>> = rows.iter().zip(&weights).map(weigh).collect();
        let right: Vec<f64> = used.iter().zip(&weights).map(|(a, b)| a * b).collect();
        let solution = least_squares(&weighted, &right)?;
        let fitted = |row: &Vec<f64>| {
            row.iter()
                .zip(&solution.coefficients)
                .map(|(a, b)| a * b)
                .sum()
        };
        sizes = rows.iter().map(fitted).collect();
        found = Some(solution);
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn round(seconds: f64, creates: f64, pays: f64, cpu: f64) -> Round {
        let done = [(Work::Create, creates), (Work::Pay, pays)];
        Round {
            seconds,
            done: done.into_iter().filter(|(_, count)| *count > 0.0).collect(),
            used: [(Resource::CpuS, cpu)].into(),
        }
    }

    fn value(costs: &[Cost], work: Work) -> f64 {
        costs.iter().find(|cost| cost.work == work).unwrap().value
    }

    proptest! {
        #[test]
        fn known_costs_are_found_again(
            create in 1e-6..1e-2_f64, pay in 1e-6..1e-2_f64, idle in 0.0..0.5_f64
        ) {
            let used = |seconds, creates, pays| round(seconds, creates, pays,
                seconds * idle + creates * create + pays * pay);
            let rounds = [used(10.0, 0.0, 0.0), used(11.0, 9_000.0, 0.0), used(10.0, 4_000.0,
                3_900.0), used(10.0, 8_500.0, 0.0)];
            let found = costs(&rounds).unwrap();
            prop_assert!((value(&found, Work::Create) / create - 1.0).abs() < 1e-6);
            prop_assert!((value(&found, Work::Pay) / pay - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn scatter_is_reported() {
        // Creates cost 100 us, and every other round 10% more or less.
        let rounds: Vec<Round> = (0..8)
            .map(|n| {
                let more = if n % 2 == 0 { 1.1 } else { 0.9 };
                round(10.0, 10_000.0, 0.0, 1.0 * more)
            })
            .chain([round(10.0, 0.0, 0.0, 0.0)])
            .collect();
        let found = costs(&rounds).unwrap();
        let create = &found[0];
        assert!((create.value - 100e-6).abs() < 1e-9);
        assert!(
            (0.05..0.2).contains(&create.residual),
            "{}",
            create.residual
        );
        assert_eq!((create.n, create.units), (8, 80_000.0));
    }

    #[test]
    fn what_nothing_uses_costs_nothing() {
        let rounds: Vec<Round> = (0..4_u8)
            .map(|n| round(10.0, f64::from(n) * 1_000.0, 0.0, 0.0))
            .collect();
        assert_eq!(costs(&rounds).unwrap()[0].value.to_bits(), 0);
    }

    #[test]
    fn too_few_rounds_are_no_costs() {
        let same = [
            round(10.0, 1_000.0, 0.0, 1.0),
            round(10.0, 1_000.0, 0.0, 1.0),
            round(10.0, 1_000.0, 0.0, 1.0),
        ];
        assert_eq!(costs(&same), Err(RegressError::Undetermined));
        assert_eq!(costs(&same[..2]), Err(RegressError::Undetermined));
    }
}
