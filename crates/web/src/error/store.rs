//! Failures of the store.

use sheaf_model::Code;
use sheaf_store::{IdemConflict, StoreError};

use crate::problem::{Problem, RETRY_AFTER};

pub(super) fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::Busy(full) => {
            Problem::crowded(Code::TooManyRequests, "requests of this kind running", full)
        }
        StoreError::Idempotency(conflict) => idempotency_problem(conflict),
        StoreError::Unavailable { detail } => {
            tracing::warn!(detail, "store unavailable");
            Problem::again(Code::StoreUnavailable, "the database is unavailable")
        }
        StoreError::OutcomeUnknown { detail } => {
            tracing::error!(detail, "the outcome of a request is unknown");
            outcome_unknown()
        }
        StoreError::Contended { what } => {
            let detail = format!("others are changing {what} at the same time; nothing was done");
            Problem::new(Code::ConcurrentChanges, detail).with_retry_after(RETRY_AFTER)
        }
        StoreError::Timeout => Problem::again(Code::StoreTimeout, "the database took too long"),
        StoreError::Cold { detail } => {
            tracing::warn!(detail, "archive unavailable");
            Problem::again(Code::ArchiveUnavailable, "the archive is unavailable")
        }
        StoreError::Conflict { code, detail } => Problem::new(code, detail),
        error @ (StoreError::SchemaTooNew { .. }
        | StoreError::SchemaTooOld { .. }
        | StoreError::Config(_)
        | StoreError::Corrupt(_)
        | StoreError::Database(_)
        | StoreError::Bug(_)) => {
            tracing::error!(%error, "store failed");
            Problem::internal()
        }
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
