//! The owner's route against the coordinator's: the same server and load, with and without a node
//! in the way.

use std::path::Path;

use sheaf_benches::report::Pair;
use sheaf_loadtest::load::closed::{Plan, Prepared};
use sheaf_loadtest::load::generate::{Generator, Shape};
use sheaf_loadtest::load::http::Server;
use sheaf_local::LocalEnv;

use crate::server::Serve;
use crate::{Bench, Failure, TENANTS};

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Requests that we prepare.
const PREPARED: usize = 2_000;

/// Nothing without Citus: there is only one route.
pub(crate) async fn compare(
    bench: &Bench,
    env: &LocalEnv,
    sheaf: &Path,
) -> Result<Vec<Pair>, Failure> {
    if !env.is_citus() {
        return Ok(Vec::new());
    }
    let by_coordinator = Serve::start_with(
        sheaf,
        env,
        &bench.admin_key,
        &[("SHEAF_ROUTE", "coordinator")],
    )
    .await?;
    let detour = Server::parse(by_coordinator.url())?;
    let mut generator = Generator::new(Shape::single(3, TENANTS))?;
    let creates = Prepared::creates(&mut generator, &bench.tenants, PREPARED)?;
    let (mut ours, mut peer) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 1..=bench.rounds {
        bench.database.reset().await?;
        let straight = bench
            .drive(bench.plan(CONNECTIONS, creates.clone())?)
            .await?;
        let reads = Prepared::reads(&straight.created, &bench.tenants)?;
        let read = bench.drive(bench.plan(CONNECTIONS, reads.clone())?).await?;
        ours[0].push(straight.rate);
        ours[1].push(read.rate);
        for (requests, rates) in [creates.clone(), reads].into_iter().zip(&mut peer) {
            let plan = Plan {
                server: detour.clone(),
                ..bench.plan(CONNECTIONS, requests)?
            };
            rates.push(bench.drive(plan).await?.rate);
        }
        eprintln!(
            "compare: routes, round {round}: by the owner {:.0} creates/s, {:.0} reads/s; by the \
            coordinator {:.0}, {:.0}",
            straight.rate,
            read.rate,
            peer[0].last().copied().unwrap_or(f64::NAN),
            peer[1].last().copied().unwrap_or(f64::NAN)
        );
    }
    by_coordinator.stop().await?;
    let name = "through the coordinator";
    Ok(vec![
        Pair::of("route_create", "invoices/s", &ours[0], &peer[0], name),
        Pair::of("route_read", "invoices/s", &ours[1], &peer[1], name),
    ])
}
