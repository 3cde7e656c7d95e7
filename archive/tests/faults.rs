//! Damage and generated histories: what breaks is found, and what is killed at random loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sha2::{Digest, Sha256};
use sheaf_archive::storage::{ColdStorage, Counting, StorageError};
use sheaf_archive::{Archive, ArchiveError, Silent, Step, Tier, layout};
use sheaf_model::{Period, Status};
use sheaf_store::ListFilter;
use support::cluster::{self, Park, World, kill_at, world};
use uuid::Uuid;

async fn put(world: &World, key: &str, content: &[u8]) {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, content).unwrap();
    world
        .storage
        .put_if_absent(key, &path, Sha256::digest(content).into())
        .await
        .unwrap();
}

async fn content(world: &World, key: &str) -> Vec<u8> {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    world.storage.get_to_file(key, &path).await.unwrap();
    std::fs::read(&path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_a_flipped_byte_a_missing_object_and_an_orphan() {
    let world = world("damage").await;
    for (n, date) in ["2024-01-01", "2024-02-01", "2024-03-01"]
        .into_iter()
        .enumerate()
    {
        world
            .create(vec![world.invoice(date, n, Status::Paid)])
            .await;
    }
    world.tier().await;
    let files = world.archive.ls(world.tenant).await.unwrap();
    let [flipped, missing, whole] = [0, 1, 2].map(|at| files[at].object_key.clone());
    let mut bytes = content(&world, &flipped).await;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.storage.delete(&flipped).await.unwrap();
    put(&world, &flipped, &bytes).await;
    world.storage.delete(&missing).await.unwrap();
    let orphan = layout::object_key(
        world.tenant,
        Period {
            year: 2020,
            month: 1,
        },
        0,
        1,
    );
    let copy = content(&world, &whole).await;
    put(&world, &orphan, &copy).await;

    let report = world
        .archive
        .verify(Some(world.tenant), &Silent)
        .await
        .unwrap();
    assert_eq!(
        (report.mismatches, report.missing, report.orphans),
        (1, 1, 1),
        "{report:?}"
    );
    assert!(!report.is_clean());
    let named: BTreeMap<&str, &str> = report
        .problems
        .iter()
        .map(|p| (p.kind, p.object_key.as_str()))
        .collect();
    let expected = [
        ("mismatch", flipped.as_str()),
        ("missing", missing.as_str()),
        ("orphan", orphan.as_str()),
    ];
    assert_eq!(named, BTreeMap::from(expected));

    // gc takes the orphan, once it is old enough, and nothing that is published.
    let hour = Duration::from_secs(3_600);
    assert_eq!(world.gc(&world.archive, hour, false).await.orphans, 0);
    assert_eq!(
        world.gc(&world.archive, Duration::ZERO, true).await.orphans,
        1
    );
    assert_eq!(
        world
            .gc(&world.archive, Duration::ZERO, false)
            .await
            .orphans,
        1
    );
    assert!(matches!(
        world.storage.head(&orphan).await,
        Err(StorageError::NotFound { .. })
    ));
    assert!(world.storage.head(&whole).await.is_ok());
    assert_eq!(world.archive.ls(world.tenant).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_object_under_our_key_is_refused() {
    let (ours, theirs) = (world("ours").await, world("theirs").await);
    for world in [&ours, &theirs] {
        world
            .create(vec![world.invoice("2024-01-01", 1, Status::Paid)])
            .await;
        world.tier().await;
    }
    let [our, their] = [&ours, &theirs]
        .map(|world| async { world.archive.ls(world.tenant).await.unwrap().remove(0) });
    let (our, their) = (our.await, their.await);
    let foreign = content(&theirs, &their.object_key).await;
    ours.storage.delete(&our.object_key).await.unwrap();
    put(&ours, &our.object_key, &foreign).await;
    // The catalog is made to believe it: only the object itself tells.
    let sha256: Vec<u8> = Sha256::digest(&foreign).to_vec();
    let statement =
        "update archive_files set sha256 = $2, bytes = $3, tail_offset = $4 where tenant_id = $1";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&ours.tenant.0, &sha256, &their.bytes, &their.tail_offset];
    cluster::sql()
        .await
        .execute(statement, &params)
        .await
        .unwrap();
    let read = ours
        .archive
        .reader()
        .cold()
        .get(ours.tenant, our.min_id)
        .await;
    assert!(
        matches!(read, Err(ArchiveError::Corrupt { .. })),
        "{read:?}"
    );
    assert_eq!(
        ours.archive
            .verify(Some(ours.tenant), &Silent)
            .await
            .unwrap()
            .mismatches,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_leaves_everything_hot() {
    let world = world("broken").await;
    let invoices: Vec<_> = (0..5)
        .map(|n| world.invoice("2024-01-01", n, Status::Paid))
        .collect();
    let ids: Vec<Uuid> = invoices.iter().map(|i| i.id).collect();
    world.create(invoices).await;
    for operation in ["put_if_absent", "get_to_file"] {
        let fault = move |called: &str, key: &str| {
            (called == operation).then(|| StorageError::Unavailable {
                key: key.to_owned(),
                detail: "broken by the test".into(),
            })
        };
        let storage = Arc::new(Counting::new(world.storage.clone()).with_fault(Box::new(fault)));
        let broken = Archive::with_storage(world.store.clone(), storage);
        let run = world.try_tier(&broken).await;
        assert!(
            matches!(
                run,
                Err(ArchiveError::Storage(StorageError::Unavailable { .. }))
            ),
            "{run:?}"
        );
        for id in &ids {
            assert!(
                world
                    .store
                    .get_invoice(world.tenant, *id)
                    .await
                    .unwrap()
                    .is_some()
            );
        }
    }
    // A verification that finds something else does not hand over either.
    let lie = Arc::new(Lie(world.storage.clone()));
    let run = world
        .try_tier(&Archive::with_storage(world.store.clone(), lie))
        .await;
    assert!(matches!(run, Err(ArchiveError::Corrupt { .. })), "{run:?}");
    world.assert_one_tier(&ids).await;
    assert_eq!(world.tier().await.invoices, 5);
    assert_eq!(
        world.gc(&world.archive, Duration::ZERO, false).await.staged,
        3
    );
}

/// Stores something else than it was given, and says that all is well.
#[derive(Debug)]
struct Lie(Arc<Counting>);

impl ColdStorage for Lie {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a std::path::Path,
        _: [u8; 32],
    ) -> futures_util::future::BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[1_000] ^= 0x10;
            let copy = tempfile::NamedTempFile::new().unwrap().into_temp_path();
            std::fs::write(&copy, &bytes).unwrap();
            self.0
                .put_if_absent(key, &copy, Sha256::digest(&bytes).into())
                .await
        })
    }
    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: std::ops::Range<u64>,
    ) -> futures_util::future::BoxFuture<'a, Result<bytes::Bytes, StorageError>> {
        self.0.get_range(key, range)
    }
    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a std::path::Path,
    ) -> futures_util::future::BoxFuture<'a, Result<sheaf_archive::storage::Fetched, StorageError>>
    {
        self.0.get_to_file(key, path)
    }
    fn head<'a>(
        &'a self,
        key: &'a str,
    ) -> futures_util::future::BoxFuture<'a, Result<sheaf_archive::storage::ObjectInfo, StorageError>>
    {
        self.0.head(key)
    }
    fn delete<'a>(
        &'a self,
        key: &'a str,
    ) -> futures_util::future::BoxFuture<'a, Result<(), StorageError>> {
        self.0.delete(key)
    }
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> futures_util::future::BoxFuture<'a, Result<sheaf_archive::storage::ObjectPage, StorageError>>
    {
        self.0.list(prefix, from)
    }
}

/// One thing that happens to a tenant.
#[derive(Debug, Clone)]
enum Act {
    /// Documents arrive: month (some recent), and status.
    Import(Vec<(usize, Status)>),
    /// A run that ends by itself.
    Tier,
    /// A run, or a gc, that is killed at the n-th time it reaches a step.
    Kill(Step, usize),
    /// What was unsettled is cancelled.
    Settle,
    Gc,
}

const MONTHS: [&str; 4] = ["2023-12-31", "2024-01-01", "2024-02-15", "2026-11-01"];

fn act() -> impl Strategy<Value = Act> {
    let status = prop_oneof![4 => Just(Status::Paid), 1 => Just(Status::Cancelled), 2 => Just(Status::Issued)];
    let import = vec((0..MONTHS.len(), status), 1..12).prop_map(Act::Import);
    let kill = (proptest::sample::select(Step::ALL.to_vec()), 0_usize..3)
        .prop_map(|(step, skip)| Act::Kill(step, skip));
    prop_oneof![3 => import, 1 => Just(Act::Tier), 4 => kill, 1 => Just(Act::Settle), 1 => Just(Act::Gc)]
}

async fn play(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let world = world("history").await;
    let mut ids: BTreeSet<Uuid> = BTreeSet::new();
    let mut bodies: BTreeMap<Uuid, Vec<u8>> = BTreeMap::new();
    let mut number = 0;
    for act in acts {
        match act {
            Act::Import(list) => {
                let invoices: Vec<_> = list
                    .into_iter()
                    .map(|(month, status)| {
                        number += 1;
                        world.invoice(MONTHS[month], number, status)
                    })
                    .collect();
                ids.extend(invoices.iter().map(|i| i.id));
                world.create(invoices).await;
                bodies = world.bodies().await.into_iter().collect();
            }
            Act::Tier => drop(world.tier().await),
            Act::Kill(step, skip) => drop(kill_at(&world, Park::at(step, skip)).await),
            Act::Settle => {
                let statement = "update invoices set status = 'cancelled', amount_due = 0, version = version + 1 \
                                 where tenant_id = $1 and status = 'issued'";
                cluster::sql()
                    .await
                    .execute(statement, &[&world.tenant.0])
                    .await
                    .unwrap();
                bodies = world.bodies().await.into_iter().collect();
            }
            Act::Gc => {
                world.gc(&world.archive, Duration::ZERO, false).await;
            }
        }
        let now: BTreeMap<Uuid, Vec<u8>> = world.bodies().await.into_iter().collect();
        prop_assert_eq!(&now, &bodies);
        prop_assert!(now.keys().eq(ids.iter()));
        world
            .assert_one_tier(&ids.iter().copied().collect::<Vec<_>>())
            .await;
    }
    world.tier().await;
    world.gc(&world.archive, Duration::ZERO, false).await;
    let now: BTreeMap<Uuid, Vec<u8>> = world.bodies().await.into_iter().collect();
    prop_assert_eq!(now, bodies);
    let report = world
        .archive
        .verify(Some(world.tenant), &Silent)
        .await
        .unwrap();
    prop_assert!(report.is_clean() && report.unpublished == 0, "{:?}", report);
    let hot = world
        .walk(&ListFilter::default(), 100, Some(Tier::Hot))
        .await;
    let left = hot.iter().filter(|(i, _)| {
        matches!(i.status, Status::Paid | Status::Cancelled)
            && Period::of(i.id)
                < Period {
                    year: 2025,
                    month: 11,
                }
    });
    prop_assert_eq!(left.count(), 0);
    prop_assert_eq!(world.tier().await.invoices, 0);
    Ok(())
}

#[test]
fn random_histories_with_kills_keep_the_invariants() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases: 12,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&vec(act(), 3..10), |acts| {
            runtime.block_on(async { tokio::spawn(play(acts)).await.unwrap() })
        })
        .unwrap();
}
