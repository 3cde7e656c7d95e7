//! `poison` and `neighbours`.

use std::time::Duration;

use clap::Args;
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::poison::neighbours as beside;
use sheaf_loadtest::poison::neighbours::neighbours as measure;
use sheaf_loadtest::poison::{Settings, Share, poison as run};

use super::{Exit, Failure, print, seconds};

#[derive(Args)]
pub(crate) struct PoisonArguments {
    /// The server, http://host:port.
    #[arg(long, env = "SHEAF_URL")]
    url: String,
    /// Where it tells its metrics, if not on its own port: http://host:port.
    #[arg(long, env = "SHEAF_METRICS_URL")]
    metrics: Option<String>,
    /// The admin key: tenants are made for the run.
    #[arg(long, env = "SHEAF_ADMIN_KEY", hide_env_values = true)]
    admin_key: String,
    /// Only operations whose name has this in it; `document`, `door`, `sql`, `histories`, `years`,
    /// `places` and `restore` too.
    #[arg(long)]
    only: Option<String>,
    /// Only each so-many-th field, for a shorter run.
    #[arg(long, default_value_t = 1)]
    every: usize,
}

/// Prints the report as JSON; exits with 2 when something was found.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn poison(arguments: PoisonArguments) -> Result<Exit, Failure> {
    let server = Server::parse(&arguments.url)?;
    let (admin_key, only) = (arguments.admin_key, arguments.only);
    let metrics = arguments
        .metrics
        .map(|url| Server::parse(url.strip_suffix("/metrics").unwrap_or(&url)))
        .transpose()?;
    let report = run(Settings {
        server,
        metrics,
        admin_key,
        only,
        share: Share {
            every: arguments.every,
            from: 0,
        },
    })
    .await?;
    print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    Ok(if report.findings.is_empty() {
        Exit::Good
    } else {
        Exit::Missed
    })
}

#[derive(Args)]
pub(crate) struct NeighboursArguments {
    /// The server, http://host:port.
    #[arg(long, env = "SHEAF_URL")]
    url: String,
    /// The admin key: tenants are made for the run.
    #[arg(long, env = "SHEAF_ADMIN_KEY", hide_env_values = true)]
    admin_key: String,
    /// Rounds, each without and with the hostile tenant.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of a half of a round.
    #[arg(long, default_value = "5s", value_parser = seconds)]
    duration: Duration,
    /// Connections of the hostile tenant.
    #[arg(long, default_value_t = 24)]
    connections: usize,
    /// The exit code is 2 when the median ratio is above this, or a quiet tenant had an error.
    #[arg(long, default_value_t = 3.0)]
    ratio: f64,
}

/// Prints the report as JSON.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn neighbours(arguments: NeighboursArguments) -> Result<Exit, Failure> {
    let report = measure(beside::Settings {
        server: Server::parse(&arguments.url)?,
        admin_key: arguments.admin_key,
        rounds: arguments.rounds,
        duration: arguments.duration,
        connections: arguments.connections,
    })
    .await?;
    print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    let good = report.ratio <= arguments.ratio && report.failed.is_empty();
    Ok(if good { Exit::Good } else { Exit::Missed })
}
