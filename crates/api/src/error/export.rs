//! Exports that did not begin.

use sheaf_archive::ExportError;
use sheaf_model::Code;
use sheaf_web::problem::{Cause, Problem, RETRY_AFTER};

use crate::error::ApiError;

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
            Problem::new(Code::TooManyExports, detail).with_retry_after(RETRY_AFTER)
        }
        ExportError::Busy => Problem::again(Code::Busy, detail),
        ExportError::TooLarge { .. } => Problem::new(Code::ExportTooLarge, detail),
        ExportError::Idle { .. } | ExportError::Archive(_) | ExportError::Lost => {
            Problem::internal().with_cause(Cause::error("an export failed", error))
        }
    }
}
