//! Damage and faults: what breaks is found, and costs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::cluster::{self, World, world};
use sha2::{Digest, Sha256};
use sheaf_archive::object::key;
use sheaf_archive::object::storage::{ColdStorage, Counting, StorageError};
use sheaf_archive::{Archive, ArchiveError, Silent, VerifyOptions};
use sheaf_model::{Period, Status};
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
async fn verify_finds_a_flipped_byte_a_missing_a_truncated_and_an_alien_object() {
    let world = world("damage").await;
    for (n, date) in ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"]
        .into_iter()
        .enumerate()
    {
        world
            .create(vec![world.invoice(date, n, Status::Paid)])
            .await;
    }
    world.tier().await;
    let files = world.archive.ls(world.tenant).await.unwrap();
    let [flipped, missing, truncated, whole] = [0, 1, 2, 3].map(|at| files[at].object_key.clone());
    let mut bytes = content(&world, &flipped).await;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.storage.delete(&flipped).await.unwrap();
    put(&world, &flipped, &bytes).await;
    world.storage.delete(&missing).await.unwrap();
    let bytes = content(&world, &truncated).await;
    world.storage.delete(&truncated).await.unwrap();
    put(&world, &truncated, &bytes[..bytes.len() - 1]).await;
    // Of a key that the layout could have given, and of one that it could not.
    let alien = format!("{}notes.txt", key::tenant_prefix(world.tenant));
    put(&world, &alien, b"not ours").await;
    let orphan = key::object_key(
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

    let report = world.verify().await;
    assert_eq!(
        (
            report.mismatches,
            report.missing,
            report.truncated,
            report.orphans
        ),
        (1, 1, 1, 2),
        "{report:?}"
    );
    assert!(!report.is_clean());
    let named: BTreeSet<(&str, &str)> = report
        .problems
        .iter()
        .map(|p| (p.kind, p.object_key.as_str()))
        .collect();
    let expected = [
        ("mismatch", flipped.as_str()),
        ("missing", missing.as_str()),
        ("truncated", truncated.as_str()),
        ("orphan", orphan.as_str()),
        ("orphan", alien.as_str()),
    ];
    assert_eq!(named, BTreeSet::from(expected));
    // Held down to a rate, it finds the same.
    let paced = VerifyOptions {
        tenant: Some(world.tenant),
        rate: std::num::NonZeroU64::new(1024 * 1024),
        ..VerifyOptions::default()
    };
    assert_eq!(
        world.archive.verify_with(paced, &Silent).await.unwrap(),
        report
    );

    // gc takes the orphans, once it is old enough, and nothing that is published.
    let hour = Duration::from_secs(3_600);
    assert_eq!(world.gc(&world.archive, hour, false).await.orphans, 0);
    assert_eq!(
        world.gc(&world.archive, Duration::ZERO, true).await.orphans,
        2
    );
    assert_eq!(
        world
            .gc(&world.archive, Duration::ZERO, false)
            .await
            .orphans,
        2
    );
    assert!(matches!(
        world.storage.head(&orphan).await,
        Err(StorageError::NotFound { .. })
    ));
    assert!(world.storage.head(&whole).await.is_ok());
    assert_eq!(world.archive.ls(world.tenant).await.unwrap().len(), 4);
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
    assert_eq!(ours.verify().await.mismatches, 1);
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
        let run = world.try_tier(&broken).await.unwrap();
        let failed = &run.failures.failures[0];
        assert_eq!(failed.what.as_deref(), Some("2024-01"), "{run:?}");
        assert!(failed.detail.contains("broken by the test"), "{run:?}");
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
    assert_eq!(run.unwrap().failures.failed, 1);
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
    ) -> futures_util::future::BoxFuture<
        'a,
        Result<sheaf_archive::object::storage::Fetched, StorageError>,
    > {
        self.0.get_to_file(key, path)
    }
    fn head<'a>(
        &'a self,
        key: &'a str,
    ) -> futures_util::future::BoxFuture<
        'a,
        Result<sheaf_archive::object::storage::ObjectInfo, StorageError>,
    > {
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
    ) -> futures_util::future::BoxFuture<
        'a,
        Result<sheaf_archive::object::storage::ObjectPage, StorageError>,
    > {
        self.0.list(prefix, from)
    }
}
