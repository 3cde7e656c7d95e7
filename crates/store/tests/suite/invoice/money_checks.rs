//! Checks of money that are never to fail, made to fail: what they cost is one request.

use crate::support::explain::Home;
use crate::support::{now, raw, simple, store, tenant};
use serde_json::json;
use sheaf_model::TenantId;
use sheaf_model::invoice::lifecycle::NewPayment;
use sheaf_store::{ChangeError, Command, Created, NewChange, Origin, Store};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

async fn issued(store: &Store, tenant: TenantId) -> Uuid {
    let new = simple(tenant, json!({"issue_date": "2024-03-01"}));
    match store.create_invoice(new).await.unwrap() {
        Created::New(invoice) => invoice.id,
        Created::Replay(_) => panic!("a replay"),
    }
}

fn payment(tenant: TenantId, invoice: Uuid, reference: &str) -> NewChange {
    NewChange {
        tenant_id: tenant,
        invoice_id: invoice,
        command: Command::Pay(NewPayment {
            reference: reference.to_owned(),
            amount: 1.into(),
            paid_on: "2024-03-02".parse().unwrap(),
            method: "card".to_owned(),
        }),
        expected: None,
        origin: Origin::new("test", "test"),
        idem: None,
        now: now(),
    }
}

/// Waits for nobody in its way for long: without Citus the table is every test's, and some keep
/// transactions open for minutes.
async fn ddl(db: &tokio_postgres::Client, statement: &str) {
    let statement = format!("set lock_timeout = '300ms'; {statement}");
    for _ in 0..600 {
        match db.batch_execute(&statement).await {
            Ok(()) => return,
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) => {}
            // Another test's DDL has written the same row of the catalog ("tuple concurrently
            // updated").
            Err(error) if error.code() == Some(&SqlState::INTERNAL_ERROR) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("somebody keeps the table locked");
}

/// A locked invoice that is not as it was read when it is written: its header must not stay as it
/// was while the payment is stored. Nothing brings that about but somebody who changes the
/// database, as here.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_invoice_cannot_be_written_is_not_stored() {
    let store = store().await;
    let (tenant, other) = (tenant(&store).await, tenant(&store).await);
    let (paid, untouched) = (issued(&store, tenant).await, issued(&store, other).await);
    let home = Home::of(tenant).await;
    let (table, name) = (
        home.shard("invoices"),
        format!("keep_{}", tenant.0.simple()),
    );
    let local =
        "do $$ begin perform set_config('citus.enable_ddl_propagation', 'off', false); end $$";
    let keep = format!(
        "{local};
         create function {name}() returns trigger language plpgsql as 'begin return null; end';
         create trigger {name} before update on {table} for each row
             when (old.tenant_id = '{}') execute function {name}()",
        tenant.0
    );
    ddl(&home.owner, &keep).await;
    // Together, so that they may share a batch.
    let (failed, done) = tokio::join!(
        store.change_invoice(payment(tenant, paid, "p-1")),
        store.change_invoice(payment(other, untouched, "p-1")),
    );
    let give_back = format!("drop trigger {name} on {table}; drop function {name}()");
    ddl(&home.owner, &give_back).await;
    assert!(matches!(failed, Err(ChangeError::Store(_))), "{failed:?}");
    let stored = raw()
        .await
        .query_one(
            "select (select count(*) from payments where tenant_id = $1),
                    (select count(*) from events where tenant_id = $1 and event_type = \
                    'payment.recorded')",
            &[&tenant.0],
        )
        .await
        .unwrap();
    assert_eq!((stored.get::<_, i64>(0), stored.get::<_, i64>(1)), (0, 0));
    // It is the request's loss alone: the tenant's next payment and the other's are stored.
    if done.is_err() {
        store
            .change_invoice(payment(other, untouched, "p-2"))
            .await
            .unwrap();
    }
    store
        .change_invoice(payment(tenant, paid, "p-3"))
        .await
        .unwrap();
    let read = store.get_invoice(tenant, paid).await.unwrap().unwrap();
    assert_eq!((read.amount_paid, read.version), (1.into(), 2));
}
