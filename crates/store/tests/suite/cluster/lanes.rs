//! A tenant whose rows are locked waits in a lane of its own, and nobody else with it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use sheaf_model::TenantId;
use sheaf_model::invoice::lifecycle::NewPayment;
use sheaf_store::{
    Changed, ClusterError, Command, CreateError, Created, NewChange, NewInvoice, Origin, Store,
    StoreConfig, StoreError,
};
use uuid::Uuid;

use crate::support::{now, raw, simple, store, tenant};

/// Longer than all of it takes on a busy machine; waiting for a lock once a request would take far
/// longer.
const LONG: Duration = Duration::from_secs(60);
/// Requests of neighbours while rows are locked.
const REQUESTS: usize = 40;

/// A store with one lane a node for each kind of work: whatever stands in it stops all.
async fn one_lane() -> Store {
    drop(store().await);
    let mut config = StoreConfig::new(sheaf_local::test_env().database_url);
    config.flushes_per_node = 1;
    Store::connect(config).await.unwrap()
}

fn invoice(tenant: TenantId, external_id: Option<&str>) -> NewInvoice {
    simple(
        tenant,
        json!({"issue_date": "2024-05-05", "external_id": external_id}),
    )
}

async fn create(store: &Store, new: NewInvoice) -> Uuid {
    match store.create_invoice(new).await.unwrap() {
        Created::New(invoice) => invoice.id,
        other @ Created::Replay(_) => panic!("{other:?}"),
    }
}

fn pay(tenant_id: TenantId, invoice_id: Uuid, reference: &str) -> NewChange {
    NewChange {
        tenant_id,
        invoice_id,
        command: Command::Pay(NewPayment {
            reference: reference.to_owned(),
            amount: "0.01".parse().unwrap(),
            paid_on: "2024-06-01".parse().unwrap(),
            method: "card".to_owned(),
        }),
        expected: None,
        origin: Origin::new("test", "test"),
        idem: None,
        now: now(),
    }
}

/// Enough tenants that each node has some, with an invoice each.
async fn neighbours(store: &Store) -> Vec<(TenantId, Uuid)> {
    let mut neighbours = Vec::new();
    for _ in 0..6 {
        let tenant = tenant(store).await;
        neighbours.push((tenant, create(store, invoice(tenant, None)).await));
    }
    neighbours
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_that_wait_for_an_open_upload_stop_no_neighbour() {
    let store = one_lane().await;
    let (hostile, others) = (tenant(&store).await, neighbours(&store).await);
    let years = BTreeSet::from([2024]);
    let mut upload = store.begin_atomic(Some(hostile), &years).await.unwrap();
    let chunk = vec![invoice(hostile, Some("taken"))];
    upload.write(chunk).await.unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (store, new) = (store.clone(), invoice(hostile, Some("taken")));
            tokio::spawn(async move { store.create_invoice(new).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let quiet = async {
        for (other, _) in others.iter().cycle().take(REQUESTS) {
            create(&store, invoice(*other, None)).await;
        }
        // The same tenant's other work neither.
        create(&store, invoice(hostile, Some("free"))).await;
    };
    tokio::time::timeout(LONG, quiet)
        .await
        .expect("neighbours wait for nobody");
    upload.commit(None).await.unwrap();
    for created in waiting {
        match created.await.unwrap() {
            Err(CreateError::DuplicateExternalId { .. }) => {}
            // It waited for as long as anybody may.
            Err(CreateError::Store(StoreError::Cluster(ClusterError::Contended { .. }))) => {}
            other => panic!("{other:?}"),
        }
    }
    let again = store.create_invoice(invoice(hostile, Some("taken"))).await;
    assert!(
        matches!(again, Err(CreateError::DuplicateExternalId { .. })),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_a_row_stop_no_neighbour() {
    let store = one_lane().await;
    let (hostile, others) = (tenant(&store).await, neighbours(&store).await);
    let locked = create(&store, invoice(hostile, None)).await;
    let free = create(&store, invoice(hostile, None)).await;
    let db = raw().await;
    db.batch_execute("begin").await.unwrap();
    let lock = "select id from invoices where tenant_id = $1 and id = $2 for update";
    db.query_one(lock, &[&hostile.0, &locked]).await.unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let (store, change) = (store.clone(), pay(hostile, locked, &format!("w{n}")));
            tokio::spawn(async move { store.change_invoice(change).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let quiet = async {
        for (n, (other, invoice)) in others.iter().cycle().take(REQUESTS).enumerate() {
            let change = pay(*other, *invoice, &format!("p{n}"));
            store.change_invoice(change).await.unwrap();
        }
        let change = pay(hostile, free, "p");
        store.change_invoice(change).await.unwrap();
    };
    tokio::time::timeout(LONG, quiet)
        .await
        .expect("neighbours wait for nobody");
    drop(db);
    for (n, changed) in waiting.into_iter().enumerate() {
        if changed.await.unwrap().is_err() {
            // It waited for as long as anybody may, and was not done.
            let change = pay(hostile, locked, &format!("w{n}"));
            let changed = store.change_invoice(change).await.unwrap();
            assert!(matches!(changed, Changed::New(_)), "{changed:?}");
        }
    }
    let stored = raw().await;
    let paid = "select amount_paid::text from invoices where tenant_id = $1 and id = $2";
    let row = stored
        .query_one(paid, &[&hostile.0, &locked])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "0.0400");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_move_is_noticed() {
    drop(store().await);
    let mut config = StoreConfig::new(sheaf_local::test_env().database_url);
    config.flushes_per_node = 1;
    config.queue_stall = Duration::from_millis(100);
    let store = Store::connect(config).await.unwrap();
    let start = |tenant, invoice, reference: &str| {
        let (store, pay) = (store.clone(), pay(tenant, invoice, reference));
        tokio::spawn(async move { store.change_invoice(pay).await })
    };
    // Until the first payment has a lane of its own, the second waits behind it: for a second, in
    // which nobody may look on a busy machine.
    let mut seen = false;
    for _ in 0..20 {
        let tenant = tenant(&store).await;
        let invoice = create(&store, invoice(tenant, None)).await;
        assert_eq!(store.stalled_queue(), None);
        let lock = raw().await;
        lock.batch_execute("begin").await.unwrap();
        let row = "select id from invoices where tenant_id = $1 and id = $2 for update";
        lock.query_one(row, &[&tenant.0, &invoice]).await.unwrap();
        let running = start(tenant, invoice, "a");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let waiting = start(tenant, invoice, "b");
        for _ in 0..100 {
            seen |= store.stalled_queue() == Some("changes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Whoever waits in a lane of its own is no reason.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(store.stalled_queue(), None);
        drop(lock);
        running.await.unwrap().unwrap();
        waiting.await.unwrap().unwrap();
        if seen {
            return;
        }
    }
    panic!("nobody noticed");
}

/// What comes while others of its tenant wait is not kept waiting for them as well.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_a_lane_of_its_own_waits_longer_than_one_may() {
    const PATIENCE: Duration = Duration::from_secs(4);
    drop(store().await);
    let mut config = StoreConfig::new(sheaf_local::test_env().database_url);
    config.cluster.lock_patience = PATIENCE;
    let store = Store::connect(config).await.unwrap();
    let hostile = tenant(&store).await;
    let locked = create(&store, invoice(hostile, None)).await;
    let db = raw().await;
    db.batch_execute("begin").await.unwrap();
    let lock = "select id from invoices where tenant_id = $1 and id = $2 for update";
    db.query_one(lock, &[&hostile.0, &locked]).await.unwrap();
    // Each comes when those before it have waited for some of their time.
    let mut waiting = Vec::new();
    for n in 0..6 {
        let (store, change) = (store.clone(), pay(hostile, locked, &format!("w{n}")));
        waiting.push(tokio::spawn(async move {
            let came = Instant::now();
            let told = store.change_invoice(change).await;
            (told, came.elapsed())
        }));
        tokio::time::sleep(PATIENCE / 3).await;
    }
    let mut longest = Duration::ZERO;
    for change in waiting {
        let (told, took) = change.await.unwrap();
        assert!(
            matches!(&told, Err(error) if error.to_string().contains("others keep changing")),
            "{told:?}"
        );
        longest = longest.max(took);
    }
    // And one attempt at the row, which is waited for a second by; and what a busy machine makes of
    // that.
    assert!(
        longest >= PATIENCE && longest < PATIENCE + PATIENCE / 2 + Duration::from_millis(500),
        "{longest:?}"
    );
    drop(db);
}

/// A store that closes serves what it has taken, also what waits in a lane of its own: nobody else
/// would.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_of_its_own_serves_what_it_took_when_the_store_closes() {
    let store = one_lane().await;
    let hostile = tenant(&store).await;
    let locked = create(&store, invoice(hostile, None)).await;
    let db = raw().await;
    db.batch_execute("begin").await.unwrap();
    let lock = "select id from invoices where tenant_id = $1 and id = $2 for update";
    db.query_one(lock, &[&hostile.0, &locked]).await.unwrap();
    let change = |reference: &str| {
        let (store, change) = (store.clone(), pay(hostile, locked, reference));
        tokio::spawn(async move { store.change_invoice(change).await })
    };
    // The first makes the lane and waits in it; the others come behind it.
    let mut waiting = vec![change("first")];
    tokio::time::sleep(Duration::from_secs(3)).await;
    waiting.extend((0..4).map(|n| change(&format!("w{n}"))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    while store.create_invoice(invoice(hostile, None)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!closing.is_finished(), "what was taken waits");
    db.batch_execute("rollback").await.unwrap();
    for change in waiting {
        let told = tokio::time::timeout(LONG, change).await;
        let told = told.expect("it is served").unwrap();
        assert!(matches!(told, Ok(Changed::New(_))), "{told:?}");
    }
    tokio::time::timeout(LONG, closing).await.unwrap().unwrap();
}
