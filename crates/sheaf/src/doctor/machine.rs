//! This machine: credentials, the spool directory, ports, and what `sheaf up` would find.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;
use rustix::fs::{Access, access, statvfs};
#[cfg(feature = "local")]
use sheaf_local::Install;
use tokio::net::TcpListener;

#[cfg(feature = "local")]
use super::node::CITUS_INSTALLATION;
use super::report::Report;
use crate::settings::{DoctorSettings, MIN_ADMIN_KEY, set};

/// Only Sheaf answers with it.
const OF_API: &str = "urn:sheaf:problem:";
const OF_METRICS: &str = "sheaf_";
/// Bytes of an answer that are looked at.
const MAX_ANSWER: usize = 8 << 20;

pub(super) async fn look(settings: &DoctorSettings, patience: Duration, report: &mut Report) {
    admin_key(settings, report);
    match settings.jwt.config() {
        Ok(None) => {}
        Ok(Some(_)) => report.ok("jwt", None, "the settings fit together"),
        Err(error) => report.fail("jwt", None, error.to_string(), "see docs/identity.md"),
    }
    spool(settings, report);
    let api = (settings.listen.as_str(), "v1", OF_API);
    port("port of the API", "SHEAF_LISTEN", api, patience, report).await;
    if settings.metrics_listen != "off" {
        let metrics = (settings.metrics_listen.as_str(), "metrics", OF_METRICS);
        let name = "port of the metrics";
        port(name, "SHEAF_METRICS_LISTEN", metrics, patience, report).await;
    }
    #[cfg(feature = "local")]
    if [&settings.database_url, &settings.api_database_url]
        .iter()
        .all(|url| set(url.as_deref()).is_none())
    {
        installed(report).await;
    }
}

fn admin_key(settings: &DoctorSettings, report: &mut Report) {
    let check = "admin key";
    match set(settings.admin_key.as_deref()) {
        None => report.warn(
            check,
            None,
            "SHEAF_ADMIN_KEY is not set",
            "`sheaf serve` needs it, and `sheaf tenant`: openssl rand -hex 32",
        ),
        Some(key) if key.len() < MIN_ADMIN_KEY => report.fail(
            check,
            None,
            format!("SHEAF_ADMIN_KEY has {} characters", key.len()),
            format!("it needs at least {MIN_ADMIN_KEY}: openssl rand -hex 32"),
        ),
        Some(key) => {
            let seen = format!("SHEAF_ADMIN_KEY is set, {} characters", key.len());
            report.ok(check, None, seen);
        }
    }
}

/// Atomic uploads lie there until all their lines have come.
fn spool(settings: &DoctorSettings, report: &mut Report) {
    let dir = settings
        .spool_dir
        .clone()
        .unwrap_or_else(std::env::temp_dir);
    let (check, on) = ("spool directory", dir.display().to_string());
    if !dir.is_dir() {
        let advice = "make it, or set SHEAF_SPOOL_DIR to another one";
        return report.fail(check, Some(&on), "there is no such directory", advice);
    }
    if let Err(error) = access(&dir, Access::WRITE_OK | Access::EXEC_OK) {
        let seen = format!("no file can be made in it: {error}");
        return report.fail(check, Some(&on), seen, "let this user write there");
    }
    let Some((free, _)) = disk(&dir) else {
        return report.warn(check, Some(&on), "its free space cannot be told", "");
    };
    let (needed, free_text) = (settings.spool.get(), HumanBytes(free));
    match free >= needed {
        true => report.ok(check, Some(&on), format!("{free_text} free")),
        false => report.warn(
            check,
            Some(&on),
            format!(
                "{free_text} free, and atomic uploads may take {}",
                HumanBytes(needed)
            ),
            "set SHEAF_SPOOL to less, or SHEAF_SPOOL_DIR to a larger disk",
        ),
    }
}

/// Free and all bytes of the disk under a directory.
pub(super) fn disk(dir: &Path) -> Option<(u64, u64)> {
    let stats = statvfs(dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stats.f_frsize);
    Some((bytes(stats.f_bavail), bytes(stats.f_blocks)))
}

/// Free, or taken by a Sheaf that answers at `path` with a known word.
async fn port(
    check: &str,
    variable: &str,
    (address, path, word): (&str, &str, &str),
    patience: Duration,
    report: &mut Report,
) {
    let on = Some(address);
    let error = match TcpListener::bind(address).await {
        Ok(_) => return report.ok(check, on, "free"),
        Err(error) => error,
    };
    if error.kind() != ErrorKind::AddrInUse {
        let seen = format!("cannot be listened on: {error}");
        return report.fail(
            check,
            on,
            seen,
            format!("set {variable} to another address"),
        );
    }
    let is_ours = tokio::time::timeout(patience, answers_with(address, path, word)).await;
    if is_ours.unwrap_or(false) {
        return report.ok(check, on, "taken by a Sheaf that runs");
    }
    let (seen, advice) = (
        "taken by another program",
        format!("stop that one, or set {variable} to another port"),
    );
    // Where nobody has chosen it, `sheaf serve` takes another one by itself.
    match variable == "SHEAF_METRICS_LISTEN" && address == crate::serve::METRICS {
        true => report.warn(check, on, seen, advice),
        false => report.fail(check, on, seen, advice),
    }
}

async fn answers_with(address: &str, path: &str, word: &str) -> bool {
    let Ok(mut answer) = reqwest::get(format!("http://{address}/{path}")).await else {
        return false;
    };
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_ANSWER {
            break;
        }
    }
    String::from_utf8_lossy(&text).contains(word)
}

/// Where no database is named: whether `sheaf up` can run one.
#[cfg(feature = "local")]
async fn installed(report: &mut Report) {
    let check = "PostgreSQL for `sheaf up`";
    let found = tokio::task::spawn_blocking(Install::discover).await;
    let installs = match found {
        Ok(Ok(installs)) => installs,
        Ok(Err(error)) => return report.warn(check, None, error.to_string(), ""),
        Err(error) => return report.warn(check, None, error.to_string(), ""),
    };
    let with_citus = installs.iter().find(|install| install.citus);
    let Some(install) = with_citus.or(installs.first()) else {
        return;
    };
    let bindir = &install.bindir;
    let seen = format!("version {} in {}", install.major, bindir.display());
    report.ok(check, None, seen);
    match install.citus {
        true => report.ok(
            "Citus for `sheaf up`",
            None,
            "installed: a coordinator and two workers",
        ),
        false => report.ok(
            "Citus for `sheaf up`",
            None,
            format!(
                "not installed: `sheaf up` runs one plain node, to which no workers can be added; \
                 {CITUS_INSTALLATION} says how to install it"
            ),
        ),
    }
}
