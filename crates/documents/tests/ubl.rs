//! The e-invoice: whole documents as snapshots, its sums, and what it asks for.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

mod samples;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use rust_decimal::Decimal;
use serde_json::json;
use sheaf_documents::{DocumentError, Profile, ZeroRate, ubl};
use sheaf_model::{Currency, Invoice, Status};

/// The texts of all elements at a path: names without prefixes, below the root.
fn texts(xml: &str, path: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    let (mut at, mut found, mut inside) = (Vec::new(), Vec::new(), None);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                at.push(start.local_name().as_ref().to_owned());
                inside = (at[1..].join("/") == path).then(String::new);
            }
            Event::Text(text) => {
                if let Some(inside) = &mut inside {
                    inside.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(inside) = &mut inside {
                    inside.push_str(resolve_predefined_entity(&reference).unwrap());
                }
            }
            Event::End(_) => {
                at.pop();
                found.extend(inside.take());
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn sum(xml: &str, path: &str) -> Decimal {
    let texts = texts(xml, path).into_iter();
    texts.map(|text| text.parse::<Decimal>().unwrap()).sum()
}

fn mistakes(invoice: &Invoice, profile: &Profile) -> Vec<(String, &'static str)> {
    match ubl(invoice, profile, None) {
        Err(DocumentError::Unsuitable(invalid)) => {
            let errors = invalid.into_errors().into_iter();
            errors
                .map(|error| (error.field, error.code.as_str()))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn whole_documents() {
    let seller = samples::seller("en");
    insta::assert_snapshot!(
        "discounts",
        ubl(&samples::discounts(), &seller, None).unwrap()
    );
    insta::assert_snapshot!(
        "credit_note",
        ubl(
            &samples::credit_note(),
            &seller,
            Some(&samples::corrected())
        )
        .unwrap()
    );
}

/// BR-CO-10 and BR-CO-13 to BR-CO-16, over every sample that can be an e-invoice.
#[test]
fn sums_add_up() {
    let mut seen = 0;
    for (name, invoice, profile) in samples::all() {
        let Ok(xml) = ubl(&invoice, &profile, None) else {
            continue;
        };
        seen += 1;
        let total = |element: &str| sum(&xml, &format!("LegalMonetaryTotal/{element}"));
        let line = if name == "credit_note" {
            "CreditNoteLine"
        } else {
            "InvoiceLine"
        };
        let lines = sum(&xml, &format!("{line}/LineExtensionAmount"));
        assert_eq!(lines, total("LineExtensionAmount"), "{name}");
        let exclusive = total("TaxExclusiveAmount");
        assert_eq!(
            exclusive,
            lines - sum(&xml, "AllowanceCharge/Amount"),
            "{name}"
        );
        assert_eq!(
            exclusive,
            sum(&xml, "TaxTotal/TaxSubtotal/TaxableAmount"),
            "{name}"
        );
        let tax = sum(&xml, "TaxTotal/TaxAmount");
        assert_eq!(tax, sum(&xml, "TaxTotal/TaxSubtotal/TaxAmount"), "{name}");
        let inclusive = total("TaxInclusiveAmount");
        assert_eq!(inclusive, exclusive + tax, "{name}");
        assert_eq!(
            total("PayableAmount"),
            inclusive - total("PrepaidAmount"),
            "{name}"
        );
        assert_eq!(total("PayableAmount"), invoice.amount_due, "{name}");
    }
    assert_eq!(seen, 17);
}

#[test]
fn everything_missing_is_named_at_once() {
    let lines = json!([{"description": "x", "quantity": 1, "unit_price": "1"}]);
    let mut invoice = samples::invoice(json!({"currency": "EUR", "lines": lines}));
    let expected = [
        ("status", "not_in_force"),
        ("number", "missing_field"),
        ("issue_date", "missing_field"),
        ("profile.name", "missing_field"),
        ("profile.country", "missing_field"),
        ("customer", "missing_field"),
        ("profile.vat_id", "missing_field"),
    ];
    let expected = expected.map(|(field, code)| (field.to_owned(), code));
    assert_eq!(mistakes(&invoice, &Profile::default()), expected);
    invoice.status = Status::Issued;
    assert_eq!(mistakes(&invoice, &Profile::default()), expected[1..]);
}

#[test]
fn a_country_must_be_a_code() {
    let (seller, mut invoice) = (samples::seller("en"), samples::simple());
    invoice.customer.as_mut().unwrap().country = Some("fr".to_owned());
    let xml = ubl(&invoice, &seller, None).unwrap();
    let path = "AccountingCustomerParty/Party/PostalAddress/Country/IdentificationCode";
    assert_eq!(texts(&xml, path), ["FR"]);
    invoice.customer.as_mut().unwrap().country = Some("France".to_owned());
    let expected = [("customer.country".to_owned(), "invalid_country")];
    assert_eq!(mistakes(&invoice, &seller), expected);
}

#[test]
fn a_rate_of_zero_is_what_the_profile_says() {
    let invoice = samples::untaxed();
    let category = |zero: ZeroRate, reason: Option<&str>| {
        let mut profile = samples::seller("en");
        profile.zero_rate_category = zero;
        profile.exemption_reason = reason.map(str::to_owned);
        let xml = ubl(&invoice, &profile, None).map_err(|error| error.to_string())?;
        let group = "TaxTotal/TaxSubtotal/TaxCategory";
        let at = |element: &str| texts(&xml, &format!("{group}/{element}")).pop();
        assert_eq!(
            at("ID"),
            texts(&xml, "InvoiceLine/Item/ClassifiedTaxCategory/ID").pop()
        );
        let vat = texts(
            &xml,
            "AccountingSupplierParty/Party/PartyTaxScheme/CompanyID",
        );
        let all = (
            at("ID").unwrap(),
            at("Percent"),
            at("TaxExemptionReason"),
            vat.len(),
        );
        Ok::<_, String>(all)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        category(ZeroRate::Z, None).unwrap(),
        ("Z".to_owned(), some("0"), None, 1)
    );
    let exempt = category(ZeroRate::E, Some("Art. 20")).unwrap();
    assert_eq!(exempt, ("E".to_owned(), some("0"), some("Art. 20"), 1));
    assert!(
        category(ZeroRate::E, None)
            .unwrap_err()
            .contains("profile.exemption_reason")
    );
    let reverse = category(ZeroRate::AE, None).unwrap();
    assert_eq!(
        reverse,
        ("AE".to_owned(), some("0"), some("Reverse charge"), 1)
    );
    // Not subject to VAT: no rate, and no VAT number either (BR-O-02).
    let outside = category(ZeroRate::O, None).unwrap();
    assert_eq!(
        outside,
        ("O".to_owned(), None, some("Not subject to VAT"), 0)
    );
    let mut profile = samples::seller("en");
    profile.zero_rate_category = ZeroRate::O;
    let expected = [("profile.zero_rate_category".to_owned(), "mixed_categories")];
    assert_eq!(mistakes(&samples::rates(), &profile), expected);
}

#[test]
fn three_decimals_are_refused_only_when_they_are_used() {
    let seller = samples::seller("en");
    let xml = ubl(&samples::round_dinar(), &seller, None).unwrap();
    assert_eq!(texts(&xml, "LegalMonetaryTotal/PayableAmount"), ["1357.95"]);
    let codes = mistakes(&samples::dinar(), &seller);
    assert!(codes.contains(&("total".to_owned(), "too_many_decimals")));
    assert!(codes.iter().all(|(_, code)| *code == "too_many_decimals"));
    let yen = ubl(&samples::yen(), &seller, None).unwrap();
    assert_eq!(texts(&yen, "LegalMonetaryTotal/PayableAmount"), ["528000"]);
}

/// Tax that is rounded line by line: within the rules' tolerance, and refused beyond it.
#[test]
fn rounded_taxes_stay_near_their_rate() {
    let lines = |count: usize| {
        let line =
            json!({"description": "x", "quantity": 1, "unit_price": "0.03", "tax_rate": "0.2"});
        let mut input = json!({"number": "1", "currency": "EUR", "issue_date": "2026-10-01",
            "due_date": "2026-10-02",
            "customer": {"external_id": "k", "name": "n", "country": "FR"}});
        input["tax_rounding"] = json!("line");
        input["lines"] = vec![line; count].into();
        samples::invoice(input)
    };
    let seller = samples::seller("en");
    // 0.006 a line is rounded to 0.01: 0.4 cents each.
    assert!(ubl(&lines(245), &seller, None).is_ok());
    let expected = [("tax_total".to_owned(), "tax_rounding")];
    assert_eq!(mistakes(&lines(250), &seller), expected);
}

#[test]
fn a_rate_that_the_rules_take_for_none_says_so() {
    let invoice = samples::invoice(
        json!({"number": "1", "currency": "EUR", "issue_date": "2026-10-01",
        "customer": {"external_id": "k", "name": "n", "country": "FR"},
        "lines": [{"description": "x", "quantity": 1000, "unit_price": "1", "tax_rate": "0.004"}]}),
    );
    let refused = ubl(&invoice, &samples::seller("en"), None).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("add up to 4.00, too far from 0 "),
        "{refused}"
    );
}

/// Release 1.3.16 of the rules asks for no due date while something is due: BR-CO-25 has gone.
#[test]
fn nobody_has_to_say_when_to_pay() {
    let mut seller = samples::seller("en");
    (seller.payment_terms, seller.iban, seller.bic) = (None, None, None);
    for mut invoice in [samples::simple(), samples::credit_note()] {
        invoice.due_date = None;
        assert!(invoice.amount_due > Decimal::ZERO);
        let xml = ubl(&invoice, &seller, None).unwrap();
        assert!(!xml.contains("DueDate") && !xml.contains("PaymentTerms"));
    }
}

#[test]
fn a_currency_that_the_rules_do_not_list_is_named() {
    let mut invoice = samples::simple();
    let expected = [("currency".to_owned(), "currency_not_listed")];
    for code in ["ANG", "BGN", "STN", "XAD"] {
        invoice.currency = Currency::parse(code).unwrap();
        assert_eq!(mistakes(&invoice, &samples::seller("en")), expected);
    }
}

#[test]
fn text_is_escaped_and_controls_are_spaces() {
    let mut invoice = samples::markup();
    invoice.lines[0].description = "a < b & c >\u{1}\"d\"\u{fffe}\nmore".to_owned();
    let xml = ubl(&invoice, &samples::seller("en"), None).unwrap();
    assert_eq!(texts(&xml, "InvoiceLine/Item/Name")[0], "a < b & c > \"d\"");
    assert_eq!(
        texts(&xml, "InvoiceLine/Item/Description"),
        ["a < b & c > \"d\"\nmore"]
    );
    assert!(!xml.contains('\u{1}') && !xml.contains('\u{fffe}'));
}

/// Every text of a seller and of an invoice, with what XML cannot hold in it, as profiles that are
/// older than today's checks can have it.
#[test]
fn no_text_breaks_the_file() {
    let hidden = "\u{1}\u{b}\u{7f}\u{85}\u{fffe}\u{1ffff}";
    let spoil = |value: &mut serde_json::Value| {
        fn each(value: &mut serde_json::Value, with: &str) {
            match value {
                serde_json::Value::String(text) => *text = format!("{text}{with}x"),
                serde_json::Value::Array(items) => {
                    items.iter_mut().for_each(|item| each(item, with))
                }
                _ => {}
            }
        }
        each(value, hidden);
    };
    let mut seller = serde_json::to_value(samples::seller("en")).unwrap();
    let members = seller.as_object_mut().unwrap();
    members.insert("tax_id".to_owned(), json!("12/3"));
    members.insert("exemption_reason".to_owned(), json!("because"));
    for (name, value) in members.iter_mut() {
        if !matches!(name.as_str(), "language" | "zero_rate_category") {
            spoil(value);
        }
    }
    let seller: Profile = serde_json::from_value(seller).unwrap();
    let mut invoice = samples::rates();
    let spoiled = |text: &mut String| text.push_str(&format!("{hidden}x"));
    spoiled(invoice.number.as_mut().unwrap());
    let customer = invoice.customer.as_mut().unwrap();
    spoiled(&mut customer.name);
    for text in [
        &mut customer.external_id,
        &mut customer.email,
        &mut customer.tax_id,
        &mut customer.address,
    ] {
        spoiled(text.as_mut().unwrap());
    }
    for line in &mut invoice.lines {
        spoiled(&mut line.description);
        line.sku = Some(format!("s{hidden}k"));
    }
    let mut corrected = samples::corrected();
    spoiled(&mut corrected.number);
    let xml = ubl(&invoice, &seller, Some(&corrected)).unwrap();
    let broken = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{1ffff}');
    let at = xml.find(broken);
    assert_eq!(at.map(|at| &xml[at.saturating_sub(60)..at]), None);
    let email = texts(&xml, "AccountingSupplierParty/Party/Contact/ElectronicMail");
    assert_eq!(email, ["rechnung@lindgren.example      x"]);
}

/// A text that shows nothing is none: what the rules ask for is missing then (BR-CO-26 and others).
#[test]
fn a_text_that_shows_nothing_is_missing() {
    let seller = |name: &str, value: &str| {
        let mut json = serde_json::to_value(samples::seller("en")).unwrap();
        let members = json.as_object_mut().unwrap();
        members.remove("vat_id");
        members.insert("tax_id".to_owned(), json!("12/3"));
        members.insert(name.to_owned(), json!(value));
        serde_json::from_value::<Profile>(json).unwrap()
    };
    let invoice = samples::simple();
    assert!(ubl(&invoice, &seller("registration_number", "HRB 1"), None).is_ok());
    for blank in ["\u{1}", "\u{202e}\u{200b}", "\u{feff} "] {
        let number = [("profile.vat_id".to_owned(), "missing_field")];
        assert_eq!(
            mistakes(&invoice, &seller("registration_number", blank)),
            number
        );
        assert_eq!(mistakes(&invoice, &seller("tax_id", blank)), number);
        let name = [("profile.name".to_owned(), "missing_field")];
        let mut nameless = samples::seller("en");
        blank.clone_into(&mut nameless.name);
        assert_eq!(mistakes(&invoice, &nameless), name);
        let mut of = invoice.clone();
        blank.clone_into(&mut of.customer.as_mut().unwrap().name);
        let name = [("customer.name".to_owned(), "missing_field")];
        assert_eq!(mistakes(&of, &samples::seller("en")), name);
        let mut outside = seller("registration_number", blank);
        outside.zero_rate_category = ZeroRate::O;
        let expected = ("profile.registration_number".to_owned(), "missing_field");
        assert!(mistakes(&samples::untaxed(), &outside).contains(&expected));
    }
}
