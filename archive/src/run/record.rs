//! The record of how runs over all tenants ended, for the metrics of processes that live longer
//! than a command.

use std::time::Instant;

use sheaf_store::{Job, Store};

use crate::ArchiveError;

/// Records how a run over all tenants ended; `failed` counts what failed in one that finished. A
/// run that did not begin, since another one was at work, leaves no record. A record that cannot be
/// written fails no run.
pub(crate) async fn record<T>(
    store: &Store,
    job: Job,
    started: Instant,
    outcome: &Result<T, ArchiveError>,
    failed: impl FnOnce(&T) -> u64,
) {
    let failed = match outcome {
        Ok(done) => failed(done),
        Err(ArchiveError::AlreadyRunning) => return,
        Err(_) => 1,
    };
    let kept = store.record_job_run(job, started.elapsed(), failed).await;
    if let Err(error) = kept {
        tracing::warn!(%error, job = job.as_str(), "how the run ended could not be kept");
    }
}
