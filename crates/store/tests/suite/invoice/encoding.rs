//! What we compute ourselves is what PostgreSQL would have computed.

use crate::support::{raw, simple, store, tenant};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sheaf_model::Metadata;
use sheaf_store::Created;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[^\u{0}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[^\u{0}]{0,6}", inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_has_the_normal_form_of_jsonb() {
    let db = raw().await;
    let mut runner = TestRunner::deterministic();
    let mut texts: Vec<String> = (0..500)
        .map(|_| json!({ "k": any_json().new_tree(&mut runner).unwrap().current() }).to_string())
        .collect();
    texts.push(r#"{"b":1,"aa":2,"a":3,"b":4,"":0}"#.into());
    for number in [
        "1e3",
        "1E-2",
        "1.50",
        "-0",
        "-0.0",
        "0e5",
        "1e20",
        "1.0e0",
        "123456789012345678901234567890.10",
        "-1.5e-7",
    ] {
        texts.push(format!(r#"{{"n": {number}}}"#));
    }
    texts.push("{\"s\": \"\\u00e9\\ud83d\\ude00\\u0001\\u007f\\/\\b\\f\\n\\r\\t\\\"\\\\\"}".into());
    for text in texts {
        let theirs: String = db
            .query_one("select ($1::text)::jsonb::text", &[&text])
            .await
            .unwrap()
            .get(0);
        assert_eq!(Metadata::parse(&text).unwrap().as_str(), theirs, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_survive_the_binary_copy() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let cases = [
        ("999999999.999999", "9999.99"),
        ("0.000001", "0.01"),
        ("99", "999999999999.999999"),
        ("10000", "10000.0001"),
        ("12345678.9", "0.000001"),
        ("1", "0"),
        ("3", "100.5"),
    ];
    for (quantity, unit_price) in cases {
        let new = simple(
            tenant,
            json!({"lines": [{"description": "d", "quantity": quantity,
                "unit_price": unit_price}]}),
        );
        let Created::New(created) = store.create_invoice(new).await.unwrap() else {
            panic!("a replay")
        };
        let read = store
            .get_invoice(tenant, created.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read.lines, created.lines, "{quantity} x {unit_price}");
        assert_eq!(read.render(), created.render());
    }
}
