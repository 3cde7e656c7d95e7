//! `--against <binary>`: this build beside another one, each on a cluster of its own, in turns.
//!
//! A round runs each step by the other build, by this one, and by the other one again: what its two
//! runs differ by is the spread of the machine, and a fall counts only above it. Clusters are apart
//! because a release refuses a schema that it does not know.

use std::path::Path;

use sheaf_benches::report::{Pair, median};
use sheaf_loadtest::load::closed::Prepared;
use sheaf_loadtest::load::generate::{Generator, Shape};
use sheaf_local::LocalEnv;

use crate::{Bench, Cli, Failure, Part, TENANTS, creates, ingest, payments, reads, tiering};

/// A fall to less than this part of the other build's figure counts, if it is above the spread.
const FALL: f64 = 0.97;

/// What is measured, by the names that the comparisons with PostgreSQL's tools have.
const STEPS: [(Part, &str, &str); 6] = [
    (Part::Ingest, "bulk_ingest", "invoices/s"),
    (Part::Reads, "point_read", "invoices/s"),
    (Part::Creates, "single_create_512", "invoices/s"),
    (Part::Creates, "single_create_64", "invoices/s"),
    (Part::Payments, "payment", "payments/s"),
    (Part::Tiering, "tiering", "invoices/s"),
];

/// One build on its cluster.
struct Side<'a> {
    sheaf: &'a Path,
    env: LocalEnv,
    bench: Bench,
    reads: Vec<Prepared>,
    creates: Vec<Prepared>,
    /// Tiering's rounds so far: each has tenants of its own.
    tiered: u8,
}

/// Rates of all rounds.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

pub(crate) async fn compare(
    cli: &Cli,
    other: &Path,
    sheaf: &Path,
    dir: &Path,
) -> Result<Vec<Pair>, Failure> {
    let mut old = Side::start(cli, other, &dir.join("against")).await?;
    let mut new = Side::start(cli, sheaf, &dir.join("this")).await?;
    let peer_name = other.display().to_string();
    let mut pairs = Vec::new();
    for (part, name, unit) in STEPS {
        if !cli.wants(part) {
            continue;
        }
        let mut rates = Rates::default();
        for side in [&mut old, &mut new] {
            side.prepare(part).await?;
        }
        for round in 1..=cli.rounds {
            rates.first.push(old.step(name).await?);
            rates.ours.push(new.step(name).await?);
            rates.second.push(old.step(name).await?);
            eprintln!("compare: {name}, round {round}: {}", rates.last());
        }
        pairs.push(rates.pair(name, unit, &peer_name));
    }
    for side in [old, new] {
        side.bench.serve.stop().await?;
        side.env.stop().await?;
    }
    Ok(pairs)
}

/// The comparisons in which this build is slower than the other one by more than the machine's
/// spread.
pub(crate) fn falls(pairs: &[Pair]) -> Vec<&Pair> {
    pairs.iter().filter(|pair| is_fall(pair)).collect()
}

#[allow(clippy::float_arithmetic)]
fn is_fall(pair: &Pair) -> bool {
    pair.ratio < FALL && 1.0 - pair.ratio > pair.spread.unwrap_or(0.0)
}

impl<'a> Side<'a> {
    async fn start(cli: &Cli, sheaf: &'a Path, dir: &Path) -> Result<Self, Failure> {
        crate::directory(dir)?;
        let env = LocalEnv::start(&crate::options(cli, dir), false).await?;
        let bench = Bench::start(cli, &env, sheaf, dir).await?;
        Ok(Self {
            sheaf,
            env,
            bench,
            reads: Vec::new(),
            creates: Vec::new(),
            tiered: 0,
        })
    }

    /// Rows and requests that all rounds of a part share.
    async fn prepare(&mut self, part: Part) -> Result<(), Failure> {
        if part == Part::Reads {
            ingest::fill(&self.bench).await?;
            self.reads = reads::requests(&self.bench, &reads::hot(&self.bench).await?)?;
        }
        if part == Part::Creates {
            let mut generator = Generator::new(Shape::single(1, TENANTS))?;
            self.creates =
                Prepared::creates(&mut generator, &self.bench.tenants, creates::PREPARED)?;
        }
        Ok(())
    }

    /// One step, a rate per second.
    async fn step(&mut self, name: &str) -> Result<f64, Failure> {
        let bench = &self.bench;
        match name {
            "bulk_ingest" => {
                let upload = ingest::generate(bench)?;
                bench.database.reset().await?;
                ingest::ingest(bench, &upload).await
            }
            "point_read" => {
                let plan = bench.plan(reads::CONNECTIONS, self.reads.clone())?;
                Ok(bench.drive(plan).await?.rate)
            }
            "single_create_512" => creates::step(bench, 512, &self.creates).await,
            "single_create_64" => creates::step(bench, 64, &self.creates).await,
            "payment" => payments::step(bench).await,
            "tiering" => {
                self.tiered += 1;
                let tier = tiering::Tier {
                    sheaf: self.sheaf,
                    env: &self.env,
                };
                tiering::fill(bench, self.tiered).await?;
                tiering::step(bench, &tier).await
            }
            _ => Err(format!("there is no step {name}").into()),
        }
    }
}

#[allow(clippy::float_arithmetic)]
impl Rates {
    /// This build beside both runs of the other, with the spread of these: the median of what they
    /// differ by in a round.
    fn pair(&self, name: &str, unit: &'static str, peer_name: &str) -> Pair {
        let apart = self.first.iter().zip(&self.second);
        let apart: Vec<f64> = apart
            .map(|(first, second)| (second / first - 1.0).abs())
            .collect();
        let old: Vec<f64> = self.first.iter().chain(&self.second).copied().collect();
        Pair {
            spread: Some(median(&apart)),
            ..Pair::of(name, unit, &self.ours, &old, peer_name)
        }
    }

    fn last(&self) -> String {
        let last = |rates: &[f64]| rates.last().copied().unwrap_or(f64::NAN);
        format!(
            "{:.0}/s; the other build {:.0}/s and {:.0}/s",
            last(&self.ours),
            last(&self.first),
            last(&self.second)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: f64, first: &[f64], second: &[f64]) -> Pair {
        let rates = Rates {
            ours: vec![ours],
            first: first.to_vec(),
            second: second.to_vec(),
        };
        rates.pair("payment", "payments/s", "old")
    }

    #[test]
    fn a_fall_counts_above_three_percent_and_above_the_spread() {
        // 4% slower than a build that differs from itself by 1%.
        assert_eq!(falls(&[pair(96.0, &[100.0], &[101.0])]).len(), 1);
        // The same fall, on a machine that differs from itself by 10%.
        assert!(falls(&[pair(100.0, &[100.0], &[110.0])]).is_empty());
        // 2% slower, and no spread at all.
        assert!(falls(&[pair(98.0, &[100.0], &[100.0])]).is_empty());
    }
}
