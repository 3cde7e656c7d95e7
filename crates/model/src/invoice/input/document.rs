//! An invoice as a client sends it, field by field, before any rule of invoices is applied.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::parse::{ParseError, parse};
use super::read::{Field, Object};
use crate::{Currency, Kind, Metadata, PaymentKind, Status, TaxRounding, TenantId};

/// An invoice as read, not yet validated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceInput {
    pub(super) tenant_id: Option<Field<Uuid>>,
    pub(super) tenant_external_id: Option<String>,
    pub(super) id: Option<Field<Uuid>>,
    pub(super) external_id: Option<String>,
    pub(super) number: Option<String>,
    pub(super) kind: Option<Field<Kind>>,
    pub(super) currency: Option<Field<Currency>>,
    pub(super) customer_id: Option<Field<Uuid>>,
    pub(super) customer: Option<Object<CustomerInput>>,
    pub(super) issue_date: Option<Field<NaiveDate>>,
    pub(super) due_date: Option<Field<NaiveDate>>,
    pub(super) discount: Option<Field<Decimal>>,
    pub(super) discount_percent: Option<Field<Decimal>>,
    pub(super) tax_rounding: Option<Field<TaxRounding>>,
    pub(super) lines: Option<Vec<Object<LineInput>>>,
    pub(super) payments: Option<Vec<Object<PaymentInput>>>,
    pub(super) status: Option<Field<Status>>,
    pub(super) metadata: Option<Field<Metadata>>,
    pub(super) total: Option<Field<Decimal>>,
    // Of an exported document only, see `restore`.
    pub(super) version: Option<i64>,
    pub(super) created_at: Option<Field<DateTime<Utc>>>,
    pub(super) modified_at: Option<Field<DateTime<Utc>>>,
    pub(super) credits: Option<Field<Uuid>>,
    pub(super) amount_credited: Option<Field<Decimal>>,
    pub(super) taxes: Option<IgnoredAny>,
    pub(super) subtotal: Option<IgnoredAny>,
    pub(super) discount_total: Option<IgnoredAny>,
    pub(super) tax_total: Option<IgnoredAny>,
    pub(super) amount_paid: Option<IgnoredAny>,
    pub(super) amount_due: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerInput {
    pub(super) external_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) tax_id: Option<String>,
    pub(super) address: Option<String>,
    pub(super) country: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineInput {
    pub(super) sku: Option<String>,
    pub(super) description: Option<String>,
    pub(super) quantity: Option<Field<Decimal>>,
    pub(super) unit_price: Option<Field<Decimal>>,
    pub(super) discount: Option<Field<Decimal>>,
    pub(super) discount_percent: Option<Field<Decimal>>,
    pub(super) tax_rate: Option<Field<Decimal>>,
    // Of an exported document only.
    pub(super) document_discount: Option<Box<Field<Decimal>>>,
    pub(super) net: Option<IgnoredAny>,
    pub(super) tax: Option<Box<Field<Decimal>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentInput {
    pub(super) reference: Option<String>,
    pub(super) amount: Option<Field<Decimal>>,
    pub(super) paid_on: Option<Field<NaiveDate>>,
    pub(super) method: Option<String>,
    // Of an exported document only.
    pub(super) id: Option<Field<Uuid>>,
    pub(super) kind: Option<Field<PaymentKind>>,
    pub(super) reverses: Option<Field<Uuid>>,
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

    /// Whether it is a document that was exported, and not a new one.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.version.is_some()
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
