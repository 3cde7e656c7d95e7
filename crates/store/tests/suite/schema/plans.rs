//! Every file of `sql/queries` is planned as it must be: for one shard, on its owner, by its key.
//!
//! A new file fails `every_query_file_has_a_class` until it is listed in [`classes::class`].

pub(crate) mod classes;
pub(crate) mod metadata;

use crate::support::explain::{
    Home, explain, explain_analyze, index_conditions, query_files, rows_removed, tasks,
};
use crate::support::{raw, simple, store, tenant};
use serde_json::{Value, json};
use sheaf_model::{TenantId, id};
use sheaf_store::Store;
use uuid::Uuid;

use classes::Class::{self, Apart, Insert, Platform, Point, Range};
use classes::class;

/// A tenant with some hundreds of invoices over two years, archived files of 25 more, customers and
/// idempotency keys.
struct Sample {
    tenant: TenantId,
    /// Invoices of `year`.
    ids: Vec<Uuid>,
    year: i16,
    customers: Vec<Uuid>,
    home: Home,
}

const INVOICES: usize = 400;

impl Sample {
    async fn load(store: &Store) -> Self {
        let tenant = tenant(store).await;
        let one = |n: usize| {
            simple(
                tenant,
                json!({
                    "issue_date": format!("{}-{:02}-{:02}", 2024 + n % 2, 1 + n % 12, 1 + n % 28),
                    "external_id": format!("e-{n}"),
                    "number": format!("n-{n}"),
                    "customer": {"external_id": format!("plans-{}", n % 300), "name": "C",
                                 "email": format!("c{}@example.com", n % 300),
                                     "tax_id": format!("t-{}", n % 300)},
                    "payments": [{"reference": "p", "amount": "10", "paid_on": "2025-03-02",
                        "method": "card"}],
                }),
            )
        };
        let chunk: Vec<_> = (0..INVOICES).map(one).collect();
        let mut ids: Vec<Uuid> = chunk.iter().map(|n| n.invoice.id).collect();
        ids.retain(|i| id::year_of(*i) == 2025);
        store.write_chunk(chunk).await.unwrap();
        let client = raw().await;
        client
            .execute(
                "insert into idempotency_keys (tenant_id, key, created_at)
                 select $1, 'key-' || n, now() from generate_series(1, 300) n",
                &[&tenant.0],
            )
            .await
            .unwrap();
        client
            .execute(
                "insert into archive_files (tenant_id, period, part, generation, year, object_key, \
                state, min_id, max_id,
                                            sha256, schema_version, staged_at)
                 select $1, 1970 + n / 12 || '-' || lpad((1 + n % 12)::text, 2, '0'), 0, 1, 1970 + \
                 n / 12, 'k',
                        'published', (lpad(to_hex(n), 8, '0') || \
                        '-0000-7000-8000-000000000000')::uuid,
                        (lpad(to_hex(n), 8, '0') || '-0000-7000-8000-ffffffffffff')::uuid, \
                        '\\x00', 1, now()
                 from generate_series(0, 299) n",
                &[&tenant.0],
            )
            .await
            .unwrap();
        // As if other documents had been issued with the same numbers.
        client
            .execute(
                "insert into number_claims (tenant_id, number, issue_year, invoice_id)
                 select $1, 'n-' || n, 2025, gen_random_uuid() from generate_series(1, 399, 2) n",
                &[&tenant.0],
            )
            .await
            .unwrap();
        let customers = client
            .query(
                "select id from customers where tenant_id = $1 limit 3",
                &[&tenant.0],
            )
            .await
            .unwrap();
        let home = Home::of(tenant).await;
        home.analyze().await;
        Self {
            tenant,
            ids,
            year: 2025,
            customers: customers.iter().map(|r| r.get(0)).collect(),
            home,
        }
    }

    /// Fills literals in.
    fn params(&self, literals: &str) -> String {
        let tenant = format!("'{}'", self.tenant.0);
        // The n-th archived month has the ids that start with n.
        let may_1980 = format!("'{:08x}-0000-7000-8000-000000000001'", 10 * 12 + 4);
        literals
            .replace("{tenant}", &tenant)
            .replace("{uuid}", &format!("'{}'", self.ids[0]))
            .replace("{file_id}", &may_1980)
            .replace("{ids}", &array(&self.ids[..3]))
            .replace(
                "{first_id}",
                &format!("'{}'", self.ids[..3].iter().min().unwrap()),
            )
            .replace(
                "{last_id}",
                &format!("'{}'", self.ids[..3].iter().max().unwrap()),
            )
            .replace("{year}", &self.year.to_string())
            .replace("{customer_ids}", &array(&self.customers))
            .replace("{customer}", &format!("'{}'", self.customers[0]))
            .replace("{customer_keys}", "'{plans-1,plans-2}'")
            .replace("{external_ids}", "'{e-1,e-3}'")
            .replace("{numbers}", "'{n-1,n-3}'")
    }
}

fn array(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    format!("'{{{}}}'", ids.join(","))
}

/// A list with a metadata filter is a statement of its own.
fn statements() -> Vec<(String, String, Class)> {
    let mut all: Vec<_> = query_files()
        .into_iter()
        .filter_map(|(name, sql)| class(&name).map(|class| (name, sql, class)))
        .collect();
    let with_metadata = "  and (metadata @> $11 or metadata @> $12)\n";
    for (name, sql, _) in &mut all {
        if name == "invoice/list" {
            *sql = sql.replace("{metadata}", "");
        }
    }
    let customers = query_files()["customer/list"].clone();
    all.retain(|(name, ..)| name != "customer/list");
    for (conditions, params, key) in [
        ("", "{tenant}, {uuid}, 10", "id"),
        (
            "  and external_id = ($4::text)\n",
            "{tenant}, null, 10, 'plans-7'",
            "external_id",
        ),
        (
            "  and tax_id = ($4::text)\n",
            "{tenant}, null, 10, 't-7'",
            "tax_id",
        ),
        (
            "  and lower(email) = lower($4::text)\n",
            "{tenant}, null, 10, 'C7@example.com'",
            "lower(email)",
        ),
    ] {
        let sql = customers.replace("{conditions}", conditions);
        let name = format!("customer/list by {key}");
        all.push((name, sql, Point(params, key)));
    }
    let list = query_files()["invoice/list"].replace("{metadata}", with_metadata);
    let params = "{tenant}, null, 10, null, null, null, null, null, null, null, '{\"a\":1}', \
        '{\"a\":\"1\"}'";
    all.push(("invoice/list by metadata".into(), list, Range(params)));
    all
}

#[test]
fn every_query_file_has_a_class() {
    let unknown: Vec<String> = query_files()
        .into_keys()
        .filter(|name| class(name).is_none())
        .collect();
    assert!(
        unknown.is_empty(),
        "plans/classes.rs does not say how these must be planned: {unknown:?}"
    );
    for (name, _, class) in statements() {
        if let Apart(why) = class {
            assert!(!why.is_empty(), "{name} is apart for no reason");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn citus_every_tenant_query_is_one_task_on_the_owner() {
    let store = store().await;
    let sample = Sample::load(&store).await;
    let mut wrong = Vec::new();
    let mut explained = 0;
    for (name, sql, class) in statements() {
        let (literals, of_tenant) = match class {
            Point(literals, _) | Range(literals) => (literals, true),
            Platform(literals) => (literals, false),
            Insert | Apart(_) => continue,
        };
        explained += 1;
        let params = sample.params(literals);
        for (at, client) in [
            ("coordinator", &sample.home.coordinator),
            ("owner", &sample.home.owner),
        ] {
            // The first runs of a prepared statement are planned with their parameters, the later
            // ones without.
            for mode in ["force_generic_plan", "force_custom_plan"] {
                // A join is planned for its parameters, or not at all
                // (sql/queries/report/settings.sql).
                if name == "report/paid" && mode == "force_generic_plan" {
                    continue;
                }
                client
                    .batch_execute(&format!("set plan_cache_mode = {mode}"))
                    .await
                    .unwrap();
                let plan = explain(client, &sql, &params).await;
                let (count, nodes) = tasks(&plan);
                let one = count == 1 && nodes.len() == 1;
                if !one || (of_tenant && nodes[0] != sample.home.node) {
                    wrong.push(format!(
                        "{name} from the {at} ({mode}): {count} tasks on {nodes:?}\n{plan:#}"
                    ));
                }
            }
        }
    }
    assert!(explained > 45, "{explained}");
    assert!(
        wrong.is_empty(),
        "the owner is {}\n{}",
        sample.home.node,
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_queries_enter_their_index_by_key_and_read_little_else() {
    let store = store().await;
    let sample = Sample::load(&store).await;
    let mut wrong = Vec::new();
    for (name, sql, class) in statements() {
        let Point(literals, key) = class else {
            continue;
        };
        let sql = sample.home.on_shards(&sql);
        let params = sample.params(literals);
        let plan = explain_analyze(&sample.home.owner, &sql, &params).await;
        let conditions = index_conditions(&plan);
        let by_key =
            |c: &String| c.contains(&format!("({key} ")) || c.contains(&format!("ROW({key},"));
        // In a partition that another test has just made, and that is empty, one index is as good
        // as another.
        let by_key = conditions.iter().any(|(condition, _)| by_key(condition))
            && conditions
                .iter()
                .all(|(condition, read)| by_key(condition) || !read);
        let removed = rows_removed(&plan);
        if !by_key || removed > 5 {
            wrong.push(format!(
                "{name}: {removed} rows removed, index entered by {conditions:?} and not by \
                {key}\n{plan:#}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Citus keeps the plan that a connection made while the partition was new.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_kept_from_an_empty_table_reads_one_invoice_for_one_id() {
    let store = store().await;
    let sample = Sample::load(&store).await;
    let client = &sample.home.owner;
    let tenant = sample.tenant.0;
    let id = sample.ids[INVOICES / 4];
    for (name, table) in [
        ("invoice/get", "invoices"),
        ("line/get", "invoice_lines"),
        ("payment/get", "payments"),
    ] {
        let shard = sample.home.shard(table);
        let sql = query_files()[name].replace(&format!("from {table}\n"), "from fresh\n");
        let explain = format!(
            "execute kept('{tenant}', {}, '{{{id}}}', '{id}', '{id}')",
            sample.year
        );
        let setup = format!(
            "create temp table fresh (like {shard} including all);
             prepare kept as {sql};
             explain {explain};
             insert into fresh select * from {shard} where tenant_id = '{tenant}' and year = {}",
            sample.year
        );
        client.batch_execute(&setup).await.unwrap();
        let explain = format!("explain (analyze, format json) {explain}");
        let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
        assert!(plan.to_string().contains("fresh"), "{name}: {plan:#}");
        assert_eq!(plan[0]["Plan"]["Actual Rows"], 1, "{name}: {plan:#}");
        assert_eq!(rows_removed(&plan), 0, "{name}: {plan:#}");
        client
            .batch_execute("deallocate kept; drop table fresh")
            .await
            .unwrap();
    }
}

/// What a batch looks up is planned while the tables are new, and for the list that any batch may
/// bring.
#[tokio::test(flavor = "multi_thread")]
async fn look_ups_planned_on_empty_tables_read_what_they_find() {
    let store = store().await;
    let sample = Sample::load(&store).await;
    let client = &sample.home.owner;
    let tables = ["customers", "invoices", "idempotency_keys", "number_claims"];
    for table in tables {
        let shard = sample.home.shard(table);
        let fresh = format!("create temp table {table}_fresh (like {shard} including all)");
        client.batch_execute(&fresh).await.unwrap();
    }
    let finds = sheaf_store::bench::finds("_fresh");
    let asked = [
        ("{tenant}, {year}, {ids}", 3),
        ("{tenant}, {year}, {external_ids}", 2),
        ("{tenant}, {year}, {numbers}", 4),
        ("{tenant}, {year}, {numbers}", 2),
        ("{tenant}, {numbers}", 2),
        ("{tenant}, {customer_ids}", 3),
        ("{tenant}, {customer_keys}", 2),
        ("{tenant}, '{key-7,key-8,key-9}'", 3),
    ];
    assert_eq!(finds.len(), asked.len());
    for (n, (find, (params, _))) in finds.iter().zip(asked).enumerate() {
        let params = sample.params(params);
        let kept = format!("prepare find_{n} as {find}; explain execute find_{n}({params})");
        client.batch_execute(&kept).await.unwrap();
    }
    for table in tables {
        let fill = format!(
            "insert into {table}_fresh select * from {} where tenant_id = '{}'",
            sample.home.shard(table),
            sample.tenant.0
        );
        client.batch_execute(&fill).await.unwrap();
    }
    let run = async |n: usize| -> Value {
        let (params, found) = asked[n];
        let explain = format!(
            "explain (analyze, format json) execute find_{n}({})",
            sample.params(params)
        );
        let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
        assert_eq!(plan[0]["Plan"]["Actual Rows"], found, "{plan:#}");
        plan
    };
    let of_customer_ids = 5;
    for n in 0..asked.len() {
        let plan = run(n).await;
        // As long as a tenant is taken for one row, the other index of customers is as good.
        if n != of_customer_ids {
            assert_eq!(rows_removed(&plan), 0, "{plan:#}");
        }
    }
    for table in tables {
        let analyze = format!("analyze {table}_fresh");
        client.batch_execute(&analyze).await.unwrap();
    }
    for n in 0..asked.len() {
        let plan = run(n).await;
        assert_eq!(rows_removed(&plan), 0, "{plan:#}");
    }
}

/// Citus hides shards from sessions that do not ask for them.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_count_the_rows_of_their_nodes_shards() {
    let store = store().await;
    let sample = Sample::load(&store).await;
    let client = &sample.home.owner;
    let count = async || -> i64 {
        let rows = &query_files()["cluster/rows"];
        client.query_one(rows, &[]).await.unwrap().get(0)
    };
    if sheaf_local::test_env().citus {
        assert_eq!(count().await, 0, "the node's own tables are empty");
    }
    let visible = "set citus.override_table_visibility = off";
    client.batch_execute(visible).await.unwrap();
    // The statistics arrive a moment later.
    for _ in 0..100 {
        if count().await >= i64::try_from(INVOICES).unwrap() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the rows that were just written are not counted");
}

/// The writer sends small batches straight into the shard. Citus must not be asked: planning is
/// what costs.
#[tokio::test(flavor = "multi_thread")]
async fn direct_inserts_name_the_shard_and_plan_nothing_else() {
    let store = store().await;
    let home = Home::of(tenant(&store).await).await;
    for (name, sql, class) in statements() {
        let Insert = class else { continue };
        let table = match name.split_once('/').unwrap().0 {
            "invoice" => "invoices",
            "line" => "invoice_lines",
            "payment" => "payments",
            "event" => "events",
            "customer" => "customers",
            "idempotency" => "idempotency_keys",
            "number_series" => "number_series",
            "number_claim" => "number_claims",
            "archive_recall" => "archive_recalls",
            other => panic!("which table is {other}?"),
        };
        assert!(sql.contains("{table}"), "{name} does not name its shard");
        let sql = sql.replace("{table}", home.shard(table));
        let sql = sql.replace("{profiles}", home.shard("tenant_profiles"));
        let last = (1..100)
            .rev()
            .find(|n| sql.contains(&format!("${n}")))
            .unwrap();
        let plan = explain(&home.owner, &sql, &vec!["null"; last].join(", ")).await;
        assert_eq!(tasks(&plan).0, 0, "{name}: {plan:#}");
        if sql.contains("insert into") {
            assert_eq!(
                plan[0]["Plan"]["Node Type"], "ModifyTable",
                "{name}: {plan:#}"
            );
            assert_eq!(
                plan[0]["Plan"]["Relation Name"],
                home.shard(table),
                "{name}"
            );
        }
    }
}
