//! Creates: group commit, conflicts, idempotency, customers, chunks and atomic uploads.

use std::collections::BTreeSet;

use crate::support::{raw, simple, store, tenant};
use serde_json::json;
use sheaf_model::Code;
use sheaf_store::{
    ClusterError, CreateError, Created, IdemConflict, IdemKey, LineOutcome, ListFilter, StoreError,
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_created_invoice_is_read_back_as_it_was_answered() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let new = simple(
        tenant,
        json!({"external_id": "e1", "number": "N-1", "issue_date": "2024-02-29",
            "due_date": "2024-03-30",
               "customer": {"external_id": "c1", "name": "Änne \"x\" \n", "country": "DE"},
               "metadata": {"bb": 1.50, "a": [true, null, "é\u{1}"], "b": {"z": 1e3}},
               "payments": [{"reference": "p", "amount": "4.00", "paid_on": "2024-03-01",
                   "method": "card"}]}),
    );
    let Created::New(created) = store.create_invoice(new).await.unwrap() else {
        panic!("a replay")
    };
    let read = store
        .get_invoice(tenant, created.id)
        .await
        .unwrap()
        .expect("the invoice");
    assert_eq!(
        String::from_utf8(read.render()).unwrap(),
        String::from_utf8(created.render()).unwrap()
    );
    assert!(created.customer_id.is_some());
    let page = store
        .list_invoices(tenant, &ListFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items, vec![read]);
    assert!(!page.has_more);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_creates_are_all_there_and_only_culprits_fail() {
    let store = store().await;
    let (mine, other) = (tenant(&store).await, tenant(&store).await);
    let tasks: Vec<_> = (0..1000)
        .map(|i| {
            let store = store.clone();
            let tenant = if i % 2 == 0 { mine } else { other };
            // Every tenth repeats the external id of its tenant's first.
            let key = if i % 10 < 2 {
                "same".to_owned()
            } else {
                format!("k{i}")
            };
            tokio::spawn(async move {
                store
                    .create_invoice(simple(tenant, json!({"external_id": key})))
                    .await
            })
        })
        .collect();
    let mut created = Vec::new();
    let mut duplicates = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(Created::New(invoice)) => created.push((invoice.tenant_id, invoice.id)),
            Err(CreateError::DuplicateExternalId { .. }) => duplicates += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((created.len(), duplicates), (802, 198));
    let db = raw().await;
    for owner in [mine, other] {
        let row = db
            .query_one(
                "select (select count(*) from invoices where tenant_id = $1), (select count(*) \
                from invoice_lines where tenant_id = $1),
                        (select count(*) from events where tenant_id = $1)",
                &[&owner.0],
            )
            .await
            .unwrap();
        assert_eq!(
            (
                row.get::<_, i64>(0),
                row.get::<_, i64>(1),
                row.get::<_, i64>(2)
            ),
            (401, 401, 401)
        );
    }
    for (owner, id) in created.iter().take(50) {
        assert!(store.get_invoice(*owner, *id).await.unwrap().is_some());
        let stranger = if *owner == mine { other } else { mine };
        assert!(
            store.get_invoice(stranger, *id).await.unwrap().is_none(),
            "another tenant's invoice"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_name_the_invoice_that_is_there() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let first = simple(
        tenant,
        json!({"external_id": "e", "number": "n", "issue_date": "2023-05-01"}),
    );
    let id = first.invoice.id;
    store.create_invoice(first).await.unwrap();
    let again = store
        .create_invoice(simple(
            tenant,
            json!({"external_id": "e", "issue_date": "2023-06-01"}),
        ))
        .await;
    assert!(
        matches!(again, Err(CreateError::DuplicateExternalId { existing }) if existing == id),
        "{again:?}"
    );
    let again = store
        .create_invoice(simple(
            tenant,
            json!({"number": "n", "issue_date": "2023-06-01"}),
        ))
        .await;
    assert!(
        matches!(again, Err(CreateError::DuplicateNumber { existing }) if existing == id),
        "{again:?}"
    );
    // Unique per year only.
    store
        .create_invoice(simple(
            tenant,
            json!({"external_id": "e", "number": "n", "issue_date": "2022-06-01"}),
        ))
        .await
        .unwrap();
    let again = store
        .create_invoice(simple(tenant, json!({"id": id})))
        .await;
    assert!(matches!(again, Err(CreateError::DuplicateId)), "{again:?}");
    let unknown = store
        .create_invoice(simple(tenant, json!({"customer_id": Uuid::now_v7()})))
        .await;
    assert!(
        matches!(unknown, Err(CreateError::CustomerNotFound)),
        "{unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_found_or_made_once() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let of = |n: usize| {
        json!({"customer": {"external_id": format!("c{}", n % 3), "name": "C",
        "email": "c@example.com"}})
    };
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let (store, new) = (store.clone(), simple(tenant, of(n)));
            tokio::spawn(async move { store.create_invoice(new).await.unwrap() })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for task in tasks {
        let Created::New(invoice) = task.await.unwrap() else {
            panic!("a replay")
        };
        ids.insert(invoice.customer_id.unwrap());
    }
    assert_eq!(ids.len(), 3);
    let count: i64 = raw()
        .await
        .query_one(
            "select count(*) from customers where tenant_id = $1",
            &[&tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 3);
    // By id, the snapshot comes from the record.
    let Created::New(by_id) = store
        .create_invoice(simple(tenant, json!({"customer_id": ids.first()})))
        .await
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(
        by_id.customer.unwrap().email.as_deref(),
        Some("c@example.com")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_creates_once_and_replays() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let keyed = |fingerprint: u8| {
        let mut new = simple(tenant, json!({}));
        new.idem = Some(IdemKey {
            key: "k".into(),
            fingerprint: [fingerprint; 32],
        });
        new
    };
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let (store, new) = (store.clone(), keyed(1));
            tokio::spawn(async move { store.create_invoice(new).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(Created::New(_)) => created += 1,
            Ok(Created::Replay(replay)) => assert_eq!(replay.status, 201),
            Err(CreateError::Store(StoreError::Idempotency(IdemConflict::Running))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created, 1);
    let Created::Replay(replay) = store.create_invoice(keyed(1)).await.unwrap() else {
        panic!("made twice")
    };
    let page = store
        .list_invoices(tenant, &ListFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(replay.body, page.items[0].render());
    assert!(matches!(
        store.create_invoice(keyed(2)).await,
        Err(CreateError::Store(StoreError::Idempotency(
            IdemConflict::Mismatch
        )))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_answer_line_by_line() {
    let store = store().await;
    let (a, b) = (tenant(&store).await, tenant(&store).await);
    let chunk = vec![
        simple(a, json!({"external_id": "x", "issue_date": "2019-01-05"})),
        simple(b, json!({"external_id": "x", "issue_date": "2018-01-05"})),
        simple(a, json!({"external_id": "x", "issue_date": "2019-01-05"})),
        simple(a, json!({"number": "7", "issue_date": "2019-01-05"})),
        simple(a, json!({"number": "7", "issue_date": "2019-03-05"})),
    ];
    let (first, seventh) = (chunk[0].invoice.id, chunk[3].invoice.id);
    let outcomes = store.write_chunk(chunk.clone()).await.unwrap();
    assert_eq!(
        outcomes[..4],
        [
            LineOutcome::Created,
            LineOutcome::Created,
            LineOutcome::Duplicate(first),
            LineOutcome::Created
        ]
    );
    assert!(
        matches!(&outcomes[4], LineOutcome::Rejected { code: Code::DuplicateNumber,
            detail } if detail.contains(&seventh.to_string()))
    );
    let again = store.write_chunk(chunk[..3].to_vec()).await.unwrap();
    assert!(
        again.iter().all(|o| matches!(o, LineOutcome::Duplicate(_))),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_upload_is_all_or_nothing() {
    let store = store().await;
    let (a, b) = (tenant(&store).await, tenant(&store).await);
    let years = BTreeSet::from([2016_i16, 2017]);
    let lines = || {
        vec![
            simple(a, json!({"external_id": "x", "issue_date": "2016-01-05"})),
            simple(b, json!({"external_id": "x", "issue_date": "2017-01-05"})),
        ]
    };
    let count = async |t: sheaf_model::TenantId| {
        store
            .list_invoices(t, &ListFilter::default(), None, 10)
            .await
            .unwrap()
            .items
            .len()
    };
    let mut upload = store.begin_atomic(None, &years).await.unwrap();
    assert_eq!(
        upload.write(lines()).await.unwrap(),
        [LineOutcome::Created, LineOutcome::Created]
    );
    assert!(matches!(
        upload.write(lines()).await.unwrap()[..],
        [LineOutcome::Duplicate(_), LineOutcome::Duplicate(_)]
    ));
    upload.rollback();
    assert_eq!((count(a).await, count(b).await), (0, 0));
    let mut upload = store.begin_atomic(None, &years).await.unwrap();
    upload.write(lines()).await.unwrap();
    upload.commit(None).await.unwrap();
    assert_eq!((count(a).await, count(b).await), (1, 1));
    let mut upload = store.begin_atomic(Some(a), &years).await.unwrap();
    upload
        .write(vec![simple(a, json!({"issue_date": "2016-01-05"}))])
        .await
        .unwrap();
    upload.commit(None).await.unwrap();
    assert_eq!(count(a).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_drains_what_was_taken() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let (store, new) = (store.clone(), simple(tenant, json!({})));
            tokio::spawn(async move { store.create_invoice(new).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let mut answered = 0;
    for task in waiting {
        match task.await.unwrap() {
            Ok(_) => answered += 1,
            Err(CreateError::Store(StoreError::Cluster(ClusterError::Unavailable { .. }))) => {}
            other => panic!("{other:?}"),
        }
    }
    let stored: i64 = raw()
        .await
        .query_one(
            "select count(*) from invoices where tenant_id = $1",
            &[&tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(stored, answered);
}

/// Statements travel together with the transaction's begin and end; none may overtake the other on
/// a connection that sees them for the first time.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_connection_is_left_without_a_transaction() {
    // Migrates, should no other test have done so.
    drop(store().await);
    for keyed in [false, true] {
        let mut config = sheaf_store::StoreConfig::new(sheaf_local::test_env().database_url);
        config.cluster.max_connections_per_node = 1;
        let store = sheaf_store::Store::connect(config).await.unwrap();
        let tenant = tenant(&store).await;
        let body = if keyed {
            json!({"external_id": "e", "lines": [{"description": "d", "quantity": "1",
                "unit_price": "1"}]})
        } else {
            json!({"lines": [{"description": "d", "quantity": "1", "unit_price": "1"}]})
        };
        let new = simple(tenant, body);
        let Created::New(created) = store.create_invoice(new).await.unwrap() else {
            panic!("a replay")
        };
        // A snapshot of its own is refused inside a transaction that is still open.
        let page = store
            .list_invoices(tenant, &ListFilter::default(), None, 1)
            .await
            .unwrap();
        assert_eq!(page.items[0].id, created.id);
        // Nobody else would see what was not committed.
        let found = raw()
            .await
            .query_one(
                "select count(*) from invoices where tenant_id = $1 and id = $2",
                &[&tenant.0, &created.id],
            )
            .await
            .unwrap();
        assert_eq!(found.get::<_, i64>(0), 1);
    }
}
