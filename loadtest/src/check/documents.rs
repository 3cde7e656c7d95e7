//! Invoices that the clients send: few shapes, chosen so that mistakes show.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Days of documents that are old enough for the archive: both sides of a year's end, and a year of
/// their own.
const OLD: [&str; 4] = ["2021-03-05", "2023-12-31", "2024-01-01", "2024-02-15"];
/// Days of years that hardly anybody has documents of: such a year is archived as a whole, and
/// dropped, again and again.
const RARE: [&str; 6] = [
    "2011-02-03",
    "2012-02-29",
    "2014-12-31",
    "2016-01-01",
    "2018-07-31",
    "2019-11-30",
];
/// Days on which drafts are issued, beside today: both sides of a year's end.
pub(super) const ISSUED: [&str; 2] = ["2025-12-31", "2026-01-02"];
/// Prices at which rounding by line and by rate differ.
const PRICES: [&str; 6] = ["0.02", "0.03", "33.35", "19.99", "100", "7.5"];
const RATES: [&str; 4] = ["0", "0.07", "0.19", "0.190"];

/// A document with `call` in its metadata; old enough for the archive, or not, where chance may
/// decide.
pub(super) fn document(
    chance: &mut ChaCha8Rng,
    call: &str,
    customer: Option<&str>,
    may_be_old: bool,
) -> Value {
    let currency = ["EUR", "EUR", "EUR", "JPY", "BHD"][chance.random_range(0..5)];
    let old = may_be_old && chance.random_bool(0.35);
    let rare = old && chance.random_bool(0.03);
    let lines: Vec<Value> = (0..chance.random_range(1..6))
        .map(|_| line(chance, currency, old))
        .collect();
    let draft = !old && chance.random_bool(0.6);
    let mut body = json!({"currency": currency, "metadata": {"call": call}});
    if old {
        let days = if rare { &RARE[..] } else { &OLD[..] };
        let day = days[chance.random_range(0..days.len())];
        body["issue_date"] = json!(day);
        // Without tax the total needs no rule of the server's.
        let total: Decimal = lines.iter().map(gross).sum();
        if rare || chance.random_bool(0.8) {
            body["payments"] = json!([{"reference": format!("import of {call}"),
                "amount": total.to_string(), "paid_on": day, "method": "bank_transfer"}]);
        }
    }
    body["lines"] = json!(lines);
    body["status"] = json!(if draft { "draft" } else { "issued" });
    if let Some(customer) = customer {
        body["customer"] = json!({"external_id": customer, "name": person(customer)});
    }
    if chance.random_bool(0.3) {
        body["external_id"] = json!(format!("external {call}"));
    }
    if !draft && chance.random_bool(0.1) {
        // Now and then one that others have as well.
        let common = chance.random_bool(0.3);
        let number = if common {
            format!("N-{}", chance.random_range(0..50))
        } else {
            format!("N-{call}")
        };
        body["number"] = json!(number);
    }
    body
}

/// The name of a customer, which must be found nowhere once it is erased.
pub(super) fn person(customer: &str) -> String {
    format!("Person of {customer}")
}

fn line(chance: &mut ChaCha8Rng, currency: &str, untaxed: bool) -> Value {
    let price = match currency {
        "JPY" => ["1", "99", "1250"][chance.random_range(0..3)],
        _ => PRICES[chance.random_range(0..PRICES.len())],
    };
    let rate = if untaxed {
        "0"
    } else {
        RATES[chance.random_range(0..RATES.len())]
    };
    let mut line = json!({"description": "Work", "quantity": chance.random_range(1..10).to_string(),
        "unit_price": price, "tax_rate": rate});
    if !untaxed && chance.random_bool(0.1) {
        line["discount_percent"] = json!(["5", "33.3", "100"][chance.random_range(0..3)]);
    }
    line
}

fn gross(line: &Value) -> Decimal {
    let figure = |name: &str| super::money::amount(line, name).unwrap_or_default();
    figure("quantity") * figure("unit_price")
}
