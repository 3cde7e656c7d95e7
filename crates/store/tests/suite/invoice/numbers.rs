//! Numbers that are taken in two years, against uploads that are one transaction.

use crate::support::{archived_year, now, simple, store, tenant};
use chrono::NaiveDate;
use serde_json::json;
use sheaf_local::{CitusMode, Throwaway};
use sheaf_model::{Code, TenantId, id};
use sheaf_store::{
    ChangeError, ClusterError, Command, CreateError, Created, LineOutcome, NewChange, NewInvoice,
    Origin, Store, StoreConfig, StoreError,
};
use uuid::Uuid;

/// A document with a number, dated in 2025, and with an id of that year or of now.
fn numbered(tenant: TenantId, number: &str, own_id: bool) -> NewInvoice {
    let mut members = json!({"number": number, "issue_date": "2025-05-05"});
    if own_id {
        members["id"] = json!(id::new_id(now()));
    }
    simple(tenant, members)
}

async fn draft(store: &Store, tenant: TenantId, number: &str) -> Uuid {
    let draft = simple(tenant, json!({"status": "draft", "number": number}));
    match store.create_invoice(draft).await.unwrap() {
        Created::New(made) => made.id,
        other => panic!("{other:?}"),
    }
}

/// Issues a draft into 2025.
async fn issue(store: &Store, tenant_id: TenantId, invoice_id: Uuid) -> Result<(), ChangeError> {
    let change = NewChange {
        tenant_id,
        invoice_id,
        command: Command::Issue {
            issue_date: NaiveDate::from_ymd_opt(2025, 12, 31),
            due_date: None,
        },
        expected: None,
        origin: Origin::new("test", "test"),
        idem: None,
        now: now(),
    };
    store.change_invoice(change).await.map(drop)
}

/// The owners that an upload may have: one tenant, or the platform.
fn owners(tenant: TenantId) -> [Option<TenantId>; 2] {
    [Some(tenant), None]
}

#[track_caller]
fn is_refused(committed: Result<(), StoreError>, number: &str) {
    match committed {
        Err(StoreError::Conflict { code, detail }) => {
            assert_eq!(code, "duplicate_number");
            assert!(detail.contains(number), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_commit_a_number_that_was_claimed_while_it_was_written() {
    let store = store().await;
    let tenant = tenant(&store).await;
    for (n, owner) in owners(tenant).into_iter().enumerate() {
        let number = format!("N-{n}");
        let late = draft(&store, tenant, &number).await;
        let mut upload = store.begin_atomic(owner, &[2025].into()).await.unwrap();
        let written = upload.write(vec![numbered(tenant, &number, false)]).await;
        assert_eq!(written.unwrap(), [LineOutcome::Created]);
        // It is not held up by the upload, however long that takes.
        issue(&store, tenant, late).await.unwrap();
        is_refused(upload.commit(None).await, &number);
        let again = store
            .write_chunk(vec![numbered(tenant, &number, false)])
            .await
            .unwrap();
        assert!(matches!(
            &again[..],
            [LineOutcome::Rejected {
                code: Code::DuplicateNumber,
                ..
            }]
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_commit_a_claim_on_a_number_that_came_in_meanwhile() {
    let store = store().await;
    let tenant = tenant(&store).await;
    for (n, owner) in owners(tenant).into_iter().enumerate() {
        let number = format!("N-{n}");
        let years = [2025, id::year_of(id::new_id(now()))].into();
        let mut upload = store.begin_atomic(owner, &years).await.unwrap();
        let written = upload.write(vec![numbered(tenant, &number, true)]).await;
        assert_eq!(written.unwrap(), [LineOutcome::Created]);
        let meanwhile = numbered(tenant, &number, false);
        store.create_invoice(meanwhile).await.unwrap();
        is_refused(upload.commit(None).await, &number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_commit_a_claim_in_a_year_whose_archive_has_moved_since() {
    let store = store().await;
    let tenant = tenant(&store).await;
    // The years are there: on Citus a new one waits for uploads that are open.
    let of_years =
        ["2012-01-05", "2013-01-05"].map(|day| simple(tenant, json!({"issue_date": day})));
    store.write_chunk(of_years.into()).await.unwrap();
    for (owner, month) in owners(tenant).into_iter().zip(["2012-05", "2013-05"]) {
        let years = [id::year_of(id::new_id(now()))].into();
        let claim = |number: &str| {
            let day = format!("{month}-05");
            let members = json!({"number": number, "issue_date": day, "id": id::new_id(now())});
            simple(tenant, members)
        };
        let mut upload = store.begin_atomic(owner, &years).await.unwrap();
        upload.write(vec![claim("N-1")]).await.unwrap();
        // It may have had the number: hot when the claim was checked against files, and a file when
        // against hot rows.
        archived_year(&store, tenant, month).await;
        match upload.commit(None).await {
            Err(StoreError::Cluster(ClusterError::Contended { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_claimed_numbers_land_and_what_was_wrong_before_stops_none() {
    let store = store().await;
    let tenant = tenant(&store).await;
    // As an older release has left it: two documents with one number in one year, and no row that
    // tells.
    let number = "OLD-1";
    store
        .create_invoice(numbered(tenant, number, false))
        .await
        .unwrap();
    let late = draft(&store, tenant, number).await;
    let db = crate::support::raw().await;
    db.execute(
        "insert into number_claims (tenant_id, number, issue_year, invoice_id) values ($1, $2, \
        2025, $3)",
        &[&tenant.0, &number, &late],
    )
    .await
    .unwrap();
    for (n, owner) in owners(tenant).into_iter().enumerate() {
        let years = [2025, id::year_of(id::new_id(now()))].into();
        let mut upload = store.begin_atomic(owner, &years).await.unwrap();
        let lines = vec![
            numbered(tenant, &format!("A-{n}"), true),
            numbered(tenant, &format!("B-{n}"), false),
            // Of the same upload, in the same year.
            numbered(tenant, &format!("A-{n}"), false),
        ];
        let written = upload.write(lines).await.unwrap();
        assert_eq!(&written[..2], [LineOutcome::Created, LineOutcome::Created]);
        assert!(matches!(written[2], LineOutcome::Rejected { .. }));
        upload.commit(None).await.unwrap();
    }
}

/// The migration enters what is stored, once, on both topologies.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_enters_the_numbers_of_stored_documents() {
    let citus = if sheaf_local::test_env().citus {
        CitusMode::Require
    } else {
        CitusMode::Off
    };
    let cluster = Throwaway::start(citus).await.unwrap();
    let url = cluster.env().database_url().to_owned();
    let fresh = sheaf_store::migrate(&url, 8).await.unwrap();
    assert_eq!(fresh.numbers, None, "there was nothing to enter");
    let before = Store::connect(StoreConfig::new(url.clone())).await.unwrap();
    let tenants = [tenant(&before).await, tenant(&before).await];
    for tenant in tenants {
        let late = draft(&before, tenant, "N-1").await;
        issue(&before, tenant, late).await.unwrap();
        let unnumbered = simple(tenant, json!({"issue_date": "2025-05-05"}));
        let plain = numbered(tenant, "N-2", false);
        let lines = before.write_chunk(vec![unnumbered, plain]).await.unwrap();
        assert_eq!(lines, [LineOutcome::Created, LineOutcome::Created]);
    }
    before.close().await;
    let (db, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    for undo in [
        "drop table number_claims",
        "drop table job_runs",
        "alter table archive_files drop column numbers",
        "alter table erasures drop column changed_at",
        "delete from refinery_schema_history where version >= 10",
    ] {
        db.batch_execute(undo).await.unwrap();
    }
    // What an older release would have taken.
    db.execute(
        "update invoices set number = 'N-1' where tenant_id = $1 and number = 'N-2'",
        &[&tenants[1].0],
    )
    .await
    .unwrap();
    let migrated = sheaf_store::migrate(&url, 8).await.unwrap();
    let numbers = migrated.numbers.unwrap();
    assert_eq!(
        (numbers.documents, numbers.entered, numbers.duplicated),
        (4, 2, 1),
        "{numbers:?}"
    );
    assert_eq!(numbers.duplicates[0].tenant_id, tenants[1]);
    let after = Store::connect(StoreConfig::new(url.clone())).await.unwrap();
    let refused = after.create_invoice(numbered(tenants[0], "N-1", false));
    assert!(matches!(
        refused.await,
        Err(CreateError::DuplicateNumber { .. })
    ));
    assert_eq!(sheaf_store::migrate(&url, 8).await.unwrap().numbers, None);
    after.close().await;
    drop(db);
    cluster.stop().await.unwrap();
}
