//! What can go wrong, in types: the API maps each to one problem.

use sheaf_cluster::error::{Error, OfCluster};

use sheaf_model::Code;

use crate::idempotency::key::IdemConflict;

/// A failure of the store itself; conflicts with what is stored have types of their own. It can be
/// cloned: all members of a batch that fails as a whole are told the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A node, a connection, a statement, or what this process allows of them.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// The database was migrated by a newer binary.
    #[error(
        "the database has schema version {found}, this binary knows versions up to {known}: use a \
         newer binary"
    )]
    SchemaTooNew {
        /// Version in the database.
        found: i32,
        /// Newest version in this binary.
        known: i32,
    },
    /// The database still needs `sheaf migrate`.
    #[error(
        "the database has schema version {found}, this binary needs {known}: run `sheaf migrate`"
    )]
    SchemaTooOld {
        /// Version in the database; 0 where there is none.
        found: i32,
        /// Newest version in this binary.
        known: i32,
    },
    /// The request contradicts what is stored.
    #[error("{detail}")]
    Conflict {
        /// Stable code.
        code: Code,
        /// For the client.
        detail: String,
    },
    /// The request's idempotency key says that it is not to be done.
    #[error(transparent)]
    Idempotency(#[from] IdemConflict),
    /// The archive could not be asked about its keys.
    #[error("the cold tier is unavailable: {detail}")]
    Cold {
        /// For the log.
        detail: String,
    },
}

impl StoreError {
    /// The node that is away, or was lost, where it is known.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.of_cluster()?.node()
    }
}

impl OfCluster for StoreError {
    fn of_cluster(&self) -> Option<&Error> {
        match self {
            Self::Cluster(error) => Some(error),
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Error::from(error).into()
    }
}
