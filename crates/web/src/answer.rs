//! Answers: JSON, pages of lists, and the header that names the tier.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// Where the answer's documents are: `hot`, `cold` or `hot, cold`.
pub const SHEAF_TIER: HeaderName = HeaderName::from_static("sheaf-tier");

/// A page of a list, as answered.
#[derive(Debug, Serialize)]
pub struct PageOut<T> {
    /// Its entries.
    pub data: Vec<T>,
    /// Whether another page follows.
    pub has_more: bool,
    /// What asks for that page.
    pub next_cursor: Option<String>,
}

/// A JSON answer of bytes that are JSON already.
pub fn json_bytes(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// JSON of our own documents: strings, numbers and lists of them, which always can be written.
#[must_use]
pub fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_bytes(status, to_bytes(value))
}
