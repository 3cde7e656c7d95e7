//! Clocks of the nodes, beside ours. Ids, leases and the order of events come from both.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use sheaf_cluster::connect::NodeAddr;
use sheaf_cluster::node::watch;

use crate::{Store, StoreError, sql};

/// For how long a node is waited for: whoever starts does not wait for one that is away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

impl Store {
    /// The node that holds a tenant's shards, as metrics and the log call it.
    #[must_use]
    pub fn owner_of(&self, tenant: sheaf_model::TenantId) -> String {
        watch::name(&self.inner.cluster.shard_of(tenant).node)
    }

    /// By how much, at least, each node's clock is ahead of `now`. A node that does not answer is
    /// left out.
    pub async fn clock_skews(
        &self,
        now: impl Fn() -> DateTime<Utc> + Sync,
    ) -> Vec<(String, TimeDelta)> {
        let (nodes, now) = (self.inner.cluster.nodes(), &now);
        let asked = nodes.iter().map(|addr| async move {
            let asked = tokio::time::timeout(ANSWERS_WITHIN, self.clock_skew(addr, now));
            let skew = asked.await.ok()?.ok()?;
            Some((watch::name(addr), skew))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn clock_skew(
        &self,
        addr: &NodeAddr,
        now: impl Fn() -> DateTime<Utc>,
    ) -> Result<TimeDelta, StoreError> {
        let conn = self.inner.cluster.node(addr).get().await?;
        let before = now();
        let row = conn.query_one(sql::ADMIN_CLOCK, &[]).await?;
        let (clock, after): (DateTime<Utc>, _) = (row.get(0), now());
        Ok(certain(clock, before, after))
    }
}

/// A clock was read at some time from `before` to `after`.
fn certain(clock: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    if clock > after {
        clock - after
    } else if clock < before {
        clock - before
    } else {
        TimeDelta::zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_round_trip_does_not_explain_is_a_difference() {
        let at = |second: i64| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        for (clock, skew) in [(100, 0), (105, 0), (110, 0), (1_010, 900), (40, -60)] {
            let found = certain(at(clock), at(100), at(110));
            assert_eq!(found, TimeDelta::seconds(skew), "{clock}");
        }
    }
}
