//! Years come and go under writers: nothing that was answered is lost, and nobody waits long.
//!
//! Each test has years of its own, far from those that other tests write into.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sheaf_model::{Period, TenantId};
use sheaf_store::{
    ClusterError, CreateError, LineOutcome, NewInvoice, Store, StoreConfig, StoreError,
};
use uuid::Uuid;

use crate::support::explain::Home;
use crate::support::{raw, simple, store, tenant};

/// No test waits longer for what has to happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a writer brings its invoices in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Single,
    Bulk,
    Atomic,
}

/// No row of the year is left, and none of its tables.
async fn free(store: &Store, db: &tokio_postgres::Client, year: i16) {
    for table in ["invoice_lines", "payments", "events", "invoices"] {
        let delete = format!("delete from {table} where year = {year}");
        db.batch_execute(&delete).await.unwrap();
    }
    let tables = format!("select 1 from pg_class where relname ~ '_y{year}$' and relkind = 'r'");
    let started = Instant::now();
    while !db.query(&tables, &[]).await.unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE, "{year} stays");
        store.drop_empty_years(year..year + 1).await.unwrap();
    }
}

fn dated(tenant: TenantId, year: i16) -> NewInvoice {
    simple(tenant, json!({"issue_date": format!("{year}-05-05")}))
}

/// Whether the invoice was answered as stored. Busy is an answer too: nothing is there then, or it
/// is found by its id.
async fn write(store: &Store, way: Way, new: NewInvoice) -> bool {
    let id = new.invoice.id;
    let busy = |error: &StoreError| {
        matches!(
            error,
            StoreError::Cluster(ClusterError::Unavailable { .. })
                | StoreError::Cluster(ClusterError::Contended { .. })
        )
    };
    match way {
        Way::Single => match store.create_invoice(new).await {
            Ok(_) => true,
            Err(CreateError::Store(error)) if busy(&error) => false,
            Err(error) => panic!("{id}: {error:?}"),
        },
        Way::Bulk => match store.write_chunk(vec![new]).await {
            Ok(outcomes) => {
                assert_eq!(outcomes, [LineOutcome::Created]);
                true
            }
            Err(error) if busy(&error) => false,
            Err(error) => panic!("{id}: {error:?}"),
        },
        Way::Atomic => {
            let year = sheaf_model::id::year_of(id);
            // Of no tenant in particular: through the coordinator.
            let upload = async {
                let mut upload = store.begin_atomic(None, &[year].into()).await?;
                upload.write(vec![new]).await?;
                upload.commit(None).await
            };
            match upload.await {
                Ok(()) => true,
                Err(error) if busy(&error) => false,
                Err(error) => panic!("{id}: {error:?}"),
            }
        }
    }
}

/// Takes the invoice out, as tiering does. Returns how many rows of `invoices` that were.
async fn take_out(db: &tokio_postgres::Client, tenant: TenantId, id: Uuid, year: i16) -> u64 {
    let mut taken = 0;
    for (table, column) in [
        ("invoice_lines", "invoice_id"),
        ("events", "subject_id"),
        ("invoices", "id"),
    ] {
        let delete =
            format!("delete from {table} where tenant_id = $1 and year = $2 and {column} = $3");
        let started = Instant::now();
        taken = loop {
            match db.execute(&delete, &[&tenant.0, &year, &id]).await {
                Ok(rows) => break rows,
                // Beside a detachment the tables of the year may be away for a moment.
                Err(error) if started.elapsed() < PATIENCE => {
                    tracing::debug!(%error, "a delete is tried again");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
    }
    taken
}

/// Rounds of one attempt to drop the year with one write of each way beside it.
const ROUNDS: u32 = 8;

/// Each round begins with a year that is empty, and ends with it: nothing depends on how fast
/// anybody is. Writes begin sooner or later after the drop, up to the time that the last one took.
#[tokio::test(flavor = "multi_thread")]
async fn no_answered_invoice_is_lost_when_its_year_is_dropped() {
    const YEAR: i16 = 2010;
    let (other, db) = (store().await, raw().await);
    let mut writers = Vec::new();
    for way in [Way::Single, Way::Bulk, Way::Atomic] {
        let store = store().await;
        writers.push((way, tenant(&store).await, store));
    }
    let mut took = Duration::from_millis(200);
    let mut stored = 0;
    for round in 0..ROUNDS {
        // The year is there, and nothing is in it.
        let (way, tenant, store) = &writers[round as usize % writers.len()];
        let first = dated(*tenant, YEAR);
        let id = first.invoice.id;
        if write(store, *way, first).await {
            assert_eq!(take_out(&db, *tenant, id, YEAR).await, 1);
        }
        let writing = writers.iter().map(|(way, tenant, store)| async {
            let part = (round * 7 + *way as u32 * 5) % 16;
            tokio::time::sleep(took * part / 16).await;
            let new = dated(*tenant, YEAR);
            let id = new.invoice.id;
            let answered = write(store, *way, new).await;
            (*way, *tenant, id, answered)
        });
        let begun = Instant::now();
        let dropping = async {
            other.drop_empty_years(YEAR..YEAR + 1).await.unwrap();
            begun.elapsed()
        };
        let (drop, written) = tokio::join!(dropping, join_all(writing));
        took = drop.min(Duration::from_secs(1));
        for (way, tenant, id, answered) in written {
            let found = take_out(&db, tenant, id, YEAR).await;
            if answered {
                assert_eq!(found, 1, "{way:?}: {id} was answered as stored and is lost");
                stored += 1;
            }
        }
        // However many write into other years, one that is empty can be dropped.
        free(&other, &db, YEAR).await;
    }
    assert!(stored >= ROUNDS, "{stored} were stored");
}

/// The same without chance: the drop has looked, and waits for somebody who reads the first shard,
/// when the others are written.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_between_the_look_and_the_drop_is_not_lost() {
    const YEAR: i16 = 2020;
    let (store, other) = (store().await, store().await);
    let db = raw().await;
    free(&other, &db, YEAR).await;
    let mut homes = Vec::new();
    for _ in 0..6 {
        let tenant = tenant(&store).await;
        homes.push((Home::of(tenant).await, tenant));
    }
    homes.sort_by_key(|(home, _)| home.shard("invoices").to_owned());
    let tenants: Vec<TenantId> = homes.iter().map(|(_, tenant)| *tenant).collect();
    let first = dated(tenants[0], YEAR);
    let id = first.invoice.id;
    assert!(write(&store, Way::Bulk, first).await);
    assert_eq!(take_out(&db, tenants[0], id, YEAR).await, 1);
    // Of the shard alone: the drop takes its lock of all else.
    let (first, _) = &homes[0];
    let read = format!("select count(*) from {}", first.shard("invoices"));
    first.owner.batch_execute("begin").await.unwrap();
    first.owner.batch_execute(&read).await.unwrap();
    let drop = tokio::spawn(async move { other.drop_empty_years(YEAR..YEAR + 1).await });
    let dropping = format!(
        "select 1 from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()
         and query ~ '(drop table|detach partition).*invoices_y{YEAR}'"
    );
    let started = Instant::now();
    while db.query(&dropping, &[]).await.unwrap().is_empty()
        && !drop.is_finished()
        && started.elapsed() < PATIENCE
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut answered = Vec::new();
    for tenant in &tenants {
        let new = dated(*tenant, YEAR);
        let id = new.invoice.id;
        let one = write(&store, Way::Bulk, new);
        // Whoever waits behind the drop has no answer yet.
        if let Ok(true) = tokio::time::timeout(Duration::from_secs(3), one).await {
            answered.push((*tenant, id));
        }
    }
    first.owner.batch_execute("commit").await.unwrap();
    tokio::time::timeout(PATIENCE, drop)
        .await
        .expect("the drop ends")
        .unwrap()
        .unwrap();
    assert!(!answered.is_empty(), "everybody waits for the drop");
    for (tenant, id) in answered {
        let found = store.get_invoice(tenant, id).await.unwrap();
        assert!(found.is_some(), "{id} was answered as stored and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_that_is_dropped_beside_a_long_read_keeps_no_writer_waiting() {
    const YEAR: i16 = 2013;
    let (store, other) = (store().await, store().await);
    let tenant = tenant(&store).await;
    let db = raw().await;
    free(&other, &db, YEAR).await;
    let new = dated(tenant, YEAR);
    let id = new.invoice.id;
    assert!(write(&store, Way::Bulk, new).await);
    assert_eq!(take_out(&db, tenant, id, YEAR).await, 1);
    // A read of the same shard, as an export's, that goes on for as long as we like.
    let read = dated(tenant, 2025);
    assert!(write(&store, Way::Bulk, read).await);
    let mut reader = store
        .snapshot_reader(tenant, Period::of_date("2025-05-05".parse().unwrap()), None)
        .await
        .unwrap();
    reader.next_page(10).await.unwrap();
    let drop = tokio::spawn(async move { other.drop_empty_years(YEAR..YEAR + 1).await });
    let mut longest = Duration::ZERO;
    let started = Instant::now();
    while !drop.is_finished() && started.elapsed() < PATIENCE {
        let asked = Instant::now();
        assert!(write(&store, Way::Single, dated(tenant, 2025)).await);
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dropped = tokio::time::timeout(Duration::ZERO, drop).await;
    let dropped = dropped.expect("dropping waits for the reader, and writers for it");
    assert_eq!(dropped.unwrap().unwrap(), [0; 0], "somebody reads");
    assert!(longest < Duration::from_secs(4), "a write took {longest:?}");
    reader.finish().await.unwrap();
    let other = crate::support::store().await;
    assert_eq!(
        other.drop_empty_years(YEAR..YEAR + 1).await.unwrap(),
        [YEAR]
    );
}

/// The lock of all partition DDL, as another process holds it that makes a year.
const PARTITION_LOCK: i64 = 0x5368_6561_6602;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_year_keeps_only_those_waiting_who_need_it() {
    const YEAR: i16 = 2014;
    let store = store().await;
    let (ours, theirs) = (tenant(&store).await, tenant(&store).await);
    assert!(write(&store, Way::Bulk, dated(theirs, 2025)).await);
    let db = raw().await;
    free(&store, &db, YEAR).await;
    let locked = "select pg_advisory_lock($1)";
    db.execute(locked, &[&PARTITION_LOCK]).await.unwrap();
    // One that is queued, one of an upload.
    let makers = [Way::Single, Way::Bulk].map(|way| {
        let (store, new) = (store.clone(), dated(ours, YEAR));
        tokio::spawn(async move { write(&store, way, new).await })
    });
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
    let started = Instant::now();
    while db.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(started.elapsed() < PATIENCE, "nobody makes the year");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for n in 0..20 {
        let way = if n % 5 == 4 { Way::Bulk } else { Way::Single };
        let one = write(&store, way, dated(theirs, 2025));
        let answered = tokio::time::timeout(Duration::from_secs(10), one).await;
        assert!(
            answered.expect("everybody waits for the year"),
            "{way:?} {n}"
        );
    }
    assert!(makers.iter().all(|maker| !maker.is_finished()));
    let free = "select pg_advisory_unlock($1)";
    db.execute(free, &[&PARTITION_LOCK]).await.unwrap();
    for maker in makers {
        assert!(maker.await.unwrap());
    }
}

/// A document of a year that is to come: no other test writes there.
fn of_year(tenant: TenantId, year: i16) -> NewInvoice {
    let mut new = dated(tenant, 2025);
    let day = chrono::NaiveDate::from_ymd_opt(i32::from(year), 5, 5).unwrap();
    let at = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let random = Uuid::new_v4().into_bytes();
    new.invoice.id = sheaf_model::id::derived_id(at, std::array::from_fn(|n| random[n]));
    new
}

/// How many indexes the year's table of invoices has.
async fn indexes(db: &tokio_postgres::Client, year: i16) -> i64 {
    let count = format!(
        "select count(*) from pg_index
         where indrelid = 'invoices_y{year}'::regclass and indisvalid"
    );
    db.query_one(&count, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_year_does_not_wait_for_transactions_that_stay_open() {
    const YEARS: [i16; 3] = [2101, 2102, 2103];
    // Less than a request may take, and more than a busy machine needs.
    const SOON: Duration = Duration::from_secs(12);
    let (store, db) = (store().await, raw().await);
    let [ours, theirs, third] = [
        tenant(&store).await,
        tenant(&store).await,
        tenant(&store).await,
    ];
    assert!(write(&store, Way::Bulk, dated(theirs, 2025)).await);
    // Years are made by the API's login, which does not own the tables.
    let api = StoreConfig::new(sheaf_local::test_env().api_database_url);
    let api = Store::connect(api).await.unwrap();
    for year in YEARS {
        free(&store, &db, year).await;
    }
    // An upload of one tenant, one of several, which goes through the coordinator, and a dump.
    let mut one = store
        .begin_atomic(Some(ours), &[2025].into())
        .await
        .unwrap();
    one.write(vec![dated(ours, 2025)]).await.unwrap();
    let mut several = None;
    let dump = raw().await;
    for year in YEARS {
        if year == YEARS[1] {
            let mut upload = store.begin_atomic(None, &[2025].into()).await.unwrap();
            let lines = vec![dated(ours, 2025), dated(third, 2025)];
            upload.write(lines).await.unwrap();
            several = Some(upload);
        }
        if year == YEARS[2] {
            let tables = "invoices, invoice_lines, payments, events";
            let read = format!("begin; lock table {tables} in access share mode");
            dump.batch_execute(&read).await.unwrap();
        }
        let new = of_year(theirs, year);
        let id = new.invoice.id;
        let started = Instant::now();
        let created = tokio::time::timeout(SOON, write(&api, Way::Single, new));
        let mut created = std::pin::pin!(created);
        // Nobody else waits long either.
        let mut longest = Duration::ZERO;
        let answered = loop {
            let beside = async {
                let asked = Instant::now();
                assert!(write(&store, Way::Single, dated(third, 2025)).await);
                asked.elapsed()
            };
            tokio::select! {
                biased;
                answered = &mut created => break answered,
                took = beside => longest = longest.max(took),
            }
        };
        let took = started.elapsed();
        eprintln!("{year}: made in {took:?}, the longest write beside took {longest:?}");
        assert_eq!(
            answered,
            Ok(true),
            "{year} waits for somebody's transaction"
        );
        assert!(longest < Duration::from_secs(4), "a write took {longest:?}");
        assert!(store.get_invoice(theirs, id).await.unwrap().is_some());
        assert_eq!(indexes(&db, year).await, indexes(&db, 2025).await);
    }
    dump.batch_execute("commit").await.unwrap();
    one.commit(None).await.unwrap();
    several.unwrap().commit(None).await.unwrap();
    for year in YEARS {
        free(&store, &db, year).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn early_years_share_a_table() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let db = raw().await;
    let tables = async || {
        let count = "select count(*) from pg_class where relkind = 'r' and relname ~ \
            '^(invoices|events)_(early|y(19|200)[0-9]+)$'";
        db.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(tables().await, 2);
    // Drafts of forty years, one a year: no table is made for them.
    let first = 1970;
    let drafts = (first..sheaf_store::FIRST_OWN_YEAR).map(|year| {
        let date = format!("{year}-05-05");
        simple(tenant, json!({"issue_date": date, "status": "draft"}))
    });
    let drafts: Vec<NewInvoice> = drafts.collect();
    let ids: Vec<Uuid> = drafts.iter().map(|new| new.invoice.id).collect();
    assert_eq!(sheaf_model::id::year_of(ids[0]), first);
    let outcomes = store.write_chunk(drafts).await.unwrap();
    assert!(outcomes.iter().all(|o| *o == LineOutcome::Created));
    assert_eq!(tables().await, 2);
    for id in ids {
        assert!(store.get_invoice(tenant, id).await.unwrap().is_some());
    }
    // They are not dropped either, however empty they become.
    let dropped = store.drop_empty_years(first..sheaf_store::FIRST_OWN_YEAR);
    assert_eq!(dropped.await.unwrap(), [0; 0]);
}
