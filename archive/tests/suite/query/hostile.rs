//! Queries that are made to hurt: to plan for ever, to fill the memory, to hold the threads, to
//! make the engine panic. Each has to end soon, by an answer or by an error that says whose fault
//! it is, and meanwhile another tenant is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sheaf_archive::{Answer, Archive, Format, QueryError, QueryOptions};

use super::answers::archived;
use super::bounds::limited;
use crate::support::cluster::{World, world};
use crate::support::query::ask;

/// What one hostile query may take, on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// What the process may take more while one runs.
const MEMORY: u64 = 1 << 30;

fn joined(count: usize, separator: &str, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(separator)
}

/// `before`, wrapped `depth` times.
fn nested(depth: usize, innermost: &str, wrap: impl Fn(&str) -> String) -> String {
    (0..depth).fold(innermost.to_owned(), |inner, _| wrap(&inner))
}

/// Common table expressions, each of which names the one before twice.
fn doubling(count: usize, first: &str, next: impl Fn(&str) -> String) -> String {
    let mut sql = format!("with c0 as ({first})");
    for n in 1..=count {
        sql.push_str(&format!(", c{n} as ({})", next(&format!("c{}", n - 1))));
    }
    sql
}

/// Statements whose plan would be too large.
fn too_complex() -> Vec<(&'static str, String)> {
    let join = |c: &str| format!("select a.id from {c} a join {c} b on a.id = b.id");
    let twice = |c: &str| format!("select x + x as x from {c}");
    let cases = joined(1_200, " ", |n| format!("when {n}=year then {}", n == 7));
    vec![
        (
            "inlined",
            doubling(20, "select id from invoices", join) + " select count(*) from c20",
        ),
        (
            "inlined, deep",
            doubling(120, "select id from invoices", join) + " select count(*) from c120",
        ),
        (
            "a condition through projections",
            doubling(40, "select year as x from invoices",
                twice) + " select x from c40 where x = 1",
        ),
        (
            "a condition through subqueries",
            nested(15, "select version as x from invoices", |inner| {
                format!("select x + x as x from ({inner}) q")
            }) + " where x = 1",
        ),
        (
            "between",
            format!(
                "select {} from invoices",
                nested(20, "year between 1 and 2", |x| format!("({x}) between false and true"))
            ),
        ),
        (
            "coalesce",
            format!(
                "select {} from invoices",
                nested(20, "number", |x| format!("coalesce({x}, id)"))
            ),
        ),
        ("cases", format!("select case {cases} end from invoices")),
        ("a chain", format!("select {}1", "1+".repeat(4_000))),
        (
            "a chain of conditions",
            format!(
                "select id from invoices where {}",
                joined(1_500, " or ", |n| format!("year={n}"))
            ),
        ),
        ("casts", format!("select 1{}", "::int".repeat(3_000))),
        ("types", format!("select cast(1 as {}int{})", "array<".repeat(3_000), ">".repeat(3_000))),
        ("lists", format!("select cast(null as int{})", "[]".repeat(8_000))),
        ("tables", format!("select 1 from {}", joined(900, ",", |n| format!("lines l{n}")))),
        ("unions", joined(900, " union all ", |_| "select id from lines".to_owned())),
        ("stars", format!("select {} from lines", joined(5_000, ",", |_| "*".to_owned()))),
        (
            "a cube",
            "select 1 from lines group by cube(year, month, kind, status, currency, number, \
             invoice_id, line_no, sku, description, quantity, net, tax, discount)"
                .to_owned(),
        ),
        (
            "cubes",
            "select 1 from lines group by cube(year, month, kind), cube(status, currency, number), \
             cube(sku, line_no)"
                .to_owned(),
        ),
        ("words", format!("select id from invoices where year in ({})", joined(15_000, ",",
            |_| "1".to_owned()))),
    ]
}

/// Queries that would fill the memory, by text, by list, by row.
fn too_large() -> Vec<(&'static str, String)> {
    let text = "x".repeat(8_000);
    let replaced = nested(6, "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", |x| {
        format!("replace({x}, 'a', '{}')", "a".repeat(64))
    });
    vec![
        ("replace", format!("select length({replaced})")),
        (
            "replace of a column",
            format!(
                "select max(length(replace(replace(metadata, '\"', '{text}'), 'x', '{text}'))) \
                from lines \
                 join invoices on id = invoice_id"
            ),
        ),
        (
            "doubled",
            doubling(30, "select description as m from lines",
                |c| format!("select m || m as m from {c}"))
                + " select max(length(m)) from c30",
        ),
        (
            "doubled by concat",
            doubling(30, "select description as m from lines", |c| {
                format!("select concat(m, m) as m from {c}")
            }) + " select max(length(m)) from c30",
        ),
        (
            "doubled by recursion",
            "with recursive r as (select 'x' as t union all select t || t from r) \
             select max(length(t)) from r"
                .to_owned(),
        ),
        (
            "doubled lists",
            doubling(30, "select make_array(1, 2) as m", |c| {
                format!("select array_concat(m, m) as m from {c}")
            }) + " select array_length(m) from c30",
        ),
        (
            "lists of lists",
            format!("select {}", nested(12, "1", |x| format!("[{x},{x}]"))),
        ),
        (
            "aggregated",
            "select length(string_agg(a.metadata || b.metadata, ',')) from invoices a, invoices b, \
             invoices c, invoices d"
                .to_owned(),
        ),
        (
            "aggregated lists",
            "select cardinality(array_agg(a.metadata || b.id)) from lines a join invoices i on \
            true, \
             invoices b, invoices c"
                .replace("a.metadata", "i.metadata"),
        ),
        (
            "a constant in each of many columns",
            format!(
                "select {} from (select '{text}{text}' as c) k, lines a, lines b",
                joined(400, ",", |n| format!("c as c{n}"))
            ),
        ),
        (
            "a constant in each row of a window",
            format!("select max('{text}') over () from lines a, lines b"),
        ),
        (
            "a window of everything",
            "select sum(a.net) over (), a.description, b.description, c.description \
             from lines a, lines b, lines c"
                .to_owned(),
        ),
        (
            "a sorted window of everything",
            "select last_value(a.description) over (order by a.net, b.net, c.net rows between \
             current row and unbounded following) from lines a, lines b, lines c"
                .to_owned(),
        ),
        (
            "formats",
            format!("select to_char(created_at, '{}') from invoices", "%c".repeat(10_000)),
        ),
        (
            "separated",
            format!("select array_to_string(make_array({}), '{text}{text}')", joined(3_000, ",",
                |_| "1".to_owned())),
        ),
        (
            "pieces of wide rows",
            format!(
                "select {} from lines a, lines b",
                joined(700, ",", |n| format!("concat(a.description,b.description) as c{n}"))
            ),
        ),
    ]
}

/// Queries that would hold a thread.
fn too_slow() -> Vec<(&'static str, String)> {
    let long = |letter: &str| {
        format!(
            "replace('{}', '{letter}', '{}')",
            letter.repeat(6_000),
            letter.repeat(10)
        )
    };
    let map: String = (0x4e00_u32..0x6000).filter_map(char::from_u32).collect();
    vec![
        (
            "levenshtein",
            format!("select levenshtein({}, {})", long("a"), long("b")),
        ),
        (
            "levenshtein of columns",
            "select max(levenshtein(t, t)) from (select a.invoice_id, string_agg(a.description || \
             b.description, ',') as t from lines a, lines b group by 1) x"
                .to_owned(),
        ),
        (
            "trim",
            format!("select btrim({}, '{}a')", long("a"), &map[..9_000]),
        ),
        (
            "translate",
            format!(
                "select max(translate(a.description, '{map}', 'x')) from lines a, lines b",
                map = &map[..9_000]
            ),
        ),
        (
            "patterns",
            "select count(*) from lines a, lines b where a.description like b.description || '%'"
                .to_owned(),
        ),
        (
            "a pattern",
            format!(
                "select count(*) from lines where description like '{}'",
                "%a_b".repeat(2_000)
            ),
        ),
        (
            "an expression",
            "select count(*) from lines where description ~ '((a*)*)*b'".to_owned(),
        ),
        (
            "similar",
            "select count(*) from lines where description similar to '((a|b)*)*c'".to_owned(),
        ),
        (
            "lists as windows",
            "select array_agg(a.net) over (order by a.net, b.net) from lines a, lines b".to_owned(),
        ),
        (
            "medians as windows",
            "select median(a.net) over (order by a.net, b.net) from lines a, lines b".to_owned(),
        ),
        (
            "for ever",
            "with recursive r as (select 1 as n union all select n from r) select count(*) from r"
                .to_owned(),
        ),
        (
            "for ever, in a product",
            "with n as (select * from (values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)) v(x)) \
             select count(*) from n a, n b, n c, n d, n e, n f, n g, n h, n i, n j, n k, n l \
             where a.x + b.x + c.x + d.x + e.x + f.x + g.x + h.x + i.x + j.x + k.x + l.x = 1"
                .to_owned(),
        ),
    ]
}

/// Reads an answer as a client does that keeps nothing of it: how it ended.
async fn read(archive: &Archive, world: &World, sql: &str) -> Result<(), QueryError> {
    let run = archive
        .query(world.tenant, sql, QueryOptions::default())
        .await?;
    let mut answer = Answer::begin(run, Format::Csv).await?;
    while let Some(chunk) = answer.next().await {
        chunk?;
    }
    Ok(())
}

/// Memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Watches the memory of this process while it lives.
struct Gauge {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    before: u64,
}

impl Gauge {
    fn start() -> Self {
        let (stop, most) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, seen) = (Arc::clone(&stop), Arc::clone(&most));
        std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                seen.fetch_max(memory(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            stop,
            most,
            before: memory(),
        }
    }

    fn taken(&self) -> u64 {
        self.most
            .load(Ordering::Relaxed)
            .saturating_sub(self.before)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_never_be_planned_is_refused_at_once() {
    let (world, _) = archived("complex", 5).await;
    for (name, sql) in too_complex() {
        assert!(sql.len() <= 32 * 1024, "{name} has {} bytes", sql.len());
        let (began, gauge) = (Instant::now(), Gauge::start());
        let told = ask(&world.archive, world.tenant, &sql, QueryOptions::default()).await;
        let error = told.expect_err(name);
        let took = began.elapsed();
        assert_eq!(error.code(), "query_too_complex", "{name}: {error:?}");
        assert!(took < Duration::from_secs(5), "{name} took {took:?}");
        assert!(
            gauge.taken() < MEMORY / 4,
            "{name} took {} bytes",
            gauge.taken()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fill_the_memory_ends_before_it_does() {
    let (world, _) = archived("large", 20).await;
    let archive = limited(&world, |l| l.time = Duration::from_secs(4));
    for (name, sql) in too_large() {
        assert!(sql.len() <= 32 * 1024, "{name} has {} bytes", sql.len());
        let (began, gauge) = (Instant::now(), Gauge::start());
        let told = read(&archive, &world, &sql).await;
        let took = began.elapsed();
        let ended = match &told {
            Ok(_) => "answered",
            Err(error) => error.code().as_str(),
        };
        eprintln!("{name}: {ended} in {took:?}, {} MiB", gauge.taken() >> 20);
        assert!(
            !matches!(told, Err(QueryError::Internal(_))),
            "{name}: {told:?}"
        );
        assert!(took < SOON, "{name} took {took:?}");
        assert!(
            gauge.taken() < MEMORY,
            "{name} took {} bytes",
            gauge.taken()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_ends_his_query_and_nobody_waits_for_it() {
    let (hostile, _) = archived("slow", 20).await;
    let quiet = world("quiet").await;
    let archive = limited(&hostile, |l| {
        (l.time, l.per_tenant) = (Duration::from_secs(600), 2);
    });
    let all = [too_complex(), too_large(), too_slow()].concat();
    for pair in all.chunks(2) {
        // Two at a time, as many as a tenant may have; both are left alone after a moment.
        let running: Vec<_> = pair
            .iter()
            .map(|(_, sql)| {
                let (archive, sql, tenant) = (archive.clone(), sql.clone(), hostile.tenant);
                tokio::spawn(async move {
                    let run = archive.query(tenant, &sql, QueryOptions::default()).await?;
                    Answer::begin(run, Format::Json).await.map(drop)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(150)).await;
        let began = Instant::now();
        let answer = ask(&archive, quiet.tenant, "select 1", QueryOptions::default()).await;
        let (waited, names) = (began.elapsed(), (pair[0].0, pair.last().unwrap().0));
        assert_eq!(answer.unwrap()["rows"][0][0], 1);
        assert!(
            waited < Duration::from_secs(3),
            "{names:?}: waited for {waited:?}"
        );
        for query in &running {
            query.abort();
        }
        let left = Instant::now();
        loop {
            match ask(
                &archive,
                hostile.tenant,
                "select 2",
                QueryOptions::default(),
            )
            .await
            {
                Err(QueryError::TooManyQueries { .. } | QueryError::Busy) => {}
                answer => {
                    assert_eq!(answer.unwrap()["rows"][0][0], 2);
                    break;
                }
            }
            let gone = left.elapsed();
            assert!(
                gone < Duration::from_secs(10),
                "{names:?} hold their places"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
