//! Measures what operations cost: rounds of load, and readings of counters before and after each.
//!
//! Counters come from the server's `/metrics`, and from a command of the user's, since the CPU time
//! of PostgreSQL, its write-ahead log and its bytes are nothing that HTTP tells.
//! [`crate::capacity::regress`] makes costs of them.
// Counters are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, Request};
use serde_json::Value;

use crate::capacity::command::{CommandError, MAX_TEXT, output};
use crate::capacity::costs::{Cost, FORMAT, Measurement, Resource, Work};
use crate::capacity::regress::{self, RegressError, Round};
use crate::load::arrivals::Arrivals;
use crate::load::http::{AnyBody, Connection, HttpError, Server, whole};
use crate::load::material::Material;
use crate::load::mix::{Mix, Operation};
use crate::load::open;
use crate::load::open::{OpenError, Plan};

/// After the last answer: commits and caches settle before the counters are read.
const SETTLE: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom.
    pub server: Server,
    /// Who answers `GET /metrics` for it.
    pub metrics: Server,
    /// Operations; an idle round and a round of creates are always made.
    pub operations: Vec<Operation>,
    /// What invoices look like.
    pub mix: Mix,
    /// Requests per second; lists and cold reads a tenth, uploads a hundredth of it.
    pub rate: f64,
    /// Of each operation.
    pub rounds: u32,
    /// Length of one.
    pub round: Duration,
    /// Keep-alive connections.
    pub connections: usize,
    /// Prints lines `name value`: totals of `cpu_s`, `wal_bytes`, `hot_bytes`.
    pub probe: Option<String>,
    /// Moves invoices into the archive and prints JSON with `invoices` and `bytes`.
    pub tier: Option<String>,
    /// Database workers.
    pub workers: u32,
    /// For people.
    pub about: String,
}

/// Why there are no costs.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The server did not answer as it should.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A round could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The rounds say too little.
    #[error(transparent)]
    Regress(#[from] RegressError),
    /// A command failed or printed something else.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A round went wrong.
    #[error("{0} of {1} requests of the round of {2} failed, first: {3}; lower --rate")]
    Failed(u64, u64, &'static str, String),
}

type Readings = BTreeMap<Resource, f64>;

/// Measures. `tell` is called for each round.
///
/// # Errors
/// [`MeasureError`].
pub fn measure(
    settings: &Settings,
    material: &Arc<Material>,
    mut tell: impl FnMut(&str),
) -> Result<Measurement, MeasureError> {
    let mut rounds = Vec::new();
    for round in 1..=settings.rounds {
        tell(&format!("round {round} of {}: idle", settings.rounds));
        rounds.push(settings.between(|| {
            std::thread::sleep(settings.round);
            Ok(BTreeMap::new())
        })?);
        for operation in &settings.operations {
            tell(&format!(
                "round {round} of {}: {}",
                settings.rounds,
                operation.name()
            ));
            rounds.push(settings.between(|| settings.load(*operation, material))?);
        }
    }
    let mut costs = sensible(regress::costs(&rounds)?);
    if let Some(tier) = &settings.tier {
        tell("tiering");
        costs.extend(settings.tiering(tier)?);
    }
    Ok(Measurement {
        format: FORMAT,
        about: settings.about.clone(),
        workers: settings.workers,
        costs,
        scaling: Vec::new(),
    })
}

impl Settings {
    /// What `work` did, and what the counters went up by meanwhile.
    fn between(
        &self,
        work: impl FnOnce() -> Result<BTreeMap<Work, f64>, MeasureError>,
    ) -> Result<Round, MeasureError> {
        let (begun, before) = (Instant::now(), self.read()?);
        let done = work()?;
        std::thread::sleep(SETTLE);
        let after = self.read()?;
        let seconds = begun.elapsed().as_secs_f64();
        let rise = |(resource, value): (&Resource, &f64)| {
            let now = after.get(resource)?;
            Some((*resource, now - value))
        };
        Ok(Round {
            seconds,
            done,
            used: before.iter().filter_map(rise).collect(),
        })
    }

    fn load(
        &self,
        operation: Operation,
        material: &Arc<Material>,
    ) -> Result<BTreeMap<Work, f64>, MeasureError> {
        let mut operations: BTreeMap<Operation, f64> = [(operation, 1.0)].into();
        if operation == Operation::Pay {
            // There must be something to pay.
            operations.insert(Operation::Create, 1.0);
        }
        let slower = match operation {
            Operation::Bulk => 100.0,
            Operation::List | Operation::GetCold => 10.0,
            _ => 1.0,
        };
        let mix = Mix {
            operations,
            ..self.mix.clone()
        };
        let plan = Plan {
            server: self.server.clone(),
            rate: self.rate / slower,
            arrivals: Arrivals::Poisson,
            // Counters know no warm-up.
            warmup: Duration::ZERO,
            duration: self.round,
            connections: self.connections,
            threads: 1,
            timeout: Duration::from_secs(30),
            mix,
            seed: rand::random(),
        };
        let recording = open::run(&plan, material, &Arc::default())?;
        let (failed, all) = (recording.all.failed(), recording.all.all());
        // A failed request costs something, and is nobody's.
        if failed * 100 > all {
            let first = recording
                .all
                .errors
                .keys()
                .next()
                .cloned()
                .unwrap_or_default();
            return Err(MeasureError::Failed(failed, all, operation.name(), first));
        }
        let done = |(name, series): (&String, &crate::result::record::Series)| {
            let work = work_of(Operation::named(name)?)?;
            let each = if work == Work::Bulk {
                f64::from(self.mix.bulk_lines)
            } else {
                1.0
            };
            Some((work, series.ok as f64 * each))
        };
        Ok(recording.operations.iter().filter_map(done).collect())
    }

    /// One run of tiering. It is one measurement, whose noise is not known.
    fn tiering(&self, command: &str) -> Result<Vec<Cost>, MeasureError> {
        let mut summary = Value::Null;
        let round = self.between(|| {
            let text = output(command)?;
            summary = serde_json::from_str(&text)
                .map_err(|error| CommandError::new(command, error.to_string()))?;
            Ok(BTreeMap::new())
        })?;
        let number = |name: &str| {
            summary
                .get(name)
                .and_then(Value::as_f64)
                .filter(|number| *number > 0.0)
        };
        let (Some(invoices), Some(bytes)) = (number("invoices"), number("bytes")) else {
            let none = "it archived nothing: there must be settled invoices older than the horizon";
            return Err(CommandError::new(command, none).into());
        };
        let cost = |work, resource, all: f64| Cost {
            work,
            resource,
            value: (all / invoices).max(0.0),
            n: 1,
            residual: 0.0,
            units: invoices,
        };
        let mut costs = vec![cost(Work::Keep, Resource::ColdBytes, bytes)];
        costs.extend(
            round
                .used
                .get(&Resource::CpuS)
                .map(|cpu| cost(Work::Tier, Resource::CpuS, *cpu)),
        );
        costs.extend(
            round
                .used
                .get(&Resource::WalBytes)
                .map(|wal| cost(Work::Tier, Resource::WalBytes, *wal)),
        );
        Ok(costs)
    }

    fn read(&self) -> Result<Readings, MeasureError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| HttpError::Answer(error.to_string()))?;
        let metrics = runtime.block_on(metrics(&self.metrics))?;
        let mut readings = Readings::new();
        for (name, resource) in [
            ("sheaf_cold_gets_total", Resource::ObjectGets),
            ("sheaf_cold_bytes_total", Resource::ObjectBytes),
        ] {
            // A counter that nothing has counted yet is not there.
            readings.insert(resource, sum(&metrics, name).unwrap_or_default());
        }
        if let Some(probe) = &self.probe {
            let text = output(probe)?;
            for resource in [Resource::CpuS, Resource::WalBytes, Resource::HotBytes] {
                readings.extend(sum(&text, resource.name()).map(|value| (resource, value)));
            }
            if !readings.contains_key(&Resource::CpuS) {
                let lacks = "it prints no line `cpu_s NUMBER`";
                return Err(CommandError::new(probe, lacks).into());
            }
        }
        Ok(readings)
    }
}

fn work_of(operation: Operation) -> Option<Work> {
    Some(match operation {
        Operation::Create => Work::Create,
        Operation::Bulk => Work::Bulk,
        Operation::Pay => Work::Pay,
        Operation::GetHot => Work::GetHot,
        Operation::GetCold => Work::GetCold,
        Operation::List => Work::List,
        Operation::Retry | Operation::Duplicate | Operation::Ping => return None,
    })
}

/// Costs that mean something: reads keep nothing, and only cold reads fetch objects. What creates
/// and payments leave in the database is what keeping an invoice takes.
fn sensible(costs: Vec<Cost>) -> Vec<Cost> {
    let writes = |work| matches!(work, Work::Create | Work::Bulk | Work::Pay);
    let find = |work| {
        costs
            .iter()
            .find(|cost: &&Cost| cost.work == work && cost.resource == Resource::HotBytes)
    };
    let keep = find(Work::Create).map(|create| {
        let scatter = |cost: &Cost| cost.value * cost.residual;
        let pay = find(Work::Pay);
        let value = create.value + pay.map_or(0.0, |pay| pay.value);
        let spread = scatter(create).hypot(pay.map_or(0.0, scatter));
        Cost {
            work: Work::Keep,
            value,
            residual: if value > 0.0 {
                (spread / value).min(10.0)
            } else {
                0.0
            },
            ..create.clone()
        }
    });
    let keeps = |cost: &Cost| match cost.resource {
        Resource::CpuS => true,
        Resource::WalBytes => writes(cost.work),
        Resource::HotBytes | Resource::ColdBytes => false,
        Resource::ObjectGets | Resource::ObjectBytes => cost.work == Work::GetCold,
    };
    let mut kept: Vec<Cost> = costs.iter().filter(|cost| keeps(cost)).cloned().collect();
    kept.extend(keep);
    kept
}

async fn metrics(server: &Server) -> Result<String, HttpError> {
    let mut connection: Connection<AnyBody> = Connection::open(server).await?;
    let request = Request::builder()
        .method(Method::GET)
        .uri("/metrics")
        .header(hyper::header::HOST, server.authority())
        .body(whole(""))
        .map_err(|error| HttpError::Answer(error.to_string()))?;
    let mut text = Vec::new();
    let each = |data: &bytes::Bytes| {
        if text.len() <= MAX_TEXT {
            text.extend_from_slice(data);
        }
    };
    let head = connection.exchange(request, each).await?;
    if head.status().is_success() {
        Ok(String::from_utf8_lossy(&text).into_owned())
    } else {
        Err(HttpError::Answer(format!(
            "GET /metrics answered {}",
            head.status()
        )))
    }
}

/// The sum of a counter over its labels, from lines `name{labels} value`; `None` when there is no
/// such line.
fn sum(text: &str, name: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.starts_with([' ', '\t']).then_some(rest)?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    let values: Vec<f64> = text.lines().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_not_mistaken() {
        let text = "# TYPE cpu_s counter\ncpu_s{node=\"a b\"} 1.5\ncpu_s{node=\"}\"} 2\ncpu_s_more \
            7\nwal_bytes 12\n";
        assert_eq!(sum(text, "cpu_s"), Some(3.5));
        assert_eq!(sum(text, "wal_bytes"), Some(12.0));
        assert_eq!(sum(text, "hot_bytes"), None);
    }
}
