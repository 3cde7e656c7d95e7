//! Reads of a simulated month: an open loop, so that a server that stalls is charged for it.
// Rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::timeline::{Entry, Timeline};
use super::{Settings, SimulateError, TIMEOUT};
use crate::load::arrivals::Arrivals;
use crate::load::material::{Known, Material};
use crate::load::mix::{Mix, Operation};
use crate::load::open;
use crate::load::open::Plan;
use crate::load::setup::Tenant;
use crate::result::record::Series;

/// Invoices that the reads of a month choose from, hot ones and archived ones each.
const CHOICE: usize = 2_000;
/// Shares of the reads.
const SHARES: [(Operation, f64); 3] = [
    (Operation::GetHot, 0.4),
    (Operation::GetCold, 0.4),
    (Operation::List, 0.2),
];

/// What a month's reads found.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) operations: BTreeMap<String, Series>,
    pub(super) lag_p99_ms: f64,
}

/// Reads at the settings' rate. Until there is something archived, the share of those reads is left
/// out.
pub(super) fn read(
    settings: &Settings,
    timeline: &Timeline,
    tenants: &[Tenant],
    month: u32,
) -> Result<Reads, SimulateError> {
    if settings.reads == 0 {
        return Ok(Reads::default());
    }
    let seed = settings.outline.seed.wrapping_add(u64::from(month));
    let material = material(timeline, tenants, month, seed);
    let has_cold = !material.cold.is_empty();
    let operations: BTreeMap<Operation, f64> = SHARES
        .into_iter()
        .filter(|(operation, _)| has_cold || *operation != Operation::GetCold)
        .collect();
    let plan = Plan {
        server: settings.server.clone(),
        rate: settings.rate * operations.values().sum::<f64>(),
        arrivals: Arrivals::Poisson,
        warmup: settings.warmup,
        duration: Duration::from_secs_f64(f64::from(settings.reads) / settings.rate),
        connections: settings.connections,
        threads: 1,
        timeout: TIMEOUT,
        mix: Mix {
            operations,
            zipf: settings.outline.zipf,
            ..Mix::default()
        },
        seed,
    };
    let recording = open::run(&plan, &Arc::new(material), &Arc::default())?;
    let (failed, all) = (recording.all.failed(), recording.all.all());
    if failed * 100 > all {
        let first = recording.all.errors.keys().next().cloned();
        let what = format!(
            "{failed} of {all} reads of {} failed",
            timeline.period(month)
        );
        return Err(SimulateError::Refused(what, first.unwrap_or_default()));
    }
    Ok(Reads {
        lag_p99_ms: recording.own.lag.ms(0.99),
        operations: recording.operations,
    })
}

fn material(timeline: &Timeline, tenants: &[Tenant], month: u32, seed: u64) -> Material {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let known = |entry: Entry| Known {
        tenant: entry.tenant,
        id: entry.id,
        // Neither paid nor sent again.
        amount_due: String::new(),
        body: Vec::new(),
    };
    let hot = (0..CHOICE).map_while(|_| timeline.any_hot(month, &mut rng));
    let known = hot.map(known).collect();
    let cold = (0..CHOICE).map_while(|_| timeline.any_cold(month, &mut rng));
    Material {
        tenants: tenants.to_vec(),
        known,
        cold: cold.map(|entry| (entry.tenant, entry.id)).collect(),
        ..Material::default()
    }
}
