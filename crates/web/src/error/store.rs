//! Failures of the store.

use sheaf_model::Code;
use sheaf_store::{ClusterError, IdemConflict, StoreError};

use crate::problem::{Cause, Problem, RETRY_AFTER};

pub(super) fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::Cluster(ClusterError::Busy(full)) => {
            Problem::crowded(Code::TooManyRequests, "requests of this kind running", full)
        }
        StoreError::Idempotency(conflict) => idempotency_problem(conflict),
        StoreError::Cluster(ClusterError::Unavailable { ref detail }) => {
            let cause = Cause::warning("store unavailable", detail).on(error.node());
            Problem::again(Code::StoreUnavailable, "the database is unavailable").with_cause(cause)
        }
        StoreError::Cluster(ClusterError::OutcomeUnknown { ref detail }) => {
            let cause = Cause::error("the outcome of a request is unknown", detail);
            outcome_unknown().with_cause(cause.on(error.node()))
        }
        StoreError::Cluster(ClusterError::Contended { what }) => {
            let detail = format!("others are changing {what} at the same time; nothing was done");
            Problem::new(Code::ConcurrentChanges, detail).with_retry_after(RETRY_AFTER)
        }
        StoreError::Cluster(ClusterError::Timeout) => {
            let cause = Cause::warning("store timeout", &error);
            Problem::again(Code::StoreTimeout, "the database took too long").with_cause(cause)
        }
        StoreError::Cold { detail } => {
            let cause = Cause::warning("archive unavailable", detail);
            Problem::again(Code::ArchiveUnavailable, "the archive is unavailable").with_cause(cause)
        }
        StoreError::Conflict { code, detail } => Problem::new(code, detail),
        error @ (StoreError::SchemaTooNew { .. }
        | StoreError::SchemaTooOld { .. }
        | StoreError::Cluster(
            ClusterError::Config(_)
            | ClusterError::Corrupt(_)
            | ClusterError::Database(_)
            | ClusterError::Bug(_),
        )) => Problem::internal().with_cause(Cause::error("store failed", error)),
    }
}

/// No `Retry-After`: whoever sends it again without looking may do it twice.
fn outcome_unknown() -> Problem {
    let detail = "whether the request took effect is unknown: the database's answer to its commit \
                  was lost. With the same Idempotency-Key it can be sent again. Without one look \
                  first: a change shows in GET /v1/invoices/{id}, in its events and in its credit \
                  notes, and what was made in the newest of its list";
    Problem::new(Code::OutcomeUnknown, detail)
}

fn idempotency_problem(conflict: IdemConflict) -> Problem {
    match conflict {
        IdemConflict::Mismatch => {
            let detail = "the idempotency key was used with another request";
            Problem::new(Code::IdempotencyKeyReused, detail)
        }
        IdemConflict::Running => {
            let detail = "the first request with this idempotency key is still running";
            Problem::new(Code::IdempotencyInProgress, detail).with_retry_after(RETRY_AFTER)
        }
    }
}
