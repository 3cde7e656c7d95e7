//! Databases of older releases, with rows and distributed, become this one's. A new database tells
//! nothing of that: there each migration runs before Citus knows the tables.

pub(crate) mod release;

use std::time::{Duration, Instant};

use release::{Stock, cluster, connect, document, insert_document, insert_tenant, install, rows};
use serde_json::json;
use sheaf_model::invoice::input::{Body as _, CreditNoteInput};
use sheaf_model::invoice::lifecycle::NewPayment;
use sheaf_model::{Invoice, TenantId};
use sheaf_store::migrate;
use sheaf_store::{
    Command, CreateError, Created, NewChange, NewInvoice, Origin, Store, StoreConfig,
};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{now, simple};

const PATIENCE: Duration = Duration::from_secs(90);
const SHARDS: u32 = 8;

/// What holds a migration up, and the statement that waits then: one in each step.
const STEPS: [(&str, &str); 4] = [
    ("select count(*) from invoices", "alter table invoices"),
    (
        "select count(*) from archive_files",
        "alter table archive_files",
    ),
    ("select count(*) from erasures", "alter table erasures"),
    // All migrations are done, and what comes after them is not.
    (
        "lock table tenant_profiles in access exclusive mode",
        "insert into tenant_profile_versions",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_schema_8_is_upgraded_however_often_that_is_cut_short() {
    let (cluster, url) = cluster().await;
    let mut db = connect(&url).await;
    install(&mut db, 8).await;
    let mut stocks = Vec::new();
    for nth in 0..3 {
        stocks.push(Stock::insert(&db, nth).await);
    }
    // A number that the old release gave twice: it knew the years of ids alone.
    let last = &stocks[2];
    let members = json!({"issue_date": "2025-05-05", "number": last.late.number});
    let twice = document(last.tenant, members);
    insert_document(&db, &twice, 8).await;
    let before = rows(&db).await;
    for (holding, waiting) in STEPS {
        cut_short(&url, holding, waiting).await;
        assert_eq!(of_then(&db, &before).await, before, "{waiting}");
    }

    let migrated = migrate(&url, SHARDS).await.unwrap();
    assert_eq!(migrated.applied, [0; 0], "each was committed before");
    let numbers = migrated
        .numbers
        .expect("the run that made the table entered none");
    assert_eq!(
        (numbers.documents, numbers.entered, numbers.duplicated),
        (13, 3, 1),
        "{numbers:?}"
    );
    assert_eq!(numbers.duplicates[0].tenant_id, last.tenant);
    check_rows(&db, &before, &stocks).await;
    let again = migrate(&url, SHARDS).await.unwrap();
    assert_eq!((again.applied, again.numbers), (Vec::new(), None));
    check_rows(&db, &before, &stocks).await;

    let store = Store::connect(StoreConfig::new(url.clone())).await.unwrap();
    for stock in &stocks {
        for document in stock.documents() {
            let found = store.get_invoice(stock.tenant, document.id).await.unwrap();
            assert_eq!(found.as_ref(), Some(document));
        }
        work_goes_on(&store, stock).await;
    }
    store.close().await;
    drop(db);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_runs_on_tables_that_are_distributed() {
    let (cluster, url) = cluster().await;
    let mut db = connect(&url).await;
    install(&mut db, 1).await;
    let tenant = insert_tenant(&db, "of the first release").await;
    let first = document(tenant, json!({"issue_date": "2024-05-05", "number": "A-1"}));
    insert_document(&db, &first, 1).await;
    let migrated = migrate(&url, SHARDS).await.unwrap();
    assert_eq!(migrated.applied.first(), Some(&2));
    assert_eq!(migrated.applied.last(), Some(&sheaf_store::known_version()));
    let store = Store::connect(StoreConfig::new(url.clone())).await.unwrap();
    let found = store.get_invoice(tenant, first.id).await.unwrap();
    assert_eq!(found, Some(first));
    create(&store, simple(tenant, json!({"issue_date": "2024-05-05"}))).await;
    store.close().await;
    drop(db);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn citus_tables_that_are_not_distributed_are_told_at_start_and_by_readiness() {
    let (cluster, url) = cluster().await;
    let db = connect(&url).await;
    migrate(&url, SHARDS).await.unwrap();
    let start = async || Store::connect(StoreConfig::new(url.clone())).await;
    // As a migration leaves them that was cut short behind its schema, or that ran before Citus was
    // there.
    for table in ["metadata_columns", "api_keys", "number_claims"] {
        let local = format!("select undistribute_table('{table}')");
        db.batch_execute(&local).await.unwrap();
        let refused = start().await.err().expect(table).to_string();
        assert!(refused.contains(table), "{refused}");
        assert!(refused.contains("sheaf migrate"), "{refused}");
        migrate(&url, SHARDS).await.unwrap();
        start().await.expect(table).close().await;
    }
    // A database of the same server that has no Citus yet.
    db.batch_execute("create database late").await.unwrap();
    let late = url.rsplit_once('/').unwrap().0.to_owned() + "/late";
    migrate(&late, SHARDS).await.unwrap();
    let store = Store::connect(StoreConfig::new(late.clone()))
        .await
        .unwrap();
    store.ready().await.unwrap();
    let db = connect(&late).await;
    db.batch_execute("create extension citus").await.unwrap();
    let told = store.ready().await.unwrap_err().to_string();
    assert!(told.contains("Citus was installed"), "{told}");
    let refused = Store::connect(StoreConfig::new(late.clone())).await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("invoices"), "{refused}");
    store.close().await;
    cluster.stop().await.unwrap();
}

/// Holds a migration up at the statement, and ends its session there.
async fn cut_short(url: &str, holding: &str, waiting: &str) {
    let (holder, db) = (connect(url).await, connect(url).await);
    holder.batch_execute("begin").await.unwrap();
    holder.batch_execute(holding).await.unwrap();
    let of_url = url.to_owned();
    let migration = tokio::spawn(async move { migrate(&of_url, SHARDS).await });
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
               where wait_event_type = 'Lock' and query ilike '%' || $1::text || '%' and pid <> \
               pg_backend_pid()";
    let started = Instant::now();
    while db.query(end, &[&waiting]).await.unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE, "nobody waits at {waiting}");
        assert!(!migration.is_finished(), "nothing waits at {waiting}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = tokio::time::timeout(PATIENCE, migration).await;
    let failed = ended.expect("it ends with its session").unwrap();
    assert!(failed.is_err(), "{waiting}: {failed:?}");
    holder.batch_execute("commit").await.unwrap();
}

/// The rows of the tables that were there before.
async fn of_then(db: &Client, before: &[(String, i64)]) -> Vec<(String, i64)> {
    let mut now = rows(db).await;
    now.retain(|(table, _)| before.iter().any(|(then, _)| then == table));
    now
}

async fn count(db: &Client, from: &str) -> i64 {
    let count = format!("select count(*) from {from}");
    db.query_one(&count, &[]).await.unwrap().get(0)
}

/// Every row of before is there, and what is new says what is known of it.
async fn check_rows(db: &Client, before: &[(String, i64)], stocks: &[Stock]) {
    assert_eq!(of_then(db, before).await, before);
    let filled = "invoices where tax_rounding is not null or profile_version is not null or \
        credited is not null";
    for none in [
        filled,
        "archive_files where numbers is not null",
        "erasures where changed_at is not null",
    ] {
        assert_eq!(count(db, none).await, 0, "{none}");
    }
    for table in ["tenant_profile_versions", "number_claims"] {
        assert_eq!(count(db, table).await, 3, "{table}");
    }
    for stock in stocks {
        let kept =
            "select version, profile ->> 'name' from tenant_profile_versions where tenant_id = $1";
        let kept = db.query_one(kept, &[&stock.tenant.0]).await.unwrap();
        assert_eq!(kept.get::<_, i64>(0), stock.profile_version);
        let claimed = "select invoice_id, issue_year from number_claims where tenant_id = $1";
        let claimed = db.query_one(claimed, &[&stock.tenant.0]).await.unwrap();
        assert_eq!((claimed.get(0), claimed.get(1)), (stock.late.id, 2025_i16));
    }
    if sheaf_local::test_env().citus {
        let tables = include_str!("../../../../../citus/distributed_tables.txt").split_whitespace();
        for table in tables {
            let known = format!("pg_dist_partition where logicalrelid = '{table}'::regclass");
            assert_eq!(count(db, &known).await, 1, "{table} is not distributed");
        }
    }
}

async fn create(store: &Store, new: NewInvoice) -> Invoice {
    match store.create_invoice(new).await.unwrap() {
        Created::New(made) => *made,
        other @ Created::Replay(_) => panic!("{other:?}"),
    }
}

async fn change(store: &Store, tenant_id: TenantId, invoice_id: Uuid, command: Command) {
    let change = NewChange {
        tenant_id,
        invoice_id,
        command,
        expected: None,
        origin: Origin::new("test", "test"),
        idem: None,
        now: now(),
    };
    store.change_invoice(change).await.unwrap();
}

/// The life of old documents and of new ones beside them.
async fn work_goes_on(store: &Store, stock: &Stock) {
    let tenant = stock.tenant;
    for day in ["1999-06-06", "2007-06-06", "2008-06-06", "2025-06-06"] {
        let made = create(store, simple(tenant, json!({"issue_date": day}))).await;
        assert!(store.get_invoice(tenant, made.id).await.unwrap().is_some());
    }
    let taken = json!({"number": stock.late.number, "issue_date": "2025-05-06"});
    let refused = store.create_invoice(simple(tenant, taken)).await;
    assert!(matches!(refused, Err(CreateError::DuplicateNumber { .. })));

    let issue = Command::Issue {
        issue_date: "2025-07-01".parse().ok(),
        due_date: None,
    };
    change(store, tenant, stock.draft.id, issue).await;
    let issued = store.get_invoice(tenant, stock.draft.id).await.unwrap();
    let issued = issued.unwrap();
    // The series goes on behind what it gave before.
    assert_eq!(issued.number.as_deref(), Some("INV-2025-000003"));
    assert_eq!(issued.profile_version, Some(stock.profile_version));

    let payment = NewPayment {
        reference: "p-2".to_owned(),
        amount: "4.00".parse().unwrap(),
        paid_on: "2025-08-01".parse().unwrap(),
        method: "card".to_owned(),
    };
    change(store, tenant, stock.issued.id, Command::Pay(payment)).await;
    let line = json!({"description": "less", "quantity": "1", "unit_price": "1.00"});
    let body = json!({"lines": [line], "issue_date": "2025-09-01"}).to_string();
    let request = CreditNoteInput::parse(body.as_bytes())
        .unwrap()
        .check()
        .unwrap();
    change(
        store,
        tenant,
        stock.paid.id,
        Command::Credit(Box::new(request)),
    )
    .await;
    let found = async |id| store.get_invoice(tenant, id).await.unwrap().unwrap();
    assert_eq!(
        found(stock.issued.id).await.amount_paid,
        "4.00".parse().unwrap()
    );
    assert_eq!(
        found(stock.paid.id).await.amount_credited,
        "1.00".parse().unwrap()
    );
}
