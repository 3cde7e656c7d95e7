//! `measure`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sheaf_loadtest::capacity::costs::Cost;
use sheaf_loadtest::capacity::measure;
use sheaf_loadtest::capacity::measure::Settings;
use sheaf_loadtest::capacity::regress::MAX_ROUNDS;
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::mix::{Mix, Operation};

use super::run::{Target, write};
use super::{Exit, Failure, print, seconds};

#[derive(Args)]
pub(crate) struct MeasureArguments {
    #[command(flatten)]
    target: Target,
    /// Operations to measure, of create, bulk, pay, get_hot, get_cold, list; create is always among
    /// them.
    #[arg(long, default_value = "create,pay,get_hot,list", value_delimiter = ',',
        value_parser = operation)]
    operations: Vec<Operation>,
    /// Requests per second, well below the knee; lists and cold reads a tenth of it, uploads a
    /// hundredth.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Rounds of each operation.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one round.
    #[arg(long, default_value = "8s", value_parser = seconds)]
    round: Duration,
    /// The server's metrics [default: /metrics of the target itself, where earlier servers have
    /// them]
    #[arg(long, env = "SHEAF_METRICS_URL", value_name = "URL")]
    metrics: Option<String>,
    /// A command that prints the totals so far: lines `cpu_s 12.3`, `wal_bytes 456`, `hot_bytes
    /// 789`; see docs/loadtest.md.
    #[arg(long)]
    probe: String,
    /// A command that archives invoices and prints JSON with `invoices` and `bytes`, such as `sheaf
    /// tier run`.
    #[arg(long)]
    tier: Option<String>,
    /// Database workers of the cluster that is measured.
    #[arg(long)]
    workers: u32,
    /// Machine and versions, for those who read the file later.
    #[arg(long, default_value = "")]
    about: String,
    /// The file of measured costs.
    #[arg(long)]
    json: PathBuf,
}

fn operation(text: &str) -> Result<Operation, String> {
    match Operation::named(text.trim()) {
        None | Some(Operation::Ping | Operation::Retry | Operation::Duplicate) => {
            Err("operations are create, bulk, pay, get_hot, get_cold, list".to_owned())
        }
        Some(operation) => Ok(operation),
    }
}

pub(crate) fn measure(arguments: &MeasureArguments) -> Result<Exit, Failure> {
    if !(2..=MAX_ROUNDS).contains(&arguments.rounds) || arguments.workers == 0 {
        return Err(
            format!("there are from 2 to {MAX_ROUNDS} rounds, and at least 1 worker").into(),
        );
    }
    let mut operations = arguments.operations.clone();
    operations.push(Operation::Create);
    operations.sort_unstable();
    operations.dedup();
    let mix = Mix {
        operations: operations
            .iter()
            .map(|operation| (*operation, 1.0))
            .collect(),
        ..arguments.target.mix()?
    };
    let (server, material) = arguments.target.gather(&mix)?;
    let metrics = match &arguments.metrics {
        Some(url) => Server::parse(url.strip_suffix("/metrics").unwrap_or(url))?,
        None => server.clone(),
    };
    let settings = Settings {
        server,
        metrics,
        operations,
        mix,
        rate: arguments.rate,
        rounds: arguments.rounds,
        round: arguments.round,
        connections: arguments.target.connections,
        probe: Some(arguments.probe.clone()),
        tier: arguments.tier.clone(),
        workers: arguments.workers,
        about: arguments.about.clone(),
    };
    let measured = measure::measure(&settings, &material, |round| eprintln!("{round}"))?;
    write(
        &arguments.json,
        &(serde_json::to_string_pretty(&measured)? + "\n"),
    )?;
    let line = |cost: &Cost| {
        let Cost {
            value,
            n,
            residual,
            units,
            ..
        } = cost;
        format!(
            "{:<20} {value:>14.7}  {n} rounds, residual {residual:.3}, {units:.0} units\n",
            cost.name()
        )
    };
    print(&measured.costs.iter().map(line).collect::<String>())?;
    Ok(Exit::Good)
}
