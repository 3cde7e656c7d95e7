//! The tiering protocol and cold reads against a real database and a real S3.

use std::sync::Arc;
use std::time::Duration;

use crate::support::cluster::{self, Park, World, kill_at, world};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_archive::{ArchiveError, Checkpoint, RunOptions, Silent, Step, Tier};
use sheaf_model::{Kind, Status};
use sheaf_store::{LineOutcome, ListFilter};
use uuid::Uuid;

/// Settled and unsettled documents of three old months and a recent one: 24 settled old, 8
/// unsettled old, 8 recent.
async fn fill(world: &World) -> Vec<Uuid> {
    let mut invoices = Vec::new();
    for (at, date) in ["2024-02-29", "2024-03-01", "2025-01-31", "2026-10-01"]
        .into_iter()
        .enumerate()
    {
        for n in 0..10 {
            let number = at * 10 + n;
            let status = match n {
                0..6 => Status::Paid,
                6 | 7 => Status::Cancelled,
                8 => Status::Issued,
                _ => Status::Draft,
            };
            invoices.push(world.invoice(date, number, status));
        }
    }
    let ids = invoices.iter().map(|i| i.id).collect();
    world.create(invoices).await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn settled_old_invoices_move_and_read_the_same() {
    let world = world("move").await;
    let ids = fill(&world).await;
    let before = world.bodies().await;
    assert_eq!(before.len(), 40);
    let dry = world.options();
    let dry = loop {
        match world
            .archive
            .tiering()
            .run(
                RunOptions {
                    dry_run: true,
                    ..dry.clone()
                },
                &Silent,
            )
            .await
        {
            Err(ArchiveError::AlreadyRunning) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            answer => break answer.unwrap(),
        }
    };
    assert_eq!((dry.units, dry.parts, dry.invoices), (3, 0, 24));
    assert_eq!(world.storage.puts(), 0);

    let run = world.tier().await;
    assert_eq!(
        (run.units, run.parts, run.invoices, run.skipped_unsettled),
        (3, 3, 24, 6)
    );
    assert_eq!((run.lines, run.payments), (dry.lines, dry.payments));
    assert_eq!(run.events, 24);
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
    let cold = world
        .walk(&ListFilter::default(), 100, Some(Tier::Cold))
        .await;
    assert_eq!(cold.len(), 24);
    assert!(
        cold.iter()
            .all(|(invoice, _)| matches!(invoice.status, Status::Paid | Status::Cancelled))
    );
    let events = world
        .archive
        .reader()
        .cold()
        .events(world.tenant, cold[0].0.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].actor, "test");

    let again = world.tier().await;
    assert_eq!(
        (
            again.units,
            again.parts,
            again.invoices,
            again.skipped_unsettled
        ),
        (0, 0, 0, 6)
    );
    assert_eq!(world.storage.puts(), 3);
    let report = world.verify().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        (report.files, report.invoices, report.bytes),
        (3, 24, run.bytes)
    );
    let files = world.archive.ls(world.tenant).await.unwrap();
    let periods: Vec<String> = files.iter().map(|f| f.period.to_string()).collect();
    assert_eq!(periods, ["2024-02", "2024-03", "2025-01"]);
}

/// Lines and payments leave by range, some hundred at once of those that stay between them.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_between_those_that_go_keeps_its_lines_and_payments() {
    let world = world("between").await;
    let invoices: Vec<_> = (0..500)
        .map(|n| {
            // With its payments, whatever becomes of it.
            let mut invoice = world.invoice("2024-05-05", n, Status::Paid);
            if n % 5 > 0 {
                invoice.status = Status::PartiallyPaid;
            }
            invoice
        })
        .collect();
    let ids: Vec<Uuid> = invoices.iter().map(|i| i.id).collect();
    world.create(invoices).await;
    let before = world.bodies().await;
    let run = world.tier().await;
    assert_eq!((run.invoices, run.skipped_unsettled), (100, 400));
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_read_is_one_ranged_get_with_a_warm_footer_and_two_without() {
    let world = world("gets").await;
    let invoices: Vec<_> = (0..40)
        .map(|n| world.invoice("2024-05-05", n, Status::Paid))
        .collect();
    let ids: Vec<Uuid> = invoices.iter().map(|i| i.id).collect();
    world.create(invoices).await;
    world.tier().await;
    let cold = world.archive.reader().cold();
    let (start, _) = world.storage.gets();
    assert!(cold.get(world.tenant, ids[7]).await.unwrap().is_some());
    assert_eq!(world.storage.gets().0 - start, 2, "cold footer");
    for (n, id) in (1..).zip(&ids[8..20]) {
        assert_eq!(cold.get(world.tenant, *id).await.unwrap().unwrap().id, *id);
        assert_eq!(world.storage.gets().0 - start, 2 + n, "warm footer");
    }
    // Neither another tenant's read nor an id between two others is answered; the latter by the
    // footer alone.
    let stranger = sheaf_model::TenantId(Uuid::new_v4());
    assert!(cold.get(stranger, ids[7]).await.unwrap().is_none());
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let between = Uuid::from_u128(sorted[0].as_u128() + 1);
    assert!(cold.get(world.tenant, between).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_run_over_both_tiers_and_overlapping_parts_in_one_order() {
    let world = world("lists").await;
    let mut all = Vec::new();
    // Three runs over the same months: parts that overlap; then documents that stay hot.
    for round in 0..4 {
        let mut batch = Vec::new();
        for n in 0..30 {
            let status = if round == 3 {
                Status::Issued
            } else {
                [Status::Paid, Status::Cancelled][n % 2]
            };
            let date = ["2024-02-10", "2024-02-11", "2024-03-01"][n % 3];
            batch.push(world.invoice(date, round * 30 + n, status));
        }
        world.create(batch).await;
        if round < 3 {
            assert_eq!(world.tier().await.parts, 2);
        }
    }
    for (invoice, _) in world.walk(&ListFilter::default(), 100, None).await {
        all.push(invoice);
    }
    assert_eq!(all.len(), 120);
    assert!(all.is_sorted_by(|a, b| a.id > b.id));
    let customer_id = all.iter().find_map(|i| i.customer_id).unwrap();
    let filters = [
        ListFilter::default(),
        ListFilter {
            status: Some(Status::Paid),
            ..ListFilter::default()
        },
        ListFilter {
            kind: Some(Kind::CreditNote),
            ..ListFilter::default()
        },
        ListFilter {
            customer_id: Some(customer_id),
            ..ListFilter::default()
        },
        ListFilter {
            number: Some("N-00031".into()),
            ..ListFilter::default()
        },
        ListFilter {
            external_id: Some("ext-64".into()),
            ..ListFilter::default()
        },
        ListFilter {
            external_id: Some("nobody".into()),
            ..ListFilter::default()
        },
        ListFilter {
            issued_from: Some(cluster::day("2024-02-11")),
            issued_to: Some(cluster::day("2024-02-28")),
            ..ListFilter::default()
        },
        ListFilter {
            metadata: vec![("bucket".into(), "1".into())],
            ..ListFilter::default()
        },
    ];
    for filter in filters {
        let expected: Vec<Uuid> = all
            .iter()
            .filter(|i| filter.matches(i))
            .map(|i| i.id)
            .collect();
        for limit in [1, 7, 100] {
            let walked = world.walk(&filter, limit, None).await;
            let ids: Vec<Uuid> = walked.iter().map(|(i, _)| i.id).collect();
            assert_eq!(ids, expected, "{filter:?} by {limit}");
        }
        let (hot, cold) = (
            world.walk(&filter, 9, Some(Tier::Hot)).await,
            world.walk(&filter, 9, Some(Tier::Cold)).await,
        );
        assert_eq!(hot.len() + cold.len(), expected.len());
        assert!(
            hot.iter()
                .all(|(i, tier)| *tier == Tier::Hot && i.status == Status::Issued)
        );
        assert!(
            cold.iter()
                .all(|(i, tier)| *tier == Tier::Cold && i.status != Status::Issued)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_keys_stay_taken() {
    let world = world("keys").await;
    let invoices: Vec<_> = (0..10)
        .map(|n| world.invoice("2024-06-01", n, Status::Paid))
        .collect();
    world.create(invoices.clone()).await;
    world.tier().await;
    let again: Vec<_> = (0..10)
        .map(|n| world.invoice("2024-06-02", n, Status::Paid))
        .collect();
    let outcomes = world.write(again).await;
    for (outcome, first) in outcomes.iter().zip(&invoices) {
        assert_eq!(*outcome, LineOutcome::Duplicate(first.id));
    }
    let mut number = world.invoice("2024-06-02", 1, Status::Paid);
    number.external_id = None;
    let outcome = world.write(vec![number]).await;
    assert!(
        matches!(outcome[..], [LineOutcome::Rejected { .. }]),
        "{outcome:?}"
    );
}

/// Changes a row of the tenant before a handover, so many times.
struct Meddle {
    tenant: Uuid,
    times: std::sync::atomic::AtomicUsize,
}

impl Checkpoint for Meddle {
    fn reached(&self, step: Step) -> BoxFuture<'_, ()> {
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            if step == Step::BeforeHandover
                && self
                    .times
                    .fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1))
                    .is_ok()
            {
                let statement = "update invoices set version = version + 1, metadata = \
                    '{\"changed\": true}' \
                                 where tenant_id = $1 and external_id = 'ext-3'";
                let sql = cluster::sql().await;
                let changed = sql.execute(statement, &[&self.tenant]).await.unwrap();
                assert_eq!(changed, 1);
            }
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_meanwhile_is_written_again_or_stays() {
    for (times, moved, skipped) in [(1, 6, 0), (2, 0, 6)] {
        let world = world("changed").await;
        let invoices: Vec<_> = (0..6)
            .map(|n| world.invoice("2024-07-01", n, Status::Paid))
            .collect();
        let ids: Vec<Uuid> = invoices.iter().map(|i| i.id).collect();
        world.create(invoices).await;
        let meddle = Arc::new(Meddle {
            tenant: world.tenant.0,
            times: times.into(),
        });
        let archive = world.archive.clone().with_checkpoint(meddle);
        let run = world.try_tier(&archive).await.unwrap();
        assert_eq!((run.invoices, run.skipped_changed), (moved, skipped));
        world.assert_one_tier(&ids).await;
        let (invoice, tier) = world
            .archive
            .reader()
            .get(world.tenant, ids[3])
            .await
            .unwrap()
            .unwrap();
        assert_eq!(invoice.version, 1 + i64::try_from(times).unwrap());
        assert_eq!(invoice.metadata.as_str(), r#"{"changed": true}"#);
        assert_eq!(tier, if moved > 0 { Tier::Cold } else { Tier::Hot });
        // The attempts that came to nothing are garbage by now, and collected whatever the grace.
        let gc = world
            .gc(&world.archive, Duration::from_secs(3_600), false)
            .await;
        assert_eq!(gc.garbage, u64::try_from(times).unwrap());
        assert_eq!(world.tier().await.invoices, skipped);
        // The row of the last attempt goes when there is a later one.
        world.gc(&world.archive, Duration::ZERO, false).await;
        let report = world.verify().await;
        assert!(
            report.is_clean() && report.unpublished == 0 && report.invoices == 6,
            "{report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_runner_is_turned_away() {
    let world = world("second").await;
    world
        .create(vec![world.invoice("2024-08-01", 1, Status::Paid)])
        .await;
    let park = Park::at(Step::Uploaded, 0);
    let parked = world.archive.clone().with_checkpoint(park.clone());
    tokio::select! {
        _ = Box::pin(world.try_tier(&parked)) => panic!("the run did not park"),
        () = async {
            park.reached.notified().await;
            let second = world.archive.tiering().run(world.options(), &Silent).await;
            assert!(matches!(second, Err(ArchiveError::AlreadyRunning)));
            let gc = world.archive.gc(Some(world.tenant), Duration::ZERO, false).await;
            assert!(matches!(gc, Err(ArchiveError::AlreadyRunning)));
        } => {}
    }
    assert_eq!(world.tier().await.invoices, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_nothing_is_lost_and_a_rerun_finishes() {
    for step in Step::ALL {
        let world = world(step.as_str()).await;
        let ids = fill(&world).await;
        let before = world.bodies().await;
        if step.is_gc() {
            // Something to collect: an attempt that was killed after its upload.
            assert!(kill_at(&world, Park::at(Step::Uploaded, 0)).await);
        }
        // The second unit of three, where a step comes once a unit.
        let skip = usize::from(
            !step.is_gc() && !matches!(step, Step::Locked | Step::UnitsDone | Step::YearsDropped),
        );
        assert!(
            kill_at(&world, Park::at(step, skip)).await,
            "{step} was not reached"
        );
        world.assert_as_before(&ids, &before, step).await;

        world.tier().await;
        world.assert_one_tier(&ids).await;
        assert_eq!(world.bodies().await, before, "{step}");
        assert_eq!(
            world
                .walk(&ListFilter::default(), 100, Some(Tier::Cold))
                .await
                .len(),
            24
        );
        // Within the grace nothing but garbage goes; after it nothing is left over.
        let young = world
            .gc(&world.archive, Duration::from_secs(3_600), false)
            .await;
        assert_eq!((young.staged, young.superseded, young.orphans), (0, 0, 0));
        world.gc(&world.archive, Duration::ZERO, false).await;
        let report = world.verify().await;
        assert!(
            report.is_clean() && report.unpublished == 0,
            "{step}: {report:?}"
        );
        assert_eq!((report.files, report.invoices), (3, 24));
        assert_eq!(world.tier().await.invoices, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_row_groups_and_pages_is_read_at_every_place() {
    let world = world("large").await;
    let date = cluster::day("2024-09-09");
    let mut invoices: Vec<_> = (0..9_000)
        .map(|n| {
            let status = if n % 1_000 == 500 {
                Status::Cancelled
            } else {
                Status::Paid
            };
            let mut invoice = cluster::invoice(world.tenant, date, n, status, 1);
            invoice.customer = None;
            invoice
        })
        .collect();
    for chunk in invoices.chunks(1_000) {
        world.create(chunk.to_vec()).await;
    }
    invoices.sort_unstable_by_key(|invoice| std::cmp::Reverse(invoice.id));
    let run = world.tier().await;
    assert_eq!((run.parts, run.invoices), (1, 9_000));

    let cold = world.archive.reader().cold();
    for invoice in invoices
        .iter()
        .step_by(333)
        .chain([&invoices[0], &invoices[8_999]])
    {
        let (gets, bytes) = world.storage.gets();
        assert_eq!(
            cold.get(world.tenant, invoice.id).await.unwrap().as_ref(),
            Some(invoice)
        );
        let (gets_after, bytes_after) = world.storage.gets();
        assert!(
            gets_after - gets <= 2 && bytes_after - bytes < 2 * 1024 * 1024,
            "{} bytes",
            bytes_after - bytes
        );
    }
    let walk = |filter: ListFilter| {
        let world = &world;
        async move {
            let walked = world.walk(&filter, 100, Some(Tier::Cold)).await;
            walked
                .into_iter()
                .map(|(invoice, _)| invoice.id)
                .collect::<Vec<_>>()
        }
    };
    let ids: Vec<Uuid> = invoices.iter().map(|invoice| invoice.id).collect();
    assert_eq!(walk(ListFilter::default()).await, ids);
    let rare = ListFilter {
        status: Some(Status::Cancelled),
        ..ListFilter::default()
    };
    let expected: Vec<Uuid> = invoices
        .iter()
        .filter(|i| rare.matches(i))
        .map(|i| i.id)
        .collect();
    assert_eq!(expected.len(), 9);
    assert_eq!(walk(rare).await, expected);
    // An equality is answered by Bloom filters and at most one row group more than it lies in.
    let one = ListFilter {
        external_id: Some("ext-4321".into()),
        ..ListFilter::default()
    };
    let (_, bytes) = world.storage.gets();
    assert_eq!(walk(one).await.len(), 1);
    let files = world.archive.ls(world.tenant).await.unwrap();
    let read = world.storage.gets().1 - bytes;
    assert!(
        read < u64::try_from(files[0].bytes).unwrap(),
        "{read} of {} bytes",
        files[0].bytes
    );
}
