//! When requests are due: an open loop's clock, which no answer can slow down.
//!
//! The position in a schedule is "expected requests so far": the n-th request is due when the rate,
//! added up from the start, reaches n. A ramp, a step or a constant rate only differ in that sum;
//! Poisson arrivals put exponentially distributed gaps of mean 1 between the n. Several workers
//! share a schedule by each taking every k-th request.
// Times and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1};
use serde::{Deserialize, Serialize};

/// Requests per second at most, over all threads of one worker.
pub const MAX_RATE: f64 = 10_000_000.0;
/// Steps of one run at most.
pub const MAX_STEPS: u32 = 1_000;

/// How the rate goes over the measured time. The warm-up before it runs at the first rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// At random, independent of one another, as from many users who do not know of each other.
    /// Bursts as real traffic does: a server near its limit shows queues that even spacing hides.
    Poisson,
    /// From `from` requests per second, linearly, to the run's rate.
    Ramp {
        /// Requests per second at the start.
        from: f64,
    },
    /// The same climb in `steps` equal steps, the first at `from`.
    Step {
        /// Requests per second of the first step.
        from: f64,
        /// Number of steps, from 2.
        steps: u32,
    },
}

/// Why there is no such schedule.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ArrivalsError {
    /// A rate that is not above 0, or too high.
    #[error("a rate is above 0 and at most 10,000,000 requests per second")]
    Rate,
    /// Too few or too many steps.
    #[error("there are from 2 to 1,000 steps")]
    Steps,
}

/// A stretch of time in which the rate is constant or changes linearly.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Seconds.
    length: f64,
    from: f64,
    to: f64,
}

impl Segment {
    /// Requests due in it.
    fn area(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.length
    }

    /// Seconds after its start at which `area` requests are due. Solves from*x + slope*x²/2 = area,
    /// in the form that stays exact when the slope is 0.
    fn inverse(&self, area: f64) -> f64 {
        let slope = (self.to - self.from) / self.length;
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        2.0 * area / (self.from + root)
    }
}

/// The times at which one thread's requests are due, from the run's start, in order.
#[derive(Clone, Debug)]
pub struct Schedule {
    segments: std::vec::IntoIter<Segment>,
    now: Option<Segment>,
    /// Requests (of all threads) and seconds before the current segment.
    requests_before: f64,
    seconds_before: f64,
    /// Requests (of all threads) before the next one of this thread.
    next: f64,
    stride: f64,
    random: Option<ChaCha8Rng>,
}

impl Schedule {
    /// The schedule of thread `thread` of `threads`, which together send `rate` requests per second
    /// (at the end of a climb).
    ///
    /// # Errors
    /// [`ArrivalsError`].
    pub fn new(
        arrivals: Arrivals,
        rate: f64,
        warmup: Duration,
        duration: Duration,
        (thread, threads): (usize, usize),
        seed: u64,
    ) -> Result<Self, ArrivalsError> {
        let first = match arrivals {
            Arrivals::Constant | Arrivals::Poisson => rate,
            Arrivals::Ramp { from } | Arrivals::Step { from, .. } => from,
        };
        let possible = |rate: f64| rate > 0.0 && rate <= MAX_RATE;
        if !possible(rate) || !possible(first) {
            return Err(ArrivalsError::Rate);
        }
        let flat = |length: f64, rate: f64| Segment {
            length,
            from: rate,
            to: rate,
        };
        let seconds = duration.as_secs_f64();
        let mut segments = vec![flat(warmup.as_secs_f64(), first)];
        match arrivals {
            Arrivals::Constant | Arrivals::Poisson => segments.push(flat(seconds, rate)),
            Arrivals::Ramp { from } => segments.push(Segment {
                length: seconds,
                from,
                to: rate,
            }),
            Arrivals::Step { from, steps } => {
                if !(2..=MAX_STEPS).contains(&steps) {
                    return Err(ArrivalsError::Steps);
                }
                let rise = (rate - from) / f64::from(steps - 1);
                let step = |n: u32| flat(seconds / f64::from(steps), from + rise * f64::from(n));
                segments.extend((0..steps).map(step));
            }
        }
        segments.retain(|segment| segment.length > 0.0);
        let mut segments = segments.into_iter();
        let random = (arrivals == Arrivals::Poisson).then(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(thread as u64);
            rng
        });
        Ok(Self {
            now: segments.next(),
            segments,
            requests_before: 0.0,
            seconds_before: 0.0,
            // Threads take turns; random ones start anywhere.
            next: if random.is_some() { 0.0 } else { thread as f64 },
            stride: threads.max(1) as f64,
            random,
        })
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = match &mut self.random {
            None => {
                let due = self.next;
                self.next += self.stride;
                due
            }
            Some(rng) => {
                let gap: f64 = Exp1.sample(rng);
                self.next += gap * self.stride;
                self.next
            }
        };
        loop {
            let segment = self.now?;
            let into = due - self.requests_before;
            if into < segment.area() {
                return Some(Duration::from_secs_f64(
                    self.seconds_before + segment.inverse(into),
                ));
            }
            self.requests_before += segment.area();
            self.seconds_before += segment.length;
            self.now = self.segments.next();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn times(arrivals: Arrivals, rate: f64, seconds: u64) -> Vec<f64> {
        let whole = Duration::from_secs(seconds);
        Schedule::new(arrivals, rate, Duration::ZERO, whole, (0, 1), 1)
            .unwrap()
            .map(|at| at.as_secs_f64())
            .collect()
    }

    fn between(times: &[f64], from: f64, to: f64) -> usize {
        times.iter().filter(|at| (from..to).contains(*at)).count()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        let times = times(Arrivals::Constant, 250.0, 4);
        assert_eq!(times.len(), 1_000);
        for pair in times.windows(2) {
            assert!((pair[1] - pair[0] - 0.004).abs() < 1e-7, "{pair:?}");
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_the_exponential_distribution() {
        let times = times(Arrivals::Poisson, 1_000.0, 20);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.001).abs() < 0.000_03, "{mean}");
        // The deviation of an exponential distribution is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05);
        // One in e of the gaps is longer than the mean.
        let longer = gaps.iter().filter(|gap| **gap > 0.001).count() as f64 / gaps.len() as f64;
        assert!((longer - 0.368).abs() < 0.015, "{longer}");
    }

    #[test]
    fn a_ramp_climbs_linearly() {
        let times = times(Arrivals::Ramp { from: 100.0 }, 300.0, 10);
        // (100 + 300) / 2 * 10 in all; the first half at 150 on average, the second at 250.
        assert_eq!(times.len(), 2_000);
        assert_eq!(between(&times, 0.0, 5.0), 750);
        assert_eq!(between(&times, 5.0, 10.0), 1_250);
    }

    #[test]
    fn steps_are_flat_and_equally_high() {
        let times = times(
            Arrivals::Step {
                from: 100.0,
                steps: 3,
            },
            300.0,
            9,
        );
        let steps = [0.0, 3.0, 6.0].map(|from| between(&times, from, from + 3.0));
        for (found, wanted) in steps.into_iter().zip([300_usize, 600, 900]) {
            assert!(found.abs_diff(wanted) <= 1, "{steps:?}");
        }
    }

    #[test]
    fn threads_share_a_schedule_without_gap_or_overlap() {
        let whole = Duration::from_secs(3);
        let of = |thread| {
            let both = (thread, 2);
            let ramp = Arrivals::Ramp { from: 10.0 };
            Schedule::new(ramp, 100.0, Duration::from_secs(1), whole, both, 1).unwrap()
        };
        let mut both: Vec<Duration> = of(0).chain(of(1)).collect();
        both.sort();
        let alone = Schedule::new(
            Arrivals::Ramp { from: 10.0 },
            100.0,
            Duration::from_secs(1),
            whole,
            (0, 1),
            1,
        );
        assert_eq!(both, alone.unwrap().collect::<Vec<_>>());
    }

    #[test]
    fn impossible_rates_are_refused() {
        let new = |arrivals, rate| {
            let second = Duration::from_secs(1);
            Schedule::new(arrivals, rate, second, second, (0, 1), 1).err()
        };
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e8] {
            assert_eq!(new(Arrivals::Constant, rate), Some(ArrivalsError::Rate));
        }
        assert_eq!(
            new(Arrivals::Ramp { from: 0.0 }, 1.0),
            Some(ArrivalsError::Rate)
        );
        let one = Arrivals::Step {
            from: 1.0,
            steps: 1,
        };
        assert_eq!(new(one, 2.0), Some(ArrivalsError::Steps));
    }
}
