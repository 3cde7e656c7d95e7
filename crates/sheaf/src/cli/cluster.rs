//! `sheaf cluster`.

use clap::{Args, Subcommand};
use sheaf_model::TenantId;
use sheaf_store::NodeAddress;

use super::{Output, OutputArgs};
use crate::error::{Error, Result};
use crate::settings::DatabaseSettings;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Draw nodes, shard groups, skew, moves and the busiest tenants; a node that is down is named
    Status(ClusterStatusArgs),
    /// Let a node in: PostgreSQL of the same major version with the same Citus and an empty
    /// database; prints JSON
    AddNode(AddNodeArgs),
    /// Move all shards off a node, and none onto it any more; prints JSON
    DrainNode(DrainNodeArgs),
    /// Spread the shards evenly over the nodes, in the background of the cluster, while everything
    /// goes on
    ///
    /// Waits until it is done and prints JSON. Ctrl-C leaves it running.
    Rebalance(RebalanceArgs),
    /// Move a tenant, and all that share its shard group, to a node while it is being used; prints
    /// JSON
    MoveTenant(MoveTenantArgs),
    /// Give a tenant a shard group of its own while it is being used; prints JSON
    IsolateTenant(IsolateTenantArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ClusterStatusArgs {
    /// Print JSON instead of drawing: --output json
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
    /// How the result is printed [default: table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
}

/// A node as the others reach it.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Host name or address of the node, as the other nodes reach it
    pub(crate) host: String,
    /// Its port
    pub(crate) port: u16,
}

impl NodeArgs {
    pub(crate) fn address(&self) -> NodeAddress {
        NodeAddress {
            host: self.host.clone(),
            port: self.port,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AddNodeArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DrainNodeArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Take the empty node out of the cluster as well
    #[arg(long)]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RebalanceArgs {
    /// Print what would move; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop the rebalance (or drain) that is running
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) stop: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MoveTenantArgs {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IsolateTenantArgs {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// Then move it to this node
    #[arg(long, num_args = 2, value_names = ["HOST", "PORT"])]
    to: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl IsolateTenantArgs {
    /// Where to, if anywhere.
    pub(crate) fn to(&self) -> Result<Option<NodeAddress>> {
        let Some([host, port]) = self.to.as_deref() else {
            return Ok(None);
        };
        let port = port
            .parse()
            .map_err(|_| Error::new(format!("--to: {port} is not a port")))?;
        Ok(Some(NodeAddress {
            host: host.clone(),
            port,
        }))
    }
}
