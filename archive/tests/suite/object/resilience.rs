//! A bad S3: slow, throttling, silent, lying. What comes of it is the right answer, late, or a
//! clear error in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::cluster::{World, s3, world};
use crate::support::faulty::{Fault, Faulty};
use sha2::{Digest, Sha256};
use sheaf_archive::object::storage::{ColdStorage, StorageError};
use sheaf_archive::{Archive, ArchiveError, Policy, Resilient, Tier};
use sheaf_model::{Invoice, Status};
use sheaf_store::{LineOutcome, ListFilter, Store, StoreConfig, StoreError};
use uuid::Uuid;

/// An object of 4,000 bytes, and its key.
async fn object() -> (Arc<dyn ColdStorage>, String, Vec<u8>) {
    let s3 = s3().await;
    let key = format!("resilience-test/{}", Uuid::new_v4());
    let content: Vec<u8> = (0..1_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, &content).unwrap();
    let sha256 = Sha256::digest(&content).into();
    s3.put_if_absent(&key, &path, sha256).await.unwrap();
    (Arc::new(s3), key, content)
}

/// Longer than anything bounded takes here, also on a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn hasty() -> Policy {
    Policy {
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(40),
        attempt: Duration::from_millis(300),
        deadline: Duration::from_millis(1_000),
        ..Policy::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_the_answer_is_right() {
    let (s3, key, content) = object().await;
    for fault in [
        Fault::Throttled,
        Fault::Unavailable,
        Fault::Short(1),
        Fault::Short(4_000),
        Fault::Never,
    ] {
        let script = fault.clone();
        let faulty = Faulty::new(s3.clone(), move |_, _, call| match call {
            0 | 1 => script.clone(),
            _ => Fault::None,
        });
        let resilient = Resilient::new(faulty.clone(), hasty());
        let bytes = resilient.get_range(&key, 40..400).await.unwrap();
        assert_eq!(bytes, content[40..400], "{fault:?}");
        assert_eq!(faulty.calls().0, 3, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_ends_in_a_clear_error_after_a_bounded_number_of_attempts_and_in_time() {
    let (s3, key, _) = object().await;
    for (fault, attempts) in [
        (Fault::Throttled, 4),
        (Fault::Unavailable, 4),
        (Fault::Short(7), 4),
        // Attempts of 300 ms within a second.
        (Fault::Never, 4),
    ] {
        let script = fault.clone();
        let faulty = Faulty::new(s3.clone(), move |_, _, _| script.clone());
        let resilient = Resilient::new(faulty.clone(), hasty());
        let started = Instant::now();
        let error = resilient.get_range(&key, 40..400).await.unwrap_err();
        assert!(started.elapsed() < SOON, "{fault:?}");
        let throttled = matches!(fault, Fault::Throttled);
        match error {
            StorageError::Throttled { .. } => assert!(throttled, "{fault:?}"),
            StorageError::Unavailable { .. } => assert!(!throttled, "{fault:?}"),
            other => panic!("{fault:?}: {other}"),
        }
        assert!(faulty.calls().0 <= attempts, "{fault:?}");
    }
    // Of however many attempts there may be, those are made that there is time for: without an end
    // they take five minutes.
    let faulty = Faulty::new(s3.clone(), |_, _, _| Fault::Never);
    let policy = Policy {
        attempts: 1_000,
        ..hasty()
    };
    let started = Instant::now();
    let never = Resilient::new(faulty.clone(), policy)
        .get_range(&key, 40..400)
        .await;
    assert!(never.is_err() && started.elapsed() < SOON);
    assert!(faulty.calls().0 <= 4, "{}", faulty.calls().0);
    // What no second attempt can change is said at once.
    let faulty = Faulty::new(s3, |_, _, _| Fault::None);
    let missing = Resilient::new(faulty.clone(), hasty())
        .get_range("resilience-test/nothing", 0..1)
        .await;
    assert!(matches!(missing, Err(StorageError::NotFound { .. })));
    assert_eq!(faulty.calls().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_raced_and_hedges_are_a_bounded_share() {
    let (s3, key, content) = object().await;
    // Fast for 200 calls; then one GET in ten of those that are not hedges takes longer than
    // anything else here.
    let faulty = Faulty::new(s3.clone(), |_, _, call| match call {
        200.. if call % 10 == 0 => Fault::Late(2 * SOON),
        _ => Fault::None,
    });
    // Above what a busy machine or server makes of a fast GET: those would spend the hedges that
    // the slow ones need.
    let policy = Policy {
        hedge_floor: Duration::from_millis(500),
        ..Policy::default()
    };
    let resilient = Resilient::new(faulty.clone(), policy);
    for at in 0..200 {
        resilient.get_range(&key, at..at + 100).await.unwrap();
    }
    let mut slow = 0;
    for at in 0..60_u64 {
        let started = Instant::now();
        let bytes = resilient.get_range(&key, at..at + 100).await.unwrap();
        let from = usize::try_from(at).unwrap();
        assert_eq!(bytes, content[from..from + 100]);
        slow += usize::from(started.elapsed() > SOON);
    }
    assert_eq!(slow, 0, "each slow GET was raced by another one");
    let (calls, finished) = faulty.calls();
    assert!(calls - finished >= 5, "the losers were dropped");
    // 260 asked for, 5 % of them may be hedged, and what was saved up.
    assert!((265..=275).contains(&calls), "{calls}");

    // When all are slow, hedges would double the load: the share holds.
    let faulty = Faulty::new(s3, |_, _, call| match call {
        100.. => Fault::Late(Duration::from_millis(30)),
        _ => Fault::None,
    });
    let policy = Policy {
        hedge_floor: Duration::from_millis(5),
        ..Policy::default()
    };
    let resilient = Resilient::new(faulty.clone(), policy);
    for at in 0..300 {
        resilient.get_range(&key, at..at + 100).await.unwrap();
    }
    assert!(faulty.calls().0 <= 300 + 16, "{:?}", faulty.calls());
}

/// A tenant with 40 archived invoices of one month, by id.
async fn archived(name: &str) -> (World, Vec<Invoice>) {
    let world = world(name).await;
    let invoices = (0..40).map(|n| world.invoice("2024-05-05", n, Status::Paid));
    world.create(invoices.collect()).await;
    assert_eq!(world.tier().await.invoices, 40);
    let all = world
        .walk(&ListFilter::default(), 100, Some(Tier::Cold))
        .await;
    let mut invoices: Vec<Invoice> = all.into_iter().map(|(invoice, _)| invoice).collect();
    invoices.reverse();
    (world, invoices)
}

/// What one read came to.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    refused: usize,
    wrong: usize,
}

impl Tally {
    fn note<T: PartialEq>(&mut self, read: Result<T, ArchiveError>, expected: &T) {
        match read {
            Ok(value) if value == *expected => self.right += 1,
            Ok(_) => self.wrong += 1,
            Err(ArchiveError::Corrupt { .. }) => self.refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_never_an_answer() {
    let (world, invoices) = archived("flipped").await;
    let file = world.archive.ls(world.tenant).await.unwrap().remove(0);
    let size = u64::try_from(file.bytes).unwrap();
    let number = ListFilter {
        external_id: Some("ext-7".into()),
        ..ListFilter::default()
    };
    let wanted: Vec<Invoice> = invoices
        .iter()
        .filter(|i| number.matches(i))
        .cloned()
        .collect();
    assert_eq!(wanted.len(), 1);
    let newest: Vec<Invoice> = invoices.iter().rev().cloned().collect();
    let mut tally = Tally::default();
    for at in (4..size - 8).step_by(usize::try_from(size / 150).unwrap()) {
        let faulty = Faulty::new(world.storage.clone(), move |_, _, _| Fault::Flipped(at));
        // An archive of its own, whose caches are empty.
        let archive = Archive::with_storage(world.store.clone(), faulty);
        let cold = archive.reader().cold();
        let point = cold.get(world.tenant, invoices[11].id).await;
        tally.note(point, &Some(invoices[11].clone()));
        let page = cold
            .list(world.tenant, &ListFilter::default(), None, None, 100)
            .await;
        tally.note(page.map(|page| page.items), &newest);
        let page = cold.list(world.tenant, &number, None, None, 100).await;
        tally.note(page.map(|page| page.items), &wanted);
    }
    assert_eq!(tally.wrong, 0, "{tally:?}");
    assert!(tally.refused > 100 && tally.right > 0, "{tally:?}");
}

async fn try_write(world: &World, invoice: Invoice) -> Result<LineOutcome, StoreError> {
    Ok(world.try_write(vec![invoice]).await?.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_wrong_once_are_read_again() {
    let (world, invoices) = archived("once").await;
    for fault in [Fault::Elsewhere(1), Fault::Flipped(0)] {
        let script = fault.clone();
        // Every second read lies; a flip hits the first byte of what was asked for.
        let faulty = Faulty::new(world.storage.clone(), move |_, range, call| {
            match (call % 2, &script) {
                (0, Fault::Flipped(_)) => Fault::Flipped(range.start),
                // The range that ends the object cannot be moved on.
                (0, Fault::Elsewhere(_)) if range.start > 4 => Fault::Flipped(range.end - 1),
                (0, other) => other.clone(),
                _ => Fault::None,
            }
        });
        let archive = Archive::with_storage(world.store.clone(), faulty.clone());
        for invoice in &invoices {
            let read = archive.reader().cold().get(world.tenant, invoice.id).await;
            assert_eq!(read.unwrap().as_ref(), Some(invoice), "{fault:?}");
        }
        assert!(faulty.calls().0 >= 2 * invoices.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_away_is_said_to_be_and_nothing_is_missed() {
    let (world, invoices) = archived("away").await;
    let faulty = Faulty::new(world.storage.clone(), |_, _, _| Fault::Throttled);
    let storage = Arc::new(Resilient::new(faulty, hasty()));
    // A store of its own: the first archive gives it its sight of keys.
    let store = Store::connect(StoreConfig::new(&sheaf_local::test_env().database_url));
    let store = store.await.unwrap();
    let archive = Archive::with_storage(store.clone(), storage);
    let cold = archive.reader().cold();
    let throttled = |error: ArchiveError| {
        matches!(error, ArchiveError::Storage(StorageError::Throttled { .. }))
    };
    let point = cold.get(world.tenant, invoices[0].id).await;
    assert!(throttled(point.unwrap_err()));
    let list = cold
        .list(world.tenant, &ListFilter::default(), None, None, 10)
        .await;
    assert!(throttled(list.unwrap_err()));
    let world = World {
        store,
        archive: archive.clone(),
        storage: world.storage.clone(),
        tenant: world.tenant,
    };
    let write = try_write(&world, world.invoice("2024-05-06", 7, Status::Paid)).await;
    assert!(matches!(write, Err(StoreError::Cold { .. })), "{write:?}");
}
