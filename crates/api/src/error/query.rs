//! Queries that have no answer.

use axum::http::StatusCode;
use sheaf_archive::object::storage::StorageError;
use sheaf_archive::{ArchiveError, QueryError};

use super::{ApiError, RETRY_AFTER};
use crate::problem::{Cause, Problem};

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Archive(error) => error.into(),
            other => Self::Query(other),
        }
    }
}

pub(super) fn problem(error: QueryError) -> Problem {
    use StatusCode as S;
    if matches!(
        &error,
        QueryError::Archive(ArchiveError::Storage(StorageError::Restoring { .. }))
    ) {
        return super::restoring();
    }
    let mut cause = None;
    let status = match &error {
        QueryError::Invalid(_) => S::BAD_REQUEST,
        QueryError::NotReadOnly(_)
        | QueryError::Complex(_)
        | QueryError::Failed(_)
        | QueryError::Memory { .. }
        | QueryError::TooManyRows { .. }
        | QueryError::TooManyHotRows { .. } => S::UNPROCESSABLE_ENTITY,
        QueryError::TooManyQueries { .. } => S::TOO_MANY_REQUESTS,
        QueryError::Timeout { .. } => S::GATEWAY_TIMEOUT,
        QueryError::Busy => S::SERVICE_UNAVAILABLE,
        QueryError::Archive(ArchiveError::Storage(_) | ArchiveError::Store(_)) => {
            cause = Some(Cause::warning("a query could not read the archive", &error));
            S::SERVICE_UNAVAILABLE
        }
        QueryError::Archive(_) | QueryError::Internal(_) => {
            cause = Some(Cause::error("a query failed", &error));
            S::INTERNAL_SERVER_ERROR
        }
    };
    let mut problem = Problem::new(status, error.code(), error.public_detail());
    problem.cause = cause;
    match status {
        S::TOO_MANY_REQUESTS | S::SERVICE_UNAVAILABLE => problem.with_retry_after(RETRY_AFTER),
        _ => problem,
    }
}
