//! One PostgreSQL node: a bounded pool of connections, and what is known of its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod,
    Runtime, TimeoutType, Timeouts,
};
use sheaf_model::TenantId;
use tokio_postgres::Config;

use crate::cluster::connect::{Database, Pooled};
use crate::cluster::lent::{Leave, Lending, Lent, Use};
use crate::cluster::plan_age::KeptPlans;
use crate::{StoreConfig, StoreError};

/// Host and port of a PostgreSQL node.
pub(crate) type NodeAddr = (String, u16);

/// A node that refused a connection is not asked again for this long: its tenants get their answer
/// at once, and a restarting node is not stormed.
const DOWN_FOR: Duration = Duration::from_millis(500);
/// For how long it is waited for an answer of a node that is asked for nothing else.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// A node that did not answer is asked after the others for this long.
const SLOW_FOR: Duration = Duration::from_secs(10);

/// Connections of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) most: usize,
    pub(crate) in_use: usize,
    pub(crate) idle: usize,
    /// Who waits for one, or for leave to take one.
    pub(crate) waiting: usize,
}

/// A connection pool.
pub(crate) struct Node {
    addr: NodeAddr,
    pool: Pool,
    way: Pooled,
    started: Instant,
    /// Milliseconds after `started` until which the node counts as down; 0: it does not.
    down_until: AtomicU64,
    /// Likewise, until which it is asked last where others know the same.
    slow_until: AtomicU64,
    lending: Lending,
}

impl Node {
    pub(crate) fn new(database: &Database, addr: &NodeAddr, c: &StoreConfig) -> Self {
        let way = database.pooled(addr);
        let manager = Manager::from_connect(
            settings(c.statement_timeout),
            way.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let timeouts = Timeouts {
            wait: Some(c.acquire_timeout),
            create: Some(c.acquire_timeout),
            recycle: Some(c.acquire_timeout),
        };
        let started = Instant::now();
        let plans = Arc::new(KeptPlans::new(started));
        let (patience, hosts) = (c.acquire_timeout, way.clone());
        #[allow(clippy::expect_used)]
        // Expect safety: the builder fails only when timeouts are set without a runtime.
        let pool = Pool::builder(manager)
            .max_size(c.max_connections_per_node)
            .timeouts(timeouts)
            // All take their turn, so that all have their plans and catalogs, and end one by one
            // when these are old. The last one first would leave most to a burst, which then finds
            // them old and opens all of them anew at once.
            .queue_mode(QueueMode::Fifo)
            .runtime(Runtime::Tokio1)
            .pre_recycle(Hook::async_fn(move |client, metrics| {
                let (plans, created) = (Arc::clone(&plans), metrics.created);
                let hosts = hosts.clone();
                Box::pin(async move {
                    // Hooks have no timeout of their own.
                    let is_old = async {
                        Ok(hosts.outdated(client, created).await?
                            || plans.outlived(client, created).await?)
                    };
                    match tokio::time::timeout(patience, is_old).await {
                        Ok(Ok(false)) => Ok(()),
                        Ok(Ok(true)) => Err(HookError::message("its plans or its host are old")),
                        Ok(Err(error)) => Err(HookError::Backend(error)),
                        Err(_) => Err(HookError::message("the node does not answer")),
                    }
                })
            }))
            .build()
            .expect("a pool with a runtime");
        Self {
            addr: addr.clone(),
            pool,
            way,
            started,
            down_until: AtomicU64::new(0),
            slow_until: AtomicU64::new(0),
            lending: Lending::new(c.max_connections_per_node, c.acquire_timeout),
        }
    }

    /// A connection, within the acquire timeout; at once an error while the node counts as down.
    /// For the queues, and for work that is bounded elsewhere; requests are lent theirs.
    pub(crate) async fn get(&self) -> Result<Object, StoreError> {
        self.check()?;
        self.pool.get().await.map_err(|error| {
            let is_backends = matches!(error, PoolError::Backend(_));
            match error {
                PoolError::Backend(_)
                | PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                    self.mark_down()
                }
                // A busy pool says nothing about the node.
                _ => {}
            }
            let error = match (error.into(), self.way.why()) {
                // The pool's own words name no host.
                (StoreError::Unavailable { .. }, Some(detail)) if is_backends => {
                    StoreError::Unavailable { detail }
                }
                (error, _) => error,
            };
            error.on(&self.addr)
        })
    }

    /// A connection for one of a tenant's requests, when its turn comes.
    pub(crate) async fn lend(&self, purpose: Use, tenant: TenantId) -> Result<Lent, StoreError> {
        let leave = self.leave(purpose, tenant).await?;
        Ok(Lent::new(self.get().await?, leave))
    }

    /// Leave to take a connection.
    pub(crate) async fn leave(&self, purpose: Use, tenant: TenantId) -> Result<Leave, StoreError> {
        self.check()?;
        self.lending.ask(purpose, tenant).await
    }

    /// A connection for a look-up before there is a tenant.
    pub(crate) async fn lookup(&self) -> Result<Lent, StoreError> {
        self.check()?;
        let leave = self.lending.ask_lookup().await?;
        Ok(Lent::new(self.get().await?, leave))
    }

    pub(crate) fn connections(&self) -> Connections {
        let pool = self.pool.status();
        Connections {
            most: pool.max_size,
            in_use: pool.size.saturating_sub(pool.available),
            idle: pool.available,
            waiting: pool.waiting + self.lending.waiting(),
        }
    }

    /// Whether it answers now. A pool that has no connection left says nothing about the node.
    pub(crate) async fn answers(&self) -> bool {
        match self.get().await {
            Ok(conn) => {
                let asked = tokio::time::timeout(ANSWERS_WITHIN, conn.batch_execute(""));
                matches!(asked.await, Ok(Ok(())))
            }
            Err(_) => self.check().is_ok(),
        }
    }

    /// An error while the node counts as down.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.down_until.load(Ordering::Relaxed) > self.now() {
            let error = StoreError::Unavailable {
                detail: "it did not answer a moment ago".into(),
            };
            return Err(error.on(&self.addr));
        }
        Ok(())
    }

    fn mark_down(&self) {
        self.down_until
            .store(self.later(DOWN_FOR), Ordering::Relaxed);
    }

    /// Notes that it did not answer in time.
    pub(crate) fn mark_slow(&self) {
        self.slow_until
            .store(self.later(SLOW_FOR), Ordering::Relaxed);
    }

    pub(crate) fn is_slow(&self) -> bool {
        let until = |at: &AtomicU64| at.load(Ordering::Relaxed);
        until(&self.slow_until).max(until(&self.down_until)) > self.now()
    }

    fn later(&self, by: Duration) -> u64 {
        self.now() + u64::try_from(by.as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// A connection URL, read.
pub(crate) fn parse_url(url: &str) -> Result<Database, StoreError> {
    // The error must not repeat the URL: it holds a password.
    Database::parse(url).map_err(|e| {
        StoreError::Config(format!(
            "SHEAF_DATABASE_URL is not a PostgreSQL connection URL: {e}"
        ))
    })
}

fn settings(statement_timeout: Duration) -> Config {
    // Writes go straight into shard tables (invoice/create/write.rs), and their rows are counted (cluster/plan_age.rs).
    // Without the extension these are settings that nobody reads.
    let direct =
        " -c citus.enable_manual_changes_to_shards=on -c citus.override_table_visibility=off";
    let mut config = Config::new();
    config
        .application_name("sheaf")
        .connect_timeout(Duration::from_secs(5));
    config
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30));
    // Bounds that the server keeps even if this process hangs: a statement, and a transaction that
    // nobody drives. All our statements are index probes by key. Left alone, the planner prefers a
    // scan while a partition is young, and a prepared statement keeps that plan when the partition
    // has grown; and it reads all of a small tenant rather than probe for each key
    // (docs/decisions/0010-index-of-metadata.md).
    let ms = statement_timeout.as_millis();
    config.options(format!(
        "-c statement_timeout={ms} -c idle_in_transaction_session_timeout=60000 -c lock_timeout={ms} -c jit=off \
         -c enable_seqscan=off -c cpu_tuple_cost=100{direct}"
    ));
    config
}
