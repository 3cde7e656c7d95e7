//! The cost of scaling out: CPU seconds of all processes for 100,000 invoices, with 1, 2 and 4
//! workers.

use std::path::Path;

use sheaf_benches::report::{Pair, median};
use sheaf_loadtest::load::closed::Prepared;
use sheaf_loadtest::load::generate::{Generator, Shape};
use sheaf_local::{CitusMode, LocalEnv, Options};

use crate::{Bench, Cli, Failure, TENANTS, cpu, ingest};

const WORKERS: [usize; 3] = [1, 2, 4];
/// The dearest cluster may cost this many times the cheapest.
const BOUND: f64 = 1.15;
/// Of all CPU time, in percent: the coordinator has no part in a tenant's work.
const COORDINATOR_BOUND: f64 = 3.0;
/// Connections for each worker: who adds workers has more to do, and what a flush takes along is
/// what waits for its node.
const CONNECTIONS: usize = 128;
const PREPARED: usize = 5_000;
/// What costs are given for.
const UNIT: f64 = 100_000.0;

/// CPU seconds for [`UNIT`] invoices, a round each.
#[derive(Default)]
struct Costs {
    all: Vec<f64>,
    coordinator: Vec<f64>,
}

/// A cluster of its own size with a server, and what its work has cost.
struct Cluster {
    workers: usize,
    env: LocalEnv,
    bench: Bench,
    bulk: Costs,
    single: Costs,
}

pub(crate) async fn compare(cli: &Cli, sheaf: &Path, dir: &Path) -> Result<Vec<Pair>, Failure> {
    let mut clusters = Vec::new();
    for workers in WORKERS {
        clusters.push(Cluster::start(cli, sheaf, dir, workers).await?);
    }
    for round in 1..=cli.rounds {
        for cluster in &mut clusters {
            cluster.round(round).await?;
        }
    }
    let pairs = vec![
        flat("cost_per_worker_bulk", clusters.iter().map(|c| &c.bulk)),
        flat("cost_per_worker_single", clusters.iter().map(|c| &c.single)),
        coordinator(clusters.iter().flat_map(|c| [&c.bulk, &c.single])),
    ];
    for cluster in clusters {
        cluster.bench.serve.stop().await?;
        cluster.env.stop().await?;
    }
    Ok(pairs)
}

impl Cluster {
    async fn start(cli: &Cli, sheaf: &Path, dir: &Path, workers: usize) -> Result<Self, Failure> {
        let options = Options {
            data_dir: dir.join(format!("data-{workers}")),
            workers: Some(workers),
            citus: CitusMode::Require,
            ..Options::default()
        };
        let env = LocalEnv::start(&options, false).await?;
        // They share the generated upload: the tenants' external ids are the same.
        let bench = Bench::start(cli, &env, sheaf, dir).await?;
        // Connections, caches and partitions are made once, and are no part of an invoice's cost.
        ingest::ingest(&bench, &ingest::generate(&bench)?).await?;
        Ok(Self {
            workers,
            env,
            bench,
            bulk: Costs::default(),
            single: Costs::default(),
        })
    }

    async fn round(&mut self, round: u8) -> Result<(), Failure> {
        let bench = &self.bench;
        let upload = ingest::generate(bench)?;
        bench.database.reset().await?;
        let before = Cpu::now(bench).await?;
        ingest::ingest(bench, &upload).await?;
        let bulk = Cpu::now(bench)
            .await?
            .since(before, f64::from(bench.upload));

        bench.database.reset().await?;
        let mut generator = Generator::new(Shape::single(1, TENANTS))?;
        let requests = Prepared::creates(&mut generator, &bench.tenants, PREPARED)?;
        let before = Cpu::now(bench).await?;
        let outcome = bench
            .drive(bench.plan(CONNECTIONS * self.workers, requests)?)
            .await?;
        let created = f64::from(u32::try_from(outcome.created.len())?);
        let single = Cpu::now(bench).await?.since(before, created);
        eprintln!(
            "compare: workers, round {round}, {} of them: CPU s for 100,000 by bulk {:.1} \
            (coordinator {:.2}), one by one \
             {:.1} (coordinator {:.2}) at {:.0}/s",
            self.workers, bulk.all, bulk.coordinator, single.all, single.coordinator, outcome.rate
        );
        self.bulk.push(bulk);
        self.single.push(single);
        Ok(())
    }
}

impl Costs {
    fn push(&mut self, cpu: Cpu) {
        self.all.push(cpu.all);
        self.coordinator.push(cpu.coordinator);
    }
}

/// CPU seconds of the server and of every node.
#[derive(Clone, Copy)]
struct Cpu {
    all: f64,
    coordinator: f64,
}

#[allow(clippy::float_arithmetic)]
impl Cpu {
    /// So far. What was written is on the disk afterwards: its cost belongs to those who wrote it.
    async fn now(bench: &Bench) -> Result<Self, Failure> {
        bench.database.checkpoint().await?;
        let nodes = bench.database.postmasters().await?;
        let mut all = cpu::seconds(bench.serve.pid()?)?;
        let mut coordinator = 0.0;
        for (index, node) in nodes.into_iter().enumerate() {
            let seconds = cpu::seconds(node)?;
            all += seconds;
            if index == 0 {
                coordinator = seconds;
            }
        }
        Ok(Self { all, coordinator })
    }

    /// For [`UNIT`] invoices, where `invoices` were written since.
    fn since(self, before: Self, invoices: f64) -> Self {
        let unit = |now: f64, before: f64| (now - before) / invoices * UNIT;
        Self {
            all: unit(self.all, before.all),
            coordinator: unit(self.coordinator, before.coordinator),
        }
    }
}

/// The dearest cluster against the cheapest.
fn flat<'a>(name: &str, costs: impl Iterator<Item = &'a Costs>) -> Pair {
    let medians: Vec<f64> = costs.map(|costs| median(&costs.all)).collect();
    let dearest = medians.iter().copied().fold(f64::NAN, f64::max);
    let cheapest = medians.iter().copied().fold(f64::NAN, f64::min);
    let peer = format!("cheapest of {WORKERS:?} workers; bound {BOUND}");
    Pair::of(name, "CPU s/100k", &[dearest], &[cheapest], &peer)
}

/// The coordinator's largest share of the CPU time of all.
#[allow(clippy::float_arithmetic)]
fn coordinator<'a>(costs: impl Iterator<Item = &'a Costs>) -> Pair {
    let share = |costs: &Costs| median(&costs.coordinator) / median(&costs.all) * 100.0;
    let most = costs.map(share).fold(f64::NAN, f64::max);
    Pair::bound("coordinator_cpu", "% of all", &[most], COORDINATOR_BOUND)
}
