//! Everything that can go wrong at the front door, in types, and the one match that turns it into a
//! problem.

mod denied;
mod export;
mod from;
#[cfg(feature = "sql")]
mod query;
mod tiers;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
#[cfg(feature = "sql")]
use sheaf_archive::QueryError;
use sheaf_archive::{ArchiveError, ExportError};
use sheaf_documents::{DocumentError, Format};
use sheaf_model::invoice::input::ParseError;
use sheaf_model::invoice::lifecycle::Refusal;
use sheaf_model::{FieldError, Invalid};
use sheaf_store::{ChangeError, CreateError, CustomerError, Full, StoreError};

use crate::etag;
use crate::problem::{Cause, Problem};
use crate::routes::invoice::upload::Summary;
#[cfg(feature = "sql")]
use tiers::restoring;
use tiers::{archive_problem, create_problem, refused, store_problem};

/// Seconds after which a client may try again when the store was busy or away.
const RETRY_AFTER: u32 = 1;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// No credential was sent.
    MissingCredential,
    /// The credential is no key of ours.
    InvalidCredential,
    /// The credential was revoked.
    RevokedCredential,
    /// The credential was good once.
    ExpiredCredential,
    /// The tenant that a token names does not exist.
    UnknownTenant,
    /// The issuer's keys could not be read yet.
    JwksUnavailable,
    /// The tenant has sent too many requests; seconds until the next is let in.
    RateLimited(u32),
    /// The client's address has sent too many wrong credentials; seconds until the next is looked
    /// at.
    TooManyGuesses(u32),
    /// `X-Tenant-Id`, or the document, names another tenant than the credential's.
    TenantMismatch,
    /// A tenant's key on a platform route.
    AdminRequired,
    /// The admin key on a tenant's route.
    TenantCredentialRequired,
    /// The credential's role may not do this.
    ForbiddenRole,
    /// No such path.
    RouteNotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// No such thing, or not the caller's.
    NotFound(Noun),
    /// A query parameter that the route does not have.
    UnknownParameter(String),
    /// A query parameter with a bad value.
    InvalidParameter {
        /// Its name.
        field: String,
        /// What is wrong.
        detail: String,
    },
    /// A header that says what it cannot.
    InvalidHeader {
        /// As we write it.
        name: &'static str,
        /// What is wrong.
        detail: &'static str,
    },
    /// `limit` is no number from 1 to 100.
    LimitOutOfRange,
    /// A cursor of another list, or no cursor at all.
    InvalidCursor,
    /// The body could not be read.
    Body(BodyError),
    /// The body is no JSON document.
    InvalidJson(String),
    /// The document breaks a rule.
    Invalid(Invalid),
    /// `Idempotency-Key` is malformed.
    InvalidIdempotencyKey,
    /// The create was refused.
    Create(CreateError),
    /// The invoice's state, or another document, forbids the step.
    Refused(Refusal),
    /// `If-Match` or `If-None-Match` rules out the version that is there.
    VersionMismatch {
        /// The version that is.
        current: i64,
    },
    /// The same of something that always exists, and has no version.
    Unversioned,
    /// The hold is stored, and a deletion that began before it may still take effect for so many
    /// seconds.
    DeletionUnderWay(u32),
    /// The document cannot be made.
    Document(DocumentError),
    /// The tenant, or all tenants together, have as much of this as they may.
    Crowded(Crowded, Full),
    /// The disk has no room for an upload. The text is for the log.
    DiskFull(String),
    /// The store failed.
    Store(StoreError),
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
        /// What had landed.
        summary: Box<Summary>,
    },
    /// An atomic bulk upload had lines that cannot be stored; nothing was.
    BulkRejected(Box<Summary>),
    /// The request took longer than the server allows.
    Timeout,
    /// The database cannot be reached; why not, where it said so in time.
    NotReady(Option<StoreError>),
    /// Nothing is taken from this queue, though work waits in it.
    QueueStalled(&'static str),
    /// A bug: a panic, a lost task, a temporary file that failed. The text is for the log.
    Internal(String),
}

/// What was not found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Noun {
    Tenant,
    ApiKey,
    Invoice,
    Customer,
    NumberSeries,
    Profile,
    Erasure,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crowded {
    Uploads,
    /// What atomic uploads hold of the disk.
    Spool,
    Documents,
    /// Of the store: pages, reports, records, snapshots, parts of uploads.
    Requests,
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// More than this many bytes, after decompression.
    TooLarge(u64),
    /// Nothing was sent.
    Missing,
    /// Not the media type that the route takes, which this is.
    MediaType(&'static str),
    /// A `Content-Encoding` other than gzip.
    Encoding,
    /// The client sent too slowly.
    TimedOut,
    /// The connection broke off in the middle.
    Incomplete,
    /// The gzip stream ends early.
    TruncatedGzip,
    /// Not a gzip stream.
    InvalidGzip,
    /// The gzip stream comes to more than so many times its size.
    Inflated(u64),
}

impl ApiError {
    /// The problem that the client reads. Details of the store and the archive go to the log, never
    /// to the client.
    pub(crate) fn into_problem(self) -> Problem {
        use StatusCode as S;
        match self {
            Self::MissingCredential
            | Self::InvalidCredential
            | Self::RevokedCredential
            | Self::ExpiredCredential
            | Self::UnknownTenant
            | Self::TenantMismatch
            | Self::AdminRequired
            | Self::TenantCredentialRequired
            | Self::ForbiddenRole => denied::problem(&self),
            Self::JwksUnavailable => unavailable(
                "jwks_unavailable",
                "the keys of the token's issuer could not be read yet",
            ),
            Self::RateLimited(seconds) => {
                let detail = "the tenant has sent too many requests; see Retry-After";
                Problem::new(S::TOO_MANY_REQUESTS, "rate_limited", detail).with_retry_after(seconds)
            }
            Self::TooManyGuesses(seconds) => {
                let detail = "too many wrong credentials came from this address; see Retry-After";
                Problem::new(S::TOO_MANY_REQUESTS, "too_many_wrong_credentials", detail)
                    .with_retry_after(seconds)
            }
            Self::RouteNotFound => {
                Problem::new(S::NOT_FOUND, "route_not_found", "there is no such path")
            }
            Self::MethodNotAllowed => Problem::new(
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the path does not have this method; see Allow",
            ),
            Self::NotFound(noun) => not_found(noun),
            Self::UnknownParameter(name) => {
                let error = FieldError::new(
                    name,
                    "unknown_parameter",
                    "is not a parameter of this route",
                );
                field_problem(S::BAD_REQUEST, error)
            }
            Self::InvalidParameter { field, detail } => field_problem(
                S::BAD_REQUEST,
                FieldError::new(field, "invalid_parameter", detail),
            ),
            Self::InvalidHeader { name, detail } => field_problem(
                S::BAD_REQUEST,
                FieldError::new(name, "invalid_header", detail),
            ),
            Self::LimitOutOfRange => {
                let error = FieldError::new(
                    "limit",
                    "limit_out_of_range",
                    "must be a number from 1 to 100",
                );
                field_problem(S::BAD_REQUEST, error)
            }
            Self::InvalidCursor => {
                let detail = "must be the next_cursor of the same list with the same filters";
                field_problem(
                    S::BAD_REQUEST,
                    FieldError::new("cursor", "invalid_cursor", detail),
                )
            }
            Self::Body(error) => body_problem(&error),
            Self::InvalidJson(detail) => Problem::new(S::BAD_REQUEST, "invalid_json", detail),
            Self::Invalid(invalid) => invalid_problem(S::UNPROCESSABLE_ENTITY, invalid),
            Self::InvalidIdempotencyKey => {
                let detail = "Idempotency-Key must be 1 to 255 visible ASCII characters";
                Problem::new(S::BAD_REQUEST, "invalid_idempotency_key", detail)
            }
            Self::Create(error) => create_problem(error),
            Self::Refused(refusal) => refused(refusal),
            Self::VersionMismatch { current } => Problem::new(
                S::PRECONDITION_FAILED,
                "version_mismatch",
                format!("If-Match or If-None-Match rules it out: the ETag is \"{current}\" now"),
            ),
            Self::Unversioned => Problem::new(
                S::PRECONDITION_FAILED,
                "version_mismatch",
                "If-Match or If-None-Match rules it out: it always exists, and has no ETag",
            ),
            Self::DeletionUnderWay(seconds) => {
                let detail = "the hold is stored, but a deletion that began before it was not \
                              answered and may still take effect: ask again after Retry-After";
                Problem::new(S::SERVICE_UNAVAILABLE, "deletion_under_way", detail)
                    .with_retry_after(seconds)
            }
            Self::Document(DocumentError::Unsuitable(invalid)) => {
                invalid_problem(S::UNPROCESSABLE_ENTITY, invalid)
            }
            Self::Document(DocumentError::Failed(detail)) => {
                internal().with_cause(Cause::error("a document could not be made", detail))
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
            Self::Store(error) => store_problem(error),
            Self::Archive(error) => archive_problem(&error),
            #[cfg(feature = "sql")]
            Self::Query(error) => query::problem(error),
            #[cfg(not(feature = "sql"))]
            Self::NotBuilt(what) => not_built(what),
            Self::Export(error) => export::problem(&error),
            Self::BulkStopped { cause, summary } => {
                let mut problem = cause.into_problem();
                problem.extensions = summary.members();
                problem
            }
            Self::BulkRejected(summary) => {
                let detail = "nothing was stored: some lines cannot be";
                let mut problem = Problem::new(S::UNPROCESSABLE_ENTITY, "bulk_rejected", detail);
                problem.extensions = summary.members();
                problem
            }
            Self::Timeout => Problem::new(
                S::GATEWAY_TIMEOUT,
                "timeout",
                "the request took too long; whether it took effect is unknown",
            ),
            Self::NotReady(why) => {
                let problem = unavailable("not_ready", "the database cannot be reached");
                match why {
                    Some(error) => {
                        let cause = Cause::warning("not ready", &error).on(error.node());
                        problem.with_cause(cause)
                    }
                    None => problem,
                }
            }
            Self::QueueStalled(queue) => {
                unavailable("not_ready", &format!("the queue of {queue} does not move"))
            }
            Self::Internal(detail) => internal().with_cause(Cause::error("internal error", detail)),
        }
    }
}

/// A cargo feature that this program lacks.
fn not_built(what: &str) -> Problem {
    let detail = format!("this server was built without {what}");
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not_built", detail)
}

/// Whoever takes too much is told so; others are asked to come again.
fn crowded(what: Crowded, full: Full) -> Problem {
    let (code, things) = match what {
        Crowded::Uploads => ("too_many_uploads", "uploads"),
        Crowded::Spool => (
            "upload_space_exceeded",
            "bytes in atomic uploads that are not stored yet",
        ),
        Crowded::Documents => ("too_many_documents", "documents being made"),
        Crowded::Requests => ("too_many_requests", "requests of this kind running"),
    };
    match full {
        Full::Tenant => {
            let detail = format!("the tenant has as many {things} as it may have at a time");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail).with_retry_after(RETRY_AFTER)
        }
        Full::All => {
            let detail = format!("there are as many {things} as may be at a time");
            unavailable("busy", &detail)
        }
    }
}

fn not_found(noun: Noun) -> Problem {
    let (code, detail) = match noun {
        Noun::Tenant => ("tenant_not_found", "there is no such tenant"),
        Noun::ApiKey => ("api_key_not_found", "there is no such API key"),
        Noun::Invoice => ("invoice_not_found", "there is no such invoice"),
        Noun::NumberSeries => (
            "number_series_not_found",
            "the series are invoice and credit_note",
        ),
        Noun::Customer => ("customer_not_found", "there is no such customer"),
        Noun::Profile => ("profile_not_found", "no profile was set yet"),
        Noun::Erasure => (
            "erasure_not_found",
            "no erasure of this customer was asked for",
        ),
    };
    Problem::new(StatusCode::NOT_FOUND, code, detail)
}

fn body_problem(error: &BodyError) -> Problem {
    use StatusCode as S;
    match error {
        BodyError::TooLarge(limit) => Problem::new(
            S::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body may have {limit} bytes at most"),
        ),
        BodyError::Missing => {
            Problem::new(S::BAD_REQUEST, "missing_body", "the request needs a body")
        }
        BodyError::MediaType(expected) => {
            let detail = format!("Content-Type must be {expected}");
            Problem::new(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
        }
        BodyError::Encoding => {
            let detail = "Content-Encoding must be gzip or absent";
            Problem::new(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
        }
        BodyError::TimedOut => Problem::new(
            S::REQUEST_TIMEOUT,
            "request_timeout",
            "the body came too slowly",
        ),
        BodyError::Incomplete => {
            Problem::new(S::BAD_REQUEST, "incomplete_body", "the body broke off")
        }
        BodyError::TruncatedGzip => Problem::new(
            S::BAD_REQUEST,
            "truncated_gzip",
            "the gzip stream ends early",
        ),
        BodyError::Inflated(times) => Problem::new(
            S::PAYLOAD_TOO_LARGE,
            "compression_ratio_exceeded",
            format!(
                "the gzip stream comes to more than {times} times its size; send it in parts, or as it is"
            ),
        ),
        BodyError::InvalidGzip => Problem::new(
            S::BAD_REQUEST,
            "invalid_gzip",
            "the body is not a gzip stream",
        ),
    }
}

fn internal() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "something went wrong on our side",
    )
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_retry_after(RETRY_AFTER)
}

/// A problem of one field takes its code from the field.
fn field_problem(status: StatusCode, error: FieldError) -> Problem {
    invalid_problem(status, error.into())
}

fn invalid_problem(status: StatusCode, invalid: Invalid) -> Problem {
    let code = invalid.code();
    let errors = invalid.into_errors();
    let detail = match errors.as_slice() {
        [only] if only.field.is_empty() => only.detail.clone(),
        [only] => format!("{}: {}", only.field, only.detail),
        more => format!("{} fields are not valid", more.len()),
    };
    Problem::new(status, code, detail).with_errors(errors)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let current = match &self {
            Self::VersionMismatch { current } => Some(*current),
            _ => None,
        };
        let mut response = self.into_problem().into_response();
        if let Some(version) = current {
            etag::set(response.headers_mut(), version);
        }
        response
    }
}
