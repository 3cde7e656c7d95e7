//! `check`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sheaf_loadtest::check::{Fault, Report, Settings, check as run};
use sheaf_loadtest::load::http::Server;

use super::{Exit, Failure, print, seconds};

/// Violations of one kind that are printed.
const PRINTED: usize = 10;

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// A server of the system, http://host:port; several times for several.
    #[arg(long = "url", env = "SHEAF_URL", required = true)]
    urls: Vec<String>,
    /// The admin key: tenants are made for the run.
    #[arg(long, env = "SHEAF_ADMIN_KEY", hide_env_values = true)]
    admin_key: String,
    /// How long clients work, such as 2m.
    #[arg(long, default_value = "2m", value_parser = seconds)]
    duration: Duration,
    /// Clients that work side by side.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Tenants to make.
    #[arg(long, default_value_t = 4)]
    tenants: u32,
    /// Calls per second of all clients together, at most.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Makes the same choices again, as far as the system's answers allow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long one answer is waited for; longer is a violation.
    #[arg(long, default_value = "30s", value_parser = seconds)]
    patience: Duration,
    /// Something that breaks now and then, as NAME=COMMAND; several times. The command ends when
    /// all is whole again.
    #[arg(long = "fault", value_name = "NAME=COMMAND", value_parser = fault)]
    faults: Vec<Fault>,
    /// Faults that may happen at once.
    #[arg(long, default_value_t = 1)]
    lanes: usize,
    /// The mean pause between two faults of a lane.
    #[arg(long, default_value = "5s", value_parser = seconds)]
    pause: Duration,
    /// The last part of the duration: no --fault happens there, only each --sparing. The last
    /// tenant has no archive, and none of its calls may fail there.
    #[arg(long, default_value = "0s", value_parser = seconds)]
    calm: Duration,
    /// As --fault, but such that a tenant without an archive may not notice it: an operator's work,
    /// or an archive that breaks.
    #[arg(long = "sparing", value_name = "NAME=COMMAND", value_parser = fault)]
    sparing: Vec<Fault>,
    /// What is done before the end is read, as NAME=COMMAND; several times.
    #[arg(long = "finish", value_name = "NAME=COMMAND", value_parser = fault)]
    finish: Vec<Fault>,
    /// The same, after that, with the first tenant's archive broken meanwhile; others' erasures
    /// must be done in it.
    #[arg(long = "broken", value_name = "NAME=COMMAND", value_parser = fault)]
    broken: Vec<Fault>,
    /// Writes every call and the invoices that it was answered, a JSON object a line.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Writes the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn fault(text: &str) -> Result<Fault, String> {
    let parts = text
        .split_once('=')
        .filter(|(name, command)| !name.is_empty() && !command.is_empty());
    let (name, command) = parts.ok_or("a fault is NAME=COMMAND")?;
    Ok(Fault::command(name, command))
}

/// Exits with 2 when the history is impossible.
#[tokio::main]
pub(crate) async fn check(arguments: CheckArguments) -> Result<Exit, Failure> {
    let sparing = arguments.sparing.into_iter().map(Fault::sparing);
    let servers = arguments.urls.iter().map(|url| Server::parse(url));
    let report = run(Settings {
        servers: servers.collect::<Result<_, _>>()?,
        admin_key: arguments.admin_key,
        duration: arguments.duration,
        clients: arguments.clients,
        tenants: arguments.tenants,
        rate: arguments.rate,
        seed: arguments.seed,
        patience: arguments.patience,
        faults: arguments.faults.into_iter().chain(sparing).collect(),
        lanes: arguments.lanes,
        pause: arguments.pause,
        calm: arguments.calm,
        finish: arguments.finish,
        broken: arguments.broken,
        journal: arguments.journal,
    })
    .await?;
    if let Some(file) = arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    print(&text(&report))?;
    Ok(if report.violations.is_empty() {
        Exit::Good
    } else {
        Exit::Missed
    })
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!(
        "{:<12} {:>8} {:>8} {:>8}",
        "calls", "done", "refused", "unknown"
    )];
    for (kind, [done, refused, unknown]) in &report.calls {
        lines.push(format!("{kind:<12} {done:>8} {refused:>8} {unknown:>8}"));
    }
    let [documents, archived] = report.documents;
    let broken = report.broken;
    lines.push(format!(
        "{documents} documents, {archived} archived; {broken} attempts without an answer"
    ));
    for fault in &report.faults {
        let (begun, ended) = (fault.begun.as_secs(), fault.ended.as_secs());
        let failed = fault
            .failed
            .as_deref()
            .map(|why| format!(", failed: {why}"))
            .unwrap_or_default();
        lines.push(format!("{begun:>5} s to {ended} s: {}{failed}", fault.name));
    }
    for (kind, count) in &report.kinds {
        lines.push(format!("{kind}: {count}"));
        let of_kind = report.violations.iter().filter(|one| one.kind == *kind);
        lines.extend(of_kind.take(PRINTED).map(|one| format!("  {}", one.text)));
    }
    if report.violations.is_empty() {
        lines.push("this history is possible".to_owned());
    }
    lines.join("\n") + "\n"
}
