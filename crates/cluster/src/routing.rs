//! Routing: which shard a tenant lives in, and which node holds it now.
//!
//! A route is a hint. Reads go through Citus, which answers them on any node; writes into shard
//! tables first make sure that the shard is there (`sheaf_hold_shards`). A stale route is slower,
//! never wrong.

pub mod hash;
pub mod shard;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sheaf_model::TenantId;
use tokio::sync::Mutex;
use tokio_postgres::Row;

use self::shard::{Shard, StatementSet};

use crate::config::{Config, Route};
use crate::connect::{self, Database, NodeAddr};
use crate::error::{Error, OfCluster};
use crate::node::lent::Lent;
use crate::node::{Connections, Node};
use crate::sql;

/// The cluster as this process sees it.
pub struct Cluster {
    config: Config,
    statements: StatementSet,
    database: Database,
    /// Whether the database is a Citus cluster.
    pub citus: bool,
    coordinator: NodeAddr,
    shards: RwLock<Arc<[Arc<Shard>]>>,
    nodes: RwLock<HashMap<NodeAddr, Arc<Node>>>,
    refresh: Mutex<()>,
    /// Whose turn it is to be asked what every node knows.
    turn: AtomicUsize,
}

/// For how long a node is waited for where others know the same.
const SLOW: Duration = Duration::from_millis(500);

impl Cluster {
    /// Connects to the coordinator, or to the one plain node, and reads where the shards are.
    ///
    /// # Errors
    /// A URL that cannot be read, an unreachable database, or tables that are not distributed.
    pub async fn connect(config: Config, statements: StatementSet) -> Result<Self, Error> {
        let database = connect::parse_url(&config.database_url)?;
        let coordinator = database.coordinator();
        let mut cluster = Self {
            config,
            statements,
            database,
            citus: false,
            coordinator,
            shards: RwLock::new(Arc::from([])),
            nodes: RwLock::new(HashMap::new()),
            refresh: Mutex::new(()),
            turn: AtomicUsize::new(0),
        };
        let conn = cluster.coordinator().get().await?;
        cluster.citus = connect::has_citus(&conn).await?;
        drop(conn);
        cluster.refresh_placement().await?;
        Ok(cluster)
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether writes name the tables that hold the rows, on the node that has them.
    pub fn is_direct(&self) -> bool {
        !self.citus || self.config.route == Route::Owner
    }

    fn shards(&self) -> Arc<[Arc<Shard>]> {
        Arc::clone(&self.shards.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shard that a tenant lives in.
    pub fn shard_of(&self, tenant: TenantId) -> Arc<Shard> {
        let hash = hash::uuid_hash(tenant.0);
        let shards = self.shards();
        Arc::clone(&shards[hash::shard_index(&shards, hash, |s| s.min_hash)])
    }

    /// The owner node of a tenant.
    pub fn owner(&self, tenant: TenantId) -> Arc<Node> {
        self.node(&self.shard_of(tenant).node)
    }

    /// DDL, writes to reference tables and everything that no tenant owns.
    pub fn coordinator(&self) -> Arc<Node> {
        self.node(&self.coordinator)
    }

    /// Reads of reference tables, which every node has: on a worker first, so that the coordinator
    /// is neither in the way nor missed when it is away. A miss is looked up on the coordinator as
    /// well, which is the first to have a new row; where it does not answer, on another worker.
    /// Nobody is waited for long while others know the same.
    ///
    /// # Errors
    /// Of the last node that did not answer, where none did.
    pub async fn read_anywhere<T, E, F>(&self, read: impl Fn(Lent) -> F) -> Result<Option<T>, E>
    where
        E: OfCluster,
        F: Future<Output = Result<Option<T>, E>>,
    {
        let mut missed = false;
        let mut failed = None;
        let mut left = self.in_turn();
        while let Some(addr) = left.pop_front() {
            let node = self.node(&addr);
            let asked = async {
                let conn = node.lookup().await?;
                read(conn).await
            };
            let is_last = left.is_empty() && !missed;
            let bound = if is_last {
                self.config.attempt_timeout()
            } else {
                SLOW
            };
            let found = within(bound, &node, asked).await;
            match found.map_err(|error| error.on(&addr)) {
                Ok(None) => {
                    let coordinator = left.iter().position(|addr| *addr == self.coordinator);
                    let Some(next) = coordinator.and_then(|at| left.remove(at)) else {
                        // It has said so itself, or it is away and two workers have.
                        if missed || addr == self.coordinator {
                            return Ok(None);
                        }
                        missed = true;
                        continue;
                    };
                    missed = true;
                    left.push_front(next);
                }
                Err(error)
                    if matches!(
                        error.of_cluster(),
                        Some(Error::Unavailable { .. } | Error::Busy(_))
                    ) =>
                {
                    failed = Some(error);
                }
                found => return found,
            }
        }
        match failed {
            Some(error) if !missed => Err(error),
            _ => Ok(None),
        }
    }

    /// All nodes, in the order in which they are asked what each of them knows.
    fn in_turn(&self) -> VecDeque<NodeAddr> {
        let mut nodes: Vec<NodeAddr> = self.owners().into_iter().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
        nodes.rotate_left(turn);
        nodes.retain(|addr| *addr != self.coordinator);
        nodes.push(self.coordinator.clone());
        // One that hangs is asked last: it says nothing, for as long as it is waited for.
        nodes.sort_by_key(|addr| self.node(addr).is_slow());
        nodes.into()
    }

    /// The nodes that this process works with: the coordinator, and those that hold shards.
    pub fn nodes(&self) -> BTreeSet<NodeAddr> {
        let mut nodes = self.owners();
        nodes.insert(self.coordinator.clone());
        nodes
    }

    /// The connections to each node that this process has asked for any.
    pub fn connections(&self) -> Vec<(NodeAddr, Connections)> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let of = |(addr, node): (&NodeAddr, &Arc<Node>)| (addr.clone(), node.connections());
        nodes.iter().map(of).collect()
    }

    /// The nodes that hold shards.
    fn owners(&self) -> BTreeSet<NodeAddr> {
        self.shards().iter().map(|s| s.node.clone()).collect()
    }

    /// Whether any node answers.
    pub async fn ready(&self) -> Result<(), Error> {
        // Not lent: what requests take must not make the process look lost. All at once: one that
        // hangs answers for nobody.
        let mut nodes = self.owners();
        nodes.insert(self.coordinator.clone());
        let asked = nodes.iter().map(|addr| {
            let node = self.node(addr);
            let asked = async move {
                let conn = node.get().await?;
                let asked = async {
                    if self.citus {
                        return Ok(conn.batch_execute("").await.map(|()| false)?);
                    }
                    Ok::<_, Error>(connect::has_citus(&conn).await?)
                };
                match tokio::time::timeout(self.config.acquire_timeout, asked).await {
                    Ok(answer) => match answer? {
                        false => Ok(()),
                        // Its statements are those for tables that lie on one node.
                        true => Err(Error::Config(
                            "Citus was installed after this process had started: run \
                             `sheaf migrate`, then start it again"
                                .into(),
                        )),
                    },
                    Err(_) => Err(Error::Unavailable {
                        detail: "it does not answer".into(),
                    }),
                }
            };
            async move { asked.await.map_err(|error| error.on(addr)) }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut failed = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(()) => return Ok(()),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Reads the placements again, from the coordinator or, while it is away, from a worker, which
    /// has them as well. Concurrent calls share one query's result in turn.
    pub async fn refresh_placement(&self) -> Result<(), Error> {
        let _one_at_a_time = self.refresh.lock().await;
        let shards = match (self.citus, self.config.route) {
            (true, Route::Owner) => self.citus_shards().await?,
            _ => self.lanes(),
        };
        if shards.is_empty() {
            return Err(Error::Config(format!(
                "the table `{}` is not distributed yet: run `sheaf migrate`",
                self.statements.named_by
            )));
        }
        *self.shards.write().unwrap_or_else(PoisonError::into_inner) = shards;
        Ok(())
    }

    /// Reads the routes again after a failure. If nobody can tell, the old routes are all there is.
    pub async fn reroute(&self) {
        if let Err(error) = self.refresh_placement().await {
            tracing::warn!(%error, "placements could not be read again");
        }
    }

    async fn citus_shards(&self) -> Result<Arc<[Arc<Shard>]>, Error> {
        let mut failed = None;
        let owners = self.owners();
        let mut nodes: Vec<&NodeAddr> = [&self.coordinator].into_iter().chain(&owners).collect();
        nodes.sort_by_key(|addr| self.node(addr).is_slow());
        for addr in nodes {
            // A node that hangs must not be waited for: whoever needs new routes waits for this one
            // call.
            let asked = self.placements(addr);
            match within(self.config.acquire_timeout, &self.node(addr), asked).await {
                Err(error @ Error::Unavailable { .. }) => failed = failed.or(Some(error)),
                read => return read,
            }
        }
        Err(failed.unwrap_or_else(|| Error::Config("there is no node".into())))
    }

    async fn placements(&self, addr: &NodeAddr) -> Result<Arc<[Arc<Shard>]>, Error> {
        let conn = self.node(addr).get().await?;
        let statement = conn.prepare_cached(sql::CLUSTER_PLACEMENTS).await?;
        let rows = conn.query(&statement, &[&self.statements.tables]).await?;
        rows.chunk_by(|a, b| a.get::<_, i32>("min_hash") == b.get::<_, i32>("min_hash"))
            .map(|group| shard(group, &self.statements).map(Arc::new))
            .collect()
    }

    /// Without Citus there is nothing to route; the hash space is cut into lanes so that several
    /// chunks of an upload can be written at once.
    fn lanes(&self) -> Arc<[Arc<Shard>]> {
        let lanes = i64::from(self.config.plain_lanes.clamp(1, 64));
        let width = (1_i64 << 32) / lanes;
        let min = |lane| i32::try_from(i64::from(i32::MIN) + lane * width).unwrap_or(i32::MIN);
        (0..lanes)
            .map(|lane| {
                let (node, direct) = (self.coordinator.clone(), !self.citus);
                Arc::new(Shard::new(
                    lane,
                    min(lane),
                    node,
                    direct,
                    &self.statements,
                    |_| String::new(),
                ))
            })
            .collect()
    }

    /// The node of this address.
    pub fn node(&self, addr: &NodeAddr) -> Arc<Node> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(addr) {
            return Arc::clone(node);
        }
        drop(nodes);
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Node::new(&self.database, addr, &self.config));
        Arc::clone(nodes.entry(addr.clone()).or_insert_with(made))
    }

    /// Lets no more connections be taken.
    pub fn close(&self) {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.values().for_each(|node| node.close());
    }
}

/// The node's answer, if it comes within the bound; a node whose answer does not is asked last for
/// a while.
async fn within<T, E: From<Error>>(
    bound: Duration,
    node: &Node,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(bound, asked)
        .await
        .unwrap_or_else(|_| {
            node.mark_slow();
            let detail = format!("the node did not answer within {} ms", bound.as_millis());
            Err(Error::Unavailable { detail }.into())
        })
}

/// The shards of all tables that share a hash range.
fn shard(group: &[Row], statements: &StatementSet) -> Result<Shard, Error> {
    let id_of = |table: &str| {
        let row = group
            .iter()
            .find(|row| row.get::<_, &str>("relation") == table)?;
        Some(row.get::<_, i64>("shardid"))
    };
    let mut tables = statements.tables.iter();
    if let Some(missing) = tables.find(|t| id_of(t).is_none()) {
        return Err(Error::Corrupt(format!("a shard group has no {missing}")));
    }
    let port: i32 = group[0].get("nodeport");
    let port = u16::try_from(port).map_err(|_| Error::Corrupt(format!("node port {port}")))?;
    Ok(Shard::new(
        id_of(statements.named_by).unwrap_or_default(),
        group[0].get("min_hash"),
        (group[0].get("nodename"), port),
        true,
        statements,
        |table| format!("_{}", id_of(table).unwrap_or_default()),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_says_nothing_is_not_waited_for() {
        let config = Config::new("postgres://nobody@127.0.0.1:1/none");
        let database = connect::parse_url(&config.database_url).unwrap();
        let node = Node::new(&database, &database.coordinator(), &config);
        let bound = Duration::from_millis(20);
        let known: Result<_, Error> = within(bound, &node, async { Ok(7) }).await;
        assert!(matches!(known, Ok(7)) && !node.is_slow());
        let silent = within(bound, &node, std::future::pending::<Result<(), _>>()).await;
        assert!(matches!(silent, Err(Error::Unavailable { .. })));
        assert!(node.is_slow());
    }
}
