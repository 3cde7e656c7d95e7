//! Exports that did not begin.

use axum::http::StatusCode;
use sheaf_archive::ExportError;

use crate::error::ApiError;
use sheaf_web::problem::{Problem, RETRY_AFTER};

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Archive(error) => error.into(),
            other => Self::Export(other),
        }
    }
}

pub(super) fn problem(error: &ExportError) -> Problem {
    let detail = error.to_string();
    match error {
        ExportError::TooMany { .. } => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "too_many_exports", detail).with_retry_after(RETRY_AFTER)
        }
        ExportError::Busy => Problem::unavailable("busy", &detail),
        ExportError::TooLarge { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "export_too_large", detail)
        }
        ExportError::Idle { .. } | ExportError::Archive(_) | ExportError::Lost => {
            tracing::error!(%error, "an export failed");
            Problem::internal()
        }
    }
}
