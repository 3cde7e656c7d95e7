//! Bodies that could not be read.

use axum::http::StatusCode;

use crate::problem::Problem;

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
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

pub(super) fn problem(error: &BodyError) -> Problem {
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
