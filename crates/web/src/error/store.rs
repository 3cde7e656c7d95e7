//! Failures of the store.

use axum::http::StatusCode;
use sheaf_store::{IdemConflict, StoreError};

use crate::problem::{Problem, RETRY_AFTER};

pub(super) fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::Busy(full) => {
            Problem::crowded("too_many_requests", "requests of this kind running", full)
        }
        StoreError::Idempotency(conflict) => idempotency_problem(conflict),
        StoreError::Unavailable { detail } => {
            tracing::warn!(detail, "store unavailable");
            Problem::unavailable("store_unavailable", "the database is unavailable")
        }
        StoreError::OutcomeUnknown { detail } => {
            tracing::error!(detail, "the outcome of a request is unknown");
            outcome_unknown()
        }
        StoreError::Contended { what } => {
            let detail = format!("others are changing {what} at the same time; nothing was done");
            Problem::new(StatusCode::CONFLICT, "concurrent_changes", detail)
                .with_retry_after(RETRY_AFTER)
        }
        StoreError::Timeout => Problem::unavailable("store_timeout", "the database took too long"),
        StoreError::Cold { detail } => {
            tracing::warn!(detail, "archive unavailable");
            Problem::unavailable("archive_unavailable", "the archive is unavailable")
        }
        StoreError::Conflict { code, detail } => Problem::new(StatusCode::CONFLICT, code, detail),
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
    let detail = "whether the request took effect is unknown: the database's answer to its commit was lost. With the same \
                  Idempotency-Key it can be sent again. Without one look first: a change shows in GET /v1/invoices/{id}, \
                  in its events and in its credit notes, and what was made in the newest of its list";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", detail)
}

fn idempotency_problem(conflict: IdemConflict) -> Problem {
    use StatusCode as S;
    match conflict {
        IdemConflict::Mismatch => {
            let detail = "the idempotency key was used with another request";
            Problem::new(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
        }
        IdemConflict::Running => {
            let detail = "the first request with this idempotency key is still running";
            Problem::new(S::CONFLICT, "idempotency_in_progress", detail)
                .with_retry_after(RETRY_AFTER)
        }
    }
}
