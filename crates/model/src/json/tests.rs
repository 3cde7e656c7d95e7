#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn normal(raw: &str) -> String {
    Metadata::parse(raw).unwrap().as_str().to_owned()
}

fn code(raw: &str) -> &'static str {
    Metadata::parse(raw).unwrap_err().code.as_str()
}

/// Each pair as PostgreSQL 15 gives it for `raw::jsonb::text`.
#[test]
fn normal_form_is_that_of_jsonb() {
    for (raw, expected) in [
        ("{}", "{}"),
        (" { } ", "{}"),
        (
            r#"{"b":1,"a":2,"aa":3,"":4}"#,
            r#"{"": 4, "a": 2, "b": 1, "aa": 3}"#,
        ),
        (
            r#"{"é":1,"zz":2,"z":3,"abc":4}"#,
            r#"{"z": 3, "zz": 2, "é": 1, "abc": 4}"#,
        ),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
        (r#"{"a":1,"\u0061":2}"#, r#"{"a": 2}"#),
        (
            r#"{"a":[1, 2,[],{"x":null}]}"#,
            r#"{"a": [1, 2, [], {"x": null}]}"#,
        ),
        (r#"{"a":"\u00e9\ud83d\ude00\/"}"#, r#"{"a": "é😀/"}"#),
        (
            r#"{"a":"\b\f\n\r\t\"\\\u0001\u001f\u007f"}"#,
            "{\"a\": \"\\b\\f\\n\\r\\t\\\"\\\\\\u0001\\u001f\u{7f}\"}",
        ),
        (
            r#"{"a":[1e3,1E-2,1.50,-0,-0.0,1.50e1,0e5,0e-5,0.0e3]}"#,
            r#"{"a": [1000, 0.01, 1.50, 0, 0.0, 15.0, 0, 0.00000, 0]}"#,
        ),
        (
            r#"{"a":[100e-2,12345e-2,-1.5e-3,12e1,1.25e+1]}"#,
            r#"{"a": [1.00, 123.45, -0.0015, 120, 12.5]}"#,
        ),
        (
            r#"{"a":[true,false,null]}"#,
            r#"{"a": [true, false, null]}"#,
        ),
    ] {
        assert_eq!(normal(raw), expected, "{raw}");
    }
}

#[test]
fn refusals_have_their_codes() {
    for raw in ["[]", "1", "\"x\"", "null", "true"] {
        assert_eq!(code(raw), "invalid_type", "{raw}");
    }
    for raw in [
        "",
        "{",
        "{}{}",
        "{'a':1}",
        r#"{"a":"\ud800"}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":01}"#,
        r#"{"a":[1,]}"#,
    ] {
        assert_eq!(code(raw), "invalid_json", "{raw}");
    }
    assert_eq!(code(r#"{"a":"\u0000"}"#), "string_has_nul");
    assert_eq!(code(r#"{"\u0000":1}"#), "string_has_nul");
    assert_eq!(
        code(&format!(
            r#"{{"a":"{}"}}"#,
            "x".repeat(bounds::MAX_METADATA_BYTES)
        )),
        "metadata_too_large"
    );
    // Small as sent, large in normal form.
    assert_eq!(
        code(&format!(r#"{{"a":[{}1]}}"#, "1e99,".repeat(1000))),
        "metadata_too_large"
    );
    for number in [
        "1e101",
        "1e-101",
        "1e99999999999",
        &"1".repeat(101),
        &format!("0.{}", "1".repeat(100)),
    ] {
        assert_eq!(
            code(&format!(r#"{{"a":{number}}}"#)),
            "metadata_number_out_of_range",
            "{number}"
        );
    }
}

#[test]
fn depth_is_bounded_and_never_overflows_the_stack() {
    let nested = |levels: usize| {
        format!(
            r#"{{"a":{}{}}}"#,
            "[".repeat(levels - 1),
            "]".repeat(levels - 1)
        )
    };
    assert!(Metadata::parse(&nested(32)).is_ok());
    assert_eq!(code(&nested(33)), "metadata_too_deep");
    assert_eq!(code(&nested(20_000)), "metadata_too_deep");
    assert_eq!(code(&"[".repeat(1024 * 1024)), "metadata_too_large");
    assert_eq!(code(&"[".repeat(60_000)), "invalid_json");
    assert_eq!(code(&r#"{"a":"#.repeat(13_000)), "invalid_json");
}

#[test]
fn matching_a_top_level_key() {
    let metadata =
        Metadata::parse(r#"{"s":"x","n":1.50,"t":true,"z":null,"o":{"s":"x"},"d":"1","":"e"}"#)
            .unwrap();
    for (key, value) in [
        ("s", "x"),
        ("n", "1.5"),
        ("n", "1.50"),
        ("n", "15e-1"),
        ("t", "true"),
        ("z", "null"),
        ("d", "1"),
        ("", "e"),
    ] {
        assert!(metadata.matches(key, value), "{key}={value}");
    }
    for (key, value) in [
        ("s", "y"),
        ("s", "\"x\""),
        ("n", "1.51"),
        ("t", "false"),
        ("o", "{\"s\":\"x\"}"),
        ("q", "x"),
        ("n", ""),
        ("d", "1.0"),
        ("z", "["),
    ] {
        assert!(!metadata.matches(key, value), "{key}={value}");
    }
    assert!(Metadata::parse(r#"{"n":100}"#).unwrap().matches("n", "1e2"));
    assert!(!Metadata::parse(r#"{"n":100}"#).unwrap().matches("n", "1"));
}

/// JSON texts with all that the tokenizer allows: escapes, blanks, exponents, duplicate keys.
fn any_json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text.replace('\0', "")).unwrap()),
        "\"(\\\\u00[1-9a-f][0-9a-f]|[a-c]|\\\\/){0,4}\"",
    ];
    let number = "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,6})?([eE][+-]?[0-7]?[0-9])?";
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("null".to_owned()),
        string.clone(),
        number
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec((string.clone(), inner), 0..6).prop_map(|entries| {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}:\t{value}"))
                    .collect();
                format!("{{ {} }}", entries.join(","))
            }),
        ]
    })
}

/// Equal but for the notation of numbers, which the parser of the test reads as floats.
#[allow(clippy::float_arithmetic)]
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-12
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn normal_form_is_idempotent_and_keeps_the_value(json in any_json()) {
        let once = normal(&format!("{{\"v\":{json}}}"));
        prop_assert_eq!(&normal(&once), &once);
        let sent: serde_json::Value = serde_json::from_str(&json).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&once).unwrap();
        prop_assert!(same(&sent, &kept["v"]), "{} became {}", json, once);
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), key in any::<String>(),
        value in any::<String>()) {
        let _ = Metadata::parse(&text);
        let _ = Metadata::parse(&format!("{{\"k\":{text}}}"));
        let _ = Metadata::from_stored(text).matches(&key, &value);
    }
}

/// What the hot tier is asked for is what [`Metadata::matches`] finds.
#[test]
fn a_wanted_value_is_its_text_and_its_scalar_in_normal_form() {
    for (value, scalar) in [
        ("123456789012345678901", Some("123456789012345678901")),
        ("941.3004193968255", Some("941.3004193968255")),
        ("1e2", Some("100")),
        ("-0", Some("0")),
        (" 1.50 ", Some("1.50")),
        ("true", Some("true")),
        ("null", Some("null")),
        ("1e101", None),
        ("nan", None),
        ("\"1\"", None),
        ("[1]", None),
        ("{}", None),
        ("", None),
    ] {
        let (text, found) = Metadata::wanted("k\"", value);
        let expected = scalar.map(|scalar| format!(r#"{{"k\"": {scalar}}}"#));
        assert_eq!(found.as_ref().map(Metadata::as_str), expected.as_deref());
        assert!(text.matches("k\"", value), "{value:?}");
        assert!(
            found.is_none_or(|found| found.matches("k\"", value)),
            "{value:?}"
        );
        // It is in normal form itself.
        assert_eq!(normal(text.as_str()), text.as_str());
    }
}
