//! How long full-year questions take beside DuckDB, over the same objects. By hand: see
//! docs/archive-sql.md.
// Times, not money.
#![allow(clippy::float_arithmetic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use sheaf_archive::file::writer::PartWriter;
use sheaf_archive::object::key;
use sheaf_archive::object::storage::{
    ColdStorage, Counting, Fetched, ObjectInfo, ObjectPage, StorageError,
};
use sheaf_archive::{Archive, QueryOptions};
use sheaf_model::{Decimal, Period, Status, TenantId};
use sheaf_store::{ArchivedInvoice, EventRow};
use uuid::Uuid;

use crate::support::cluster::{World, day, invoice, world};
use crate::support::query::ask;

/// Objects as files of a directory: both engines read the same bytes from the same disk.
#[derive(Debug)]
struct Directory {
    root: PathBuf,
    /// Before each answer.
    delay: Duration,
}

fn unavailable(key: &str, error: impl std::fmt::Display) -> StorageError {
    StorageError::Unavailable {
        key: key.to_owned(),
        detail: error.to_string(),
    }
}

impl ColdStorage for Directory {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        _: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        async move {
            let to = self.root.join(key);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(path, to).map_err(|e| unavailable(key, e))?;
            Ok(())
        }
        .boxed()
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: std::ops::Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>> {
        use std::os::unix::fs::FileExt;
        async move {
            // Even no time at all is a millisecond of the timer.
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            let file = std::fs::File::open(self.root.join(key)).map_err(|e| unavailable(key, e))?;
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            file.read_exact_at(&mut bytes, range.start)
                .map_err(|e| unavailable(key, e))?;
            Ok(bytes.into())
        }
        .boxed()
    }

    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        _: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>> {
        async move { Err(unavailable(key, "not asked for here")) }.boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>> {
        async move { Err(unavailable(key, "not asked for here")) }.boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        async move { Err(unavailable(key, "not asked for here")) }.boxed()
    }

    fn list<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>> {
        async move { Ok(ObjectPage::default()) }.boxed()
    }
}

/// One generated document; what differs from one to the next is what is grouped and summed.
fn document(world: &World, period: Period, n: usize) -> ArchivedInvoice {
    let date = format!("{period}-{:02}", 1 + n % 28);
    let number = n
        + usize::from(period.month) * 100_000
        + usize::from(period.year.unsigned_abs()) * 10_000_000;
    let mut invoice = invoice(world.tenant, day(&date), number, Status::Paid, 1 + n % 4);
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let net = Decimal::new(i64::try_from(100 + mixed % 500_000).unwrap(), 2);
    let tax = (net * Decimal::new(2, 1)).round_dp(2);
    for line in &mut invoice.lines {
        (line.unit_price, line.net, line.tax) = (net, net, tax);
    }
    let count = Decimal::from(invoice.lines.len());
    (invoice.subtotal, invoice.tax_total) = (net * count, tax * count);
    invoice.total = invoice.subtotal + invoice.tax_total;
    invoice.amount_paid = invoice.total;
    invoice.payments[0].amount = invoice.total;
    invoice.customer_id = Some(Uuid::from_u128(mixed as u128 % 5_000));
    let event = EventRow {
        id: invoice.id,
        event_type: "invoice.created".into(),
        actor: "load".into(),
        request_id: None,
        data: "{}".into(),
        created_at: invoice.created_at,
        correlation_id: None,
        causation_id: None,
    };
    ArchivedInvoice {
        invoice,
        events: vec![event],
    }
}

/// Writes and publishes the archive of five years, a file a month.
async fn fill(world: &World, storage: &Directory, a_month: usize) {
    for year in 2020..2025 {
        for month in 1..=12 {
            let period = Period { year, month };
            let mut rows: Vec<_> = (0..a_month).map(|n| document(world, period, n)).collect();
            rows.sort_unstable_by_key(|row| row.invoice.id);
            let mut writer = PartWriter::new(world.tenant, period, [].into()).unwrap();
            writer.push(&rows).unwrap();
            let part = writer.finish().unwrap();
            let key = |part, generation| key::object_key(world.tenant, period, part, generation);
            let staged = world
                .store
                .stage_file(world.tenant, period, 2, None, key)
                .await;
            let mut file = staged.unwrap();
            storage
                .put_if_absent(&file.object_key, &part.path, part.sha256)
                .await
                .unwrap();
            (file.min_id, file.max_id) = (part.ids[0].0, part.ids[part.ids.len() - 1].0);
            file.bytes = i64::try_from(part.bytes).unwrap();
            file.tail_offset = i64::try_from(part.tail_offset).unwrap();
            file.invoices = i64::try_from(part.totals.invoices).unwrap();
            // No hot rows stood behind them, so the catalog is told by hand.
            let published = crate::support::cluster::sql().await;
            published
                .execute(
                    "update archive_files set state = 'published', min_id = $1, max_id = $2, \
                    invoices = $3, bytes = $4,
                     tail_offset = $5, sha256 = $6, published_at = now() where tenant_id = $7 and \
                     object_key = $8",
                    &[
                        &file.min_id,
                        &file.max_id,
                        &file.invoices,
                        &file.bytes,
                        &file.tail_offset,
                        &part.sha256.to_vec(),
                        &world.tenant.0,
                        &file.object_key,
                    ],
                )
                .await
                .unwrap();
        }
    }
}

/// Ours, and DuckDB's over `src`.
const QUESTIONS: [(&str, &str, &str); 6] = [
    (
        "year by currency and kind",
        "select currency, kind, count(*), sum(total), sum(tax_total) from invoices where year = \
        2023 group by 1, 2 order by 1, 2",
        "select currency, kind, count(*), sum(total), sum(tax_total) from src where year = 2023 \
        group by 1, 2 order by 1, 2",
    ),
    (
        "five years by month",
        "select year, month, count(*), sum(total) from invoices group by 1, 2 order by 1, 2",
        "select year, month, count(*), sum(total) from src group by 1, 2 order by 1, 2",
    ),
    (
        "top customers of a year",
        "select customer_id, sum(total) as t from invoices where year = 2022 group by 1 order by t \
        desc, 1 limit 10",
        "select customer_id, sum(total) as t from src where year = 2022 group by 1 order by t \
        desc, 1 limit 10",
    ),
    (
        "lines of a year by sku",
        "select sku, count(*), sum(net), sum(tax) from lines where year = 2023 group by 1 order by \
        1 nulls last",
        "select l.sku, count(*), sum(l.net), sum(l.tax) from (select unnest(lines) as l from src \
        where year = 2023) group by 1 order by 1 nulls last",
    ),
    (
        "payments of a year by method",
        "select method, count(*), sum(amount) from payments where year = 2024 \
             group by 1 order by 1",
        "select p.method, count(*), sum(p.amount) from (select unnest(payments) as p from src \
        where year = 2024) group by 1 order by 1",
    ),
    (
        "a week of one year by day",
        "select issue_date, count(*), sum(total) from invoices where issue_date between \
        '2023-03-05' and '2023-03-11' group by 1 order by 1",
        "select issue_date, count(*), sum(total) from src where issue_date between '2023-03-05' \
        and '2023-03-11' group by 1 order by 1",
    ),
];

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// DuckDB's rows and median time over the same objects.
fn peer(root: &Path, sql: &str, rounds: usize) -> serde_json::Value {
    let python = std::env::var("SHEAF_SQL_PYTHON").unwrap_or("python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb_answer.py");
    let out = Command::new(python)
        .args([script, &root.to_string_lossy(), sql, &rounds.to_string()])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Ours beside DuckDB's, in the same minute: the median of ours over that of theirs. Both must
/// answer the same rows.
async fn ratio(
    archive: &Archive,
    tenant: TenantId,
    root: &Path,
    (name, ours, theirs): (&str, &str, &str),
) -> f64 {
    let rounds = number("SHEAF_SQL_ROUNDS", 5);
    let peer = peer(root, theirs, rounds);
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let began = Instant::now();
        let answer = ask(archive, tenant, ours, QueryOptions::default()).await;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(answer.unwrap()["rows"], peer["rows"], "{name}");
    }
    // The first has no footer in its cache; DuckDB's first is left out as well.
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    let (median, other) = (times[times.len() / 2], peer["median_ms"].as_f64().unwrap());
    let ratio = median / other;
    eprintln!(
        "{name:<32} ours {median:8.1} ms (first {first:8.1})  duckdb {other:8.1} ms  ratio \
        {ratio:.2}"
    );
    ratio
}

/// `SHEAF_SQL_INVOICES` (1,000,000), `SHEAF_SQL_ROUNDS` (5), `SHEAF_SQL_PYTHON` (a Python that has
/// duckdb).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn beside_duckdb() {
    let world = world("speed").await;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let storage = |delay| Directory {
        root: root.to_owned(),
        delay,
    };
    let now = storage(Duration::ZERO);
    fill(&world, &now, number("SHEAF_SQL_INVOICES", 1_000_000) / 60).await;
    let archive = Archive::with_storage(world.store.clone(), Arc::new(now));
    let mut missed = Vec::new();
    for question in QUESTIONS {
        let ratio = ratio(&archive, world.tenant, root, question).await;
        if ratio > 1.5 {
            missed.push(format!("{}: {ratio:.2}", question.0));
        }
    }
    let ids = some_ids(&archive, &world, 300).await;
    let mut lookups = Vec::new();
    for id in &ids[..9] {
        let sql = |from| format!("select number, currency, total from {from} where id = '{id}'");
        let (ours, theirs) = (sql("invoices"), sql("src"));
        let ratio = ratio(&archive, world.tenant, root, ("one by id", &ours, &theirs)).await;
        lookups.push(ratio);
    }
    lookups.sort_by(f64::total_cmp);
    if lookups[4] > 0.2 {
        missed.push(format!("one by id: {:.2}", lookups[4]));
    }
    let slow = Arc::new(Counting::new(Arc::new(storage(Duration::from_millis(20)))));
    let archive = Archive::with_storage(world.store.clone(), slow.clone());
    let p99 = point_reads(&archive, &world, &slow, &ids).await;
    if p99 > 150.0 {
        missed.push(format!("p99 of a cold read: {p99:.1} ms"));
    }
    assert!(missed.is_empty(), "{missed:?}");
}

/// Ids of archived invoices, from all files alike.
async fn some_ids(archive: &Archive, world: &World, count: usize) -> Vec<Uuid> {
    let files = world.archive.ls(world.tenant).await.unwrap();
    let sql = format!(
        "select id from (select id, row_number() over (partition by year, month order by \
        tax_total, id) as n from invoices) x
         where n <= {} order by n, id limit {count}",
        count.div_ceil(files.len())
    );
    let answer = ask(archive, world.tenant, &sql, QueryOptions::default()).await;
    let rows = answer.unwrap();
    let rows = rows["rows"].as_array().unwrap().iter();
    rows.map(|row| row[0].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Reads by id through the hot tier first, as the API does, four at a time: every file's footer is
/// cached by a first round.
async fn point_reads(archive: &Archive, world: &World, storage: &Counting, ids: &[Uuid]) -> f64 {
    let mut times = Vec::new();
    for round in 0..5 {
        let (before, _) = storage.gets();
        let reads = ids.iter().map(|id| async move {
            let began = Instant::now();
            let read = archive.reader().get(world.tenant, *id).await.unwrap();
            assert!(read.is_some());
            began.elapsed().as_secs_f64() * 1_000.0
        });
        let round_times: Vec<f64> = stream::iter(reads).buffer_unordered(4).collect().await;
        let (after, _) = storage.gets();
        if round > 0 {
            assert_eq!(after - before, ids.len() as u64, "one GET each");
            times.extend(round_times);
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[times.len() * percent / 100];
    eprintln!(
        "a cold read, 20 ms a GET: p50 {:.1} ms, p99 {:.1} ms of {}",
        at(50),
        at(99),
        times.len()
    );
    at(99)
}
