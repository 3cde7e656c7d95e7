use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{TestApp, invoice, send};

#[tokio::test]
async fn an_invoice_reads_as_it_was_answered() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let made = app
        .create(
            "/v1/invoices",
            &tenant.key,
            &invoice(json!({"number": "A-1", "metadata": {"b": 1, "a": "x"}})),
        )
        .await;
    let document = made.is(201);
    assert_eq!(document["tenant_id"], tenant.id.to_string());
    assert_eq!(document["status"], "issued");
    // 19.98 + 20 % + 3.00
    assert_eq!(
        (
            &document["subtotal"],
            &document["tax_total"],
            &document["total"]
        ),
        (&json!("22.98"), &json!("4.00"), &json!("26.98"))
    );
    assert_eq!(made.header("etag"), "\"1\"");
    let path = made.header("location");
    assert_eq!(
        path,
        format!("/v1/invoices/{}", document["id"].as_str().unwrap())
    );
    let read = app.read(path, &tenant.key).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.body, made.body, "byte for byte");
    assert_eq!(
        (read.header("sheaf-tier"), read.header("etag")),
        ("hot", "\"1\"")
    );
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await;
    made.is(201);
    let path = made.header("location");
    for known in ["\"1\"", "W/\"1\"", "\"9\", \"1\"", "*"] {
        let answer = send(app.get(path, &tenant.key).header("if-none-match", known)).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.body.len(),
                answer.header("etag")
            ),
            (304, 0, "\"1\"")
        );
    }
    let changed = send(app.get(path, &tenant.key).header("if-none-match", "\"2\"")).await;
    assert_eq!(changed.body, made.body);
}

#[tokio::test]
async fn another_tenants_invoice_does_not_exist() {
    let app = TestApp::start().await;
    let (mine, other) = (app.tenant().await, app.tenant().await);
    let made = app
        .create("/v1/invoices", &mine.key, &invoice(json!({})))
        .await;
    made.is(201);
    app.read(made.header("location"), &other.key)
        .await
        .is_problem(404, "invoice_not_found");
    assert!(app.all_invoices(&other).await.is_empty());
    for id in [
        Uuid::now_v7().to_string(),
        "17".to_owned(),
        "%FF".to_owned(),
    ] {
        app.read(&format!("/v1/invoices/{id}"), &mine.key)
            .await
            .is_problem(404, "invoice_not_found");
    }
}

#[tokio::test]
async fn keys_of_an_invoice_are_taken_once() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = Uuid::now_v7();
    // The test's clock stands in the past of ids made by the real one; a chosen id carries the
    // test's day.
    let id = at_test_day(id);
    let first = invoice(json!({"id": id, "number": "N-1", "external_id": "E-1"}));
    let made = app
        .create("/v1/invoices", &tenant.key, &first)
        .await
        .is(201);
    assert_eq!(made["id"], id.to_string());
    for (members, code) in [
        (json!({"id": id}), "duplicate_id"),
        (json!({"number": "N-1"}), "duplicate_number"),
        (json!({"external_id": "E-1"}), "duplicate_external_id"),
    ] {
        let problem = app
            .create("/v1/invoices", &tenant.key, &invoice(members))
            .await
            .is_problem(409, code);
        assert_eq!(problem["errors"][0]["code"], code);
    }
    assert_eq!(app.all_invoices(&tenant).await.len(), 1);
}

/// The id with its time set to the tests' day.
pub(crate) fn at_test_day(id: Uuid) -> Uuid {
    let millis = u128::try_from(crate::support::now().timestamp_millis()).unwrap() - 1_000;
    Uuid::from_u128((millis << 80) | (id.as_u128() & ((1 << 80) - 1)))
}

#[tokio::test]
async fn a_gzipped_invoice_is_taken() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let body = crate::support::gzip(invoice(json!({})).to_string().as_bytes());
    let post = |body: Vec<u8>, encoding: &str| {
        let request = app
            .post("/v1/invoices", &tenant.key)
            .header("content-type", "application/json");
        send(request.header("content-encoding", encoding).body(body))
    };
    post(body.clone(), "gzip").await.is(201);
    post(body[..body.len() - 5].to_vec(), "gzip")
        .await
        .is_problem(400, "truncated_gzip");
    post(b"this is no gzip stream".to_vec(), "gzip")
        .await
        .is_problem(400, "invalid_gzip");
    post(body, "br")
        .await
        .is_problem(415, "unsupported_encoding");
    assert_eq!(app.all_invoices(&tenant).await.len(), 1);
}

#[tokio::test]
async fn a_thousand_creates_at_once_are_all_there() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let document = invoice(json!({}));
    let creates = (0..1_000).map(|_| app.create("/v1/invoices", &tenant.key, &document));
    let mut made: Vec<String> = Vec::new();
    for answer in futures_util::future::join_all(creates).await {
        made.push(answer.is(201)["id"].as_str().unwrap().to_owned());
    }
    let mut found: Vec<String> = app
        .all_invoices(&tenant)
        .await
        .iter()
        .map(|i| i["id"].as_str().unwrap().to_owned())
        .collect();
    made.sort();
    found.sort();
    assert_eq!(made, found);
}

#[tokio::test]
async fn methods_that_do_not_exist_are_named_as_such() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let answer = send(
        app.request(Method::PUT, "/v1/invoices")
            .bearer_auth(&tenant.key),
    )
    .await;
    answer.is_problem(405, "method_not_allowed");
    let mut allowed: Vec<&str> = answer.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    app.read("/v1/invoice", &tenant.key)
        .await
        .is_problem(404, "route_not_found");
}
