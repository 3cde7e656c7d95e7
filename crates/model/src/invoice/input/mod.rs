//! An invoice as a client sends it: reading, and validation into an [`Invoice`](crate::Invoice).
//!
//! Reading is one pass of serde. What has the right JSON type but a wrong value (`"2026-02-30"`) is
//! kept as its mistake, so that validation names all mistakes at once. Only a document that serde
//! refuses is read again, slowly, to find out where.

pub(crate) mod check;
pub(crate) mod discount;
pub(crate) mod payment;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod step;
pub(crate) mod syntax;
pub(crate) mod validate;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::Code;
pub use crate::customer::{CustomerFields, CustomerPatch, new_customer};
pub use crate::invoice::input::step::{
    ApplyInput, Body, CancelInput, CreditNoteInput, CreditNoteRequest, IssueInput, PaymentBody,
    RecallInput, ReversalInput, SendInput,
};
use crate::{
    Currency, FieldError, Invalid, Kind, Metadata, PaymentKind, Status, TaxRounding, TenantId,
    plain_value,
};
use read::{Field, Object};

/// An invoice as read, not yet validated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceInput {
    tenant_id: Option<Field<Uuid>>,
    tenant_external_id: Option<String>,
    id: Option<Field<Uuid>>,
    external_id: Option<String>,
    number: Option<String>,
    kind: Option<Field<Kind>>,
    currency: Option<Field<Currency>>,
    customer_id: Option<Field<Uuid>>,
    customer: Option<Object<CustomerInput>>,
    issue_date: Option<Field<NaiveDate>>,
    due_date: Option<Field<NaiveDate>>,
    discount: Option<Field<Decimal>>,
    discount_percent: Option<Field<Decimal>>,
    tax_rounding: Option<Field<TaxRounding>>,
    lines: Option<Vec<Object<LineInput>>>,
    payments: Option<Vec<Object<PaymentInput>>>,
    status: Option<Field<Status>>,
    metadata: Option<Field<Metadata>>,
    total: Option<Field<Decimal>>,
    // Of an exported document only, see `restore`.
    version: Option<i64>,
    created_at: Option<Field<DateTime<Utc>>>,
    modified_at: Option<Field<DateTime<Utc>>>,
    credits: Option<Field<Uuid>>,
    amount_credited: Option<Field<Decimal>>,
    taxes: Option<IgnoredAny>,
    subtotal: Option<IgnoredAny>,
    discount_total: Option<IgnoredAny>,
    tax_total: Option<IgnoredAny>,
    amount_paid: Option<IgnoredAny>,
    amount_due: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomerInput {
    external_id: Option<String>,
    name: Option<String>,
    email: Option<String>,
    tax_id: Option<String>,
    address: Option<String>,
    country: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineInput {
    sku: Option<String>,
    description: Option<String>,
    quantity: Option<Field<Decimal>>,
    unit_price: Option<Field<Decimal>>,
    discount: Option<Field<Decimal>>,
    discount_percent: Option<Field<Decimal>>,
    tax_rate: Option<Field<Decimal>>,
    // Of an exported document only.
    document_discount: Option<Box<Field<Decimal>>>,
    net: Option<IgnoredAny>,
    tax: Option<Box<Field<Decimal>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaymentInput {
    reference: Option<String>,
    amount: Option<Field<Decimal>>,
    paid_on: Option<Field<NaiveDate>>,
    method: Option<String>,
    // Of an exported document only.
    id: Option<Field<Uuid>>,
    kind: Option<Field<PaymentKind>>,
    reverses: Option<Field<Uuid>>,
}

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

/// What an invoice needs besides what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The owner: from the credential, or from the line of a platform upload.
    pub tenant_id: TenantId,
    /// The clock. Microseconds are kept.
    pub now: DateTime<Utc>,
}

/// How a line of a platform upload names its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TenantRef<'a> {
    /// By our id.
    Id(TenantId),
    /// By the platform's own key.
    ExternalId(&'a str),
}

impl InvoiceInput {
    /// Reads one JSON document.
    ///
    /// # Errors
    /// [`ParseError::Syntax`] when the bytes are no JSON document (or not UTF-8, or more than one
    /// document); [`ParseError::Invalid`] with `invalid_type`, `unknown_field` or `duplicate_field`
    /// and the field's path.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        parse(bytes)
    }

    /// The tenant that the document names, if it names one.
    ///
    /// # Errors
    /// `invalid_uuid`; the codes of `tenant_external_id` as a text; `tenant_ambiguous` when both
    /// are named.
    pub fn tenant_ref(&self) -> Result<Option<TenantRef<'_>>, FieldError> {
        validate::tenant_ref(self)
    }

    /// Whether the client chose the id: then it may exist already.
    #[must_use]
    pub fn names_its_id(&self) -> bool {
        self.id.is_some()
    }

    /// How tax is rounded where the document does not say. One that was exported says it, or is
    /// older than the choice.
    pub fn round_by(&mut self, rounding: TaxRounding) {
        if self.tax_rounding.is_none() && !self.is_stored() {
            self.tax_rounding = Some(Field(Ok(rounding)));
        }
    }

    /// The tenant's own key of the invoice, as sent.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        self.external_id.as_deref()
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
fn explain<'de, T: Deserialize<'de>>(text: &'de str) -> ParseError {
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

#[cfg(test)]
mod tests;
