//! PostgreSQL: the hosts of the URLs, the nodes of the cluster, the schema, and what the logins may
//! do.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use sheaf_store::{DatabaseFacts, Inspector, Member, NodeAddress, NodeFacts, Rights, StoreError};

use super::node::{self, Expected};
use super::report::Report;
use crate::settings::{DoctorSettings, set};

const OWNER: &str = "SHEAF_DATABASE_URL";
/// Rights that are missing and named.
const NAMED: usize = 3;
const API: &str = "SHEAF_API_DATABASE_URL";

pub(super) async fn look(settings: &DoctorSettings, patience: Duration, report: &mut Report) {
    let owner = set(settings.database_url.as_deref());
    let api = set(settings.api_database_url.as_deref());
    match (owner, api) {
        (None, None) => report.fail(
            "database",
            None,
            format!("{OWNER} is not set"),
            "set it to postgres://user:password@host:port/database, or start with `sheaf up`",
        ),
        (Some(owner), api) => {
            let nodes = whole(owner, OWNER, settings, patience, report).await;
            match api {
                Some(api) => login(api, nodes, patience, report).await,
                None => {
                    let seen = format!("{API} is not set: `sheaf serve` works as the owner");
                    report.ok("api login", None, seen);
                }
            }
        }
        (None, Some(api)) => {
            report.warn(
                "database",
                None,
                format!("{OWNER} is not set"),
                "`sheaf migrate`, `tier`, `archive` and `cluster` work as the owner",
            );
            whole(api, API, settings, patience, report).await;
        }
    }
}

fn inspector(url: &str, name: &str, patience: Duration, report: &mut Report) -> Option<Inspector> {
    match Inspector::new(url, patience) {
        Ok(inspector) => Some(inspector),
        Err(error) => {
            // The store knows its URL by the owner's name.
            let seen = error.to_string().replace(OWNER, name);
            report.fail("database", None, seen, "");
            None
        }
    }
}

/// Everything that one login can see; the cluster's nodes.
async fn whole(
    url: &str,
    name: &str,
    settings: &DoctorSettings,
    patience: Duration,
    report: &mut Report,
) -> Vec<NodeAddress> {
    let Some(inspector) = inspector(url, name, patience, report) else {
        return Vec::new();
    };
    let mut asked = ask(&inspector, inspector.hosts()).await;
    let is_citus = |(_, facts): &(_, Result<NodeFacts, String>)| {
        facts.as_ref().is_ok_and(|facts| facts.citus.is_some())
    };
    let citus = asked.iter().any(is_citus);
    let is_there = asked.iter().any(|(_, facts)| facts.is_ok());
    let database = match is_there {
        true => Some(sheaf_store::inspect(&inspector, citus).await),
        false => None,
    };
    let members = match &database {
        Some(Ok(database)) => database.members.clone().unwrap_or_default(),
        _ => Vec::new(),
    };
    let others = members.iter().map(|member| member.node.clone());
    let others = others.filter(|node| !asked.iter().any(|(host, _)| host == node));
    asked.extend(ask(&inspector, others.collect()).await);
    let expected = Expected {
        citus,
        connections: settings.max_connections_per_node,
    };
    for (address, answer) in &asked {
        let on = address.to_string();
        match answer {
            Ok(facts) => {
                node::look(&on, &address.host, facts, &expected, report);
                if !citus {
                    node::without_citus(&on, facts, report);
                }
            }
            Err(reason) => report.fail("postgresql", Some(&on), reason, unreachable(reason)),
        }
    }
    alike(&asked, report);
    match database {
        Some(Ok(facts)) => inside(&facts, citus, name, report),
        Some(Err(reason)) => report.fail("database", None, &reason, unreachable(&reason)),
        None => {}
    }
    members.into_iter().map(|member| member.node).collect()
}

async fn ask(
    inspector: &Inspector,
    nodes: Vec<NodeAddress>,
) -> Vec<(NodeAddress, Result<NodeFacts, String>)> {
    let asked = nodes.into_iter().map(async |node| {
        let answer = inspector.node(&node).await;
        (node, answer)
    });
    join_all(asked).await
}

/// What helps where a node does not let us in, by its own words.
fn unreachable(reason: &str) -> &'static str {
    if reason.contains("password") || reason.contains("28P01") {
        "the user or the password of the URL is wrong"
    } else if reason.contains("no answer") {
        "it hangs, or something in between drops what is sent: look at the node, its firewall, and \
        the port"
    } else if reason.contains("pg_hba") || reason.contains("28000") {
        "let this machine in by pg_hba.conf on that node"
    } else if reason.contains("3D000") {
        "create the database, or name another one in the URL"
    } else if reason.contains("refused") {
        "start PostgreSQL there, or correct the host and the port"
    } else if reason.contains("lookup") {
        "correct the host of the URL, or let this machine's DNS know it"
    } else {
        "see docs/operations.md, Encryption and several hosts"
    }
}

/// Nodes of one cluster have the same versions, and the same time zone.
fn alike(asked: &[(NodeAddress, Result<NodeFacts, String>)], report: &mut Report) {
    let known: Vec<&NodeFacts> = asked
        .iter()
        .filter_map(|(_, facts)| facts.as_ref().ok())
        .collect();
    let mut compare = |check: &str, of: &dyn Fn(&NodeFacts) -> Option<String>, advice: &str| {
        let different: BTreeSet<String> = known.iter().filter_map(|facts| of(facts)).collect();
        if different.len() > 1 {
            let different: Vec<String> = different.into_iter().collect();
            let seen = format!("the nodes differ: {}", different.join(", "));
            report.fail(check, None, seen, advice);
        }
    };
    let major = |facts: &NodeFacts| Some((facts.version_num / 10_000).to_string());
    compare(
        "postgresql",
        &major,
        "install the same major version on all nodes",
    );
    let citus = |facts: &NodeFacts| facts.citus.clone();
    compare("citus", &citus, "install the same version on all nodes");
    let zone = |facts: &NodeFacts| Some(facts.settings.get("TimeZone")?.shown.clone());
    compare("time zone", &zone, "set timezone = 'UTC' on all nodes");
}

fn inside(facts: &DatabaseFacts, citus: bool, name: &str, report: &mut Report) {
    schema(&facts.schema, report);
    let has_schema = has_schema(&facts.schema);
    match &facts.rights {
        Err(reason) => report.fail("rights", None, reason, ""),
        Ok(rights) if name == API => api_rights(rights, has_schema, report),
        Ok(rights) => owner_rights(rights, has_schema, citus, report),
    }
    if !citus {
        return;
    }
    match &facts.members {
        Err(reason) => report.fail("cluster", None, reason, ""),
        Ok(members) => cluster(members, report),
    }
    match &facts.undistributed {
        Err(reason) => report.fail("tables", None, reason, ""),
        Ok(_) if !has_schema => {}
        Ok(missing) if missing.is_empty() => report.ok("tables", None, "all are distributed"),
        Ok(missing) => {
            let seen = format!("not distributed: {}", missing.join(", "));
            report.fail("tables", None, seen, "run `sheaf migrate`");
        }
    }
    match &facts.cannot_connect {
        Err(reason) => report.fail(
            "logins between nodes",
            None,
            format!("not known: {reason}"),
            "a node that is away or hangs is named above",
        ),
        Ok(pairs) if pairs.is_empty() => {
            report.ok(
                "logins between nodes",
                None,
                "every node logs in to every other",
            );
        }
        Ok(pairs) => {
            for (from, to) in pairs {
                report.fail(
                    "logins between nodes",
                    Some(&from.to_string()),
                    format!("cannot log in to {to}: moves between them would fail"),
                    "see pg_hba.conf there, and the password file or pg_dist_authinfo here",
                );
            }
        }
    }
}

/// Whether there is one at all, whatever its version.
fn has_schema(found: &Result<i32, StoreError>) -> bool {
    !matches!(found, Err(StoreError::SchemaTooOld { found: 0, .. }))
}

fn schema(found: &Result<i32, StoreError>, report: &mut Report) {
    match found {
        Ok(version) => {
            report.ok(
                "schema",
                None,
                format!("version {version}, which this binary fits"),
            );
        }
        Err(StoreError::SchemaTooOld { found: 0, .. }) => {
            report.fail("schema", None, "there is none", "run `sheaf migrate`");
        }
        Err(error) => report.fail("schema", None, error.to_string(), ""),
    }
}

fn owner_rights(rights: &Rights, has_schema: bool, citus: bool, report: &mut Report) {
    let check = "owner";
    let kind = match rights.superuser {
        true => "a superuser",
        false => "no superuser",
    };
    if has_schema && !rights.owner {
        let seen = format!("{} does not own the tables", rights.name);
        report.fail(
            check,
            None,
            seen,
            format!("{OWNER} is that of the user who migrated"),
        );
    } else if citus && !rights.superuser {
        let seen = format!("{} is no superuser", rights.name);
        report.warn(check, None, seen, "`sheaf cluster` needs one");
    } else {
        report.ok(check, None, format!("{}, {kind}", rights.name));
    }
    if has_schema {
        match rights.has_api_role {
            true => report.ok("role sheaf_api", None, "there"),
            false => report.warn(
                "role sheaf_api",
                None,
                "missing",
                "create role sheaf_api nologin; then run `sheaf migrate`, which grants",
            ),
        }
    }
}

fn api_rights(rights: &Rights, has_schema: bool, report: &mut Report) {
    let (check, name) = ("api login", &rights.name);
    if !has_schema {
        return;
    }
    if !rights.missing.is_empty() {
        let named: Vec<&str> = rights
            .missing
            .iter()
            .map(String::as_str)
            .take(NAMED)
            .collect();
        let more = match rights.missing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let seen = format!("{name} lacks {}{more}", named.join(", "));
        let advice = match rights.api_member {
            true => "run `sheaf migrate` as the owner, which grants".to_owned(),
            false => format!("grant sheaf_api to {name}"),
        };
        return report.fail(check, None, seen, advice);
    }
    if !rights.sees_activity {
        let seen = format!(
            "{name} does not see the transactions of others: the feed could leave out events"
        );
        return report.fail(check, None, seen, "grant pg_read_all_stats to sheaf_api");
    }
    if rights.changes_events {
        let seen = format!("{name} may change events");
        return report.warn(
            check,
            None,
            seen,
            "use a login that is a member of sheaf_api and owns nothing",
        );
    }
    let seen = format!("{name} may do what the API does, and cannot change events");
    report.ok(check, None, seen);
}

fn cluster(members: &[Member], report: &mut Report) {
    if !members.iter().any(|member| member.coordinator) {
        report.warn(
            "coordinator",
            None,
            "it does not know its own address, so no worker can join",
            "select citus_set_coordinator_host('<host>', <port>) on it",
        );
    }
    if !members
        .iter()
        .any(|member| member.active && member.should_have_shards)
    {
        report.fail(
            "cluster",
            None,
            "no node may hold shards",
            "`sheaf cluster add-node` lets one in",
        );
    }
    for member in members {
        let (check, on) = match member.coordinator {
            true => ("coordinator", member.node.to_string()),
            false => ("worker", member.node.to_string()),
        };
        let NodeAddress { host, port } = &member.node;
        if !member.active {
            let advice = format!("select citus_activate_node('{host}', {port}) on the coordinator");
            report.fail(check, Some(&on), "Citus does not count on it", advice);
        } else if !member.metadata {
            let advice =
                format!("select start_metadata_sync_to_node('{host}', {port}) on the coordinator");
            report.fail(check, Some(&on), "it has not all metadata", advice);
        } else {
            let shards = match member.should_have_shards {
                true => "may hold shards",
                false => "holds no shards",
            };
            report.ok(check, Some(&on), format!("active, with metadata, {shards}"));
        }
    }
}

/// The API's own login: what it may do, and whether every node lets it in.
async fn login(url: &str, nodes: Vec<NodeAddress>, patience: Duration, report: &mut Report) {
    let Some(inspector) = inspector(url, API, patience, report) else {
        return;
    };
    match sheaf_store::inspect(&inspector, false).await {
        Err(reason) => report.fail("api login", None, &reason, unreachable(&reason)),
        Ok(facts) => match &facts.rights {
            Err(reason) => report.fail("api login", None, reason, ""),
            Ok(rights) => api_rights(rights, has_schema(&facts.schema), report),
        },
    }
    for (address, answer) in ask(&inspector, nodes).await {
        let on = address.to_string();
        match answer {
            Ok(_) => report.ok("api login", Some(&on), "let in"),
            Err(reason) => report.fail("api login", Some(&on), &reason, unreachable(&reason)),
        }
    }
}
