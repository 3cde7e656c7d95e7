#![allow(clippy::unwrap_used, clippy::panic)]
use chrono::{TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{Invoice, Kind, Status, TenantId, bounds, id};

pub(crate) mod each_mistake;

fn context() -> Context {
    let now =
        Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap() + TimeDelta::nanoseconds(1_234_567);
    Context {
        tenant_id: TenantId(Uuid::from_u128(7)),
        now,
    }
}

/// A valid document: 2 x 10.00 with 20 % tax is 24.00.
fn document() -> Value {
    json!({
        "currency": "EUR", "issue_date": "2026-03-01",
        "lines": [{"description": "d", "quantity": "2", "unit_price": "10", "tax_rate": "0.2"}],
    })
}

/// The valid document with `pointer` set to `value`.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = document();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    if let Value::Array(items) = parent {
        items[key.parse::<usize>().unwrap()] = value;
    } else {
        parent[key] = value;
    }
    document
}

fn payment(reference: &str, amount: &str) -> Value {
    json!({"reference": reference, "amount": amount, "paid_on": "2026-03-02", "method": "card"})
}

fn accept(document: &Value) -> Invoice {
    InvoiceInput::parse(document.to_string().as_bytes())
        .unwrap()
        .into_invoice(&context())
        .unwrap()
}

/// The mistakes of `document` as `field code`.
fn mistakes(document: &str) -> Vec<String> {
    let invalid = match InvoiceInput::parse(document.as_bytes()) {
        Ok(input) => input.into_invoice(&context()).unwrap_err(),
        Err(ParseError::Invalid(invalid)) => invalid,
        Err(ParseError::Syntax(detail)) => return vec![format!("syntax {detail}")],
    };
    assert_eq!(invalid.code(), invalid.errors()[0].code);
    invalid
        .errors()
        .iter()
        .map(|error| format!("{} {}", error.field, error.code))
        .collect()
}

#[track_caller]
fn refuse(document: &Value, expected: &str) {
    assert_eq!(mistakes(&document.to_string()), [expected], "{document}");
}

#[test]
fn totals_status_and_identity() {
    let invoice = accept(&document());
    assert_eq!(
        (invoice.subtotal, invoice.tax_total, invoice.total),
        (20.into(), 4.into(), 24.into())
    );
    assert_eq!(
        (invoice.amount_paid, invoice.amount_due),
        (0.into(), 24.into())
    );
    assert_eq!(
        (invoice.status, invoice.kind, invoice.version),
        (Status::Issued, Kind::Invoice, 1)
    );
    assert_eq!(invoice.tenant_id, context().tenant_id);
    assert_eq!(
        id::timestamp_of(invoice.id).to_rfc3339(),
        "2026-03-01T00:00:00+00:00"
    );
    assert_eq!(invoice.created_at, invoice.modified_at);
    assert_eq!(invoice.created_at.timestamp_subsec_nanos(), 1_234_000);
    assert_eq!(invoice.metadata.as_str(), "{}");
}

#[test]
fn status_follows_date_and_payments() {
    let now = context().now;
    let mut draft = document();
    draft.as_object_mut().unwrap().remove("issue_date");
    let invoice = accept(&draft);
    assert_eq!((invoice.status, invoice.issue_date), (Status::Draft, None));
    assert_eq!(
        id::timestamp_of(invoice.id).timestamp_millis(),
        now.timestamp_millis()
    );
    draft["status"] = json!("issued");
    let invoice = accept(&draft);
    assert_eq!(
        (invoice.status, invoice.issue_date),
        (Status::Issued, Some(now.date_naive()))
    );
    assert_eq!(
        id::timestamp_of(invoice.id).timestamp_millis(),
        now.timestamp_millis()
    );
    assert_eq!(
        accept(&with("/status", json!("draft"))).status,
        Status::Draft
    );

    for (amounts, status, due) in [
        (vec!["24"], Status::Paid, 0),
        (vec!["20", "4.00"], Status::Paid, 0),
        (vec!["23"], Status::PartiallyPaid, 1),
    ] {
        let payments = amounts
            .iter()
            .enumerate()
            .map(|(index, amount)| payment(&index.to_string(), amount))
            .collect();
        let invoice = accept(&with("/payments", payments));
        assert_eq!((invoice.status, invoice.amount_due), (status, due.into()));
    }
    let free = accept(&with("/lines/0/unit_price", json!(0)));
    assert_eq!((free.status, free.total), (Status::Paid, 0.into()));
}

#[test]
fn payments_keep_their_order() {
    let payments = (0..500)
        .map(|index| payment(&format!("r{index}"), "0.01"))
        .collect();
    let invoice = accept(&with("/payments", payments));
    assert!(invoice.payments.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(invoice.payments[499].reference, "r499");
}

#[test]
fn customer_by_id_or_by_name() {
    let invoice = accept(&with(
        "/customer",
        json!({"external_id": "c", "name": "n", "tax_id": ""}),
    ));
    assert_eq!(invoice.customer.unwrap().external_id.as_deref(), Some("c"));
    assert_eq!(invoice.customer_id, None);
    let id = Uuid::from_u128(9);
    let mut named = with("/customer_id", json!(id));
    let invoice = accept(&named);
    assert_eq!((invoice.customer_id, invoice.customer), (Some(id), None));
    named["customer"] = json!({"external_id": "c", "name": "n"});
    refuse(&named, "customer customer_ambiguous");
}

#[test]
fn amounts_beyond_the_range() {
    let mut large = with("/lines/0/quantity", json!("999999999999"));
    large["lines"][0]["unit_price"] = json!("999999999999.999999");
    refuse(&large, "lines[0].unit_price amount_out_of_range");
    let line = json!({"description": "d", "quantity": "99", "unit_price": "999999999999"});
    refuse(
        &with("/lines", json!([line.clone(), line.clone()])),
        "lines amount_out_of_range",
    );
    // Tax takes the total beyond the range, the nets alone are in it.
    let mut taxed = line;
    taxed["tax_rate"] = json!(1);
    refuse(&with("/lines", json!([taxed])), "lines amount_out_of_range");
}

#[test]
fn drafts_have_no_payments_and_dates_are_compared_with_today() {
    let mut draft = with("/payments", json!([payment("r", "1")]));
    draft["status"] = json!("draft");
    refuse(&draft, "payments payment_on_draft");
    let mut today = with("/due_date", json!("2026-11-19"));
    today["issue_date"] = json!(null);
    assert_eq!(accept(&today).status, Status::Draft);
    today["status"] = json!("issued");
    refuse(&today, "due_date due_before_issue");
}

#[test]
fn mistakes_are_collected_and_bounded() {
    let document = json!({
        "kind": "x", "issue_date": "2026-13-01", "metadata": 1, "total": "abc",
        "lines": [{"quantity": 0, "unit_price": "-1", "tax_rate": 2, "discount": "0.00001"}],
        "payments": [{"amount": "0"}],
    });
    let expected = [
        "kind invalid_kind",
        "currency missing_field",
        "issue_date invalid_date",
        "lines[0].description missing_field",
        "lines[0].quantity quantity_zero",
        "lines[0].unit_price unit_price_negative",
        "lines[0].discount too_many_decimals",
        "lines[0].tax_rate tax_rate_out_of_range",
        "payments[0].reference missing_field",
        "payments[0].amount payment_not_positive",
        "payments[0].paid_on missing_field",
        "payments[0].method missing_field",
        "metadata invalid_type",
        "total invalid_type",
    ];
    assert_eq!(mistakes(&document.to_string()), expected);
    let many = with("/lines", vec![json!({}); bounds::MAX_LINES].into());
    assert_eq!(mistakes(&many.to_string()).len(), bounds::MAX_FIELD_ERRORS);
    refuse(
        &with("/lines", vec![json!({}); bounds::MAX_LINES + 1].into()),
        "lines too_many_lines",
    );
}

#[test]
fn broken_json_is_told_from_wrong_json() {
    let valid = document().to_string();
    for text in [
        "",
        " ",
        "{",
        "nope",
        &format!("{valid}{valid}"),
        &format!("{valid}x"),
        r#"{"currency":5"#,
        r#"{"number":"\ud800"}"#,
    ] {
        assert!(
            matches!(
                InvoiceInput::parse(text.as_bytes()),
                Err(ParseError::Syntax(_))
            ),
            "{text}"
        );
    }
    assert_eq!(
        InvoiceInput::parse(b"{\"number\":\"\xff\"}")
            .unwrap_err()
            .code(),
        "invalid_json"
    );
    for text in ["[]", "1", "null", "\"x\"", "[null,null]"] {
        assert_eq!(mistakes(text), [" invalid_type"], "{text}");
    }
    assert_eq!(
        mistakes(r#"{"currency":"EUR","currency":"USD"}"#),
        ["currency duplicate_field"]
    );
    assert_eq!(
        mistakes(r#"{"lines":[{"sku":"a","sku":"b"}]}"#),
        ["lines[0].sku duplicate_field"]
    );
    for deep in [
        "[".repeat(1 << 20),
        "{\"a\":".repeat(200_000),
        format!("{{\"metadata\":{{\"a\":{}", "[".repeat(1 << 20)),
    ] {
        assert_eq!(
            InvoiceInput::parse(deep.as_bytes()).unwrap_err().code(),
            "invalid_json"
        );
    }
    let deep = format!(
        "{{\"lines\":{}{}}}",
        "[".repeat(1 << 20),
        "]".repeat(1 << 20)
    );
    assert_eq!(mistakes(&deep), ["lines[0] invalid_type"]);
}

#[test]
fn tenant_of_a_bulk_line() {
    let tenant = |extra: &str| {
        let input = InvoiceInput::parse(format!("{{{extra}}}").as_bytes()).unwrap();
        input
            .tenant_ref()
            .map(|found| format!("{found:?}"))
            .map_err(|error| error.code.as_str())
    };
    assert_eq!(tenant(""), Ok("None".to_owned()));
    assert_eq!(
        tenant(r#""tenant_external_id":"a""#),
        Ok("Some(ExternalId(\"a\"))".to_owned())
    );
    let id = Uuid::from_u128(1);
    assert_eq!(
        tenant(&format!(r#""tenant_id":"{id}""#)),
        Ok(format!("Some(Id(TenantId({id})))"))
    );
    assert_eq!(
        tenant(&format!(r#""tenant_id":"{id}","tenant_external_id":"a""#)),
        Err("tenant_ambiguous")
    );
    assert_eq!(tenant(r#""tenant_id":"x""#), Err("invalid_uuid"));
    assert_eq!(
        tenant(r#""tenant_external_id":"\u0000""#),
        Err("string_has_nul")
    );
    assert_eq!(tenant(r#""tenant_external_id":" ""#), Err("string_empty"));
}
