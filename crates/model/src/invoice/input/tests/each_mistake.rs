//! A member at a time that is wrong, and the code that says so.

use super::*;

#[test]
fn each_mistake_has_its_code() {
    let long = |length: usize| json!("é".repeat(length));
    for (pointer, value, expected) in [
        ("/currency", json!("eur"), "currency unknown_currency"),
        ("/currency", json!(null), "currency missing_field"),
        ("/currency", json!(5), "currency invalid_type"),
        ("/kind", json!("bill"), "kind invalid_kind"),
        ("/status", json!("paid"), "status invalid_status"),
        ("/status", json!("x"), "status invalid_status"),
        ("/id", json!("x"), "id invalid_uuid"),
        ("/id", json!(Uuid::new_v4()), "id id_not_v7"),
        (
            "/id",
            json!(id::new_id(context().now + TimeDelta::hours(1))),
            "id id_in_future",
        ),
        (
            "/customer_id",
            json!("{0192f0c1-2345-7abc-8def-0123456789ab}"),
            "customer_id invalid_uuid",
        ),
        ("/external_id", json!(" "), "external_id string_empty"),
        ("/external_id", long(201), "external_id string_too_long"),
        ("/number", long(101), "number string_too_long"),
        ("/number", json!("a\0"), "number string_has_nul"),
        ("/number", json!(1), "number invalid_type"),
        (
            "/issue_date",
            json!("2026-02-30"),
            "issue_date invalid_date",
        ),
        ("/issue_date", json!("2026-2-3"), "issue_date invalid_date"),
        (
            "/issue_date",
            json!("1969-12-31"),
            "issue_date date_out_of_range",
        ),
        (
            "/issue_date",
            json!("2200-01-01"),
            "issue_date date_out_of_range",
        ),
        ("/issue_date", json!(20260101), "issue_date invalid_type"),
        (
            "/due_date",
            json!("2026-02-28"),
            "due_date due_before_issue",
        ),
        (
            "/due_date",
            json!("2200-01-01"),
            "due_date date_out_of_range",
        ),
        ("/lines", json!([]), "lines no_lines"),
        ("/lines", json!(null), "lines missing_field"),
        ("/lines", json!({}), "lines invalid_type"),
        (
            "/lines/0",
            json!(["a", "b", "1", "1", null, null]),
            "lines[0] invalid_type",
        ),
        (
            "/lines/0/description",
            json!(null),
            "lines[0].description missing_field",
        ),
        (
            "/lines/0/description",
            json!("  "),
            "lines[0].description string_empty",
        ),
        (
            "/lines/0/description",
            json!("\u{1}\u{7f} \u{fffe}"),
            "lines[0].description string_empty",
        ),
        (
            "/lines/0/description",
            json!("\u{200b}\u{202e}"),
            "lines[0].description string_empty",
        ),
        ("/number", json!("\u{2}"), "number string_empty"),
        ("/number", json!("\u{feff}"), "number string_empty"),
        (
            "/customer",
            json!({"external_id": "c", "name": "\u{2066}\u{2069}"}),
            "customer.name string_empty",
        ),
        (
            "/lines/0/description",
            long(2001),
            "lines[0].description string_too_long",
        ),
        ("/lines/0/sku", long(101), "lines[0].sku string_too_long"),
        ("/lines/0/sku", json!(5), "lines[0].sku invalid_type"),
        (
            "/lines/0/quantity",
            json!(0),
            "lines[0].quantity quantity_zero",
        ),
        // A line may give back, the document may not.
        ("/lines/0/quantity", json!("-1"), "lines negative_total"),
        (
            "/lines/0/discount_percent",
            json!("100.1"),
            "lines[0].discount_percent discount_percent_out_of_range",
        ),
        (
            "/discount",
            json!("20.01"),
            "discount discount_exceeds_lines",
        ),
        (
            "/lines/0/quantity",
            json!("1.0000001"),
            "lines[0].quantity too_many_decimals",
        ),
        (
            "/lines/0/quantity",
            json!("1000000000000"),
            "lines[0].quantity amount_out_of_range",
        ),
        (
            "/lines/0/quantity",
            json!(true),
            "lines[0].quantity invalid_type",
        ),
        (
            "/lines/0/quantity",
            json!("ten"),
            "lines[0].quantity invalid_type",
        ),
        (
            "/lines/0/quantity",
            json!(null),
            "lines[0].quantity missing_field",
        ),
        (
            "/lines/0/unit_price",
            json!(-1),
            "lines[0].unit_price unit_price_negative",
        ),
        (
            "/lines/0/unit_price",
            json!(null),
            "lines[0].unit_price missing_field",
        ),
        (
            "/lines/0/discount",
            json!("-1"),
            "lines[0].discount discount_negative",
        ),
        (
            "/lines/0/discount",
            json!("20.01"),
            "lines[0].discount discount_exceeds_line",
        ),
        (
            "/lines/0/discount",
            json!("0.001"),
            "lines[0].discount too_many_decimals",
        ),
        (
            "/lines/0/tax_rate",
            json!("1.01"),
            "lines[0].tax_rate tax_rate_out_of_range",
        ),
        (
            "/lines/0/tax_rate",
            json!("-0.1"),
            "lines[0].tax_rate tax_rate_out_of_range",
        ),
        (
            "/lines/0/tax_rate",
            json!("0.1234567"),
            "lines[0].tax_rate too_many_decimals",
        ),
        (
            "/lines/0/colour",
            json!("red"),
            "lines[0].colour unknown_field",
        ),
        (
            "/customer",
            json!({"name": "n"}),
            "customer.external_id missing_field",
        ),
        (
            "/customer",
            json!({"external_id": "c"}),
            "customer.name missing_field",
        ),
        (
            "/customer",
            json!({"external_id": "c", "name": "n", "x": 1}),
            "customer.x unknown_field",
        ),
        (
            "/customer",
            json!({"external_id": "c", "name": "n", "email": "x".repeat(321)}),
            "customer.email string_too_long",
        ),
        ("/customer", json!("c"), "customer invalid_type"),
        ("/customer", json!(["c", "n"]), "customer invalid_type"),
        (
            "/payments",
            json!([payment("r", "0")]),
            "payments[0].amount payment_not_positive",
        ),
        (
            "/payments",
            json!([payment("r", "24.001")]),
            "payments[0].amount too_many_decimals",
        ),
        (
            "/payments",
            json!([payment("r", "24.01")]),
            "payments overpaid",
        ),
        (
            "/payments",
            json!([payment("r", "1"), payment("r", "1")]),
            "payments[1].reference duplicate_payment_reference",
        ),
        (
            "/payments",
            json!([{"amount": 1, "paid_on": "2026-01-01", "method": "m"}]),
            "payments[0].reference missing_field",
        ),
        (
            "/payments",
            json!([{"reference": "r", "paid_on": "2026-01-01", "method": "m"}]),
            "payments[0].amount missing_field",
        ),
        (
            "/payments",
            json!([{"reference": "r", "amount": 1, "method": "m"}]),
            "payments[0].paid_on missing_field",
        ),
        (
            "/payments",
            json!([{"reference": "r", "amount": 1, "paid_on": "2026-01-01"}]),
            "payments[0].method missing_field",
        ),
        (
            "/payments",
            json!([{"reference": "r", "amount": 1, "paid_on": "x", "method": "m"}]),
            "payments[0].paid_on invalid_date",
        ),
        (
            "/payments",
            vec![payment("r", "1"); 1001].into(),
            "payments too_many_payments",
        ),
        ("/metadata", json!([]), "metadata invalid_type"),
        (
            "/metadata",
            json!({"a": "x".repeat(70_000)}),
            "metadata metadata_too_large",
        ),
        ("/metadata", json!({"a": "\0"}), "metadata string_has_nul"),
        ("/total", json!("24.01"), "total total_mismatch"),
        ("/total", json!("24.001"), "total too_many_decimals"),
        (
            "/total",
            json!("100000000000000"),
            "total amount_out_of_range",
        ),
        ("/colour", json!("red"), "colour unknown_field"),
    ] {
        refuse(&with(pointer, value), expected);
    }
}
