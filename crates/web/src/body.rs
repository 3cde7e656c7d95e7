//! Bodies of single requests: media type, encoding, size and time bounds, and the idempotency key
//! that goes with them.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use sheaf_model::json::strict;
use sheaf_store::IdemKey;

use crate::error::{BodyError, Error};
use crate::headers::single;
use crate::idempotency;

/// Bounds of the bodies of single requests.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes after decompression.
    pub bytes: usize,
    /// Time for the whole of it.
    pub timeout: Duration,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// As gzip.
    Gzip,
}

/// A whole JSON body, decompressed, not yet parsed.
#[derive(Debug)]
pub struct JsonBody {
    /// The document.
    pub bytes: Bytes,
    /// The client's idempotency key with the fingerprint of this request.
    pub idem: Option<IdemKey>,
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct OptionalBody(pub JsonBody);

/// A JSON merge patch (RFC 7396), sent as such or as JSON.
#[derive(Debug)]
pub struct PatchBody(pub JsonBody);

/// What a route takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Json,
    JsonOrNothing,
    Patch,
}

impl<S> FromRequest<S> for JsonBody
where
    BodyLimits: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Self::read(request, BodyLimits::from_ref(state), Takes::Json).await
    }
}

impl<S> FromRequest<S> for OptionalBody
where
    BodyLimits: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let body =
            JsonBody::read(request, BodyLimits::from_ref(state), Takes::JsonOrNothing).await?;
        Ok(Self(body))
    }
}

impl<S> FromRequest<S> for PatchBody
where
    BodyLimits: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        JsonBody::read(request, BodyLimits::from_ref(state), Takes::Patch)
            .await
            .map(Self)
    }
}

impl JsonBody {
    async fn read(request: Request, limits: BodyLimits, takes: Takes) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        crate::query::none(&parts.uri)?;
        let key = idempotency::key_of(&parts.headers)?;
        let may_be_empty = takes == Takes::JsonOrNothing;
        let patch = takes == Takes::Patch
            && check_media_type(&parts.headers, "application/merge-patch+json").is_ok();
        let untyped = may_be_empty && !parts.headers.contains_key(CONTENT_TYPE);
        if !patch && !untyped {
            check_media_type(&parts.headers, "application/json")?;
        }
        let encoding = encoding_of(&parts.headers)?;
        let limit = limits.bytes;
        if content_length(&parts.headers).is_some_and(|length| length > limit as u64) {
            return Err(BodyError::TooLarge(limit as u64).into());
        }
        let read = tokio::time::timeout(limits.timeout, read_all(body, limit));
        let mut bytes = read.await.map_err(|_| BodyError::TimedOut)??;
        if encoding == Encoding::Gzip {
            bytes = gunzip(&bytes, limit)?;
        }
        if bytes.is_empty() && !may_be_empty {
            return Err(BodyError::Missing.into());
        }
        let idem = key.map(|key| {
            let fingerprint = idempotency::fingerprint(&parts.method, &parts.uri, &bytes);
            IdemKey { key, fingerprint }
        });
        Ok(Self { bytes, idem })
    }
}

impl JsonBody {
    /// Parses the small documents of the administration routes: objects, and objects alone.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(strict::from_json(&self.bytes)?)
    }
}

/// Refuses a `Content-Type` other than `expected` (parameters such as a charset are ignored).
pub fn check_media_type(headers: &HeaderMap, expected: &'static str) -> Result<(), BodyError> {
    let sent = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(BodyError::MediaType(expected))
    }
}

/// The compression that the client names.
pub fn encoding_of(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    // Twice would be two compressions, one inside the other.
    let value = single(headers, &CONTENT_ENCODING).map_err(|_| BodyError::Encoding)?;
    let Some(value) = value else {
        return Ok(Encoding::Identity);
    };
    let name = value.to_str().map_err(|_| BodyError::Encoding)?.trim();
    match name {
        name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
            Ok(Encoding::Gzip)
        }
        name if name.is_empty() || name.eq_ignore_ascii_case("identity") => Ok(Encoding::Identity),
        _ => Err(BodyError::Encoding),
    }
}

/// How many bytes the client says that it sends, as they are sent.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes. A small one comes in one frame, which is passed on
/// without a copy.
async fn read_all(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Incomplete)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(BodyError::TooLarge(limit as u64));
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&first);
            first = Bytes::new();
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// Decompresses at most `limit` bytes.
fn gunzip(bytes: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let mut decoded = Vec::with_capacity(bytes.len().saturating_mul(4).min(limit));
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(limit as u64 + 1);
    reader
        .read_to_end(&mut decoded)
        .map_err(|error| gzip_error(&error))?;
    if decoded.len() > limit {
        Err(BodyError::TooLarge(limit as u64))
    } else {
        Ok(decoded.into())
    }
}

/// An early end and garbage are different mistakes: the first is a broken upload.
pub fn gzip_error(error: &std::io::Error) -> BodyError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => BodyError::TruncatedGzip,
        _ => BodyError::InvalidGzip,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_decompressed_body_is_bounded_and_its_mistakes_are_told_apart() {
        let packed = gzip(&[b'x'; 1000]);
        assert_eq!(gunzip(&packed, 1000).unwrap().len(), 1000);
        assert_eq!(gunzip(&packed, 999), Err(BodyError::TooLarge(999)));
        assert_eq!(
            gunzip(&packed[..packed.len() - 9], 2000),
            Err(BodyError::TruncatedGzip)
        );
        assert_eq!(
            gunzip(b"certainly not gzip", 2000),
            Err(BodyError::InvalidGzip)
        );
    }
}
