//! The extremes of each kind of field.

use serde_json::{Value, json};

/// A value to be sent, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extreme {
    /// JSON, where it may be what no parser of ours can hold, such as `1e400`.
    pub(super) json: String,
    /// The contract refuses it: being taken is a fault.
    pub(super) refused: bool,
}

/// What a field is, by its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    Time,
    Id,
    Integer,
    Boolean,
    Text,
    List,
    Object,
    Free,
}

impl Kind {
    pub(super) fn of(schema: &Value) -> Self {
        let types = match &schema["type"] {
            Value::Array(types) => types
                .iter()
                .find(|one| **one != "null")
                .cloned()
                .unwrap_or_default(),
            other => other.clone(),
        };
        match (types.as_str(), schema["format"].as_str()) {
            (_, Some("date")) => Self::Date,
            (_, Some("date-time")) => Self::Time,
            (_, Some("uuid")) => Self::Id,
            (Some("integer" | "number"), _) => Self::Integer,
            (Some("boolean"), _) => Self::Boolean,
            (Some("array"), _) => Self::List,
            (Some("object"), _) if schema["properties"].is_object() => Self::Object,
            (Some("object"), _) => Self::Free,
            _ => Self::Text,
        }
    }
}

const DATES: [&str; 10] = [
    "0000-01-01",
    "-9999-01-01",
    "-4713-01-01",
    "1969-12-31",
    "2200-01-01",
    "9999-12-31",
    "294277-01-01",
    "2023-02-29",
    "2026-1-5",
    " 2026-01-05",
];
const GOOD_DATES: [&str; 3] = ["1970-01-01", "2199-12-31", "2024-02-29"];
const TIMES: [&str; 8] = [
    "-4713-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "294277-01-01T00:00:00Z",
    "2026-01-05",
    "2026-01-05T24:61:00Z",
];
const IDS: [&str; 7] = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "00000000-0000-7000-8000-000000000000",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "{019b8b5b-9c00-7000-8000-000000000001}",
    "x",
];
const INTEGERS: [&str; 13] = [
    "-9223372036854775809",
    "-9223372036854775808",
    "-2147483649",
    "-1",
    "0",
    "1.5",
    "32768",
    "2147483648",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e400",
];
const DECIMALS: [&str; 17] = [
    "0",
    "-0",
    "-1",
    "+1",
    " 1",
    "1e3",
    "1e400",
    "1e-400",
    "NaN",
    "Infinity",
    "0x10",
    "١٢",
    "0.0000000000000000000000000001",
    "999999999999.99",
    "99999999999999999999999999999999999999",
    "-99999999999999.99",
    "79228162514264337593543950335",
];

fn texts() -> Vec<String> {
    [
        "",
        " ",
        "\u{0}",
        "a\u{0}b",
        "\u{1}\u{7f}\u{85}",
        "e\u{301}",
        "\u{202e}abc",
        "\u{feff}a",
        "💶",
        "'; drop table invoices; --",
        "..%2f..%2f",
        "{\"a\":1}",
        "\u{fffd}\u{10ffff}",
    ]
    .iter()
    .map(|text| (*text).to_owned())
    .chain(["x".repeat(400_000), "é".repeat(5_000)])
    .collect()
}

/// The extremes of a kind, wrong types among them.
pub(super) fn extremes(kind: Kind) -> Vec<Extreme> {
    let refused = |text: &str| Extreme {
        json: json!(text).to_string(),
        refused: true,
    };
    let open = |text: &str| Extreme {
        json: json!(text).to_string(),
        refused: false,
    };
    let raw = |text: &str, refused| Extreme {
        json: text.to_owned(),
        refused,
    };
    let mut all: Vec<Extreme> = match kind {
        Kind::Date => DATES
            .map(refused)
            .into_iter()
            .chain(GOOD_DATES.map(open))
            .collect(),
        Kind::Time => TIMES.map(open).to_vec(),
        Kind::Id => IDS.map(open).to_vec(),
        Kind::Integer => {
            let texts = ["5", "+5", ""].map(refused);
            INTEGERS
                .map(|text| raw(text, false))
                .into_iter()
                .chain(texts)
                .collect()
        }
        Kind::Boolean => ["0", "1", "\"true\""].map(|text| raw(text, true)).to_vec(),
        Kind::Text => {
            let numbers = DECIMALS
                .map(open)
                .into_iter()
                .chain(INTEGERS.map(|text| raw(text, false)));
            numbers
                .chain(texts().iter().map(|text| open(text)))
                .collect()
        }
        Kind::List | Kind::Object => Vec::new(),
        Kind::Free => free(),
    };
    // Wrong types. An array of an object's values is what a careless reader takes for the object.
    let wrong = match kind {
        Kind::List => ["{}", "\"x\"", "1"],
        _ => ["[]", "[[1]]", "[{}]"],
    };
    all.extend(wrong.map(|text| raw(text, true)));
    all.push(raw("null", false));
    if kind != Kind::Object && kind != Kind::Free {
        all.push(raw("{}", true));
    }
    all
}

/// Free-form objects: deep, wide, and with numbers that no double holds.
fn free() -> Vec<Extreme> {
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let wide: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":{n}")).collect();
    [
        deep,
        format!("{{{}}}", wide.join(",")),
        "{\"n\":123456789012345678901234567890}".to_owned(),
        "{\"n\":1e400}".to_owned(),
        "{\"n\":-0.0}".to_owned(),
        "{\"\":1}".to_owned(),
        "{\"a\\u0000b\":\"\\u0000\"}".to_owned(),
        "{\"a\":1,\"a\":2}".to_owned(),
        "{\"s\":\"\\ud800\"}".to_owned(),
    ]
    .map(|json| Extreme {
        json,
        refused: false,
    })
    .to_vec()
}

/// Extremes of a parameter in a query or path, as percent-encoded text.
pub(super) fn parameters(kind: Kind) -> Vec<(String, bool)> {
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |all, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => {
                all + &char::from(byte).to_string()
            }
            _ => all + &format!("%{byte:02X}"),
        })
    };
    let all = |texts: &[&str], refused| {
        texts
            .iter()
            .map(|text| (encode(text), refused))
            .collect::<Vec<_>>()
    };
    let mut found = match kind {
        Kind::Date => [all(&DATES, true), all(&GOOD_DATES, false)].concat(),
        Kind::Id => all(&IDS, false),
        Kind::Integer => [all(&INTEGERS, false), all(&["+5", " 5", "5 ", "٥"], true)].concat(),
        _ => all(
            &["", " ", "\u{0}", "e\u{301}", "AAAA", "1e400", "-1", "null"],
            false,
        ),
    };
    found.push(("%FF".to_owned(), true));
    found.push(("x".repeat(4_000), false));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_from_schemas() {
        let kind = |schema: Value| Kind::of(&schema);
        assert_eq!(
            kind(json!({"type": ["string", "null"], "format": "date"})),
            Kind::Date
        );
        assert_eq!(
            kind(json!({"type": "integer", "format": "int64"})),
            Kind::Integer
        );
        assert_eq!(kind(json!({"type": "object"})), Kind::Free);
        assert_eq!(
            kind(json!({"type": "object", "properties": {}})),
            Kind::Object
        );
        assert_eq!(kind(json!({"type": "string"})), Kind::Text);
    }

    #[test]
    fn parameters_are_encoded() {
        assert!(parameters(Kind::Integer).contains(&("%2B5".to_owned(), true)));
    }
}
