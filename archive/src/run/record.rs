//! Runs over all tenants leave word of how they ended, for the metrics of processes that live
//! longer than a command.

use std::time::Instant;

use sheaf_store::{Job, Store};

use crate::ArchiveError;

/// Keeps how a run over all tenants ended; `failed` is what failed in one that came to its end. A
/// run that did not begin, since another one was at work, says nothing. What cannot be kept fails
/// no run.
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
