//! What is to be known of a cluster before it is connected to.

use std::time::Duration;

/// The way of a tenant's statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Straight to the node that owns the tenant.
    #[default]
    Owner,
    /// Through the coordinator, which routes them: for comparison, and for networks where clients
    /// cannot reach workers.
    Coordinator,
}

/// Settings of nodes, connections, routes and transactions. [`Config::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// `postgres://user:password@host:port/database` of the coordinator (or of the one plain node),
    /// or of several hosts that can take its place. `sslmode` and `sslrootcert` hold for all nodes
    /// (docs/operations.md).
    pub database_url: String,
    /// Connections to one node from this process, at most. Keep the sum over all API processes
    /// below the node's `max_connections`.
    pub max_connections_per_node: usize,
    /// Parts of an upload that are written at once without Citus. With Citus they go by node.
    pub plain_lanes: u32,
    /// The way of a tenant's statements. Without Citus there is only one.
    pub route: Route,
    /// How often shard placements are read again.
    pub placement_refresh: Duration,
    /// Bound of every statement, enforced by the server.
    pub statement_timeout: Duration,
    /// How long a create, a read or an admin call may wait for a connection.
    pub acquire_timeout: Duration,
    /// How long a create or a change may wait for rows that others have locked, from when it came.
    pub lock_patience: Duration,
}

impl Config {
    /// The defaults, for a database URL.
    #[must_use]
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            max_connections_per_node: 32,
            plain_lanes: 4,
            route: Route::Owner,
            placement_refresh: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(30),
            acquire_timeout: Duration::from_secs(5),
            lock_patience: Duration::from_secs(20),
        }
    }

    /// Bound of one transaction of a batch, kept by this process: for a node that hangs, and keeps
    /// no bounds itself.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.statement_timeout + self.acquire_timeout * 2
    }
}
