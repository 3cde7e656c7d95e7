//! The worked example of `sql/README.md`: a metadata key becomes an indexed column on a running
//! cluster, while writers and readers of the old and the new release go on. On a cluster of its
//! own, since it changes the schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{now, simple, tenant};
use serde_json::json;
use sheaf_local::{CitusMode, Throwaway};
use sheaf_model::{TenantId, id};
use sheaf_store::{Created, ListFilter, Store, StoreConfig, StoreError};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// No write and no read may take longer, whatever step runs; or than so many times what a statement
/// takes in the same moment that needs no lock.
const LONGEST: Duration = Duration::from_secs(1);
const TIMES: u32 = 10;
const TENANTS: usize = 6;
/// Invoices that are there before, over two years.
const STOCK: usize = 3_000;
const YEARS: [i16; 2] = [2024, 2025];
/// Rows of one backfill statement.
const BATCH: i64 = 500;

/// What every worker of the test shares: when to stop, and what it saw.
#[derive(Default)]
struct Watch {
    stop: AtomicBool,
    longest_micros: AtomicU64,
    done: AtomicU64,
}

impl Watch {
    fn note(&self, started: Instant) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap();
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest since the last call.
    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.swap(0, Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_key_becomes_an_indexed_column_while_work_goes_on() {
    let citus = if sheaf_local::test_env().citus {
        CitusMode::Require
    } else {
        CitusMode::Off
    };
    let cluster = Throwaway::start(citus).await.unwrap();
    let url = cluster.env().database_url().to_owned();
    sheaf_store::migrate(&url, 8).await.unwrap();
    let store = Store::connect(StoreConfig::new(url.clone())).await.unwrap();
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        tenants.push(tenant(&store).await);
    }
    let stock = (0..STOCK).map(|n| {
        let day = format!("{}-{:02}-11", YEARS[n % 2], 1 + n % 12);
        order(tenants[n % TENANTS], &format!("stock-{n}"), Some(&day))
    });
    store.write_chunk(stock.collect()).await.unwrap();
    let ddl = connect(&url).await;

    let (old, new, reads) = (Arc::default(), Arc::default(), Arc::default());
    let control: Arc<Watch> = Arc::default();
    let controlling = controlling(&url, &control).await;
    let old_writers = old_writers(&store, &tenants, &old);
    let readers = readers(&store, &tenants, &reads);
    let watches = Watches {
        work: [&old, &new, &reads],
        control: &control,
    };

    // Expand: a column that may be empty, and no default. The old release's COPY lists do not name
    // it.
    step(&watches, "add the column", async {
        retried(&ddl, "alter table invoices add column order_id text").await;
    })
    .await;
    history(&ddl, 90, "expand_order_id").await;
    // The old release may be started again beside it, and its migration has nothing to do.
    Store::connect(StoreConfig::new(url.clone()))
        .await
        .unwrap()
        .close()
        .await;
    assert!(
        sheaf_store::migrate(&url, 8)
            .await
            .unwrap()
            .applied
            .is_empty()
    );

    // The new release fills both; for a time both releases write.
    let new_writers = new_writers(&url, &tenants, &new).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    step(&watches, "backfill", async {
        assert!(backfill(&ddl, &tenants).await >= u64::try_from(STOCK).unwrap());
    })
    .await;
    // The last old writer ends; what it wrote behind the backfill's back is filled by the second
    // run.
    old.stop.store(true, Ordering::Relaxed);
    for writer in old_writers {
        writer.await.unwrap();
    }
    backfill(&ddl, &tenants).await;
    assert_eq!(backfill(&ddl, &tenants).await, 0);

    step(&watches, "build the index", build_index(&ddl)).await;
    assert_eq!(invalid_indexes(&ddl).await, 0);

    // Contract: nothing may bring the two apart any more.
    step(&watches, "bind the column", async {
        let check = "alter table invoices add constraint invoices_order_id_is_metadata
                     check (order_id is not distinct from metadata ->> 'order_id') not valid";
        retried(&ddl, check).await;
        retried(
            &ddl,
            "alter table invoices validate constraint invoices_order_id_is_metadata",
        )
        .await;
    })
    .await;
    history(&ddl, 91, "contract_order_id").await;
    let refused = Store::connect(StoreConfig::new(url.clone())).await;
    assert!(matches!(
        refused,
        Err(StoreError::SchemaTooNew { found: 91, .. })
    ));

    for watch in [&new, &reads, &control] {
        watch.stop.store(true, Ordering::Relaxed);
    }
    for worker in new_writers.into_iter().chain(readers).chain([controlling]) {
        worker.await.unwrap();
    }
    audit(&store, &ddl, &tenants, &old, &new).await;
    assert!(reads.done.load(Ordering::Relaxed) > 20);
    store.close().await;
    drop(ddl);
    cluster.stop().await.unwrap();
}

/// Who works, and who tells how fast anything is.
struct Watches<'a> {
    work: [&'a Arc<Watch>; 3],
    control: &'a Arc<Watch>,
}

/// Statements that lock nothing, from the beginning to the end.
async fn controlling(url: &str, watch: &Arc<Watch>) -> JoinHandle<()> {
    let (client, watch) = (connect(url).await, Arc::clone(watch));
    tokio::spawn(async move {
        while !watch.stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            client.query_one("select 1", &[]).await.unwrap();
            watch.note(started);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

/// Runs a step, and holds everybody else to the bound meanwhile.
async fn step(watches: &Watches<'_>, name: &str, work: impl Future<Output = ()>) {
    for watch in watches.work.iter().chain([&watches.control]) {
        watch.longest();
    }
    let started = Instant::now();
    work.await;
    // What waits for the step's locks must be counted as well.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let longest = watches.work.iter().map(|w| w.longest()).max().unwrap();
    let bound = LONGEST.max(watches.control.longest() * TIMES);
    eprintln!(
        "{name}: {:?}, others waited {longest:?} of {bound:?} at most",
        started.elapsed()
    );
    assert!(
        longest < bound,
        "{name}: somebody waited {longest:?} of {bound:?}"
    );
}

fn order(tenant: TenantId, order: &str, day: Option<&str>) -> sheaf_store::NewInvoice {
    let mut extra = json!({"metadata": {"order_id": order}});
    if let Some(day) = day {
        extra["issue_date"] = day.into();
    }
    simple(tenant, extra)
}

/// Writers of the release that does not know the column. Any error ends the test.
fn old_writers(store: &Store, tenants: &[TenantId], watch: &Arc<Watch>) -> Vec<JoinHandle<()>> {
    let writer = |k: usize| {
        let (store, tenants, watch) = (store.clone(), tenants.to_vec(), Arc::clone(watch));
        tokio::spawn(async move {
            for n in 0.. {
                if watch.stop.load(Ordering::Relaxed) {
                    return;
                }
                let new = order(tenants[n % TENANTS], &format!("old-{k}-{n}"), None);
                let started = Instant::now();
                let created = store.create_invoice(new).await.unwrap();
                assert!(matches!(created, Created::New(_)));
                watch.note(started);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    (0..2).map(writer).collect()
}

/// Readers of both releases' ways: by id, and lists by metadata.
fn readers(store: &Store, tenants: &[TenantId], watch: &Arc<Watch>) -> Vec<JoinHandle<()>> {
    let reader = |k: usize| {
        let (store, tenants, watch) = (store.clone(), tenants.to_vec(), Arc::clone(watch));
        tokio::spawn(async move {
            for n in (k..STOCK).cycle() {
                if watch.stop.load(Ordering::Relaxed) {
                    return;
                }
                let tenant = tenants[n % TENANTS];
                let by_order = ListFilter {
                    metadata: vec![("order_id".into(), format!("stock-{n}"))],
                    ..ListFilter::default()
                };
                let started = Instant::now();
                let page = store
                    .list_invoices(tenant, &by_order, None, 5)
                    .await
                    .unwrap();
                assert_eq!(page.items.len(), 1, "stock-{n}");
                assert!(
                    store
                        .get_invoice(tenant, page.items[0].id)
                        .await
                        .unwrap()
                        .is_some()
                );
                watch.note(started);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    (0..2).map(reader).collect()
}

/// A writer of the release that knows the column and fills both. Its statement stands for the new
/// COPY list.
async fn new_writers(url: &str, tenants: &[TenantId], watch: &Arc<Watch>) -> Vec<JoinHandle<()>> {
    let client = connect(url).await;
    let (tenants, watch) = (tenants.to_vec(), Arc::clone(watch));
    vec![tokio::spawn(async move {
        let insert = client
            .prepare(
                "insert into invoices (tenant_id, id, year, kind, status, currency, subtotal, \
                discount_total, tax_total,
                                       total, amount_paid, amount_due, line_count, payment_count, \
                                       metadata, version,
                                       created_at, modified_at, order_id)
                 values ($1, $2, $3, 'invoice', 'issued', 'GBP', 0, 0, 0, 0, 0, 0, 0, 0,
                         jsonb_build_object('order_id', $4::text), 1, $5, $5, $4)",
            )
            .await
            .unwrap();
        for n in 0.. {
            if watch.stop.load(Ordering::Relaxed) {
                return;
            }
            let (at, order) = (now(), format!("new-{n}"));
            let key = id::new_id(at);
            let started = Instant::now();
            client
                .execute(
                    &insert,
                    &[
                        &tenants[n % TENANTS].0,
                        &key,
                        &id::year_of(key),
                        &order,
                        &at,
                    ],
                )
                .await
                .unwrap();
            watch.note(started);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })]
}

/// Tenant by tenant, in bounded batches in the order of the key, each its own transaction on one
/// shard: it can be stopped and started again, and holds few rows for a short time. `version`
/// stays: what clients see has not changed.
async fn backfill(client: &Client, tenants: &[TenantId]) -> u64 {
    let mut filled = 0;
    for tenant in tenants {
        let mut last = Uuid::nil();
        loop {
            let page = client
                .query(
                    "select id from invoices
                     where tenant_id = $1 and id > $2 and order_id is null and metadata ? 'order_id'
                     order by id limit $3",
                    &[&tenant.0, &last, &BATCH],
                )
                .await
                .unwrap();
            let ids: Vec<Uuid> = page.iter().map(|r| r.get(0)).collect();
            let Some(end) = ids.last() else { break };
            last = *end;
            filled += client
                .execute(
                    "update invoices set order_id = metadata ->> 'order_id'
                     where tenant_id = $1 and id = any($2) and order_id is null",
                    &[&tenant.0, &ids],
                )
                .await
                .unwrap();
        }
    }
    filled
}

/// Partition by partition, concurrently; then the parent's index, which finds all its parts there
/// and only adopts them.
async fn build_index(client: &Client) {
    let partitions = client
        .query(
            "select inhrelid::regclass::text from pg_inherits where inhparent = \
            'invoices'::regclass order by 1",
            &[],
        )
        .await
        .unwrap();
    for row in partitions {
        let table: String = row.get(0);
        let index = format!(
            "create index concurrently if not exists {table}_order_id on {table} (tenant_id, \
            order_id, id)
             where order_id is not null"
        );
        retried(client, &index).await;
    }
    let parent =
        "create index if not exists invoices_order_id on invoices (tenant_id, order_id, id)
                  where order_id is not null";
    retried(client, parent).await;
}

/// DDL that does not get its lock at once steps back, so that nobody queues behind it for long.
async fn retried(client: &Client, ddl: &str) {
    client
        .batch_execute("set lock_timeout = '300ms'")
        .await
        .unwrap();
    for attempt in 1..=100 {
        match client.batch_execute(ddl).await {
            Ok(()) => return,
            Err(e) => {
                let busy = ["55P03", "40P01"].contains(&e.code().map_or("", |c| c.code()));
                assert!(busy && attempt < 100, "attempt {attempt}: {ddl}: {e:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Left by a `create index concurrently` that failed; on Citus, on the coordinator's shell tables.
async fn invalid_indexes(client: &Client) -> i64 {
    let count = "select count(*) from pg_index where not indisvalid";
    client.query_one(count, &[]).await.unwrap().get(0)
}

/// As refinery would after the step's migration.
async fn history(client: &Client, version: i32, name: &str) {
    let insert = "insert into refinery_schema_history (version, name, applied_on, checksum) values \
        ($1, $2, $3, '0')";
    client
        .execute(insert, &[&version, &name, &now().to_rfc3339()])
        .await
        .unwrap();
}

/// Every row has its column, nothing is lost, and a look-up by the column enters the index.
async fn audit(store: &Store, client: &Client, tenants: &[TenantId], old: &Watch, new: &Watch) {
    let (mut rows, mut apart) = (0, 0);
    for tenant in tenants {
        let count = client
            .query_one(
                "select count(*), count(*) filter (where order_id is distinct from metadata ->> \
                'order_id'
                                                    or order_id is null)
                 from invoices where tenant_id = $1",
                &[&tenant.0],
            )
            .await
            .unwrap();
        rows += count.get::<_, i64>(0);
        apart += count.get::<_, i64>(1);
    }
    let written = old.done.load(Ordering::Relaxed) + new.done.load(Ordering::Relaxed);
    eprintln!("{rows} rows, {written} written meanwhile");
    assert!(written > 100, "{written}");
    assert_eq!(
        rows,
        i64::try_from(written).unwrap() + i64::try_from(STOCK).unwrap()
    );
    assert_eq!(apart, 0);

    let tenant = tenants[7 % TENANTS];
    let by_column =
        "select id from invoices where tenant_id = $1 and order_id = $2 order by id desc limit 20";
    let found = client
        .query(by_column, &[&tenant.0, &"stock-7"])
        .await
        .unwrap();
    let by_metadata = ListFilter {
        metadata: vec![("order_id".into(), "stock-7".into())],
        ..ListFilter::default()
    };
    let listed = store
        .list_invoices(tenant, &by_metadata, None, 20)
        .await
        .unwrap()
        .items;
    let found: Vec<Uuid> = found.iter().map(|r| r.get(0)).collect();
    assert_eq!(found, listed.iter().map(|i| i.id).collect::<Vec<_>>());
    assert_eq!(found.len(), 1);
    client
        .batch_execute("set enable_seqscan = off")
        .await
        .unwrap();
    let explain = format!(
        "explain {}",
        by_column
            .replace("$1", &format!("'{}'", tenant.0))
            .replace("$2", "'stock-7'")
    );
    let plan: Vec<String> = client
        .query(&explain, &[])
        .await
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    for year in YEARS {
        let index = format!("invoices_y{year}_order_id");
        assert!(
            plan.iter().any(|l| l.contains(&index)),
            "{index}: {plan:#?}"
        );
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
