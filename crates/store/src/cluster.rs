//! Nodes, shards and connections: which node owns a tenant, and a bounded pool for each node.
//!
//! A route is a hint. Any Citus node answers any statement correctly, so a stale route is slower, never wrong.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use sheaf_model::TenantId;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::{Config, NoTls};

use crate::{StoreConfig, StoreError, hash, sql};

/// Host and port of a PostgreSQL node.
pub(crate) type NodeAddr = (String, u16);

/// One shard of the colocation group, and the node that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Citus' id of the `invoices` shard, which names the whole colocated group; a lane number without Citus.
    pub(crate) id: i64,
    /// Smallest hash value, inclusive. Shards are sorted by it and cover all values.
    min_hash: i32,
    pub(crate) node: NodeAddr,
}

/// A connection pool and the permits that keep batches large.
pub(crate) struct Node {
    pool: Pool,
    pub(crate) flushes: Arc<Semaphore>,
    pub(crate) reads: Arc<Semaphore>,
}

impl Node {
    /// A connection, within the acquire timeout.
    pub(crate) async fn get(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }
}

/// The cluster as this process sees it.
pub(crate) struct Cluster {
    config: StoreConfig,
    base: Config,
    pub(crate) citus: bool,
    coordinator: NodeAddr,
    shards: RwLock<Arc<[Shard]>>,
    nodes: RwLock<HashMap<NodeAddr, Arc<Node>>>,
    refresh: Mutex<()>,
}

impl Cluster {
    pub(crate) async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let base: Config = parse_url(&config.database_url)?;
        let coordinator = first_host(&base)?;
        let mut cluster = Self {
            config,
            base,
            citus: false,
            coordinator,
            shards: RwLock::new(Arc::from([])),
            nodes: RwLock::new(HashMap::new()),
            refresh: Mutex::new(()),
        };
        let conn = cluster.coordinator().get().await?;
        cluster.citus = conn.query_opt(sql::CLUSTER_HAS_CITUS, &[]).await?.is_some();
        drop(conn);
        cluster.refresh_placement().await?;
        Ok(cluster)
    }

    /// The shard that a tenant lives in.
    pub(crate) fn shard_of(&self, tenant: TenantId) -> Shard {
        let hash = hash::uuid_hash(tenant.0);
        let shards = self
            .shards
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let index = shards
            .partition_point(|s| s.min_hash <= hash)
            .saturating_sub(1);
        shards[index].clone()
    }

    /// Where a shard is now; the coordinator if the shard was split away meanwhile.
    pub(crate) fn node_of_shard(&self, shard_id: i64) -> Arc<Node> {
        let addr = {
            let shards = self
                .shards
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            shards
                .iter()
                .find(|s| s.id == shard_id)
                .map(|s| s.node.clone())
        };
        self.node(addr.as_ref().unwrap_or(&self.coordinator))
    }

    /// The owner node of a tenant.
    pub(crate) fn owner(&self, tenant: TenantId) -> Arc<Node> {
        self.node(&self.shard_of(tenant).node)
    }

    /// Tenants, DDL, reference tables and everything that no tenant owns.
    pub(crate) fn coordinator(&self) -> Arc<Node> {
        self.node(&self.coordinator)
    }

    /// Reads the placements again. Concurrent calls share one query's result in turn.
    pub(crate) async fn refresh_placement(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.refresh.lock().await;
        let shards: Arc<[Shard]> = if self.citus {
            self.citus_shards().await?
        } else {
            self.plain_lanes()
        };
        if shards.is_empty() {
            return Err(StoreError::Config(
                "the table `invoices` is not distributed yet: run `sheaf migrate`".into(),
            ));
        }
        *self
            .shards
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = shards;
        Ok(())
    }

    async fn citus_shards(&self) -> Result<Arc<[Shard]>, StoreError> {
        let conn = self.coordinator().get().await?;
        let rows = conn.query(sql::CLUSTER_PLACEMENTS, &[]).await?;
        rows.iter()
            .map(|row| {
                let port: i32 = row.get("nodeport");
                let port = u16::try_from(port)
                    .map_err(|_| StoreError::Corrupt(format!("node port {port}")))?;
                Ok(Shard {
                    id: row.get("shardid"),
                    min_hash: row.get("min_hash"),
                    node: (row.get("nodename"), port),
                })
            })
            .collect()
    }

    /// Without Citus there is nothing to route; the hash space is cut into lanes so that several flushes can run.
    fn plain_lanes(&self) -> Arc<[Shard]> {
        let lanes = i64::from(self.config.plain_lanes.clamp(1, 64));
        let width = (1_i64 << 32) / lanes;
        (0..lanes)
            .map(|lane| Shard {
                id: lane,
                min_hash: i32::try_from(i64::from(i32::MIN) + lane * width).unwrap_or(i32::MIN),
                node: self.coordinator.clone(),
            })
            .collect()
    }

    fn node(&self, addr: &NodeAddr) -> Arc<Node> {
        if let Some(node) = self
            .nodes
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(addr)
        {
            return node.clone();
        }
        let mut nodes = self
            .nodes
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        nodes
            .entry(addr.clone())
            .or_insert_with(|| Arc::new(self.make_node(addr)))
            .clone()
    }

    fn make_node(&self, (host, port): &NodeAddr) -> Node {
        let c = &self.config;
        let manager = Manager::from_config(
            node_config(&self.base, host, *port, c.statement_timeout),
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let timeouts = Timeouts {
            wait: Some(c.acquire_timeout),
            create: Some(c.acquire_timeout),
            recycle: Some(c.acquire_timeout),
        };
        #[allow(clippy::expect_used)]
        // Expect safety: the builder fails only when timeouts are set without a runtime.
        let pool = Pool::builder(manager)
            .max_size(c.max_connections_per_node)
            .timeouts(timeouts)
            // The connection used last has its plans and catalogs warm.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime");
        Node {
            pool,
            flushes: Arc::new(Semaphore::new(c.flushes_per_node)),
            reads: Arc::new(Semaphore::new(c.reads_per_node)),
        }
    }

    pub(crate) fn close(&self) {
        for node in self
            .nodes
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .values()
        {
            node.pool.close();
        }
    }
}

/// A connection URL as a configuration.
pub(crate) fn parse_url(url: &str) -> Result<Config, StoreError> {
    // The error must not repeat the URL: it holds a password.
    url.parse().map_err(|e| {
        StoreError::Config(format!(
            "SHEAF_DATABASE_URL is not a PostgreSQL connection URL: {e}"
        ))
    })
}

fn first_host(config: &Config) -> Result<NodeAddr, StoreError> {
    match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => Ok((
            host.clone(),
            config.get_ports().first().copied().unwrap_or(5432),
        )),
        _ => Err(StoreError::Config(
            "SHEAF_DATABASE_URL must name a host: postgres://user:password@host:port/database"
                .into(),
        )),
    }
}

fn node_config(base: &Config, host: &str, port: u16, statement_timeout: Duration) -> Config {
    let mut config = Config::new();
    config
        .host(host)
        .port(port)
        .application_name("sheaf")
        .connect_timeout(Duration::from_secs(5));
    config
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30));
    // Bounds that the server keeps even if this process hangs: a statement, and a transaction that nobody drives.
    // All our statements are index probes by key. Left alone, the planner prefers a scan while a partition is young, and
    // a prepared statement keeps that plan when the partition has grown.
    let ms = statement_timeout.as_millis();
    config.options(format!(
        "-c statement_timeout={ms} -c idle_in_transaction_session_timeout=60000 -c lock_timeout={ms} -c jit=off \
         -c enable_seqscan=off"
    ));
    if let Some(user) = base.get_user() {
        config.user(user);
    }
    if let Some(password) = base.get_password() {
        config.password(password);
    }
    if let Some(dbname) = base.get_dbname() {
        config.dbname(dbname);
    }
    config
}
