//! Everything that can go wrong at the API, in types, and the one match that turns it into a
//! problem.

mod export;
mod from;
#[cfg(feature = "sql")]
mod query;
mod tiers;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
#[cfg(feature = "sql")]
use sheaf_archive::QueryError;
use sheaf_archive::{ArchiveError, ExportError};
use sheaf_documents::{DocumentError, Format};
use sheaf_model::Code;
use sheaf_model::invoice::lifecycle::Refusal;
use sheaf_store::{CreateError, Full, StoreError};
use sheaf_web::problem::Cause;
use sheaf_web::{Error, Problem};

use tiers::{archive_problem, create_problem, refused};

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// What can go wrong in any request, and failures of the store.
    Web(Error),
    /// The create was refused.
    Create(CreateError),
    /// The invoice's state, or another document, forbids the step.
    Refused(Refusal),
    /// The hold is stored, and a deletion that began before it may still take effect for so many
    /// seconds.
    DeletionUnderWay(u32),
    /// The document cannot be made.
    Document(DocumentError),
    /// The tenant, or all tenants together, have as much of this as they may.
    Crowded(Crowded, Full),
    /// The disk has no room for an upload. The text is for the log.
    DiskFull(String),
    /// The cold tier failed.
    Archive(ArchiveError),
    /// A query over the archive has no answer.
    #[cfg(feature = "sql")]
    Query(QueryError),
    /// The program was built without what the route needs.
    #[cfg(not(feature = "sql"))]
    NotBuilt(&'static str),
    /// There is no export.
    Export(ExportError),
    /// A bulk upload ended early.
    BulkStopped {
        /// Why.
        cause: Box<ApiError>,
        /// What had landed, as members of the problem.
        members: Map<String, Value>,
    },
    /// An atomic bulk upload had lines that cannot be stored; nothing was. The lines, as members of
    /// the problem.
    BulkRejected(Map<String, Value>),
    /// The database cannot be reached; why not, where it said so in time.
    NotReady(Option<StoreError>),
    /// Nothing is taken from this queue, though work waits in it.
    QueueStalled(&'static str),
}

/// What there is too much of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crowded {
    Uploads,
    /// What atomic uploads hold of the disk.
    Spool,
    Documents,
}

impl ApiError {
    /// The problem that the client reads. Details of the store and the archive go to the log, never
    /// to the client.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::Web(error) => error.into_problem(),
            Self::Create(error) => create_problem(error),
            Self::Refused(refusal) => refused(refusal),
            Self::Document(DocumentError::Unsuitable(invalid)) => Problem::invalid(invalid),
            Self::Document(DocumentError::Failed(detail)) => {
                let cause = Cause::error("a document could not be made", detail);
                Problem::internal().with_cause(cause)
            }
            Self::Document(DocumentError::NotBuilt(format)) => not_built(match format {
                Format::Pdf => "PDF",
                Format::Ubl => "UBL",
            }),
            Self::Crowded(what, full) => crowded(what, full),
            Self::DiskFull(detail) => {
                let cause = Cause::error("no room for an upload", detail);
                crowded(Crowded::Spool, Full::All).with_cause(cause)
            }
            Self::DeletionUnderWay(seconds) => {
                let detail = "the hold is stored, but a deletion that began before it was not \
                              answered and may still take effect: ask again after Retry-After";
                Problem::new(Code::DeletionUnderWay, detail).with_retry_after(seconds)
            }
            Self::Archive(error) => archive_problem(&error),
            #[cfg(feature = "sql")]
            Self::Query(error) => query::problem(error),
            #[cfg(not(feature = "sql"))]
            Self::NotBuilt(what) => not_built(what),
            Self::Export(error) => export::problem(&error),
            Self::BulkStopped { cause, members } => {
                let mut problem = cause.into_problem();
                problem.extensions = members;
                problem
            }
            Self::BulkRejected(members) => {
                let detail = "nothing was stored: some lines cannot be";
                let mut problem = Problem::new(Code::BulkRejected, detail);
                problem.extensions = members;
                problem
            }
            Self::NotReady(why) => {
                let problem = Problem::again(Code::NotReady, "the database cannot be reached");
                match why {
                    Some(error) => {
                        let cause = Cause::warning("not ready", &error).on(error.node());
                        problem.with_cause(cause)
                    }
                    None => problem,
                }
            }
            Self::QueueStalled(queue) => Problem::again(
                Code::NotReady,
                format!("the queue of {queue} does not move"),
            ),
        }
    }
}

/// A cargo feature that this program lacks.
fn not_built(what: &str) -> Problem {
    let detail = format!("this server was built without {what}");
    Problem::new(Code::NotBuilt, detail)
}

/// Whoever takes too much is told so; others are asked to come again.
fn crowded(what: Crowded, full: Full) -> Problem {
    let (code, things) = match what {
        Crowded::Uploads => (Code::TooManyUploads, "uploads"),
        Crowded::Spool => (
            Code::UploadSpaceExceeded,
            "bytes in atomic uploads that are not stored yet",
        ),
        Crowded::Documents => (Code::TooManyDocuments, "documents being made"),
    };
    Problem::crowded(code, things, full)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Web(error) => error.into_response(),
            other => other.into_problem().into_response(),
        }
    }
}
