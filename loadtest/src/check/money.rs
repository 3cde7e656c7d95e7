//! An invoice's arithmetic, done again from its own lines: nothing of it is shared with the server.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

/// Decimals of the currencies that the clients use (ISO 4217).
fn exponent(currency: &str) -> u32 {
    match currency {
        "JPY" => 0,
        "BHD" => 3,
        _ => 2,
    }
}

/// A decimal as answers give it: a string.
pub(super) fn amount(of: &Value, name: &str) -> Option<Decimal> {
    Decimal::from_str(of.get(name)?.as_str()?).ok()
}

fn round(value: Decimal, exponent: u32) -> Decimal {
    value.round_dp_with_strategy(exponent, RoundingStrategy::MidpointAwayFromZero)
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// What does not add up in an invoice; empty when all does.
///
/// The rules are EN 16931's: a line's net is quantity x price less its discounts, tax is rounded
/// once per rate (BR-CO-17) unless the invoice says that it is rounded by line, and what is due is
/// the total less what was paid.
#[must_use]
pub fn faults(invoice: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut wrong = |what: &str, is: Option<Decimal>, should: Decimal| {
        if is != Some(should) {
            let is = is.map_or_else(|| "missing".to_owned(), |is| is.to_string());
            faults.push(format!("{what} is {is}, should be {should}"));
        }
    };
    let exponent = exponent(invoice["currency"].as_str().unwrap_or_default());
    let by_line = invoice["tax_rounding"] == "line";
    let mut subtotal = Decimal::ZERO;
    let mut discounts = Decimal::ZERO;
    // By rate: net, and the tax of the lines as they tell it.
    let mut rates: BTreeMap<Decimal, (Decimal, Decimal)> = BTreeMap::new();
    for (index, line) in list(invoice, "lines").iter().enumerate() {
        let [
            Some(quantity),
            Some(price),
            Some(discount),
            Some(share),
            Some(rate),
            Some(net),
            Some(tax),
        ] = [
            "quantity",
            "unit_price",
            "discount",
            "document_discount",
            "tax_rate",
            "net",
            "tax",
        ]
        .map(|name| amount(line, name))
        else {
            faults.push(format!("line {index} lacks a figure"));
            return faults;
        };
        let should = round(quantity * price - discount, exponent) - share;
        wrong(&format!("net of line {index}"), Some(net), should);
        if by_line {
            wrong(
                &format!("tax of line {index}"),
                Some(tax),
                round(net * rate, exponent),
            );
        }
        subtotal += net;
        discounts += discount + share;
        let of_rate = rates.entry(rate.normalize()).or_default();
        of_rate.0 += net;
        of_rate.1 += tax;
    }
    let mut taxes = Decimal::ZERO;
    for (rate, (net, of_lines)) in &rates {
        let tax = if by_line {
            *of_lines
        } else {
            round(*net * *rate, exponent)
        };
        taxes += tax;
        wrong(&format!("tax of the lines at {rate}"), Some(*of_lines), tax);
        let told = list(invoice, "taxes").iter();
        let told = told.filter(|told| amount(told, "rate") == Some(*rate));
        wrong(
            &format!("tax at {rate}"),
            told.clone().find_map(|t| amount(t, "tax")),
            tax,
        );
        wrong(
            &format!("net at {rate}"),
            told.clone().find_map(|t| amount(t, "net")),
            *net,
        );
    }
    wrong("subtotal", amount(invoice, "subtotal"), subtotal);
    wrong(
        "discount_total",
        amount(invoice, "discount_total"),
        round(discounts, exponent),
    );
    wrong("tax_total", amount(invoice, "tax_total"), taxes);
    let total = subtotal + taxes;
    wrong("total", amount(invoice, "total"), total);
    let payments = list(invoice, "payments").iter();
    let paid: Decimal = payments
        .filter_map(|payment| amount(payment, "amount"))
        .sum();
    wrong("amount_paid", amount(invoice, "amount_paid"), paid);
    let due = match invoice["status"].as_str() {
        Some("cancelled") => Decimal::ZERO,
        _ => total - paid,
    };
    wrong("amount_due", amount(invoice, "amount_due"), due);
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn invoice() -> Value {
        let line = json!({"quantity": "1", "unit_price": "33.35", "discount": "0.00",
            "document_discount": "0.00", "tax_rate": "0.19", "net": "33.35", "tax": "6.34"});
        let mut third = line.clone();
        third["tax"] = json!("6.33");
        json!({"currency": "EUR", "status": "partially_paid", "lines": [line, line, third],
            "payments": [{"amount": "19.06"}], "taxes": [{"rate": "0.19", "net": "100.05",
                "tax": "19.01"}],
            "subtotal": "100.05", "discount_total": "0.00", "tax_total": "19.01", "total": "119.06",
            "amount_paid": "19.06", "amount_due": "100.00"})
    }

    #[test]
    fn what_adds_up_has_no_faults() {
        assert_eq!(faults(&invoice()), Vec::<String>::new());
    }

    #[test]
    fn each_figure_is_looked_at() {
        for figure in [
            "subtotal",
            "discount_total",
            "tax_total",
            "total",
            "amount_paid",
            "amount_due",
        ] {
            let mut invoice = invoice();
            invoice[figure] = json!("7.00");
            assert_eq!(faults(&invoice).len(), 1, "{figure}");
        }
        for (list, figure) in [
            ("lines", "net"),
            ("lines", "tax"),
            ("taxes", "tax"),
            ("taxes", "net"),
        ] {
            let mut invoice = invoice();
            invoice[list][0][figure] = json!("7.00");
            assert!(!faults(&invoice).is_empty(), "{list} {figure}");
        }
    }

    #[test]
    fn tax_rounded_by_line_is_refused_unless_the_invoice_says_so() {
        let mut invoice = invoice();
        invoice["lines"][2]["tax"] = json!("6.34");
        invoice["taxes"][0]["tax"] = json!("19.02");
        invoice["tax_total"] = json!("19.02");
        invoice["total"] = json!("119.07");
        invoice["amount_due"] = json!("100.01");
        assert!(!faults(&invoice).is_empty());
        invoice["tax_rounding"] = json!("line");
        assert_eq!(faults(&invoice), Vec::<String>::new());
    }
}
