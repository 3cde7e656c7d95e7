//! Numbers that are taken in two years, against uploads that are one transaction.

use crate::support::{now, simple, store, tenant};
use chrono::NaiveDate;
use serde_json::json;
use sheaf_model::{TenantId, id};
use sheaf_store::{
    ChangeError, Command, Created, LineOutcome, NewChange, NewInvoice, Origin, Store, StoreError,
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
        is_refused(upload.commit().await, &number);
        let again = store
            .write_chunk(vec![numbered(tenant, &number, false)])
            .await
            .unwrap();
        assert!(matches!(
            &again[..],
            [LineOutcome::Rejected {
                code: "duplicate_number",
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
        is_refused(upload.commit().await, &number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_claimed_numbers_land_and_what_was_wrong_before_stops_none() {
    let store = store().await;
    let tenant = tenant(&store).await;
    // As an older release has left it: two documents with one number in one year, and no row that tells.
    let number = "OLD-1";
    store
        .create_invoice(numbered(tenant, number, false))
        .await
        .unwrap();
    let late = draft(&store, tenant, number).await;
    let db = crate::support::raw().await;
    db.execute(
        "insert into number_claims (tenant_id, number, issue_year, invoice_id) values ($1, $2, 2025, $3)",
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
        upload.commit().await.unwrap();
    }
}
