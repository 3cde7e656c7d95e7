//! Idempotency keys of uploads: leases, answers that commit with their lines, and how long keys are
//! kept.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use sheaf_model::TenantId;
use sheaf_store::{
    ClusterError, IdFrom, IdemConflict, IdemKey, LineOutcome, ListFilter, NewInvoice, PLATFORM,
    Replay, Store, StoreConfig, StoreError, UploadAnswer, UploadKey,
};
use uuid::Uuid;

use crate::support::proxy::{Fault, Proxy};
use crate::support::{now, raw, simple, store, tenant};

const LEASE: Duration = Duration::from_secs(60);

fn key(name: &str, fingerprint: u8) -> IdemKey {
    IdemKey {
        key: name.to_owned(),
        fingerprint: [fingerprint; 32],
    }
}

fn answer(tenant: TenantId, name: &str) -> UploadAnswer {
    UploadAnswer {
        tenant,
        idem: key(name, 9),
        answer: Replay {
            status: 200,
            location: None,
            body: b"{}".to_vec(),
        },
    }
}

async fn begin(store: &Store, tenant: TenantId, idem: IdemKey) -> Result<UploadKey, StoreError> {
    store.begin_upload(tenant, &idem, now(), LEASE).await
}

#[track_caller]
fn refused(begun: &Result<UploadKey, StoreError>, conflict: IdemConflict) {
    assert!(
        matches!(begun, Err(StoreError::Idempotency(why)) if *why == conflict),
        "{begun:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_keeps_the_time_of_its_first_use() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let first = now() - TimeDelta::days(2);
    let begun = store.begin_upload(tenant, &key("k", 1), first, LEASE).await;
    assert!(matches!(begun, Ok(UploadKey::Started { first_used, .. }) if first_used == first));
    refused(
        &begin(&store, tenant, key("k", 1)).await,
        IdemConflict::Running,
    );
    refused(
        &begin(&store, tenant, key("k", 2)).await,
        IdemConflict::Mismatch,
    );
    store.note_progress(tenant, "k", b"half").await.unwrap();
    store.suspend_upload(tenant, "k").await.unwrap();
    refused(
        &begin(&store, tenant, key("k", 2)).await,
        IdemConflict::Mismatch,
    );
    let begun = begin(&store, tenant, key("k", 1)).await;
    let Ok(UploadKey::Started {
        first_used,
        progress,
    }) = begun
    else {
        panic!("{begun:?}");
    };
    assert_eq!((first_used, progress.as_slice()), (first, &b"half"[..]));
    store.abandon_upload(tenant, "k").await.unwrap();
    let begun = begin(&store, tenant, key("k", 2)).await;
    assert!(matches!(begun, Ok(UploadKey::Started { first_used, .. }) if first_used > first));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_atomic_upload_commits_with_its_lines() {
    let store = store().await;
    let (one, two) = (tenant(&store).await, tenant(&store).await);
    let years: BTreeSet<i16> = [2026, 2025].into();
    let count = async |tenant: TenantId| {
        let filter = ListFilter::default();
        let list = store.list_invoices(tenant, &filter, None, 10);
        list.await.unwrap().items.len()
    };
    let platform = format!("platform-{}", Uuid::now_v7());
    // Of one tenant on its node, of several through the coordinator.
    for (owner, of, name) in [(one, Some(one), "k"), (PLATFORM, None, platform.as_str())] {
        assert!(begin(&store, owner, key(name, 1)).await.is_ok());
        let chunk = || match of {
            Some(tenant) => vec![simple(tenant, json!({}))],
            None => vec![simple(one, json!({})), simple(two, json!({}))],
        };
        let before = (count(one).await, count(two).await);
        let mut upload = store.begin_atomic(of, &years).await.unwrap();
        upload.write(chunk()).await.unwrap();
        let mut late = store.begin_atomic(of, &years).await.unwrap();
        late.write(chunk()).await.unwrap();
        upload.commit(Some(answer(owner, name))).await.unwrap();
        // No request of its own stores the answer: whoever comes now finds it.
        let begun = begin(&store, owner, key(name, 1)).await;
        let Ok(UploadKey::Answered(stored)) = begun else {
            panic!("{begun:?}")
        };
        assert_eq!(stored.judge(&[9; 32]).unwrap().body, b"{}");
        assert_eq!(stored.judge(&[8; 32]).unwrap_err(), IdemConflict::Mismatch);
        // A second runner, whose lease had ended, takes its lines back.
        let committed = late.commit(Some(answer(owner, name))).await;
        assert!(
            matches!(
                committed,
                Err(StoreError::Idempotency(IdemConflict::Running))
            ),
            "{committed:?}"
        );
        let stored = match of {
            Some(_) => (before.0 + 1, before.1),
            None => (before.0 + 1, before.1 + 1),
        };
        assert_eq!((count(one).await, count(two).await), stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_upload_whose_commit_was_lost_is_found_by_its_key() {
    let proxy = Proxy::start().await;
    let store = Store::connect(StoreConfig::new(proxy.database_url.clone()));
    let store = store.await.unwrap();
    let tenant = tenant(&store).await;
    let years: BTreeSet<i16> = [2026, 2025].into();
    let commit = async |kept: Option<UploadAnswer>| {
        let mut upload = store.begin_atomic(Some(tenant), &years).await.unwrap();
        let line = simple(tenant, json!({}));
        upload.write(vec![line]).await.unwrap();
        proxy.expect([Fault::LoseCommit]);
        let committed = upload.commit(kept).await;
        assert!(proxy.is_quiet());
        committed
    };
    // Nothing would find it: sent again, it would be there twice.
    let lost = commit(None).await;
    assert!(
        matches!(
            lost,
            Err(StoreError::Cluster(ClusterError::OutcomeUnknown { .. }))
        ),
        "{lost:?}"
    );
    assert!(begin(&store, tenant, key("k", 1)).await.is_ok());
    let lost = commit(Some(answer(tenant, "k"))).await;
    assert!(
        matches!(
            lost,
            Err(StoreError::Cluster(ClusterError::Unavailable { .. }))
        ),
        "{lost:?}"
    );
    let begun = begin(&store, tenant, key("k", 1)).await;
    assert!(matches!(begun, Ok(UploadKey::Answered(_))), "{begun:?}");
}

/// A line of an upload with a key: its id derives from the line's place.
fn line(tenant: TenantId, place: u8, quantity: &str) -> NewInvoice {
    let line = json!({"description": "work", "quantity": quantity, "unit_price": "5.00"});
    let mut new = simple(tenant, json!({"issue_date": "2025-05-05", "lines": [line]}));
    let at = now() - TimeDelta::days(1);
    let day = at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let mut bits = [7; 10];
    bits[0] = place;
    bits[4..].copy_from_slice(&tenant.0.as_bytes()[10..]);
    new.invoice.id = sheaf_model::id::derived_id(day, bits);
    new.id_from = IdFrom::UploadLine;
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_there_are_found_and_other_lines_in_their_place_are_told() {
    let store = store().await;
    let [one, two] = [tenant(&store).await, tenant(&store).await];
    let lines = |quantity: &'static str, count: u8| -> Vec<NewInvoice> {
        (0..count)
            .flat_map(|n| [line(one, n, quantity), line(two, n, quantity)])
            .collect()
    };
    // More than are read at once.
    let written = store.write_chunk(lines("2", 80)).await.unwrap();
    assert_eq!(written, vec![LineOutcome::Created; 160]);
    let mut again = lines("2", 81);
    for place in [3, 150] {
        let (tenant, number) = ([one, two][place % 2], place / 2);
        again[place] = line(tenant, u8::try_from(number).unwrap(), "9");
    }
    let ids: Vec<Uuid> = again.iter().map(|new| new.invoice.id).collect();
    let written = store.write_chunk(again).await.unwrap();
    for (place, outcome) in written.into_iter().enumerate() {
        let expected = match place {
            3 | 150 => LineOutcome::OtherLine(ids[place]),
            160.. => LineOutcome::Created,
            _ => LineOutcome::Duplicate(ids[place]),
        };
        assert_eq!(outcome, expected, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_of_lines_with_derived_ids_is_found_again() {
    let proxy = Proxy::start().await;
    let store = Store::connect(StoreConfig::new(proxy.database_url.clone()));
    let store = store.await.unwrap();
    let tenant = tenant(&store).await;
    let lines = || (0..9).map(|n| line(tenant, n, "2")).collect();
    proxy.expect([Fault::LoseCommit]);
    // Stored by this upload, so created by it and no duplicate.
    let written = store.write_chunk(lines()).await.unwrap();
    assert!(proxy.is_quiet());
    assert_eq!(written, vec![LineOutcome::Created; 9]);
    let again = store.write_chunk(lines()).await.unwrap();
    let found = |outcome: &LineOutcome| matches!(outcome, LineOutcome::Duplicate(_));
    assert!(again.iter().all(found), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_are_swept_but_for_those_of_running_uploads() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let old = now() - TimeDelta::days(8);
    for name in ["running", "broken", "answered"] {
        let begun = store.begin_upload(tenant, &key(name, 1), old, LEASE).await;
        assert!(begun.is_ok());
    }
    store.suspend_upload(tenant, "broken").await.unwrap();
    let kept = answer(tenant, "answered");
    store.finish_upload(&kept).await.unwrap();
    assert!(begin(&store, tenant, key("young", 1)).await.is_ok());
    let week_ago = Utc::now() - TimeDelta::days(7);
    assert_eq!(store.sweep_idempotency(tenant, week_ago).await.unwrap(), 2);
    let left = raw()
        .await
        .query(
            "select key from idempotency_keys where tenant_id = $1 order by key",
            &[&tenant.0],
        )
        .await
        .unwrap();
    let left: Vec<&str> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["running", "young"]);
}
