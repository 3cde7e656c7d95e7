//! Compaction against a real database and a real S3: nothing is lost, whatever dies in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::cluster::{self, Park, World, kill_compaction_at, world};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_archive::{ArchiveError, Checkpoint, CompactOptions, Silent, Step, Tier, VerifyOptions};
use sheaf_model::Status;
use sheaf_store::{FileState, ListFilter};
use uuid::Uuid;

/// Three runs over a month of each of two years: three parts each, whose ids overlap.
async fn fill(world: &World) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for round in 0..3 {
        let invoices: Vec<_> = (0..8)
            .map(|n| {
                let date = ["2023-02-10", "2024-03-01"][n % 2];
                world.invoice(date, round * 8 + n, Status::Paid)
            })
            .collect();
        ids.extend(invoices.iter().map(|invoice| invoice.id));
        world.create(invoices).await;
        assert_eq!(world.tier().await.parts, 2);
    }
    ids
}

/// Catalog rows by state: published, superseded, others.
async fn rows(world: &World) -> [usize; 3] {
    let states = [
        vec![FileState::Published],
        vec![FileState::Superseded],
        vec![FileState::Staged, FileState::Garbage],
    ];
    let mut counts = [0; 3];
    for (count, states) in counts.iter_mut().zip(states) {
        let files = world
            .store
            .archive_files(world.tenant, &states, None, 1_000);
        *count = files.await.unwrap().len();
    }
    counts
}

async fn assert_clean(world: &World, files: u64, invoices: u64) {
    let report = world.verify().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.files, report.invoices), (files, invoices));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_month_become_one_and_gc_collects_them_after_the_grace() {
    let world = world("compact").await;
    let ids = fill(&world).await;
    let before = world.bodies().await;
    let dry = CompactOptions {
        tenant: Some(world.tenant),
        dry_run: true,
    };
    let dry = loop {
        match world.archive.compact(dry, &Silent).await {
            Err(ArchiveError::AlreadyRunning) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(
        (dry.files, dry.replaced, dry.written, dry.invoices),
        (6, 6, 2, 24)
    );
    assert_eq!(rows(&world).await, [6, 0, 0]);

    let run = world.compact().await;
    assert_eq!(
        (run.replaced, run.written, run.invoices, run.dropped),
        (6, 2, 24, 0)
    );
    assert_eq!(rows(&world).await, [2, 6, 0]);
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
    assert_clean(&world, 2, 24).await;
    let files = world.archive.ls(world.tenant).await.unwrap();
    assert!(
        files
            .iter()
            .all(|file| (file.part, file.generation) == (0, 4))
    );

    // A rerun changes nothing and reads nothing.
    let (gets, puts) = (world.storage.gets(), world.storage.puts());
    let again = world.compact().await;
    assert_eq!((again.files, again.replaced, again.written), (2, 0, 0));
    assert_eq!((world.storage.gets(), world.storage.puts()), (gets, puts));

    // What was replaced stays for its readers until the grace is over; then nothing is left of it.
    let hour = Duration::from_secs(3_600);
    assert_eq!(world.gc(&world.archive, hour, false).await.superseded, 0);
    let gc = world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!((gc.superseded, gc.orphans), (6, 0));
    assert_eq!(rows(&world).await, [2, 0, 0]);
    assert_eq!(world.bodies().await, before);

    // Keys stay taken, and the next part of the month finds its number.
    let outcome = world
        .write(vec![world.invoice("2023-02-11", 2, Status::Paid)])
        .await;
    assert!(matches!(
        outcome[..],
        [sheaf_store::LineOutcome::Duplicate(_)]
    ));
    world
        .create(vec![world.invoice("2023-02-12", 100, Status::Paid)])
        .await;
    assert_eq!(world.tier().await.invoices, 1);
    // One late invoice is not worth writing twelve others again.
    assert_eq!(world.compact().await.replaced, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_a_recall_put_out_of_date_are_left_behind() {
    let world = world("masked").await;
    let ids = fill(&world).await;
    let before = world.bodies().await;
    for id in &ids[..5] {
        world.recall(*id).await;
    }
    // Two of them go back at once: into further parts, one a month.
    assert_eq!(world.tier().await.invoices, 5);
    for id in &ids[..2] {
        world.recall(*id).await;
    }
    assert_eq!(world.bodies().await, before);
    let run = world.compact().await;
    // Five copies of the first recalls, and two of those that were recalled again.
    assert_eq!((run.written, run.dropped, run.invoices), (2, 7, 22));
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
    assert_clean(&world, 2, 22).await;

    // The recalls are needed while a superseded file may be read, and forgotten with the last of
    // them.
    let recalls = || async {
        let select = "select count(*) from archive_recalls where tenant_id = $1";
        let row = cluster::sql()
            .await
            .query_one(select, &[&world.tenant.0])
            .await;
        row.unwrap().get::<_, i64>(0)
    };
    assert_eq!(recalls().await, 5);
    let hour = Duration::from_secs(3_600);
    assert_eq!(world.gc(&world.archive, hour, false).await.recalls, 0);
    assert_eq!(
        world
            .gc(&world.archive, Duration::ZERO, false)
            .await
            .recalls,
        5
    );
    assert_eq!(recalls().await, 0);
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
    // A recall that masks a copy is kept.
    world.recall(ids[7]).await;
    assert_eq!(
        world
            .gc(&world.archive, Duration::ZERO, false)
            .await
            .recalls,
        0
    );
    world.assert_one_tier(&ids).await;
    assert_eq!(world.bodies().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_which_everything_was_recalled_goes_without_a_successor() {
    let world = world("hollow").await;
    let invoices: Vec<_> = (0..3)
        .map(|n| world.invoice("2024-04-01", n, Status::Paid))
        .collect();
    let ids: Vec<Uuid> = invoices.iter().map(|invoice| invoice.id).collect();
    world.create(invoices).await;
    world.tier().await;
    for id in &ids {
        world.recall(*id).await;
    }
    let run = world.compact().await;
    assert_eq!((run.replaced, run.written, run.dropped), (1, 0, 3));
    assert_eq!(rows(&world).await, [0, 1, 1]);
    world.assert_one_tier(&ids).await;
    assert_eq!(world.tier().await.invoices, 3);
    world.gc(&world.archive, Duration::ZERO, false).await;
    world.assert_one_tier(&ids).await;
    assert_clean(&world, 1, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recalls_of_other_files_between_its_ids_hide_none_of_its_own() {
    let world = world("between").await;
    // One file in the middle of a month, and another of two invoices, whose ids lie around it.
    let inner: Vec<_> = (0..9)
        .map(|n| world.invoice("2024-06-15", n, Status::Paid))
        .collect();
    let inner_ids: Vec<Uuid> = inner.iter().map(|invoice| invoice.id).collect();
    world.create(inner).await;
    world.tier().await;
    let outer: Vec<_> = [("2024-06-01", 20), ("2024-06-30", 21)]
        .map(|(date, n)| world.invoice(date, n, Status::Paid))
        .to_vec();
    let last = outer.iter().map(|invoice| invoice.id).max().unwrap();
    world.create(outer).await;
    world.tier().await;
    for id in inner_ids.iter().chain([&last]) {
        world.recall(*id).await;
    }
    let cold = world
        .walk(&ListFilter::default(), 100, Some(Tier::Cold))
        .await;
    assert_eq!(cold.len(), 1, "the last invoice is hot, and only there");
    let all = world.walk(&ListFilter::default(), 100, None).await;
    assert_eq!(all.len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_every_invoice_is_in_one_tier_and_a_rerun_finishes() {
    for step in [
        Step::Locked,
        Step::Staged,
        Step::Read,
        Step::Encoded,
        Step::Uploaded,
        Step::Verified,
        Step::BeforeHandover,
        Step::AfterHandover,
    ] {
        let world = world(step.as_str()).await;
        let ids = fill(&world).await;
        let before = world.bodies().await;
        for id in &ids[..4] {
            world.recall(*id).await;
        }
        // In the second month of two, where the step comes once a month.
        let park = Park::at(step, usize::from(step != Step::Locked));
        assert!(
            kill_compaction_at(&world, park).await,
            "{step} was not reached"
        );
        world.assert_as_before(&ids, &before, step).await;

        world.compact().await;
        world.assert_one_tier(&ids).await;
        assert_eq!(world.bodies().await, before, "{step}");
        assert_eq!(rows(&world).await[0], 2, "{step}");
        world.gc(&world.archive, Duration::ZERO, false).await;
        assert_eq!(rows(&world).await, [2, 0, 0], "{step}");
        assert_eq!(world.compact().await.replaced, 0);
        assert_clean(&world, 2, 20).await;
        assert_eq!(world.bodies().await, before, "{step}");
    }
}

/// Recalls an invoice before a handover, so many times.
struct Meddle {
    world: Arc<World>,
    ids: Vec<Uuid>,
    next: AtomicUsize,
}

impl Checkpoint for Meddle {
    fn reached(&self, step: Step) -> BoxFuture<'_, ()> {
        async move {
            if step == Step::BeforeHandover {
                let next = self.next.fetch_add(1, Ordering::SeqCst);
                if let Some(id) = self.ids.get(next) {
                    self.world.recall(*id).await;
                }
            }
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recall_during_a_rewrite_is_not_undone() {
    for times in [1, 2] {
        let world = Arc::new(world("meddle").await);
        let ids = fill(&world).await;
        let before = world.bodies().await;
        // All of the same month.
        let month: Vec<Uuid> = ids.iter().copied().step_by(2).collect();
        let meddle = Arc::new(Meddle {
            world: world.clone(),
            ids: month[..times].to_vec(),
            next: AtomicUsize::new(0),
        });
        let archive = world.archive.clone().with_checkpoint(meddle);
        let run = world.try_compact(&archive).await.unwrap();
        // Once, it is written again; twice, the month is left to a later run.
        assert_eq!(
            (run.written, run.skipped_changed),
            if times == 1 { (2, 0) } else { (1, 3) }
        );
        assert_eq!(world.bodies().await, before);
        world.assert_one_tier(&ids).await;
        world.compact().await;
        assert_eq!(world.bodies().await, before);
        world.gc(&world.archive, Duration::ZERO, false).await;
        assert_clean(&world, 2, 24 - times as u64).await;
        world.assert_one_tier(&ids).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_not_written_anew() {
    let world = world("damaged").await;
    let ids = fill(&world).await;
    let file = world.archive.ls(world.tenant).await.unwrap().remove(1);
    let statement = "update archive_files set sha256 = $2 where tenant_id = $1 and object_key = $3";
    let sql = cluster::sql().await;
    let wrong = [7_u8; 32].to_vec();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&world.tenant.0, &wrong, &file.object_key];
    sql.execute(statement, &params).await.unwrap();
    let run = world.try_compact(&world.archive).await.unwrap();
    let failed = &run.failures.failures;
    assert_eq!((run.failures.failed, failed.len()), (1, 1), "{run:?}");
    assert!(failed[0].detail.contains(&file.object_key), "{run:?}");
    // Its neighbours of the other years became one; it stays as it is.
    let left = world.archive.ls(world.tenant).await.unwrap();
    assert!(left.iter().any(|left| left.object_key == file.object_key));
    world.assert_one_tier(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_tenants_stay_cheap() {
    // 40 tenants, each with three runs over four months: twelve files of two invoices.
    let first = world("small").await;
    let mut worlds = Vec::new();
    for n in 0..40 {
        let world = first.sibling(&format!("small-{n}")).await;
        for round in 0..3 {
            let invoices = (0..8).map(|n| {
                let date = ["2024-01-05", "2024-02-05", "2024-03-05", "2024-04-05"][n % 4];
                world.invoice(date, round * 8 + n, Status::Paid)
            });
            world.create(invoices.collect()).await;
            assert_eq!(world.tier().await.parts, 4);
        }
        worlds.push(world);
    }
    for world in &worlds {
        assert_eq!(rows(world).await, [12, 0, 0]);
        let (gets, _) = world.storage.gets();
        let puts = world.storage.puts();
        let run = world.compact().await;
        assert_eq!((run.replaced, run.written, run.invoices), (12, 1, 24));
        assert!(run.bytes_after < run.bytes_before / 8, "{run:?}");
        // Each file is read once, each new one written once and read back: nothing per invoice or
        // group.
        assert_eq!(world.storage.gets().0 - gets, 12 + 1);
        assert_eq!(world.storage.puts() - puts, 1);
        let gc = world.gc(&world.archive, Duration::ZERO, false).await;
        assert_eq!(
            (gc.superseded, gc.garbage, gc.staged, gc.orphans),
            (12, 0, 0, 0)
        );
        assert_eq!(rows(world).await, [1, 0, 0]);

        // A page over everything: one footer and one row group, where it was twelve times as many.
        let (gets, _) = world.storage.gets();
        let cold = world
            .walk(&ListFilter::default(), 100, Some(Tier::Cold))
            .await;
        assert_eq!(cold.len(), 24);
        assert_eq!(world.storage.gets().0 - gets, 2);
        // And a run that finds nothing costs no request at all.
        let (gets, puts) = (world.storage.gets(), world.storage.puts());
        assert_eq!(world.compact().await.replaced, 0);
        assert_eq!((world.storage.gets(), world.storage.puts()), (gets, puts));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_keeps_to_its_rate_and_goes_on_after_a_tenant() {
    let world = world("rate").await;
    fill(&world).await;
    let all = world.verify().await;
    let options = VerifyOptions {
        tenant: Some(world.tenant),
        rate: std::num::NonZeroU64::new(all.bytes),
        ..VerifyOptions::default()
    };
    let started = std::time::Instant::now();
    let paced = world.archive.verify_with(options, &Silent).await.unwrap();
    let took = started.elapsed();
    assert_eq!(paced, all);
    // All bytes within a second, but for the last file, after which there is nothing to wait for.
    assert!(took > Duration::from_millis(600), "{took:?}");
    let after = VerifyOptions {
        after: Some(world.tenant),
        ..options
    };
    assert_eq!(
        world
            .archive
            .verify_with(after, &Silent)
            .await
            .unwrap()
            .files,
        0
    );
}
