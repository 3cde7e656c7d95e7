//! What is watched for as long as a cluster is held: where its shards are, and what the metrics
//! tell of nodes and of this process's connections to them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use metrics::gauge;

use crate::batch::context::Context;
use crate::connect::NodeAddr;
use crate::node::Connections;
use crate::routing::Cluster;
use crate::supervise::supervised;

/// How often pools are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Each so many looks, the nodes are asked for an answer.
const ASKED: u32 = 3;

/// Reads the placements again on a timer, for as long as somebody holds the cluster.
pub fn watch_placements<C: Context>(context: &C) {
    if !context.cluster().citus {
        return;
    }
    let weak = context.downgrade();
    let every = context.cluster().config().placement_refresh;
    let watch = move || {
        let weak = weak.clone();
        async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(context) = C::upgrade(&weak) else {
                    return;
                };
                context.cluster().reroute().await;
            }
        }
    };
    tokio::spawn(supervised("placements", watch));
}

/// Tells how pools and nodes stand, for as long as somebody holds the cluster.
pub fn watch_nodes<C: Context>(context: &C) {
    let weak = context.downgrade();
    let watch = move || {
        let weak = weak.clone();
        async move {
            let mut told = BTreeSet::new();
            for look in (0..ASKED).cycle() {
                let Some(context) = C::upgrade(&weak) else {
                    return;
                };
                if look == 0 {
                    tell_nodes(context.cluster(), &mut told).await;
                }
                tell_pools(context.cluster());
                drop(context);
                tokio::time::sleep(EVERY).await;
            }
        }
    };
    tokio::spawn(supervised("nodes", watch));
}

fn tell_pools(cluster: &Cluster) {
    for (addr, connections) in cluster.connections() {
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
async fn tell_nodes(cluster: &Cluster, told: &mut BTreeSet<NodeAddr>) {
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

/// As the metrics call a node.
pub fn name((host, port): &NodeAddr) -> String {
    format!("{host}:{port}")
}
