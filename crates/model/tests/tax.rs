//! Tax and discounts, against the same rules in whole numbers and as plainly as possible (EN 16931,
//! BR-CO-10 to BR-CO-17).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use sheaf_model::invoice::input::Context;
use sheaf_model::invoice::totals;
use sheaf_model::{Currency, Decimal, Invoice, InvoiceInput, TaxRounding, TenantId};
use uuid::Uuid;

fn parse(document: &Value) -> Result<Invoice, String> {
    let context = Context {
        tenant_id: TenantId(Uuid::from_u128(7)),
        now: Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap(),
    };
    let input = InvoiceInput::parse(document.to_string().as_bytes()).unwrap();
    input.into_invoice(&context).map_err(|invalid| {
        let error = &invalid.errors()[0];
        format!("{} {}: {}", error.field, error.code, error.detail)
    })
}

fn make(document: &Value) -> Invoice {
    parse(document).unwrap()
}

fn lines(count: usize, price: &str, rate: &str) -> Value {
    let line = json!({"description": "d", "quantity": 1, "unit_price": price, "tax_rate": rate});
    json!({"currency": "EUR", "issue_date": "2026-03-01", "lines": vec![line; count]})
}

fn amount(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn tax_is_rounded_once_a_rate() {
    for (count, price, by_document, by_line) in [
        (300, "0.02", "1.14", "0.00"),
        (300, "0.03", "1.71", "3.00"),
        (3, "33.35", "19.01", "19.02"),
        (1, "33.35", "6.34", "6.34"),
    ] {
        let mut document = lines(count, price, "0.19");
        let made = make(&document);
        assert_eq!(made.tax_rounding, Some(TaxRounding::Document));
        assert_eq!(made.tax_total, amount(by_document), "{count} x {price}");
        document["tax_rounding"] = json!("document");
        assert_eq!(make(&document).tax_total, made.tax_total);
        document["tax_rounding"] = json!("line");
        let by = make(&document);
        assert_eq!(
            (by.tax_rounding, by.tax_total),
            (Some(TaxRounding::Line), amount(by_line))
        );
    }
    let mut wrong = lines(1, "1", "0.19");
    wrong["tax_rounding"] = json!("lines");
    let refused = "tax_rounding invalid_tax_rounding: must be document or line";
    assert_eq!(parse(&wrong).unwrap_err(), refused);
}

#[test]
fn rates_are_grouped_by_their_value() {
    let mut document = lines(2, "33.35", "0.19");
    document["lines"][1]["tax_rate"] = json!("0.190");
    let made = make(&document);
    // 66.70 x 0.19 = 12.673; by itself each is 6.3365.
    assert_eq!(made.tax_total, amount("12.67"));
    assert_eq!(totals::taxes(&made.lines).len(), 1);
    let told: Value = serde_json::from_slice(&made.render()).unwrap();
    assert_eq!(
        told["taxes"],
        json!([{"rate": "0.19", "net": "66.70", "tax": "12.67"}])
    );
    assert_eq!(told["tax_rounding"], "document");
}

/// An import that tells no total, but what was paid of it.
#[test]
fn a_payment_of_a_total_that_only_lines_give_says_so() {
    let mut document = lines(3, "33.35", "0.19");
    let paid = |amount: &str| {
        json!([{"reference": "r", "amount": amount, "paid_on": "2026-11-01",
        "method": "card"}])
    };
    document["payments"] = paid("119.07");
    let refused = parse(&document).unwrap_err();
    assert!(refused.starts_with("payments overpaid: "), "{refused}");
    assert!(refused.contains(r#""tax_rounding": "line""#), "{refused}");
    document["payments"] = paid("119.08");
    let refused = parse(&document).unwrap_err();
    assert!(!refused.contains("tax_rounding"), "{refused}");
    document["payments"] = paid("119.07");
    document["tax_rounding"] = json!("line");
    assert_eq!(make(&document).amount_due, Decimal::ZERO);
}

#[test]
fn a_total_that_only_lines_give_says_so() {
    let mut document = lines(3, "33.35", "0.19");
    document["total"] = json!("119.06");
    assert_eq!(make(&document).total, amount("119.06"));
    document["total"] = json!("119.07");
    let refused = parse(&document).unwrap_err();
    assert!(
        refused.starts_with("total total_fits_line_rounding: "),
        "{refused}"
    );
    assert!(refused.contains(r#""tax_rounding": "line""#), "{refused}");
    document["tax_rounding"] = json!("line");
    assert_eq!(make(&document).total, amount("119.07"));
    document["total"] = json!("119.06");
    let refused = parse(&document).unwrap_err();
    assert!(refused.starts_with("total total_mismatch: "), "{refused}");
    document["total"] = json!("119.08");
    document["tax_rounding"] = json!("document");
    let refused = parse(&document).unwrap_err();
    assert!(refused.starts_with("total total_mismatch: "), "{refused}");
}

/// What a line comes to: discount, net and tax.
fn line_of(members: Value) -> (String, String, String) {
    let mut line = json!({"description": "d", "tax_rate": "0.19"});
    for (name, value) in members.as_object().unwrap() {
        line[name] = value.clone();
    }
    let document = json!({"currency": "EUR", "issue_date": "2026-03-01",
        "lines": [{"description": "more", "quantity": 1, "unit_price": 1000}, line]});
    let told: Value = serde_json::from_slice(&make(&document).render()).unwrap();
    let text = |name: &str| told["lines"][1][name].as_str().unwrap().to_owned();
    (text("discount"), text("net"), text("tax"))
}

#[test]
fn a_percentage_is_taken_off_to_the_last_unit_and_off_what_is_given_back() {
    let expected = |discount: &str, net: &str, tax: &str| {
        (discount.to_owned(), net.to_owned(), tax.to_owned())
    };
    let line = |quantity: &str, price: &str, percent: &str| {
        line_of(json!({"quantity": quantity, "unit_price": price, "discount_percent": percent}))
    };
    // 144.495 is 144.50, and nothing of it is left.
    assert_eq!(
        line("2.25", "64.22", "100"),
        expected("144.50", "0.00", "0.00")
    );
    assert_eq!(line("1", "0.005", "100"), expected("0.01", "0.00", "0.00"));
    assert_eq!(line("1", "0.004", "100"), expected("0.00", "0.00", "0.00"));
    assert_eq!(
        line("3", "33.335", "50"),
        expected("50.00", "50.01", "9.50")
    );
    assert_eq!(
        line("-1", "100", "10"),
        expected("-10.00", "-90.00", "-17.10")
    );
    assert_eq!(
        line("-2.25", "64.22", "100"),
        expected("-144.50", "0.00", "0.00")
    );
    // What is told can be sent again.
    let again =
        json!({"quantity": -1, "unit_price": 100, "discount_percent": 10, "discount": "-10.00"});
    assert_eq!(line_of(again), expected("-10.00", "-90.00", "-17.10"));
    let all = json!({"quantity": "2.25", "unit_price": "64.22", "discount": "144.50"});
    assert_eq!(line_of(all), expected("144.50", "0.00", "0.00"));

    let refused = |members: Value| {
        let mut document = lines(1, "100", "0.19");
        for (name, value) in members.as_object().unwrap() {
            document["lines"][0][name] = value.clone();
        }
        parse(&document).unwrap_err()
    };
    let answer = refused(json!({"discount": "-1"}));
    assert!(
        answer.starts_with("lines[0].discount discount_negative"),
        "{answer}"
    );
    let answer = refused(json!({"discount": "100.01"}));
    assert!(
        answer.starts_with("lines[0].discount discount_exceeds_line"),
        "{answer}"
    );
    let answer = refused(json!({"quantity": -1, "discount": "1"}));
    assert!(
        answer.starts_with("lines[0].discount discount_exceeds_line"),
        "{answer}"
    );
    let answer = refused(json!({"discount": "9.99", "discount_percent": "10"}));
    assert!(
        answer.starts_with("lines[0].discount discount_mismatch"),
        "{answer}"
    );
}

#[test]
fn nothing_is_left_of_small_lines_less_everything() {
    let mut document = lines(999, "0.005", "0.19");
    for line in document["lines"].as_array_mut().unwrap() {
        line["discount_percent"] = json!("100");
    }
    let made = make(&document);
    assert_eq!(
        (made.total, made.discount_total),
        (Decimal::ZERO, amount("9.99"))
    );
    let mut document = lines(999, "0.005", "0.19");
    document["discount_percent"] = json!("100");
    let made = make(&document);
    assert_eq!((made.total, made.discount), (Decimal::ZERO, amount("9.99")));
}

#[test]
fn a_discount_on_the_document_lowers_every_line() {
    let back = json!({"description": "back", "quantity": -1, "unit_price": 30, "tax_rate": "0.07"});
    let mut document = lines(1, "100", "0.19");
    document["lines"].as_array_mut().unwrap().push(back);
    let nets = |made: &Invoice| -> Vec<Decimal> { made.lines.iter().map(|l| l.net).collect() };
    document["discount_percent"] = json!("10");
    let by_percent = make(&document);
    assert_eq!(nets(&by_percent), [amount("90"), amount("-27")]);
    assert_eq!(by_percent.discount, amount("7"));
    assert_eq!(by_percent.tax_total, amount("15.21"));
    // The same, said as an amount.
    document.as_object_mut().unwrap().remove("discount_percent");
    document["discount"] = json!("7.00");
    let by_amount = make(&document);
    assert_eq!(nets(&by_amount), nets(&by_percent));
    document["discount"] = json!("70.00");
    let nothing = make(&document);
    assert_eq!(
        (nothing.total, nothing.tax_total),
        (Decimal::ZERO, Decimal::ZERO)
    );
    document["discount"] = json!("70.01");
    let refused = parse(&document).unwrap_err();
    assert!(
        refused.starts_with("discount discount_exceeds_lines"),
        "{refused}"
    );
    // Lines that add up to nothing have taxes of their own.
    document["lines"][1]["unit_price"] = json!(100);
    document["discount"] = json!("0");
    document["discount_percent"] = json!("50");
    let half = make(&document);
    assert_eq!(nets(&half), [amount("50"), amount("-50")]);
    assert_eq!(
        (half.discount, half.tax_total),
        (Decimal::ZERO, amount("6"))
    );
}

/// A line: quantity and price with 3 decimals, index into [`RATES`], percent off.
type Sent = (i64, i64, usize, i64);

/// Texts, and millionths.
const RATES: [(&str, i128); 8] = [
    ("0.19", 190_000),
    ("0.190", 190_000),
    ("0.07", 70_000),
    ("0", 0),
    ("0.0", 0),
    ("1", 1_000_000),
    ("0.333333", 333_333),
    ("0.000001", 1),
];

/// round(`numerator` / `denominator`), half away from zero.
fn round(numerator: i128, denominator: i128) -> i128 {
    let (sign, absolute) = (numerator.signum(), numerator.abs());
    sign * ((2 * absolute + denominator) / (2 * denominator))
}

fn any_lines() -> impl Strategy<Value = Vec<Sent>> {
    let quantity = prop_oneof![4 => 1_i64..5_000_000, 1 => -100_000_i64..0];
    let percent = prop_oneof![3 => Just(0_i64), 1 => 0_i64..=100, 1 => Just(100_i64)];
    let line = (quantity, 0_i64..2_000_000, 0..RATES.len(), percent);
    let count = prop_oneof![20 => 1_usize..12, 3 => 12_usize..60, 1 => Just(1_000_usize)];
    count.prop_flat_map(move |count| prop::collection::vec(line.clone(), count))
}

fn document(currency: &str, sent: &[Sent], percent: i64, rounding: Option<&str>) -> Value {
    let line = |(quantity, price, rate, off): &Sent| {
        let mut line = json!({"description": "d", "quantity": Decimal::new(*quantity,
            3).to_string(),
            "unit_price": Decimal::new(*price, 3).to_string(), "tax_rate": RATES[*rate].0});
        if *off > 0 {
            line["discount_percent"] = json!(off.to_string());
        }
        line
    };
    let mut document = json!({"currency": currency, "issue_date": "2026-03-01",
        "lines": sent.iter().map(line).collect::<Vec<_>>()});
    if percent > 0 {
        document["discount_percent"] = json!(percent.to_string());
    }
    if let Some(rounding) = rounding {
        document["tax_rounding"] = json!(rounding);
    }
    document
}

/// In smallest units.
fn whole(amount: Decimal, exponent: u32) -> i128 {
    let amount = amount.normalize();
    assert!(amount.scale() <= exponent, "{amount}");
    amount.mantissa() * 10_i128.pow(exponent - amount.scale())
}

const MILLION: i128 = 1_000_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_sum_is_the_standards(
        currency in prop::sample::select(vec!["EUR", "JPY", "BHD", "CLF"]),
        sent in any_lines(),
        percent in prop_oneof![3 => Just(0_i64), 1 => 1_i64..=100],
        rounding in prop::sample::select(vec![None, Some("document"), Some("line")]),
    ) {
        let exponent = Currency::parse(currency).unwrap().exponent();
        let made = match parse(&document(currency, &sent, percent, rounding)) {
            Ok(made) => made,
            Err(refused) => {
                prop_assert!(refused.contains("negative_total"), "{refused}");
                return Ok(());
            }
        };
        let unit = 10_i128.pow(6 - exponent);
        // The lines before the document's discount.
        let mut nets = Vec::new();
        for ((quantity, price, _, off), line) in sent.iter().zip(&made.lines) {
            let gross = i128::from(*quantity) * i128::from(*price);
            let discount = round(gross * i128::from(*off), unit * 100);
            nets.push(round(gross, unit) - discount);
            prop_assert_eq!(whole(line.discount, exponent), discount);
        }
        let sum: i128 = nets.iter().sum();
        let discount = round(sum * i128::from(percent), 100);
        prop_assert_eq!(whole(made.discount, exponent), discount);
        let shares: i128 = made.lines.iter().map(|l| whole(l.document_discount, exponent)).sum();
        prop_assert_eq!(shares, discount);
        let mut by_rate: BTreeMap<i128, (i128, i128)> = BTreeMap::new();
        for ((before, line), (.., rate, _)) in nets.iter().zip(&made.lines).zip(&sent) {
            let (share, net) = (whole(line.document_discount, exponent), whole(line.net, exponent));
            prop_assert_eq!(net, before - share);
            prop_assert!((share * 100 - before * i128::from(percent)).abs() < 100);
            let tax = whole(line.tax, exponent);
            let rate = RATES[*rate].1;
            prop_assert!((tax * MILLION - net * rate).abs() < MILLION, "{tax} of {net} at {rate}");
            if rounding == Some("line") {
                prop_assert_eq!(tax, round(net * rate, MILLION));
            }
            let of = by_rate.entry(rate).or_default();
            *of = (of.0 + net, of.1 + tax);
        }
        let told: Value = serde_json::from_slice(&made.render()).unwrap();
        let taxes = told["taxes"].as_array().unwrap();
        prop_assert_eq!(taxes.len(), by_rate.len());
        for (told, (rate, (net, tax))) in taxes.iter().zip(&by_rate) {
            let units = |name: &str| whole(told[name].as_str().unwrap().parse().unwrap(), exponent);
            prop_assert_eq!((units("net"), units("tax")), (*net, *tax));
            if rounding != Some("line") {
                prop_assert_eq!(*tax, round(net * rate, MILLION));
            }
        }
        let (net, tax) = by_rate.values().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        prop_assert_eq!(whole(made.subtotal, exponent), net);
        prop_assert_eq!(whole(made.tax_total, exponent), tax);
        prop_assert_eq!(whole(made.total, exponent), net + tax);
    }
}
