//! What can go wrong in any request, in types, and the one match that turns it into a problem:
//! credentials, paths, queries, bodies, cursors, preconditions, and failures of the store.

mod body;
mod denied;
mod store;

use axum::response::{IntoResponse, Response};
use sheaf_model::invoice::input::ParseError;
use sheaf_model::{Code, FieldError, Invalid};
use sheaf_store::StoreError;

use crate::etag;
use crate::problem::{Cause, Problem};

pub use self::body::BodyError;

/// Why a request was not done.
#[derive(Debug)]
pub enum Error {
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
    /// `If-Match` or `If-None-Match` rules out the version that is there.
    VersionMismatch {
        /// The version that is.
        current: i64,
    },
    /// The same of something that always exists, and has no version.
    Unversioned,
    /// The store failed.
    Store(StoreError),
    /// The request took longer than the server allows.
    Timeout,
    /// A bug: a panic, a lost task, a temporary file that failed. The text is for the log.
    Internal(String),
}

/// What was not found.
#[derive(Clone, Copy, Debug)]
pub enum Noun {
    /// A tenant.
    Tenant,
    /// An API key.
    ApiKey,
    /// An invoice or credit note.
    Invoice,
    /// A customer.
    Customer,
    /// A number series.
    NumberSeries,
    /// The tenant's profile.
    Profile,
    /// The erasure of a customer's data.
    Erasure,
}

impl Error {
    /// The problem that the client reads. Details of the store go to the log, never to the client.
    #[must_use]
    pub fn into_problem(self) -> Problem {
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
            Self::JwksUnavailable => Problem::again(
                Code::JwksUnavailable,
                "the keys of the token's issuer could not be read yet",
            ),
            Self::RateLimited(seconds) => {
                let detail = "the tenant has sent too many requests; see Retry-After";
                Problem::new(Code::RateLimited, detail).with_retry_after(seconds)
            }
            Self::TooManyGuesses(seconds) => {
                let detail = "too many wrong credentials came from this address; see Retry-After";
                Problem::new(Code::TooManyWrongCredentials, detail).with_retry_after(seconds)
            }
            Self::RouteNotFound => Problem::new(Code::RouteNotFound, "there is no such path"),
            Self::MethodNotAllowed => Problem::new(
                Code::MethodNotAllowed,
                "the path does not have this method; see Allow",
            ),
            Self::NotFound(noun) => not_found(noun),
            Self::UnknownParameter(name) => {
                let error = FieldError::new(
                    name,
                    Code::UnknownParameter,
                    "is not a parameter of this route",
                );
                Problem::of_field(error)
            }
            Self::InvalidParameter { field, detail } => {
                Problem::of_field(FieldError::new(field, Code::InvalidParameter, detail))
            }
            Self::InvalidHeader { name, detail } => {
                Problem::of_field(FieldError::new(name, Code::InvalidHeader, detail))
            }
            Self::LimitOutOfRange => {
                let error = FieldError::new(
                    "limit",
                    Code::LimitOutOfRange,
                    "must be a number from 1 to 100",
                );
                Problem::of_field(error)
            }
            Self::InvalidCursor => {
                let detail = "must be the next_cursor of the same list with the same filters";
                Problem::of_field(FieldError::new("cursor", Code::InvalidCursor, detail))
            }
            Self::Body(error) => body::problem(&error),
            Self::InvalidJson(detail) => Problem::new(Code::InvalidJson, detail),
            Self::Invalid(invalid) => Problem::invalid(invalid),
            Self::InvalidIdempotencyKey => {
                let detail = "Idempotency-Key must be 1 to 255 visible ASCII characters";
                Problem::new(Code::InvalidIdempotencyKey, detail)
            }
            Self::VersionMismatch { current } => Problem::new(
                Code::VersionMismatch,
                format!("If-Match or If-None-Match rules it out: the ETag is \"{current}\" now"),
            ),
            Self::Unversioned => Problem::new(
                Code::VersionMismatch,
                "If-Match or If-None-Match rules it out: it always exists, and has no ETag",
            ),
            Self::Store(error) => store::problem(error),
            Self::Timeout => Problem::new(
                Code::Timeout,
                "the request took too long; whether it took effect is unknown",
            ),
            Self::Internal(detail) => {
                Problem::internal().with_cause(Cause::error("internal error", detail))
            }
        }
    }
}

fn not_found(noun: Noun) -> Problem {
    let (code, detail) = match noun {
        Noun::Tenant => (Code::TenantNotFound, "there is no such tenant"),
        Noun::ApiKey => (Code::ApiKeyNotFound, "there is no such API key"),
        Noun::Invoice => (Code::InvoiceNotFound, "there is no such invoice"),
        Noun::NumberSeries => (
            Code::NumberSeriesNotFound,
            "the series are invoice and credit_note",
        ),
        Noun::Customer => (Code::CustomerNotFound, "there is no such customer"),
        Noun::Profile => (Code::ProfileNotFound, "no profile was set yet"),
        Noun::Erasure => (
            Code::ErasureNotFound,
            "no erasure of this customer was asked for",
        ),
    };
    Problem::new(code, detail)
}

impl IntoResponse for Error {
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

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Syntax(what) => {
                Self::InvalidJson(format!("the body is not a JSON document: {what}"))
            }
            ParseError::Invalid(invalid) => Self::Invalid(invalid),
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(error.to_string())
    }
}
