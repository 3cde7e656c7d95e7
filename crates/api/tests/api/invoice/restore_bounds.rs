//! What a restore may bring: nothing that a later change could not go on from, and what is wrong
//! with a line is that line's matter alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Tenant, TestApp, invoice, ndjson, send, unique};

/// Time in which another tenant's requests must be answered, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// An invoice with two payments, as the API tells it.
async fn exported(app: &TestApp) -> Value {
    let source = app.tenant().await;
    let payment = |reference: &str, amount: &str| {
        json!({"reference": reference, "amount": amount,
        "paid_on": "2026-11-03", "method": "card"})
    };
    let payments = json!([payment("p-1", "1.00"), payment("p-2", "2.00")]);
    let document = invoice(json!({"payments": payments}));
    app.create("/v1/invoices", &source.key, &document)
        .await
        .is(201)
}

/// The document under an id of its own, with this changed.
fn changed(document: &Value, pointer: &str, value: Value) -> Value {
    let mut document = document.clone();
    document["id"] = json!(sheaf_model::id::id_for_date("2026-11-02".parse().unwrap()));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        _ => parent[name] = value,
    }
    document
}

fn poison(document: &Value) -> Vec<(&'static str, Value)> {
    let of = |pointer: &str, value: Value| changed(document, pointer, value);
    // No version 7; and the last of that version, after which there is none.
    let (last, last_v7) = (
        json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        json!("ffffffff-ffff-7fff-bfff-ffffffffffff"),
    );
    let twin = document["payments"][0]["id"].clone();
    let paid = |kind: &str, amount: &str| {
        let mut document = of("/payments/1/kind", json!(kind));
        document["payments"][1]["amount"] = json!(amount);
        document
    };
    vec![
        ("invalid_version", of("/version", json!(i64::MAX))),
        ("invalid_version", of("/version", json!(i64::MIN))),
        ("invalid_version", of("/version", json!(0))),
        ("invalid_version", of("/version", json!(1_000_000_001))),
        ("invalid_type", of("/version", json!(u64::MAX))),
        ("invalid_type", of("/version", json!("1"))),
        ("id_not_v7", of("/id", last.clone())),
        ("id_in_future", of("/id", last_v7.clone())),
        ("id_not_v7", of("/payments/0/id", last.clone())),
        ("id_in_future", of("/payments/0/id", last_v7.clone())),
        (
            "id_not_v7",
            of(
                "/payments/1/id",
                json!("00000000-0000-0000-0000-000000000000"),
            ),
        ),
        ("duplicate_payment_id", of("/payments/1/id", twin)),
        (
            "inconsistent_document",
            of("/payments/1/reverses", last.clone()),
        ),
        ("id_not_v7", of("/credits", last)),
        ("id_in_future", of("/credits", last_v7)),
        (
            "inconsistent_document",
            of("/credits", document["id"].clone()),
        ),
        (
            "inconsistent_document",
            of("/amount_credited", json!("99999999999999.99")),
        ),
        (
            "amount_out_of_range",
            of("/amount_credited", json!("100000000000000")),
        ),
        (
            "amount_out_of_range",
            of("/payments/0/amount", json!("-100000000000000")),
        ),
        (
            "amount_out_of_range",
            of("/total", json!("79228162514264337593543950335")),
        ),
        ("inconsistent_document", paid("refund", "2.00")),
        ("inconsistent_document", paid("payment", "-1.00")),
        ("inconsistent_document", paid("reversal", "-1.00")),
        (
            "time_out_of_range",
            of("/created_at", json!("9999-12-31T23:59:59Z")),
        ),
        (
            "time_out_of_range",
            of("/created_at", json!("1969-12-31T23:59:59.999999Z")),
        ),
        (
            "time_out_of_range",
            of("/created_at", json!("2026-11-25T00:00:00Z")),
        ),
        (
            "time_out_of_range",
            of("/modified_at", json!("1970-01-01T00:00:00Z")),
        ),
        (
            "time_out_of_range",
            of("/modified_at", json!("0000-01-01T00:00:00Z")),
        ),
        (
            "invalid_time",
            of("/modified_at", json!("-4713-01-01T00:00:00Z")),
        ),
        (
            "invalid_time",
            of("/created_at", json!("+262142-12-31T00:00:00Z")),
        ),
        (
            "invalid_date",
            of("/payments/0/paid_on", json!("-9999-01-01")),
        ),
        (
            "date_out_of_range",
            of("/payments/0/paid_on", json!("9999-12-31")),
        ),
        ("date_out_of_range", of("/due_date", json!("9999-12-31"))),
        ("missing_field", of("/issue_date", Value::Null)),
        ("inconsistent_document", of("/status", json!("cancelled"))),
        ("string_has_nul", of("/number", json!("\u{0}"))),
    ]
}

/// Another tenant, for whom nothing may change.
async fn goes_on(app: &TestApp, tenant: &Tenant) {
    let work = async {
        let made = app
            .create("/v1/invoices", &tenant.key, &invoice(json!({})))
            .await
            .is(201);
        let path = format!("/v1/invoices/{}/payments", made["id"].as_str().unwrap());
        let payment = json!({"reference": unique("p"), "amount": "1.00"});
        app.create(&path, &tenant.key, &payment).await.is(201);
        app.read("/v1/invoices", &tenant.key).await.is(200);
    };
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("another tenant's requests are answered");
}

#[tokio::test]
async fn each_line_that_could_not_be_gone_on_from_is_refused_alone() {
    let app = TestApp::start().await;
    let document = exported(&app).await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let lines = poison(&document);
    // Between them stand lines that are right.
    let good = |n: usize| changed(&document, "/external_id", json!(format!("good-{n}")));
    let body: Vec<Value> = lines
        .iter()
        .enumerate()
        .flat_map(|(n, (_, bad))| [good(n), bad.clone()])
        .collect();
    let path = "/v1/invoices/bulk?restore=true";
    let summary = send(app.upload(path, &tenant.key, ndjson(&body)))
        .await
        .is(200);
    let told: Vec<_> = summary["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["line"].as_u64().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    let expected: Vec<_> = lines
        .iter()
        .zip((2..).step_by(2))
        .map(|((code, _), line)| (line, *code))
        .collect();
    assert_eq!(told, expected, "{summary}");
    assert_eq!(summary["created"], lines.len());
    goes_on(&app, &other).await;
    goes_on(&app, &tenant).await;
}

#[tokio::test]
async fn what_is_restored_at_the_bounds_can_be_changed_and_restored_again() {
    let app = TestApp::start().await;
    let document = exported(&app).await;
    let tenant = app.tenant().await;
    let path = "/v1/invoices/bulk?restore=true";
    let ahead = crate::support::now() + chrono::TimeDelta::minutes(4);
    let old = [
        ("/version", json!(999_999_990)),
        ("/created_at", json!("1970-01-01T00:00:00.000000Z")),
        // Of a clock that was ahead: the payments that follow come after it.
        ("/payments/1/id", json!(sheaf_model::id::new_id(ahead))),
    ];
    for (pointer, value) in old {
        let line = changed(&document, pointer, value);
        let id = line["id"].as_str().unwrap().to_owned();
        let summary = send(app.upload(path, &tenant.key, ndjson(&[line])))
            .await
            .is(200);
        assert_eq!(summary["created"], 1, "{pointer}: {summary}");
        for n in 0..3 {
            let payment = json!({"reference": format!("later-{n}"), "amount": "1.00"});
            let to = format!("/v1/invoices/{id}/payments");
            app.create(&to, &tenant.key, &payment).await.is(201);
        }
        let told = app.read(&format!("/v1/invoices/{id}"), &tenant.key).await;
        let payments = told.json()["payments"].as_array().unwrap().clone();
        let ids: Vec<&str> = payments.iter().map(|p| p["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 5);
        assert!(ids.is_sorted(), "{ids:?}");
        let elsewhere = app.tenant().await;
        let again = send(app.upload(path, &elsewhere.key, told.body)).await;
        assert_eq!(again.is(200)["created"], 1, "{pointer}");
    }
}

/// Ids that no row can have: not found, or a mistake; never a failure.
#[tokio::test]
async fn the_last_ids_are_nobodys() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for id in [
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "00000000-0000-0000-0000-000000000000",
    ] {
        for path in [
            format!("/v1/invoices/{id}"),
            format!("/v1/invoices/{id}.pdf"),
            format!("/v1/invoices/{id}/events"),
            format!("/v1/customers/{id}"),
            format!("/v1/customers/{id}/invoices"),
            format!("/v1/customers/{id}/balance"),
            format!("/v1/customers/{id}/erasure"),
        ] {
            assert_eq!(app.read(&path, &tenant.key).await.status, 404, "{path}");
        }
        for (path, body, status) in [
            ("payments", json!({"reference": "r", "amount": "1"}), 404),
            ("refunds", json!({"reference": "r", "amount": "1"}), 404),
            ("issue", json!({}), 404),
            ("recall", json!({}), 404),
            ("apply", json!({"invoice_id": id}), 404),
        ] {
            let answer = app
                .create(&format!("/v1/invoices/{id}/{path}"), &tenant.key, &body)
                .await;
            assert_eq!(answer.status, status, "{path}: {answer}");
        }
        let mut document = invoice(json!({"customer_id": id}));
        document.as_object_mut().unwrap().remove("customer");
        app.create("/v1/invoices", &tenant.key, &document)
            .await
            .is_problem(422, "customer_not_found");
        let document = invoice(json!({"id": id}));
        let answer = app.create("/v1/invoices", &tenant.key, &document).await;
        let code = answer.json()["code"].clone();
        assert_eq!(answer.status, 422, "{answer}");
        assert!(code == "id_not_v7" || code == "id_in_future", "{answer}");
        let merge = format!("/v1/customers/{id}/merge");
        app.create(&merge, &tenant.key, &json!({"into": id}))
            .await
            .is_problem(404, "customer_not_found");
        let list = format!("/v1/invoices?customer_id={id}");
        assert_eq!(
            app.read(&list, &tenant.key).await.is(200)["data"],
            json!([])
        );
        let export = format!("/v1/archive/export?after={id}");
        assert_eq!(app.read(&export, &tenant.key).await.status, 200);
    }
}
