//! How the cluster is.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::jobs::{Move, Rebalance};
use super::{AdminError, ClusterAdmin, NodeAddress, Result, connect, distributed, failed, nodes};
use crate::connect::Database;
use crate::sql;

/// A node that answers gets this long to add up its shards.
const SIZES_TIMEOUT: Duration = Duration::from_secs(60);
/// Tenants that are named.
const TOP: usize = 10;

/// The whole cluster, or the one plain node.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStatus {
    /// The Citus version; `None` for one plain node.
    pub citus: Option<String>,
    /// The PostgreSQL version of the coordinator.
    pub postgres: String,
    /// All tenants.
    pub tenants: i64,
    /// The coordinator (or the plain node) first.
    pub nodes: Vec<NodeStatus>,
    /// By hash range; none on a plain node.
    pub shard_groups: Vec<ShardGroup>,
    /// How far the fullest node is from the mean, over nodes that should have shards and answered.
    pub node_skew: Option<Skew>,
    /// The same over shard groups whose size is known.
    pub group_skew: Option<Skew>,
    /// Moves and splits under way.
    pub moves: Vec<Move>,
    /// The latest rebalance, if there was one.
    pub rebalance: Option<Rebalance>,
    /// Who keeps it busy.
    pub load: Load,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Host and port.
    pub node: NodeAddress,
    /// `coordinator`, `worker` or `plain`.
    pub role: &'static str,
    /// Whether Citus counts on it.
    pub active: bool,
    /// Whether it is meant to hold shards.
    pub should_have_shards: bool,
    /// Shard groups on it.
    pub shard_groups: i64,
    /// Shards of all tables.
    pub shards: i64,
    /// Bytes of those shards (of the database, on a plain node); unknown where it does not answer.
    pub bytes: Option<i64>,
    /// Why it cannot be reached from here; `None` where it can.
    pub unreachable: Option<String>,
}

/// The shards of all tables that share a hash range. They lie on one node, and move together.
#[derive(Clone, Debug, Serialize)]
pub struct ShardGroup {
    /// The `invoices` shard, which stands for all.
    pub shard_id: i64,
    /// Smallest hash value.
    pub hash_min: i32,
    /// Largest hash value.
    pub hash_max: i32,
    /// The owner.
    pub node: NodeAddress,
    /// Tenants in it.
    pub tenants: i64,
    /// Bytes of all its shards; unknown where the node does not answer.
    pub bytes: Option<i64>,
    /// Shards in it: one a table and year partition.
    pub shards: i64,
}

/// How uneven a distribution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Skew {
    /// Bytes of the largest.
    pub largest: i64,
    /// Bytes of all, over their number.
    pub mean: i64,
    /// `largest` in percent of `mean`; 100 is even.
    pub percent: i64,
}

impl Skew {
    fn of(bytes: impl Iterator<Item = i64>) -> Option<Self> {
        let all: Vec<i64> = bytes.collect();
        let largest = all.iter().copied().max()?;
        let mean = all.iter().sum::<i64>() / i64::try_from(all.len()).ok()?;
        let percent = if mean == 0 {
            100
        } else {
            largest.saturating_mul(100) / mean
        };
        Some(Self {
            largest,
            mean,
            percent,
        })
    }
}

/// Tenants by load, as `citus_stat_tenants` counts it.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Whether any node that answered is counting.
    pub tracking: bool,
    /// The ten busiest, by CPU time.
    pub tenants: Vec<TenantLoad>,
}

/// One tenant's load since the last period began.
#[derive(Clone, Debug, Serialize)]
pub struct TenantLoad {
    /// The tenant, as Citus wrote it down.
    pub tenant_id: String,
    /// Its name, if it is known.
    pub name: Option<String>,
    /// The node that counted.
    pub node: NodeAddress,
    /// Statements. `COPY`, and what goes to a shard past Citus' planner, does not count.
    pub queries: i64,
    /// Those that only read.
    pub reads: i64,
    /// Milliseconds of CPU.
    pub cpu_ms: i64,
}

/// What a node says of itself.
struct Answer {
    /// Bytes by smallest hash value.
    bytes: HashMap<i32, i64>,
    tracking: bool,
    load: Vec<TenantLoad>,
}

impl ClusterAdmin {
    /// How the cluster is. Nodes that do not answer are named, not an error.
    ///
    /// # Errors
    /// When the coordinator fails, or the tables are not there.
    pub async fn status(&self) -> Result<ClusterStatus> {
        if !self.citus {
            return self.plain_status().await;
        }
        let mut groups = self.shard_groups().await?;
        let mut nodes = self.node_statuses(&groups).await?;
        let mut answers = self.ask(nodes.iter().map(|status| &status.node)).await;
        let mut load = Load {
            tracking: false,
            tenants: Vec::new(),
        };
        for status in &mut nodes {
            match answers.remove(&status.node) {
                Some(Ok(answer)) => {
                    status.bytes = Some(answer.bytes.values().sum());
                    for group in groups.iter_mut().filter(|group| group.node == status.node) {
                        group.bytes = answer.bytes.get(&group.hash_min).copied();
                    }
                    load.tracking |= answer.tracking;
                    load.tenants.extend(answer.load);
                }
                Some(Err(AdminError::Unreachable { reason, .. })) => {
                    status.unreachable = Some(reason);
                }
                Some(Err(error)) => status.unreachable = Some(error.to_string()),
                None => status.unreachable = Some("no answer".to_owned()),
            }
        }
        load.tenants
            .sort_by_key(|tenant| std::cmp::Reverse((tenant.cpu_ms, tenant.queries)));
        load.tenants.truncate(TOP);
        self.name_tenants(&mut load.tenants).await?;
        let with_shards = nodes.iter().filter(|status| status.should_have_shards);
        Ok(ClusterStatus {
            citus: Some(nodes::citus_version(&self.client).await?),
            postgres: self.postgres_version().await?.0,
            tenants: groups.iter().map(|group| group.tenants).sum(),
            node_skew: Skew::of(with_shards.filter_map(|status| status.bytes)),
            group_skew: Skew::of(groups.iter().filter_map(|group| group.bytes)),
            // A shard that goes at this moment makes Citus fail; that it was moving is then no
            // news.
            moves: self.moves().await.unwrap_or_default(),
            rebalance: self.rebalance(None).await?,
            nodes,
            shard_groups: groups,
            load,
        })
    }

    async fn plain_status(&self) -> Result<ClusterStatus> {
        let (postgres, bytes) = self.postgres_version().await?;
        let tenants = self
            .client
            .query_one(sql::TENANT_COUNT, &[])
            .await
            .map_err(distributed("count the tenants"))?;
        Ok(ClusterStatus {
            citus: None,
            postgres,
            tenants: tenants.get(0),
            nodes: vec![NodeStatus {
                node: self.address.clone(),
                role: "plain",
                active: true,
                should_have_shards: true,
                shard_groups: 0,
                shards: 0,
                bytes: Some(bytes),
                unreachable: None,
            }],
            shard_groups: Vec::new(),
            node_skew: None,
            group_skew: None,
            moves: Vec::new(),
            rebalance: None,
            load: Load {
                tracking: false,
                tenants: Vec::new(),
            },
        })
    }

    /// The version, and the bytes of the database on the node that we are connected to.
    async fn postgres_version(&self) -> Result<(String, i64)> {
        let row = self
            .client
            .query_one(sql::CLUSTER_DATABASE_SIZE, &[])
            .await
            .map_err(failed("read the database's size"))?;
        Ok((row.get("version"), row.get("bytes")))
    }

    /// All shard groups by hash range, with the number of their tenants; bytes are not known yet.
    pub(super) async fn shard_groups(&self) -> Result<Vec<ShardGroup>> {
        let rows = self
            .client
            .query(sql::ADMIN_SHARD_GROUPS, &[])
            .await
            .map_err(distributed("list the shards"))?;
        if rows.is_empty() {
            return Err(AdminError::NotDistributed);
        }
        let starts: Vec<i32> = rows.iter().map(|row| row.get("min_hash")).collect();
        let counts = self
            .client
            .query(sql::ADMIN_TENANTS_PER_GROUP, &[&starts])
            .await
            .map_err(distributed("count the tenants"))?;
        let counts: HashMap<i32, i64> = counts
            .iter()
            .map(|row| (row.get("bucket"), row.get("tenants")))
            .collect();
        rows.iter()
            .zip(1_i32..)
            .map(|(row, bucket)| {
                Ok(ShardGroup {
                    shard_id: row.get("shardid"),
                    hash_min: row.get("min_hash"),
                    hash_max: row.get("max_hash"),
                    node: NodeAddress::of_columns(row.get("nodename"), row.get("nodeport"))?,
                    tenants: counts.get(&bucket).copied().unwrap_or(0),
                    bytes: None,
                    shards: row.get("table_shards"),
                })
            })
            .collect()
    }

    /// Bytes of groups by their smallest hash, on those of the nodes that answer.
    pub(super) async fn group_sizes(
        &self,
        nodes: impl Iterator<Item = &NodeAddress>,
    ) -> HashMap<NodeAddress, HashMap<i32, i64>> {
        let answers = self.ask(nodes).await;
        answers
            .into_iter()
            .filter_map(|(node, answer)| Some((node, answer.ok()?.bytes)))
            .collect()
    }

    async fn node_statuses(&self, groups: &[ShardGroup]) -> Result<Vec<NodeStatus>> {
        let rows = self
            .client
            .query(sql::ADMIN_NODES, &[])
            .await
            .map_err(failed("list the nodes"))?;
        rows.iter()
            .map(|row| {
                let node = NodeAddress::of_columns(row.get("nodename"), row.get("nodeport"))?;
                let (mut count, mut shards) = (0, 0);
                for group in groups.iter().filter(|group| group.node == node) {
                    count += 1;
                    shards += group.shards;
                }
                let role = if row.get("coordinator") {
                    "coordinator"
                } else {
                    "worker"
                };
                Ok(NodeStatus {
                    node,
                    role,
                    active: row.get("isactive"),
                    should_have_shards: row.get("shouldhaveshards"),
                    shard_groups: count,
                    shards,
                    bytes: None,
                    unreachable: None,
                })
            })
            .collect()
    }

    /// Asks all nodes at once: those that are gone do not add up their timeouts.
    async fn ask(
        &self,
        nodes: impl Iterator<Item = &NodeAddress>,
    ) -> HashMap<NodeAddress, Result<Answer>> {
        let mut tasks = JoinSet::new();
        for node in nodes.cloned() {
            let database = self.database.clone();
            tasks.spawn(async move { (node.clone(), ask(database, node).await) });
        }
        tasks.join_all().await.into_iter().collect()
    }

    async fn name_tenants(&self, tenants: &mut [TenantLoad]) -> Result<()> {
        let ids: Vec<Uuid> = tenants
            .iter()
            .filter_map(|tenant| tenant.tenant_id.parse().ok())
            .collect();
        let rows = self
            .client
            .query(sql::ADMIN_TENANT_NAMES, &[&ids])
            .await
            .map_err(failed("read the tenants' names"))?;
        let names: HashMap<Uuid, String> = rows
            .iter()
            .map(|row| (row.get("id"), row.get("name")))
            .collect();
        for tenant in tenants {
            let id: Option<Uuid> = tenant.tenant_id.parse().ok();
            tenant.name = id.and_then(|id| names.get(&id).cloned());
        }
        Ok(())
    }
}

async fn ask(database: Database, node: NodeAddress) -> Result<Answer> {
    let client = connect(&database, &node).await?;
    let answer = tokio::time::timeout(SIZES_TIMEOUT, read_answer(&client, &node)).await;
    answer.unwrap_or_else(|_| {
        Err(AdminError::Unreachable {
            node,
            reason: format!("its sizes took more than {} s", SIZES_TIMEOUT.as_secs()),
        })
    })
}

async fn read_answer(client: &Client, node: &NodeAddress) -> Result<Answer> {
    let sizes = client
        .query(sql::ADMIN_LOCAL_SIZES, &[])
        .await
        .map_err(failed("read the shards' sizes"))?;
    let tracking: bool = client
        .query_one(sql::ADMIN_STAT_TENANTS_TRACK, &[])
        .await
        .map_err(failed("read a setting"))?
        .get(0);
    let load = client
        .query(sql::ADMIN_STAT_TENANTS, &[])
        .await
        .map_err(failed("read the tenants' load"))?;
    let load = load.iter().map(|row| TenantLoad {
        tenant_id: row
            .get::<_, Option<String>>("tenant_attribute")
            .unwrap_or_default(),
        name: None,
        node: node.clone(),
        queries: row.get("queries"),
        reads: row.get("reads"),
        cpu_ms: row.get("cpu_ms"),
    });
    Ok(Answer {
        bytes: sizes
            .iter()
            .map(|row| (row.get("min_hash"), row.get("bytes")))
            .collect(),
        tracking,
        load: load.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::Skew;

    #[test]
    fn skew_is_the_largest_over_the_mean() {
        assert_eq!(Skew::of(std::iter::empty()), None);
        let even = Skew::of([0, 0].into_iter()).map(|skew| skew.percent);
        assert_eq!(even, Some(100));
        let skew = Skew::of([100, 300].into_iter());
        let wanted = Skew {
            largest: 300,
            mean: 200,
            percent: 150,
        };
        assert_eq!(skew, Some(wanted));
    }
}
