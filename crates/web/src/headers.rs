//! Request headers that have one value. One that is sent twice says two things: whoever reads the
//! first, and the proxy in front that reads the last, would not agree whose request it is.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Error;

pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(crate) const X_TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");

/// Headers that no route takes twice, as we write them. Those that have a problem of their own
/// (`Idempotency-Key`, `Content-Encoding`), and ids, which we replace where they are of no use, are
/// read by [`single`] too.
static ONCE: [(HeaderName, &str); 5] = [
    (AUTHORIZATION, "Authorization"),
    (X_API_KEY, "X-Api-Key"),
    (X_TENANT_ID, "X-Tenant-Id"),
    (CONTENT_TYPE, "Content-Type"),
    (HOST, "Host"),
];

/// A header that was sent more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubled;

/// The value of a header that is sent once or not at all.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Doubled> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Doubled),
    }
}

/// Refuses a request that says twice what is said once. Asked before any route.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Error> {
    // The map knows both counts, and hardly a request goes on from here.
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    let doubled = ONCE.iter().find(|(name, _)| single(headers, name).is_err());
    match doubled {
        None => Ok(()),
        Some((_, name)) => Err(Error::InvalidHeader {
            name,
            detail: "is given more than once",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_once_is_refused_twice_and_lists_are_not() {
        for (name, doubled) in [
            ("authorization", true),
            ("x-tenant-id", true),
            ("content-type", true),
            ("if-match", false),
            ("accept", false),
            ("x-forwarded-for", false),
        ] {
            let mut headers = HeaderMap::new();
            let name = HeaderName::from_static(name);
            headers.append(&name, HeaderValue::from_static("a"));
            assert!(check(&headers).is_ok());
            assert_eq!(single(&headers, &name).map(|v| v.is_some()), Ok(true));
            // The same value again is no better.
            headers.append(&name, HeaderValue::from_static("a"));
            assert_eq!(check(&headers).is_err(), doubled, "{name}");
            assert_eq!(single(&headers, &name), Err(Doubled));
        }
        assert_eq!(single(&HeaderMap::new(), &X_API_KEY), Ok(None));
    }
}
