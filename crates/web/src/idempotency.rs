//! `Idempotency-Key`: reading it, and the fingerprint that binds it to one request.

use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use sheaf_store::Replay;

use crate::error::Error;
use crate::headers::single;

/// Marks an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY: usize = 255;

/// The client's key, if it sent one.
pub fn key_of(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let value = single(headers, &KEY).map_err(|_| Error::InvalidIdempotencyKey)?;
    let Some(value) = value else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let visible = bytes.iter().all(u8::is_ascii_graphic);
    if bytes.is_empty() || bytes.len() > MAX_KEY || !visible {
        return Err(Error::InvalidIdempotencyKey);
    }
    value
        .to_str()
        .map(|key| Some(key.to_owned()))
        .map_err(|_| Error::InvalidIdempotencyKey)
}

/// The start of a fingerprint: method, path and query. The (decompressed) body follows.
pub fn hasher(method: &Method, uri: &Uri) -> Sha256 {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    Sha256::new()
        .chain_update(method.as_str())
        .chain_update([0])
        .chain_update(target)
        .chain_update([0])
}

/// SHA-256 over method, path and query, and body.
pub fn fingerprint(method: &Method, uri: &Uri, body: &[u8]) -> [u8; 32] {
    hasher(method, uri).chain_update(body).finalize().into()
}

/// The first answer, once more.
pub fn replay(replay: Replay) -> Response {
    let status = StatusCode::from_u16(replay.status).unwrap_or(StatusCode::OK);
    let mut response = (status, replay.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(location) = replay
        .location
        .and_then(|location| HeaderValue::try_from(location).ok())
    {
        headers.insert(LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_1_to_255_visible_characters() {
        let with = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(KEY, HeaderValue::from_bytes(value).unwrap());
            key_of(&headers)
        };
        assert_eq!(with(b"order-17").unwrap().as_deref(), Some("order-17"));
        assert!(with(&[b'k'; 255]).is_ok());
        for bad in [&b""[..], b"a b", &[b'k'; 256], "schlüssel".as_bytes()] {
            assert!(
                matches!(with(bad), Err(Error::InvalidIdempotencyKey)),
                "{bad:?}"
            );
        }
        assert!(key_of(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn a_fingerprint_covers_method_target_and_body() {
        let of =
            |method, uri: &'static str, body| fingerprint(&method, &Uri::from_static(uri), body);
        let base = of(Method::POST, "/v1/invoices", b"{}");
        assert_ne!(base, of(Method::PUT, "/v1/invoices", b"{}"));
        assert_ne!(base, of(Method::POST, "/v1/invoices?x=1", b"{}"));
        assert_ne!(base, of(Method::POST, "/v1/invoices", b"{ }"));
    }
}
