//! The API's login does all that the API does, and cannot change an event: not through the table,
//! not through a partition, not through a shard on its node; also not in years and on nodes that
//! came later.

use crate::support::{now, simple, tenant};
use serde_json::json;
use sheaf_local::{CitusMode, Throwaway};
use sheaf_model::TenantId;
use sheaf_store::{Created, NewEvent, Origin, Store, StoreConfig};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// A database as its owner and as the API.
struct Sides {
    owner: String,
    api: String,
}

impl Sides {
    async fn store(&self) -> Store {
        sheaf_store::migrate(&self.owner, 8).await.unwrap();
        Store::connect(StoreConfig::new(&self.api)).await.unwrap()
    }

    /// Every node, as both see it.
    async fn nodes(&self) -> Vec<(Client, Client)> {
        let first = connect(&self.owner, None).await;
        let citus = first
            .query_opt("select from pg_extension where extname = 'citus'", &[])
            .await
            .unwrap();
        let mut ports = vec![None];
        if citus.is_some() {
            let sql = "select nodeport from pg_dist_node where groupid <> 0";
            let rows = first.query(sql, &[]).await.unwrap();
            ports.extend(rows.iter().map(|row| Some(row.get::<_, i32>(0))));
        }
        let mut nodes = Vec::new();
        for port in ports {
            nodes.push((
                connect(&self.owner, port).await,
                connect(&self.api, port).await,
            ));
        }
        nodes
    }

    /// Tries to change every relation that holds events, on every node. Returns how many there are.
    async fn attack(&self) -> usize {
        let mut tried = 0;
        for (owner, api) in self.nodes().await {
            // Shards are ordinary tables of the node, which Citus hides otherwise.
            owner
                .batch_execute("set citus.override_table_visibility = off")
                .await
                .unwrap();
            api.batch_execute("set citus.enable_manual_changes_to_shards = on")
                .await
                .unwrap();
            let sql = "select relname::text from pg_class where relkind in ('r', 'p') and relname \
                ~ '^events'";
            for row in owner.query(sql, &[]).await.unwrap() {
                let relation: String = row.get(0);
                for statement in [
                    format!("update {relation} set actor = 'somebody else'"),
                    format!("delete from {relation}"),
                    format!("truncate {relation}"),
                    format!("drop table {relation}"),
                    format!("alter table {relation} disable trigger all"),
                ] {
                    let error = api.batch_execute(&statement).await.unwrap_err();
                    let code = error.code().cloned();
                    assert_eq!(
                        code,
                        Some(SqlState::INSUFFICIENT_PRIVILEGE),
                        "{statement}: {error:?}"
                    );
                }
                tried += 1;
            }
        }
        tried
    }
}

async fn connect(url: &str, port: Option<i32>) -> Client {
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    if let Some(port) = port {
        let mut other = tokio_postgres::Config::new();
        other
            .host("127.0.0.1")
            .port(u16::try_from(port).unwrap())
            .user(config.get_user().unwrap())
            .password(config.get_password().unwrap())
            .dbname(config.get_dbname().unwrap());
        config = other;
    }
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Writes as the API does: documents of this year and of one that has no partition yet, and an
/// event by itself.
async fn work(store: &Store, tenant: TenantId, year: &str) {
    for date in [None, Some(format!("{year}-05-06"))] {
        let mut extra = json!({"customer": {"external_id": "c", "name": "C"}, "external_id": year});
        if let Some(date) = date {
            extra["issue_date"] = json!(date);
        }
        let made = store.create_invoice(simple(tenant, extra)).await.unwrap();
        assert!(matches!(made, Created::New(_)), "{made:?}");
    }
    let event = NewEvent::of_tenant(
        tenant,
        "access.denied",
        Origin::new("test", "test"),
        json!({"year": year}).to_string(),
        now(),
    );
    // Twice, as after an answer that was lost.
    for _ in 0..2 {
        store
            .write_events(tenant, std::slice::from_ref(&event))
            .await
            .unwrap();
    }
}

async fn count(owner: &str, tenant: TenantId) -> i64 {
    let client = connect(owner, None).await;
    let sql = "select count(*) from events where tenant_id = $1 and actor = 'test'";
    client.query_one(sql, &[&tenant.0]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_writes_events_and_cannot_change_them() {
    let env = sheaf_local::test_env();
    let sides = Sides {
        owner: env.database_url,
        api: env.api_database_url,
    };
    let store = sides.store().await;
    let tenant = tenant(&store).await;
    work(&store, tenant, "1974").await;
    let before = count(&sides.owner, tenant).await;
    // Two invoices, the customer, the event.
    assert_eq!(before, 4);
    assert!(sides.attack().await > 3);
    assert_eq!(count(&sides.owner, tenant).await, before);
}

/// A cluster of its own: it moves shards.
#[tokio::test(flavor = "multi_thread")]
async fn citus_rights_follow_new_years_and_moved_shards() {
    let throwaway = Throwaway::start(CitusMode::Require).await.unwrap();
    let sides = Sides {
        owner: throwaway.env().database_url().to_owned(),
        api: throwaway.env().api_database_url().to_owned(),
    };
    let store = sides.store().await;
    let tenant = tenant(&store).await;
    work(&store, tenant, "1972").await;
    let relations = sides.attack().await;
    // Coordinator: the table and three years. Over the workers: eight shards of each, and the
    // shells.
    assert!(relations >= 4 + 8 * 4, "{relations}");

    let owner = connect(&sides.owner, None).await;
    let moved = owner
        .query(
            "select citus_move_shard_placement(s.shardid, f.nodename, f.nodeport, t.nodename, \
            t.nodeport, 'block_writes')
             from pg_dist_shard s
             join pg_dist_placement p using (shardid)
             join pg_dist_node f on f.groupid = p.groupid
             join pg_dist_node t on t.groupid <> p.groupid and t.groupid <> 0
             where s.shardid = get_shard_id_for_distribution_column('invoices', $1::uuid)",
            &[&tenant.0],
        )
        .await
        .unwrap();
    assert_eq!(moved.len(), 1);
    work(&store, tenant, "1973").await;
    assert_eq!(count(&sides.owner, tenant).await, 7);
    assert!(sides.attack().await > relations);

    // What somebody granted by hand is taken back by the next migration.
    owner
        .batch_execute("grant update on events to sheaf_api")
        .await
        .unwrap();
    sheaf_store::migrate(&sides.owner, 8).await.unwrap();
    sides.attack().await;

    // A transaction of the owner, on every node, is one that the feed waits for.
    for (owner, api) in sides.nodes().await {
        owner
            .batch_execute("begin; select pg_current_xact_id()")
            .await
            .unwrap();
        let sql = "select count(*) from pg_stat_activity where backend_xid is not null and usename \
            = 'sheaf'";
        let seen: i64 = api.query_one(sql, &[]).await.unwrap().get(0);
        assert!(seen > 0);
    }
    let blind = sides.api.replace("sheaf_app", "blind");
    owner
        .batch_execute(&format!(
            "create role blind login password '{}'; grant select on refinery_schema_history to \
            blind",
            blind.split([':', '@']).nth(2).unwrap()
        ))
        .await
        .unwrap();
    let refused = Store::connect(StoreConfig::new(blind)).await.err().unwrap();
    assert!(
        refused.to_string().contains("pg_read_all_stats"),
        "{refused}"
    );

    // The years' function makes years and nothing else.
    let api = connect(&sides.api, None).await;
    for bad in ["1969::smallint", "2200::smallint"] {
        let made = api
            .batch_execute(&format!("select sheaf_make_year({bad})"))
            .await;
        assert!(made.is_err(), "{bad}");
    }
    assert!(
        api.batch_execute("create table mine (id integer)")
            .await
            .is_err()
    );
    store.close().await;
    throwaway.stop().await.unwrap();
}
