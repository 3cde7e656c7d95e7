//! Which request it is and what it belongs to: `X-Request-Id`, `X-Correlation-Id`,
//! `X-Causation-Id` and `traceparent`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use sheaf_store::{Origin, Trace};
use uuid::Uuid;

use crate::headers::single;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const X_CAUSATION_ID: HeaderName = HeaderName::from_static("x-causation-id");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID: usize = 128;

/// The request's id, the client's own or a new UUIDv7.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match usable(headers, X_REQUEST_ID) {
            Some(id) => Self(id.into()),
            None => {
                let mut buffer = Uuid::encode_buffer();
                Self(Arc::from(
                    &*Uuid::now_v7().hyphenated().encode_lower(&mut buffer),
                ))
            }
        }
    }
}

/// Which request this is and what it belongs to (`X-Correlation-Id`, `X-Causation-Id`): kept with
/// the events that it causes.
#[derive(Clone, Debug)]
pub struct Requested {
    request_id: Arc<str>,
    trace: Trace,
}

impl Requested {
    /// The origin of what `actor` changes by it.
    pub fn by(self, actor: Arc<str>) -> Origin {
        Origin {
            actor,
            request_id: self.request_id,
            trace: self.trace,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Requested {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let RequestId(request_id) = RequestId::from_request_parts(parts, state).await?;
        let of = |name| usable(&parts.headers, name).map(Arc::from);
        let trace = Trace {
            correlation_id: of(X_CORRELATION_ID),
            causation_id: of(X_CAUSATION_ID),
        };
        Ok(Self { request_id, trace })
    }
}

/// An id that a client sent, if it is one that we repeat. Of two nobody knows which one is meant.
fn usable(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let sent = single(headers, &name).ok().flatten();
    let sent = sent.and_then(|value| value.to_str().ok());
    sent.filter(|id| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// The trace that the request belongs to, with a span of our own (W3C Trace Context, version 00).
pub(crate) fn traceparent(headers: &HeaderMap) -> String {
    let span: u64 = rand::random::<u64>() | 1;
    match sent_trace(headers) {
        Some((trace, _, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{:032x}-{span:016x}-01", rand::random::<u128>() | 1),
    }
}

/// Trace, span and flags that the client sent.
pub(crate) fn sent_trace(headers: &HeaderMap) -> Option<(&str, &str, &str)> {
    let sent = single(headers, &TRACEPARENT).ok().flatten();
    let sent = sent.and_then(|value| value.to_str().ok());
    sent.and_then(trace_of)
}

/// Trace id, span id and flags of a valid `traceparent`.
fn trace_of(header: &str) -> Option<(&str, &str, &str)> {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let mut parts = header.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !zero(trace)
        && hex(span, 16)
        && !zero(span);
    (valid && hex(flags, 2)).then_some((trace, span, flags))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_trace_is_continued_and_a_broken_one_replaced() {
        let mut headers = HeaderMap::new();
        let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        headers.insert(TRACEPARENT, HeaderValue::from_static(sent));
        let made = traceparent(&headers);
        assert!(
            made.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && made.ends_with("-00"),
            "{made}"
        );
        assert_ne!(made, sent);
        headers.insert(
            TRACEPARENT,
            HeaderValue::from_static("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        );
        assert!(trace_of(&traceparent(&headers)).is_some());
        assert!(!traceparent(&headers).contains("-00000000000000000000000000000000-"));
        // Two are none (W3C Trace Context, section 3.2.1).
        headers.insert(TRACEPARENT, HeaderValue::from_static(sent));
        headers.append(TRACEPARENT, HeaderValue::from_static(sent));
        assert_eq!(sent_trace(&headers), None);
    }

    #[test]
    fn an_unusable_request_id_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("mine-1"));
        assert_eq!(&*RequestId::of(&headers).0, "mine-1");
        for bad in ["", "two words", &"x".repeat(129)] {
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(RequestId::of(&headers).0.len(), 36);
        }
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("mine-1"));
        headers.append(X_REQUEST_ID, HeaderValue::from_static("mine-2"));
        assert_eq!(RequestId::of(&headers).0.len(), 36);
    }
}
