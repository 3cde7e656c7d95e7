//! One node of PostgreSQL: what docs/operations.md asks of every node.

use std::net::IpAddr;
use std::path::Path;

use indicatif::HumanBytes;
use sheaf_store::NodeFacts;

use super::machine;
use super::report::Report;

/// The major version that Sheaf is tested with.
const MAJOR: i32 = 15;
/// The version of Citus that Sheaf is tested with, and those whose plans leak on shards' own nodes
/// (upstream issue 8371).
const CITUS: &str = "13.2.0";
const LEAKING: [&str; 2] = ["13.2.1", "13.2.2"];
/// How to install it, by those who make it.
pub(super) const CITUS_INSTALLATION: &str =
    "https://docs.citusdata.com/en/stable/installation/multi_node.html";
/// Settings of moves and splits, and how much is room enough.
const ROOM: [(&str, i64); 4] = [
    ("max_wal_senders", 20),
    ("max_replication_slots", 20),
    ("max_logical_replication_workers", 16),
    ("max_worker_processes", 32),
];
/// With more invoices than this on a node, samples of statistics cost little beside the rows that
/// come.
const YOUNG: i64 = 1_000_000;
/// Milliseconds by which a clock may differ.
pub(crate) const CLOCK_WARN: i64 = 2_000;
/// From so many on it is no matter of networks any more.
pub(crate) const CLOCK_FAIL: i64 = 60_000;
/// Citus itself keeps a tenth free.
const DISK_WARN: i64 = 10;
const DISK_FAIL: i64 = 2;

/// What is expected of a node.
pub(super) struct Expected {
    /// Whether it is in a cluster.
    pub(super) citus: bool,
    pub(super) connections: u32,
}

/// Whether a host is this machine, by its name or address.
pub(super) fn is_here(host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

pub(super) fn look(
    on: &str,
    host: &str,
    facts: &NodeFacts,
    expected: &Expected,
    report: &mut Report,
) {
    version(on, facts, report);
    encryption(on, host, facts, report);
    if expected.citus {
        citus(on, facts, report);
        cluster_settings(on, facts, report);
    }
    common_settings(on, facts, expected, report);
    clock(on, facts, report);
    disk(on, host, facts, report);
}

fn version(on: &str, facts: &NodeFacts, report: &mut Report) {
    let (check, on) = ("postgresql", Some(on));
    let part = match facts.standby {
        true => "a standby, takes no writes",
        false => "takes writes",
    };
    let seen = format!(
        "{}, {part}, answers in {} ms",
        facts.version,
        facts.round_trip.as_millis()
    );
    match facts.version_num / 10_000 {
        MAJOR => report.ok(check, on, seen),
        older if older < MAJOR => report.fail(check, on, seen, "Sheaf needs PostgreSQL 15"),
        _ => report.warn(check, on, seen, "Sheaf is tested with PostgreSQL 15"),
    }
}

fn encryption(on: &str, host: &str, facts: &NodeFacts, report: &mut Report) {
    let check = "tls";
    let advice = "end the URL with ?sslmode=verify-full&sslrootcert=FILE (docs/operations.md)";
    let on = Some(on);
    match (&facts.tls, is_here(host)) {
        (Some(tls), _) if facts.verified => {
            report.ok(check, on, format!("{tls}, the certificate is verified"));
        }
        (Some(tls), true) => report.ok(check, on, format!("{tls}, on this machine")),
        (Some(tls), false) => {
            let seen = format!("{tls}, but nobody looks at the certificate");
            report.warn(check, on, seen, advice);
        }
        (None, true) => report.ok(check, on, "not encrypted, on this machine"),
        (None, false) => {
            let seen = "not encrypted: whoever is in between can read and change everything";
            report.warn(check, on, seen, advice);
        }
    }
}

fn citus(on: &str, facts: &NodeFacts, report: &mut Report) {
    let (check, on) = ("citus", Some(on));
    let advice = format!("install Citus {CITUS} on all nodes (docs/operations.md, Upgrades)");
    match facts.citus.as_deref() {
        Some(CITUS) => report.ok(check, on, CITUS),
        Some(version) if LEAKING.contains(&version) => {
            let seen = format!("{version} leaks the memory of plans on shards' own nodes");
            report.warn(check, on, seen, advice);
        }
        Some(version) => {
            let seen = format!("{version}, with which Sheaf is not tested");
            report.warn(check, on, seen, advice);
        }
        None => {
            let seen = "the database of this node has no Citus extension";
            let advice =
                format!("create extension citus; {CITUS_INSTALLATION} says how to install it");
            report.fail(check, on, seen, advice);
        }
    }
}

/// A plain database: what it means that it has no Citus.
pub(super) fn without_citus(on: &str, facts: &NodeFacts, report: &mut Report) {
    let seen = match facts.citus_available {
        true => "installed, but not in this database: one plain node, to which no workers can be \
            added. Before the first \
                 `sheaf migrate`, `create extension citus` makes it a cluster"
            .to_owned(),
        false => format!(
            "not installed: one plain node, to which no workers can be added; {CITUS_INSTALLATION} \
            says how to install it"
        ),
    };
    report.ok("citus", Some(on), seen);
}

fn cluster_settings(on: &str, facts: &NodeFacts, report: &mut Report) {
    let (at, mut good) = (Some(on), Vec::new());
    let restart = |to: &str| format!("set it to {to} and restart the node (docs/operations.md)");
    let list = |value: &str| -> Vec<String> {
        let names = value.split(',');
        names
            .map(|name| name.trim().trim_matches('"').to_owned())
            .collect()
    };
    let name = "shared_preload_libraries";
    match facts.settings.get(name) {
        None => report.warn(name, at, "not shown to this login", "ask as a superuser"),
        Some(setting)
            if list(&setting.value)
                .first()
                .is_some_and(|first| first == "citus") =>
        {
            good.push(format!("{name} = {}", setting.shown));
        }
        Some(setting) => {
            let seen = format!("{:?}, in which citus is not the first", setting.shown);
            report.fail(name, at, seen, restart("'citus, ...'"));
        }
    }
    let name = "wal_level";
    match facts
        .settings
        .get(name)
        .map(|setting| setting.value.as_str())
    {
        Some("logical") => good.push(format!("{name} = logical")),
        other => {
            let seen = format!("{}: shards cannot move", other.unwrap_or("unknown"));
            report.fail(name, at, seen, restart("logical"));
        }
    }
    // Only newer minor versions of PostgreSQL have it.
    let name = "output_plugin_libraries";
    if let Some(setting) = facts.settings.get(name) {
        match list(&setting.value).iter().any(|name| name == "citus") {
            true => good.push(format!("{name} has citus")),
            false => {
                let seen = format!("{:?}: a shard cannot be split", setting.shown);
                report.fail(name, at, seen, restart("'pgoutput, test_decoding, citus'"));
            }
        }
    }
    for (name, room) in ROOM {
        let value = number(facts, name);
        match value.is_some_and(|value| value >= room) {
            true => good.push(format!("{name} = {}", value.unwrap_or_default())),
            false => {
                let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
                let seen = format!("{value}, which is little for moves and splits");
                report.warn(name, at, seen, restart(&room.to_string()));
            }
        }
    }
    let name = "citus.stat_tenants_track";
    match facts
        .settings
        .get(name)
        .map(|setting| setting.value.as_str())
    {
        Some("all") => good.push(format!("{name} = all")),
        other => {
            let seen = other.unwrap_or("unknown").to_owned();
            let advice = "`sheaf cluster status` shows no load of tenants: alter system set \
                citus.stat_tenants_track = 'all'; \
                          select pg_reload_conf()";
            report.warn(name, at, seen, advice);
        }
    }
    if !good.is_empty() {
        report.ok("cluster settings", at, good.join(", "));
    }
}

fn common_settings(on: &str, facts: &NodeFacts, expected: &Expected, report: &mut Report) {
    let (at, mut good) = (Some(on), Vec::new());
    let (name, per_node) = ("max_connections", i64::from(expected.connections));
    // As much again for the other nodes, which connect as well.
    let wanted = match expected.citus {
        true => per_node * 2,
        false => per_node + 1,
    };
    match number(facts, name) {
        Some(value) if value >= wanted => good.push(format!("{name} = {value}")),
        other => {
            let value = other.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            let seen = format!("{value}, for API processes that open up to {per_node} each");
            let advice = format!(
                "raise it above {wanted}, or lower SHEAF_MAX_CONNECTIONS_PER_NODE \
                (docs/operations.md)"
            );
            match other.is_some_and(|value| value <= per_node) {
                true => report.fail(name, at, seen, advice),
                false => report.warn(name, at, seen, advice),
            }
        }
    }
    let name = "shared_buffers";
    if let Some(setting) = facts.settings.get(name) {
        match setting.is_default {
            false => good.push(format!("{name} = {}", setting.shown)),
            true => {
                let seen = format!("{}, as nobody has set it", setting.shown);
                report.warn(name, at, seen, "set it to a quarter of the node's memory");
            }
        }
    }
    if facts.invoices < YOUNG {
        for (name, young) in [
            ("autovacuum_analyze_scale_factor", "0.5"),
            ("default_statistics_target", "20"),
        ] {
            let Some(setting) = facts.settings.get(name) else {
                continue;
            };
            match setting.is_default {
                false => good.push(format!("{name} = {}", setting.shown)),
                true => {
                    let seen = format!("{}, the default", setting.shown);
                    let advice = format!("{young} costs less CPU while tables are young");
                    report.warn(name, at, seen, advice);
                }
            }
        }
    }
    if !good.is_empty() {
        report.ok("settings", at, good.join(", "));
    }
}

fn number(facts: &NodeFacts, name: &str) -> Option<i64> {
    facts.settings.get(name)?.value.parse().ok()
}

fn clock(on: &str, facts: &NodeFacts, report: &mut Report) {
    let (check, on) = ("clock", Some(on));
    let ms = facts.skew.num_milliseconds();
    let zone = facts.settings.get("TimeZone");
    let zone = zone.map_or("unknown", |setting| setting.shown.as_str());
    let advice = "let all machines follow a time server";
    match ms.abs() {
        0..CLOCK_WARN => {
            let within = facts.round_trip.as_millis().max(1);
            let seen = format!("{ms:+} ms from this machine's, to {within} ms; time zone {zone}");
            report.ok(check, on, seen);
        }
        CLOCK_WARN..CLOCK_FAIL => {
            report.warn(check, on, format!("{ms:+} ms from this machine's"), advice);
        }
        _ => report.fail(check, on, format!("{ms:+} ms from this machine's"), advice),
    }
}

/// As the node tells (Citus does); else as this machine does, where the node is on it.
fn disk(on: &str, host: &str, facts: &NodeFacts, report: &mut Report) {
    // Citus counts blocks that are kept for root as free; where we can look ourselves, we see what
    // the server can have.
    let here = facts.settings.get("data_directory").and_then(|dir| {
        let (free, total) = is_here(host)
            .then(|| machine::disk(Path::new(&dir.value)))
            .flatten()?;
        Option::zip(i64::try_from(free).ok(), i64::try_from(total).ok())
    });
    let Some((free, total)) = here.or(facts.disk) else {
        return;
    };
    let (check, on) = ("disk", Some(on));
    let percent = free.saturating_mul(100) / total.max(1);
    let human = |bytes: i64| HumanBytes(u64::try_from(bytes).unwrap_or(0));
    let seen = format!("{} of {} free ({percent}%)", human(free), human(total));
    let advice = "make room: a move needs that of a shard group on its target, and a full disk \
        stops the node";
    match percent {
        ..DISK_FAIL => report.fail(check, on, seen, advice),
        DISK_FAIL..DISK_WARN => report.warn(check, on, seen, advice),
        _ => report.ok(check, on, seen),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;
    use sheaf_store::Setting;

    use super::*;
    use crate::doctor::report::Status;

    fn setting(value: &str) -> Setting {
        Setting {
            value: value.to_owned(),
            shown: value.to_owned(),
            is_default: false,
        }
    }

    fn healthy() -> NodeFacts {
        let settings = [
            ("TimeZone", "UTC"),
            ("autovacuum_analyze_scale_factor", "0.5"),
            ("citus.stat_tenants_track", "all"),
            ("default_statistics_target", "20"),
            ("max_connections", "200"),
            ("max_logical_replication_workers", "16"),
            ("max_replication_slots", "20"),
            ("max_wal_senders", "20"),
            ("max_worker_processes", "32"),
            ("output_plugin_libraries", "pgoutput, test_decoding, citus"),
            ("shared_buffers", "16384"),
            ("shared_preload_libraries", "citus,pg_stat_statements"),
            ("wal_level", "logical"),
        ];
        NodeFacts {
            version_num: 150_020,
            version: "15.20".to_owned(),
            standby: false,
            tls: None,
            verified: false,
            citus: Some("13.2.0".to_owned()),
            citus_available: true,
            settings: settings
                .map(|(name, value)| (name.to_owned(), setting(value)))
                .into(),
            skew: TimeDelta::milliseconds(3),
            round_trip: Duration::from_millis(1),
            invoices: 0,
            disk: Some((50 << 30, 100 << 30)),
        }
    }

    /// The lines of what is not well.
    fn wrong(change: impl Fn(&mut NodeFacts)) -> Vec<String> {
        let (mut facts, mut report) = (healthy(), Report::default());
        change(&mut facts);
        let expected = Expected {
            citus: true,
            connections: 32,
        };
        look(
            "127.0.0.1:5432",
            "127.0.0.1",
            &facts,
            &expected,
            &mut report,
        );
        let lines = report.lines().into_iter();
        let lines: Vec<String> = lines.filter(|line| !line.starts_with("ok ")).collect();
        let told = report.count(Status::Warn) + report.count(Status::Fail);
        assert_eq!(lines.len(), told);
        lines
    }

    #[test]
    fn a_healthy_node_has_no_remark() {
        assert_eq!(wrong(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_fault_has_its_line() {
        let set = |name: &'static str, value: &'static str| {
            move |facts: &mut NodeFacts| {
                facts.settings.insert(name.to_owned(), setting(value));
            }
        };
        type Change = Box<dyn Fn(&mut NodeFacts)>;
        let cases: Vec<(Change, &str)> = vec![
            (Box::new(|f| f.version_num = 140_010), "fail  postgresql "),
            (Box::new(|f| f.version_num = 170_001), "warn  postgresql "),
            (
                Box::new(|f| f.citus = Some("13.2.1".into())),
                "warn  citus 127.0.0.1:5432: 13.2.1 leaks",
            ),
            (
                Box::new(|f| f.citus = Some("13.0.3".into())),
                "warn  citus ",
            ),
            (Box::new(|f| f.citus = None), "fail  citus "),
            (
                Box::new(set("shared_preload_libraries", "pg_stat_statements, citus")),
                "fail  shared_preload_libraries ",
            ),
            (
                Box::new(set("wal_level", "replica")),
                "fail  wal_level 127.0.0.1:5432: replica",
            ),
            (
                Box::new(set("output_plugin_libraries", "pgoutput")),
                "fail  output_plugin_libraries ",
            ),
            (
                Box::new(set("max_wal_senders", "10")),
                "warn  max_wal_senders ",
            ),
            (
                Box::new(set("citus.stat_tenants_track", "none")),
                "warn  citus.stat_tenants_track ",
            ),
            (
                Box::new(set("max_connections", "30")),
                "fail  max_connections ",
            ),
            (
                Box::new(set("max_connections", "50")),
                "warn  max_connections ",
            ),
            (
                Box::new(|f| f.skew = TimeDelta::seconds(-30)),
                "warn  clock 127.0.0.1:5432: -30000 ms",
            ),
            (Box::new(|f| f.skew = TimeDelta::minutes(5)), "fail  clock "),
            (
                Box::new(|f| f.disk = Some((5 << 30, 100 << 30))),
                "warn  disk ",
            ),
            (
                Box::new(|f| f.disk = Some((1 << 30, 100 << 30))),
                "fail  disk ",
            ),
        ];
        for (change, start) in cases {
            let lines = wrong(change);
            assert!(
                matches!(lines.as_slice(), [line] if line.starts_with(start)),
                "{start}: {lines:?}"
            );
        }
    }

    #[test]
    fn a_network_is_to_be_encrypted() {
        let line = |tls: Option<&str>, verified| {
            let (mut facts, mut report) = (healthy(), Report::default());
            (facts.tls, facts.verified) = (tls.map(str::to_owned), verified);
            encryption("pg-1:5432", "pg-1", &facts, &mut report);
            report.lines().concat()
        };
        assert!(line(None, false).starts_with("warn  tls pg-1:5432: not encrypted"));
        assert!(line(Some("TLSv1.3"), false).starts_with("warn  tls pg-1:5432: TLSv1.3, but"));
        assert!(line(Some("TLSv1.3"), true).starts_with("ok    tls pg-1:5432: TLSv1.3, the"));
        assert!(is_here("::1") && is_here("localhost") && !is_here("10.0.0.1"));
    }
}
