//! What an operation costs in statements, pinned: on Citus planning and round trips are the cost,
//! so a statement more is a defect until a measurement says otherwise (docs/decisions/0004 and
//! 0009).

use std::collections::BTreeMap;

use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use sheaf_local::CitusMode;

use crate::api::{Api, Tenant};
use crate::command::cluster::Rig;
use crate::crash::under_load::{connect, forget_statements};

const TENANTS: usize = 12;
const CREATES: u32 = 600;
/// Requests in flight. Payments of a hundredth each come to the whole.
const AT_ONCE: usize = 100;

/// Calls of each statement in the product's database, over all workers.
fn calls(rig: &Rig) -> BTreeMap<String, u32> {
    let mut calls = BTreeMap::new();
    for url in &rig.local.node_urls()[1..] {
        let client = connect(rig, url);
        let sql = "select lower(query), calls from pg_stat_statements s join pg_database d on \
            d.oid = s.dbid \
                   where d.datname = current_database() and toplevel";
        for row in rig.runtime.block_on(client.query(sql, &[])).unwrap() {
            let count: i64 = row.get(1);
            *calls.entry(row.get::<_, String>(0)).or_default() += u32::try_from(count).unwrap();
        }
    }
    calls
}

fn sum(calls: &BTreeMap<String, u32>, part: &str) -> u32 {
    let with = calls.iter().filter(|(query, _)| query.contains(part));
    with.map(|(_, count)| count).sum()
}

fn forget(rig: &Rig) {
    for url in &rig.local.node_urls()[1..] {
        forget_statements(rig, url);
    }
}

async fn create(http: &Client, url: &str, tenant: &Tenant) -> String {
    let body = json!({"currency": "EUR", "status": "issued", "lines": [{"description": "d",
        "quantity": "1", "unit_price": "2"}]});
    let request = http.post(format!("{url}/v1/invoices")).json(&body);
    let answer = request.bearer_auth(&tenant.key).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    let made: Value = answer.json().await.unwrap();
    made["id"].as_str().unwrap().to_owned()
}

async fn read(http: &Client, url: &str, tenant: &Tenant, id: &str) {
    let request = http.get(format!("{url}/v1/invoices/{id}"));
    let answer = request.bearer_auth(&tenant.key).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

/// A hundredth part of what [`create`] made.
async fn pay(http: &Client, url: &str, tenant: &Tenant, id: &str, n: usize) {
    let request = http.post(format!("{url}/v1/invoices/{id}/payments"));
    let body = json!({"reference": format!("p-{n}"), "amount": "0.02", "paid_on": "2026-01-01",
        "method": "card"});
    let answer = request
        .bearer_auth(&tenant.key)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 201);
}

#[test]
fn citus_operations_take_no_more_statements_than_they_did() {
    let mut rig = Rig::start_with(CitusMode::Require, 2, "8");
    let mut serving = rig.serve();
    let tenants = Api::new(&rig.env).make_tenants(TENANTS);
    let url = rig.env["SHEAF_URL"].clone();
    let http = Client::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let tenant = |n: u32| tenants[n as usize % TENANTS].clone();
    let many = |count: u32| {
        runtime.block_on(async {
            let mut ids = Vec::new();
            let mut waiting = tokio::task::JoinSet::new();
            for n in 0..count {
                if waiting.len() >= AT_ONCE {
                    ids.push(waiting.join_next().await.unwrap().unwrap());
                }
                let (http, url, tenant) = (http.clone(), url.clone(), tenant(n));
                waiting.spawn(async move { (n, create(&http, &url, &tenant).await) });
            }
            ids.extend(waiting.join_all().await);
            ids
        })
    };
    // Connections, credentials and prepared statements.
    many(CREATES / 2);

    forget(&rig);
    let ids = many(CREATES);
    let ran = calls(&rig);
    let (inserts, commits) = (sum(&ran, "insert into"), sum(&ran, "commit"));
    eprintln!("{CREATES} creates: {inserts} inserts, {commits} transactions: {ran:?}");
    assert!(commits > 0 && inserts > 0, "pg_stat_statements sees them");
    assert!(
        commits * 5 <= CREATES,
        "a transaction is shared by five creates or more"
    );
    assert!(
        inserts <= CREATES * 3 / 2,
        "three tables, but a statement is shared as well"
    );
    assert_eq!(
        sum(&ran, "select tenant_id"),
        0,
        "a create without keys asks nothing"
    );

    // One create with nobody to share with: three tables in one transaction, and one lock.
    forget(&rig);
    runtime.block_on(create(&http, &url, &tenants[0]));
    let ran = calls(&rig);
    assert_eq!(sum(&ran, "insert into"), 3, "{ran:?}");
    assert_eq!(sum(&ran, "sheaf_hold_shards"), 1, "{ran:?}");
    assert_eq!(sum(&ran, "commit"), 1, "{ran:?}");

    // One read with nobody to share with: three selects at one snapshot.
    forget(&rig);
    let (n, id) = &ids[0];
    runtime.block_on(read(&http, &url, &tenant(*n), id));
    let ran = calls(&rig);
    assert_eq!(sum(&ran, "select tenant_id"), 3, "{ran:?}");
    assert_eq!(sum(&ran, "commit"), 1, "{ran:?}");

    // Many reads share them.
    forget(&rig);
    runtime.block_on(async {
        let mut reads = tokio::task::JoinSet::new();
        for (n, id) in ids.iter().take(AT_ONCE).cloned() {
            let (http, url, tenant) = (http.clone(), url.clone(), tenant(n));
            reads.spawn(async move { read(&http, &url, &tenant, &id).await });
        }
        reads.join_all().await;
    });
    let ran = calls(&rig);
    let (selects, snapshots) = (sum(&ran, "select tenant_id"), sum(&ran, "commit"));
    eprintln!("{AT_ONCE} reads: {selects} selects, {snapshots} snapshots");
    assert!(selects < 3 * u32::try_from(AT_ONCE).unwrap(), "{ran:?}");

    // One payment with nobody to share with: invoice, lines and payments are read behind one lock;
    // one update, and one insert each for payment and event.
    runtime.block_on(pay(&http, &url, &tenant(ids[0].0), &ids[0].1, 0));
    forget(&rig);
    runtime.block_on(pay(&http, &url, &tenant(ids[1].0), &ids[1].1, 0));
    let ran = calls(&rig);
    let of = |part: &str| sum(&ran, part);
    assert_eq!((of("for update"), of("commit")), (1, 1), "{ran:?}");
    assert_eq!(
        (
            of("select tenant_id"),
            of("update invoices"),
            of("insert into")
        ),
        (3, 1, 2),
        "{ran:?}"
    );

    // Many payments on one invoice are few updates of it.
    forget(&rig);
    runtime.block_on(async {
        let mut payments = tokio::task::JoinSet::new();
        for n in 1..=AT_ONCE {
            let (http, url, (owner, id)) = (http.clone(), url.clone(), ids[2].clone());
            let tenant = tenant(owner);
            payments.spawn(async move { pay(&http, &url, &tenant, &id, n).await });
        }
        payments.join_all().await;
    });
    let ran = calls(&rig);
    let (updates, commits) = (sum(&ran, "update invoices"), sum(&ran, "commit"));
    eprintln!("{AT_ONCE} payments: {updates} updates, {commits} transactions");
    assert!(
        updates > 0 && updates * 5 <= u32::try_from(AT_ONCE).unwrap(),
        "{ran:?}"
    );
    assert_eq!(serving.end(Signal::TERM).code(), Some(0));
    rig.runtime.block_on(rig.local.stop()).unwrap();
}
