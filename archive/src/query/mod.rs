//! SQL over the archive: read-only, one tenant's files of one snapshot, within bounds.
//!
//! | module | job |
//! |---|---|
//! | `guard`, `dialect`, `statement` | what SQL is allowed, and how large it may be |
//! | `complexity` | how large its plan may become |
//! | `registry`, `functions` | the functions that there are, with what they cost; our own |
//! | `bounded`, `sizes` | functions within bounds |
//! | `arithmetic` | numbers that fail where they do not fit |
//! | `schema`, `tables` | the tables, and the plans of their scans |
//! | `computed` | columns that files lack |
//! | `files` | from the catalog to the files of a scan |
//! | `reader` | the engine's way to the storage |
//! | `hot` | hot rows as one more file |
//! | `session`, `order` | what the engine is given |
//! | `room`, `meter`, `held` | how large batches may be, and what windows may hold |
//! | `run`, `lane`, `job`, `watch` | one query: its handle, its threads, its work, its end |
//! | `format`, `csv` | JSON, CSV and Arrow |
//!
//! A session knows the four tables and functions that compute. It has no object store, no file
//! format, no table function and no disk, so there is nothing by which SQL could name a file.

pub(crate) mod bound;
pub(crate) mod statement;

use std::sync::{Arc, OnceLock};

use sheaf_model::TenantId;
use sheaf_store::{Full, Share, Shares, Store};
use tokio::runtime::Runtime;

use crate::object::cache::Objects;
use crate::quota::QueryLimits;

pub(crate) mod answer;
mod error;
pub(crate) mod function;
mod job;
mod run;
mod session;
pub(crate) mod table;

pub use crate::query::answer::stats::QueryStats;
pub use crate::query::answer::{Answer, Format};
pub use crate::query::statement::guard::MAX_SQL_BYTES;
pub use error::QueryError;
pub use run::QueryRun;

/// Rows of an answer unless a query asks for more.
pub const DEFAULT_ROWS: usize = 100_000;

/// Which tiers a query reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiers {
    /// The archive alone.
    #[default]
    Cold,
    /// The archive and the hot tier.
    All,
}

/// How a query is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// What is read.
    pub tiers: Tiers,
    /// More rows are an error; [`QueryLimits::rows`] at most.
    pub max_rows: usize,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            tiers: Tiers::Cold,
            max_rows: DEFAULT_ROWS,
        }
    }
}

/// Threads that read for all queries, and wait for their ends. They compute nothing.
const READING: usize = 2;

/// Runs queries, each on threads of its own: a long computation must neither keep the API's from
/// answering nor another query's.
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) objects: Arc<Objects>,
    pub(crate) limits: QueryLimits,
    places: Arc<Shares>,
    runtime: OnceLock<Runtime>,
}

impl Engine {
    pub(crate) fn new(store: Store, objects: Arc<Objects>, limits: QueryLimits) -> Self {
        Self {
            store,
            objects,
            limits,
            places: Shares::new("queries", limits.per_tenant as u64, limits.total as u64),
            runtime: OnceLock::new(),
        }
    }

    /// The threads that read, which start with the first query.
    fn runtime(&self) -> Result<&Runtime, QueryError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(READING)
            .thread_name("sheaf-query")
            .enable_all()
            .build()
            .map_err(|e| QueryError::Internal(format!("no threads: {e}")))?;
        // Whoever lost a race lets its threads go.
        if let Err(spare) = self.runtime.set(runtime) {
            spare.shutdown_background();
        }
        self.runtime
            .get()
            .ok_or_else(|| QueryError::Internal("no threads".to_owned()))
    }

    /// A place among the running queries.
    fn place(&self, tenant: TenantId) -> Result<Share, QueryError> {
        self.places.take(tenant).map_err(|full| match full {
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
