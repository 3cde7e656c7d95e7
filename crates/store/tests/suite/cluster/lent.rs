//! What one tenant does beside the queues leaves connections to creates, to reads and to other
//! tenants.

use std::time::Duration;

use serde_json::json;
use sheaf_model::customer::{CustomerFields, new_customer};
use sheaf_store::{
    Cause, ClusterError, CreateOutcome, Created, CustomerError, CustomerFilter, Full, ListFilter,
    Origin, Store, StoreConfig, StoreError,
};
use tokio::task::JoinSet;

use crate::support::{now, raw, simple, store, tenant};

/// Connections of the store under test.
const CONNECTIONS: usize = 8;
/// Requests of one tenant, far more than there are connections.
const REQUESTS: usize = 40;
/// What nobody stands in the way of takes no longer, also beside a compiler; what waits for a
/// connection takes 20 s.
const SOON: Duration = Duration::from_secs(10);

async fn small_store() -> Store {
    // Migrates, should no other test have done so.
    drop(store().await);
    let mut config = StoreConfig::new(sheaf_local::test_env().database_url);
    config.cluster.max_connections_per_node = CONNECTIONS;
    config.cluster.acquire_timeout = Duration::from_secs(20);
    Store::connect(config).await.unwrap()
}

fn cause() -> Cause {
    Cause::new(Origin::new("test", "test"), now())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_tenant_leave_connections_to_creates_and_to_others() {
    let store = small_store().await;
    let hostile = tenant(&store).await;
    let fields = new_customer(br#"{"name": "Ada"}"#).unwrap();
    let by = cause();
    let made = store.create_customer(hostile, &fields, &by, None, |_| Vec::new());
    let CreateOutcome::Created(customer) = made.await.unwrap() else {
        panic!("a replay")
    };
    // Whoever changes the customer waits for this, with a connection in its hands.
    let mut other = raw().await;
    let held = other.transaction().await.unwrap();
    held.query(
        "select id from customers where tenant_id = $1 and id = $2 for update",
        &[&hostile.0, &customer.id],
    )
    .await
    .unwrap();
    let mut changes = JoinSet::new();
    for n in 0..REQUESTS {
        let (store, id) = (store.clone(), customer.id);
        changes.spawn(async move {
            let by = cause();
            let renamed = move |old: &CustomerFields| {
                let mut fields = old.clone();
                fields.customer.name = format!("Ada {n}");
                Ok(fields)
            };
            store.update_customer(hostile, id, None, &by, renamed).await
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // All nodes have one of these, and the hostile tenant creates as before.
    let mut tenants = vec![hostile];
    for _ in 0..8 {
        tenants.push(tenant(&store).await);
    }
    for tenant in tenants {
        let served = async {
            let created = store.create_invoice(simple(tenant, json!({}))).await;
            let Created::New(invoice) = created.unwrap() else {
                panic!("a replay")
            };
            assert!(
                store
                    .get_invoice(tenant, invoice.id)
                    .await
                    .unwrap()
                    .is_some()
            );
            if tenant != hostile {
                let filter = ListFilter::default();
                let page = store.list_invoices(tenant, &filter, None, 10).await;
                assert_eq!(page.unwrap().items.len(), 1);
                let filter = CustomerFilter::default();
                let page = store.list_customers(tenant, &filter, None, 10).await;
                assert!(page.unwrap().items.is_empty());
            }
        };
        tokio::time::timeout(SOON, served).await.expect("an answer");
    }
    held.rollback().await.unwrap();
    // Who waited is served, or was told that it asks for too much at once.
    let mut done = 0;
    while let Some(change) = changes.join_next().await {
        match change.unwrap() {
            Ok(_) => done += 1,
            Err(CustomerError::Store(
                StoreError::Cluster(ClusterError::Busy(Full::Tenant))
                | StoreError::Cluster(ClusterError::Contended { .. }),
            )) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(done > 0);
    // All that was lent is back.
    for _ in 0..2 * CONNECTIONS {
        store.get_customer(hostile, customer.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_one_tenant_leave_connections_to_its_creates_and_to_others() {
    let store = small_store().await;
    let [hostile, quiet] = [tenant(&store).await, tenant(&store).await];
    // Held for as long as a client reads an export, for example.
    let mut snapshots = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(taken) = tokio::time::timeout(patience, store.tenant_snapshot(hostile)).await {
        snapshots.push(taken.unwrap());
        assert!(snapshots.len() < CONNECTIONS, "no bound");
    }
    assert!(!snapshots.is_empty());
    for tenant in [hostile, quiet] {
        let served = async {
            store
                .create_invoice(simple(tenant, json!({})))
                .await
                .unwrap();
            let filter = ListFilter::default();
            let page = store.list_invoices(tenant, &filter, None, 10).await;
            assert_eq!(page.unwrap().items.len(), 1);
        };
        tokio::time::timeout(SOON, served).await.expect("an answer");
    }
    let taken = tokio::time::timeout(SOON, store.tenant_snapshot(quiet)).await;
    drop(taken.expect("a snapshot of another tenant").unwrap());
    // One that is given back is somebody's again.
    snapshots.pop();
    let taken = tokio::time::timeout(SOON, store.tenant_snapshot(hostile)).await;
    drop(taken.expect("a snapshot").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_several_tenants_leave_connections_to_requests() {
    let store = small_store().await;
    let (first, second) = (tenant(&store).await, tenant(&store).await);
    let years = [2024].into();
    let line = |tenant, external_id: &str| {
        let members = json!({"issue_date": "2024-05-05", "external_id": external_id});
        simple(tenant, members)
    };
    // Transactions that stay open, and chunks that wait for what is written in them.
    let mut open = Vec::new();
    for (owner, external_id) in [(first, "a"), (second, "a")] {
        let mut upload = store.begin_atomic(Some(owner), &years).await.unwrap();
        upload.write(vec![line(owner, external_id)]).await.unwrap();
        open.push(upload);
    }
    let mut waiting = JoinSet::new();
    for owner in [first, second] {
        for _ in 0..5 {
            let (store, chunk) = (store.clone(), vec![line(owner, "a")]);
            waiting.spawn(async move { store.write_chunk(chunk).await });
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // All nodes have one of these.
    let filter = CustomerFilter::default();
    for _ in 0..8 {
        let quiet = tenant(&store).await;
        let listed = store.list_customers(quiet, &filter, None, 10);
        let listed = tokio::time::timeout(SOON, listed).await;
        listed.expect("requests wait for no upload").unwrap();
    }
    drop(open);
    while let Some(written) = waiting.join_next().await {
        // Whoever has waited for as long as anybody may is told so.
        if let Err(error) = written.unwrap() {
            assert!(
                matches!(
                    error,
                    StoreError::Cluster(ClusterError::Contended { .. })
                        | StoreError::Cluster(ClusterError::Busy(_))
                ),
                "{error:?}"
            );
        }
    }
}
