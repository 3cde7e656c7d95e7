//! A store on the shared cluster, and invoices to put into it. Every test makes its own tenant.

pub(crate) mod explain;
pub(crate) mod proxy;

use chrono::{DateTime, Utc};
use sheaf_model::invoice::input::Context;
use sheaf_model::{InvoiceInput, TenantId};
use sheaf_store::{CreateOutcome, IdFrom, NewInvoice, NewTenant, Origin, Store, StoreConfig};

/// Migrates (idempotent, serialised by the store's own lock) and connects.
pub(crate) async fn store() -> Store {
    let url = sheaf_local::test_env().database_url;
    sheaf_store::migrate(&url, 8).await.expect("migrations");
    Store::connect(StoreConfig::new(url))
        .await
        .expect("a store")
}

/// A connection beside the store, to look at the tables or to interfere.
pub(crate) async fn raw() -> tokio_postgres::Client {
    let url = sheaf_local::test_env().database_url;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

/// Runs a statement of the test's own, and again where it was the one that a deadlock with DDL of
/// other tests' years ended, or found a year's table away for a moment.
pub(crate) async fn execute(
    db: &tokio_postgres::Client,
    statement: &str,
    params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> u64 {
    for _ in 0..50 {
        match db.execute(statement, params).await {
            Err(error)
                if error.code().is_some_and(|state| {
                    // Citus tells of a table that is made or dropped at this moment by an internal
                    // error.
                    ["40P01", "40001", "42P01", "XX000"].contains(&state.code())
                }) =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            outcome => return outcome.expect(statement),
        }
    }
    panic!("{statement}: in somebody's way all the time");
}

pub(crate) async fn tenant(store: &Store) -> TenantId {
    let new = NewTenant {
        name: "test".into(),
        external_id: None,
    };
    match store
        .create_tenant(new, None, |_| Vec::new())
        .await
        .expect("a tenant")
    {
        CreateOutcome::Created(tenant) => tenant.id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap()
}

/// A validated invoice from JSON in the API's form.
pub(crate) fn invoice(tenant: TenantId, json: &serde_json::Value) -> NewInvoice {
    let input = InvoiceInput::parse(json.to_string().as_bytes()).expect("an input");
    let id_from = match json.get("id") {
        Some(_) => IdFrom::Client,
        None => IdFrom::Server,
    };
    let invoice = input
        .into_invoice(&Context {
            tenant_id: tenant,
            now: now(),
        })
        .expect("a valid invoice");
    NewInvoice {
        at: invoice.created_at,
        invoice,
        id_from,
        origin: Origin::new("test", "test"),
        idem: None,
    }
}

/// One line of 10.00 GBP, with these members besides.
pub(crate) fn simple(tenant: TenantId, extra: serde_json::Value) -> NewInvoice {
    let mut json = serde_json::json!({
        "currency": "GBP",
        "lines": [{"description": "work", "quantity": "2", "unit_price": "5.00"}],
    });
    for (key, value) in extra.as_object().cloned().unwrap_or_default() {
        json[key] = value;
    }
    invoice(tenant, &json)
}

/// Settled invoices of a month (`2012-05`) become an archived file, of which the store knows
/// nothing but its row.
pub(crate) async fn archived_year(store: &Store, tenant: TenantId, month: &str) {
    let day = format!("{month}-05");
    let payment =
        serde_json::json!({"reference": "p", "amount": "10.00", "paid_on": day, "method": "card"});
    let paid = simple(
        tenant,
        serde_json::json!({"issue_date": day, "external_id": "archived", "payments": [payment]}),
    );
    store.write_chunk(vec![paid]).await.unwrap();
    let period = month.parse().unwrap();
    let mut file = store
        .stage_file(tenant, period, 1, None, |p, g| {
            format!("{tenant}/p{p}-g{g}")
        })
        .await
        .unwrap();
    let mut reader = store.snapshot_reader(tenant, period, None).await.unwrap();
    let page = reader.next_page(10).await.unwrap();
    reader.finish().await.unwrap();
    let [archived] = &page[..] else {
        panic!("{page:?}")
    };
    (file.invoices, file.lines, file.payments) = (1, 1, 1);
    file.events = i64::try_from(archived.events.len()).unwrap();
    let id = archived.invoice.id;
    (file.min_id, file.max_id, file.sha256) = (id, id, Some([7; 32]));
    let rows = [(id, archived.invoice.version)];
    let published = store.publish_file(&file, &rows).await.unwrap();
    assert_eq!(published, sheaf_store::Publish::Done);
}
