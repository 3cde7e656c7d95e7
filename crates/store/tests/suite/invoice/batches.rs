//! Batches whose members fail: each gets its own answer, and nobody waits for another's archive.

pub(crate) mod broken_archive;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sheaf_model::TenantId;
use sheaf_model::invoice::input::{Body as _, CreditNoteInput};
use sheaf_model::invoice::lifecycle::NewPayment;
use sheaf_store::{
    ChangeError, Changed, ClusterError, Command, CreateError, Created, IdemKey, LineOutcome,
    ListFilter, NewChange, NewInvoice, Origin, Store, StoreConfig, StoreError,
};
use uuid::Uuid;

use crate::support::proxy::{Fault, Proxy};
use crate::support::{execute, now, raw, simple, store, tenant};

/// Longer than anything here takes on a busy machine, and shorter than a test may.
const LONG: Duration = Duration::from_secs(40);
/// SQLSTATE of an I/O error: nothing that is tried again.
const IO_ERROR: &str = "58030";

/// A store whose batches run one after the other.
async fn one_at_a_time(url: String) -> Store {
    let mut config = StoreConfig::new(url);
    config.flushes_per_node = 1;
    config.reads_per_node = 1;
    Store::connect(config).await.unwrap()
}

async fn own_store() -> Store {
    // Migrates, should no other test have done so.
    drop(store().await);
    one_at_a_time(sheaf_local::test_env().database_url).await
}

fn issued(tenant: TenantId) -> NewInvoice {
    simple(tenant, json!({"issue_date": "2024-05-05"}))
}

async fn create(store: &Store, new: NewInvoice) -> Uuid {
    match store.create_invoice(new).await.unwrap() {
        Created::New(invoice) => invoice.id,
        other @ Created::Replay(_) => panic!("{other:?}"),
    }
}

fn change(tenant_id: TenantId, invoice_id: Uuid, command: Command) -> NewChange {
    NewChange {
        tenant_id,
        invoice_id,
        command,
        expected: None,
        origin: Origin::new("test", "test"),
        idem: None,
        now: now(),
    }
}

fn pay(tenant: TenantId, invoice: Uuid) -> NewChange {
    let payment = NewPayment {
        reference: "p".to_owned(),
        amount: "1.00".parse().unwrap(),
        paid_on: "2024-06-01".parse().unwrap(),
        method: "card".to_owned(),
    };
    change(tenant, invoice, Command::Pay(payment))
}

fn credit(tenant: TenantId, invoice: Uuid) -> NewChange {
    let line = json!({"description": "less", "quantity": "1", "unit_price": "1.00"});
    let body = json!({"lines": [line], "issue_date": "2024-06-01"}).to_string();
    let input = CreditNoteInput::parse(body.as_bytes()).unwrap();
    let request = input.check().unwrap();
    change(tenant, invoice, Command::Credit(Box::new(request)))
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("an answer")
}

/// Tenants with an invoice each.
async fn payers(store: &Store, count: usize) -> Vec<(TenantId, Uuid)> {
    let mut payers = Vec::new();
    for _ in 0..count {
        let tenant = tenant(store).await;
        payers.push((tenant, create(store, issued(tenant)).await));
    }
    payers
}

async fn stored_in(db: tokio_postgres::Client, tenant: TenantId) -> i64 {
    let count = "select count(*) from invoices where tenant_id = $1";
    db.query_one(count, &[&tenant.0]).await.unwrap().get(0)
}

async fn stored(tenant: TenantId) -> i64 {
    stored_in(raw().await, tenant).await
}

/// Keeps the next batches of changes waiting: a row of the tenant is locked until this is dropped.
async fn locked(tenant: TenantId, invoice: Uuid) -> tokio_postgres::Client {
    let db = raw().await;
    db.batch_execute("begin").await.unwrap();
    let lock = "select id from invoices where tenant_id = $1 and id = $2 for update";
    db.query_one(lock, &[&tenant.0, &invoice]).await.unwrap();
    db
}

/// Starts changes that come into one batch (on Citus, one a node), and answers them in their order.
async fn in_one_batch(store: &Store, changes: Vec<NewChange>) -> Vec<Result<Changed, ChangeError>> {
    // A change of each node is held up, and the others gather behind it.
    let mut holders = Vec::new();
    let mut locks = Vec::new();
    for (tenant, invoice) in payers(store, 6).await {
        locks.push(locked(tenant, invoice).await);
        let (store, change) = (store.clone(), pay(tenant, invoice));
        holders.push(tokio::spawn(
            async move { store.change_invoice(change).await },
        ));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting: Vec<_> = changes
        .into_iter()
        .map(|change| {
            let store = store.clone();
            tokio::spawn(async move { store.change_invoice(change).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(locks);
    for holder in holders {
        within(holder).await.unwrap().unwrap();
    }
    within(join_all(waiting))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_batch_of_changes_costs_one_request() {
    let store = own_store().await;
    let others = payers(&store, 20).await;
    let (poisoned, invoice) = payers(&store, 1).await[0];
    // No number that we can read: reading it panics.
    let spoil = "update invoices set total = 'NaN' where tenant_id = $1 and id = $2";
    let db = raw().await;
    execute(&db, spoil, &[&poisoned.0, &invoice]).await;
    let mut changes: Vec<_> = others.iter().map(|(t, i)| pay(*t, *i)).collect();
    changes.insert(7, pay(poisoned, invoice));
    for (index, outcome) in in_one_batch(&store, changes).await.into_iter().enumerate() {
        match outcome {
            Err(ChangeError::Store(StoreError::Cluster(ClusterError::Bug(_)))) if index == 7 => {}
            Ok(Changed::New(_)) if index != 7 => {}
            other => panic!("{index}: {other:?}"),
        }
    }
    // And it goes on, on connections that are in no transaction.
    for (tenant, invoice) in others {
        within(store.change_invoice(pay(tenant, invoice)))
            .await
            .expect_err("the reference is taken");
        let all = ListFilter::default();
        let page = store.list_invoices(tenant, &all, None, 2);
        assert_eq!(within(page).await.unwrap().items[0].version, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_batch_of_reads_costs_one_request() {
    let store = own_store().await;
    let others = payers(&store, 20).await;
    let (poisoned, invoice) = payers(&store, 1).await[0];
    let spoil = "update invoices set total = 'NaN' where tenant_id = $1 and id = $2";
    let db = raw().await;
    execute(&db, spoil, &[&poisoned.0, &invoice]).await;
    for _ in 0..3 {
        let mut reads: Vec<_> = others.clone();
        reads.insert(7, (poisoned, invoice));
        let reads = reads.into_iter().map(|(t, i)| store.get_invoice(t, i));
        for (index, read) in within(join_all(reads)).await.into_iter().enumerate() {
            match read {
                Err(StoreError::Cluster(ClusterError::Bug(_))) if index == 7 => {}
                Ok(Some(_)) if index != 7 => {}
                other => panic!("{index}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_batch_of_creates_costs_one_request() {
    let store = own_store().await;
    let (poisoned, invoice) = payers(&store, 1).await[0];
    // No time that we can read: whoever looks the id up panics.
    let spoil = "update invoices set created_at = 'infinity' where tenant_id = $1 and id = $2";
    let db = raw().await;
    execute(&db, spoil, &[&poisoned.0, &invoice]).await;
    let other = tenant(&store).await;
    for _ in 0..3 {
        let mut creates: Vec<_> = (0..40).map(|_| issued(other)).collect();
        creates.insert(7, simple(poisoned, json!({"id": invoice})));
        let creates = creates.into_iter().map(|new| store.create_invoice(new));
        for (index, created) in within(join_all(creates)).await.into_iter().enumerate() {
            match created {
                Err(CreateError::Store(StoreError::Cluster(ClusterError::Bug(_))))
                    if index == 7 => {}
                Ok(Created::New(_)) if index != 7 => {}
                other => panic!("{index}: {other:?}"),
            }
        }
    }
    assert_eq!(stored(other).await, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_fails_alone() {
    let store = own_store().await;
    let others = payers(&store, 20).await;
    let spoilt = payers(&store, 2).await;
    let db = raw().await;
    let spoil = "update invoices set payment_count = 7 where tenant_id = $1 and id = $2";
    for (tenant, invoice) in &spoilt {
        execute(&db, spoil, &[&tenant.0, invoice]).await;
    }
    let mut changes: Vec<_> = others.iter().map(|(t, i)| pay(*t, *i)).collect();
    changes.insert(0, pay(spoilt[0].0, spoilt[0].1));
    changes.push(pay(spoilt[1].0, spoilt[1].1));
    let outcomes = in_one_batch(&store, changes).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            // Its own: the error names the invoice.
            Err(ChangeError::Store(StoreError::Cluster(ClusterError::Corrupt(text))))
                if index == 0 =>
            {
                assert!(text.contains(&spoilt[0].1.to_string()), "{text}");
            }
            Err(ChangeError::Store(StoreError::Cluster(ClusterError::Corrupt(text))))
                if index == 21 =>
            {
                assert!(text.contains(&spoilt[1].1.to_string()), "{text}");
            }
            Ok(Changed::New(_)) if index != 0 && index != 21 => {}
            other => panic!("{index}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_is_not_forgotten_when_its_batch_is_split() {
    let proxy = Proxy::start().await;
    let store = one_at_a_time(proxy.database_url.clone()).await;
    let tenant = tenant(&store).await;
    let new = |n: usize| {
        let mut json = json!({"issue_date": "2024-05-05"});
        if n.is_multiple_of(3) {
            json["external_id"] = format!("e{n}").into();
        }
        simple(tenant, json)
    };
    create(&store, issued(tenant)).await;
    proxy.expect([Fault::LoseCommit, Fault::FailBegin(IO_ERROR)]);
    let outcomes = within(store.write_chunk((0..24).map(new).collect())).await;
    assert_eq!(outcomes.unwrap(), vec![LineOutcome::Created; 24]);
    assert!(proxy.is_quiet());
    assert_eq!(stored_in(proxy.raw().await, tenant).await, 25);

    // Single creates, whose batches are as they come: one that was alone in its own cannot look any
    // more.
    for round in 1..=5 {
        proxy.expect([Fault::LoseCommit, Fault::FailBegin(IO_ERROR)]);
        let creates = (0..40).map(|n| {
            let mut new = new(round * 100 + n);
            if n.is_multiple_of(2) {
                new.idem = Some(IdemKey {
                    key: format!("k{round}-{n}"),
                    fingerprint: [1; 32],
                });
            }
            let (store, has_key) = (store.clone(), n.is_multiple_of(2));
            async move { (has_key, store.create_invoice(new).await) }
        });
        for (has_key, created) in within(join_all(creates)).await {
            match created {
                Ok(Created::New(_)) => {}
                Err(CreateError::Store(StoreError::Cluster(ClusterError::OutcomeUnknown {
                    ..
                }))) if !has_key => {}
                Err(CreateError::Store(StoreError::Cluster(ClusterError::Unavailable {
                    ..
                }))) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(proxy.is_quiet());
        let stored = stored_in(proxy.raw().await, tenant).await;
        assert_eq!(stored, 25 + 40 * i64::try_from(round).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_may_be_stored_is_told_so() {
    let proxy = Proxy::start().await;
    let store = one_at_a_time(proxy.database_url.clone()).await;
    let tenant = tenant(&store).await;
    create(&store, issued(tenant)).await;
    // The commit's answer is lost, and nobody can look any more.
    let lost = || {
        let refused = std::iter::repeat_n(Fault::FailBegin(IO_ERROR), 1);
        proxy.expect(std::iter::once(Fault::LoseCommit).chain(refused));
    };
    lost();
    let unknown = within(store.create_invoice(issued(tenant))).await;
    assert!(
        matches!(
            unknown,
            Err(CreateError::Store(StoreError::Cluster(
                ClusterError::OutcomeUnknown { .. }
            )))
        ),
        "{unknown:?}"
    );
    assert_eq!(stored_in(proxy.raw().await, tenant).await, 2);
    // With a key it may be sent again, and is told so: the key finds what was stored.
    let keyed = || {
        let mut new = issued(tenant);
        new.idem = Some(IdemKey {
            key: "k".into(),
            fingerprint: [1; 32],
        });
        new
    };
    lost();
    let again = within(store.create_invoice(keyed())).await;
    assert!(
        matches!(
            again,
            Err(CreateError::Store(StoreError::Cluster(
                ClusterError::Unavailable { .. }
            )))
        ),
        "{again:?}"
    );
    let replay = within(store.create_invoice(keyed())).await;
    assert!(matches!(replay, Ok(Created::Replay(_))), "{replay:?}");
    assert_eq!(stored_in(proxy.raw().await, tenant).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_may_be_done_is_told_so_unless_its_key_finds_it() {
    let proxy = Proxy::start().await;
    let store = one_at_a_time(proxy.database_url.clone()).await;
    let tenant = tenant(&store).await;
    let invoice = create(&store, issued(tenant)).await;
    // Its number's look into the archive makes the commit a message of its own, and the payment's
    // is none.
    for (change, made) in [(credit(tenant, invoice), 2), (pay(tenant, invoice), 2)] {
        proxy.expect([Fault::LoseCommit]);
        let unknown = within(store.change_invoice(change)).await;
        assert!(
            matches!(
                unknown,
                Err(ChangeError::Store(StoreError::Cluster(
                    ClusterError::OutcomeUnknown { .. }
                )))
            ),
            "{unknown:?}"
        );
        assert_eq!(stored_in(proxy.raw().await, tenant).await, made);
    }
    let keyed = || NewChange {
        idem: Some(IdemKey {
            key: "k".into(),
            fingerprint: [1; 32],
        }),
        ..credit(tenant, invoice)
    };
    proxy.expect([Fault::LoseCommit, Fault::FailBegin("40001")]);
    let found = within(store.change_invoice(keyed())).await;
    assert!(matches!(found, Ok(Changed::Replay(_))), "{found:?}");
    assert!(proxy.is_quiet());
    assert_eq!(stored_in(proxy.raw().await, tenant).await, 3);
    // What fails before its commit was not done, and says so.
    proxy.expect(std::iter::repeat_n(Fault::FailBegin("57P01"), 8));
    let refused = within(store.change_invoice(credit(tenant, invoice))).await;
    assert!(
        matches!(
            refused,
            Err(ChangeError::Store(StoreError::Cluster(
                ClusterError::Unavailable { .. }
            )))
        ),
        "{refused:?}"
    );
    assert!(proxy.is_quiet());
    assert_eq!(stored_in(proxy.raw().await, tenant).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_said_is_told_with_its_sqlstate() {
    let error = raw().await.batch_execute("select 1 / 0").await.unwrap_err();
    let told = StoreError::from(error).to_string();
    assert_eq!(told, "database error: 22012: division by zero");
}
