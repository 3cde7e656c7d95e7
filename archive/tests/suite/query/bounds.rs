//! Memory, time, rows, places; pruning; what EXPLAIN says; and the end of a query whose reader has
//! gone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sheaf_archive::object::storage::{Counting, StorageError};
use sheaf_archive::{Answer, Archive, ArchiveError, Format, QueryError, QueryLimits, QueryOptions};
use sheaf_model::Status;

use super::answers::archived;
use crate::support::cluster::{World, s3, world};
use crate::support::query::{all_tiers, ask, bytes, rows, stat};

pub(crate) fn limited(world: &World, change: impl FnOnce(&mut QueryLimits)) -> Archive {
    let mut limits = QueryLimits::default();
    change(&mut limits);
    world.archive.clone().with_query_limits(limits)
}

/// A query that computes for ever without reading anything.
const ENDLESS: &str =
    "with n as (select * from (values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)) v(x))
    select count(*) from n a, n b, n c, n d, n e, n f, n g, n h, n i, n j, n k, n l, n m
    where a.x + b.x + c.x + d.x + e.x + f.x + g.x + h.x + i.x + j.x + k.x + l.x + m.x = 1";

async fn fails(archive: &Archive, world: &World, sql: &str) -> QueryError {
    ask(archive, world.tenant, sql, QueryOptions::default())
        .await
        .expect_err(sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bound_has_an_error_of_its_own() {
    let (world, documents) = archived("bounds", 60).await;
    let small = limited(&world, |l| l.memory = 64 * 1024);
    let sort =
        "select * from (select *, row_number() over (order by metadata desc) r from invoices) x
                order by description_of, r";
    let sort = sort.replace("description_of", "external_id");
    let error = fails(&small, &world, &sort).await;
    assert!(
        matches!(error, QueryError::Memory { limit: 65_536 }),
        "{error:?}"
    );
    assert_eq!(error.code(), "query_memory_exceeded");

    let quick = limited(&world, |l| l.time = Duration::from_millis(300));
    let error = fails(&quick, &world, ENDLESS).await;
    assert!(matches!(error, QueryError::Timeout { .. }), "{error:?}");

    let rows_of = |max_rows| QueryOptions {
        max_rows,
        ..QueryOptions::default()
    };
    let all = "select id from invoices";
    let count = documents.len();
    let error = ask(&world.archive, world.tenant, all, rows_of(count - 1)).await;
    assert!(matches!(error, Err(QueryError::TooManyRows { limit }) if limit == count - 1));
    let exact = ask(&world.archive, world.tenant, all, rows_of(count))
        .await
        .unwrap();
    assert_eq!(stat(&exact, "rows"), count as u64);
    let few = limited(&world, |l| l.rows = 10);
    let error = ask(&few, world.tenant, all, rows_of(1_000_000)).await;
    assert!(matches!(error, Err(QueryError::TooManyRows { limit: 10 })));

    for (sql, code) in [
        ("selekt 1", "invalid_sql"),
        ("select nothing from invoices", "invalid_sql"),
        ("select * from nowhere", "invalid_sql"),
        ("select sum(currency) from invoices", "invalid_sql"),
        ("select nofunction(1)", "invalid_sql"),
        (
            "select 1 / (version - version) from invoices",
            "query_failed",
        ),
        ("select cast(currency as int) from invoices", "query_failed"),
        ("delete from invoices", "not_read_only"),
    ] {
        let error = fails(&world.archive, &world, sql).await;
        assert_eq!(error.code(), code, "{sql}: {error:?}");
        // Sentences, not how the engine writes its types.
        let detail = error.public_detail();
        assert!(
            !detail.contains("/src/") && !detail.contains("Error("),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_invoices_have_a_bound() {
    let world = world("hot").await;
    let documents = (0..30).map(|n| world.invoice("2026-10-03", n, Status::Issued));
    world.create(documents.collect()).await;
    let few = limited(&world, |l| l.hot_invoices = 29);
    let sql = "select count(*) from invoices";
    let error = ask(&few, world.tenant, sql, all_tiers()).await;
    assert!(
        matches!(error, Err(QueryError::TooManyHotRows { limit: 29 })),
        "{error:?}"
    );
    let elsewhere = format!("{sql} where year = 2025");
    let none = ask(&few, world.tenant, &elsewhere, all_tiers())
        .await
        .unwrap();
    assert_eq!(none["rows"][0][0], 0);
    let enough = limited(&world, |l| l.hot_invoices = 30);
    // A table that is joined with itself reads the hot tier once.
    let twice = "select count(*) from invoices a join invoices b using (id)";
    let twice = ask(&enough, world.tenant, twice, all_tiers())
        .await
        .unwrap();
    assert_eq!(twice["rows"][0][0], 30);
    assert_eq!(stat(&twice, "hot_invoices"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_places_and_one_that_leaves_frees_its_own() {
    let (world, _) = archived("places", 10).await;
    let other = world_of_another().await;
    let archive = limited(&world, |l| {
        (l.per_tenant, l.total, l.time) = (2, 3, Duration::from_secs(600))
    });
    let begin = |tenant| {
        let archive = archive.clone();
        tokio::spawn(async move {
            // A place may be taken for a moment by whoever looks whether there is one.
            loop {
                match archive
                    .query(tenant, ENDLESS, QueryOptions::default())
                    .await
                {
                    Err(QueryError::Busy | QueryError::TooManyQueries { .. }) => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    run => return Answer::begin(run?, Format::Json).await.map(drop),
                }
            }
        })
    };
    let running = [begin(world.tenant), begin(world.tenant)];
    let quick = "select 1";
    let third = eventually(async || {
        let third = ask(&archive, world.tenant, quick, QueryOptions::default()).await;
        matches!(third, Err(QueryError::TooManyQueries { limit: 2 }))
    });
    assert!(third.await, "a third query ran");
    // Another tenant has places, until there are none at all.
    let answer = ask(&archive, other.tenant, quick, QueryOptions::default()).await;
    assert_eq!(answer.unwrap()["rows"][0][0], 1);
    let last = begin(other.tenant);
    let full = eventually(async || {
        let full = ask(&archive, other.tenant, quick, QueryOptions::default()).await;
        matches!(full, Err(QueryError::Busy))
    });
    assert!(full.await, "a fourth query ran");
    // The readers go: their queries end, though they computed and read nothing.
    for task in running.into_iter().chain([last]) {
        task.abort();
    }
    let free = eventually(async || {
        ask(&archive, world.tenant, quick, QueryOptions::default())
            .await
            .is_ok()
    });
    assert!(free.await, "the places were not given back");
}

async fn world_of_another() -> World {
    world("another").await
}

async fn eventually(check: impl AsyncFn() -> bool) -> bool {
    for _ in 0..200 {
        if check().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_leave_out_files_groups_and_pages() {
    let (world, documents) = archived("pruning", 50).await;
    let read = async |sql: String| {
        let (before, _) = world.storage.gets();
        let answer = ask(&world.archive, world.tenant, &sql, QueryOptions::default())
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let gets = world.storage.gets().0 - before;
        assert_eq!(
            stat(&answer, "requests"),
            gets,
            "{sql}: what is said is what was done"
        );
        answer
    };
    let planned = |answer: &Value| {
        (
            stat(answer, "files_planned"),
            stat(answer, "files_read"),
            stat(answer, "files_total"),
        )
    };
    // The catalog alone answers for year, month, id and tenant.
    let id = documents[120].id;
    for (filter, files) in [
        ("year = 2023".to_owned(), 4),
        ("year = 2023 and month = 5".to_owned(), 1),
        ("year between 2022 and 2023 and month <> 1".to_owned(), 6),
        ("year in (2024)".to_owned(), 4),
        (format!("id = '{id}'"), 1),
        ("tenant_id = 'nobody'".to_owned(), 0),
        ("year = 1999".to_owned(), 0),
    ] {
        let answer = read(format!(
            "select count(*), sum(total) from invoices where {filter}"
        ))
        .await;
        assert_eq!(planned(&answer), (files, files, 12), "{filter}");
        let nested = filter.replace("id = '0", "invoice_id = '0");
        let answer = read(format!(
            "select count(*), sum(net) from lines where {nested}"
        ))
        .await;
        assert_eq!(planned(&answer), (files, files, 12), "lines: {nested}");
    }
    // Footers, once they are cached, answer for dates and amounts: no request at all.
    read("select count(total) from invoices".into()).await;
    let none = read("select sum(total) from invoices where issue_date > '2030-01-01'".into()).await;
    assert_eq!((stat(&none, "requests"), planned(&none).1), (0, 12));
    let one =
        read("select count(total) from invoices where issue_date = '2023-05-02'".into()).await;
    assert!(stat(&one, "requests") <= 2, "{one}");
    // Bloom filters answer for keys that lie between others.
    let key = read("select total from invoices where external_id = 'ext-0'".into()).await;
    assert_eq!(key["rows"].as_array().unwrap().len(), 0);
    let whole = read("select * from invoices".into()).await;
    assert!(
        stat(&key, "bytes_read") * 2 < stat(&whole, "bytes_read"),
        "{key} {}",
        whole["stats"]
    );
    // Few columns are few bytes, in lists too.
    let narrow = read("select sum(net) from lines".into()).await;
    let wide = read(
        "select max(l.description), max(l.metadata) from (select * from lines
                     join invoices on id = invoice_id) l"
            .into(),
    )
    .await;
    assert!(stat(&narrow, "bytes_read") < stat(&wide, "bytes_read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_which_files_and_how_many_bytes() {
    let (world, _) = archived("explain", 20).await;
    let text = async |sql: &str| {
        let answer = ask(&world.archive, world.tenant, sql, QueryOptions::default());
        let rows = rows(&answer.await.unwrap());
        let archive = rows.iter().find(|row| row[0] == "archive").unwrap()[1].clone();
        let plan = rows.iter().find(|row| row[0] != "archive").unwrap()[1].clone();
        let all: Vec<String> = rows.into_iter().map(|row| row[1].clone()).collect();
        assert!(!plan.is_empty());
        (archive, all.join("\n"))
    };
    let (archive, plan) = text("explain select sum(total) from invoices where year = 2023").await;
    assert!(
        archive.contains("files: 4 of 12 planned, 0 read"),
        "{archive}"
    );
    assert!(
        archive.contains("bytes: ") && archive.contains("0 read in 0 requests"),
        "{archive}"
    );
    assert!(plan.contains("year=2023/month=05"), "{plan}");
    assert!(!plan.contains("year=2022"), "{plan}");
    let run = "explain analyze select sum(total) from invoices where year = 2023";
    let (archive, plan) = text(run).await;
    assert!(
        archive.contains("files: 4 of 12 planned, 4 read"),
        "{archive}"
    );
    assert!(plan.contains("bytes_scanned"), "{plan}");
    assert!(!archive.contains(" 0 read in"), "{archive}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_is_told_apart_from_bad_sql() {
    let (world, _) = archived("fault", 5).await;
    let down = Counting::new(Arc::new(s3().await)).with_fault(Box::new(|operation, key| {
        (operation == "get_range").then(|| StorageError::Unavailable {
            key: key.to_owned(),
            detail: "down".into(),
        })
    }));
    let archive = Archive::with_storage(world.store.clone(), Arc::new(down));
    for table in ["invoices", "lines", "events"] {
        let error = fails(
            &archive,
            &world,
            &format!("select max(number) from {table}"),
        )
        .await;
        assert!(
            matches!(&error, QueryError::Archive(ArchiveError::Storage(_))),
            "{error:?}"
        );
        assert_eq!(error.code(), "archive_unavailable");
        assert!(!error.public_detail().contains("tenant_id="), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_with_its_reader_and_a_late_failure_is_said() {
    let (world, _) = archived("late", 60).await;
    // Large enough for its beginning to be sent while the rest is computed.
    let many =
        "select a.id, a.metadata, b.id as other from invoices a, invoices b order by a.month";
    let unsorted = "select a.id, a.metadata, b.id as other from invoices a, invoices b";
    let run = world
        .archive
        .query(world.tenant, unsorted, QueryOptions::default());
    let mut answer = Answer::begin(run.await.unwrap(), Format::Csv)
        .await
        .unwrap();
    assert!(answer.next().await.unwrap().is_ok());
    drop(answer);
    // One may be under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (gets, _) = world.storage.gets();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.storage.gets().0, gets, "it went on reading");

    let options = QueryOptions {
        max_rows: 50_000,
        ..QueryOptions::default()
    };
    let json = bytes(
        &world.archive,
        world.tenant,
        unsorted,
        options,
        Format::Json,
    )
    .await;
    let json: Value = serde_json::from_slice(&json.unwrap()).unwrap();
    assert_eq!(json["error"]["code"], "too_many_rows");
    assert!(json["stats"].is_null() && json["rows"].as_array().unwrap().len() <= 50_000);
    let csv = bytes(&world.archive, world.tenant, unsorted, options, Format::Csv).await;
    assert!(matches!(csv, Err(QueryError::TooManyRows { .. })));
    let ordered = ask(&world.archive, world.tenant, many, QueryOptions::default()).await;
    assert!(ordered.is_ok_and(|answer| !answer["error"].is_null()));
}
