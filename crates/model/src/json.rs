//! Metadata in the normal form of PostgreSQL's `jsonb`, so that both tiers hold, and answer, the
//! same text.

pub mod strict;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Code;
use crate::{FieldError, bounds};

mod merge;

/// A JSON object in exactly the text that PostgreSQL 15 gives for `jsonb::text`: keys unique (the
/// last one wins), ordered by byte length and then bytewise; `", "` and `": "`; numbers as
/// `numeric` prints them; escapes only where JSON demands them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metadata(Box<str>);

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl Metadata {
    /// Normalises what a client sent.
    ///
    /// # Errors
    /// With an empty field: `invalid_json`, `invalid_type` (no object), `metadata_too_large`,
    /// `metadata_too_deep`, `string_has_nul`, `metadata_number_out_of_range`.
    pub fn parse(raw: &str) -> Result<Self, FieldError> {
        if raw.len() > bounds::MAX_METADATA_BYTES {
            return Err(too_large());
        }
        let raw: &RawValue = serde_json::from_str(raw).map_err(|error| invalid_json(&error))?;
        if !raw.get().starts_with('{') {
            return Err(FieldError::new("", Code::InvalidType, "must be an object"));
        }
        let mut out = String::with_capacity(raw.get().len() + 16);
        write_value(&mut out, raw.get(), 0)?;
        Ok(Self(out.into_boxed_str()))
    }

    /// Takes a text that is in normal form already: one that a tier stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the value of the top-level `key` is the string `value`, or the number, boolean or
    /// null that `value` is as JSON. Numbers are compared by value: `1.0` is `1`.
    #[must_use]
    pub fn matches(&self, key: &str, value: &str) -> bool {
        let Ok(Entries(entries)) = serde_json::from_str::<Entries<'_>>(&self.0) else {
            return false;
        };
        let Some((_, stored)) = entries.iter().rev().find(|(name, _)| name == key) else {
            return false;
        };
        let stored = stored.get();
        if stored.starts_with('"') {
            return serde_json::from_str::<Text<'_>>(stored).is_ok_and(|Text(text)| text == value);
        }
        scalar(value)
            .is_some_and(|value| without_trailing_zeros(&value) == without_trailing_zeros(stored))
    }

    /// An object of one `key` with the string `value`, and one with the number, boolean or null
    /// that `value` is as JSON: [`Metadata::matches`] is true for exactly those metadata that
    /// contain one of the two.
    #[must_use]
    pub fn wanted(key: &str, value: &str) -> (Self, Option<Self>) {
        let object = |value: &dyn Fn(&mut String)| {
            let mut out = String::with_capacity(key.len() + 64);
            out.push('{');
            quote(&mut out, key);
            out.push_str(": ");
            value(&mut out);
            out.push('}');
            Self(out.into_boxed_str())
        };
        let text = object(&|out| quote(out, value));
        let scalar = scalar(value).map(|scalar| object(&|out| out.push_str(&scalar)));
        (text, scalar)
    }
}

/// The number, boolean or null that `text` is as JSON, in normal form. None where it is something
/// else, or a number that metadata cannot hold: no metadata has it.
fn scalar(text: &str) -> Option<String> {
    if text.len() > bounds::MAX_METADATA_BYTES {
        return None;
    }
    let raw = serde_json::from_str::<&RawValue>(text).ok()?.get();
    if raw.starts_with(['"', '{', '[']) {
        return None;
    }
    let mut normal = String::new();
    write_value(&mut normal, raw, bounds::MAX_METADATA_DEPTH).ok()?;
    Some(normal)
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn too_large() -> FieldError {
    FieldError::new("", Code::MetadataTooLarge, "metadata holds at most 64 KiB")
}

fn invalid_json(error: &serde_json::Error) -> FieldError {
    FieldError::new("", Code::InvalidJson, error.to_string())
}

/// A number in normal form without the zeros behind its last decimal.
fn without_trailing_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// Appends the normal form of the JSON value `raw`, which stands inside of `depth` containers.
///
/// Each level reads its text anew; the depth and the size are bounded, so that the work is as well.
/// Nothing below a level that is too deep is looked at, and `serde_json` skips raw values without
/// recursion.
fn write_value(out: &mut String, raw: &str, depth: usize) -> Result<(), FieldError> {
    match raw.as_bytes().first() {
        Some(b'{' | b'[') if depth >= bounds::MAX_METADATA_DEPTH => {
            return Err(FieldError::new(
                "",
                Code::MetadataTooDeep,
                "metadata nests at most 32 levels",
            ));
        }
        Some(b'{') => write_object(out, raw, depth + 1)?,
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_str(raw).map_err(|error| invalid_json(&error))?;
            out.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(out, item.get(), depth + 1)?;
            }
            out.push(']');
        }
        Some(b'"') => {
            let Text(text) = serde_json::from_str(raw).map_err(|error| invalid_json(&error))?;
            write_string(out, &text)?;
        }
        Some(b'-' | b'0'..=b'9') => write_number(out, raw)?,
        // `true`, `false`, `null`: the tokenizer lets nothing else through.
        _ => out.push_str(raw),
    }
    if out.len() > bounds::MAX_METADATA_BYTES {
        Err(too_large())
    } else {
        Ok(())
    }
}

fn write_object(out: &mut String, raw: &str, depth: usize) -> Result<(), FieldError> {
    let Entries(mut entries) = serde_json::from_str(raw).map_err(|error| invalid_json(&error))?;
    // Stable: of equal keys the last one sent stays last.
    entries.sort_by(|(a, _), (b, _)| {
        a.len()
            .cmp(&b.len())
            .then_with(|| a.as_bytes().cmp(b.as_bytes()))
    });
    out.push('{');
    let mut first = true;
    for (index, (key, value)) in entries.iter().enumerate() {
        if entries.get(index + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        if !first {
            out.push_str(", ");
        }
        first = false;
        write_string(out, key)?;
        out.push_str(": ");
        write_value(out, value.get(), depth)?;
    }
    out.push('}');
    Ok(())
}

/// Escapes as PostgreSQL's `escape_json` does.
fn write_string(out: &mut String, text: &str) -> Result<(), FieldError> {
    if text.contains('\0') {
        let detail = "a text must not contain U+0000";
        return Err(FieldError::new("", Code::StringHasNul, detail));
    }
    quote(out, text);
    Ok(())
}

/// The string as JSON.
fn quote(out: &mut String, text: &str) {
    use fmt::Write as _;

    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                // Writing into a string does not fail.
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Writes a JSON number as PostgreSQL's `numeric` prints it: no exponent, and as many decimals as
/// were sent.
fn write_number(out: &mut String, raw: &str) -> Result<(), FieldError> {
    let out_of_range = || {
        FieldError::new(
            "",
            Code::MetadataNumberOutOfRange,
            "a number has at most 100 digits and an exponent to 100",
        )
    };
    let (negative, text) = raw
        .strip_prefix('-')
        .map_or((false, raw), |rest| (true, rest));
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, exponent.parse::<i32>().map_err(|_| out_of_range())?),
        None => (text, 0),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let length = whole.len() + fraction.len();
    if length > bounds::MAX_METADATA_DIGITS
        || exponent.unsigned_abs() > bounds::MAX_METADATA_EXPONENT
    {
        return Err(out_of_range());
    }

    let mut digits = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).unwrap_or(0) + exponent;
    let whole_length = usize::try_from(point).unwrap_or(0);
    if point < 0 {
        digits.insert_str(0, &"0".repeat(usize::try_from(-point).unwrap_or(0)));
    }
    while digits.len() < whole_length {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(whole_length);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    // Of the normal form as well: what we answer can be sent again.
    if whole.len() + fraction.len() > bounds::MAX_METADATA_DIGITS {
        return Err(out_of_range());
    }
    let is_zero = whole == "0" && fraction.bytes().all(|byte| byte == b'0');
    if negative && !is_zero {
        out.push('-');
    }
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    Ok(())
}

/// The entries of an object in the order of the text, duplicates included.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// A string, borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
