//! What a change changed, for the audit trail.

use serde_json::{Map, Value, json};

use crate::decimal::{render_amount, render_plain};
use crate::{Invoice, Line};

/// Lines of both versions that an event holds whole; longer documents are told by their sums.
const MAX_LINES: usize = 1_000;

/// The difference of two versions of an invoice, field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change(Map<String, Value>);

impl Change {
    /// Old and new values of each header field that differs, and of the lines where they do. Payments are told by
    /// the event that records them.
    #[must_use]
    pub fn between(old: &Invoice, new: &Invoice) -> Self {
        let (before, after) = (fields(old), fields(new));
        let mut changes = Map::new();
        for (name, new) in after {
            let old = before.get(&name).cloned().unwrap_or(Value::Null);
            if old != new {
                changes.insert(name, json!({"old": old, "new": new}));
            }
        }
        if old.lines != new.lines {
            let whole = old.lines.len() + new.lines.len() <= MAX_LINES;
            let told =
                |invoice: &Invoice| lines(&invoice.lines, invoice.currency.exponent(), whole);
            changes.insert(
                "lines".to_owned(),
                json!({"old": told(old), "new": told(new)}),
            );
        }
        Self(changes)
    }

    /// The payload of an event: the version, what changed, and `more`.
    #[must_use]
    pub fn event(self, version: i64, more: Value) -> String {
        let mut data = Map::new();
        data.insert("version".to_owned(), version.into());
        data.insert("changes".to_owned(), Value::Object(self.0));
        if let Value::Object(more) = more {
            data.extend(more);
        }
        Value::Object(data).to_string()
    }
}

fn fields(invoice: &Invoice) -> Map<String, Value> {
    let amount = |value| render_amount(value, invoice.currency.exponent());
    let customer = invoice.customer.as_ref().map(|c| {
        json!({"external_id": c.external_id, "name": c.name, "email": c.email, "tax_id": c.tax_id,
               "address": c.address, "country": c.country})
    });
    let metadata: Value = serde_json::from_str(invoice.metadata.as_str()).unwrap_or_default();
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
        "subtotal": amount(invoice.subtotal),
        "discount_total": amount(invoice.discount_total),
        "tax_total": amount(invoice.tax_total),
        "total": amount(invoice.total),
        "amount_paid": amount(invoice.amount_paid),
        "amount_credited": amount(invoice.amount_credited),
        "amount_due": amount(invoice.amount_due),
        "metadata": metadata,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn lines(lines: &[Line], exponent: u32, whole: bool) -> Value {
    if !whole {
        return json!({"count": lines.len()});
    }
    let line = |line: &Line| {
        json!({"sku": line.sku, "description": line.description, "quantity": render_plain(line.quantity, 0),
               "unit_price": render_plain(line.unit_price, exponent),
               "discount": render_amount(line.discount, exponent),
               "tax_rate": render_plain(line.tax_rate, 0), "net": render_amount(line.net, exponent),
               "tax": render_amount(line.tax, exponent)})
    };
    lines.iter().map(line).collect()
}
