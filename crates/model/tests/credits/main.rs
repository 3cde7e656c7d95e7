//! Credit notes, rate by rate: never more than was charged, and the rest to the last unit.
#![allow(clippy::panic, clippy::unwrap_used)]

mod rests;

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use sheaf_model::invoice::input::{Body, Context, CreditNoteInput};
use sheaf_model::invoice::lifecycle::CreditNote;
use sheaf_model::invoice::totals;
use sheaf_model::{Decimal, Invoice, InvoiceInput, Line, TaxRounding, TenantId};
use uuid::Uuid;

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap()
}

fn context() -> Context {
    Context {
        tenant_id: TenantId(Uuid::from_u128(7)),
        now: now(),
    }
}

/// Lines as quantity, price and rate.
fn lines(lines: &[(&str, &str, &str)]) -> Value {
    let line = |(quantity, price, rate): &(&str, &str, &str)| {
        json!({"description": "d",
        "quantity": quantity, "unit_price": price, "tax_rate": rate})
    };
    lines.iter().map(line).collect()
}

fn invoice(sent: &[(&str, &str, &str)], rounding: Option<TaxRounding>) -> Invoice {
    let mut document = json!({"currency": "EUR", "issue_date": "2026-03-01", "lines": lines(sent)});
    document["tax_rounding"] = match rounding {
        Some(TaxRounding::Document) => json!("document"),
        // What was stored before there was a choice was rounded by line.
        Some(TaxRounding::Line) | None => json!("line"),
    };
    let input = InvoiceInput::parse(document.to_string().as_bytes()).unwrap();
    let mut made = input.into_invoice(&context()).unwrap();
    made.tax_rounding = rounding;
    made
}

fn note_of(members: Value, of: &Invoice) -> CreditNote {
    let request = CreditNoteInput::parse(members.to_string().as_bytes());
    let request = request.unwrap().check().unwrap();
    CreditNote {
        lines: request.lines(of.currency).unwrap(),
        issue_date: request.issue_date.unwrap_or_else(|| now().date_naive()),
        number: None,
        metadata: request.metadata,
        apply: false,
    }
}

fn credit(of: &mut Invoice, sent: &[(&str, &str, &str)]) -> Result<Invoice, &'static str> {
    let note = note_of(json!({"lines": lines(sent)}), of);
    let made = of.credit(note, now());
    made.map(|(made, _)| made)
        .map_err(|refusal| refusal.code.as_str())
}

fn credit_all(of: &mut Invoice) -> Result<Invoice, &'static str> {
    let note = note_of(json!({}), of);
    let made = of.credit(note, now());
    made.map(|(made, _)| made)
        .map_err(|refusal| refusal.code.as_str())
}

fn amount(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// The note is read back as it is told.
#[track_caller]
fn comes_back(note: &Invoice) {
    let told = note.render();
    let input = InvoiceInput::parse(&told).unwrap();
    let later = Context {
        now: now() + TimeDelta::days(9),
        ..context()
    };
    let back = input.into_stored(&told, &later).unwrap();
    assert_eq!(
        String::from_utf8(back.render()).unwrap(),
        String::from_utf8(told).unwrap()
    );
}

const ROUNDINGS: [Option<TaxRounding>; 3] =
    [Some(TaxRounding::Document), Some(TaxRounding::Line), None];

#[test]
fn the_last_of_three_equal_credits_takes_the_rest() {
    for rounding in ROUNDINGS {
        let mut of = invoice(&[("3", "33.35", "0.19")], rounding);
        assert_eq!(of.tax_total, amount("19.01"));
        let third = [("1", "33.35", "0.190")];
        let notes: Vec<Invoice> = (0..3).map(|_| credit(&mut of, &third).unwrap()).collect();
        let expected = match rounding {
            Some(TaxRounding::Document) => ["6.34", "6.33", "6.34"],
            _ => ["6.34", "6.34", "6.33"],
        };
        for (note, tax) in notes.iter().zip(expected) {
            assert_eq!(note.tax_total, amount(tax), "{rounding:?}");
            let stored = rounding.unwrap_or(TaxRounding::Line);
            assert_eq!(note.tax_rounding, Some(stored));
            comes_back(note);
        }
        assert_eq!(of.amount_credited, of.total);
        assert_eq!(credit(&mut of, &third), Err("credit_exceeds_invoice"));
    }
}

#[test]
fn whole_credits_are_the_invoice() {
    let sent = [
        ("3", "33.35", "0.19"),
        ("7", "0.03", "0.07"),
        ("-1", "4", "0.07"),
        ("1", "9", "0"),
    ];
    for rounding in ROUNDINGS {
        let mut of = invoice(&sent, rounding);
        let note = credit_all(&mut of).unwrap();
        assert_eq!(note.lines, of.lines);
        assert_eq!((note.total, of.amount_credited), (of.total, of.total));
        comes_back(&note);
        assert_eq!(credit_all(&mut of), Err("credit_exceeds_invoice"));
    }
}

#[test]
fn only_what_was_charged_is_credited() {
    for rounding in ROUNDINGS {
        let mut of = invoice(&[("1", "100", "0.19"), ("1", "100", "0.07")], rounding);
        let before = of.clone();
        let refused = |of: &mut Invoice, sent: &[(&str, &str, &str)], code| {
            assert_eq!(credit(of, sent), Err(code), "{sent:?}");
        };
        refused(&mut of, &[("1", "10", "0.2")], "credit_rate_not_charged");
        refused(&mut of, &[("1", "10", "0")], "credit_rate_not_charged");
        refused(&mut of, &[("1", "100.01", "0.19")], "credit_exceeds_rate");
        refused(&mut of, &[("1", "190", "0.07")], "credit_exceeds_rate");
        refused(&mut of, &[("3", "100", "0.07")], "credit_exceeds_invoice");
        refused(&mut of, &[("1", "0", "0.07")], "credit_of_nothing");
        assert_eq!(of, before);
        credit(&mut of, &[("1", "60", "0.07")]).unwrap();
        refused(&mut of, &[("1", "40.01", "0.07")], "credit_exceeds_rate");
        // A fee is taken off what is given back.
        credit(&mut of, &[("1", "40", "0.07"), ("-1", "5", "0.19")]).unwrap();
        refused(
            &mut of,
            &[("1", "105.01", "0.19")],
            "credit_exceeds_invoice",
        );
        credit(&mut of, &[("1", "105", "0.19")]).unwrap();
        assert_eq!(of.amount_credited, of.total);
    }
}

#[test]
fn what_was_given_back_on_the_invoice_is_not_credited_again() {
    let sent = [("1", "100", "0.19"), ("-1", "30", "0.07")];
    let mut of = invoice(&sent, Some(TaxRounding::Document));
    assert_eq!(
        credit(&mut of, &[("1", "1", "0.07")]),
        Err("credit_exceeds_rate")
    );
    let part = [("1", "40", "0.19"), ("-1", "10", "0.07")];
    assert_eq!(credit(&mut of, &part).unwrap().total, amount("36.90"));
    let rest = [("1", "60", "0.19"), ("-1", "20", "0.07")];
    credit(&mut of, &rest).unwrap();
    assert_eq!(of.amount_credited, of.total);
}

#[test]
fn no_credit_note_is_older_than_its_invoice() {
    let mut of = invoice(&[("1", "100", "0.19")], Some(TaxRounding::Document));
    let day = |day: &str| day.parse::<NaiveDate>().unwrap();
    let mut note = note_of(json!({"issue_date": "2026-02-28"}), &of);
    let refused = of.credit(note.clone(), now()).unwrap_err();
    assert_eq!(refused.code, "credit_before_invoice");
    note.issue_date = day("2026-03-01");
    assert_eq!(
        of.credit(note, now()).unwrap().0.issue_date,
        Some(day("2026-03-01"))
    );
}

/// Credit notes of before it was kept what they took.
#[test]
fn where_the_rates_are_not_known_the_tax_gives_way_by_a_unit() {
    for rounding in [Some(TaxRounding::Document), None] {
        let mut of = invoice(&[("3", "33.35", "0.19")], rounding);
        of.amount_credited = amount("79.38");
        of.credited = None;
        let third = [("1", "33.35", "0.19")];
        let note = credit(&mut of.clone(), &third).unwrap();
        assert_eq!(note.tax_total, amount("6.33"));
        comes_back(&note);
        assert_eq!(credit(&mut of, &third).unwrap().total, amount("39.68"));
        assert_eq!((of.amount_credited, &of.credited), (of.total, &None));
        // By one, not by two.
        let mut of = invoice(&[("3", "33.35", "0.19")], rounding);
        of.amount_credited = amount("79.39");
        of.credited = None;
        assert_eq!(credit(&mut of, &third), Err("credit_exceeds_invoice"));
        // And no unit is taken where there is room.
        of.amount_credited = amount("10");
        assert_eq!(credit(&mut of, &third).unwrap().total, amount("39.69"));
    }
}

#[test]
fn many_small_lines_do_not_take_more_tax_than_was_charged() {
    let mut of = invoice(&[("1", "9", "0.19")], Some(TaxRounding::Line));
    let mut taxes = Decimal::ZERO;
    for _ in 0..300 {
        let note = credit(&mut of, &[("1", "0.03", "0.19")]).unwrap();
        taxes += note.tax_total;
        comes_back(&note);
    }
    assert_eq!((taxes, of.amount_credited), (amount("1.71"), of.total));
}

#[test]
fn a_document_that_corrects_another_is_taken_as_told_within_reason() {
    let mut of = invoice(
        &[("1", "100", "0.19"), ("1", "50", "0.07")],
        Some(TaxRounding::Document),
    );
    let note = credit(&mut of, &[("1", "33.33", "0.19")]).unwrap();
    let told: Value = serde_json::from_slice(&note.render()).unwrap();
    let restore = |tax: &str, total: &str, line: &str| {
        let mut told = told.clone();
        told["lines"][0]["tax"] = json!(line);
        told["taxes"][0]["tax"] = json!(tax);
        told["tax_total"] = json!(tax);
        told["total"] = json!(total);
        told["amount_due"] = json!(total);
        let text = told.to_string();
        let input = InvoiceInput::parse(text.as_bytes()).unwrap();
        let later = Context {
            now: now() + TimeDelta::days(9),
            ..context()
        };
        let made = input.into_stored(text.as_bytes(), &later);
        made.map(|made| made.tax_total)
            .map_err(|invalid| invalid.code().as_str())
    };
    assert_eq!(restore("6.33", "39.66", "6.33"), Ok(amount("6.33")));
    assert_eq!(restore("7.32", "40.65", "7.32"), Ok(amount("7.32")));
    assert_eq!(
        restore("7.34", "40.67", "7.34"),
        Err("inconsistent_document")
    );
    assert_eq!(
        restore("5.32", "38.65", "5.32"),
        Err("inconsistent_document")
    );
    // What it says of its lines is what it says of itself.
    assert_eq!(
        restore("6.34", "39.66", "6.33"),
        Err("inconsistent_document")
    );
}

fn text(mantissa: i64, scale: u32) -> String {
    Decimal::new(mantissa, scale).to_string()
}

/// `part` of 8 of each line, or what is left of it.
fn parts(of: &Invoice, taken: &mut [Decimal], part: &[u8], exponent: u32) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, line) in of.lines.iter().enumerate() {
        let left = line.net - taken[at];
        let eighths = Decimal::from(part[at % part.len()].min(8));
        let net = match eighths == Decimal::from(8) {
            true => left,
            false => (left * eighths / Decimal::from(8)).trunc_with_scale(exponent),
        };
        if net.is_zero() {
            continue;
        }
        taken[at] += net;
        lines.push(Line {
            quantity: if net < Decimal::ZERO {
                -Decimal::ONE
            } else {
                Decimal::ONE
            },
            unit_price: net.abs(),
            discount: Decimal::ZERO,
            discount_percent: None,
            document_discount: Decimal::ZERO,
            net,
            ..line.clone()
        });
    }
    lines
}

proptest! {
    /// However an invoice is taken apart, the parts are the whole: net and tax of every rate.
    #[test]
    fn credits_add_up_to_the_invoice(
        currency in prop::sample::select(vec!["EUR", "JPY", "BHD", "CLF"]),
        rounding in prop::sample::select(ROUNDINGS.to_vec()),
        sent in prop::collection::vec((1_i64..50, 1_i64..900_000, 0_usize..4, any::<bool>()),
            1..12),
        steps in prop::collection::vec(prop::collection::vec(0_u8..9, 1..4), 0..8),
    ) {
        let rates = ["0.19", "0.07", "0", "0.333333"];
        let line = |(quantity, price, rate, back): &(i64, i64, usize, bool)| {
            let sign = if *back && *quantity < 3 { -1 } else { 1 };
            json!({"description": "d", "quantity": sign * quantity, "unit_price": text(*price, 3),
                "tax_rate": rates[*rate]})
        };
        let document = json!({"currency": currency, "issue_date": "2026-03-01",
            "lines": sent.iter().map(line).collect::<Vec<_>>(),
            "tax_rounding": if rounding == Some(TaxRounding::Document) { "document" } else {
                "line" }});
        let input = InvoiceInput::parse(document.to_string().as_bytes()).unwrap();
        let Ok(mut of) = input.into_invoice(&context()) else { return Ok(()) };
        of.tax_rounding = rounding;
        let exponent = of.currency.exponent();
        let mut taken = vec![Decimal::ZERO; of.lines.len()];
        let (mut notes, mut lowered) = (Vec::new(), false);
        // The last one takes all that is left.
        for part in steps.iter().chain([&vec![8]]) {
            let mut tried = taken.clone();
            let lines = parts(&of, &mut tried, part, exponent);
            let note = CreditNote {
                lines: Some(lines), issue_date: now().date_naive(), number: None,
                metadata: sheaf_model::Metadata::default(), apply: false,
            };
            // A part may come to nothing, or to less.
            let sent: Decimal = note.lines.iter().flatten().map(|line| line.net).sum();
            if let Ok((made, _)) = of.credit(note, now()) {
                taken = tried;
                // Before what is given back is credited, the rest of a rate is less than the lines
                // that were sold.
                lowered |= made.subtotal != sent;
                comes_back(&made);
                notes.push(made);
            }
        }
        let credited: Decimal = notes.iter().map(|note| note.total).sum();
        prop_assert_eq!(credited, of.amount_credited);
        prop_assert!(of.amount_credited <= of.total);
        let nets: Vec<Decimal> = of.lines.iter().map(|line| line.net).collect();
        if taken == nets && !notes.is_empty() && !lowered {
            let all: Vec<Line> = notes.iter().flat_map(|note| note.lines.clone()).collect();
            let charged = totals::taxes(&of.lines);
            let charged: Vec<_> = charged.iter().filter(|of| !of.net.is_zero()).collect();
            let back = totals::taxes(&all);
            let back: Vec<_> = back.iter().filter(|of| !of.net.is_zero()).collect();
            prop_assert_eq!(charged, back);
        }
    }
}
