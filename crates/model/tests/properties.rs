//! Properties of whole documents: what is rendered reads back, sums hold, and no bytes panic.
#![allow(clippy::unwrap_used)]

use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use sheaf_model::invoice::input::Context;
use sheaf_model::invoice::totals;
use sheaf_model::invoice::totals::earlier;
use sheaf_model::{Currency, Decimal, Invoice, InvoiceInput, TenantId};
use uuid::Uuid;

fn context() -> Context {
    let now = Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap();
    Context {
        tenant_id: TenantId(Uuid::from_u128(7)),
        now,
    }
}

fn read(document: &Value) -> Invoice {
    InvoiceInput::parse(document.to_string().as_bytes())
        .unwrap()
        .into_invoice(&context())
        .unwrap()
}

/// A decimal of `mantissa` with `scale` decimals, as text.
fn decimal(mantissa: i64, scale: u32) -> String {
    Decimal::new(mantissa, scale).to_string()
}

prop_compose! {
    /// Quantity, unit price and tax rate, all with up to 6 decimals, and the share of the line that
    /// is taken off.
    fn any_line()(
        quantity in 1_i64..1_000_000, price in 0_i64..1_000_000, rate in 0_i64..=1_000_000,
            off in 0_i64..=100,
        scales in (0_u32..=6, 0_u32..=6),
    ) -> (Decimal, Decimal, Decimal, i64) {
        (Decimal::new(quantity, scales.0), Decimal::new(price, scales.1), Decimal::new(rate, 6),
            off)
    }
}

fn any_document() -> impl Strategy<Value = Value> {
    let currency = prop::sample::select(vec!["EUR", "JPY", "KWD", "CLF"]);
    let text = any::<String>().prop_map(|text| {
        format!(
            "x{}",
            text.replace('\0', "").chars().take(40).collect::<String>()
        )
    });
    (
        currency,
        prop::collection::vec((any_line(), text.clone()), 1..20),
        text,
        any::<bool>(),
    )
        .prop_map(|(currency, lines, text, credit)| {
            let exponent = Currency::parse(currency).unwrap().exponent();
            let lines: Vec<Value> = lines
                .into_iter()
                .map(|((quantity, price, rate, off), description)| {
                    let discount =
                        (quantity * price * Decimal::new(off, 2)).trunc_with_scale(exponent);
                    json!({"description": description, "quantity": quantity.to_string(),
                        "tax_rate": rate.to_string(),
                        "unit_price": price.to_string(), "discount": discount.to_string()})
                })
                .collect();
            json!({"currency": currency, "lines": lines, "number": text, "metadata": {"k": text},
                "kind": if credit { "credit_note" } else { "invoice" }, "issue_date": "2025-01-31",
                "customer": {"external_id": text, "name": text}})
        })
}

/// What a client may send, of what we answered.
fn input_of(rendered: &[u8]) -> Value {
    let mut document: Value = serde_json::from_slice(rendered).unwrap();
    let computed = [
        "tenant_id",
        "customer_id",
        "subtotal",
        "discount_total",
        "tax_total",
        "amount_paid",
        "amount_due",
        "amount_credited",
        "credits",
        "taxes",
        "version",
        "created_at",
        "modified_at",
        "status",
    ];
    let fields = document.as_object_mut().unwrap();
    fields.retain(|name, _| !computed.contains(&name.as_str()));
    for line in fields["lines"].as_array_mut().unwrap() {
        line.as_object_mut()
            .unwrap()
            .retain(|name, _| !["net", "tax", "document_discount"].contains(&name.as_str()));
    }
    for payment in fields["payments"].as_array_mut().unwrap() {
        let payment = payment.as_object_mut().unwrap();
        payment.retain(|name, _| !["id", "kind", "reverses"].contains(&name.as_str()));
    }
    document
}

/// Half up in integers: `mantissa` has `scale` decimals, the result `exponent`.
fn half_up(mantissa: i128, scale: u32, exponent: u32) -> i128 {
    let unit = 10_i128.pow(scale - exponent);
    (mantissa + unit / 2) / unit
}

proptest! {
    #[test]
    fn what_is_rendered_reads_back(document in any_document()) {
        let invoice = read(&document);
        let again = read(&input_of(&invoice.render()));
        prop_assert_eq!(&again, &invoice);
        prop_assert_eq!(again.render(), invoice.render());
    }

    #[test]
    fn sums_hold(document in any_document()) {
        let invoice = read(&document);
        prop_assert_eq!(invoice.subtotal,
            invoice.lines.iter().map(|line| line.net).sum::<Decimal>());
        prop_assert_eq!(invoice.tax_total,
            invoice.lines.iter().map(|line| line.tax).sum::<Decimal>());
        let off = |line: &sheaf_model::Line| line.discount + line.document_discount;
        prop_assert_eq!(invoice.discount_total, invoice.lines.iter().map(off).sum::<Decimal>());
        let by_rate = totals::taxes(&invoice.lines);
        prop_assert_eq!(invoice.tax_total, by_rate.iter().map(|tax| tax.tax).sum::<Decimal>());
        prop_assert_eq!(invoice.subtotal, by_rate.iter().map(|tax| tax.net).sum::<Decimal>());
        prop_assert_eq!(invoice.total, invoice.subtotal + invoice.tax_total);
        prop_assert_eq!(invoice.amount_due, invoice.total - invoice.amount_paid);
    }

    /// 6 decimals of each factor make 12 of the product; all in integers.
    #[test]
    fn a_line_is_rounded_as_integers_are(
        quantity in 1_i64..10_000_000_000, price in 0_i64..10_000_000_000,
            rate in 0_i64..=1_000_000, exponent in 0_u32..=4,
    ) {
        let amounts = earlier::line_amounts(
            Decimal::new(quantity, 6), Decimal::new(price, 6), Decimal::ZERO, Decimal::new(rate, 6),
                exponent,
        ).unwrap();
        let net = half_up(i128::from(quantity) * i128::from(price), 12, exponent);
        prop_assert_eq!(amounts.net, Decimal::from_i128_with_scale(net, exponent));
        let tax = half_up(net * i128::from(rate), exponent + 6, exponent);
        prop_assert_eq!(amounts.tax, Decimal::from_i128_with_scale(tax, exponent));
    }

    /// Shares of a discount add up to it to the last unit, none is larger than its line, and lines
    /// that give back take none.
    #[test]
    fn a_discount_is_spread_without_a_rest(
        nets in prop::collection::vec(-500_i64..100_000, 1..60), part in 0_i64..=10_000,
            exponent in 0_u32..=4,
    ) {
        let nets: Vec<Decimal> = nets.into_iter().map(|net| Decimal::new(net, exponent)).collect();
        let sum: Decimal = nets.iter().sum();
        let discount = (sum.max(Decimal::ZERO) * Decimal::new(part, 4)).round_dp_with_strategy(
            exponent, rust_decimal::RoundingStrategy::ToZero);
        let shares = earlier::spread(discount, &nets, exponent);
        if sum < Decimal::ZERO {
            prop_assert_eq!(shares, None);
            return Ok(());
        }
        let shares = shares.unwrap();
        prop_assert_eq!(shares.iter().sum::<Decimal>(), discount);
        for (share, net) in shares.iter().zip(&nets) {
            prop_assert!(*share >= Decimal::ZERO && *share <= (*net).max(Decimal::ZERO),
                "{share} of {net}");
            prop_assert!(share.scale() <= exponent);
        }
        prop_assert_eq!(earlier::spread(sum + Decimal::new(1, exponent), &nets, exponent), None);
    }

    #[test]
    fn no_amounts_panic(quantity in any::<i64>(), price in any::<i64>(), discount in any::<i64>(),
        rate in any::<i64>(), scale in 0_u32..20) {
        let line = json!({"description": "d", "quantity": decimal(quantity, scale),
            "unit_price": decimal(price, scale / 2),
            "discount": decimal(discount, scale / 3), "tax_rate": decimal(rate, scale)});
        let document = json!({"currency": "EUR", "lines": [line], "payments": [
            {"reference": "r", "amount": decimal(price, scale / 3), "paid_on": "2026-01-01",
                "method": "m"}]});
        let input = InvoiceInput::parse(document.to_string().as_bytes());
            let _ = input.unwrap().into_invoice(&context());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = InvoiceInput::parse(&bytes);
    }

    /// A valid document with some bytes changed gets further into the parser than noise does.
    #[test]
    fn no_damage_panics(document in any_document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = document.to_string().into_bytes();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(input) = InvoiceInput::parse(&bytes) {
            let _ = input.tenant_ref().is_ok();
            let _ = input.into_invoice(&context());
        }
    }
}
