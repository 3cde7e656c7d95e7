//! What the parts below the front door answer, as errors of the front door.

use super::*;

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => Self::Store(error),
            other => Self::Archive(other),
        }
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Store(error) => Self::Store(error),
            other => Self::Create(other),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => Self::Store(error),
            ChangeError::NotFound(_) => Self::NotFound(Noun::Invoice),
            ChangeError::Invalid(invalid) => Self::Invalid(invalid),
            ChangeError::DuplicateExternalId { existing } => {
                Self::Create(CreateError::DuplicateExternalId { existing })
            }
            ChangeError::DuplicateNumber { existing } => {
                Self::Create(CreateError::DuplicateNumber { existing })
            }
            ChangeError::CustomerNotFound => Self::Create(CreateError::CustomerNotFound),
            ChangeError::CustomerInactive => Self::Create(CreateError::CustomerInactive),
            ChangeError::Busy => Self::Create(CreateError::Busy),
            ChangeError::VersionMismatch { current } => Self::VersionMismatch { current },
            ChangeError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<CustomerError> for ApiError {
    fn from(error: CustomerError) -> Self {
        match error {
            CustomerError::NotFound => Self::NotFound(Noun::Customer),
            CustomerError::SurvivorNotFound => {
                let detail = "there is no such customer";
                Self::Invalid(FieldError::new("into", "customer_not_found", detail).into())
            }
            CustomerError::VersionMismatch { current } => Self::VersionMismatch { current },
            CustomerError::Invalid(invalid) => Self::Invalid(invalid),
            CustomerError::Conflict { code, detail } => {
                Self::Store(StoreError::Conflict { code, detail })
            }
            CustomerError::Store(error) => Self::Store(error),
        }
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        Self::Document(error)
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Syntax(what) => {
                Self::InvalidJson(format!("the body is not a JSON document: {what}"))
            }
            ParseError::Invalid(invalid) => Self::Invalid(invalid),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::DiskFull(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}
