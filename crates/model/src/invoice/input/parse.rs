//! JSON documents into structs, and the code and path of what cannot be read.
//!
//! Reading is one pass of serde. What has the right JSON type but a wrong value (`"2026-02-30"`) is
//! kept as its mistake, so that validation names all mistakes at once. Only a document that serde
//! refuses is read again, slowly, to find out where.

use crate::Code;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::read::Object;
use super::syntax;
use crate::{FieldError, Invalid, plain_value};

/// Why bytes are no invoice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No JSON document in UTF-8. Code `invalid_json`.
    #[error("{0}")]
    Syntax(String),
    /// JSON, but not of the right form.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl ParseError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Syntax(_) => Code::InvalidJson,
            Self::Invalid(invalid) => invalid.code(),
        }
    }
}

/// Reads one JSON object.
pub(crate) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ParseError> {
    let text = syntax::text(bytes)?;
    match serde_json::from_str(text) {
        Ok(Object(input)) => Ok(input),
        Err(_) => Err(explain::<T>(text)),
    }
}

/// The slow second pass over a document that serde refused.
pub(super) fn explain<'de, T: Deserialize<'de>>(text: &'de str) -> ParseError {
    // serde stops at the first mistake; whether the rest is JSON decides between the two kinds of
    // error.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return syntax::error(text, &error);
    }
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Object<T>>(deserializer) {
        Ok(_) => ParseError::Syntax("not a JSON document".to_owned()),
        Err(error) => {
            let path = error.path().to_string();
            place(if path == "." { "" } else { &path }, &error.into_inner())
        }
    }
}

/// Gives serde's message its code. The prefixes are those of `serde::de::Error`.
pub(crate) fn place(path: &str, error: &serde_json::Error) -> ParseError {
    if !error.is_data() {
        return syntax::error("", error);
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    if let Some((code, detail)) = plain_value::coded(message) {
        return ParseError::Invalid(FieldError::new(path, code, detail).into());
    }
    let code = match message {
        _ if message.starts_with("unknown field") => Code::UnknownField,
        _ if message.starts_with("duplicate field") => Code::DuplicateField,
        _ if message.starts_with("missing field") => Code::MissingField,
        _ => Code::InvalidType,
    };
    // serde notices these two before, or after, it descends: the message names the field, the path
    // its parent.
    let path = match (code, message.split('`').nth(1), path) {
        (Code::DuplicateField | Code::MissingField, Some(name), "") => name.to_owned(),
        (Code::DuplicateField | Code::MissingField, Some(name), parent) => {
            format!("{parent}.{name}")
        }
        (_, _, path) => path.to_owned(),
    };
    ParseError::Invalid(FieldError::new(path, code, message).into())
}
