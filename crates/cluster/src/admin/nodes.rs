//! Nodes join, and leave.

use serde::Serialize;
use tokio_postgres::Client;

use super::{AdminError, ClusterAdmin, NodeAddress, Result, failed};
use crate::sql;

/// What a node said before it joined, and how the cluster looks with it.
#[derive(Clone, Debug, Serialize)]
pub struct AddedNode {
    /// The node.
    pub node: NodeAddress,
    /// Its PostgreSQL version.
    pub postgres: String,
    /// Its Citus version, the same as the coordinator's.
    pub citus: String,
    /// Pairs of nodes of which the first cannot log in to the second: moves between them would
    /// fail.
    pub cannot_connect: Vec<(NodeAddress, NodeAddress)>,
}

struct Facts {
    version_num: i32,
    version: String,
    wal_level: String,
    citus_available: bool,
    citus_installed: bool,
}

impl Facts {
    async fn of(client: &Client) -> Result<Self> {
        let row = client
            .query_one(sql::ADMIN_NODE_FACTS, &[])
            .await
            .map_err(failed("read the node's version"))?;
        Ok(Self {
            version_num: row.get("version_num"),
            version: row.get("version"),
            wal_level: row.get("wal_level"),
            citus_available: row.get::<_, Option<String>>("citus_available").is_some(),
            citus_installed: row.get::<_, Option<String>>("citus_installed").is_some(),
        })
    }

    fn major(&self) -> i32 {
        self.version_num / 10_000
    }
}

impl ClusterAdmin {
    /// Checks a node and lets it in: the same PostgreSQL major version and the same Citus, nothing
    /// of its own. Reference tables are copied to it; shards come with the next rebalance.
    ///
    /// # Errors
    /// A node that cannot be reached, does not fit, or is a member already; whatever Citus refuses.
    pub async fn add_node(&self, node: &NodeAddress) -> Result<AddedNode> {
        self.require_citus()?;
        if self
            .node_list()
            .await?
            .iter()
            .any(|(known, _)| known == node)
        {
            return Err(AdminError::Refused(format!(
                "{node} is in the cluster already"
            )));
        }
        let newcomer = self.connect_to(node).await?;
        let (theirs, ours) = (Facts::of(&newcomer).await?, Facts::of(&self.client).await?);
        fits(node, &theirs, &ours)?;
        if !theirs.citus_installed {
            newcomer
                .batch_execute(sql::ADMIN_CREATE_EXTENSION)
                .await
                .map_err(failed("create the Citus extension on the new node"))?;
        }
        let citus = citus_version(&newcomer).await?;
        let wanted = citus_version(&self.client).await?;
        if citus != wanted {
            return Err(AdminError::Refused(format!(
                "{node} has Citus {citus}, the cluster {wanted}: install the same version"
            )));
        }
        self.refuse_occupied(node, &newcomer).await?;
        drop(newcomer);
        self.client
            .execute(sql::ADMIN_ADD_NODE, &[&node.host, &node.sql_port()])
            .await
            .map_err(failed("add the node"))?;
        self.client
            .execute(sql::ADMIN_REPLICATE_REFERENCE_TABLES, &[])
            .await
            .map_err(failed("copy the reference tables to the new node"))?;
        Ok(AddedNode {
            node: node.clone(),
            postgres: theirs.version,
            citus,
            cannot_connect: self.broken_pairs().await?,
        })
    }

    /// Says whether a node is to hold shards. The next rebalance acts on it.
    ///
    /// # Errors
    /// No such node.
    pub async fn should_have_shards(&self, node: &NodeAddress, should: bool) -> Result<()> {
        self.client
            .execute(
                sql::ADMIN_SHOULD_HAVE_SHARDS,
                &[&node.host, &node.sql_port(), &should],
            )
            .await
            .map_err(failed("change whether the node should have shards"))?;
        Ok(())
    }

    /// Marks a node so that the next drain empties it.
    ///
    /// # Errors
    /// The coordinator or a stranger, or the last node that may hold shards.
    pub async fn mark_for_drain(&self, node: &NodeAddress) -> Result<()> {
        self.require_citus()?;
        let nodes = self.node_list().await?;
        if !nodes.iter().any(|(known, _)| known == node) {
            return Err(AdminError::Refused(format!("{node} is not in the cluster")));
        }
        let others = nodes.iter().any(|(other, holds)| other != node && *holds);
        if !others {
            return Err(AdminError::Refused(format!(
                "{node} is the last node that may hold shards: add another one first"
            )));
        }
        self.should_have_shards(node, false).await
    }

    /// Refuses the coordinator, which can be emptied but not done without.
    ///
    /// # Errors
    /// The coordinator.
    pub async fn check_removable(&self, node: &NodeAddress) -> Result<()> {
        let rows = self
            .client
            .query(sql::ADMIN_NODES, &[])
            .await
            .map_err(failed("list the nodes"))?;
        for row in rows.iter().filter(|row| row.get("coordinator")) {
            if NodeAddress::of_columns(row.get("nodename"), row.get("nodeport"))? == *node {
                return Err(AdminError::Refused(format!(
                    "{node} is the coordinator: it can be drained, but not removed"
                )));
            }
        }
        Ok(())
    }

    /// Takes an empty node out of the cluster.
    ///
    /// # Errors
    /// Citus refuses while shards are on it.
    pub async fn remove_node(&self, node: &NodeAddress) -> Result<()> {
        // What the moves left on it would keep Citus busy with a node that is gone.
        self.client
            .batch_execute(sql::ADMIN_CLEANUP)
            .await
            .map_err(failed("drop what the moves left behind"))?;
        self.client
            .execute(sql::ADMIN_REMOVE_NODE, &[&node.host, &node.sql_port()])
            .await
            .map_err(failed("remove the node"))?;
        Ok(())
    }

    /// All primary nodes, and whether each may hold shards (active and meant to).
    pub(super) async fn node_list(&self) -> Result<Vec<(NodeAddress, bool)>> {
        let rows = self
            .client
            .query(sql::ADMIN_NODES, &[])
            .await
            .map_err(failed("list the nodes"))?;
        rows.iter()
            .map(|row| {
                let node = NodeAddress::of_columns(row.get("nodename"), row.get("nodeport"))?;
                Ok((node, row.get("isactive") && row.get("shouldhaveshards")))
            })
            .collect()
    }

    /// A node with a cluster or tables of its own would lose them, or mix them with ours.
    async fn refuse_occupied(&self, node: &NodeAddress, newcomer: &Client) -> Result<()> {
        let coordinator = self.node_list().await?.into_iter().next();
        let Some((coordinator, _)) = coordinator else {
            return Err(AdminError::Refused(
                "the coordinator does not know its own address: run \
                 select citus_set_coordinator_host('<host>', <port>) on it first"
                    .to_owned(),
            ));
        };
        let row = newcomer
            .query_one(
                sql::ADMIN_NEWCOMER,
                &[&coordinator.host, &coordinator.sql_port()],
            )
            .await
            .map_err(failed("look into the new node"))?;
        for (column, what) in [
            ("foreign_cluster", "belongs to another Citus cluster"),
            ("own_tables", "has a table `invoices` of its own"),
        ] {
            if row.get(column) {
                return Err(AdminError::Refused(format!(
                    "{node} {what}: add an empty database"
                )));
            }
        }
        Ok(())
    }

    async fn broken_pairs(&self) -> Result<Vec<(NodeAddress, NodeAddress)>> {
        let rows = self
            .client
            .query(sql::ADMIN_NODE_HEALTH, &[])
            .await
            .map_err(failed("check the nodes' connections"))?;
        rows.iter()
            .map(|row| {
                Ok((
                    NodeAddress::of_columns(row.get("from_nodename"), row.get("from_nodeport"))?,
                    NodeAddress::of_columns(row.get("to_nodename"), row.get("to_nodeport"))?,
                ))
            })
            .collect()
    }
}

fn fits(node: &NodeAddress, theirs: &Facts, ours: &Facts) -> Result<()> {
    let refused = |what: String| Err(AdminError::Refused(format!("{node} {what}")));
    if theirs.major() != ours.major() {
        let (theirs, ours) = (&theirs.version, &ours.version);
        return refused(format!(
            "has PostgreSQL {theirs}, the cluster {ours}: install the same major version"
        ));
    }
    if !theirs.citus_available {
        return refused("has no Citus extension installed".to_owned());
    }
    if theirs.wal_level != "logical" {
        return refused(format!(
            "has wal_level = {}: set it to logical, since shards move by logical replication",
            theirs.wal_level
        ));
    }
    Ok(())
}

pub(super) async fn citus_version(client: &Client) -> Result<String> {
    let row = client
        .query_one(sql::ADMIN_CITUS_VERSION, &[])
        .await
        .map_err(failed("read the Citus version"))?;
    Ok(row.get(0))
}
