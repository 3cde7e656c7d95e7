//! Shards move: one by one, or as a background job of Citus.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sheaf_model::TenantId;
use tokio_postgres::Row;

use super::{AdminError, ClusterAdmin, NodeAddress, Result, distributed, failed, one_line};
use crate::sql;

/// How long a move waits for what earlier ones left behind to be dropped.
const LEFTOVERS: Duration = Duration::from_secs(60);

/// A shard group that a rebalance would move.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedMove {
    /// The group's `invoices` shard.
    pub shard_id: i64,
    /// From here.
    pub from: NodeAddress,
    /// To here.
    pub to: NodeAddress,
    /// Bytes of the whole group, if the source answered.
    pub bytes: Option<i64>,
}

/// What a rebalance would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The moves, in no order that Citus promises.
    pub moves: Vec<PlannedMove>,
}

/// A rebalance job of Citus, running or past.
#[derive(Clone, Debug, Serialize)]
pub struct Rebalance {
    /// Citus' number of the job.
    pub job_id: i64,
    /// Citus' word: `scheduled`, `running`, `finished`, `cancelling`, `cancelled`, `failing` or
    /// `failed`.
    pub state: String,
    /// Tasks: one a group that moves, and one where reference tables must be copied first.
    pub tasks: i64,
    /// Tasks that are done.
    pub done: i64,
    /// When the first task began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended, however it did.
    pub finished_at: Option<DateTime<Utc>>,
    /// What a task that failed has said; Citus tries again, first after seconds, then every minute,
    /// up to 30 times.
    pub reason: Option<String>,
}

impl Rebalance {
    /// Whether it is not over yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        ["scheduled", "running", "failing", "cancelling"].contains(&self.state.as_str())
    }

    fn of_row(row: &Row) -> Self {
        Self {
            job_id: row.get("job_id"),
            state: row.get("state"),
            tasks: row.get("tasks"),
            done: row.get("done"),
            started_at: row.get("started_at"),
            finished_at: row.get("finished_at"),
            reason: row
                .get::<_, Option<&str>>("reason")
                .map(one_line)
                .filter(|text| !text.is_empty()),
        }
    }
}

/// A move or a split under way.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// The process on the coordinator that does it.
    pub session: i32,
    /// Citus' word: `move`, `copy` or `split`.
    pub operation: Option<String>,
    /// Citus' word, such as `Copying Data`.
    pub phase: Option<String>,
    /// From here.
    pub from: NodeAddress,
    /// To here.
    pub to: NodeAddress,
    /// Bytes of the group on the source.
    pub bytes: i64,
    /// Bytes that are on the target already; with indexes they may come to more or less than the
    /// source's.
    pub copied: i64,
}

/// Where a tenant lives.
#[derive(Clone, Debug, Serialize)]
pub struct TenantPlace {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// The group's `invoices` shard.
    pub shard_id: i64,
    /// The owner.
    pub node: NodeAddress,
    /// Tenants in the group, this one included.
    pub tenants: i64,
    /// Whether the group takes a single hash value: no other tenant will come to it.
    pub isolated: bool,
    /// Bytes of the group, if its node answered.
    pub bytes: Option<i64>,
}

impl ClusterAdmin {
    /// What a rebalance would move now.
    ///
    /// # Errors
    /// A plain node, or whatever Citus refuses.
    pub async fn rebalance_plan(&self) -> Result<Plan> {
        self.require_citus()?;
        let rows = self
            .client
            .query(sql::ADMIN_REBALANCE_PLAN, &[&false])
            .await
            .map_err(distributed("plan a rebalance"))?;
        let mut moves = Vec::with_capacity(rows.len());
        for row in &rows {
            moves.push(PlannedMove {
                shard_id: row.get("shardid"),
                from: NodeAddress::of_columns(row.get("sourcename"), row.get("sourceport"))?,
                to: NodeAddress::of_columns(row.get("targetname"), row.get("targetport"))?,
                bytes: None,
            });
        }
        let sources: HashSet<&NodeAddress> = moves.iter().map(|one| &one.from).collect();
        let sizes = self.group_sizes(sources.into_iter()).await;
        for (one, row) in moves.iter_mut().zip(&rows) {
            let hash: i32 = row.get("min_hash");
            one.bytes = sizes
                .get(&one.from)
                .and_then(|sizes| sizes.get(&hash).copied());
        }
        Ok(Plan { moves })
    }

    /// Starts a rebalance as a background job of Citus, which outlives this session; `None` when
    /// all is in balance. `drain_only` moves nothing but what lies on nodes that should have no
    /// shards.
    ///
    /// # Errors
    /// A plain node, a rebalance that runs already, or whatever Citus refuses.
    pub async fn start_rebalance(&self, drain_only: bool) -> Result<Option<i64>> {
        self.require_citus()?;
        let row = self
            .client
            .query_one(sql::ADMIN_REBALANCE_START, &[&drain_only])
            .await
            .map_err(failed("start a rebalance"))?;
        Ok(row.get(0))
    }

    /// Stops the rebalance that runs. Moves that are done stay done, the one under way is undone.
    ///
    /// # Errors
    /// A plain node, or none that runs.
    pub async fn stop_rebalance(&self) -> Result<()> {
        self.require_citus()?;
        self.client
            .execute(sql::ADMIN_REBALANCE_STOP, &[])
            .await
            .map_err(failed("stop the rebalance"))?;
        Ok(())
    }

    /// A rebalance by its number, or the latest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rebalance(&self, job: Option<i64>) -> Result<Option<Rebalance>> {
        let row = self
            .client
            .query_opt(sql::ADMIN_REBALANCE_JOB, &[&job])
            .await
            .map_err(failed("read the rebalance's state"))?;
        Ok(row.as_ref().map(Rebalance::of_row))
    }

    /// Moves and splits under way.
    ///
    /// # Errors
    /// When the database fails, also because a shard went while it was looked at: ask again.
    pub async fn moves(&self) -> Result<Vec<Move>> {
        let rows = self
            .client
            .query(sql::ADMIN_MOVES, &[])
            .await
            .map_err(failed("read the progress"))?;
        rows.iter()
            .map(|row| {
                Ok(Move {
                    session: row.get("sessionid"),
                    operation: row.get("operation"),
                    phase: row.get("phase"),
                    from: NodeAddress::of_columns(row.get("sourcename"), row.get("sourceport"))?,
                    to: NodeAddress::of_columns(row.get("targetname"), row.get("targetport"))?,
                    bytes: row.get::<_, Option<i64>>("source_bytes").unwrap_or(0),
                    copied: row.get::<_, Option<i64>>("target_bytes").unwrap_or(0),
                })
            })
            .collect()
    }

    /// Where a tenant lives, and with how many others.
    ///
    /// # Errors
    /// A plain node, or no such tenant.
    pub async fn tenant_place(&self, tenant: TenantId) -> Result<TenantPlace> {
        self.require_citus()?;
        let (name, hash) = self.tenant(tenant).await?;
        let groups = self.shard_groups().await?;
        let index = groups
            .partition_point(|group| group.hash_min <= hash)
            .checked_sub(1)
            .ok_or(AdminError::NotDistributed)?;
        let group = &groups[index];
        let sizes = self.group_sizes(std::iter::once(&group.node)).await;
        let bytes = sizes
            .get(&group.node)
            .and_then(|sizes| sizes.get(&group.hash_min).copied());
        Ok(TenantPlace {
            tenant_id: tenant,
            name,
            shard_id: group.shard_id,
            node: group.node.clone(),
            tenants: group.tenants,
            isolated: group.hash_min == group.hash_max,
            bytes,
        })
    }

    /// Checks that shards can go to this node.
    ///
    /// # Errors
    /// A stranger, or a node that holds no shards.
    pub async fn check_target(&self, node: &NodeAddress) -> Result<()> {
        self.require_citus()?;
        let nodes = self.node_list().await?;
        match nodes.iter().find(|(known, _)| known == node) {
            Some((_, true)) => Ok(()),
            Some((_, false)) => Err(AdminError::Refused(format!(
                "{node} is not meant to hold shards, or is not active"
            ))),
            None => Err(AdminError::Refused(format!(
                "{node} is not in the cluster: `sheaf cluster add-node` adds it"
            ))),
        }
    }

    /// Moves a whole shard group; returns when it is there. Cancelled, nothing has changed.
    ///
    /// # Errors
    /// Whatever Citus refuses.
    pub async fn move_group(
        &self,
        shard_id: i64,
        from: &NodeAddress,
        to: &NodeAddress,
    ) -> Result<()> {
        self.drop_leftovers(shard_id).await?;
        self.client
            .execute(
                sql::ADMIN_MOVE_SHARD,
                &[
                    &shard_id,
                    &from.host,
                    &from.sql_port(),
                    &to.host,
                    &to.sql_port(),
                ],
            )
            .await
            .map_err(failed("move the shards"))?;
        Ok(())
    }

    /// Citus drops the copies that moves leave behind later, in the background, and one at a time
    /// with us; what somebody still reads has to wait for that.
    async fn drop_leftovers(&self, shard_id: i64) -> Result<()> {
        let ends = Instant::now() + LEFTOVERS;
        loop {
            let row = self
                .client
                .query_one(sql::ADMIN_LEFTOVERS, &[&shard_id])
                .await
                .map_err(failed("look for what moves left behind"))?;
            if row.get::<_, i64>(0) == 0 {
                return Ok(());
            }
            if Instant::now() > ends {
                return Err(AdminError::Refused(format!(
                    "an earlier move left a copy of shard group {shard_id} behind, which could \
                     not be dropped within {} s: \
                     a long transaction may still read it",
                    LEFTOVERS.as_secs()
                )));
            }
            self.client
                .batch_execute(sql::ADMIN_CLEANUP)
                .await
                .map_err(failed("drop what moves left behind"))?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Splits a tenant's shard group so that the tenant has one of its own, on the same node;
    /// returns its `invoices` shard. Cancelled, nothing has changed.
    ///
    /// # Errors
    /// Whatever Citus refuses, a tenant that is alone already among it.
    pub async fn isolate(&self, tenant: TenantId) -> Result<i64> {
        let row = self
            .client
            .query_one(sql::ADMIN_ISOLATE_TENANT, &[&tenant.0])
            .await
            .map_err(failed("isolate the tenant"))?;
        Ok(row.get(0))
    }
}
