//! What the store needs to know before it connects.

use std::time::Duration;

use sheaf_cluster::Config;

/// Settings of the hot tier. [`StoreConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Nodes, connections, routes and transactions.
    pub cluster: Config,
    /// Flushes that run on one node at the same time. More of them only make batches smaller.
    pub flushes_per_node: usize,
    /// Coalesced reads that run on one node at the same time.
    pub reads_per_node: usize,
    /// Creates that may wait for one node; one more is answered with "busy". A tenant may have a
    /// quarter of it.
    pub write_queue: usize,
    /// Point reads that may wait for one node; a tenant may have a quarter of it.
    pub read_queue: usize,
    /// A queue from which nothing is taken for so long, while work waits in it, does not move: the
    /// store is not ready.
    pub queue_stall: Duration,
}

impl StoreConfig {
    /// The defaults, for a database URL.
    #[must_use]
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            cluster: Config::new(database_url),
            flushes_per_node: 2,
            reads_per_node: 4,
            write_queue: 16_384,
            read_queue: 16_384,
            queue_stall: Duration::from_secs(60),
        }
    }
}
