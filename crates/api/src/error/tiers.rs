//! What a client is told of failures of the two tiers: of the store, of the archive, and of the
//! rules of a document's life.

use axum::http::StatusCode;
use sheaf_archive::ArchiveError;
use sheaf_archive::object::storage::StorageError;
use sheaf_model::FieldError;
use sheaf_model::invoice::lifecycle::Refusal;
use sheaf_store::{ClusterError, CreateError, IdemConflict, StoreError};

use super::{Crowded, RETRY_AFTER, crowded, field_problem, internal, unavailable};
use crate::problem::{Cause, Problem};

/// Seconds after which a restored object may be there: slow storage classes take from minutes to
/// hours.
const RESTORING_RETRY_AFTER: u32 = 900;

pub(super) fn create_problem(error: CreateError) -> Problem {
    use StatusCode as S;
    match error {
        CreateError::DuplicateExternalId { existing } => {
            let detail = format!("invoice {existing} of the same year has this external_id");
            field_problem(
                S::CONFLICT,
                FieldError::new("external_id", "duplicate_external_id", detail),
            )
        }
        CreateError::DuplicateNumber { existing } => {
            let detail = format!("invoice {existing} of the same year has this number");
            field_problem(
                S::CONFLICT,
                FieldError::new("number", "duplicate_number", detail),
            )
        }
        CreateError::DuplicateId => field_problem(
            S::CONFLICT,
            FieldError::new("id", "duplicate_id", "the id is taken"),
        ),
        CreateError::CustomerNotFound => {
            let error = FieldError::new(
                "customer_id",
                "customer_not_found",
                "there is no such customer",
            );
            field_problem(S::UNPROCESSABLE_ENTITY, error)
        }
        CreateError::CustomerInactive => {
            let detail = "the customer is not active; if it was merged, name its survivor";
            let error = FieldError::new("customer", "customer_inactive", detail);
            field_problem(StatusCode::CONFLICT, error)
        }
        CreateError::Busy => unavailable("busy", "the write queue is full"),
        CreateError::Store(error) => store_problem(error),
    }
}

pub(super) fn refused(refusal: Refusal) -> Problem {
    let status = match refusal.code {
        "payment_not_found" => StatusCode::NOT_FOUND,
        // What no state would allow is a mistake of the document.
        "too_many_decimals"
        | "due_before_issue"
        | "amount_out_of_range"
        | "credit_of_nothing"
        | "credit_before_invoice"
        | "credit_rate_not_charged"
        | "credit_exceeds_rate" => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    };
    Problem::new(status, refusal.code, refusal.detail)
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

pub(super) fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Cluster(ClusterError::Busy(full)) => crowded(Crowded::Requests, full),
        StoreError::Idempotency(conflict) => idempotency_problem(conflict),
        StoreError::Cluster(ClusterError::Unavailable { ref detail }) => {
            let cause = Cause::warning("store unavailable", detail).on(error.node());
            unavailable("store_unavailable", "the database is unavailable").with_cause(cause)
        }
        StoreError::Cluster(ClusterError::OutcomeUnknown { ref detail }) => {
            let cause = Cause::error("the outcome of a request is unknown", detail);
            outcome_unknown().with_cause(cause.on(error.node()))
        }
        StoreError::Cluster(ClusterError::Contended { what }) => {
            let detail = format!("others are changing {what} at the same time; nothing was done");
            Problem::new(StatusCode::CONFLICT, "concurrent_changes", detail)
                .with_retry_after(RETRY_AFTER)
        }
        StoreError::Cluster(ClusterError::Timeout) => {
            let cause = Cause::warning("store timeout", &error);
            unavailable("store_timeout", "the database took too long").with_cause(cause)
        }
        StoreError::Cold { detail } => {
            let cause = Cause::warning("archive unavailable", detail);
            unavailable("archive_unavailable", "the archive is unavailable").with_cause(cause)
        }
        StoreError::Conflict { code, detail } => Problem::new(StatusCode::CONFLICT, code, detail),
        error @ (StoreError::SchemaTooNew { .. }
        | StoreError::SchemaTooOld { .. }
        | StoreError::Cluster(
            ClusterError::Config(_)
            | ClusterError::Corrupt(_)
            | ClusterError::Database(_)
            | ClusterError::Bug(_),
        )) => internal().with_cause(Cause::error("store failed", error)),
    }
}

/// No `Retry-After`: whoever sends it again without looking may do it twice.
fn outcome_unknown() -> Problem {
    let detail = "whether the request took effect is unknown: the database's answer to its commit was lost. With the same \
                  Idempotency-Key it can be sent again. Without one look first: a change shows in GET /v1/invoices/{id}, \
                  in its events and in its credit notes, and what was made in the newest of its list";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", detail)
}

/// Not an error: what was asked for is on its way from a slow storage class.
pub(super) fn restoring() -> Problem {
    let detail = "the archived object is being restored from its storage class; ask again later";
    Problem::new(StatusCode::ACCEPTED, "archive_restoring", detail)
        .with_retry_after(RESTORING_RETRY_AFTER)
}

pub(super) fn archive_problem(error: &ArchiveError) -> Problem {
    if matches!(error, ArchiveError::Storage(StorageError::Restoring { .. })) {
        return restoring();
    }
    let cause = Cause::error("archive failed", error);
    let problem = match error {
        // Damaged bytes as well: read again, they may be right, as of a storage that lies or of an
        // object that is restored.
        ArchiveError::Storage(_) | ArchiveError::Corrupt { .. } => {
            unavailable("archive_unavailable", "the archive is unavailable")
        }
        _ => internal(),
    };
    problem.with_cause(cause)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    #[cfg(feature = "sql")]
    use sheaf_archive::QueryError;
    use sheaf_store::{ChangeError, CustomerError};

    use super::super::ApiError;
    use super::*;

    #[test]
    fn an_object_that_is_being_restored_is_no_failure() {
        let restoring = || {
            ArchiveError::Storage(StorageError::Restoring {
                key: "v1/invoices/x".to_owned(),
            })
        };
        for error in [
            ApiError::Archive(restoring()),
            #[cfg(feature = "sql")]
            ApiError::from(QueryError::Archive(restoring())),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), StatusCode::ACCEPTED);
            assert_eq!(response.headers()["retry-after"], "900");
        }
    }

    #[test]
    fn only_what_was_not_done_may_be_tried_again() {
        let detail = || "the connection is gone".to_owned();
        let unknown = || StoreError::Cluster(ClusterError::OutcomeUnknown { detail: detail() });
        for error in [
            ApiError::from(CreateError::from(unknown())),
            ApiError::from(ChangeError::from(unknown())),
            ApiError::from(CustomerError::from(unknown())),
        ] {
            let problem = error.into_problem();
            assert_eq!(
                (problem.status.as_u16(), problem.code),
                (504, "outcome_unknown")
            );
            let response = problem.into_response();
            assert!(!response.headers().contains_key("retry-after"));
        }
        let not_done = [
            (
                StoreError::Cluster(ClusterError::Unavailable { detail: detail() }),
                503,
            ),
            (
                StoreError::Cluster(ClusterError::Contended {
                    what: "the profile",
                }),
                409,
            ),
        ];
        for (error, status) in not_done {
            let response = ApiError::from(error).into_response();
            assert_eq!(response.status().as_u16(), status);
            assert!(response.headers().contains_key("retry-after"));
        }
    }
}
