//! Small files of several months in one of the year: every way to read finds the same in it.

use std::collections::BTreeMap;
use std::time::Duration;

use sheaf_archive::{ExportOptions, QueryOptions, Step, Tier};
use sheaf_model::{Invoice, Period, Status};
use sheaf_store::{ArchiveFile, ListFilter};
use uuid::Uuid;

use crate::export;
use crate::support::cluster::{Park, World, kill_compaction_at, world};
use crate::support::query::{all_tiers, ask, rows};

/// Six months of one year and one of another, three of four invoices settled, and one that was
/// recalled and went back.
async fn fill(world: &World) -> Vec<Uuid> {
    let dates = [
        "2022-07-09",
        "2023-01-01",
        "2023-02-10",
        "2023-05-31",
        "2023-06-01",
        "2023-11-30",
        "2023-12-31",
    ];
    let invoices = (0..28).map(|n| {
        let status = match n % 4 {
            3 => Status::Issued,
            _ => Status::Paid,
        };
        world.invoice(dates[n % 7], n, status)
    });
    let invoices: Vec<Invoice> = invoices.collect();
    let ids: Vec<Uuid> = invoices.iter().map(|invoice| invoice.id).collect();
    world.create(invoices).await;
    assert_eq!(world.tier().await.parts, 7);
    world.recall(ids[1]).await;
    assert_eq!(world.tier().await.parts, 1);
    ids
}

async fn files(world: &World) -> Vec<ArchiveFile> {
    world.archive.ls(world.tenant).await.unwrap()
}

fn periods(files: &[ArchiveFile]) -> Vec<String> {
    files.iter().map(|file| file.period.to_string()).collect()
}

/// Invoices by month, as SQL answers them, and as they are read.
async fn assert_months(world: &World) {
    let count = |tier: Option<Tier>| async move {
        let mut months = BTreeMap::<(i16, u8), (u64, u64)>::new();
        for (invoice, _) in world.walk(&ListFilter::default(), 50, tier).await {
            let Period { year, month } = Period::of(invoice.id);
            let counts = months.entry((year, month)).or_default();
            counts.0 += 1;
            counts.1 += invoice.lines.len() as u64;
        }
        months
    };
    for (tier, options) in [
        (Some(Tier::Cold), QueryOptions::default()),
        (None, all_tiers()),
    ] {
        let expected = count(tier).await;
        let asked = async |sql: &str| {
            let answer = ask(&world.archive, world.tenant, sql, options).await;
            rows(&answer.unwrap_or_else(|e| panic!("{sql}: {e}")))
        };
        let sql = "select year, month, count(*) from invoices group by 1, 2 order by 1, 2";
        let invoices = expected.iter().map(|((year, month), (count, _))| {
            [year.to_string(), month.to_string(), count.to_string()]
        });
        assert_eq!(asked(sql).await, invoices.collect::<Vec<_>>());
        let sql = "select month, count(*) from lines where year = 2023 and month > 2 group by 1 \
            order by 1";
        let lines = expected
            .iter()
            .filter(|((year, month), _)| *year == 2023 && *month > 2)
            .map(|((_, month), (_, count))| [month.to_string(), count.to_string()]);
        assert_eq!(asked(sql).await, lines.collect::<Vec<_>>());
        for month in 1..=12_u8 {
            let sql = format!("select count(*) from invoices where month = {month}");
            let of_month = expected.iter().filter(|((_, m), _)| *m == month);
            let count: u64 = of_month.map(|(_, (count, _))| count).sum();
            assert_eq!(asked(&sql).await, [[count.to_string()]], "{sql}");
        }
    }
}

async fn assert_clean(world: &World) {
    let report = world.verify().await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_months_of_a_year_are_one_file_and_read_as_before() {
    let world = world("year").await;
    let ids = fill(&world).await;
    let (before, exported) = (world.bodies().await, export::expected(&world).await);
    assert_months(&world).await;

    let run = world.compact().await;
    assert_eq!(
        (run.files, run.replaced, run.written, run.dropped),
        (8, 7, 1, 1)
    );
    let one = files(&world).await;
    assert_eq!(periods(&one), ["2022-07", "2023-00"]);
    let key = format!("/year=2023/month=00/p0-g{}.parquet", one[1].generation);
    assert!(one[1].object_key.ends_with(&key), "{}", one[1].object_key);
    world.gc(&world.archive, Duration::ZERO, false).await;
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
    assert_clean(&world).await;
    assert_months(&world).await;
    // The hot rows of its months stand between those of the file.
    assert!(export::export(&world, export::all()).await == exported);
    let order = export::ids(&exported);
    for (at, after) in order.iter().enumerate() {
        let after = Some(*after);
        let rest = export::export(
            &world,
            ExportOptions {
                after,
                ..export::all()
            },
        )
        .await;
        assert_eq!(export::ids(&rest), order[at + 1..]);
    }
    // One GET of a row group, with the footer at hand.
    let cold = world.archive.reader().cold().clone();
    let (gets, _) = world.storage.gets();
    assert!(cold.get(world.tenant, ids[1]).await.unwrap().is_some());
    assert_eq!(world.storage.gets().0 - gets, 1);
    assert_eq!(world.compact().await.replaced, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_invoices_of_a_year_are_read_beside_its_file_and_join_it() {
    let world = world("late").await;
    let mut ids = fill(&world).await;
    world.compact().await;
    let late = |n: usize| {
        world.invoice(
            ["2023-02-11", "2023-06-30", "2023-08-08"][n % 3],
            n,
            Status::Paid,
        )
    };
    for round in 0..3 {
        let invoices: Vec<Invoice> = (0..3).map(|n| late(100 + round * 3 + n)).collect();
        ids.extend(invoices.iter().map(|invoice| invoice.id));
        world.create(invoices).await;
        assert_eq!(world.tier().await.parts, 3);
    }
    let before_it = files(&world)
        .await
        .iter()
        .map(|file| file.generation)
        .max()
        .unwrap();
    let (before, exported) = (world.bodies().await, export::expected(&world).await);
    world.assert_one_tier(&ids).await;
    assert_months(&world).await;
    assert!(export::export(&world, export::all()).await == exported);

    // Nothing of the year may come a second time, whichever file holds it.
    let again = world
        .write(vec![
            late(100),
            world.invoice("2023-03-03", 4, Status::Paid),
        ])
        .await;
    assert!(
        again
            .iter()
            .all(|outcome| matches!(outcome, sheaf_store::LineOutcome::Duplicate(_))),
        "{again:?}"
    );
    world.recall(ids[4]).await;
    let run = world.compact().await;
    assert_eq!((run.replaced, run.written, run.dropped), (10, 1, 1));
    let both = files(&world).await;
    assert_eq!(periods(&both), ["2022-07", "2023-00"]);
    assert!(both[1].part == 0 && both[1].generation > before_it);
    assert_eq!(world.bodies().await, before);
    world.assert_one_tier(&ids).await;
    assert_clean(&world).await;
    assert_months(&world).await;
    assert!(export::export(&world, export::all()).await == exported);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_months_and_year_never_both_count() {
    for step in [
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
        assert!(
            kill_compaction_at(&world, Park::at(step, 0)).await,
            "{step} was not reached"
        );
        world.assert_as_before(&ids, &before, step).await;
        assert_months(&world).await;
        world.compact().await;
        world.gc(&world.archive, Duration::ZERO, false).await;
        assert_eq!(
            periods(&files(&world).await),
            ["2022-07", "2023-00"],
            "{step}"
        );
        assert_eq!(world.bodies().await, before, "{step}");
        assert_clean(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_year_is_one_tenants() {
    let world = world("year one").await;
    let other = world.sibling("year two").await;
    let (ids, theirs) = (fill(&world).await, fill(&other).await);
    world.compact().await;
    other.compact().await;
    for (world, own, foreign) in [(&world, &ids, &theirs), (&other, &theirs, &ids)] {
        world.assert_one_tier(own).await;
        for id in foreign {
            let read = world.archive.reader().get(world.tenant, *id).await;
            assert!(read.unwrap().is_none());
        }
        assert_months(world).await;
    }
}
