//! What ends a command: one sentence for a person at a terminal.

use sheaf_archive::ArchiveError;
#[cfg(feature = "local")]
use sheaf_local::LocalError;
use sheaf_store::StoreError;

/// A failed command. Its `Display` is one sentence; `main` puts it on stderr and exits with 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The hot tier.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cold tier.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The local environment of `sheaf up`.
    #[cfg(feature = "local")]
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Anything else, said where it happened.
    #[error("{0}")]
    Message(String),
}

impl Error {
    /// A sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Message(sentence.into())
    }
}

/// The outcome of a command.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Says what was being done, and on what, when an I/O operation failed.
pub(crate) trait Doing<T> {
    /// `cannot {action}: {error}`.
    fn doing(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Message(format!("cannot {}: {error}", action())))
    }
}
