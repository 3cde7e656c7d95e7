//! What all queries share: their bounds, and the threads that read for them.

use std::sync::{Arc, OnceLock};

use sheaf_model::TenantId;
use sheaf_store::{Full, Share, Shares, Store};
use tokio::runtime::Runtime;

use super::error::QueryError;
use crate::object::cache::Objects;
use crate::quota::QueryLimits;

/// Threads that read objects for all queries, and wait for their ends. They compute nothing.
const READING: usize = 2;

/// The runner of queries, each on threads of its own: a long computation must neither keep the
/// API's from answering nor another query's.
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) objects: Arc<Objects>,
    pub(crate) limits: QueryLimits,
    shares: Arc<Shares>,
    runtime: OnceLock<Runtime>,
}

impl Engine {
    pub(crate) fn new(store: Store, objects: Arc<Objects>, limits: QueryLimits) -> Self {
        Self {
            store,
            objects,
            limits,
            shares: Shares::new("queries", limits.per_tenant as u64, limits.total as u64),
            runtime: OnceLock::new(),
        }
    }

    /// The threads that read, which start with the first query.
    pub(super) fn runtime(&self) -> Result<&Runtime, QueryError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(READING)
            .thread_name("sheaf-query")
            .enable_all()
            .build()
            .map_err(|e| QueryError::Internal(format!("no threads: {e}")))?;
        // A caller that lost the race ends its threads.
        if let Err(spare) = self.runtime.set(runtime) {
            spare.shutdown_background();
        }
        self.runtime
            .get()
            .ok_or_else(|| QueryError::Internal("no threads".to_owned()))
    }

    /// The tenant's share of the queries that may run at once, for one query.
    pub(super) fn share(&self, tenant: TenantId) -> Result<Share, QueryError> {
        self.shares.take(tenant).map_err(|full| match full {
            Full::Tenant => QueryError::TooManyQueries {
                limit: self.limits.per_tenant,
            },
            Full::All => QueryError::Busy,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
