//! Entity tags: the version, quoted; and the headers by which a client says which version it means
//! (RFC 9110, section 13.1).

use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sheaf_model::plain_value;
use sheaf_store::{Expected, Versions};

use crate::error::Error;

/// What `If-Match` and `If-None-Match` ask of the version that is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preconditions {
    /// None: whatever is there.
    pub expected: Option<Expected>,
}

/// An element of a list of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag<'a> {
    /// `*`.
    Any,
    Strong(&'a [u8]),
    Weak(&'a [u8]),
}

impl Preconditions {
    fn of(headers: &HeaderMap) -> Result<Self, Error> {
        // A change that was read weakly may have been of other bytes: `If-Match` compares strongly,
        // `If-None-Match` weakly.
        let has = versions(headers, &IF_MATCH, "If-Match", |tag| match tag {
            Tag::Strong(text) => Some(text),
            Tag::Any | Tag::Weak(_) => None,
        })?;
        let has_not = versions(headers, &IF_NONE_MATCH, "If-None-Match", |tag| match tag {
            Tag::Strong(text) | Tag::Weak(text) => Some(text),
            Tag::Any => None,
        })?;
        let said = has.is_some() || has_not.is_some();
        Ok(Self {
            expected: said.then_some(Expected { has, has_not }),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.headers)
    }
}

/// The versions that a header names; none where it was not sent. What is no tag at all is a
/// mistake: taken for one that matches nothing, it would be told as another's change.
fn versions<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
    text_of: impl Fn(Tag<'a>) -> Option<&'a [u8]>,
) -> Result<Option<Versions>, Error> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let listed = add_tags(value.as_bytes(), &mut tags);
        listed.ok_or(Error::InvalidHeader {
            name: shown,
            detail: "must be the ETag of an answer, in its quotes (\"3\"), a list of them, or *",
        })?;
    }
    let version = |tag: &Tag<'a>| {
        let text = std::str::from_utf8(text_of(*tag)?).ok()?;
        plain_value::count(text)
    };
    match tags.as_slice() {
        [] if !headers.contains_key(name) => Ok(None),
        [Tag::Any] => Ok(Some(Versions::Any)),
        [] => Err(Error::InvalidHeader {
            name: shown,
            detail: "is empty",
        }),
        tags if tags.contains(&Tag::Any) => Err(Error::InvalidHeader {
            name: shown,
            detail: "must be either * or a list of ETags",
        }),
        tags => Ok(Some(Versions::These(
            tags.iter().filter_map(version).collect(),
        ))),
    }
}

/// Reads `*` and `#entity-tag` (RFC 9110, sections 5.6.1 and 8.8.3). `None`: something else.
fn add_tags<'a>(mut rest: &'a [u8], tags: &mut Vec<Tag<'a>>) -> Option<()> {
    loop {
        // Empty elements of a list are none.
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (tag, after) = match rest {
            [] => return Some(()),
            [b'*', after @ ..] => (Tag::Any, after),
            [b'W', b'/', b'"', after @ ..] => {
                let (text, after) = opaque(after)?;
                (Tag::Weak(text), after)
            }
            [b'"', after @ ..] => {
                let (text, after) = opaque(after)?;
                (Tag::Strong(text), after)
            }
            _ => return None,
        };
        tags.push(tag);
        rest = after.trim_ascii_start();
        if !matches!(rest, [] | [b',', ..]) {
            return None;
        }
    }
}

/// What stands before the closing quotes, and what after.
fn opaque(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'"')?;
    let (text, after) = (&text[..end], &text[end + 1..]);
    let valid = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    text.iter().all(valid).then_some((text, after))
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(name: HeaderName, value: &'static str) -> Result<Expected, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        Preconditions::of(&headers).map(|read| read.expected.unwrap())
    }

    #[test]
    fn only_strong_tags_of_versions_match() {
        let has = |value| of(IF_MATCH, value).unwrap().has.unwrap();
        let these = |versions: &[i64]| Versions::These(versions.to_vec());
        assert_eq!(has("\"3\""), these(&[3]));
        assert_eq!(has("\"1\", \"3\""), these(&[1, 3]));
        assert_eq!(has(" ,\"1\",, \"3\" ,"), these(&[1, 3]));
        assert_eq!(has("*"), Versions::Any);
        for other in ["W/\"3\"", "\"+3\", \"03\"", "\"a,b\"", "\"\"", "\"1-2\""] {
            assert_eq!(has(other), these(&[]), "{other}");
        }
        assert_eq!(Preconditions::of(&HeaderMap::new()).unwrap().expected, None);
    }

    #[test]
    fn weak_tags_are_as_good_where_nothing_may_match() {
        let has_not = |value| of(IF_NONE_MATCH, value).unwrap().has_not.unwrap();
        assert_eq!(has_not("W/\"3\", \"4\""), Versions::These(vec![3, 4]));
        assert_eq!(has_not("*"), Versions::Any);
    }

    #[test]
    fn what_is_no_tag_is_told() {
        for bad in [
            "3",
            "",
            " ",
            ",",
            "\"3",
            "3\"",
            "\"1\" \"2\"",
            "\"1\", 2",
            "w/\"3\"",
            "W/3",
            "*, \"3\"",
            "**",
            "\"a b\"",
            "'3'",
            "etag",
        ] {
            for name in [IF_MATCH, IF_NONE_MATCH] {
                let refused = of(name, bad);
                let is_told = matches!(refused, Err(Error::InvalidHeader { .. }));
                assert!(is_told, "{bad:?}");
            }
        }
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
