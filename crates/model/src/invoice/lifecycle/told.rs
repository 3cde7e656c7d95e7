//! Old and new values of an event that may be long: whole where they are short, else by what tells
//! one from another. A history is kept for ever and is read, archived and restored as a whole, so
//! that each event of it is bounded; and nobody may say of an event that it tells a part as if it
//! were all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::Metadata;

/// Bytes of an old or a new value that an event holds whole, and of the members of metadata that it
/// tells beside a digest.
const MAX_BYTES: usize = 8 * 1024;

/// A value that was hashed while it was written.
pub(super) struct Value {
    /// Its JSON, unless it is longer than an event holds.
    whole: Option<String>,
    bytes: usize,
    hash: Sha256,
}

impl Value {
    pub(super) fn new() -> Self {
        Self {
            whole: Some(String::new()),
            bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// Appends to its JSON.
    pub(super) fn push(&mut self, json: &str) {
        self.bytes += json.len();
        self.hash.update(json);
        if self.bytes > MAX_BYTES {
            self.whole = None;
        }
        if let Some(whole) = &mut self.whole {
            whole.push_str(json);
        }
    }

    /// `"bytes": ..., "sha256": "..."` of its JSON.
    fn digest(self) -> String {
        let hash = self.hash.finalize();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"bytes\": {}, \"sha256\": \"{hex}\"", self.bytes)
    }
}

/// Lists of so many items, which are whole both or neither.
pub(super) fn lists(old: (usize, Value), new: (usize, Value)) -> String {
    if let (Some(old), Some(new)) = (&old.1.whole, &new.1.whole) {
        return format!("{{\"old\": {old}, \"new\": {new}}}");
    }
    let told =
        |(count, value): (usize, Value)| format!("{{\"count\": {count}, {}}}", value.digest());
    let (old, new) = (told(old), told(new));
    format!("{{\"old\": {old}, \"new\": {new}, \"whole\": false}}")
}

/// Metadata in its normal form. Of long ones, the members that differ are told as well, as far as
/// there is room.
pub(super) fn metadata(old: &str, new: &str) -> String {
    if old.len() <= MAX_BYTES && new.len() <= MAX_BYTES {
        return format!("{{\"old\": {old}, \"new\": {new}}}");
    }
    let told = |text: &str| {
        let mut value = Value::new();
        value.push(text);
        format!("{{{}}}", value.digest())
    };
    let (members, left_out) = members(old, new);
    let (old, new) = (told(old), told(new));
    format!(
        "{{\"old\": {old}, \"new\": {new}, \"whole\": false, \"members\": {{{members}}}, \
         \"members_left_out\": {left_out}}}"
    )
}

/// Metadata as an event tells one side of a change: whole, or by its digest where it is long.
#[must_use]
pub fn told_metadata(metadata: &Metadata) -> Cow<'_, str> {
    let text = metadata.as_str();
    if text.len() <= MAX_BYTES {
        return Cow::Borrowed(text);
    }
    let mut value = Value::new();
    value.push(text);
    Cow::Owned(format!("{{{}, \"whole\": false}}", value.digest()))
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The members that differ, each with its old and its new value where it has one, and how many
/// there was no room for.
fn members(old: &str, new: &str) -> (String, usize) {
    let read = |text| serde_json::from_str::<Members<'_>>(text).unwrap_or_default();
    let (old, new) = (read(old), read(new));
    let names = old
        .keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)));
    let (mut told, mut left_out) = (String::new(), 0);
    for name in names {
        let (was, is) = (
            old.get(name).map(|v| v.get()),
            new.get(name).map(|v| v.get()),
        );
        if was == is {
            continue;
        }
        let member = |side: &str, value: Option<&str>| value.map(|v| format!("\"{side}\": {v}"));
        let sides: Vec<String> = [member("old", was), member("new", is)]
            .into_iter()
            .flatten()
            .collect();
        // A string as JSON cannot fail.
        let name = serde_json::to_string(name).unwrap_or_default();
        let separator = if told.is_empty() { "" } else { ", " };
        let member = format!("{separator}{name}: {{{}}}", sides.join(", "));
        if told.len() + member.len() > MAX_BYTES {
            left_out += 1;
        } else {
            told.push_str(&member);
        }
    }
    (told, left_out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    fn long(members: &str) -> String {
        format!(
            "{{\"a\": 1.50, \"long\": \"{}\", {members}}}",
            "x".repeat(60_000)
        )
    }

    #[test]
    fn short_metadata_is_whole_and_exact() {
        let told = metadata(r#"{"n": 123456789012345678901}"#, r#"{"n": 1.10}"#);
        assert_eq!(
            told,
            r#"{"old": {"n": 123456789012345678901}, "new": {"n": 1.10}}"#
        );
    }

    #[test]
    fn long_metadata_is_told_by_its_digest_and_by_what_differs() {
        let (old, new) = (long(r#""k": 123456789012345678901"#), long(r#""q\"": [1]"#));
        let text = metadata(&old, &new);
        let told = read(&text);
        assert!(
            text.contains(r#""k": {"old": 123456789012345678901}"#),
            "{text}"
        );
        assert_eq!(told["members"]["q\""], json!({"new": [1]}));
        assert_eq!(told["members"].as_object().unwrap().len(), 2);
        assert_eq!(
            (&told["members_left_out"], &told["whole"]),
            (&json!(0), &json!(false))
        );
        assert_eq!(told["old"]["bytes"], old.len());
        let sha256 = Sha256::digest(&old);
        let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(told["old"]["sha256"], hex);
        assert_ne!(told["new"]["sha256"], hex);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let other = long("\"b\": 2").replace('x', "y");
        let told = read(&metadata(&long("\"b\": 1"), &other));
        assert_eq!(told["members"], json!({"b": {"old": 1, "new": 2}}));
        assert_eq!(told["members_left_out"], 1);
        let many: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\": {n}")).collect();
        let text = metadata("{}", &format!("{{{}}}", many.join(", ")));
        assert!(text.len() < 2 * MAX_BYTES, "{}", text.len());
        let told = read(&text);
        let members = told["members"].as_object().unwrap().len();
        assert_eq!(
            members as u64 + told["members_left_out"].as_u64().unwrap(),
            5_000
        );
    }

    #[test]
    fn one_side_is_whole_or_a_digest() {
        let short = Metadata::parse(r#"{"a": 1.50}"#).unwrap();
        assert_eq!(told_metadata(&short), r#"{"a": 1.50}"#);
        let long = Metadata::parse(&long("\"b\": 1")).unwrap();
        let told = read(&told_metadata(&long));
        assert_eq!(
            (&told["whole"], &told["bytes"]),
            (&json!(false), &json!(long.as_str().len()))
        );
    }

    #[test]
    fn lists_are_whole_both_or_neither() {
        let list = |items: usize| {
            let mut value = Value::new();
            value.push("[");
            for n in 0..items {
                value.push(if n == 0 { "\"item\"" } else { ",\"item\"" });
            }
            value.push("]");
            (items, value)
        };
        let told = read(&lists(list(1), list(2)));
        assert_eq!(told, json!({"old": ["item"], "new": ["item", "item"]}));
        let told = read(&lists(list(1), list(5_000)));
        assert_eq!(
            (&told["old"]["count"], &told["new"]["count"]),
            (&json!(1), &json!(5_000))
        );
        assert_eq!(told["new"]["bytes"], 5_000 * 7 + 1);
        assert_eq!(told["whole"], false);
        assert_eq!(told["old"]["sha256"].as_str().unwrap().len(), 64);
    }
}
