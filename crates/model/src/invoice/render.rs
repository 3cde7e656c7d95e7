//! The one JSON form of an invoice. Both tiers answer with it, so it depends on values alone: not
//! on the scale with which a decimal came, nor on the order in which payments were read.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::invoice::totals;
use crate::money::decimal::{render_amount, write_amount, write_decimal};
use crate::{Customer, Invoice, Line, Payment};

impl Invoice {
    /// Compact JSON in a fixed order of fields; absent values are `null`, amounts are strings.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + 192 * (self.lines.len() + self.payments.len()));
        self.render_into(&mut out);
        out
    }

    /// Appends what [`Invoice::render`] returns.
    pub fn render_into(&self, out: &mut Vec<u8>) {
        let exponent = self.currency.exponent();
        push(out, "{\"id\":");
        uuid(out, Some(self.id));
        push(out, ",\"tenant_id\":");
        uuid(out, Some(self.tenant_id.0));
        optional_text(out, ",\"external_id\":", self.external_id.as_deref());
        optional_text(out, ",\"number\":", self.number.as_deref());
        optional_text(out, ",\"kind\":", Some(self.kind.as_str()));
        optional_text(out, ",\"status\":", Some(self.status.as_str()));
        optional_text(out, ",\"currency\":", Some(self.currency.code()));
        push(out, ",\"customer_id\":");
        uuid(out, self.customer_id);
        push(out, ",\"customer\":");
        customer(out, self.customer.as_ref());
        push(out, ",\"issue_date\":");
        date(out, self.issue_date);
        push(out, ",\"due_date\":");
        date(out, self.due_date);
        push(out, ",\"lines\":[");
        for (index, item) in self.lines.iter().enumerate() {
            separate(out, index);
            line(out, item, exponent);
        }
        push(out, "],\"payments\":[");
        self.render_payments(out, exponent);
        push(out, "],\"credits\":");
        uuid(out, self.credits);
        amount(out, ",\"discount\":", self.discount, exponent);
        percent(out, self.discount_percent);
        // Only where it is known: what was stored before keeps its bytes.
        if let Some(rounding) = self.tax_rounding {
            optional_text(out, ",\"tax_rounding\":", Some(rounding.as_str()));
        }
        push(out, ",\"taxes\":[");
        for (index, tax) in totals::taxes(&self.lines).iter().enumerate() {
            separate(out, index);
            plain(out, "{\"rate\":", tax.rate, 0);
            amount(out, ",\"net\":", tax.net, exponent);
            amount(out, ",\"tax\":", tax.tax, exponent);
            push(out, "}");
        }
        amount(out, "],\"subtotal\":", self.subtotal, exponent);
        amount(out, ",\"discount_total\":", self.discount_total, exponent);
        amount(out, ",\"tax_total\":", self.tax_total, exponent);
        amount(out, ",\"total\":", self.total, exponent);
        amount(out, ",\"amount_paid\":", self.amount_paid, exponent);
        amount(out, ",\"amount_due\":", self.amount_due, exponent);
        let credited = self.amount_credited;
        amount(out, ",\"amount_credited\":", credited, exponent);
        push(out, ",\"metadata\":");
        push(out, self.metadata.as_str());
        push(out, ",\"version\":");
        push(out, &self.version.to_string());
        push(out, ",\"created_at\":");
        timestamp(out, self.created_at);
        push(out, ",\"modified_at\":");
        timestamp(out, self.modified_at);
        push(out, "}");
    }

    /// One of its payments with the invoice around it: what recording a payment answers.
    #[must_use]
    pub fn render_payment(&self, id: Uuid) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        if let Some(found) = self.payments.iter().find(|payment| payment.id == id) {
            payment(&mut out, found, self.currency.exponent());
            out.pop();
            push(&mut out, ",\"invoice\":");
            self.render_into(&mut out);
            push(&mut out, "}");
        }
        out
    }

    fn render_payments(&self, out: &mut Vec<u8>, exponent: u32) {
        if self.payments.is_sorted_by_key(|payment| payment.id) {
            for (index, item) in self.payments.iter().enumerate() {
                separate(out, index);
                payment(out, item, exponent);
            }
        } else {
            let mut sorted: Vec<&Payment> = self.payments.iter().collect();
            sorted.sort_by_key(|payment| payment.id);
            for (index, item) in sorted.into_iter().enumerate() {
                separate(out, index);
                payment(out, item, exponent);
            }
        }
    }

    /// The entity tag of this version: `"1"`, quotes included.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }

    /// The payload of the event that records the creation, in the normal form of `jsonb`.
    #[must_use]
    pub fn created_event(&self) -> String {
        // Keys by length, then bytewise. None of the values holds a character that JSON escapes.
        format!(
            "{{\"kind\": \"{}\", \"total\": \"{}\", \"status\": \"{}\", \"version\": {}, \
            \"currency\": \"{}\", \
             \"payments\": {}}}",
            self.kind,
            render_amount(self.total, self.currency.exponent()),
            self.status,
            self.version,
            self.currency,
            self.payments.len(),
        )
    }
}

fn customer(out: &mut Vec<u8>, customer: Option<&Customer>) {
    let Some(customer) = customer else {
        return push(out, "null");
    };
    optional_text(out, "{\"external_id\":", customer.external_id.as_deref());
    optional_text(out, ",\"name\":", Some(&customer.name));
    optional_text(out, ",\"email\":", customer.email.as_deref());
    optional_text(out, ",\"tax_id\":", customer.tax_id.as_deref());
    optional_text(out, ",\"address\":", customer.address.as_deref());
    optional_text(out, ",\"country\":", customer.country.as_deref());
    push(out, "}");
}

fn line(out: &mut Vec<u8>, line: &Line, exponent: u32) {
    optional_text(out, "{\"sku\":", line.sku.as_deref());
    optional_text(out, ",\"description\":", Some(&line.description));
    plain(out, ",\"quantity\":", line.quantity, 0);
    plain(out, ",\"unit_price\":", line.unit_price, exponent);
    amount(out, ",\"discount\":", line.discount, exponent);
    percent(out, line.discount_percent);
    let share = line.document_discount;
    amount(out, ",\"document_discount\":", share, exponent);
    plain(out, ",\"tax_rate\":", line.tax_rate, 0);
    amount(out, ",\"net\":", line.net, exponent);
    amount(out, ",\"tax\":", line.tax, exponent);
    push(out, "}");
}

fn payment(out: &mut Vec<u8>, payment: &Payment, exponent: u32) {
    push(out, "{\"id\":");
    uuid(out, Some(payment.id));
    optional_text(out, ",\"kind\":", Some(payment.kind.as_str()));
    optional_text(out, ",\"reference\":", Some(&payment.reference));
    amount(out, ",\"amount\":", payment.amount, exponent);
    push(out, ",\"paid_on\":");
    date(out, Some(payment.paid_on));
    optional_text(out, ",\"method\":", Some(&payment.method));
    push(out, ",\"reverses\":");
    uuid(out, payment.reverses);
    push(out, "}");
}

fn percent(out: &mut Vec<u8>, value: Option<Decimal>) {
    match value {
        Some(value) => plain(out, ",\"discount_percent\":", value, 0),
        None => push(out, ",\"discount_percent\":null"),
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

fn optional_text(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    push(out, key);
    match text {
        // A string into a vector: neither can fail.
        Some(text) => drop(serde_json::to_writer(&mut *out, text)),
        None => push(out, "null"),
    }
}

fn uuid(out: &mut Vec<u8>, id: Option<Uuid>) {
    let Some(id) = id else {
        return push(out, "null");
    };
    out.push(b'"');
    push(
        out,
        id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
    );
    out.push(b'"');
}

fn amount(out: &mut Vec<u8>, key: &str, value: Decimal, exponent: u32) {
    push(out, key);
    out.push(b'"');
    write_amount(out, value, exponent);
    out.push(b'"');
}

fn plain(out: &mut Vec<u8>, key: &str, value: Decimal, min_decimals: u32) {
    push(out, key);
    out.push(b'"');
    write_decimal(out, value, min_decimals);
    out.push(b'"');
}

fn date(out: &mut Vec<u8>, date: Option<NaiveDate>) {
    let Some(date) = date else {
        return push(out, "null");
    };
    out.push(b'"');
    push_date(out, date);
    out.push(b'"');
}

fn timestamp(out: &mut Vec<u8>, time: DateTime<Utc>) {
    out.push(b'"');
    push_date(out, time.date_naive());
    for (before, value) in [
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        out.push(before);
        padded(out, value, 2);
    }
    out.push(b'.');
    padded(out, time.timestamp_subsec_micros().min(999_999), 6);
    push(out, "Z\"");
}

/// Years are 1970 to 2199, or those of a clock: four digits.
fn push_date(out: &mut Vec<u8>, date: NaiveDate) {
    padded(out, date.year().unsigned_abs(), 4);
    out.push(b'-');
    padded(out, date.month(), 2);
    out.push(b'-');
    padded(out, date.day(), 2);
}

fn padded(out: &mut Vec<u8>, value: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for byte in out[start..].iter_mut().rev() {
        // Truncation safety: a remainder of 10.
        #[allow(clippy::cast_possible_truncation)]
        let digit = (rest % 10) as u8;
        *byte = b'0' + digit;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests;
