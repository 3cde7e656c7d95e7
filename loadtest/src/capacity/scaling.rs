//! How throughput grows with nodes: Gunther's universal scalability law (N. J. Gunther, *Guerrilla
//! Capacity Planning*, Springer 2007), X(N) = λN / (1 + σ(N-1) + κN(N-1)).
//!
//! λ is what one node does, σ the share of work that waits for a turn (contention), κ what nodes
//! spend to agree with one another (coherency); with κ above 0 there is a number of nodes beyond
//! which more do less.
//!
//! N/X is linear in 1/λ, σ/λ and κ/λ, so that the fit is linear least squares: exact, without a
//! starting guess. Errors count relative to what was measured. σ and κ are not below 0: a node that
//! makes the others faster is noise.
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::linear::least_squares;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1_000;
/// Points of one fit at most.
pub const MAX_POINTS: usize = 1_000;
/// Nothing is predicted for more nodes than the largest measured number times this.
pub const REACH: f64 = 8.0;
/// Coefficients of the fit.
const COEFFICIENTS: usize = 3;

/// One measured run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Database workers, from 1.
    pub workers: u32,
    /// Operations per second that they sustained.
    pub per_second: f64,
}

/// The law's coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// Operations per second of one node.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherency.
    pub kappa: f64,
}

/// A fitted law.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The best one.
    pub law: Law,
    /// What was measured.
    pub points: Vec<Point>,
    /// Root mean square of the relative residuals, with the degrees of freedom taken off.
    pub residual: f64,
    /// Laws fitted to resampled residuals.
    resampled: Vec<Law>,
}

/// Where a prediction stands towards what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// That number of nodes was measured.
    Measured,
    /// Between two that were.
    Between,
    /// Beyond the largest.
    Beyond,
}

/// What a number of nodes does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Operations per second.
    pub per_second: f64,
    /// 95% bounds of the fitted curve.
    pub bounds: (f64, f64),
    /// Where it stands.
    pub reach: Reach,
}

/// Why there is no fit, or no prediction.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScalingError {
    /// Three coefficients need three places, and their bounds one point more.
    #[error(
        "the law has three coefficients: runs on at least three different numbers of workers, and \
        at least four runs, are needed"
    )]
    Few,
    /// A point that cannot be.
    #[error("throughput is measured on at least 1 worker and is above 0, on at most 1,000 runs")]
    Point,
    /// Too far from what was measured.
    #[error(
        "{0} nodes are more than {REACH} times the {1} that were measured: nothing is predicted so \
        far beyond; measure a larger cluster"
    )]
    TooFar(u32, u32),
}

impl Law {
    /// Operations per second of `nodes` nodes.
    #[must_use]
    pub fn at(&self, nodes: f64) -> f64 {
        self.lambda * nodes
            / (1.0 + self.sigma * (nodes - 1.0) + self.kappa * nodes * (nodes - 1.0))
    }

    /// What a node of `nodes` does, compared with one alone: from 0 to 1.
    #[must_use]
    pub fn efficiency(&self, nodes: f64) -> f64 {
        self.at(nodes) / (self.lambda * nodes)
    }

    /// The number of nodes beyond which more do less; `None` when more always do more.
    #[must_use]
    pub fn most(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt().max(1.0))
    }
}

impl Fit {
    /// Fits the law.
    ///
    /// # Errors
    /// [`ScalingError::Few`] or [`ScalingError::Point`].
    pub fn of(points: &[Point]) -> Result<Self, ScalingError> {
        let possible = |point: &Point| {
            point.workers > 0 && point.per_second > 0.0 && point.per_second.is_finite()
        };
        if points.len() > MAX_POINTS || !points.iter().all(possible) {
            return Err(ScalingError::Point);
        }
        let mut places: Vec<u32> = points.iter().map(|point| point.workers).collect();
        places.sort_unstable();
        places.dedup();
        if places.len() < COEFFICIENTS || points.len() <= COEFFICIENTS {
            return Err(ScalingError::Few);
        }
        let law = best_law(points).ok_or(ScalingError::Few)?;
        let off = |point: &Point| point.per_second / law.at(f64::from(point.workers)) - 1.0;
        let residuals: Vec<f64> = points.iter().map(off).collect();
        let freedom = (points.len() - COEFFICIENTS) as f64;
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        // Residuals of a fit are smaller than the noise by this factor.
        let wider = (points.len() as f64 / freedom).sqrt();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut resample = || {
            let noisy = points.iter().map(|point| {
                let drawn = residuals[rng.random_range(0..residuals.len())] * wider;
                let usual = law.at(f64::from(point.workers));
                Point {
                    workers: point.workers,
                    per_second: usual * (1.0 + drawn).max(0.01),
                }
            });
            best_law(&noisy.collect::<Vec<_>>())
        };
        let resampled = (0..RESAMPLES).filter_map(|_| resample()).collect();
        Ok(Self {
            law,
            points: points.to_vec(),
            residual: (squares / freedom).sqrt(),
            resampled,
        })
    }

    /// The largest number of workers that was measured.
    #[must_use]
    pub fn measured_to(&self) -> u32 {
        let workers = self.points.iter().map(|point| point.workers);
        workers.max().unwrap_or_default()
    }

    /// 95% bounds of any figure that follows from the law.
    #[must_use]
    pub fn bounds(&self, figure: impl Fn(&Law) -> f64) -> (f64, f64) {
        let mut values: Vec<f64> = self.resampled.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let cut = values.len() / 40;
        let low = values.get(cut).copied();
        let high = values.get(values.len().saturating_sub(cut + 1)).copied();
        (low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN))
    }

    /// What `nodes` nodes do, with 95% bounds.
    ///
    /// # Errors
    /// [`ScalingError::TooFar`].
    pub fn predict(&self, nodes: u32) -> Result<Prediction, ScalingError> {
        let measured = self.measured_to();
        if f64::from(nodes) > f64::from(measured) * REACH {
            return Err(ScalingError::TooFar(nodes, measured));
        }
        let place = f64::from(nodes);
        Ok(Prediction {
            per_second: self.law.at(place),
            bounds: self.bounds(|law| law.at(place)),
            reach: self.reach(nodes),
        })
    }

    fn reach(&self, nodes: u32) -> Reach {
        let workers = || self.points.iter().map(|point| point.workers);
        if workers().any(|measured| measured == nodes) {
            Reach::Measured
        } else if nodes < self.measured_to() && workers().any(|measured| measured < nodes) {
            Reach::Between
        } else {
            Reach::Beyond
        }
    }

    /// The fewest nodes that do `per_second`, by the lower bound of the curve. `None` when no
    /// number of nodes within reach does.
    #[must_use]
    pub fn nodes_for(&self, per_second: f64) -> Option<(u32, Prediction)> {
        let mut nodes = 1;
        while let Ok(prediction) = self.predict(nodes) {
            if prediction.bounds.0 >= per_second {
                return Some((nodes, prediction));
            }
            nodes += 1;
        }
        None
    }
}

/// The law with σ and κ from 0 that fits best: of the four choices of which of them are 0, the best
/// possible one.
fn best_law(points: &[Point]) -> Option<Law> {
    let choices = [[true, true], [true, false], [false, true], [false, false]];
    let mut best: Option<(f64, Law)> = None;
    for [with_sigma, with_kappa] in choices {
        let Some(law) = solve(points, with_sigma, with_kappa) else {
            continue;
        };
        if law.sigma < 0.0 || law.kappa < 0.0 {
            continue;
        }
        let off = |point: &Point| point.per_second / law.at(f64::from(point.workers)) - 1.0;
        let squares: f64 = points.iter().map(|point| off(point).powi(2)).sum();
        if best.is_none_or(|(least, _)| squares < least) {
            best = Some((squares, law));
        }
    }
    best.map(|(_, law)| law)
}

/// N/X = a + b(N-1) + cN(N-1), each point weighted by X/N; what is left out is 0.
fn solve(points: &[Point], with_sigma: bool, with_kappa: bool) -> Option<Law> {
    let row = |point: &Point| {
        let nodes = f64::from(point.workers);
        let weight = point.per_second / nodes;
        let mut row = vec![weight];
        if with_sigma {
            row.push(weight * (nodes - 1.0));
        }
        if with_kappa {
            row.push(weight * nodes * (nodes - 1.0));
        }
        row
    };
    let rows: Vec<Vec<f64>> = points.iter().map(row).collect();
    // N/X times its weight is 1.
    let found = least_squares(&rows, &vec![1.0; rows.len()])?.coefficients;
    let mut found = found.into_iter();
    let a = found.next().filter(|a| *a > 0.0)?;
    let mut ratio = |with: bool| {
        if with {
            found.next().map(|b| b / a)
        } else {
            Some(0.0)
        }
    };
    Some(Law {
        lambda: 1.0 / a,
        sigma: ratio(with_sigma)?,
        kappa: ratio(with_kappa)?,
    })
}

#[cfg(test)]
mod tests;
