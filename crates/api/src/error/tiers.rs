//! Creates that were refused, failures of the archive, and the rules of a document's life.

use sheaf_archive::ArchiveError;
use sheaf_archive::object::storage::StorageError;
use sheaf_model::invoice::lifecycle::Refusal;
use sheaf_model::{Code, FieldError};
use sheaf_store::CreateError;
use sheaf_web::problem::Cause;
use sheaf_web::{Error, Problem};

/// Seconds after which a restored object may be there: slow storage classes take from minutes to
/// hours.
const RESTORING_RETRY_AFTER: u32 = 900;

pub(super) fn create_problem(error: CreateError) -> Problem {
    match error {
        CreateError::DuplicateExternalId { existing } => {
            let detail = format!("invoice {existing} of the same year has this external_id");
            Problem::of_field(FieldError::new(
                "external_id",
                Code::DuplicateExternalId,
                detail,
            ))
        }
        CreateError::DuplicateNumber { existing } => {
            let detail = format!("invoice {existing} of the same year has this number");
            Problem::of_field(FieldError::new("number", Code::DuplicateNumber, detail))
        }
        CreateError::DuplicateId => {
            Problem::of_field(FieldError::new("id", Code::DuplicateId, "the id is taken"))
        }
        CreateError::CustomerNotFound => {
            let error = FieldError::new(
                "customer_id",
                Code::CustomerNotFound,
                "there is no such customer",
            );
            Problem::invalid(error.into())
        }
        CreateError::CustomerInactive => {
            let detail = "the customer is not active; if it was merged, name its survivor";
            let error = FieldError::new("customer", Code::CustomerInactive, detail);
            Problem::of_field(error)
        }
        CreateError::Busy => Problem::again(Code::Busy, "the write queue is full"),
        CreateError::Store(error) => Error::Store(error).into_problem(),
    }
}

pub(super) fn refused(refusal: Refusal) -> Problem {
    Problem::new(refusal.code, refusal.detail)
}

/// Not an error: what was asked for is on its way from a slow storage class.
pub(super) fn restoring() -> Problem {
    let detail = "the archived object is being restored from its storage class; ask again later";
    Problem::new(Code::ArchiveRestoring, detail).with_retry_after(RESTORING_RETRY_AFTER)
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
            Problem::again(Code::ArchiveUnavailable, "the archive is unavailable")
        }
        _ => Problem::internal(),
    };
    problem.with_cause(cause)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    #[cfg(feature = "sql")]
    use sheaf_archive::QueryError;
    use sheaf_store::{ChangeError, ClusterError, CustomerError, StoreError};

    use super::*;
    use crate::error::ApiError;

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
                (504, Code::OutcomeUnknown)
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
