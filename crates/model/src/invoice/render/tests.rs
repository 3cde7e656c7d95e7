#![allow(clippy::unwrap_used)]
use chrono::{TimeDelta, TimeZone};

use super::*;
use crate::invoice::input::Context;
use crate::{InvoiceInput, Metadata, TenantId};

const FULL: &str = r#"{
    "id": "0192f0c1-2345-7abc-8def-0123456789ab", "external_id": "A-1",
    "number": "2024/7", "kind": "credit_note",
    "currency": "EUR", "issue_date": "2024-11-03", "due_date": "2024-12-03", "total": 121.35,
    "customer": {"external_id": "c1", "name": "Zoë \"Q\"", "email": "z@example.org",
                 "country": "NL"},
    "lines": [
        {"sku": "s", "description": "tab\there", "quantity": 10, "unit_price": "10.000",
         "discount": "0.50", "tax_rate": 0.21},
        {"description": "calls", "quantity": "271.5", "unit_price": "0.003500"}
    ],
    "payments": [
        {"reference": "p1", "amount": "100", "paid_on": "2024-11-20", "method": "card"},
        {"reference": "p2", "amount": "1.35", "paid_on": "2024-11-19", "method": "card"}
    ],
    "metadata": {"source":"x","b":[1e1]}
}"#;

fn invoice(json: &str) -> Invoice {
    let now =
        Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap() + TimeDelta::nanoseconds(12_345_678);
    let context = Context {
        tenant_id: TenantId(Uuid::from_u128(1)),
        now,
    };
    InvoiceInput::parse(json.as_bytes())
        .unwrap()
        .into_invoice(&context)
        .unwrap()
}

#[test]
fn golden() {
    let mut invoice = invoice(FULL);
    invoice.payments[0].id = Uuid::from_u128(2);
    invoice.payments[1].id = Uuid::from_u128(3);
    let expected = concat!(
        r#"{"id":"0192f0c1-2345-7abc-8def-0123456789ab","#,
        r#""tenant_id":"00000000-0000-0000-0000-000000000001","#,
        r#""external_id":"A-1","number":"2024/7","kind":"credit_note","status":"partially_paid","#,
        r#""currency":"EUR","#,
        r#""customer_id":null,"customer":{"external_id":"c1","name":"Zoë \"Q\"","#,
        r#""email":"z@example.org","#,
        r#""tax_id":null,"address":null,"country":"NL"},"issue_date":"2024-11-03","#,
        r#""due_date":"2024-12-03","#,
        r#""lines":[{"sku":"s","description":"tab\there","quantity":"10","unit_price":"10.00","#,
        r#""discount":"0.50","#,
        r#""discount_percent":null,"document_discount":"0.00","tax_rate":"0.21","net":"99.50","#,
        r#""tax":"20.90"},{"sku":null,"description":"calls","quantity":"271.5","#,
        r#""unit_price":"0.0035","discount":"0.00","discount_percent":null,"#,
        r#""document_discount":"0.00","tax_rate":"0","net":"0.95","tax":"0.00"}],"#,
        r#""payments":[{"id":"00000000-0000-0000-0000-000000000002","kind":"payment","#,
        r#""reference":"p1","amount":"100.00","#,
        r#""paid_on":"2024-11-20","method":"card","reverses":null},"#,
        r#"{"id":"00000000-0000-0000-0000-000000000003","kind":"payment","reference":"p2","#,
        r#""amount":"1.35","paid_on":"2024-11-19","method":"card","reverses":null}],"#,
        r#""credits":null,"discount":"0.00","discount_percent":null,"#,
        r#""tax_rounding":"document","taxes":[{"rate":"0","net":"0.95","tax":"0.00"},"#,
        r#"{"rate":"0.21","net":"99.50","tax":"20.90"}],"subtotal":"100.45","#,
        r#""discount_total":"0.50","#,
        r#""tax_total":"20.90","total":"121.35","amount_paid":"101.35","amount_due":"20.00","#,
        r#""amount_credited":"0.00","#,
        r#""metadata":{"b": [10], "source": "x"},"version":1,"#,
        r#""created_at":"2026-11-20T07:08:09.012345Z","#,
        r#""modified_at":"2026-11-20T07:08:09.012345Z"}"#,
    );
    assert_eq!(String::from_utf8(invoice.render()).unwrap(), expected);
    assert_eq!(invoice.etag(), "\"1\"");
}

#[test]
fn only_values_matter() {
    let invoice = invoice(FULL);
    let mut other = invoice.clone();
    other.payments.reverse();
    let wide = |value: &mut Decimal| value.rescale(10);
    for line in &mut other.lines {
        [
            &mut line.quantity,
            &mut line.unit_price,
            &mut line.discount,
            &mut line.tax_rate,
            &mut line.net,
            &mut line.tax,
        ]
        .into_iter()
        .for_each(wide);
    }
    other
        .payments
        .iter_mut()
        .for_each(|payment| payment.amount.rescale(4));
    [
        &mut other.subtotal,
        &mut other.discount_total,
        &mut other.tax_total,
        &mut other.total,
        &mut other.amount_paid,
        &mut other.amount_due,
    ]
    .into_iter()
    .for_each(wide);
    assert_eq!(other.render(), invoice.render());
}

#[test]
fn a_bare_draft_has_the_same_shape() {
    let bare =
        invoice(r#"{"currency":"JPY","lines":[{"description":"d","quantity":1,"unit_price":5}]}"#);
    let text = String::from_utf8(bare.render()).unwrap();
    let keys = |text: &str| -> Vec<String> {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(
        keys(&text),
        keys(&String::from_utf8(invoice(FULL).render()).unwrap())
    );
    assert!(text.contains(
        r#""status":"draft","currency":"JPY","customer_id":null,"customer":null,"issue_date":null"#
    ));
    assert!(text.contains(concat!(
        r#""unit_price":"5","discount":"0","discount_percent":null,"document_discount":"0","#,
        r#""tax_rate":"0","net":"5","tax":"0"}],"payments":[],"#,
    )));
}

#[test]
fn the_event_is_in_normal_form() {
    let event = invoice(FULL).created_event();
    assert_eq!(Metadata::parse(&event).unwrap().as_str(), event);
    let value: serde_json::Value = serde_json::from_str(&event).unwrap();
    let expected = serde_json::json!({"kind": "credit_note", "status": "partially_paid",
        "total": "121.35",
        "currency": "EUR", "version": 1, "payments": 2});
    assert_eq!(value, expected);
}
