#![allow(clippy::unwrap_used)]
use super::*;

fn mistakes(json: &str) -> Vec<(String, &'static str)> {
    match Profile::parse(json.as_bytes()).unwrap_err() {
        ParseError::Invalid(invalid) => invalid
            .into_errors()
            .into_iter()
            .map(|error| (error.field, error.code.as_str()))
            .collect(),
        ParseError::Syntax(detail) => vec![(detail, "invalid_json")],
    }
}

#[test]
fn a_whole_profile_is_read_and_written_back() {
    let json = r#"{"name":" Müller & Söhne GmbH ","address_lines":["Hauptstr. 1",""],
        "city":"Köln","postcode":"50667","country":"DE","vat_id":"DE123456789",
        "registration_number":"HRB 1","email":"a@b.de","phone":"+49 221 1",
        "iban":"DE89 3704 0044 0532 0130 00","bic":"COBADEFFXXX","payment_terms":"14 Tage",
        "footer":"","language":"de","zero_rate_category":"AE","exemption_reason":null}"#;
    let profile = Profile::parse(json.as_bytes()).unwrap();
    assert_eq!(profile.name, "Müller & Söhne GmbH");
    assert_eq!(profile.address_lines, ["Hauptstr. 1"]);
    assert_eq!(profile.iban.as_deref(), Some("DE89370400440532013000"));
    assert_eq!(profile.footer, None);
    assert_eq!(
        (profile.language, profile.zero_rate_category),
        (Language::De, ZeroRate::AE)
    );
    let written = serde_json::to_vec(&profile).unwrap();
    assert_eq!(Profile::parse(&written).unwrap(), profile);
    assert_eq!(
        serde_json::from_slice::<Profile>(&written).unwrap(),
        profile
    );
}

#[test]
fn all_mistakes_are_named() {
    let json = r#"{"address_lines":["a","b","c","d"],"country":"Germany","vat_id":"123",
        "email":"a b@c","bic":"X","iban":"DE88370400440532013000",
        "language":"xx","zero_rate_category":"S","footer":"a\u0000"}"#;
    let expected = [
        ("name", "missing_field"),
        ("address_lines", "too_many_items"),
        ("country", "invalid_country"),
        ("vat_id", "invalid_vat_id"),
        ("email", "invalid_email"),
        ("iban", "invalid_iban"),
        ("bic", "invalid_bic"),
        ("footer", "string_has_nul"),
        ("language", "invalid_choice"),
        ("zero_rate_category", "invalid_choice"),
    ];
    assert_eq!(
        mistakes(json),
        expected.map(|(field, code)| (field.to_owned(), code))
    );
}

/// Numbers and addresses hide nothing; a text that shows nothing is none.
#[test]
fn nothing_is_hidden_in_what_stands_for_something() {
    for field in [
        "vat_id",
        "tax_id",
        "registration_number",
        "email",
        "phone",
        "iban",
        "bic",
        "postcode",
        "country",
    ] {
        for hidden in ["\u{1}", "\u{7f}", "\u{85}", "\t", "\u{fffe}"] {
            let value = match field {
                "email" => format!("a{hidden}@b.de"),
                "iban" => format!("DE89370400440532{hidden}013000"),
                _ => format!("DE{hidden}12"),
            };
            let json = serde_json::json!({"name": "a", field: value}).to_string();
            assert_eq!(
                mistakes(&json),
                [(field.to_owned(), "string_has_control")],
                "{value:?}"
            );
        }
        for blank in ["\u{1}", "\u{202e}\u{200b}", " \u{feff} "] {
            let json = serde_json::json!({"name": "a", field: blank}).to_string();
            let profile = Profile::parse(json.as_bytes()).unwrap();
            let expected = Profile {
                name: "a".to_owned(),
                ..Profile::default()
            };
            assert_eq!(profile, expected, "{field} {blank:?}");
        }
    }
    assert_eq!(
        mistakes("{\"name\":\"\\u0001\\u202e\"}"),
        [("name".to_owned(), "missing_field")]
    );
    let json = r#"{"name":"a","address_lines":["\u0001","b"],"city":"\u2066",
        "footer":"\u200b","vat_id":"DE\u200b"}"#;
    assert_eq!(mistakes(json), [("vat_id".to_owned(), "invalid_vat_id")]);
    let json = json.replace("DE", "");
    let profile = Profile::parse(json.as_bytes()).unwrap();
    assert_eq!(profile.address_lines, ["b"]);
    assert_eq!(
        (profile.city, profile.footer, profile.vat_id),
        (None, None, None)
    );
}

#[test]
fn texts_are_bounded_in_characters() {
    let long = |length: usize| format!(r#"{{"name":"{}"}}"#, "é".repeat(length));
    assert!(Profile::parse(long(bounds::MAX_CUSTOMER_NAME).as_bytes()).is_ok());
    assert_eq!(
        mistakes(&long(bounds::MAX_CUSTOMER_NAME + 1)),
        [("name".to_owned(), "string_too_long")]
    );
}

#[test]
fn what_is_no_profile_says_so() {
    assert_eq!(
        mistakes(r#"{"name":"a","logo":"x"}"#),
        [("logo".to_owned(), "unknown_field")]
    );
    assert_eq!(
        mistakes(r#"{"name":"a","name":"b"}"#),
        [("name".to_owned(), "duplicate_field")]
    );
    assert_eq!(
        mistakes(r#"{"name":7}"#),
        [("name".to_owned(), "invalid_type")]
    );
    assert_eq!(mistakes(r#"["a"]"#), [(String::new(), "invalid_type")]);
    assert_eq!(mistakes("{")[0].1, "invalid_json");
}

#[test]
fn ibans_of_the_standard() {
    for iban in [
        "GB82WEST12345698765432",
        "NO9386011117947",
        "BH67BMAG00001299123456",
    ] {
        assert!(is_iban(iban), "{iban}");
    }
    for iban in [
        "GB82WEST12345698765433",
        "gb82WEST12345698765432",
        "GB82",
        "GBX2WEST12345698765432",
    ] {
        assert!(!is_iban(iban), "{iban}");
    }
}
