//! The errors of queries, and how DataFusion's are told apart.

use datafusion::error::DataFusionError;

use crate::ArchiveError;
use crate::query::bound::watch::Stop;
use sheaf_model::Code;

/// Why a query has no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No SQL, or SQL over tables, columns or functions that there are not.
    #[error("{0}")]
    Invalid(String),
    /// SQL, but no single query.
    #[error("{0}")]
    NotReadOnly(String),
    /// SQL that stands for more than may be planned.
    #[error("the query is too complex: {0}")]
    Complex(String),
    /// The query met a value that it cannot compute with: a division by zero, a sum out of range.
    #[error("{0}")]
    Failed(String),
    /// Joins, groups and sorts need more memory than a query may take.
    #[error(
        "the query needs more than {limit} bytes of memory; read fewer columns, rows or groups"
    )]
    Memory {
        /// The bound in bytes.
        limit: usize,
    },
    /// The answer has more rows than were asked for.
    #[error("the answer has more than {limit} rows; add a LIMIT, or ask for more rows")]
    TooManyRows {
        /// The bound.
        limit: usize,
    },
    /// The query reads more hot invoices than one query may.
    #[error(
        "the query reads more than {limit} hot invoices; name a year or month, or ask for the cold \
        tier alone"
    )]
    TooManyHotRows {
        /// The bound.
        limit: usize,
    },
    /// The query took too long.
    #[error("the query took longer than {seconds} seconds")]
    Timeout {
        /// The bound.
        seconds: u64,
    },
    /// The tenant runs as many queries as it may.
    #[error("the tenant runs {limit} queries already")]
    TooManyQueries {
        /// The bound.
        limit: usize,
    },
    /// All tenants together run as many queries as may be.
    #[error("too many queries are running")]
    Busy,
    /// The catalog, the hot tier or the object storage failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A bug, here or in the engine. The text is for the log.
    #[error("internal: {0}")]
    Internal(String),
}

impl QueryError {
    /// The stable code of the problem.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidSql,
            Self::NotReadOnly(_) => Code::NotReadOnly,
            Self::Complex(_) => Code::QueryTooComplex,
            Self::Failed(_) => Code::QueryFailed,
            Self::Memory { .. } => Code::QueryMemoryExceeded,
            Self::TooManyRows { .. } => Code::TooManyRows,
            Self::TooManyHotRows { .. } => Code::TooManyHotRows,
            Self::Timeout { .. } => Code::QueryTimeout,
            Self::TooManyQueries { .. } => Code::TooManyQueries,
            Self::Busy => Code::Busy,
            Self::Archive(ArchiveError::Storage(_) | ArchiveError::Store(_)) => {
                Code::ArchiveUnavailable
            }
            Self::Archive(_) | Self::Internal(_) => Code::InternalError,
        }
    }

    /// What the client may read: nothing of the store, the storage or bugs.
    #[must_use]
    pub fn public_detail(&self) -> String {
        match self {
            Self::Archive(ArchiveError::Storage(_) | ArchiveError::Store(_)) => {
                "the archive is unavailable".to_owned()
            }
            Self::Archive(_) | Self::Internal(_) => "something went wrong on our side".to_owned(),
            other => other.to_string(),
        }
    }

    /// A panic of the engine. Numbers that do not fit are one of its ways to die.
    pub(crate) fn of_panic(text: String) -> Self {
        let wraps = text.contains("attempt to ") && text.contains(" with overflow");
        if wraps || matches!(text.as_str(), "length overflow" | "offset overflow") {
            return Self::Failed("a number is out of range".to_owned());
        }
        Self::Internal(text)
    }

    /// An error of the engine. `memory` is the query's bound, in bytes.
    pub(crate) fn of_engine(error: &DataFusionError, memory: usize) -> Self {
        use DataFusionError as E;
        let text = || {
            let message = error.find_root().message().into_owned();
            // The engine's own words end where its backtraces and calls for bug reports begin.
            let end = message.find(DataFusionError::BACK_TRACE_SEP);
            message[..end.unwrap_or(message.len())].trim().to_owned()
        };
        match error.find_root() {
            E::External(inner) if inner.is::<Stop>() => match inner.downcast_ref::<Stop>() {
                Some(stop) => (*stop).into(),
                None => Self::Internal(error.to_string()),
            },
            E::ResourcesExhausted(_) => Self::Memory { limit: memory },
            // Its own sentence, without the name of its type.
            E::SQL(error, _) => Self::Invalid(error.to_string()),
            E::SchemaError(..) | E::Plan(_) | E::NotImplemented(_) | E::Configuration(_) => {
                Self::Invalid(text())
            }
            E::Collection(all) => all.first().map_or_else(
                || Self::Internal(error.to_string()),
                |first| Self::of_engine(first, memory),
            ),
            E::ArrowError(..) | E::Execution(_) => Self::Failed(text()),
            // What the engine holds to be a fault of its own is one that this SQL meets each time:
            // to ask again does not help.
            E::Internal(_) => {
                tracing::error!(%error, "the engine failed at a query");
                Self::Failed("the engine cannot run this query".to_owned())
            }
            E::ParquetError(inner) => match of_filter(&inner.to_string()) {
                Some(FilterFailed::Memory) => Self::Memory { limit: memory },
                Some(FilterFailed::Value(text)) => Self::Failed(text),
                None => Self::of_panic(error.to_string()),
            },
            _ => Self::of_panic(error.to_string()),
        }
    }
}

/// Why a condition could not be computed.
enum FilterFailed {
    Memory,
    Value(String),
}

/// A condition that is computed while a file is read fails as the file does, with no more than a
/// text of what it has met.
fn of_filter(text: &str) -> Option<FilterFailed> {
    let (_, error) = text.split_once("Error evaluating filter predicate: ")?;
    if error.contains("ResourcesExhausted(") {
        return Some(FilterFailed::Memory);
    }
    let met = error.split('"').nth(1).filter(|met| !met.is_empty());
    let met = met.unwrap_or("a condition cannot be computed");
    Some(FilterFailed::Value(met.to_owned()))
}

impl From<Stop> for QueryError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Late { seconds } => Self::Timeout { seconds },
            Stop::Complex(what) => Self::Complex(what.to_owned()),
            // The client has gone.
            Stop::Left => Self::Internal(stop.to_string()),
        }
    }
}
