//! Entity tags: the version, quoted. `If-Match` is compared strongly, `If-None-Match` weakly (RFC
//! 9110, sections 13.1.1 and 13.1.2).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use sheaf_model::plain_value;

/// The versions that the client expects to change; none: whatever is there (`*`, or no header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(Option<Vec<i64>>);

impl IfMatch {
    fn of(headers: &HeaderMap) -> Self {
        let values: Vec<&HeaderValue> = headers.get_all(IF_MATCH).iter().collect();
        if values.is_empty() {
            return Self(None);
        }
        // What is no tag of ours matches nothing, which is what it says.
        let tags = values.iter().filter_map(|value| value.to_str().ok());
        let tags: Vec<&str> = tags.flat_map(|v| v.split(',')).map(str::trim).collect();
        if tags.contains(&"*") {
            return Self(None);
        }
        let version = |tag: &&str| plain_value::count(tag.strip_prefix('"')?.strip_suffix('"')?);
        Self(Some(tags.iter().filter_map(version).collect()))
    }

    /// As the store asks for it.
    pub fn versions(&self) -> Option<&[i64]> {
        self.0.as_deref()
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// `If-None-Match` (RFC 9110, section 13.1.2): any of a list, compared weakly, or `*`.
#[must_use]
pub fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The tag of a version.
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// Puts the tag of a version on an answer.
pub fn set(headers: &mut HeaderMap, version: i64) {
    headers.extend(
        HeaderValue::try_from(etag(version))
            .ok()
            .map(|tag| (ETAG, tag)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strong_tags_of_versions_match() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(value));
            IfMatch::of(&headers).0
        };
        assert_eq!(of("\"3\""), Some(vec![3]));
        assert_eq!(of("\"1\", \"3\""), Some(vec![1, 3]));
        assert_eq!(of("*"), None);
        assert_eq!(of("W/\"3\""), Some(vec![]));
        assert_eq!(of("3"), Some(vec![]));
        assert_eq!(of("\"+3\", \"03\""), Some(vec![]));
        assert_eq!(of(""), Some(vec![]));
        assert_eq!(IfMatch::of(&HeaderMap::new()).0, None);
    }

    #[test]
    fn etags_compare_weakly_and_in_lists() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            matches_etag(&headers, "\"3\"")
        };
        assert!(with("\"3\"") && with("W/\"3\"") && with("\"1\", \"3\"") && with("*"));
        assert!(!with("\"1\"") && !with("3"));
        assert!(!matches_etag(&HeaderMap::new(), "\"3\""));
    }
}
