//! RFC 9457 problem details: the one shape of every error answer.

use axum::http::header::{self, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sheaf_model::{Code, FieldError, Invalid};
use sheaf_store::Full;

/// The media type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a client may try again when something was busy or away.
pub const RETRY_AFTER: u32 = 1;

/// An error answer before it knows its request. The observing middleware adds the request id and
/// renders it ([`Problem::render`]), so that no handler has to carry the id along.
#[derive(Clone, Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable, snake case.
    pub code: Code,
    /// One sentence for people; may change.
    pub detail: String,
    /// The fields at fault, if any.
    pub errors: Vec<FieldError>,
    /// Seconds after which a retry makes sense.
    pub retry_after: Option<u32>,
    /// Members beyond the standard ones, the summary of a bulk upload for example.
    pub extensions: serde_json::Map<String, serde_json::Value>,
    /// For the log.
    pub cause: Option<Cause>,
}

/// Why something failed: told in the log, with the request's id, and never to the client.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Whether it is ours to mend. Else it is known to happen, as when a node is away.
    serious: bool,
    what: &'static str,
    detail: String,
    /// The node of the database that it is about, where that is known.
    node: Option<String>,
}

/// The request that a cause is told of.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) traceparent: &'a str,
    pub(crate) code: Code,
    pub(crate) tenant: Option<String>,
    /// The node that holds the tenant's shards: where something of the database failed, most likely
    /// that one.
    pub(crate) owner: Option<String>,
}

impl Cause {
    /// Something is wrong on our side.
    #[must_use]
    pub fn error(what: &'static str, detail: impl ToString) -> Self {
        Self {
            serious: true,
            what,
            detail: detail.to_string(),
            node: None,
        }
    }

    /// Something that we need is away.
    #[must_use]
    pub fn warning(what: &'static str, detail: impl ToString) -> Self {
        Self {
            serious: false,
            ..Self::error(what, detail)
        }
    }

    /// About a node of the database.
    #[must_use]
    pub fn on(mut self, node: Option<&str>) -> Self {
        self.node = node.map(str::to_owned);
        self
    }

    /// Tells it.
    pub(crate) fn log(&self, told: &Told<'_>) {
        let (detail, node) = (self.detail.as_str(), self.node.as_deref());
        let (tenant, owner) = (told.tenant.as_deref(), told.owner.as_deref());
        let (request_id, traceparent, code) =
            (told.request_id, told.traceparent, told.code.as_str());
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    detail,
                    node,
                    owner,
                    tenant,
                    code,
                    request_id,
                    traceparent,
                    "{}",
                    self.what
                )
            };
        }
        if self.serious {
            tell!(error);
        } else {
            tell!(warn);
        }
    }
}

#[derive(Serialize)]
struct Rendered<'a> {
    r#type: String,
    title: String,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    request_id: &'a str,
    #[serde(flatten)]
    extensions: &'a serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem without fields or extensions.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            extensions: serde_json::Map::new(),
            cause: None,
        }
    }

    /// With what the log is told.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Something that is not the client's affair; what it is stands in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::InternalError, "something went wrong on our side")
    }

    /// Something that may be there again a moment later.
    #[must_use]
    pub fn again(code: Code, detail: impl Into<String>) -> Self {
        Self::new(code, detail).with_retry_after(RETRY_AFTER)
    }

    /// Too many `things` at once. The tenant that has all it may have is told so by `code`; others
    /// are asked to come again.
    #[must_use]
    pub fn crowded(code: Code, things: &str, full: Full) -> Self {
        match full {
            Full::Tenant => {
                let detail = format!("the tenant has as many {things} as it may have at a time");
                Self::new(code, detail).with_retry_after(RETRY_AFTER)
            }
            Full::All => {
                let detail = format!("there are as many {things} as may be at a time");
                Self::again(Code::Busy, detail)
            }
        }
    }

    /// A problem of one field: its code, and the status of that.
    #[must_use]
    pub fn of_field(error: FieldError) -> Self {
        Self::of_fields(error.into())
    }

    /// A document that is refused: the code of the first field at fault, and 422 whichever it is.
    #[must_use]
    pub fn invalid(invalid: Invalid) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::of_fields(invalid)
        }
    }

    fn of_fields(invalid: Invalid) -> Self {
        let code = invalid.code();
        let errors = invalid.into_errors();
        let detail = match errors.as_slice() {
            [only] if only.field.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.field, only.detail),
            more => format!("{} fields are not valid", more.len()),
        };
        Self::new(code, detail).with_errors(errors)
    }

    /// With the fields at fault.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// With `Retry-After`, in seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The body, for the request with this id.
    #[must_use]
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        let rendered = Rendered {
            r#type: format!("urn:sheaf:problem:{}", self.code),
            title: title(self.code.as_str()),
            status: self.status.as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            errors: &self.errors,
            request_id,
            extensions: &self.extensions,
        };
        // Strings and numbers only: this cannot fail, and an error answer must not fail either.
        serde_json::to_vec(&rendered).unwrap_or_default()
    }
}

/// `invalid_cursor` -> `Invalid cursor`.
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
