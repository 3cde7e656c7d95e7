//! What the metrics tell of nodes and of this process's connections to them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use metrics::gauge;
use sheaf_model::TenantId;

use crate::Store;
use crate::cluster::node::{Connections, NodeAddr};
use crate::cluster::supervise::supervised;

/// How often pools are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Each so many looks, the nodes are asked for an answer.
const ASKED: u32 = 3;

impl Store {
    /// Tells how pools and nodes stand, for as long as the store lives.
    pub(crate) fn watch_nodes(&self) {
        let weak = self.downgrade();
        let watch = move || {
            let weak = weak.clone();
            async move {
                let mut told = BTreeSet::new();
                for look in (0..ASKED).cycle() {
                    let Some(store) = weak.upgrade() else { return };
                    if look == 0 {
                        store.tell_nodes(&mut told).await;
                    }
                    store.tell_pools();
                    drop(store);
                    tokio::time::sleep(EVERY).await;
                }
            }
        };
        tokio::spawn(supervised("nodes", watch));
    }

    fn tell_pools(&self) {
        for (addr, connections) in self.inner.cluster.connections() {
            let node = name(&addr);
            let Connections {
                most,
                in_use,
                idle,
                waiting,
            } = connections;
            let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            gauge!("sheaf_pool_connections", "node" => node.clone(), "state" => "in_use")
                .set(number(in_use));
            gauge!("sheaf_pool_connections", "node" => node.clone(), "state" => "idle")
                .set(number(idle));
            gauge!("sheaf_pool_connections_max", "node" => node.clone()).set(number(most));
            gauge!("sheaf_pool_waiting", "node" => node).set(number(waiting));
        }
    }

    /// Asks every node of the cluster. `told`: those of the time before.
    async fn tell_nodes(&self, told: &mut BTreeSet<NodeAddr>) {
        let cluster = &self.inner.cluster;
        let nodes = cluster.nodes();
        let asked = nodes.iter().map(|addr| {
            let node = cluster.node(addr);
            async move { node.answers().await }
        });
        let answers = join_all(asked).await;
        let count = |some: usize| f64::from(u32::try_from(some).unwrap_or(u32::MAX));
        gauge!("sheaf_nodes_known").set(count(nodes.len()));
        gauge!("sheaf_nodes_up").set(count(answers.iter().filter(|up| **up).count()));
        for (addr, up) in nodes.iter().zip(answers) {
            gauge!("sheaf_node_up", "node" => name(addr)).set(f64::from(u8::from(up)));
        }
        for gone in told.difference(&nodes) {
            // A gauge cannot be taken back. No comparison is true of this, so that no alert fires
            // for a node that has left.
            gauge!("sheaf_node_up", "node" => name(gone)).set(f64::NAN);
        }
        *told = nodes;
    }
}

impl Store {
    /// The node that holds a tenant's shards, as metrics and the log call it.
    #[must_use]
    pub fn owner_of(&self, tenant: TenantId) -> String {
        name(&self.inner.cluster.shard_of(tenant).node)
    }
}

/// As the metrics call a node.
pub(crate) fn name((host, port): &NodeAddr) -> String {
    format!("{host}:{port}")
}
