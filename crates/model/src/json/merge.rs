//! JSON merge patch (RFC 7396) of metadata.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Entries, Metadata, invalid_json, write_string};
use crate::FieldError;

impl Metadata {
    /// The metadata with `patch` merged in: members are set, those that are `null` in the patch are
    /// taken out, objects are merged member by member.
    ///
    /// # Errors
    /// Those of [`Metadata::parse`], when what comes out is too large.
    pub fn merge_patch(&self, patch: &Self) -> Result<Self, FieldError> {
        let mut out = String::with_capacity(self.0.len() + patch.0.len());
        merge(&mut out, &self.0, &patch.0)?;
        Self::parse(&out)
    }
}

/// Appends `target` with `patch` merged in. Both are in normal form, so that the recursion is
/// bounded by the depth that metadata may have.
fn merge(out: &mut String, target: &str, patch: &str) -> Result<(), FieldError> {
    if !patch.starts_with('{') {
        out.push_str(patch);
        return Ok(());
    }
    let mut members: BTreeMap<Cow<'_, str>, (Option<&str>, Option<&str>)> = BTreeMap::new();
    if target.starts_with('{') {
        let Entries(entries) = serde_json::from_str(target).map_err(|e| invalid_json(&e))?;
        members.extend(entries.into_iter().map(|(k, v)| (k, (Some(v.get()), None))));
    }
    let Entries(entries) = serde_json::from_str(patch).map_err(|e| invalid_json(&e))?;
    for (key, value) in entries {
        members.entry(key).or_default().1 = Some(value.get());
    }
    out.push('{');
    let start = out.len();
    for (key, (old, new)) in members {
        if new == Some("null") {
            continue;
        }
        if out.len() > start {
            out.push_str(", ");
        }
        write_string(out, &key)?;
        out.push_str(": ");
        match (old, new) {
            (old, Some(new)) => merge(out, old.unwrap_or("null"), new)?,
            (old, None) => out.push_str(old.unwrap_or("null")),
        }
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn merged(target: &str, patch: &str) -> String {
        let of = |text| Metadata::parse(text).unwrap();
        of(target).merge_patch(&of(patch)).unwrap().to_string()
    }

    /// The examples of RFC 7396, appendix A, whose documents are objects.
    #[test]
    fn the_examples_of_the_standard() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a": "c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a": "b", "b": "c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b": "c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a": "c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a": ["b"]}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a": {"b": "d"}}"#,
            ),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a": [1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a": 1, "e": null}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a": {"bb": {}}}"#),
        ] {
            assert_eq!(merged(target, patch), result, "{target} + {patch}");
        }
    }

    #[test]
    fn numbers_and_escapes_stay_exact() {
        let exact = r#"{"n": 123456789012345678901234567890.10, "q\"": "a\\b"}"#;
        assert_eq!(merged(exact, "{}"), exact);
    }

    #[test]
    fn what_comes_out_is_bounded() {
        let half = |key: &str| format!("{{\"{key}\": \"{}\"}}", "x".repeat(40_000));
        let of = |text: &str| Metadata::parse(text).unwrap();
        let error = of(&half("a")).merge_patch(&of(&half("b"))).unwrap_err();
        assert_eq!(error.code, "metadata_too_large");
    }
}
