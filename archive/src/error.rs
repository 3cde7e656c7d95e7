//! What can go wrong in the cold tier.

use sheaf_store::StoreError;

use crate::object::storage::StorageError;

/// A failure of the cold tier.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Another process holds the tiering lock.
    #[error("another tiering or gc run holds the lock; one runs at a time")]
    AlreadyRunning,
    /// The lock was lost during the run, so another runner may be at work. Nothing is left half
    /// done.
    #[error("the tiering lock was lost; the run stopped before its next handover")]
    LockLost,
    /// The run was asked for something impossible.
    #[error("{0}")]
    InvalidRun(String),
    /// The catalog or the hot tier failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// The object storage failed.
    #[error("the object storage failed: {0}")]
    Storage(#[from] StorageError),
    /// An object does not hold what the catalog says.
    #[error("{object_key} is damaged: {detail}")]
    Corrupt {
        /// The object.
        object_key: String,
        /// What does not fit.
        detail: String,
    },
    /// An object was written by a newer version of Sheaf.
    #[error("{object_key} has archive schema {found}; this version reads up to {known}")]
    SchemaTooNew {
        /// The object.
        object_key: String,
        /// The version in the object.
        found: i32,
        /// The newest version that this build reads.
        known: i32,
    },
    /// A value does not fit the archive's schema.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// More files of one tenant overlap at one id than a page may hold open.
    #[error("more than {limit} archive files overlap at one id")]
    TooManyFiles {
        /// The bound.
        limit: usize,
    },
    /// A temporary file failed.
    #[error("temporary file: {0}")]
    TempFile(#[from] std::io::Error),
    /// A worker thread of the runtime was lost.
    #[error("a background computation was cancelled: {0}")]
    Background(#[from] tokio::task::JoinError),
}

impl ArchiveError {
    pub(crate) fn corrupt(object_key: &str, detail: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            object_key: object_key.to_owned(),
            detail: detail.to_string(),
        }
    }
}

impl From<ArchiveError> for StoreError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(inner) => inner,
            other => Self::Cold {
                detail: other.to_string(),
            },
        }
    }
}
