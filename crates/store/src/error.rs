//! What can go wrong, in types: the API maps each to one problem, and retries look at nothing else.

use std::sync::Arc;

use sheaf_model::Code;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::cluster::node::NodeAddr;
use crate::cluster::shares::Full;
use crate::idempotency::IdemConflict;

/// What the text of an error that was met on a node begins with; the node follows.
const ON_NODE: &str = "node ";

/// A failure of the store itself; conflicts with what is stored have types of their own. It can be
/// cloned: all members of a batch that fails as a whole are told the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A node cannot be reached, or no connection came free in time. Worth a retry: nothing was
    /// done, or what was done is found again by the request's key.
    #[error("the database is unavailable: {detail}")]
    Unavailable {
        /// For the log.
        detail: String,
    },
    /// The answer to a commit was lost, and nothing that the request brings would find again what
    /// it may have done.
    #[error("whether it took effect is unknown: {detail}")]
    OutcomeUnknown {
        /// For the log.
        detail: String,
    },
    /// Others changed the same thing at the same time, again and again; nothing was done.
    #[error("others keep changing {what}")]
    Contended {
        /// What is fought over.
        what: &'static str,
    },
    /// A statement ran into its time limit.
    #[error("the database took too long")]
    Timeout,
    /// The database was migrated by a newer binary.
    #[error(
        "the database has schema version {found}, this binary knows versions up to {known}: use a newer binary"
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
    /// The tenant, or all tenants together, run as much of this kind as they may; nothing was done.
    #[error(transparent)]
    Busy(Full),
    /// The request's idempotency key says that it is not to be done.
    #[error(transparent)]
    Idempotency(#[from] IdemConflict),
    /// The archive could not be asked about its keys.
    #[error("the cold tier is unavailable: {detail}")]
    Cold {
        /// For the log.
        detail: String,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Config(String),
    /// A stored row that this binary cannot read.
    #[error("a stored row cannot be read: {0}")]
    Corrupt(String),
    /// Anything else that PostgreSQL said: a bug until proven otherwise.
    #[error("database error: {}", said(.0))]
    Database(#[source] Arc<tokio_postgres::Error>),
    /// A bug of ours, told by a panic that was caught.
    #[error("a bug: {0}")]
    Bug(String),
}

impl StoreError {
    /// The same with the node that it was met on, for the log. One that names a node keeps it.
    pub(crate) fn on(self, (host, port): &NodeAddr) -> Self {
        let node = format!("{host}:{port}");
        let told = |detail: String| match detail {
            detail if detail.starts_with(ON_NODE) => detail,
            detail if detail.starts_with(&node) => format!("{ON_NODE}{detail}"),
            detail => format!("{ON_NODE}{node}: {detail}"),
        };
        match self {
            Self::Unavailable { detail } => Self::Unavailable {
                detail: told(detail),
            },
            Self::OutcomeUnknown { detail } => Self::OutcomeUnknown {
                detail: told(detail),
            },
            other => other,
        }
    }

    /// The node that is away, or was lost, where it is known.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        let (Self::Unavailable { detail } | Self::OutcomeUnknown { detail }) = self else {
            return None;
        };
        let (node, _) = detail.strip_prefix(ON_NODE)?.split_once(": ")?;
        Some(node)
    }
}

/// Why one create was not done.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The tenant has an invoice with this `external_id` in the same year.
    #[error("external_id is taken by invoice {existing}")]
    DuplicateExternalId {
        /// Its id.
        existing: Uuid,
    },
    /// The tenant has an invoice with this `number` in the same year.
    #[error("number is taken by invoice {existing}")]
    DuplicateNumber {
        /// Its id.
        existing: Uuid,
    },
    /// The client's id exists.
    #[error("the id exists")]
    DuplicateId,
    /// The tenant has no customer with this `customer_id`.
    #[error("no such customer")]
    CustomerNotFound,
    /// The customer is inactive, or was merged into one that is.
    #[error("the customer is not active")]
    CustomerInactive,
    /// The lane's queue is full.
    #[error("the write queue is full")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a failed statement means for the transaction around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Somebody else's row is in the way: look again.
    Unique,
    /// The year's partition does not exist (any more).
    MissingPartition,
    /// The shard was moved or split: its route is read again.
    Moved,
    /// A row's lock was not to be had in time, or that of a shard's numbers.
    Locked,
    /// A shard's lock was not to be had in time: somebody moves or splits it, or changes its
    /// tables.
    ShardLocked,
    /// Deadlock or serialization failure: run it again.
    Retry,
    /// The node went away; whether a commit took effect is unknown.
    Unavailable,
    /// The statement's time limit.
    Timeout,
    /// Not to be helped.
    Fatal,
}

/// Sorts an error by what can be done about it.
pub(crate) fn classify(error: &tokio_postgres::Error) -> Failure {
    let Some(state) = error.code() else {
        // No SQLSTATE: the connection, not the statement, has failed. Without a cause it was
        // closed, or the driver got another message than it waits for, as when the server breaks a
        // COPY off. Any other cause than the socket's is a value that does not fit its type.
        return match std::error::Error::source(error) {
            Some(cause) if !cause.is::<std::io::Error>() => Failure::Fatal,
            _ => Failure::Unavailable,
        };
    };
    match *state {
        SqlState::UNIQUE_VIOLATION => Failure::Unique,
        // Of all violations only that of a partition's bounds, and a row that no partition takes,
        // name no constraint.
        SqlState::CHECK_VIOLATION
            if error
                .as_db_error()
                .is_some_and(|e| e.constraint().is_none()) =>
        {
            Failure::MissingPartition
        }
        SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => Failure::Retry,
        // The writes have moved to another host, or will have in a moment: connections to this one
        // end (cluster/connect/hosts.rs).
        SqlState::READ_ONLY_SQL_TRANSACTION => Failure::Retry,
        SqlState::LOCK_NOT_AVAILABLE => Failure::Locked,
        // A partition that is dropped or made at this moment shows itself on Citus as a table or
        // shard that is not there, or as an internal error of its catalogs. Our statements never
        // change, so looking again is right.
        SqlState::UNDEFINED_TABLE => Failure::MissingPartition,
        SqlState::INTERNAL_ERROR => Failure::Retry,
        SqlState::QUERY_CANCELED => Failure::Timeout,
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS => Failure::Unavailable,
        // citus/hold_shards.sql
        ref other if other.code() == "SF001" => Failure::Moved,
        ref other if other.code().starts_with("08") => Failure::Unavailable,
        _ => Failure::Fatal,
    }
}

/// What the server said, for the log, with its SQLSTATE: the driver's own text is "db error" for
/// all of it.
pub(crate) fn said(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{}: {}", db.code().code(), db.message());
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Why a commit failed. A connection that is lost takes the answer along, not the commit: the
/// server may have done it.
pub(crate) fn commit_failed(error: tokio_postgres::Error) -> StoreError {
    match classify(&error) {
        Failure::Unavailable => StoreError::OutcomeUnknown {
            detail: said(&error),
        },
        _ => error.into(),
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match classify(&error) {
            Failure::Unavailable
            | Failure::Retry
            | Failure::Moved
            | Failure::Locked
            | Failure::ShardLocked
            | Failure::MissingPartition => Self::Unavailable {
                detail: said(&error),
            },
            Failure::Timeout => Self::Timeout,
            Failure::Unique | Failure::Fatal => Self::Database(Arc::new(error)),
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(e)
                if classify(&e) == Failure::Fatal && e.code().is_some() =>
            {
                Self::Database(Arc::new(e))
            }
            deadpool_postgres::PoolError::Backend(e) => Self::Unavailable { detail: said(&e) },
            other => Self::Unavailable {
                detail: other.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_node_that_it_was_met_on() {
        let at = |host: &str| (host.to_owned(), 5432);
        let away = |detail: &str| StoreError::Unavailable {
            detail: detail.to_owned(),
        };
        for (error, told) in [
            (away("refused"), "node db1:5432: refused"),
            (away("db1:5432: refused"), "node db1:5432: refused"),
            (away("node db2:5432: gone"), "node db2:5432: gone"),
        ] {
            let error = error.on(&at("db1"));
            assert_eq!(
                error.to_string(),
                format!("the database is unavailable: {told}")
            );
            assert_eq!(error.node(), told.strip_prefix("node ").map(|t| &t[..8]));
        }
        assert_eq!(away("the queue is full").node(), None);
        assert_eq!(StoreError::Timeout.on(&at("db1")).node(), None);
        assert_eq!(away("refused").on(&at("::1")).node(), Some("::1:5432"));
    }
}
