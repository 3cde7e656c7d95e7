//! Bodies that could not be read.

use sheaf_model::Code;

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
    match error {
        BodyError::TooLarge(limit) => Problem::new(
            Code::BodyTooLarge,
            format!("the body may have {limit} bytes at most"),
        ),
        BodyError::Missing => Problem::new(Code::MissingBody, "the request needs a body"),
        BodyError::MediaType(expected) => {
            let detail = format!("Content-Type must be {expected}");
            Problem::new(Code::UnsupportedMediaType, detail)
        }
        BodyError::Encoding => {
            let detail = "Content-Encoding must be gzip or absent";
            Problem::new(Code::UnsupportedEncoding, detail)
        }
        BodyError::TimedOut => Problem::new(Code::RequestTimeout, "the body came too slowly"),
        BodyError::Incomplete => Problem::new(Code::IncompleteBody, "the body broke off"),
        BodyError::TruncatedGzip => Problem::new(Code::TruncatedGzip, "the gzip stream ends early"),
        BodyError::Inflated(times) => Problem::new(
            Code::CompressionRatioExceeded,
            format!(
                "the gzip stream comes to more than {times} times its size; send it in parts, or \
                 as it is"
            ),
        ),
        BodyError::InvalidGzip => Problem::new(Code::InvalidGzip, "the body is not a gzip stream"),
    }
}
