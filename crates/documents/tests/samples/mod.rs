//! Invoices and sellers for tests and for looking at: made as clients make them, so that the totals
//! are the model's.
#![allow(dead_code, clippy::unwrap_used)]

use chrono::{NaiveDate, TimeZone, Utc};
use serde_json::{Value, json};
use sheaf_documents::{Corrected, Profile, ZeroRate};
use sheaf_model::invoice::input::Context;
use sheaf_model::{Invoice, InvoiceInput, Payment, PaymentKind, Status, TenantId};
use uuid::Uuid;

/// An invoice as sent; it keeps its ids, so that documents are the same in every run.
pub(crate) fn invoice(mut input: Value) -> Invoice {
    input["id"] = json!("019c2f1a-7c00-7000-8000-000000000001");
    let context = Context {
        tenant_id: TenantId(Uuid::from_u128(7)),
        now: Utc.with_ymd_and_hms(2026, 11, 1, 12, 0, 0).unwrap(),
    };
    InvoiceInput::parse(input.to_string().as_bytes())
        .unwrap()
        .into_invoice(&context)
        .unwrap()
}

pub(crate) fn profile(input: Value) -> Profile {
    Profile::parse(input.to_string().as_bytes()).unwrap()
}

/// A seller with everything, in a language.
pub(crate) fn seller(language: &str) -> Profile {
    profile(json!({
        "name": "Lindgren & Söhne Maschinenbau GmbH", "address_lines": ["Speicherstraße 14",
            "Haus C"],
        "city": "Hamburg", "postcode": "20457", "country": "DE", "vat_id": "DE123456788",
        "registration_number": "HRB 99887", "email": "rechnung@lindgren.example",
            "phone": "+49 40 5550 1234",
        "iban": "DE89 3704 0044 0532 0130 00", "bic": "COBADEFFXXX",
        "payment_terms":
            "Payable within 14 days without deduction. Please name the invoice number.",
        "footer": "Lindgren & Söhne Maschinenbau GmbH · Managing directors: Astrid Lindgren, Jonas \
            Weber · Amtsgericht Hamburg HRB 99887",
        "language": language,
    }))
}

fn customer() -> Value {
    json!({"external_id": "K-2041", "name": "Northwind Traders Ltd",
        "email": "ap@northwind.example",
        "tax_id": "FR83404833048", "address": "12 Rue des Lilas\n75011 Paris", "country": "FR"})
}

fn base(lines: Value) -> Value {
    json!({"number": "2026-000123", "currency": "EUR", "customer": customer(),
        "issue_date": "2026-10-01",
        "due_date": "2026-10-15", "lines": lines})
}

/// One rate, nothing special.
pub(crate) fn simple() -> Invoice {
    invoice(base(json!([
        {"sku": "PUMP-20", "description": "Circulation pump, 20 m³/h", "quantity": 2,
            "unit_price": "1249.90", "tax_rate": "0.19"},
        {"description": "Installation", "quantity": "6.5", "unit_price": "84", "tax_rate": "0.19"}
    ])))
}

/// Three rates, one of them zero.
pub(crate) fn rates() -> Invoice {
    invoice(base(json!([
        {"description": "Machine oil, 20 l", "quantity": 3, "unit_price": "89.95",
            "tax_rate": "0.19"},
        {"description": "Handbook, printed", "quantity": 12, "unit_price": "14.29",
            "tax_rate": "0.07"},
        {"description": "API calls", "quantity": 1234567, "unit_price": "0.000125",
            "tax_rate": "0.055"},
        {"description": "Training abroad", "quantity": 1, "unit_price": "950", "tax_rate": "0"}
    ])))
}

/// Discounts on lines and on the whole, one of each as a percentage.
pub(crate) fn discounts() -> Invoice {
    let lines = json!([
        {"description": "Licence, year", "quantity": 10, "unit_price": "120", "discount": "150",
            "tax_rate": "0.19"},
        {"description": "Support, year", "quantity": 1, "unit_price": "500",
            "discount_percent": "5", "tax_rate": "0.07"},
        {"description": "Shipping", "quantity": 1, "unit_price": "12.34", "tax_rate": "0.19"}
    ]);
    let mut input = base(lines);
    input["discount_percent"] = json!("2.5");
    invoice(input)
}

/// Paid in part.
pub(crate) fn partially_paid() -> Invoice {
    let mut input = base(json!([
        {"description": "Retainer", "quantity": 1, "unit_price": "4000", "tax_rate": "0.19"}
    ]));
    input["payments"] = json!([
        {"reference": "SEPA 2026-10-03 / 7781", "amount": "1500", "paid_on": "2026-10-03",
            "method": "bank_transfer"},
        {"reference": "ch_3PxYzA2eZvKYlo2C", "amount": "260", "paid_on": "2026-10-09",
            "method": "card"}
    ]);
    let invoice = invoice(input);
    assert_eq!(invoice.status, Status::PartiallyPaid);
    invoice
}

/// A line that gives back, and a payment that was taken back.
pub(crate) fn reversed() -> Invoice {
    let mut invoice = invoice(base(json!([
        {"description": "Retainer", "quantity": 1, "unit_price": "4000", "tax_rate": "0.19"},
        {"description": "Unused hours of last month", "quantity": -3, "unit_price": "120",
            "tax_rate": "0.19"}
    ])));
    let payment = |number: u128, kind: PaymentKind, amount: i64| Payment {
        id: Uuid::from_u128(number),
        reference: format!("SEPA {number}"),
        kind,
        amount: amount.into(),
        paid_on: NaiveDate::from_ymd_opt(2026, 10, 9).unwrap(),
        method: match kind {
            PaymentKind::Credit => "credit_note".to_owned(),
            _ => "bank_transfer".to_owned(),
        },
        reverses: None,
    };
    invoice.payments = vec![
        payment(1, PaymentKind::Payment, 1500),
        payment(2, PaymentKind::Reversal, -1500),
        payment(3, PaymentKind::Credit, 200),
    ];
    invoice.amount_paid = 200.into();
    invoice.amount_due = invoice.total - invoice.amount_paid;
    invoice.status = Status::PartiallyPaid;
    invoice
}

/// Money back.
pub(crate) fn credit_note() -> Invoice {
    let mut input = base(json!([
        {"description": "Returned: circulation pump", "quantity": 1, "unit_price": "1249.90",
            "tax_rate": "0.19"}
    ]));
    input["kind"] = json!("credit_note");
    input["number"] = json!("GS-2026-0007");
    invoice(input)
}

/// What the credit note corrects.
pub(crate) fn corrected() -> Corrected {
    Corrected {
        number: "2026-000077".to_owned(),
        issue_date: NaiveDate::from_ymd_opt(2026, 9, 14),
    }
}

/// A currency without decimals.
pub(crate) fn yen() -> Invoice {
    let mut input = base(json!([
        {"description": "Consulting, Tokyo office", "quantity": 3, "unit_price": "148000",
            "tax_rate": "0.1"},
        {"description": "Travel", "quantity": 1, "unit_price": "36420", "discount": "420",
            "tax_rate": "0.1"}
    ]));
    input["currency"] = json!("JPY");
    invoice(input)
}

/// A currency with three decimals, all of them used.
pub(crate) fn dinar() -> Invoice {
    let mut input = base(json!([
        {"description": "Survey", "quantity": 1, "unit_price": "1234.567", "tax_rate": "0.1"},
        {"description": "Samples", "quantity": 7, "unit_price": "0.125", "tax_rate": "0.1"}
    ]));
    input["currency"] = json!("BHD");
    invoice(input)
}

/// The same currency, two decimals used.
pub(crate) fn round_dinar() -> Invoice {
    let mut input = base(json!([
        {"description": "Survey", "quantity": 1, "unit_price": "1234.5", "tax_rate": "0.1"}
    ]));
    input["currency"] = json!("BHD");
    invoice(input)
}

/// No tax at all.
pub(crate) fn untaxed() -> Invoice {
    invoice(base(json!([
        {"description": "Course fee", "quantity": 2, "unit_price": "380", "tax_rate": "0"}
    ])))
}

/// Given to nobody yet: no number, no date.
pub(crate) fn draft() -> Invoice {
    let mut input = base(json!([
        {"description": "Concept", "quantity": 1, "unit_price": "2500", "tax_rate": "0.19"}
    ]));
    for name in ["number", "issue_date", "due_date"] {
        input.as_object_mut().unwrap().remove(name);
    }
    invoice(input)
}

/// Withdrawn.
pub(crate) fn cancelled() -> Invoice {
    let mut invoice = simple();
    invoice.status = Status::Cancelled;
    invoice.amount_due = 0.into();
    invoice
}

/// Many lines.
pub(crate) fn long(lines: usize) -> Invoice {
    let lines: Vec<Value> = (0..lines)
        .map(|index| {
            json!({"sku": format!("ART-{index:05}"),
                "description": format!("Part no. {index}, galvanised"),
                "quantity": index + 1, "unit_price": format!("{}.{:02}", index % 900, index % 100),
                    "tax_rate": "0.19"})
        })
        .collect();
    invoice(base(lines.into()))
}

/// Long names, huge numbers, runs without a space.
pub(crate) fn wide() -> Invoice {
    let mut input = base(json!([
        {"sku": "SKU-".repeat(25),
            "description": "Donaudampfschifffahrtsgesellschaftskapitänsmützenständer ".repeat(12),
            "quantity": "98765.123456", "unit_price": "987654.654321", "discount": "1234567.89",
                "tax_rate": "0.19"},
        {"description": format!("https://example.com/{}", "a1b2c3d4".repeat(40)), "quantity": 1,
            "unit_price": "1", "tax_rate": "0.123456"},
        {"description": "lorem ipsum dolor sit amet ".repeat(70), "quantity": 1,
            "unit_price": "0.000001", "tax_rate": "0.19"},
        {"description": "W".repeat(300), "quantity": 1, "unit_price": "5", "tax_rate": "0.19"}
    ]));
    input["number"] = json!("NUMBER/".repeat(14));
    input["customer"]["name"] = json!(
        "The Extraordinarily Long Named Customer Company of Upper and Lower Bavaria "
            .repeat(4)
            .trim()
    );
    input["customer"]["address"] = json!(format!("{}\nHinterhaus", "Street".repeat(30)));
    input["customer"]["external_id"] = json!("C".repeat(200));
    invoice(input)
}

/// What looks like markup, and must not be.
pub(crate) fn markup() -> Invoice {
    let mut input = base(json!([
        {"description": "#import \"x\": *", "quantity": 1, "unit_price": "1", "tax_rate": "0.19"},
        {"description": "*a* _b_ $x^2$ `c` <d> @e // f /* g */ \\ \"h\" 'i' & = j", "quantity": 1,
            "unit_price": "1", "tax_rate": "0.19"},
        {"description": "#read(\"/etc/passwd\") #{ panic(\"p\") } ]]] }}} ---", "quantity": 1,
            "unit_price": "1", "tax_rate": "0.19"}
    ]));
    input["customer"]["name"] = json!("#panic(\"gotcha\") *Ltd*");
    invoice(input)
}

/// A customer, lines and a seller of the Arabic world, with Latin in between.
pub(crate) fn arabic() -> (Invoice, Profile) {
    let mut input = base(json!([
        {"sku": "SRV-7", "description": "خدمات استشارية (المرحلة الأولى)", "quantity": 12,
            "unit_price": "45.5", "tax_rate": "0.1"},
        {"description": "ترخيص برنامج Sheaf Pro 2.0 لمدة سنة", "quantity": 1, "unit_price": "1200",
            "discount": "200", "tax_rate": "0.1"},
        {"description": "Training workshop (2 days).", "quantity": 2, "unit_price": "350.250",
            "tax_rate": "0"}
    ]));
    input["currency"] = json!("BHD");
    input["customer"] = json!({"external_id": "C-9", "name": "شركة النخيل للتجارة ذ.م.م",
        "tax_id": "BH200001234500002",
        "address": "مبنى 1425، طريق 4626\nالمنامة 346", "country": "BH",
            "email": "accounts@nakheel.example"});
    input["payments"] = json!([{"reference": "TRX 55-901", "amount": "500", "paid_on": "2026-10-03",
        "method": "bank_transfer"}]);
    let profile = profile(
        json!({"name": "مؤسسة الخليج للحلول التقنية", "address_lines": ["شارع الملك فيصل 21"],
            "city": "المنامة",
        "country": "BH", "tax_id": "200009876500002", "registration_number": "CR 12345-1",
            "email": "billing@gulf.example",
        "phone": "+973 1755 5000", "iban": "BH67BMAG00001299123456", "bic": "BMAGBHBM",
        "payment_terms": "الدفع خلال 14 يومًا من تاريخ الفاتورة.", "footer": "شكرًا لتعاملكم معنا",
            "language": "ar"}),
    );
    (invoice(input), profile)
}

/// The same in Hebrew.
pub(crate) fn hebrew() -> (Invoice, Profile) {
    let mut input = base(json!([
        {"description": "שירותי ייעוץ (שלב א׳)", "quantity": 10, "unit_price": "350",
            "tax_rate": "0.18"},
        {"description": "רישיון Sheaf Pro 2.0 לשנה", "quantity": 1, "unit_price": "4800",
            "discount": "480", "tax_rate": "0.18"}
    ]));
    input["currency"] = json!("ILS");
    input["customer"] = json!({"external_id": "7741", "name": "חברת הגליל בע״מ",
        "tax_id": "514223344",
        "address": "רחוב הרצל 12\nחיפה 3303141", "country": "IL"});
    let profile = profile(
        json!({"name": "אלון פתרונות תוכנה בע״מ", "address_lines": ["דרך מנחם בגין 121"],
            "city": "תל אביב",
        "postcode": "6701203", "country": "IL", "tax_id": "515566778",
            "email": "billing@alon.example", "phone": "+972 3 555 1234",
        "iban": "IL620108000000099999999", "payment_terms": "תשלום תוך 30 יום.", "language": "he"}),
    );
    (invoice(input), profile)
}

/// Every sample that shows something of its own, by name.
pub(crate) fn all() -> Vec<(&'static str, Invoice, Profile)> {
    let mut exempt = seller("es");
    exempt.zero_rate_category = ZeroRate::E;
    exempt.exemption_reason = Some("Exenta según el artículo 20 de la Ley 37/1992".to_owned());
    let (arabic, gulf) = arabic();
    let (hebrew, alon) = hebrew();
    let untaxed_as = |category| Profile {
        zero_rate_category: category,
        ..seller("en")
    };
    vec![
        ("reverse_charge", untaxed(), untaxed_as(ZeroRate::AE)),
        ("export", untaxed(), untaxed_as(ZeroRate::G)),
        ("outside_vat", untaxed(), untaxed_as(ZeroRate::O)),
        ("zero_rated", untaxed(), untaxed_as(ZeroRate::Z)),
        ("simple", simple(), seller("en")),
        ("rates", rates(), seller("de")),
        ("discounts", discounts(), seller("fr")),
        ("partially_paid", partially_paid(), seller("nl")),
        ("reversed", reversed(), seller("en")),
        ("credit_note", credit_note(), seller("de")),
        ("yen", yen(), seller("en")),
        ("dinar", dinar(), seller("en")),
        ("round_dinar", round_dinar(), seller("en")),
        ("untaxed", untaxed(), exempt),
        ("draft", draft(), seller("en")),
        ("cancelled", cancelled(), seller("pl")),
        ("lines_60", long(60), seller("de")),
        ("wide", wide(), seller("de")),
        ("markup", markup(), seller("en")),
        ("arabic", arabic, gulf),
        ("hebrew", hebrew, alon),
        ("no_profile", simple(), Profile::default()),
    ]
}
