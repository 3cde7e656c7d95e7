//! Editing: a JSON merge patch (RFC 7396) on the document as its client would send it, read and
//! checked by the rules of a new one. Numbers are merged as they are written: no float comes near
//! them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::{Refusal, Step};
use crate::Code;
use crate::invoice::input::{Context, ParseError, syntax};
use crate::money::decimal::{render_amount, render_plain};
use crate::{FieldError, Invalid, Invoice, InvoiceInput, Metadata, TaxRounding};

/// Fields that a patch cannot set.
const FIXED: [&str; 6] = [
    "id",
    "tenant_id",
    "tenant_external_id",
    "status",
    "payments",
    "credits",
];
/// Two names of one thing: setting one replaces the other.
const PAIRS: [(&str, &str); 2] = [
    ("customer", "customer_id"),
    ("discount", "discount_percent"),
];

type Fields = BTreeMap<String, Box<RawValue>>;

/// A merge patch.
#[derive(Clone, Debug)]
pub struct Patch(Fields);

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The state forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The document would not be valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Patch {
    /// Reads a merge patch.
    ///
    /// # Errors
    /// `invalid_json`; `invalid_type` when it is no object; `field_not_editable`; `empty_patch`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = syntax::text(bytes)?;
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| syntax::error(text, &error))?;
        let invalid = |field: &str, code, detail| {
            ParseError::Invalid(FieldError::new(field, code, detail).into())
        };
        let Some(fields) = object(raw.get()) else {
            return Err(invalid("", Code::InvalidType, "must be an object"));
        };
        if let Some(fixed) = FIXED.into_iter().find(|name| fields.contains_key(*name)) {
            let detail = "cannot be set by an edit";
            return Err(invalid(fixed, Code::FieldNotEditable, detail));
        }
        if fields.is_empty() {
            return Err(invalid("", Code::EmptyPatch, "names no field"));
        }
        Ok(Self(fields))
    }

    /// Whether only metadata is touched.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        self.0.keys().all(|name| name == "metadata")
    }

    /// Whether the customer, or one of the keys that are unique, is touched.
    #[must_use]
    pub fn touches(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether it names a customer, by either of the two names, or takes it away.
    #[must_use]
    pub fn names_customer(&self) -> bool {
        self.touches("customer") || self.touches("customer_id")
    }
}

impl Invoice {
    /// Edits a draft, or the metadata of a document in any status. A customer that the patch names
    /// is left to the store to look up, as in a new invoice; one that it does not name stays as it
    /// is.
    ///
    /// # Errors
    /// [`PatchError::Refused`] with what [`super::forbidden`] says of the step;
    /// [`PatchError::Invalid`] with the mistakes of the document that would come out.
    pub fn edit(&mut self, patch: &Patch, now: DateTime<Utc>) -> Result<(), PatchError> {
        if patch.is_metadata() {
            self.permit(Step::EditMetadata)?;
            self.metadata = patched_metadata(&self.metadata, patch)?;
            self.touch(now);
            return Ok(());
        }
        self.permit(Step::Edit)?;
        let mut document = document(self);
        for (one, other) in PAIRS {
            for (set, replaced) in [(one, other), (other, one)] {
                if patch.touches(set) && !patch.touches(replaced) {
                    document.remove(replaced);
                }
            }
        }
        let named = patch.names_customer();
        if !named {
            // It is not for this edit to judge: its record may be inactive or erased by now, or
            // have no key.
            for name in ["customer", "customer_id"] {
                document.remove(name);
            }
        }
        // The customer object of another customer is none to merge into.
        if patch
            .0
            .get("customer")
            .is_some_and(|c| names_external_id(c.get()))
        {
            document.remove("customer");
        }
        let merged = merge(document, &patch.0);
        let text = serde_json::to_string(&merged).unwrap_or_default();
        let input = InvoiceInput::parse(text.as_bytes()).map_err(|error| match error {
            ParseError::Invalid(invalid) => invalid,
            ParseError::Syntax(detail) => FieldError::new("", Code::InvalidJson, detail).into(),
        })?;
        let context = Context {
            tenant_id: self.tenant_id,
            now,
        };
        let edited = input.into_invoice(&context)?;
        let (customer_id, customer) = if named {
            (edited.customer_id, edited.customer)
        } else {
            (self.customer_id, self.customer.take())
        };
        *self = Self {
            id: self.id,
            created_at: self.created_at,
            version: self.version,
            modified_at: self.modified_at,
            customer_id,
            customer,
            ..edited
        };
        self.touch(now);
        Ok(())
    }
}

fn patched_metadata(old: &Metadata, patch: &Patch) -> Result<Metadata, Invalid> {
    let Some(new) = patch.0.get("metadata").filter(|new| new.get() != "null") else {
        return Ok(Metadata::default());
    };
    let merged = match (object(old.as_str()), object(new.get())) {
        (Some(old), Some(new)) => serde_json::to_string(&merge(old, &new)).unwrap_or_default(),
        _ => new.get().to_owned(),
    };
    Metadata::parse(&merged).map_err(|error| error.at("metadata").into())
}

/// The fields of an object; `None` when the text is none.
fn object(text: &str) -> Option<Fields> {
    text.trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

fn names_external_id(customer: &str) -> bool {
    object(customer).is_some_and(|customer| customer.contains_key("external_id"))
}

/// `MergePatch` of RFC 7396, section 2, for a target that is an object.
fn merge(mut target: Fields, patch: &Fields) -> Fields {
    for (name, value) in patch {
        if value.get() == "null" {
            target.remove(name);
            continue;
        }
        let merged = object(value.get()).map(|patch| {
            let below = target.get(name).and_then(|old| object(old.get()));
            serde_json::value::to_raw_value(&merge(below.unwrap_or_default(), &patch))
        });
        let value = match merged {
            Some(Ok(merged)) => merged,
            _ => value.clone(),
        };
        target.insert(name.clone(), value);
    }
    target
}

/// The draft as its client would send it.
fn document(draft: &Invoice) -> Fields {
    let exponent = draft.currency.exponent();
    let mut fields = Fields::new();
    let mut set = |name: &str, value: serde_json::Value| {
        if !value.is_null()
            && let Ok(raw) = serde_json::value::to_raw_value(&value)
        {
            fields.insert(name.to_owned(), raw);
        }
    };
    let lines: Vec<serde_json::Value> = draft
        .lines
        .iter()
        .map(|line| {
            let percent = line
                .discount_percent
                .map(|percent| render_plain(percent, 0));
            let amount = render_amount(line.discount, exponent);
            without_nulls(serde_json::json!({
                "sku": line.sku, "description": line.description,
                "quantity": render_plain(line.quantity, 0),
                    "unit_price": render_plain(line.unit_price, 0),
                "discount": percent.is_none().then_some(amount), "discount_percent": percent,
                "tax_rate": render_plain(line.tax_rate, 0),
            }))
        })
        .collect();
    set("status", "draft".into());
    set("external_id", draft.external_id.clone().into());
    set("number", draft.number.clone().into());
    set("kind", draft.kind.as_str().into());
    set("currency", draft.currency.code().into());
    match &draft.customer {
        Some(c) if c.external_id.is_some() => set(
            "customer",
            without_nulls(serde_json::json!({
                "external_id": c.external_id, "name": c.name, "email": c.email, "tax_id": c.tax_id,
                "address": c.address, "country": c.country,
            })),
        ),
        _ => set(
            "customer_id",
            draft.customer_id.map(|id| id.to_string()).into(),
        ),
    }
    set("issue_date", draft.issue_date.map(|d| d.to_string()).into());
    set("due_date", draft.due_date.map(|d| d.to_string()).into());
    match draft.discount_percent {
        Some(percent) => set("discount_percent", render_plain(percent, 0).into()),
        None => set("discount", render_amount(draft.discount, exponent).into()),
    }
    // A draft of before the choice was rounded by line, and goes on so unless the patch says
    // otherwise.
    let rounding = draft.tax_rounding.unwrap_or(TaxRounding::Line);
    set("tax_rounding", rounding.as_str().into());
    set("lines", lines.into());
    // As it is: its numbers may be longer than a float.
    if let Ok(metadata) = RawValue::from_string(draft.metadata.as_str().to_owned()) {
        fields.insert("metadata".to_owned(), metadata);
    }
    fields
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            serde_json::Value::Object(fields)
        }
        other => other,
    }
}
