//! Legal hold and retention that are set while something runs that they forbid; and answers that
//! are kept for a while.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_archive::object::storage::{ColdStorage, Fetched, ObjectInfo, ObjectPage, StorageError};
use sheaf_archive::{Archive, Checkpoint, ErasureOptions, ErasureSummary, Silent, Step};
use sheaf_model::Status;
use sheaf_store::{Cause, FileState, NewRetention, Origin, PutRetention, Store};
use uuid::Uuid;

use crate::care::erasures::{DAY, fill, keep, personal, receipt, told};
use crate::support::cluster::{Park, World, kill_at, sql, world};

/// Puts years on hold at a step, the first time that it is reached.
struct HoldAt {
    step: Step,
    is_done: AtomicBool,
    store: Store,
    tenant: sheaf_model::TenantId,
    years: Vec<i16>,
}

impl HoldAt {
    fn new(world: &World, step: Step, years: &[i16]) -> Arc<Self> {
        Arc::new(Self {
            step,
            is_done: false.into(),
            store: world.store.clone(),
            tenant: world.tenant,
            years: years.to_vec(),
        })
    }
}

impl Checkpoint for HoldAt {
    fn reached(&self, step: Step) -> BoxFuture<'_, ()> {
        async move {
            if step == self.step && !self.is_done.swap(true, Ordering::SeqCst) {
                for year in &self.years {
                    keep(&self.store, self.tenant, *year, true, None).await;
                }
            }
        }
        .boxed()
    }
}

async fn run(archive: &Archive, world: &World, as_of: DateTime<Utc>) -> ErasureSummary {
    let options = ErasureOptions {
        tenant: Some(world.tenant),
        grace: DAY,
        clock_skew: Duration::ZERO,
        as_of,
    };
    crate::care::erasures::again(|| archive.run_erasures(options, &Silent)).await
}

async fn ask(world: &World, customer: Uuid, at: DateTime<Utc>) {
    let cause = Cause::new(Origin::new("test", "req-1"), at);
    let asked = world
        .store
        .request_erasure(world.tenant, customer, &cause)
        .await;
    asked.unwrap();
}

async fn shown(world: &World) -> [bool; 3] {
    let told = told(world).await;
    [2022, 2023, 2026].map(|year| personal(&told, year))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_set_while_an_erasure_runs_is_kept_in_both_tiers() {
    let world = world("hold-erasure").await;
    let customer = fill(&world).await;
    ask(&world, customer, Utc::now()).await;
    let now = Utc::now();
    // The run has read what is held, and has not changed anything yet.
    let hold = HoldAt::new(&world, Step::Locked, &[2022, 2026]);
    let archive = world.archive.clone().with_checkpoint(hold);
    let held = run(&archive, &world, now).await;
    assert_eq!((held.held, held.completed), (1, 0));
    assert_eq!(shown(&world).await, [true, false, true]);
    let years = receipt(&world, customer).await.held;
    let years = years.iter().map(|held| (held.year, held.legal_hold));
    assert_eq!(years.collect::<Vec<_>>(), [(2022, true), (2026, true)]);

    // The file was written anew and verified, and is about to take the other's place.
    keep(&world.store, world.tenant, 2022, false, None).await;
    let hold = HoldAt::new(&world, Step::BeforeHandover, &[2022]);
    let archive = world.archive.clone().with_checkpoint(hold);
    run(&archive, &world, now).await;
    assert_eq!(shown(&world).await, [true, false, true]);

    // Lifted, the next run goes on.
    for year in [2022, 2026] {
        keep(&world.store, world.tenant, year, false, None).await;
    }
    let free = run(&world.archive, &world, now).await;
    assert_eq!(free.held, 0);
    assert_eq!(shown(&world).await, [false; 3]);
    assert!(world.verify().await.is_clean());
}

/// Files of 2022 and 2023 that were the tier of invoices once.
async fn superseded(world: &World) {
    let invoices = ["2022-03-05", "2022-04-05", "2023-05-05", "2023-06-05"];
    let invoices = invoices.iter().enumerate();
    let invoices = invoices.map(|(n, date)| world.invoice(date, n, Status::Paid));
    world.create(invoices.collect()).await;
    assert_eq!(world.tier().await.parts, 4);
    assert_eq!(world.compact().await.replaced, 4);
}

async fn objects(world: &World, state: FileState) -> usize {
    let files = world
        .store
        .archive_files(world.tenant, &[state], None, 100)
        .await;
    let mut there = 0;
    for file in files.unwrap() {
        there += usize::from(world.storage.head(&file.object_key).await.is_ok());
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_set_when_a_file_was_marked_keeps_its_object() {
    let world = world("hold-marked").await;
    superseded(&world).await;
    let hold = HoldAt::new(&world, Step::GcMarked, &[2022]);
    let archive = world.archive.clone().with_checkpoint(hold);
    let kept = world.gc(&archive, Duration::ZERO, false).await;
    assert_eq!((kept.held, kept.superseded, kept.garbage), (2, 2, 0));
    assert_eq!(objects(&world, FileState::Garbage).await, 1);
    assert_eq!(objects(&world, FileState::Superseded).await, 1);
    keep(&world.store, world.tenant, 2022, false, None).await;
    let gone = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((gone.held, gone.superseded, gone.garbage), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_not_answered_while_an_object_of_its_year_is_being_deleted() {
    let world = world("hold-deleting").await;
    let (store, tenant) = (&world.store, world.tenant);
    let set = AtomicBool::new(false);
    let hold = async {
        keep(store, tenant, 2022, true, None).await;
        set.store(true, Ordering::SeqCst);
    };
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let deletion = async {
        begun.send(()).unwrap();
        // Many times as long as a setting takes that need not wait.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if set.load(Ordering::SeqCst) {
                return true;
            }
        }
        false
    };
    let setting = async {
        has_begun.await.unwrap();
        hold.await;
    };
    let (answered_before, ()) = tokio::join!(store.unless_on_hold(tenant, 2022, deletion), setting);
    assert_eq!(answered_before.unwrap(), Some(false));
    let nothing = async { unreachable!("the year is on hold") };
    let done: Option<()> = store.unless_on_hold(tenant, 2022, nothing).await.unwrap();
    assert_eq!(done, None);
}

/// A storage whose deletions are not answered, and take effect when the test says so.
#[derive(Debug)]
struct Late {
    inner: Arc<dyn ColdStorage>,
    asked: Mutex<Vec<String>>,
}

impl Late {
    /// The requests arrive.
    async fn arrive(&self) {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        for key in asked {
            self.inner.delete(&key).await.unwrap();
        }
    }
}

impl ColdStorage for Late {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        sha256: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        self.inner.put_if_absent(key, path, sha256)
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>> {
        self.inner.get_range(key, range)
    }

    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>> {
        self.inner.get_to_file(key, path)
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>> {
        self.inner.head(key)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        self.asked.lock().unwrap().push(key.to_owned());
        let (key, detail) = (key.to_owned(), "no answer within 8000 ms".to_owned());
        std::future::ready(Err(StorageError::Unavailable { key, detail })).boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>> {
        self.inner.list(prefix, from)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_not_answered_while_a_deletion_that_was_given_up_may_take_effect() {
    let world = world("hold-late").await;
    superseded(&world).await;
    let late = Arc::new(Late {
        inner: world.storage.clone(),
        asked: Mutex::default(),
    });
    let archive = Archive::with_storage(world.store.clone(), late.clone());
    let given_up = world.gc(&archive, Duration::ZERO, false).await;
    assert_eq!((given_up.superseded, given_up.failures.failed), (0, 1));
    // gc gives a tenant up at its first failure: one object of one year.
    assert!(!late.asked.lock().unwrap().is_empty());
    assert_eq!(objects(&world, FileState::Garbage).await, 1);
    let hold = async |year| {
        let new = NewRetention {
            tenant: world.tenant,
            year,
            legal_hold: true,
            keep_until: None,
            expected: None,
            origin: Origin::new("test", "req-2"),
        };
        world.store.put_retention(&new).await.unwrap()
    };
    // Of the other year nothing is being deleted.
    assert!(matches!(hold(2023).await, PutRetention::Stored(_)));
    for _ in 0..2 {
        let PutRetention::Deleting(until) = hold(2022).await else {
            panic!("a hold is answered that the late deletion breaks")
        };
        assert!(until > Utc::now() + TimeDelta::minutes(15));
    }
    // It counts already for what has not begun.
    let kept = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((kept.held, kept.superseded, kept.garbage), (4, 0, 0));
    late.arrive().await;
    assert_eq!(objects(&world, FileState::Garbage).await, 0);
    assert!(matches!(hold(2022).await, PutRetention::Deleting(_)));
    let later = "update archive_files set superseded_at = $2
                 where tenant_id = $1 and state = 'garbage'";
    let asked = Utc::now() - TimeDelta::minutes(18);
    let aged = sql().await.execute(later, &[&world.tenant.0, &asked]).await;
    assert_eq!(aged.unwrap(), 1);
    assert!(matches!(hold(2022).await, PutRetention::Stored(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_answered_keeps_no_hold_waiting() {
    let world = world("hold-answered").await;
    superseded(&world).await;
    let gone = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!(gone.superseded, 4);
    for year in [2022, 2023] {
        keep(&world.store, world.tenant, year, true, None).await;
        let deleting = "select count(*) from archive_files
                        where tenant_id = $1 and state = 'garbage' and superseded_at is not null";
        let left = sql().await.query_one(deleting, &[&world.tenant.0]).await;
        assert_eq!(left.unwrap().get::<_, i64>(0), 0);
    }
}

/// A key that was never published may be reached by a late deletion as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_used_again_after_its_object_was_collected() {
    let world = world("keys-once").await;
    let invoice = world.invoice("2022-03-05", 0, Status::Paid);
    world.create(vec![invoice]).await;
    assert!(kill_at(&world, Park::at(Step::Uploaded, 0)).await);
    let staged = world
        .store
        .archive_files(world.tenant, &[FileState::Staged], None, 10);
    let staged = staged.await.unwrap();
    let collected = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((staged.len(), collected.staged), (1, 1));
    assert_eq!(world.tier().await.parts, 1);
    let published = world
        .store
        .archive_files(world.tenant, &[FileState::Published], None, 10);
    let published = published.await.unwrap();
    assert_ne!(published[0].object_key, staged[0].object_key);
    // Now there is a later one.
    world.gc(&world.archive, Duration::ZERO, false).await;
    let garbage = world
        .store
        .archive_files(world.tenant, &[FileState::Garbage], None, 10);
    assert_eq!(garbage.await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_once_stays_while_its_year_is_on_hold() {
    let world = world("hold-gc").await;
    superseded(&world).await;
    // Killed when the first row was garbage, and its object still there.
    assert!(kill_at(&world, Park::at(Step::GcMarked, 0)).await);
    assert_eq!(objects(&world, FileState::Garbage).await, 1);
    keep(&world.store, world.tenant, 2022, true, None).await;
    let kept = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((kept.held, kept.superseded, kept.garbage), (2, 2, 0));
    assert_eq!(objects(&world, FileState::Garbage).await, 1);
    assert_eq!(objects(&world, FileState::Superseded).await, 1);
    keep(&world.store, world.tenant, 2022, false, None).await;
    let gone = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((gone.held, gone.superseded, gone.garbage), (0, 1, 1));
    for state in [FileState::Garbage, FileState::Superseded] {
        assert_eq!(objects(&world, state).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_set_while_gc_runs_is_kept() {
    let world = world("hold-gc-run").await;
    superseded(&world).await;
    // The first file is gone; what the run still means to take is held now.
    let hold = HoldAt::new(&world, Step::GcObjectDeleted, &[2022, 2023]);
    let archive = world.archive.clone().with_checkpoint(hold);
    let kept = world.gc(&archive, Duration::ZERO, false).await;
    assert_eq!((kept.held, kept.superseded), (3, 1));
    assert_eq!(objects(&world, FileState::Superseded).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_answers_count_from_the_last_pass_that_changed_something() {
    let world = world("kept-answers").await;
    let customer = fill(&world).await;
    let now = Utc::now();
    // Asked for long ago; the documents told the name until now, and so could an answer of this
    // morning.
    ask(&world, customer, now - TimeDelta::days(30)).await;
    assert_eq!(run(&world.archive, &world, now).await.completed, 0);
    world.gc(&world.archive, Duration::ZERO, false).await;
    let pending = |receipt: sheaf_store::ErasureRecord| {
        let kept = receipt.pending.into_iter();
        kept.map(|p| (p.place, p.until > now + TimeDelta::days(6)))
            .collect::<Vec<_>>()
    };
    for days in [0, 5] {
        let early = run(&world.archive, &world, now + TimeDelta::days(days)).await;
        assert_eq!((early.erasures, early.completed), (1, 0), "day {days}");
        assert_eq!(
            pending(receipt(&world, customer).await),
            [("idempotency_keys".to_owned(), true)],
            "day {days}"
        );
    }
    let last = run(&world.archive, &world, now + TimeDelta::days(8)).await;
    assert_eq!((last.erasures, last.completed), (1, 1));
}
