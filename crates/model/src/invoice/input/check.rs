//! Collecting mistakes: each check gives the value, or notes its mistake and gives `None`.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::read::Field;
use crate::Code;
use crate::visible_text::is_blank;
use crate::{FieldError, Invalid, bounds};

/// Where the fields being checked stand. Paths become text only when a mistake is noted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Root,
    Customer,
    Line(usize),
    Payment(usize),
}

impl At {
    pub(super) fn path(self, name: &str) -> String {
        match self {
            Self::Root => name.to_owned(),
            Self::Customer => format!("customer.{name}"),
            Self::Line(index) => format!("lines[{index}].{name}"),
            Self::Payment(index) => format!("payments[{index}].{name}"),
        }
    }
}

/// A rule of a number, and the code and detail of breaking it.
pub(super) type Rule = (fn(Decimal) -> bool, Code, &'static str);

/// What a number must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Absolute values are smaller than this.
    pub(super) below: Decimal,
    /// Decimals at most.
    pub(super) decimals: u32,
    /// Its sign, or a smaller range.
    pub(super) rule: Rule,
}

/// The mistakes found so far, and whether the document was stored before: it was taken once, and is
/// taken again.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<FieldError>, bool);

impl Mistakes {
    /// Of a document that comes back.
    pub(super) fn of_stored() -> Self {
        Self(Vec::new(), true)
    }

    pub(super) fn none(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match (Invalid::from_errors(self.0), value) {
            (Some(invalid), _) => Err(invalid),
            (None, Some(value)) => Ok(value),
            // A check gave no value without noting why: a mistake of ours, still no panic.
            (None, None) => {
                Err(FieldError::new("", Code::Invalid, "the document is not valid").into())
            }
        }
    }

    pub(super) fn note(&mut self, at: At, name: &str, code: Code, detail: &str) {
        if self.0.len() < bounds::MAX_FIELD_ERRORS {
            self.0.push(FieldError::new(at.path(name), code, detail));
        }
    }

    pub(crate) fn add(&mut self, error: FieldError) {
        if self.0.len() < bounds::MAX_FIELD_ERRORS {
            self.0.push(error);
        }
    }

    /// Members that only an exported document has, and whether they were sent.
    pub(super) fn refuse_stored(&mut self, at: At, members: &[(&str, bool)]) {
        for (name, _) in members.iter().filter(|(_, sent)| *sent) {
            let detail = "only an exported document, which has a version, has this field";
            self.note(at, name, Code::UnknownField, detail);
        }
    }

    pub(crate) fn missing(&mut self, at: At, name: &str) {
        self.note(at, name, Code::MissingField, "is required");
    }

    /// A value that may be absent.
    pub(crate) fn optional<T>(&mut self, at: At, name: &str, field: Option<Field<T>>) -> Option<T> {
        match field?.0 {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(error.at(at.path(name)));
                None
            }
        }
    }

    /// A value that must be there.
    pub(super) fn required<T>(&mut self, at: At, name: &str, field: Option<Field<T>>) -> Option<T> {
        if field.is_none() {
            self.missing(at, name);
        }
        self.optional(at, name, field)
    }

    /// A number within `bounds`, absent or not.
    pub(super) fn number(
        &mut self,
        at: At,
        name: &str,
        field: Option<Field<Decimal>>,
        bounds: Bounds,
    ) -> Option<Decimal> {
        let value = self.optional(at, name, field)?;
        if value >= bounds.below || value <= -bounds.below {
            self.note(at, name, Code::AmountOutOfRange, "the number is too large");
            return None;
        }
        // Read values have no trailing zeros.
        if value.scale() > bounds.decimals {
            self.note(
                at,
                name,
                Code::TooManyDecimals,
                &format!("at most {} decimals", bounds.decimals),
            );
            return None;
        }
        let (holds, code, detail) = bounds.rule;
        if !holds(value) {
            self.note(at, name, code, detail);
            return None;
        }
        Some(value)
    }

    /// A number that must be there.
    pub(super) fn required_number(
        &mut self,
        at: At,
        name: &str,
        field: Option<Field<Decimal>>,
        bounds: Bounds,
    ) -> Option<Decimal> {
        if field.is_none() {
            self.missing(at, name);
        }
        self.number(at, name, field, bounds)
    }

    /// A number that is zero when it is absent.
    pub(super) fn number_or_zero(
        &mut self,
        at: At,
        name: &str,
        field: Option<Field<Decimal>>,
        bounds: Bounds,
    ) -> Option<Decimal> {
        if field.is_none() {
            Some(Decimal::ZERO)
        } else {
            self.number(at, name, field, bounds)
        }
    }

    /// A date that may be absent. Its reader knows the range.
    pub(super) fn date(
        &mut self,
        at: At,
        name: &str,
        field: Option<Field<NaiveDate>>,
    ) -> Option<NaiveDate> {
        self.optional(at, name, field)
    }

    /// A text of at most `max` characters that may be absent, and empty.
    pub(crate) fn text(
        &mut self,
        at: At,
        name: &str,
        text: Option<String>,
        max: usize,
    ) -> Option<String> {
        let text = text?;
        match text_mistake(&text, max) {
            None => Some(text),
            Some((code, detail)) => {
                self.note(at, name, code, &detail);
                None
            }
        }
    }

    /// A text that may be absent, but not empty: something of it shows. What was stored before may
    /// be older than that rule.
    pub(crate) fn filled(
        &mut self,
        at: At,
        name: &str,
        text: Option<String>,
        max: usize,
    ) -> Option<String> {
        let text = self.text(at, name, text, max)?;
        if text.trim().is_empty() || (is_blank(&text) && !self.1) {
            self.note(at, name, Code::StringEmpty, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// A text that must be there and not be empty.
    pub(crate) fn required_text(
        &mut self,
        at: At,
        name: &str,
        text: Option<String>,
        max: usize,
    ) -> Option<String> {
        if text.is_none() {
            self.missing(at, name);
        }
        self.filled(at, name, text, max)
    }
}

/// Code and detail of what is wrong with a text.
pub(super) fn text_mistake(text: &str, max: usize) -> Option<(Code, String)> {
    if text.len() > max && text.chars().count() > max {
        return Some((Code::StringTooLong, format!("at most {max} characters")));
    }
    // PostgreSQL's text cannot hold it.
    text.as_bytes()
        .contains(&0)
        .then(|| (Code::StringHasNul, "must not contain U+0000".to_owned()))
}
