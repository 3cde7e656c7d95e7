//! Two tenants: no SQL reads the other's rows, files or names, and none reaches the disk or the
//! network.

use std::sync::Arc;

use sheaf_archive::object::storage::ColdStorage;
use sheaf_archive::{QueryError, QueryOptions};
use sheaf_model::Status;

use crate::support::cluster::{s3, world};
use crate::support::query::{all_tiers, ask, rows};

/// What somebody might try. `{key}` is an object of the other tenant, `{tenant}` its id.
const ATTACKS: &[&str] = &[
    // Files by name.
    "select * from '{key}'",
    "select * from \"{key}\"",
    "select * from 's3://bucket/{key}'",
    "select * from 'file:///etc/passwd'",
    "select * from '/etc/passwd'",
    "select * from read_parquet('{key}')",
    "select * from parquet_scan('{key}')",
    "select * from parquet_metadata('{key}')",
    "select * from read_csv('/etc/passwd')",
    "select * from glob('/**')",
    "select * from arrow_file('{key}')",
    "create external table t stored as parquet location '{key}'",
    "create external table t stored as csv location '/etc/passwd'",
    "create external table t stored as parquet location 'http://127.0.0.1:1/x'",
    "copy invoices to '/tmp/stolen.csv'",
    "copy (select * from invoices) to 's3://bucket/stolen.parquet'",
    "explain copy invoices to '/tmp/stolen.csv'",
    "insert into invoices select * from invoices",
    "with x as (delete from invoices returning *) select * from x",
    "select * from (insert into invoices values (1)) x",
    "create view v as select * from invoices",
    "create table t as select * from invoices",
    "select * into t from invoices",
    "drop table invoices",
    "truncate invoices",
    // Names and settings.
    "show tables",
    "show all",
    "show columns from invoices",
    "describe invoices",
    "select * from information_schema.tables",
    "select * from information_schema.df_settings",
    "select * from pg_catalog.pg_class",
    "select * from datafusion.public.invoices",
    "select * from other.archive.invoices",
    "select * from \"{tenant}\".archive.invoices",
    "select * from sheaf.\"{tenant}\".invoices",
    "select * from archive_files",
    "select * from tenants",
    "set datafusion.catalog.information_schema = true",
    "set datafusion.runtime.temp_directory = '/tmp'",
    "reset datafusion.execution.batch_size",
    "select @@version",
    "select $1",
    "prepare p as select 1",
    "execute p",
    "use other",
    // Functions.
    "select version()",
    "select input_file_name() from invoices",
    "select parse_events('[]')",
    "select pg_read_file('/etc/passwd')",
    "select current_setting('data_directory')",
    "select repeat('x', 1000000000)",
    "select lpad('x', 1000000000)",
    "select * from generate_series(1, 1000000000)",
    "select * from range(1000000000)",
    "select array_repeat(1, 1000000000)",
    "create function f() returns int return 1",
    "load 'x.so'",
    // More than one.
    "select 1; select 2",
    "select 1; drop table invoices",
    // Columns of the engine's own.
    "select _file from invoices",
    "select __row_index from invoices",
    "select \"\u{0}\" from lines",
];

/// Queries that run, and must see nothing of the other.
const PROBES: &[&str] = &[
    "select id from invoices where tenant_id = '{tenant}'",
    "select id from invoices where tenant_id <> '{own}'",
    "select id from invoices where tenant_id = '{own}' or tenant_id = '{tenant}' or true",
    "select invoice_id from lines where tenant_id in ('{tenant}', '{own}')",
    "select invoice_id from payments union all select invoice_id from events",
    "select i.id from invoices i, (select '{tenant}' as t) x where x.t = i.tenant_id or x.t <> \
    i.tenant_id",
    "select id from invoices where tenant_id like '%' and id like '%'",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 5)
     select id from invoices, r where tenant_id > ''",
    "select id from sheaf.archive.invoices",
    "select id from archive.invoices where id in ({ids})",
    "select invoice_id from lines where invoice_id in ({ids})",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_sql_reads_another_tenant() {
    let (mine, theirs) = (world("mine").await, world("theirs").await);
    let mut ids = Vec::new();
    for world in [&mine, &theirs] {
        let documents: Vec<_> = (0..12)
            .map(|n| world.invoice("2024-02-03", n, Status::Paid))
            .chain((20..24).map(|n| world.invoice("2026-10-03", n, Status::Issued)))
            .collect();
        ids.push(
            documents
                .iter()
                .map(|i| i.id.to_string())
                .collect::<Vec<_>>(),
        );
        world.create(documents).await;
        assert_eq!(world.tier().await.invoices, 12);
    }
    let (own, foreign) = (&ids[0], &ids[1]);
    let file = theirs.archive.ls(theirs.tenant).await.unwrap().remove(0);
    let list: Vec<String> = foreign.iter().map(|id| format!("'{id}'")).collect();
    let filled = |sql: &str| {
        sql.replace("{key}", &file.object_key)
            .replace("{tenant}", &theirs.tenant.to_string())
            .replace("{own}", &mine.tenant.to_string())
            .replace("{ids}", &list.join(", "))
    };
    for options in [QueryOptions::default(), all_tiers()] {
        let (gets, _) = mine.storage.gets();
        for sql in ATTACKS {
            let refused = ask(&mine.archive, mine.tenant, &filled(sql), options).await;
            let Err(error) = refused else {
                panic!("{sql} was answered: {refused:?}");
            };
            assert!(
                matches!(
                    error,
                    QueryError::Invalid(_) | QueryError::NotReadOnly(_) | QueryError::Failed(_)
                ),
                "{sql}: {error:?}"
            );
            // Whatever is said names nothing that was not in the question.
            let text = error.public_detail();
            for secret in [theirs.tenant.to_string(), file.object_key.clone()] {
                assert!(
                    sql.contains('{') || !text.contains(&secret),
                    "{sql}: {text}"
                );
            }
        }
        assert_eq!(
            mine.storage.gets().0,
            gets,
            "a refused statement read something"
        );
        for sql in PROBES {
            let answer = ask(&mine.archive, mine.tenant, &filled(sql), options)
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
            for row in rows(&answer) {
                assert!(own.contains(&row[0]), "{sql}: {row:?}");
                assert!(!foreign.contains(&row[0]), "{sql}: {row:?}");
            }
        }
    }
    assert!(!std::path::Path::new("/tmp/stolen.csv").exists());
    // The other way round as well: each has what is its own.
    let count = "select count(*), min(tenant_id), max(tenant_id) from invoices";
    for world in [&mine, &theirs] {
        let answer = ask(&world.archive, world.tenant, count, all_tiers())
            .await
            .unwrap();
        let tenant = world.tenant.to_string();
        assert_eq!(rows(&answer), [["16".to_owned(), tenant.clone(), tenant]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tenants_own_objects_are_asked_for() {
    let (mine, theirs) = (world("own").await, world("foreign").await);
    for world in [&mine, &theirs] {
        let documents = (0..6).map(|n| world.invoice("2024-03-03", n, Status::Paid));
        world.create(documents.collect()).await;
        world.tier().await;
    }
    // A storage that fails every read but those under the tenant's own prefix.
    let prefix = sheaf_archive::object::key::tenant_prefix(mine.tenant);
    let guarded = sheaf_archive::object::storage::Counting::new(Arc::new(s3().await)).with_fault(
        Box::new(move |_, key| {
            assert!(key.starts_with(&prefix), "{key} was asked for");
            None
        }),
    );
    let guarded: Arc<dyn ColdStorage> = Arc::new(guarded);
    let archive = sheaf_archive::Archive::with_storage(mine.store.clone(), guarded);
    for table in ["invoices", "lines", "payments", "events"] {
        let sql = format!("select * from {table}");
        let answer = ask(&archive, mine.tenant, &sql, QueryOptions::default()).await;
        assert!(!answer.unwrap()["rows"].as_array().unwrap().is_empty());
    }
}
