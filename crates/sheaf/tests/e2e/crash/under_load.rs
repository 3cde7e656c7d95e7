//! What a cluster may go through while clients work: it grows, shards move and split, a worker
//! dies, the coordinator is away. Nothing that was answered is lost or doubled, and nobody but the
//! tenants of a dead node notices.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sheaf_local::CitusMode;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::api::{Api, Tenant};
use crate::command::cluster::{Rig, port_of};
use crate::load::{Call, Load, made, quantile};

const TENANTS: usize = 24;
/// How long a new place of a tenant may stay unknown to the API.
const ROUTES_FOLLOW: Duration = Duration::from_secs(5);

pub fn connect(rig: &Rig, url: &str) -> Client {
    rig.runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    })
}

/// Every answered create is there once, nothing else is, and each has its lines and its event.
fn audit(rig: &Rig, tenants: &[Tenant], calls: &[Call]) {
    let client = connect(rig, rig.local.database_url());
    let answered = made(calls);
    assert!(answered.len() == tenants.len(), "every tenant was served");
    for (tenant, ids) in answered {
        let tenant: Uuid = tenants[tenant].id.parse().unwrap();
        let answered: BTreeSet<Uuid> = ids.iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(answered.len(), ids.len(), "an id was answered twice");
        let sql = "select i.id, (select count(*) from invoice_lines l where l.tenant_id = $1 and \
            l.invoice_id = i.id), \
                   (select count(*) from events e where e.tenant_id = $1 and e.subject_id = i.id) \
                   from invoices i where i.tenant_id = $1";
        let rows = rig.runtime.block_on(client.query(sql, &[&tenant])).unwrap();
        let stored: BTreeSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(stored.len(), rows.len());
        assert_eq!(stored, answered, "lost or doubled, of tenant {tenant}");
        for row in &rows {
            assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (2, 1));
        }
    }
}

/// The owner's port of each tenant.
fn owners(rig: &Rig, tenants: &[Tenant]) -> Vec<String> {
    let client = connect(rig, rig.local.database_url());
    let sql = "select n.nodeport from pg_dist_placement p join pg_dist_node n using (groupid) \
               where p.shardid = get_shard_id_for_distribution_column('invoices', $1::uuid)";
    tenants
        .iter()
        .map(|tenant| {
            let id: Uuid = tenant.id.parse().unwrap();
            let row = rig.runtime.block_on(client.query_one(sql, &[&id])).unwrap();
            row.get::<_, i32>(0).to_string()
        })
        .collect()
}

/// Forgets what a node has run.
pub fn forget_statements(rig: &Rig, url: &str) {
    let client = connect(rig, url);
    rig.runtime
        .block_on(client.batch_execute("select pg_stat_statements_reset()"))
        .unwrap();
}

/// Statements on invoices and what belongs to them, as a node has counted them.
fn statements(rig: &Rig, url: &str) -> Vec<String> {
    let client = connect(rig, url);
    let sql = "select query from pg_stat_statements s join pg_database d on d.oid = s.dbid \
               where d.datname = current_database() and s.calls > 0 and query !~ \
               'pg_stat_statements' \
               and query ~* \
               '(from|into|copy|update)\\s+(public\\.)?(invoices|invoice_lines|payments|events|\
               customers|idempotency_keys|archive_files)'";
    let rows = rig.runtime.block_on(client.query(sql, &[])).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Works for the tenants for a while, and gives what each node ran for it.
fn who_works(
    rig: &Rig,
    urls: &[String],
    name: &str,
    tenants: &[Tenant],
) -> (Vec<Call>, BTreeMap<String, Vec<String>>) {
    for url in urls {
        forget_statements(rig, url);
    }
    let load = Load::start(name, &rig.env["SHEAF_URL"], tenants);
    sleep(Duration::from_secs(1));
    let calls = load.stop();
    let ran = urls.iter().map(|url| (port_of(url), statements(rig, url)));
    (calls, ran.collect())
}

#[test]
fn citus_nothing_is_lost_while_the_cluster_grows_and_shards_move() {
    let mut rig = Rig::start_with(CitusMode::Require, 1, "4");
    let mut serving = rig.serve();
    let api = Api::new(&rig.env);
    let tenants = api.make_tenants(TENANTS);
    let load = Load::start("moves", &rig.env["SHEAF_URL"], &tenants);
    sleep(Duration::from_secs(1));

    let worker = rig.runtime.block_on(rig.local.add_worker()).unwrap();
    let (first, second) = (port_of(&rig.local.node_urls()[1]), worker.port.to_string());
    rig.cluster(&["add-node", "127.0.0.1", &second]).json();
    rig.cluster(&["rebalance"]).json();
    let owners = owners(&rig, &tenants);
    let mover = owners.iter().position(|port| *port == first).unwrap();
    rig.cluster(&["move-tenant", &tenants[mover].id, "127.0.0.1", &second])
        .json();
    let alone = owners.iter().rposition(|port| *port == second).unwrap();
    rig.cluster(&[
        "isolate-tenant",
        &tenants[alone].id,
        "--to",
        "127.0.0.1",
        &first,
    ])
    .json();
    let moved = Instant::now();
    sleep(Duration::from_secs(1));
    let (mut calls, bound) = load.stop_and_bound();

    for call in &calls {
        assert!(matches!(call.status, 200 | 201), "{call:?}");
    }
    let (p99, longest) = (quantile(&calls, 0.99), quantile(&calls, 1.0));
    let retried = calls.iter().filter(|call| !call.retried.is_empty()).count();
    eprintln!(
        "{} calls, {retried} retried, p99 {p99:?}, longest {longest:?}",
        calls.len()
    );
    assert!(p99 < bound, "p99 {p99:?} of {bound:?}");

    // From now on each tenant's work is its owner's alone; the coordinator has none.
    sleep(ROUTES_FOLLOW.saturating_sub(moved.elapsed()));
    let owners = self::owners(&rig, &tenants);
    let of = |port: &str| -> Vec<Tenant> {
        let pairs = tenants.iter().zip(&owners);
        pairs
            .filter(|(_, owner)| *owner == port)
            .map(|(t, _)| t.clone())
            .collect()
    };
    let index = |tenant: &Tenant| tenants.iter().position(|t| t.id == tenant.id).unwrap();
    let mut urls = rig.local.node_urls().to_vec();
    urls.push(worker.url.clone());
    for (port, other) in [(&first, &second), (&second, &first)] {
        let group = of(port);
        let (worked, ran) = who_works(&rig, &urls, port, &group);
        assert!(!ran[port].is_empty(), "pg_stat_statements sees the work");
        assert_eq!(
            ran[other],
            Vec::<String>::new(),
            "work on another node than the owner"
        );
        let coordinator = port_of(rig.local.database_url());
        assert_eq!(
            ran[&coordinator],
            Vec::<String>::new(),
            "work on the coordinator"
        );
        calls.extend(worked.into_iter().map(|call| Call {
            tenant: index(&group[call.tenant]),
            ..call
        }));
    }
    audit(&rig, &tenants, &calls);
    assert_eq!(serving.end(Signal::TERM).code(), Some(0));
    rig.runtime.block_on(rig.local.stop()).unwrap();
}

#[test]
fn citus_a_dead_node_takes_only_its_own_tenants_along() {
    let mut rig = Rig::start_with(CitusMode::Require, 2, "8");
    let mut serving = rig.serve();
    let api = Api::new(&rig.env);
    let tenants = api.make_tenants(TENANTS);
    let owners = owners(&rig, &tenants);
    let victim = port_of(&rig.local.node_urls()[2]);
    let load = Load::start("death", &rig.env["SHEAF_URL"], &tenants);
    sleep(Duration::from_secs(1));
    rig.runtime.block_on(rig.local.kill_node(2)).unwrap();
    sleep(Duration::from_secs(3));
    rig.runtime.block_on(rig.local.start_node(2)).unwrap();
    sleep(Duration::from_secs(2));
    let (mut calls, bound) = load.stop_and_bound();
    for call in &calls {
        assert!(matches!(call.status, 200 | 201), "{call:?}");
        if owners[call.tenant] == victim {
            // Retry-After was there, or the client would not have gone on.
            assert!(call.retried.iter().all(|status| *status == 503), "{call:?}");
        } else {
            assert!(call.retried.is_empty(), "{call:?}");
        }
    }
    assert!(calls.iter().any(|call| !call.retried.is_empty()));
    let others: Vec<Call> = calls
        .extract_if(.., |call| owners[call.tenant] != victim)
        .collect();
    eprintln!(
        "others p99 {:?}, longest {:?}; of the dead node longest {:?}",
        quantile(&others, 0.99),
        quantile(&others, 1.0),
        quantile(&calls, 1.0)
    );
    assert!(quantile(&others, 0.99) < bound, "{bound:?}");
    calls.extend(others);

    // The coordinator is not missed either.
    rig.runtime.block_on(rig.local.stop_node(0)).unwrap();
    let load = Load::start("alone", &rig.env["SHEAF_URL"], &tenants);
    sleep(Duration::from_secs(4));
    let without = load.stop();
    rig.runtime.block_on(rig.local.start_node(0)).unwrap();
    for call in &without {
        assert!(
            call.retried.is_empty() && matches!(call.status, 200 | 201),
            "{call:?}"
        );
    }
    calls.extend(without);
    audit(&rig, &tenants, &calls);
    assert_eq!(serving.end(Signal::TERM).code(), Some(0));
    rig.runtime.block_on(rig.local.stop()).unwrap();
}
