//! A customer's record as a client sends it: a new one, or what is to change of one.

use serde::{Deserialize, Deserializer};

use crate::invoice::input::check::{At, Mistakes};
use crate::invoice::input::parse::{ParseError, parse};
use crate::invoice::input::read::Field;
use crate::{Customer, Invalid, Metadata, bounds};

/// What a tenant says of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerFields {
    /// What invoices take a snapshot of.
    pub customer: Customer,
    /// Free-form, regional fields for example.
    pub metadata: Metadata,
    /// Whether new invoices may name it.
    pub active: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInput {
    external_id: Option<String>,
    name: Option<String>,
    email: Option<String>,
    tax_id: Option<String>,
    address: Option<String>,
    country: Option<String>,
    metadata: Option<Field<Metadata>>,
    active: Option<bool>,
}

/// Reads and validates a new customer. Only the name must be there.
///
/// # Errors
/// Those of [`crate::invoice::input::InvoiceInput::parse`], and all mistakes in the fields, by the
/// rules of an invoice's customer.
pub fn new_customer(bytes: &[u8]) -> Result<CustomerFields, ParseError> {
    let input: NewInput = parse(bytes)?;
    let mut mistakes = Mistakes::default();
    let name = mistakes.required_text(At::Root, "name", input.name, bounds::MAX_CUSTOMER_NAME);
    let customer = Customer {
        external_id: external_id(input.external_id, &mut mistakes),
        name: name.unwrap_or_default(),
        email: EMAIL.check(input.email, &mut mistakes),
        tax_id: TAX_ID.check(input.tax_id, &mut mistakes),
        address: ADDRESS.check(input.address, &mut mistakes),
        country: COUNTRY.check(input.country, &mut mistakes),
    };
    let metadata = mistakes.optional(At::Root, "metadata", input.metadata);
    let fields = CustomerFields {
        customer,
        metadata: metadata.unwrap_or_default(),
        active: input.active.unwrap_or(true),
    };
    Ok(mistakes.into_result(Some(fields))?)
}

/// A text that may be absent, and empty.
struct Text(&'static str, usize);

const EMAIL: Text = Text("email", bounds::MAX_EMAIL);
const TAX_ID: Text = Text("tax_id", bounds::MAX_TAX_ID);
const ADDRESS: Text = Text("address", bounds::MAX_ADDRESS);
const COUNTRY: Text = Text("country", bounds::MAX_COUNTRY);

impl Text {
    fn check(&self, text: Option<String>, mistakes: &mut Mistakes) -> Option<String> {
        mistakes.text(At::Root, self.0, text, self.1)
    }

    /// The field after a patch: absent leaves it, `null` takes it out.
    fn patch(
        &self,
        field: &mut Option<String>,
        patch: Option<Option<String>>,
        mistakes: &mut Mistakes,
    ) {
        if let Some(text) = patch {
            *field = self.check(text, mistakes);
        }
    }
}

fn external_id(text: Option<String>, mistakes: &mut Mistakes) -> Option<String> {
    mistakes.filled(At::Root, "external_id", text, bounds::MAX_EXTERNAL_ID)
}

/// A JSON merge patch (RFC 7396) of a customer, as read, not yet validated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerPatch {
    #[serde(default, deserialize_with = "given")]
    external_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    email: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    tax_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    address: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    country: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<Field<Metadata>>>,
    #[serde(default, deserialize_with = "given")]
    active: Option<Option<bool>>,
}

/// Tells a member that is `null` from one that is absent.
fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl CustomerPatch {
    /// Reads one JSON document.
    ///
    /// # Errors
    /// Those of [`crate::invoice::input::InvoiceInput::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        parse(bytes)
    }

    /// The customer after the patch. `null` takes a field out; of `metadata` it leaves `{}`, and
    /// `active` cannot be `null`.
    ///
    /// # Errors
    /// All mistakes in the fields; `missing_field` where `name` or `active` is `null`.
    pub fn apply(self, fields: &CustomerFields) -> Result<CustomerFields, Invalid> {
        let mut mistakes = Mistakes::default();
        let mut changed = fields.clone();
        let customer = &mut changed.customer;
        if let Some(text) = self.external_id {
            customer.external_id = external_id(text, &mut mistakes);
        }
        if let Some(text) = self.name {
            let name = mistakes.required_text(At::Root, "name", text, bounds::MAX_CUSTOMER_NAME);
            customer.name = name.unwrap_or_default();
        }
        EMAIL.patch(&mut customer.email, self.email, &mut mistakes);
        TAX_ID.patch(&mut customer.tax_id, self.tax_id, &mut mistakes);
        ADDRESS.patch(&mut customer.address, self.address, &mut mistakes);
        COUNTRY.patch(&mut customer.country, self.country, &mut mistakes);
        match self.metadata {
            None => {}
            Some(None) => changed.metadata = Metadata::default(),
            Some(given) => {
                let patch = mistakes.optional(At::Root, "metadata", given);
                match patch.map(|patch| fields.metadata.merge_patch(&patch)) {
                    Some(Ok(merged)) => changed.metadata = merged,
                    Some(Err(error)) => mistakes.add(error.at("metadata")),
                    None => {}
                }
            }
        }
        match self.active {
            None => {}
            Some(None) => mistakes.missing(At::Root, "active"),
            Some(Some(active)) => changed.active = active,
        }
        mistakes.into_result(Some(changed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn acme() -> CustomerFields {
        let document = br#"{"external_id": "c-1", "name": "Acme", "email": "a@b.c",
                "metadata": {"a": 1, "b": 2}}"#;
        new_customer(document).unwrap()
    }

    fn patched(patch: &str) -> Result<CustomerFields, Invalid> {
        CustomerPatch::parse(patch.as_bytes())
            .unwrap()
            .apply(&acme())
    }

    #[test]
    fn a_new_customer_needs_a_name_and_is_active() {
        assert!(acme().active);
        for (document, code) in [
            ("{}", "missing_field"),
            (r#"{"name": " "}"#, "string_empty"),
            (r#"{"name": "x", "external_id": ""}"#, "string_empty"),
            (r#"{"name": "x", "metadata": []}"#, "invalid_type"),
            (r#"{"name": "x", "nmae": 1}"#, "unknown_field"),
            (r#"{"name": "x", "email": 1}"#, "invalid_type"),
            (r#"["x"]"#, "invalid_type"),
            ("{", "invalid_json"),
        ] {
            assert_eq!(new_customer(document.as_bytes()).unwrap_err().code(), code);
        }
        let long = format!("{{\"name\": \"x\", \"country\": \"{}\"}}", "y".repeat(101));
        assert_eq!(
            new_customer(long.as_bytes()).unwrap_err().code(),
            "string_too_long"
        );
    }

    #[test]
    fn a_patch_sets_takes_out_and_leaves() {
        let changed = patched(r#"{"email": null, "country": "DE", "metadata": {"b": null}}"#);
        let changed = changed.unwrap();
        assert_eq!(changed.customer.email, None);
        assert_eq!(changed.customer.country.as_deref(), Some("DE"));
        assert_eq!(changed.customer.external_id.as_deref(), Some("c-1"));
        assert_eq!(changed.metadata.as_str(), r#"{"a": 1}"#);
        assert_eq!(patched("{}").unwrap(), acme());
        assert_eq!(
            patched(r#"{"metadata": null}"#).unwrap().metadata.as_str(),
            "{}"
        );
        assert!(!patched(r#"{"active": false}"#).unwrap().active);
    }

    #[test]
    fn what_must_be_there_cannot_be_taken_out() {
        for (patch, code) in [
            (r#"{"name": null}"#, "missing_field"),
            (r#"{"name": ""}"#, "string_empty"),
            (r#"{"active": null}"#, "missing_field"),
            (r#"{"external_id": " "}"#, "string_empty"),
            (r#"{"metadata": 7}"#, "invalid_type"),
        ] {
            assert_eq!(patched(patch).unwrap_err().code(), code, "{patch}");
        }
        assert_eq!(
            CustomerPatch::parse(br#"{"version": 1}"#)
                .unwrap_err()
                .code(),
            "unknown_field"
        );
    }
}
