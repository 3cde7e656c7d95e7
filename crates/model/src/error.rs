//! Field errors with stable codes: what a client reads when its input is refused.

use std::fmt;

use serde::Serialize;

use crate::Code;
use crate::bounds;

/// One mistake in one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: `currency`, `lines[0].quantity`; empty for the whole document.
    pub field: String,
    /// What, for machines: stable, snake case.
    pub code: Code,
    /// What, for people: one sentence that may change.
    pub detail: String,
}

impl FieldError {
    /// A mistake in `field`.
    pub fn new(field: impl Into<String>, code: Code, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            code,
            detail: detail.into(),
        }
    }

    /// The same mistake, placed in `field`: readers of single values do not know where their value
    /// stands.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{} ({})", self.detail, self.code)
        } else {
            write!(f, "{}: {} ({})", self.field, self.detail, self.code)
        }
    }
}

impl std::error::Error for FieldError {}

/// A refused document: at least one mistake, at most [`limits::MAX_FIELD_ERRORS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Invalid(Vec<FieldError>);

impl Invalid {
    /// `None` when there is no mistake; those beyond the bound are dropped.
    #[must_use]
    pub fn from_errors(mut errors: Vec<FieldError>) -> Option<Self> {
        errors.truncate(bounds::MAX_FIELD_ERRORS);
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The code of the first mistake: the code of the whole answer.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.first().map_or(Code::Invalid, |error| error.code)
    }

    /// The mistakes in the order in which they were found.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0
    }

    /// The mistakes, owned.
    #[must_use]
    pub fn into_errors(self) -> Vec<FieldError> {
        self.0
    }
}

impl From<FieldError> for Invalid {
    fn from(error: FieldError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
