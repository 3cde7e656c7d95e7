//! What a change of a customer leaves behind: its events.

use crate::support::{now, raw, simple, store, tenant};
use serde_json::{Value, json};
use sheaf_model::TenantId;
use sheaf_model::customer::{CustomerPatch, new_customer};
use sheaf_store::{Cause, CreateOutcome, CustomerError, CustomerRecord, Expected, Origin, Store};
use uuid::Uuid;

fn cause() -> Cause {
    Cause::new(Origin::new("api_key:k", "request-1"), now())
}

async fn made(store: &Store, tenant: TenantId, document: Value) -> CustomerRecord {
    let fields = new_customer(document.to_string().as_bytes()).unwrap();
    let by = cause();
    let made = store.create_customer(tenant, &fields, &by, None, |_| Vec::new());
    match made.await.unwrap() {
        CreateOutcome::Created(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Type and data of a subject's events, in order.
async fn events(tenant: TenantId, subject: Uuid) -> Vec<(String, Value)> {
    let rows = raw()
        .await
        .query(
            "select event_type, data, actor, request_id, year from events
             where tenant_id = $1 and subject_id = $2 order by created_at, id",
            &[&tenant.0, &subject],
        )
        .await
        .unwrap();
    let event = |row: &tokio_postgres::Row| {
        if row.get::<_, &str>(0).starts_with("customer.") {
            assert_eq!(row.get::<_, &str>(2), "api_key:k");
        }
        assert_eq!(row.get::<_, i16>(4), sheaf_model::id::year_of(subject));
        (row.get(0), row.get(1))
    };
    rows.iter().map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_tells_what_was_and_what_is() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let record = made(&store, tenant, json!({"name": "A", "metadata": {"n": 1}})).await;
    let by = cause();
    let patch = r#"{"name": "B", "country": "DE", "metadata": {"n": 12345678901234567890.10}}"#;
    let change = |text: &str| {
        let patch = CustomerPatch::parse(text.as_bytes()).unwrap();
        move |fields: &_| patch.clone().apply(fields)
    };
    let (one, two) = (Expected::one_of(&[1]), Expected::one_of(&[2]));
    let update = store.update_customer(tenant, record.id, None, &by, change(patch));
    assert_eq!(update.await.unwrap().version, 2);
    let stale = store.update_customer(tenant, record.id, Some(&one), &by, change("{}"));
    assert!(matches!(
        stale.await,
        Err(CustomerError::VersionMismatch { current: 2 })
    ));
    store
        .delete_customer(tenant, record.id, Some(&two), &cause())
        .await
        .unwrap();
    let told = events(tenant, record.id).await;
    let types: Vec<&str> = told.iter().map(|(t, _)| t.as_str()).collect();
    assert_eq!(
        types,
        ["customer.created", "customer.updated", "customer.deleted"]
    );
    assert_eq!(told[0].1["new"]["name"], "A");
    let (old, new) = (&told[1].1["old"], &told[1].1["new"]);
    assert_eq!(
        old,
        &json!({"name": "A", "country": null, "metadata": {"n": 1}})
    );
    assert_eq!((&new["name"], &new["country"]), (&json!("B"), &json!("DE")));
    assert_eq!(new.as_object().unwrap().len(), 3);
    assert_eq!(told[1].1["version"], 2);
    assert_eq!(told[2].1["old"]["country"], "DE");
    // Numbers of the metadata are kept digit by digit.
    let exact: bool = raw()
        .await
        .query_one(
            "select data #>> '{new,metadata,n}' = '12345678901234567890.10' from events
             where tenant_id = $1 and subject_id = $2 and event_type = 'customer.updated'",
            &[&tenant.0, &record.id],
        )
        .await
        .unwrap()
        .get(0);
    assert!(exact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_tells_both_and_each_invoice() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let duplicate = made(&store, tenant, json!({"name": "D", "external_id": "d"})).await;
    let survivor = made(&store, tenant, json!({"name": "S", "external_id": "s"})).await;
    let customer = json!({"external_id": "d", "name": "D"});
    let invoices: Vec<_> = ["2025-03-01", "2026-03-01"]
        .map(|date| simple(tenant, json!({"issue_date": date, "customer": customer})))
        .into();
    let ids: Vec<Uuid> = invoices.iter().map(|n| n.invoice.id).collect();
    store.write_chunk(invoices).await.unwrap();
    let by = cause();
    let merge = store.merge_customer(tenant, duplicate.id, survivor.id, &by, None, |_| Vec::new());
    let CreateOutcome::Created(merged) = merge.await.unwrap() else {
        panic!("not merged")
    };
    assert_eq!((merged.invoices, merged.complete), (2, true));
    assert_eq!(merged.customer.merged_into, Some(survivor.id));
    let told = events(tenant, duplicate.id).await;
    assert_eq!(told[1].0, "customer.merged");
    assert_eq!(
        told[1].1,
        json!({"old": {"active": true, "merged_into": null},
               "new": {"active": false, "merged_into": survivor.id}, "version": 2})
    );
    let told = events(tenant, survivor.id).await;
    assert_eq!(told[1].1, json!({"merged_from": duplicate.id}));
    for id in ids {
        let invoice = store.get_invoice(tenant, id).await.unwrap().unwrap();
        assert_eq!(
            (invoice.customer_id, invoice.version),
            (Some(survivor.id), 2)
        );
        assert_eq!(invoice.customer.unwrap().name, "D");
        let told = events(tenant, id).await;
        assert_eq!(told[1].0, "invoice.updated");
        assert_eq!(
            told[1].1,
            json!({"old": {"customer_id": duplicate.id}, "new": {"customer_id": survivor.id},
                "version": 2})
        );
    }
    assert_eq!(
        store.merged_customers(tenant, survivor.id).await.unwrap(),
        [duplicate.id]
    );
}
