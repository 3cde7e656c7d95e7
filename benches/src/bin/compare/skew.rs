//! What a hot tenant does to the others: their p99 with it against without, at the same load.

use std::time::Duration;

use sheaf_benches::report::Pair;
use sheaf_loadtest::load::closed::{Latency, Outcome, Plan, Prepared};
use sheaf_loadtest::load::generate::{Generator, Shape, Skew};
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::setup;
use sheaf_loadtest::load::setup::Tenant;

use crate::{Bench, Failure};

const TENANTS: u32 = 1_000;
const EXPONENT: f64 = 1.1;
/// The others must not wait longer than this many times what they would without the hot tenant.
const BOUND: f64 = 3.0;
/// Of the saturation rate.
const LOAD: f64 = 0.7;
const CONNECTIONS: usize = 256;
/// Connections of the hot tenant when it sends as fast as it is answered.
const FLOOD: usize = 64;
/// Requests that we prepare; enough for the tail of Zipf's law.
const PREPARED: usize = 20_000;
/// The hot tenant, the first by rank, and everybody else.
const HOT: u8 = 0;
const OTHERS: u8 = 1;

pub(crate) async fn compare(bench: &Bench) -> Result<Vec<Pair>, Failure> {
    let server = Server::parse(bench.serve.url())?;
    let tenants = setup::tenants(&server, &bench.admin_key, TENANTS, "skew-").await?;
    let uniform = requests(&tenants, Skew::Uniform, |_| true)?;
    let zipf = requests(&tenants, Skew::Zipf(EXPONENT), |_| true)?;
    let hot = requests(&tenants, Skew::Zipf(EXPONENT), |tenant| tenant == 0)?;
    let share = hot.len() * 100 / PREPARED;

    bench.database.reset().await?;
    let saturated = bench
        .drive(bench.plan(CONNECTIONS, uniform.clone())?)
        .await?;
    let rate = load(saturated.rate);
    eprintln!(
        "compare: skew: {TENANTS} tenants saturate at {:.0}/s, p99 {:.1} ms; at {rate:.0}/s:",
        saturated.rate, saturated.p99_ms
    );
    let (mut without, mut with, mut flooded) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let alone = paced(bench, rate, &uniform).await?;
        let skewed = paced(bench, rate, &zipf).await?;
        bench.database.reset().await?;
        let plan = plan(bench, rate, &uniform)?;
        // Lasts as long as the others are measured, and starts before.
        let flood = Plan {
            duration: bench.step + Duration::from_secs(1),
            ..bench.plan(FLOOD, hot.clone())?
        };
        let (pressed, flood) = tokio::try_join!(bench.drive(plan), bench.drive(flood))?;
        let of = |outcome: &Outcome| outcome.classes.get(&OTHERS).copied().unwrap_or_default();
        let (alone, skewed, pressed) = (of(&alone), (of(&skewed), skewed), of(&pressed));
        let hot = skewed.1.classes.get(&HOT).copied().unwrap_or_default();
        eprintln!(
            "compare: skew, round {round}: others alone {}; beside a hot tenant with {share}% {} \
            (hot {}); beside its \
             flood of {:.0}/s {}",
            show(alone),
            show(skewed.0),
            show(hot),
            flood.rate,
            show(pressed),
        );
        without.push(alone.p99_ms);
        with.push(skewed.0.p99_ms);
        flooded.push(pressed.p99_ms);
    }
    let peer = format!("without it; bound {BOUND}");
    Ok(vec![
        Pair::of("hot_tenant_p99", "ms", &with, &without, &peer),
        Pair::of("hot_tenant_flood_p99", "ms", &flooded, &without, &peer),
    ])
}

async fn paced(bench: &Bench, rate: f64, requests: &[Prepared]) -> Result<Outcome, Failure> {
    bench.database.reset().await?;
    bench.drive(plan(bench, rate, requests)?).await
}

fn plan(bench: &Bench, rate: f64, requests: &[Prepared]) -> Result<Plan, Failure> {
    Ok(Plan {
        rate: Some(rate),
        ..bench.plan(CONNECTIONS, requests.to_vec())?
    })
}

/// Creates whose tenants are drawn as `skew` says, those of the tenants that are wanted.
fn requests(
    tenants: &[Tenant],
    skew: Skew,
    wanted: impl Fn(u32) -> bool,
) -> Result<Vec<Prepared>, Failure> {
    let shape = Shape {
        skew,
        ..Shape::single(1, TENANTS)
    };
    let mut requests = Prepared::creates(&mut Generator::new(shape)?, tenants, PREPARED)?;
    requests.retain(|request| wanted(request.tenant));
    Prepared::classify(
        &mut requests,
        |tenant| if tenant == 0 { HOT } else { OTHERS },
    );
    Ok(requests)
}

#[allow(clippy::float_arithmetic)]
fn load(saturation: f64) -> f64 {
    saturation * LOAD
}

fn show(latency: Latency) -> String {
    format!("p50 {:.1}, p99 {:.1} ms", latency.p50_ms, latency.p99_ms)
}
