//! Bounds of SQL over the archive. A setting has them even where the engine was not built.

use std::time::Duration;

/// Bounds of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes that joins, groups and sorts of one query may hold. What is being decoded comes on
    /// top: some row groups.
    pub memory: usize,
    /// Time that a query may take, with the sending of its answer.
    pub time: Duration,
    /// Rows of an answer, at most, whatever is asked for.
    pub rows: usize,
    /// Hot invoices that one query may read.
    pub hot_invoices: usize,
    /// Queries of one tenant at a time.
    pub per_tenant: usize,
    /// Queries at a time.
    pub total: usize,
    /// Threads that compute for one query.
    pub threads: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            memory: 256 * 1024 * 1024,
            time: Duration::from_secs(50),
            rows: 1_000_000,
            hot_invoices: 250_000,
            per_tenant: 2,
            total: 8,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}
