//! Numbers of the metadata are decimal: no tier, filter, edit or event makes a float of one.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::archive::files::tier;
use crate::support::{Tenant, TestApp, events, invoice, raw, send};

/// Each would be another number as a double, or is read wrongly by a quick reader of doubles.
const NUMBERS: [&str; 8] = [
    "123456789012345678901",
    "941.3004193968255",
    "0.1000000000000000055511151231257827",
    "18446744073709551617",
    "-9007199254740993",
    "1e-7",
    "2.50",
    "1.7976931348623157e99",
];

/// JSON text, since a value would round its numbers.
fn document(date: &str, metadata: &str) -> String {
    let payment = json!([{"reference": "p", "amount": "26.98", "paid_on": date, "method": "card"}]);
    let mut document = invoice(json!({"issue_date": date, "payments": payment})).to_string();
    document.truncate(document.len() - 1);
    format!("{document},\"metadata\":{metadata}}}")
}

async fn create(app: &TestApp, tenant: &Tenant, document: String) -> String {
    let request = app.post("/v1/invoices", &tenant.key);
    let made = send(
        request
            .header("content-type", "application/json")
            .body(document),
    )
    .await;
    made.is(201)["id"].as_str().unwrap().to_owned()
}

async fn found(app: &TestApp, tenant: &Tenant, value: &str) -> Vec<Value> {
    let value = value.replace('+', "%2B");
    let path = format!("/v1/invoices?metadata.n={value}");
    let list = app.read(&path, &tenant.key).await.is(200);
    let of = |invoice: &Value| invoice["id"].clone();
    list["data"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn both_tiers_find_a_number_by_its_value() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let mut pairs = Vec::new();
    for number in NUMBERS {
        let metadata = format!("{{\"n\": {number}}}");
        let cold = create(&app, &tenant, document("2023-03-05", &metadata)).await;
        let hot = create(&app, &tenant, document("2026-11-02", &metadata)).await;
        pairs.push((number, [hot, cold]));
    }
    assert_eq!(tier(&app, &tenant).await.invoices, 8);
    for (number, ids) in &pairs {
        assert_eq!(found(&app, &tenant, number).await, ids, "{number}");
        // Its neighbour in the last digit is another number.
        let last = if number.ends_with('9') { "8" } else { "9" };
        let other = format!("{}{last}", &number[..number.len() - 1]);
        assert_eq!(found(&app, &tenant, &other).await, [""; 0], "{other}");
    }
    for (form, number) in [("0.0000001", "1e-7"), ("25e-1", "2.50"), ("2.5", "2.50")] {
        let ids = &pairs.iter().find(|(n, _)| *n == number).unwrap().1;
        assert_eq!(found(&app, &tenant, form).await, ids, "{form}");
    }
}

/// The event's own text: read as a value, its numbers would be rounded.
async fn told(tenant: &Tenant, member: &str) -> String {
    let sql = "select data #>> string_to_array($2, '.') from events
               where tenant_id = $1 and event_type = 'invoice.updated' order by id desc limit 1";
    let row = raw().await.query_one(sql, &[&tenant.id, &member]).await;
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_change_of_the_last_digit_is_told_digit_by_digit() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let first = document(
        "2026-11-02",
        r#"{"n": 123456789012345678901, "keep": 0.10}"#,
    );
    let id = create(&app, &tenant, first).await;
    let patch = async |metadata: &str| {
        let request = app.request(Method::PATCH, &format!("/v1/invoices/{id}"));
        let request = request.bearer_auth(&tenant.key);
        let body = format!("{{\"metadata\": {metadata}}}");
        let request = request.header("content-type", "application/json");
        let answer = send(request.body(body)).await;
        assert_eq!(answer.status, 200, "{answer}");
        String::from_utf8(answer.body).unwrap()
    };
    let edited = patch(r#"{"n": 123456789012345678902}"#).await;
    assert!(
        edited.contains(r#""metadata":{"n": 123456789012345678902, "keep": 0.10}"#),
        "{edited}"
    );
    for (side, number) in [
        ("old", "123456789012345678901"),
        ("new", "123456789012345678902"),
    ] {
        assert_eq!(
            told(&tenant, &format!("changes.metadata.{side}.n")).await,
            number
        );
        assert_eq!(
            told(&tenant, &format!("changes.metadata.{side}.keep")).await,
            "0.10"
        );
    }
    patch(r#"{"n": 941.3004193968255}"#).await;
    assert_eq!(
        told(&tenant, "changes.metadata.new.n").await,
        "941.3004193968255"
    );
    // What stays the same is no change.
    patch(r#"{"n": 941.3004193968255}"#).await;
    let last = events(tenant.id, "invoice.updated").await.pop().unwrap();
    assert_eq!(last.data["changes"], json!({}));
    assert_eq!(last.subject, Uuid::parse_str(&id).unwrap());
}
