//! The threads of one query. What blocks them, be it a plan or a sort that yields to nobody, is in
//! nobody's way but the query's own: the system shares the processors out among threads, and those
//! of queries come after the API's.

use std::future::Future;

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::query::error::QueryError;
use crate::quota::QueryLimits;

/// Bytes of a thread's stack: expressions are evaluated by recursion. Only what is touched is
/// really taken.
const STACK: usize = 16 * 1024 * 1024;
/// How much later than the API's threads those of queries have their turn, where there are not
/// processors for all.
const NICE: i32 = 10;
/// Threads that block, of a query: few of its steps do.
const BLOCKING: usize = 4;

/// Threads that compute for one query alone, and end with it.
#[derive(Debug)]
pub(crate) struct Lane {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Lane {
    pub(crate) fn start(limits: &QueryLimits) -> Result<Self, QueryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(limits.threads.max(1))
            .max_blocking_threads(BLOCKING)
            .thread_name("sheaf-query-run")
            .thread_stack_size(STACK)
            .on_thread_start(|| {
                // Where the system does not let it, queries compete with the API as equals.
                let _ = rustix::process::nice(NICE);
            })
            .enable_time()
            .build()
            .map_err(|e| QueryError::Internal(format!("no threads: {e}")))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Begins to compute.
    pub(crate) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(work)
    }

    /// Whether nothing runs any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.handle.metrics().num_alive_tasks() == 0
    }

    /// Ends whatever still runs, and returns when nothing does any more.
    pub(crate) async fn finish(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it waits for what its threads are at, which must not happen on a thread that
            // others need.
            let _ = tokio::task::spawn_blocking(move || drop(runtime)).await;
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
