//! What the parts below the API answer, as errors of the API.

use sheaf_archive::ArchiveError;
use sheaf_documents::DocumentError;
use sheaf_model::invoice::input::ParseError;
use sheaf_model::{Code, FieldError, Invalid};
use sheaf_store::{ChangeError, CreateError, CustomerError, StoreError};
use sheaf_web::Error;
use sheaf_web::error::{BodyError, Noun};

use crate::error::ApiError;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::Web(error)
    }
}

/// What the web's error is made from.
macro_rules! by_way_of_web {
    ($($from:ty),*) => {$(
        impl From<$from> for ApiError {
            fn from(error: $from) -> Self {
                Self::Web(error.into())
            }
        }
    )*};
}

by_way_of_web!(
    BodyError,
    StoreError,
    ParseError,
    Invalid,
    tokio::task::JoinError
);

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            other => Self::Archive(other),
        }
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Store(error) => error.into(),
            other => Self::Create(other),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let create = match error {
            ChangeError::Store(error) => return error.into(),
            ChangeError::NotFound(_) => return Error::NotFound(Noun::Invoice).into(),
            ChangeError::Invalid(invalid) => return invalid.into(),
            ChangeError::VersionMismatch { current } => {
                return Error::VersionMismatch { current }.into();
            }
            ChangeError::Refused(refusal) => return Self::Refused(refusal),
            ChangeError::DuplicateExternalId { existing } => {
                CreateError::DuplicateExternalId { existing }
            }
            ChangeError::DuplicateNumber { existing } => CreateError::DuplicateNumber { existing },
            ChangeError::CustomerNotFound => CreateError::CustomerNotFound,
            ChangeError::CustomerInactive => CreateError::CustomerInactive,
            ChangeError::Busy => CreateError::Busy,
        };
        Self::Create(create)
    }
}

impl From<CustomerError> for ApiError {
    fn from(error: CustomerError) -> Self {
        Self::Web(match error {
            CustomerError::NotFound => Error::NotFound(Noun::Customer),
            CustomerError::SurvivorNotFound => {
                let detail = "there is no such customer";
                Error::Invalid(FieldError::new("into", Code::CustomerNotFound, detail).into())
            }
            CustomerError::VersionMismatch { current } => Error::VersionMismatch { current },
            CustomerError::Invalid(invalid) => Error::Invalid(invalid),
            CustomerError::Conflict { code, detail } => {
                Error::Store(StoreError::Conflict { code, detail })
            }
            CustomerError::Store(error) => Error::Store(error),
        })
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        Self::Document(error)
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::DiskFull(error.to_string()),
            _ => Error::Internal(error.to_string()).into(),
        }
    }
}
