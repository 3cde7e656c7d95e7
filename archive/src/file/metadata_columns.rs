//! Keys of `metadata` that a tenant declares: each is a column of its own in the files that are
//! written from then on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

/// What is put before a key to name its column.
const PREFIX: &str = "meta_";

/// A tenant's declared keys, in the order of their columns.
pub type MetadataKeys = Arc<[String]>;

/// The column of a key.
pub fn column(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// The member of a JSON object as text, as PostgreSQL's `->>` gives it: a string without its
/// quotes, anything else as it is written. None where there is no such member, it is null, or the
/// text is no object.
pub(crate) fn member<'a>(document: &'a str, key: &str) -> Option<Cow<'a, str>> {
    text(members(document)?.get(key)?)
}

/// The members `keys` of a JSON object, as [`member`] gives each.
pub(crate) fn select<'a>(
    document: &'a str,
    keys: &[String],
) -> impl Iterator<Item = Option<Cow<'a, str>>> {
    let members = (!keys.is_empty()).then(|| members(document)).flatten();
    keys.iter()
        .map(move |key| text(members.as_ref()?.get(key.as_str())?))
}

/// Raw values: no number is read and rounded.
fn members(document: &str) -> Option<HashMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(document).ok()
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    (text != "null").then_some(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_texts_as_postgresql_gives_them() {
        let document = r#"{"a": "x\"y", "n": 1.10, "o": {"b": [1]}, "z": null, "t": true}"#;
        let wanted = [
            ("a", Some("x\"y")),
            ("n", Some("1.10")),
            ("o", Some(r#"{"b": [1]}"#)),
            ("t", Some("true")),
            ("z", None),
            ("b", None),
        ];
        for (key, text) in wanted {
            assert_eq!(member(document, key).as_deref(), text, "{key}");
        }
        let keys = wanted.map(|(key, _)| key.to_owned());
        let selected: Vec<_> = select(document, &keys).collect();
        for ((key, text), selected) in wanted.iter().zip(selected) {
            assert_eq!(selected.as_deref(), *text, "{key}");
        }
        for other in ["[1]", "7", "null", "{", ""] {
            assert_eq!(member(other, "a"), None, "{other}");
        }
    }
}
