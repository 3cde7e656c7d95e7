//! What a change changed, for the audit trail.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::told;
use crate::money::decimal::{render_amount, render_plain};
use crate::{Invoice, Line, TaxRounding};

/// The difference of two versions of an invoice: what was and what is, as JSON texts by field.
/// Texts, so that a number of the metadata is never read and rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change(BTreeMap<String, String>);

impl Change {
    /// Old and new values of each header field that differs, and of the lines where they do.
    /// Payments are told by the event that records them.
    #[must_use]
    pub fn between(old: &Invoice, new: &Invoice) -> Self {
        let (before, after) = (fields(old), fields(new));
        let mut changes = BTreeMap::new();
        for (name, new) in after {
            let old = before.get(&name).cloned().unwrap_or(Value::Null);
            if old != new {
                changes.insert(name, json!({"old": old, "new": new}).to_string());
            }
        }
        // In normal form: what differs in its text differs.
        let (was, is) = (old.metadata.as_str(), new.metadata.as_str());
        if was != is {
            changes.insert("metadata".to_owned(), told::metadata(was, is));
        }
        if old.lines != new.lines {
            let both = told::lists(lines(old), lines(new));
            changes.insert("lines".to_owned(), both);
        }
        Self(changes)
    }

    /// The payload of an event: the version, what changed, and `more`.
    #[must_use]
    pub fn event(self, version: i64, more: Value) -> String {
        let raw = |text| RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let changes: BTreeMap<String, Box<RawValue>> = self
            .0
            .into_iter()
            .map(|(name, both)| (name, raw(both)))
            .collect();
        let mut data = BTreeMap::new();
        data.insert("version".to_owned(), to_raw_value(&version));
        data.insert("changes".to_owned(), to_raw_value(&changes));
        if let Value::Object(more) = more {
            data.extend(more.into_iter().map(|(k, v)| (k, to_raw_value(&v))));
        }
        // Every key is a string and every value JSON already: nothing of this can fail.
        let data: BTreeMap<String, Box<RawValue>> = data
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.ok()?)))
            .collect();
        serde_json::to_string(&data).unwrap_or_default()
    }
}

fn fields(invoice: &Invoice) -> Map<String, Value> {
    let amount = |value| render_amount(value, invoice.currency.exponent());
    let customer = invoice.customer.as_ref().map(|c| {
        json!({"external_id": c.external_id, "name": c.name, "email": c.email, "tax_id": c.tax_id,
               "address": c.address, "country": c.country})
    });
    let fields = json!({
        "external_id": invoice.external_id,
        "number": invoice.number,
        "kind": invoice.kind.as_str(),
        "status": invoice.status.as_str(),
        "currency": invoice.currency.code(),
        "customer_id": invoice.customer_id,
        "customer": customer,
        "issue_date": invoice.issue_date,
        "due_date": invoice.due_date,
        "discount": amount(invoice.discount),
        "discount_percent": invoice.discount_percent.map(|p| render_plain(p, 0)),
        "tax_rounding": invoice.tax_rounding.map(TaxRounding::as_str),
        "subtotal": amount(invoice.subtotal),
        "discount_total": amount(invoice.discount_total),
        "tax_total": amount(invoice.tax_total),
        "total": amount(invoice.total),
        "amount_paid": amount(invoice.amount_paid),
        "amount_credited": amount(invoice.amount_credited),
        "amount_due": amount(invoice.amount_due),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The lines as one list, and how many they are.
fn lines(invoice: &Invoice) -> (usize, told::Value) {
    let exponent = invoice.currency.exponent();
    let line = |line: &Line| {
        json!({"sku": line.sku, "description": line.description,
            "quantity": render_plain(line.quantity, 0),
               "unit_price": render_plain(line.unit_price, exponent),
               "discount": render_amount(line.discount, exponent),
               "tax_rate": render_plain(line.tax_rate, 0), "net": render_amount(line.net, exponent),
               "tax": render_amount(line.tax, exponent)})
    };
    let mut list = told::Value::new();
    list.push("[");
    for (index, item) in invoice.lines.iter().enumerate() {
        if index > 0 {
            list.push(",");
        }
        list.push(&line(item).to_string());
    }
    list.push("]");
    (invoice.lines.len(), list)
}
