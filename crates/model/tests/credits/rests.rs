//! The rest of what was rounded: it can always be credited, it is never more than was charged, and
//! it comes back.

use proptest::prelude::*;
use serde_json::{Value, json};
use sheaf_model::invoice::input::{Body, CreditNoteInput};
use sheaf_model::invoice::totals;
use sheaf_model::{Decimal, Invoice, InvoiceInput, Line};

use super::{amount, comes_back, context, credit, credit_all, lines, note_of, now, text};

/// An invoice with members of its own.
fn made(members: Value) -> Invoice {
    let mut document = json!({"currency": "EUR", "issue_date": "2026-03-01"});
    let (document_members, members) = (document.as_object_mut().unwrap(), members);
    document_members.extend(members.as_object().unwrap().clone());
    let input = InvoiceInput::parse(document.to_string().as_bytes()).unwrap();
    input.into_invoice(&context()).unwrap()
}

fn noted(of: &mut Invoice, members: Value) -> Result<Invoice, &'static str> {
    let made = of.credit(note_of(members, of), now());
    made.map(|(made, _)| made)
        .map_err(|refusal| refusal.code.as_str())
}

/// Nets are rounded as well: the last of equal parts takes what is left, by a discount of what it
/// is above.
#[test]
fn the_last_of_equal_credits_takes_the_rest_of_the_net() {
    for (price, parts, percent, rate) in [
        ("0.335", 3, "0", "0.19"),
        ("1000.005", 3, "0", "0"),
        ("33.34", 3, "10", "0.19"),
        ("0.335", 10, "0", "0.07"),
        ("3.175", 10, "0.2", "0.19"),
        ("0.99", 40, "0.2", "0"),
    ] {
        for rounding in ["document", "line"] {
            let members = |quantity: i32| {
                let quantity = quantity.to_string();
                json!({"lines": lines(&[(&quantity, price, rate)]), "discount_percent": percent})
            };
            let mut whole = members(parts);
            whole["tax_rounding"] = json!(rounding);
            let mut of = made(whole);
            let what = format!("{price} x {parts} less {percent} %, {rounding}");
            for _ in 0..parts {
                let note = noted(&mut of, members(1));
                let note = note.unwrap_or_else(|code| panic!("{what}: {code}"));
                comes_back(&note);
            }
            assert_eq!(of.amount_credited, of.total, "{what}");
            assert!(noted(&mut of, members(1)).is_err(), "{what}");
        }
    }
}

/// Only what was rounded gives way, by no more than it was rounded.
#[test]
fn what_is_above_the_rest_for_another_reason_is_refused() {
    let mut of = made(json!({"lines": lines(&[("3", "0.335", "0")])}));
    let refused = Err("credit_exceeds_invoice");
    assert_eq!(
        noted(&mut of, json!({"lines": lines(&[("1", "1.05", "0")])})),
        refused
    );
    assert_eq!(of.amount_credited, Decimal::ZERO);
    let mut of = made(json!({"lines": lines(&[("1", "1.00", "0"), ("1", "5.00", "0.07")])}));
    let over = json!({"lines": lines(&[("1", "1.01", "0")])});
    assert_eq!(noted(&mut of, over.clone()), Err("credit_exceeds_rate"));
    // Where nothing is left, nothing gives way.
    noted(&mut of, json!({"lines": lines(&[("1", "1.00", "0")])})).unwrap();
    let cent = json!({"lines": lines(&[("1", "0.005", "0")])});
    assert_eq!(noted(&mut of, cent), Err("credit_exceeds_rate"));
}

#[test]
fn where_the_rates_are_not_known_the_net_gives_way_by_what_was_rounded() {
    let mut of = made(json!({"lines": lines(&[("3", "1000.005", "0")])}));
    of.amount_credited = amount("2000.02");
    of.credited = None;
    let third = json!({"lines": lines(&[("1", "1000.005", "0")])});
    let note = noted(&mut of, third).unwrap();
    assert_eq!(
        (note.total, of.amount_credited),
        (amount("1000.00"), of.total)
    );
    comes_back(&note);
}

/// Exports of what the rules make come back: the rest of a rate of many lines that were rounded one
/// by one, on one line, and all of an invoice whose discount is negative.
#[test]
fn notes_that_take_an_odd_rest_come_back() {
    for (price, count, whole) in [
        ("0.03", 300, "9.00"),
        ("0.02", 1000, "20"),
        ("0.03", 10_000, "300"),
    ] {
        let small: Vec<_> = (0..count).map(|_| ("1", price, "0.19")).collect();
        let mut of = made(json!({"lines": lines(&small), "tax_rounding": "line"}));
        let note = credit(&mut of.clone(), &[("1", whole, "0.19")]).unwrap();
        assert_eq!(note.total, of.total);
        comes_back(&note);
        let half = (amount(whole) / Decimal::from(2)).to_string();
        for _ in 0..2 {
            comes_back(&credit(&mut of, &[("1", &half, "0.19")]).unwrap());
        }
        assert_eq!(of.amount_credited, of.total);
    }
    let both = lines(&[("1", "100", "0.2"), ("-1", "101", "0")]);
    for rounding in ["document", "line"] {
        let mut of =
            made(json!({"lines": both, "discount_percent": "10", "tax_rounding": rounding}));
        assert_eq!(of.discount, amount("-0.10"));
        comes_back(&credit_all(&mut of).unwrap());
    }
}

#[test]
fn a_tax_that_no_rounding_by_line_explains_is_refused() {
    let mut of = made(json!({"lines": lines(&[("1", "1000", "0.19")]), "tax_rounding": "line"}));
    let note = credit(&mut of, &[("1", "500", "0.19")]).unwrap();
    let told = String::from_utf8(note.render()).unwrap();
    // 101.00 more than 95.00.
    let told = told.replace("95.00", "196.00").replace("595.00", "696.00");
    let input = InvoiceInput::parse(told.as_bytes()).unwrap();
    let refused = input.into_stored(told.as_bytes(), &context()).unwrap_err();
    assert_eq!(refused.code(), "inconsistent_document");
}

#[test]
fn a_discount_without_lines_is_refused() {
    for members in [
        json!({"discount_percent": "50"}),
        json!({"discount": "50.00"}),
        json!({"discount_percent": 50, "lines": null}),
    ] {
        let input = CreditNoteInput::parse(members.to_string().as_bytes()).unwrap();
        let refused = input.check().unwrap_err();
        let error = &refused.errors()[0];
        assert_eq!(
            (error.field.as_str(), error.code.as_str()),
            ("lines", "missing_field"),
            "{members}"
        );
    }
    let nothing = CreditNoteInput::parse(br#"{"discount": "0", "discount_percent": null}"#);
    assert!(nothing.unwrap().check().is_ok());
}

/// Restored: what its notes took by rate is not told. The last of them takes the cent that nobody
/// else would.
#[test]
fn where_the_rates_are_not_known_the_tax_takes_the_last_unit() {
    let mut of = made(json!({"lines": lines(&[("3", "33.34", "0.19")])}));
    let third = json!({"lines": lines(&[("1", "33.34", "0.19")])});
    noted(&mut of, third.clone()).unwrap();
    of.credited = None;
    for _ in 0..2 {
        comes_back(&noted(&mut of, third.clone()).unwrap());
    }
    assert_eq!((of.amount_credited, of.amount_due), (of.total, of.total));
    // No more than a unit.
    let mut of = made(json!({"lines": lines(&[("3", "33.34", "0.19")])}));
    of.amount_credited = amount("79.33");
    assert_eq!(noted(&mut of, third).unwrap().total, amount("39.67"));
}

proptest! {
    /// Equal parts of an invoice can all be credited, whatever was rounded, and never come to more
    /// than it.
    #[test]
    fn equal_parts_add_up_to_the_invoice(
        parts in 1_i32..13, by_line in any::<bool>(), percent in 0_i64..100,
        sent in prop::collection::vec((1_i64..9_999_999, 0_usize..3, 0_i64..50), 1..4),
    ) {
        let rates = ["0.19", "0.07", "0"];
        let members = |quantity: i32| {
            let line = |(price, rate, off): &(i64, usize, i64)| json!({"description": "d",
                "quantity": quantity,
                "unit_price": text(*price, 4), "tax_rate": rates[*rate],
                    "discount_percent": text(*off, 0)});
            json!({"lines": sent.iter().map(line).collect::<Vec<_>>(),
                "discount_percent": text(percent, 1)})
        };
        let mut whole = members(parts);
        whole["tax_rounding"] = json!(if by_line { "line" } else { "document" });
        let mut of = made(whole);
        let mut notes = Vec::new();
        for _ in 0..parts {
            // Where the parts were rounded up, nothing may be left for the last.
            let full = of.clone();
            match noted(&mut of, members(1)) {
                Ok(note) => {
                    comes_back(&note);
                    notes.push(note);
                }
                Err(code) => {
                    let back: Vec<Line> =
                        notes.iter().flat_map(|note: &Invoice| note.lines.clone()).collect();
                    let back = totals::taxes(&back);
                    let used_up = totals::taxes(&full.lines).iter().any(|charged|
                        back.iter().any(|back| back.rate == charged.rate
                            && back.net == charged.net));
                    prop_assert!(used_up || code == "credit_of_nothing", "{}", code);
                }
            }
        }
        prop_assert!(of.amount_credited <= of.total);
        let all: Vec<Line> = notes.iter().flat_map(|note| note.lines.clone()).collect();
        for (charged, back) in totals::taxes(&of.lines).iter().filter_map(|charged| {
            let all = totals::taxes(&all);
            let back = all.into_iter().find(|back| back.rate == charged.rate)?;
            Some((*charged, back))
        }) {
            prop_assert!(back.net <= charged.net && back.tax <= charged.tax, "{:?} {:?}", charged,
                back);
        }
    }
}
