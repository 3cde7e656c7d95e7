//! The hot tier's half of tiering: snapshot, handover, partitions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::explain::Home;
use crate::support::{execute, raw, simple, store, tenant};
use futures_util::future::BoxFuture;
use serde_json::json;
use sheaf_model::{Period, TenantId};
use sheaf_store::{
    ArchiveFile, ArchivedInvoice, ColdInvoice, ColdKeys, FileKeys, FileState, LineOutcome,
    ListFilter, Publish, Store, StoreError,
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(90);
const PAID: &str =
    r#"[{"reference": "p", "amount": "10.00", "paid_on": "2012-05-20", "method": "card"}]"#;

fn paid(tenant: TenantId, day: &str, external_id: &str) -> sheaf_store::NewInvoice {
    let payments: serde_json::Value = serde_json::from_str(PAID).unwrap();
    simple(
        tenant,
        json!({"issue_date": day, "external_id": external_id, "payments": payments}),
    )
}

fn may() -> Period {
    "2012-05".parse().unwrap()
}

/// Stages a file of everything settled in May 2012, with the figures that publishing checks.
async fn staged(store: &Store, tenant: TenantId) -> (ArchiveFile, Vec<(Uuid, i64)>) {
    let mut file = store
        .stage_file(tenant, may(), 1, None, |p, g| format!("{tenant}/p{p}-g{g}"))
        .await
        .unwrap();
    let mut reader = store.snapshot_reader(tenant, may(), None).await.unwrap();
    let mut rows = Vec::new();
    loop {
        let page = reader.next_page(2).await.unwrap();
        if page.is_empty() {
            break;
        }
        for archived in page {
            file.invoices += 1;
            file.lines += i64::try_from(archived.invoice.lines.len()).unwrap();
            file.payments += i64::try_from(archived.invoice.payments.len()).unwrap();
            file.events += i64::try_from(archived.events.len()).unwrap();
            rows.push((archived.invoice.id, archived.invoice.version));
        }
    }
    reader.finish().await.unwrap();
    assert!(rows.is_sorted());
    file.min_id = rows.first().unwrap().0;
    file.max_id = rows.last().unwrap().0;
    file.sha256 = Some([7; 32]);
    (file, rows)
}

/// Bytes of a page: what all that is in memory at once comes to.
fn weight(page: &[ArchivedInvoice]) -> usize {
    let of_one = |row: &ArchivedInvoice| {
        let events: usize = row.events.iter().map(|event| event.data.len()).sum();
        row.invoice.weight() + events
    };
    page.iter().map(of_one).sum()
}

/// Histories, descriptions and metadata as long as anybody can make them: a page is measured by
/// bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_snapshot_has_as_many_bytes_as_any() {
    const MIB: usize = 1 << 20;
    let store = store().await;
    let tenant = tenant(&store).await;
    let long = "d".repeat(2_000);
    let chunk: Vec<_> = (0..40)
        .map(|n| {
            let mut new = paid(tenant, "2012-05-05", &format!("e{n}"));
            // Some with many lines, some whose history is long, one of both: those before and after
            // it are whole.
            if n % 4 == 0 {
                let line = new.invoice.lines[0].clone();
                new.invoice.lines = (0..400)
                    .map(|_| sheaf_model::Line {
                        description: long.clone(),
                        ..line.clone()
                    })
                    .collect();
            }
            new
        })
        .collect();
    let ids: Vec<Uuid> = chunk.iter().map(|new| new.invoice.id).collect();
    let lines: usize = chunk.iter().map(|new| new.invoice.lines.len()).sum();
    store.write_chunk(chunk).await.unwrap();
    let client = raw().await;
    // A megabyte for each, and forty for one of them; and a customer's, whose id lies between
    // theirs.
    let between = Uuid::from_u128(ids.iter().min().unwrap().as_u128() + 1);
    for (subject, megabytes) in ids
        .iter()
        .map(|id| (*id, 1_i64))
        .chain([(ids[7], 39), (between, 40)])
    {
        client
            .execute(
                "insert into events (tenant_id, subject_id, id, year, event_type, actor, data, \
                created_at)
                 select $1, $2, gen_random_uuid(), 2012, 'invoice.updated', 'a',
                        jsonb_build_object('was', repeat('y', 1048576)), now()
                 from generate_series(1, $3::bigint)",
                &[&tenant.0, &subject, &megabytes],
            )
            .await
            .unwrap();
    }
    let mut reader = store.snapshot_reader(tenant, may(), None).await.unwrap();
    let (mut read, mut of_lines, mut pages, mut largest) = (Vec::new(), 0, 0, 0);
    loop {
        let page = reader.next_page(1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        let longest = weight(&page);
        if page.len() > 1 {
            largest = longest.max(largest);
        }
        assert!(longest < 42 * MIB, "{longest} bytes of one page");
        pages += 1;
        of_lines += page
            .iter()
            .map(|row| row.invoice.lines.len())
            .sum::<usize>();
        read.extend(
            page.into_iter()
                .map(|row| (row.invoice.id, row.events.len())),
        );
    }
    reader.finish().await.unwrap();
    // Two tables of 8 MiB each.
    assert!(largest < 18 * MIB, "{largest} bytes of a page of several");
    // Seven fit into 8 MiB, and the longest is alone.
    assert!(pages >= 6, "{pages}");
    assert_eq!(of_lines, lines);
    let mut expected: Vec<(Uuid, usize)> = ids
        .iter()
        .map(|id| (*id, if *id == ids[7] { 41 } else { 2 }))
        .collect();
    expected.sort_unstable();
    assert_eq!(read, expected, "each once, by id, with its whole history");
}

async fn hot(store: &Store, tenant: TenantId) -> usize {
    store
        .list_invoices(tenant, &ListFilter::default(), None, 100)
        .await
        .unwrap()
        .items
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_takes_exactly_the_settled_rows_of_its_tenant() {
    let store = store().await;
    let (tenant, stranger) = (tenant(&store).await, tenant(&store).await);
    for owner in [tenant, stranger] {
        let mut chunk: Vec<_> = (0..5)
            .map(|n| paid(owner, "2012-05-05", &format!("e{n}")))
            .collect();
        chunk.push(simple(owner, json!({"issue_date": "2012-05-06"})));
        chunk.push(paid(owner, "2012-06-01", "june"));
        store.write_chunk(chunk).await.unwrap();
    }
    let (from, before) = may().id_bounds();
    let first = store
        .next_settled(tenant, from, before)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.count_unsettled(tenant, before).await.unwrap(), 1);
    let (file, rows) = staged(&store, tenant).await;
    assert_eq!(
        (file.invoices, file.part, file.generation, rows[0].0),
        (5, 0, 1, first)
    );
    assert_eq!(
        store.publish_file(&file, &rows).await.unwrap(),
        Publish::Done
    );
    assert_eq!(
        (hot(&store, tenant).await, hot(&store, stranger).await),
        (2, 7)
    );
    assert_eq!(
        store.next_settled(tenant, from, before).await.unwrap(),
        None
    );
    let found = store.archive_files_for_id(tenant, first).await.unwrap();
    assert_eq!(
        (found.len(), found[0].state, found[0].invoices),
        (1, FileState::Published, 5)
    );
    assert!(
        store
            .archive_files_for_id(stranger, first)
            .await
            .unwrap()
            .is_empty()
    );
    // A second handover of the same rows finds them gone, and a published file is nobody's garbage.
    assert_eq!(
        store.publish_file(&file, &rows).await.unwrap(),
        Publish::Changed
    );
    assert!(!store.mark_garbage(&file).await.unwrap());
    let leftovers: i64 = raw()
        .await
        .query_one(
            "select (select count(*) from invoice_lines where tenant_id = $1) + (select count(*) \
            from payments where tenant_id = $1)
                  + (select count(*) from events where tenant_id = $1)",
            &[&tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        leftovers,
        2 + 1 + 2,
        "lines, payments and events of what stayed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_of_anything_that_changed_does_nothing() {
    let store = store().await;
    let tenant = tenant(&store).await;
    store
        .write_chunk(
            (0..3)
                .map(|n| paid(tenant, "2012-05-05", &format!("e{n}")))
                .collect(),
        )
        .await
        .unwrap();
    let (file, rows) = staged(&store, tenant).await;
    let db = raw().await;
    execute(
        &db,
        "update invoices set version = version + 1 where tenant_id = $1 and id = $2",
        &[&tenant.0, &rows[1].0],
    )
    .await;
    assert_eq!(
        store.publish_file(&file, &rows).await.unwrap(),
        Publish::Changed
    );
    assert_eq!(hot(&store, tenant).await, 3);
    // The next attempt has a generation of its own, and an attempt that was given up cannot
    // publish.
    let (second, rows) = staged(&store, tenant).await;
    assert_eq!((second.part, second.generation), (0, 2));
    assert!(store.mark_garbage(&second).await.unwrap());
    assert_eq!(
        store.publish_file(&second, &rows).await.unwrap(),
        Publish::Changed
    );
    assert_eq!(hot(&store, tenant).await, 3);
    // A row beside the ones that were read (an event without a new version) is not lost either.
    let (mut third, rows) = staged(&store, tenant).await;
    third.events -= 1;
    assert_eq!(
        store.publish_file(&third, &rows).await.unwrap(),
        Publish::Changed
    );
    third.events += 1;
    assert_eq!(
        store.publish_file(&third, &rows).await.unwrap(),
        Publish::Done
    );
    assert_eq!(hot(&store, tenant).await, 0);
}

/// As DDL of a partition may do it: whoever waits longest for a lock finds the deadlock, and its
/// transaction ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_handover_that_a_deadlock_ends_is_tried_again() {
    let store = store().await;
    let tenant = tenant(&store).await;
    store
        .write_chunk(vec![paid(tenant, "2012-05-05", "e")])
        .await
        .unwrap();
    let (file, rows) = staged(&store, tenant).await;
    let id = rows[0].0;
    let home = Home::of(tenant).await;
    let other = &home.owner;
    // It never looks for a deadlock itself.
    other
        .batch_execute("set statement_timeout = 0; set deadlock_timeout = '1h'; begin")
        .await
        .unwrap();
    let hold = |table: &str, column: &str| {
        let table = home.shard(table);
        format!("select 1 from {table} where tenant_id = $1 and {column} = $2 for update")
    };
    let of_one: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant.0, &id];
    // What the handover deletes last, and what it deletes first.
    let events = hold("events", "subject_id");
    assert!(!other.query(&events, &of_one).await.unwrap().is_empty());
    let handover = tokio::spawn(async move { store.publish_file(&file, &rows).await });
    let watch = Home::of(tenant).await.owner;
    let waits = "select 1 from pg_locks where not granted and locktype = 'transactionid'
                 and $1 = any(pg_blocking_pids(pid))";
    let pid = "select pg_backend_pid()";
    let pid: i32 = other.query_one(pid, &[]).await.unwrap().get(0);
    let started = Instant::now();
    while watch.query(waits, &[&pid]).await.unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE && !handover.is_finished());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let invoices = hold("invoices", "id");
    let second = tokio::time::timeout(PATIENCE, other.query(&invoices, &of_one)).await;
    let second = second.expect("the handover ends and lets go").unwrap();
    assert_eq!(second.len(), 1, "nothing was done");
    other.batch_execute("rollback").await.unwrap();
    let published = tokio::time::timeout(PATIENCE, handover).await;
    let published = published.expect("the handover ends").unwrap();
    assert_eq!(published.unwrap(), Publish::Done);
}

struct Keys(Arc<FileKeys>);

impl ColdKeys for Keys {
    fn load<'a>(&'a self, _: &'a ArchiveFile) -> BoxFuture<'a, Result<Arc<FileKeys>, StoreError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn cached(&self, _: &ArchiveFile) -> Option<Arc<FileKeys>> {
        None
    }

    fn fetch<'a>(
        &'a self,
        _: TenantId,
        _: Uuid,
    ) -> BoxFuture<'a, Result<Option<ColdInvoice>, StoreError>> {
        Box::pin(async { Ok(None) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_keys_stay_taken() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let new = paid(tenant, "2012-05-05", "e");
    let id = new.invoice.id;
    store.write_chunk(vec![new]).await.unwrap();
    let (file, rows) = staged(&store, tenant).await;
    store.publish_file(&file, &rows).await.unwrap();
    let again = || paid(tenant, "2012-05-05", "e");
    assert!(
        matches!(
            store.write_chunk(vec![again()]).await,
            Err(StoreError::Cold { .. })
        ),
        "no sight of the archive"
    );
    let keys = FileKeys {
        ids: [id].into(),
        external_ids: [("e".into(), id)].into(),
        ..FileKeys::default()
    };
    store.set_cold_keys(Arc::new(Keys(Arc::new(keys))));
    assert_eq!(
        store.write_chunk(vec![again()]).await.unwrap(),
        [LineOutcome::Duplicate(id)]
    );
    let outcomes = store
        .write_chunk(vec![
            paid(tenant, "2012-07-05", "other"),
            simple(tenant, json!({"id": id})),
        ])
        .await
        .unwrap();
    assert_eq!(outcomes, [LineOutcome::Created, LineOutcome::Duplicate(id)]);
    let mut upload = store
        .begin_atomic(Some(tenant), &[2012].into())
        .await
        .unwrap();
    assert_eq!(
        upload.write(vec![again()]).await.unwrap(),
        [LineOutcome::Duplicate(id)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_year_comes_back_when_it_is_written_again() {
    let store = store().await;
    let tenant = tenant(&store).await;
    store
        .write_chunk(vec![simple(
            tenant,
            json!({"issue_date": "2015-05-05", "external_id": "e"}),
        )])
        .await
        .unwrap();
    assert!(
        !store
            .drop_empty_years(2015..2016)
            .await
            .unwrap()
            .contains(&2015),
        "not empty"
    );
    let db = raw().await;
    for table in ["invoices", "invoice_lines", "payments", "events"] {
        execute(
            &db,
            &format!("delete from {table} where tenant_id = $1 and year = 2015"),
            &[&tenant.0],
        )
        .await;
    }
    let other = crate::support::store().await;
    // Another process's store still believes in the partition.
    other
        .write_chunk(vec![simple(
            tenant,
            json!({"issue_date": "2015-05-05", "external_id": "gone"}),
        )])
        .await
        .unwrap();
    execute(
        &db,
        "delete from invoices where tenant_id = $1 and year = 2015",
        &[&tenant.0],
    )
    .await;
    execute(
        &db,
        "delete from invoice_lines where tenant_id = $1 and year = 2015",
        &[&tenant.0],
    )
    .await;
    execute(
        &db,
        "delete from events where tenant_id = $1 and year = 2015",
        &[&tenant.0],
    )
    .await;
    // A year is left for the next run while somebody else's transaction is in its way.
    let mut runs = 0..30;
    while store.drop_empty_years(2015..2016).await.unwrap() != [2015] {
        assert!(runs.next().is_some(), "the empty year stays");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let outcomes = other
        .write_chunk(vec![simple(
            tenant,
            json!({"issue_date": "2015-05-05", "external_id": "e"}),
        )])
        .await
        .unwrap();
    assert_eq!(outcomes, [LineOutcome::Created]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runner_at_a_time_over_a_tenant_or_over_all() {
    let (one, two) = (store().await, store().await);
    let (ours, theirs) = (tenant(&one).await, tenant(&one).await);
    let eventually = async |store: &Store, only| {
        // Other tests of the suite may run tiering at this moment.
        for _ in 0..600 {
            if let Some(lock) = store.try_lock_tiering(only).await.unwrap() {
                return lock;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the lock of {only:?} stays taken");
    };
    let all = eventually(&one, None).await;
    assert!(all.still_held().await);
    assert!(two.try_lock_tiering(None).await.unwrap().is_none());
    assert!(two.try_lock_tiering(Some(ours)).await.unwrap().is_none());
    all.release();
    let mine = eventually(&two, Some(ours)).await;
    assert!(one.try_lock_tiering(Some(ours)).await.unwrap().is_none());
    assert!(one.try_lock_tiering(None).await.unwrap().is_none());
    eventually(&one, Some(theirs)).await.release();
    mine.release();
    eventually(&one, Some(ours)).await.release();
    eventually(&two, None).await.release();
}
