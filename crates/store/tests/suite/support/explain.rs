//! Plans: what PostgreSQL and Citus say that they would do with a statement, or did.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sheaf_model::TenantId;
use tokio_postgres::{Client, Config, NoTls};

/// As the store's sessions are (`node_config` in `src/cluster.rs`), and with the plan that a
/// prepared statement ends up with: Citus keeps one plan for a shard that is on the node itself,
/// made without looking at the parameters.
const SESSION: &str = "set jit = off; set enable_seqscan = off; set cpu_tuple_cost = 100; set \
    plan_cache_mode = force_generic_plan; \
                       set statement_timeout = '30s'";

/// Every file of `sql/queries`, by its name without the ending: `invoice/get`.
pub(crate) fn query_files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/queries");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(path.extension().is_some_and(|e| e == "sql"), "{path:?}");
                found.insert(name.to_str().unwrap().to_owned(), text);
            }
        }
    }
    assert!(found.len() > 50, "{} query files in {root:?}", found.len());
    found
}

/// Where a tenant's rows are.
pub(crate) struct Home {
    /// A session on the coordinator, or on the only node.
    pub coordinator: Client,
    /// A session on the owner node; without Citus another one on the only node.
    pub owner: Client,
    /// As Citus' plans name the owner: `host=... port=... dbname=...`. Empty without Citus.
    pub node: String,
    /// The tenant's shard of every distributed table; without Citus the table itself.
    shards: HashMap<String, String>,
}

impl Home {
    pub(crate) async fn of(tenant: TenantId) -> Self {
        let env = sheaf_local::test_env();
        let config: Config = env.database_url.parse().unwrap();
        let coordinator = session(&config).await;
        let tables = include_str!("../../../../../citus/distributed_tables.txt").split_whitespace();
        if !env.citus {
            return Self {
                owner: session(&config).await,
                coordinator,
                node: String::new(),
                shards: tables.map(|t| (t.to_owned(), t.to_owned())).collect(),
            };
        }
        let owner = coordinator
            .query_one(
                "select n.nodename, n.nodeport
                 from pg_dist_placement p join pg_dist_node n on n.groupid = p.groupid and \
                 n.noderole = 'primary'
                 where p.shardstate = 1
                   and p.shardid = get_shard_id_for_distribution_column('invoices', $1::uuid)",
                &[&tenant.0],
            )
            .await
            .unwrap();
        let (host, port): (String, i32) = (owner.get(0), owner.get(1));
        let mut at_owner = Config::new();
        at_owner
            .host(&host)
            .port(u16::try_from(port).unwrap())
            .user(config.get_user().unwrap())
            .password(config.get_password().unwrap())
            .dbname(config.get_dbname().unwrap());
        let mut shards = HashMap::new();
        for table in tables {
            let shard = coordinator
                .query_one(
                    "select get_shard_id_for_distribution_column($1::text::regclass, $2::uuid)",
                    &[&table, &tenant.0],
                )
                .await
                .unwrap();
            let shard = format!("{table}_{}", shard.get::<_, i64>(0));
            shards.insert(table.to_owned(), shard);
        }
        let dbname = config.get_dbname().unwrap();
        Self {
            owner: session(&at_owner).await,
            coordinator,
            node: format!("host={host} port={port} dbname={dbname}"),
            shards,
        }
    }

    /// The tenant's shard of a table.
    pub(crate) fn shard(&self, table: &str) -> &str {
        &self.shards[table]
    }

    /// The statement on the tenant's shards, as Citus runs it on the owner. A table follows `from`,
    /// `into` or `update`; elsewhere the same word is a column (`archive_files.invoices`), which
    /// the alias keeps valid.
    pub(crate) fn on_shards(&self, sql: &str) -> String {
        let mut sql = sql.to_owned();
        for (table, shard) in &self.shards {
            for (verb, alias) in [("from", " "), ("update", " "), ("insert into", " as ")] {
                for end in [" ", "\n"] {
                    sql = sql.replace(
                        &format!("{verb} {table}{end}"),
                        &format!("{verb} {shard}{alias}{table}{end}"),
                    );
                }
            }
        }
        sql
    }

    /// Fresh statistics of the tenant's shards, partitions included.
    pub(crate) async fn analyze(&self) {
        // Beside thousands of other tests' tenants, a few samples may miss the one that is looked
        // at.
        let sample = "set default_statistics_target = 5000";
        self.owner.batch_execute(sample).await.unwrap();
        for shard in self.shards.values() {
            self.owner
                .batch_execute(&format!("analyze {shard}"))
                .await
                .unwrap();
        }
        let reset = "reset default_statistics_target";
        self.owner.batch_execute(reset).await.unwrap();
    }
}

async fn session(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(SESSION).await.unwrap();
    client
}

/// The plan of a prepared statement. `params` is a list of literals.
pub(crate) async fn explain(client: &Client, sql: &str, params: &str) -> Value {
    run(client, "explain (format json)", sql, params).await
}

/// Runs the statement in a transaction that is rolled back, and says what it did.
pub(crate) async fn explain_analyze(client: &Client, sql: &str, params: &str) -> Value {
    client.batch_execute("begin").await.unwrap();
    let plan = run(
        client,
        "explain (analyze, buffers, timing off, format json)",
        sql,
        params,
    );
    let plan = plan.await;
    client.batch_execute("rollback").await.unwrap();
    plan
}

async fn run(client: &Client, explain: &str, sql: &str, params: &str) -> Value {
    let params = if params.is_empty() {
        String::new()
    } else {
        format!("({params})")
    };
    let prepare = format!("prepare explained as {sql}");
    let fail = |e: &tokio_postgres::Error| -> ! { panic!("{e:?}\n{sql}\n{params}") };
    if let Err(e) = client.batch_execute(&prepare).await {
        fail(&e);
    }
    let row = match client
        .query_one(&format!("{explain} execute explained{params}"), &[])
        .await
    {
        Ok(row) => row,
        Err(e) => fail(&e),
    };
    client.batch_execute("deallocate explained").await.unwrap();
    row.get(0)
}

/// Every object of a plan that has this member.
pub(crate) fn with_member<'a>(plan: &'a Value, member: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    let mut left = vec![plan];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(object) => {
                if object.contains_key(member) {
                    found.push(value);
                }
                left.extend(object.values());
            }
            Value::Array(array) => left.extend(array),
            _ => {}
        }
    }
    found
}

/// Number of tasks and the nodes they go to, over all that Citus distributes in a plan.
pub(crate) fn tasks(plan: &Value) -> (u64, Vec<String>) {
    let jobs = with_member(plan, "Task Count");
    let count = jobs.iter().filter_map(|j| j["Task Count"].as_u64()).sum();
    let nodes = with_member(plan, "Node");
    let nodes = nodes.iter().filter_map(|t| t["Node"].as_str());
    (count, nodes.map(str::to_owned).collect())
}

/// Rows that were read and thrown away.
pub(crate) fn rows_removed(plan: &Value) -> u64 {
    let of = |member: &str| -> u64 {
        with_member(plan, member)
            .iter()
            .map(|n| n[member].as_u64().unwrap() * n["Actual Loops"].as_u64().unwrap())
            .sum()
    };
    of("Rows Removed by Filter") + of("Rows Removed by Index Recheck")
}

/// Pages that a run touched.
pub(crate) fn pages(plan: &Value) -> u64 {
    let top = &plan[0]["Plan"];
    let of = |member: &str| top[member].as_u64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

/// The conditions by which indexes are entered, and whether anything was read there; a scan of a
/// whole table shows as an empty one.
pub(crate) fn index_conditions(plan: &Value) -> Vec<(String, bool)> {
    with_member(plan, "Node Type")
        .iter()
        .filter(|n| {
            let kind = n["Node Type"].as_str().unwrap();
            kind.contains("Scan") && !["Bitmap Heap Scan", "Function Scan"].contains(&kind)
        })
        .map(|n| {
            let condition = n["Index Cond"].as_str().unwrap_or_default().to_owned();
            let read = ["Actual Rows", "Rows Removed by Filter"];
            (
                condition,
                read.iter().any(|of| n[of].as_u64().unwrap_or(0) > 0),
            )
        })
        .collect()
}
