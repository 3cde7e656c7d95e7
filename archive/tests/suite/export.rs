//! Exports over both tiers: each invoice once, in order, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::cluster::{World, s3, world};
use sha2::{Digest, Sha256};
use sheaf_archive::export::COLUMNS;
use sheaf_archive::object::storage::{Counting, StorageError};
use sheaf_archive::{
    Archive, Export, ExportError, ExportFormat, ExportLimits, ExportOptions, ExportTiers,
};
use sheaf_model::{Customer, Metadata, Status};
use uuid::Uuid;

pub(crate) fn all() -> ExportOptions {
    ExportOptions {
        from: 1970,
        to: 2199,
        tiers: ExportTiers::All,
        format: ExportFormat::Ndjson,
        after: None,
        limit: None,
    }
}

async fn rest(export: &mut Export) -> (Vec<u8>, Option<ExportError>) {
    let mut bytes = Vec::new();
    while let Some(chunk) = export.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => return (bytes, Some(error)),
        }
    }
    (bytes, None)
}

pub(crate) async fn export(world: &World, options: ExportOptions) -> Vec<u8> {
    let mut export = world.archive.export(world.tenant, options).unwrap();
    let (bytes, error) = rest(&mut export).await;
    assert!(error.is_none(), "{error:?}");
    assert!(export.next().await.is_none());
    bytes
}

/// What an export must be: every invoice as it is read by its id, ascending.
pub(crate) async fn expected(world: &World) -> Vec<u8> {
    let mut bodies = world.bodies().await;
    bodies.reverse();
    assert!(bodies.is_sorted_by_key(|(id, _)| *id));
    lines(bodies.into_iter().map(|(_, body)| body))
}

fn lines(bodies: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    bodies
        .flat_map(|body| [body, b"\n".to_vec()])
        .flatten()
        .collect()
}

pub(crate) fn ids(ndjson: &[u8]) -> Vec<Uuid> {
    let text = std::str::from_utf8(ndjson).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let id = |line: &str| -> Uuid {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["id"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(id).collect()
}

/// Months of both tiers, with parts whose ids overlap, invoices that stay hot, one that is recalled
/// and one that went back after its recall.
async fn fill(world: &World) -> Vec<Uuid> {
    for round in 0..3 {
        let dates = ["2022-02-10", "2022-02-11", "2023-12-31", "2024-01-01"];
        let invoices = (0..12).map(|n| {
            let status = match n % 6 {
                5 => Status::Issued,
                _ => Status::Paid,
            };
            world.invoice(dates[n % 4], round * 12 + n, status)
        });
        world.create(invoices.collect()).await;
        world.tier().await;
    }
    let young = (100..106).map(|n| world.invoice("2026-05-05", n, Status::Draft));
    world.create(young.collect()).await;
    let cold = world
        .walk(&Default::default(), 100, Some(sheaf_archive::Tier::Cold))
        .await;
    let recalled: Vec<Uuid> = cold.iter().map(|(invoice, _)| invoice.id).take(2).collect();
    world.recall(recalled[0]).await;
    world.tier().await;
    world.recall(recalled[1]).await;
    recalled
}

#[tokio::test(flavor = "multi_thread")]
async fn both_tiers_come_in_one_order_each_invoice_once() {
    let world = world("export").await;
    let recalled = fill(&world).await;
    let expected = expected(&world).await;
    let told = export(&world, all()).await;
    assert_eq!(ids(&told).len(), 42);
    assert!(told == expected);
    for id in recalled {
        assert_eq!(ids(&told).iter().filter(|told| **told == id).count(), 1);
    }

    let of = |tiers| ExportOptions { tiers, ..all() };
    let (hot, cold) = (
        ids(&export(&world, of(ExportTiers::Hot)).await),
        ids(&export(&world, of(ExportTiers::Cold)).await),
    );
    // 6 young ones, 2 of 12 that are not settled, and one recalled.
    assert_eq!((hot.len(), cold.len()), (6 + 6 + 1, 29));
    let mut both = [hot, cold].concat();
    both.sort_unstable();
    assert_eq!(both, ids(&told));

    let years = |from, to| ExportOptions { from, to, ..all() };
    let mut parts = Vec::new();
    for (from, to) in [
        (1970, 2021),
        (2022, 2022),
        (2023, 2023),
        (2024, 2025),
        (2026, 2199),
    ] {
        parts.extend(export(&world, years(from, to)).await);
    }
    assert!(parts == expected, "years side by side are the whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_behind_any_line() {
    let world = world("export resumed").await;
    fill(&world).await;
    for format in [ExportFormat::Ndjson, ExportFormat::Csv] {
        let options = ExportOptions { format, ..all() };
        let whole = export(&world, options).await;
        let order = ids(&export(&world, all()).await);
        for (at, after) in order.iter().enumerate() {
            let limit = Some(at as u64 + 1);
            let mut bytes = export(&world, ExportOptions { limit, ..options }).await;
            let after = Some(*after);
            bytes.extend(export(&world, ExportOptions { after, ..options }).await);
            assert!(bytes == whole, "{format:?} behind line {at}");
        }
    }
    // An id that nobody has is a place like any other.
    let order = ids(&export(&world, all()).await);
    let between = Uuid::from_u128(order[20].as_u128() + 1);
    let after = Some(between);
    assert_eq!(
        ids(&export(&world, ExportOptions { after, ..all() }).await),
        order[21..]
    );
    let after = Some(Uuid::max());
    assert!(
        export(&world, ExportOptions { after, ..all() })
            .await
            .is_empty()
    );
    let after = Some(Uuid::nil());
    assert_eq!(
        ids(&export(&world, ExportOptions { after, ..all() }).await),
        order
    );
}

/// Enough for many chunks; hot, and settled.
async fn many(world: &World) -> Vec<Uuid> {
    let dates = ["2023-03-01", "2023-03-17", "2023-07-02", "2024-02-02"];
    for round in 0..4 {
        let invoices =
            (0..1_000).map(|n| world.invoice(dates[n % 4], round * 1_000 + n, Status::Paid));
        world.create(invoices.collect()).await;
    }
    let ids = ids(&export(world, all()).await);
    assert_eq!(ids.len(), 4_000);
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tiers_or_is_compacted_and_collected_meanwhile_comes_once() {
    let world = world("export meanwhile").await;
    let order = many(&world).await;
    let expected = expected(&world).await;

    let mut running = world.archive.export(world.tenant, all()).unwrap();
    let mut bytes = running.next().await.unwrap().unwrap().to_vec();
    assert_eq!(world.tier().await.invoices, 4_000);
    let (more, error) = rest(&mut running).await;
    assert!(error.is_none(), "{error:?}");
    bytes.extend(more);
    assert!(bytes == expected, "tiered meanwhile");

    // Small files of every month, that become one while they are read; gc with no grace takes the
    // old ones at once.
    for id in order.iter().step_by(10) {
        world.recall(*id).await;
    }
    world.tier().await;
    let mut running = world.archive.export(world.tenant, all()).unwrap();
    let mut bytes = running.next().await.unwrap().unwrap().to_vec();
    assert!(world.compact().await.replaced >= 2);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let collected = world.gc(&world.archive, Duration::ZERO, false).await;
    assert!(collected.superseded >= 2, "{collected:?}");
    let (more, error) = rest(&mut running).await;
    assert!(error.is_none(), "{error:?}");
    bytes.extend(more);
    assert_eq!(ids(&bytes), order, "compacted meanwhile");

    // Recalled meanwhile: hot again, still once.
    let mut running = world.archive.export(world.tenant, all()).unwrap();
    let mut bytes = running.next().await.unwrap().unwrap().to_vec();
    for id in order.iter().rev().step_by(50) {
        world.recall(*id).await;
    }
    let (more, error) = rest(&mut running).await;
    assert!(error.is_none(), "{error:?}");
    bytes.extend(more);
    assert_eq!(ids(&bytes), order, "recalled meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_breaks_it_off_and_the_next_one_completes_it() {
    let world = world("export broken").await;
    many(&world).await;
    let expected = expected(&world).await;
    world.tier().await;
    let gets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&gets);
    // The months' footers and the first groups, and then no more.
    let fault = move |operation: &str, key: &str| {
        let fails = operation == "get_range" && counted.fetch_add(1, Ordering::SeqCst) >= 4;
        fails.then(|| StorageError::Unavailable {
            key: key.to_owned(),
            detail: "down".to_owned(),
        })
    };
    let storage = Counting::new(Arc::new(s3().await)).with_fault(Box::new(fault));
    let broken = Archive::with_storage(world.store.clone(), Arc::new(storage));
    let mut running = broken.export(world.tenant, all()).unwrap();
    let (mut bytes, error) = rest(&mut running).await;
    assert!(matches!(error, Some(ExportError::Archive(_))), "{error:?}");
    assert!(running.next().await.is_none(), "nothing follows an error");
    let order = ids(&bytes);
    assert!(!order.is_empty() && order.len() < 4_000, "{}", order.len());
    let after = order.last().copied();
    bytes.extend(export(&world, ExportOptions { after, ..all() }).await);
    assert!(bytes == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_looked_up_again() {
    let world = world("export looked up").await;
    many(&world).await;
    let expected = expected(&world).await;
    world.tier().await;
    for gone in 0..6 {
        let gets = AtomicUsize::new(0);
        // As if it had been replaced and collected since the catalog was read.
        let fault = move |operation: &str, key: &str| {
            let fails = operation == "get_range" && gets.fetch_add(1, Ordering::SeqCst) == gone;
            let key = key.to_owned();
            fails.then_some(StorageError::NotFound { key })
        };
        let storage = Counting::new(Arc::new(s3().await)).with_fault(Box::new(fault));
        let archive = Archive::with_storage(world.store.clone(), Arc::new(storage));
        let (bytes, error) = rest(&mut archive.export(world.tenant, all()).unwrap()).await;
        assert!(error.is_none(), "{gone}: {error:?}");
        assert!(bytes == expected, "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_gets_nothing() {
    let world = world("export of one").await;
    fill(&world).await;
    let other = world.sibling("export of another").await;
    assert!(export(&other, all()).await.is_empty());
    let csv = ExportOptions {
        format: ExportFormat::Csv,
        ..all()
    };
    let text = String::from_utf8(export(&other, csv).await).unwrap();
    assert_eq!(text, format!("{}\r\n", COLUMNS.join(",")));
    let manifest = other
        .archive
        .manifest(other.tenant, 1970..=2199, Duration::from_mins(1));
    let manifest = manifest.await.unwrap();
    assert_eq!(
        (manifest.files.len(), manifest.tenant_id),
        (0, other.tenant)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_few_and_their_places_come_back() {
    let world = world("export places").await;
    many(&world).await;
    let limits = ExportLimits {
        per_tenant: 2,
        total: 3,
        idle: Duration::from_millis(300),
    };
    let archive = world.archive.clone().with_export_limits(limits);
    let mut one = archive.export(world.tenant, all()).unwrap();
    let two = archive.export(world.tenant, all()).unwrap();
    let refused = archive.export(world.tenant, all()).err();
    assert!(matches!(refused, Some(ExportError::TooMany { limit: 2 })));
    let other = world.sibling("export places 2").await;
    let three = archive.export(other.tenant, all()).unwrap();
    assert!(matches!(
        archive.export(other.tenant, all()).err(),
        Some(ExportError::Busy)
    ));
    drop((two, three));
    // A reader that sleeps is not waited for, and its part does not look like the whole.
    assert!(one.next().await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, error) = rest(&mut one).await;
    assert!(
        matches!(error, Some(ExportError::Idle { .. } | ExportError::Lost)),
        "{error:?}"
    );
    for _ in 0..2 {
        let _held = archive.export(world.tenant, all()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_keeps_what_has_quotes_commas_and_newlines() {
    let world = world("export csv").await;
    let mut odd = world.invoice("2024-04-01", 1, Status::Paid);
    odd.customer = Some(Customer {
        external_id: Some("c,1".into()),
        name: "O\"Neil, \u{1F4E6}".into(),
        address: Some("a\r\nb\nc".into()),
        country: Some("=1+1".into()),
        ..Customer::default()
    });
    odd.metadata = Metadata::parse(r#"{"a": "x,\"y\""}"#).unwrap();
    let draft = world.invoice("2024-04-02", 2, Status::Draft);
    world.create(vec![odd, draft]).await;
    let hot = export(
        &world,
        ExportOptions {
            format: ExportFormat::Csv,
            ..all()
        },
    )
    .await;
    world.tier().await;
    let both = export(
        &world,
        ExportOptions {
            format: ExportFormat::Csv,
            ..all()
        },
    )
    .await;
    assert_eq!(hot, both, "the same from both tiers");
    assert!(both.ends_with(b"\r\n"));
    let mut reader = csv::Reader::from_reader(both.as_slice());
    assert_eq!(reader.headers().unwrap(), COLUMNS.as_slice());
    let records: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    let of = |at: usize, name: &str| records[at][name].as_str();
    assert_eq!(of(0, "customer_name"), "O\"Neil, \u{1F4E6}");
    assert_eq!(of(0, "customer_address"), "a\r\nb\nc");
    assert_eq!(
        (of(0, "customer_country"), of(0, "customer_email")),
        ("=1+1", "")
    );
    assert_eq!(of(0, "metadata"), r#"{"a": "x,\"y\""}"#);
    assert_eq!(
        (of(0, "total"), of(0, "lines"), of(0, "payments")),
        ("2.64", "2", "1")
    );
    assert_eq!(
        (of(1, "currency"), of(1, "status"), of(1, "payments")),
        ("GBP", "draft", "0")
    );
    assert_eq!(records.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_has_the_objects_and_what_in_them_is_out_of_date() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = world("export manifest").await;
    let recalled = fill(&world).await;
    let manifest = world
        .archive
        .manifest(world.tenant, 2022..=2024, Duration::from_mins(5));
    let manifest = manifest.await.unwrap();
    let files = world.archive.ls(world.tenant).await.unwrap();
    assert_eq!(manifest.files.len(), files.len());
    assert_eq!(
        manifest.rows,
        files
            .iter()
            .map(|f| u64::try_from(f.invoices).unwrap())
            .sum::<u64>()
    );
    for file in &manifest.files {
        let url = file.url.as_deref().unwrap();
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let bytes = answer.bytes().await.unwrap();
        let digest = Sha256::digest(&bytes);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Some(digest), file.sha256);
        // Of this object and no other, and not without its signature.
        let elsewhere = reqwest::get(url.replace("-g", "-h")).await.unwrap();
        assert_eq!(elsewhere.status(), 403);
        let bare = reqwest::get(url.split('?').next().unwrap()).await.unwrap();
        assert_eq!(bare.status(), 403);
    }
    // The first was recalled and went back: its old row is out of date, its new one is not.
    let masked = |id: Uuid| {
        let files = manifest.files.iter();
        files
            .filter(|f| f.masked.iter().any(|m| m.id == id))
            .count()
    };
    assert!(masked(recalled[0]) >= 1 && masked(recalled[1]) >= 1);
    let newest = manifest
        .files
        .iter()
        .max_by_key(|f| f.published_at)
        .unwrap();
    assert!(newest.masked.iter().all(|m| m.id != recalled[0]));
    let year = world
        .archive
        .manifest(world.tenant, 2024..=2024, Duration::from_mins(5));
    assert!(
        year.await
            .unwrap()
            .files
            .iter()
            .all(|f| f.period == "2024-01")
    );
}
