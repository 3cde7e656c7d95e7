//! Queries that have no answer.

use axum::http::StatusCode;
use sheaf_archive::object::storage::StorageError;
use sheaf_archive::{ArchiveError, QueryError};

use crate::error::ApiError;
use crate::error::tiers::restoring;
use sheaf_web::problem::{Problem, RETRY_AFTER};

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
        return restoring();
    }
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
            tracing::warn!(%error, "a query could not read the archive");
            S::SERVICE_UNAVAILABLE
        }
        QueryError::Archive(_) | QueryError::Internal(_) => {
            tracing::error!(%error, "a query failed");
            S::INTERNAL_SERVER_ERROR
        }
    };
    let problem = Problem::new(status, error.code(), error.public_detail());
    match status {
        S::TOO_MANY_REQUESTS | S::SERVICE_UNAVAILABLE => problem.with_retry_after(RETRY_AFTER),
        _ => problem,
    }
}
