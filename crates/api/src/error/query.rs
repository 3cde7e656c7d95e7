//! Queries that have no answer.

use axum::http::StatusCode;
use sheaf_archive::object::storage::StorageError;
use sheaf_archive::{ArchiveError, QueryError};
use sheaf_web::problem::{Cause, Problem, RETRY_AFTER};

use crate::error::ApiError;
use crate::error::tiers::restoring;

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Archive(error) => error.into(),
            other => Self::Query(other),
        }
    }
}

pub(super) fn problem(error: QueryError) -> Problem {
    if matches!(
        &error,
        QueryError::Archive(ArchiveError::Storage(StorageError::Restoring { .. }))
    ) {
        return restoring();
    }
    let cause = match &error {
        QueryError::Archive(ArchiveError::Storage(_) | ArchiveError::Store(_)) => {
            Some(Cause::warning("a query could not read the archive", &error))
        }
        QueryError::Archive(_) | QueryError::Internal(_) => {
            Some(Cause::error("a query failed", &error))
        }
        _ => None,
    };
    let mut problem = Problem::new(error.code(), error.public_detail());
    problem.cause = cause;
    match problem.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            problem.with_retry_after(RETRY_AFTER)
        }
        _ => problem,
    }
}
