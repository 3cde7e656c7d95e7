//! The pages, read back from the PDF's bytes.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

mod samples;

use lopdf::Document;
use serde_json::json;
use sheaf_documents::{DocumentError, Format, MAX_PDF_LINES, Profile, pdf};
use sheaf_model::{Invoice, Kind};

/// The text of each page, without spaces, marks of direction and zero width: where a line broke is
/// not at stake here.
fn pages(invoice: &Invoice, profile: &Profile) -> Vec<String> {
    let corrected = samples::corrected();
    let corrected = (invoice.kind == Kind::CreditNote).then_some(&corrected);
    let bytes = pdf(invoice, profile, corrected).unwrap();
    let document = Document::load_mem(&bytes).unwrap();
    let numbers = document.get_pages();
    let text = |page: &u32| document.extract_text(&[*page]).unwrap();
    numbers.keys().map(text).map(|text| bare(&text)).collect()
}

fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !c.is_whitespace()
                && !('\u{200b}'..='\u{200f}').contains(c)
                && !('\u{2066}'..='\u{2069}').contains(c)
        })
        .collect()
}

fn assert_shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(&bare(text)), "{text} is not on {page}");
    }
}

#[test]
fn a_page_has_all_that_the_invoice_has() {
    let pages = pages(&samples::partially_paid(), &samples::seller("de"));
    assert_eq!(pages.len(), 1);
    assert_shows(
        &pages[0],
        &[
            "Rechnung",
            "Teilweise bezahlt",
            "2026-000123",
            "1.10.2026",
            "15.10.2026",
            "Lindgren & Söhne Maschinenbau GmbH",
            "Northwind Traders Ltd",
            "12 Rue des Lilas",
            "FR83404833048",
            "Retainer",
            "4.000,00",
            "19 %",
            "760,00",
            "4.760,00",
            "-1.760,00",
            "Offener Betrag (EUR)",
            "3.000,00",
            "SEPA 2026-10-03 / 7781",
            "bank transfer",
            "260,00",
            "DE89 3704 0044 0532 0130 00",
            "Payable within 14 days",
            "Seite 1 von 1",
        ],
    );
}

#[test]
fn what_looks_like_markup_is_text() {
    let invoice = samples::markup();
    let pages = pages(&invoice, &samples::seller("en"));
    let customer = invoice.customer.as_ref().unwrap().name.clone();
    let texts = invoice.lines.iter().map(|line| line.description.clone());
    for text in texts.chain([customer]) {
        assert_shows(&pages[0], &[&text]);
    }
}

#[test]
fn drafts_and_cancelled_ones_say_so() {
    let seller = samples::seller("en");
    let draft = pages(&samples::draft(), &seller);
    // In the box and across the page; and nobody is asked to pay.
    assert_eq!(draft[0].matches("Draft").count(), 2);
    assert!(!draft[0].contains("IBAN") && !draft[0].contains(&bare("Amount due")));
    let cancelled = pages(&samples::cancelled(), &seller);
    assert_eq!(cancelled[0].matches("Cancelled").count(), 2);
    assert!(!cancelled[0].contains("IBAN"));
    let credit = pages(&samples::credit_note(), &seller);
    let shown = [
        "Credit note",
        "Corrects invoice",
        "2026-000077",
        "Remaining credit (EUR)",
    ];
    assert_shows(&credit[0], &shown);
    assert!(!credit[0].contains("Invoice") && !credit[0].contains("IBAN"));
}

#[test]
fn amounts_have_the_currencys_decimals() {
    let seller = samples::seller("en");
    assert_shows(
        &pages(&samples::yen(), &seller)[0],
        &["480,000", "-420", "528,000"],
    );
    assert_shows(
        &pages(&samples::dinar(), &seller)[0],
        &["1,234.567", "0.125", "123.544"],
    );
}

#[test]
fn discounts_reversals_and_lines_that_give_back_are_shown() {
    let page = &pages(&samples::discounts(), &samples::seller("de"))[0];
    let shown = [
        "-150,00",
        "-25,00",
        "5 %",
        "Zwischensumme",
        "1.537,34",
        "Rabatt 2,5 %",
        "-38,43",
        "1.498,91",
    ];
    assert_shows(page, &shown);
    let page = &pages(&samples::reversed(), &samples::seller("en"))[0];
    let shown = [
        "-3",
        "-360.00",
        "3,640.00",
        "Reversal",
        "-1,500.00",
        "Credit note",
        "200.00",
        "4,131.60",
    ];
    assert_shows(page, &shown);
    // A set-off is told once: what it is, and how it was recorded, is the same.
    assert_eq!(page.to_lowercase().matches("creditnote").count(), 1);
}

#[test]
fn sixty_lines_flow_over_the_pages_under_their_header() {
    let invoice = samples::long(60);
    let pages = pages(&invoice, &samples::seller("fr"));
    assert_eq!(pages.len(), 3);
    for (index, page) in pages.iter().enumerate() {
        let number = format!("Page {} sur 3", index + 1);
        assert_shows(page, &["Prix unitaire", "Montant", &number, "2026-000123"]);
    }
    let all = pages.concat();
    for line in &invoice.lines {
        assert_eq!(all.matches(&bare(line.sku.as_deref().unwrap())).count(), 1);
    }
    assert_shows(&pages[2], &["Reste à payer"]);
}

#[test]
fn long_names_and_numbers_lose_nothing() {
    let invoice = samples::wide();
    let all = pages(&invoice, &samples::seller("de")).concat();
    for line in &invoice.lines {
        // A long description may have the foot of a page in the middle.
        let description = bare(&line.description);
        let (start, end) = (&description[..40], &description[description.len() - 40..]);
        assert!(all.contains(start) && all.contains(end), "{description}");
    }
    assert_shows(
        &all,
        &["97.544.599.298,02", &invoice.customer.unwrap().name],
    );
}

#[test]
fn the_same_version_gives_the_same_bytes() {
    for (name, invoice, profile) in samples::all() {
        let first = pdf(&invoice, &profile, None).unwrap();
        assert!(first.starts_with(b"%PDF-1."), "{name}");
        assert_eq!(first, pdf(&invoice, &profile, None).unwrap(), "{name}");
    }
}

#[test]
fn too_many_lines_are_refused_by_name() {
    let lines =
        vec![json!({"description": "x", "quantity": 1, "unit_price": "1"}); MAX_PDF_LINES + 1];
    let invoice = samples::invoice(json!({"currency": "EUR", "lines": lines}));
    match pdf(&invoice, &Profile::default(), None) {
        Err(DocumentError::Unsuitable(invalid)) => assert_eq!(invalid.code(), "too_many_lines"),
        other => panic!("{other:?}"),
    }
}

/// A text has lines of its own: pages are bounded by what they show, not by the invoice's lines
/// alone.
#[test]
fn texts_of_too_many_rows_are_refused_by_name() {
    let of = |count: usize, text: String| {
        let line = json!({"description": text, "quantity": 1, "unit_price": "1"});
        samples::invoice(json!({"currency": "EUR", "lines": vec![line; count]}))
    };
    let refused = |invoice: &Invoice| match pdf(invoice, &Profile::default(), None) {
        Err(DocumentError::Unsuitable(invalid)) => assert_eq!(invalid.code(), "too_much_text"),
        other => panic!("{other:?}"),
    };
    refused(&of(30, "x\n".repeat(1_000)));
    refused(&of(1_000, "long words ".repeat(180)));
    let mut paid = samples::partially_paid();
    let payment = paid.payments[0].clone();
    paid.payments = vec![payment; 1_000];
    for payment in &mut paid.payments {
        payment.reference = "x\n".repeat(98);
    }
    refused(&paid);
    let findings = |invoice: &Invoice| Format::Pdf.findings(invoice, &Profile::default());
    assert_eq!(findings(&paid)[0].code, "too_much_text");
    // Two thousand lines of five rows are what a PDF is for.
    assert_eq!(findings(&of(MAX_PDF_LINES, "x".repeat(390))), []);
}
