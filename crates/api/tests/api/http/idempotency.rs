use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, TestApp, invoice, ndjson, send, unique};

const KEY: &str = "idempotency-key";

#[tokio::test]
async fn a_create_is_replayed() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let create = |document: Value| {
        send(
            app.post("/v1/invoices", &tenant.key)
                .header(KEY, "k-1")
                .json(&document),
        )
    };
    let first = create(invoice(json!({}))).await;
    first.is(201);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let again = create(invoice(json!({}))).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        (again.header("location"), again.header("etag")),
        (first.header("location"), first.header("etag"))
    );
    create(invoice(json!({"number": "other"})))
        .await
        .is_problem(422, "idempotency_key_reused");
    assert_eq!(app.all_invoices(&tenant).await.len(), 1);
    // Keys belong to their tenant.
    let other = app.tenant().await;
    let theirs = send(
        app.post("/v1/invoices", &other.key)
            .header(KEY, "k-1")
            .json(&invoice(json!({}))),
    )
    .await;
    assert_ne!(theirs.is(201)["id"], first.json()["id"]);
}

#[tokio::test]
async fn a_refused_create_leaves_its_key_free() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let create = |document: Value| {
        send(
            app.post("/v1/invoices", &tenant.key)
                .header(KEY, "k-1")
                .json(&document),
        )
    };
    create(invoice(json!({"currency": "XYZ"})))
        .await
        .is_problem(422, "unknown_currency");
    create(invoice(json!({}))).await.is(201);
}

#[tokio::test]
async fn twenty_at_once_make_one_invoice() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for round in 0..2 {
        let key = format!("round-{round}");
        let document = invoice(json!({"number": key}));
        let creates = (0..20).map(|_| {
            send(
                app.post("/v1/invoices", &tenant.key)
                    .header(KEY, &key)
                    .json(&document),
            )
        });
        let mut ids = HashSet::new();
        let mut made = 0;
        for answer in futures_util::future::join_all(creates).await {
            if answer.status == 409 {
                answer.is_problem(409, "idempotency_in_progress");
                assert!(answer.headers.contains_key("retry-after"));
                continue;
            }
            ids.insert(answer.is(201)["id"].as_str().unwrap().to_owned());
            made += usize::from(!answer.headers.contains_key("idempotency-replayed"));
        }
        assert_eq!((ids.len(), made), (1, 1));
    }
    assert_eq!(app.all_invoices(&tenant).await.len(), 2);
}

#[tokio::test]
async fn malformed_keys_are_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for bad in ["", "two words", &"k".repeat(256)] {
        let answer = send(
            app.post("/v1/invoices", &tenant.key)
                .header(KEY, bad)
                .json(&invoice(json!({}))),
        )
        .await;
        answer.is_problem(400, "invalid_idempotency_key");
        let upload = app
            .upload(
                "/v1/invoices/bulk",
                &tenant.key,
                ndjson(&[invoice(json!({}))]),
            )
            .header(KEY, bad);
        send(upload)
            .await
            .is_problem(400, "invalid_idempotency_key");
    }
    assert!(app.all_invoices(&tenant).await.is_empty());
}

#[tokio::test]
async fn tenants_and_keys_are_replayed_without_secrets() {
    let app = TestApp::start().await;
    let tenant = json!({"name": unique("t")});
    let key = unique("k");
    let create = || {
        send(
            app.post("/v1/tenants", ADMIN_KEY)
                .header(KEY, &key)
                .json(&tenant),
        )
    };
    let (first, again) = (create().await, create().await);
    assert_eq!(
        (first.is(201), again.header("idempotency-replayed")),
        (again.is(201), "true")
    );

    let path = format!(
        "/v1/tenants/{}/api-keys",
        first.json()["id"].as_str().unwrap()
    );
    let create = |name: &str| {
        send(
            app.post(&path, ADMIN_KEY)
                .header(KEY, "one")
                .json(&json!({"name": name})),
        )
    };
    let (first, again) = (create("a").await, create("a").await);
    assert_eq!(first.is(201)["id"], again.is(201)["id"]);
    assert_eq!(again.json()["api_key"], json!(null));
    create("b").await.is_problem(422, "idempotency_key_reused");
    assert_eq!(
        app.read(&path, ADMIN_KEY).await.is(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// Sends the same request many times at once: one does it, the others get its answer, or are told
/// to wait for it.
async fn at_once(app: &TestApp, (path, who): (&str, &str), key: &str, document: &Value) -> Value {
    let requests = (0..20).map(|_| send(app.post(path, who).header(KEY, key).json(document)));
    let mut ids = HashSet::new();
    let mut made = 0;
    let mut first = Value::Null;
    for answer in futures_util::future::join_all(requests).await {
        if answer.status == 409 {
            answer.is_problem(409, "idempotency_in_progress");
            assert!(answer.headers.contains_key("retry-after"));
            continue;
        }
        let body = answer.is(201);
        ids.insert(body["id"].as_str().unwrap().to_owned());
        if !answer.headers.contains_key("idempotency-replayed") {
            made += 1;
            first = body;
        }
    }
    assert_eq!((ids.len(), made), (1, 1), "{path}");
    let mut other = document.clone();
    other["name"] = json!("another");
    if path.ends_with("/rotate") {
        other = json!({"overlap_seconds": 7});
    }
    send(app.post(path, who).header(KEY, key).json(&other))
        .await
        .is_problem(422, "idempotency_key_reused");
    first
}

#[tokio::test]
async fn twenty_at_once_make_one_tenant_and_one_key() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for round in 0..3 {
        let document = json!({"name": "T", "external_id": unique("tenant")});
        at_once(&app, ("/v1/tenants", ADMIN_KEY), &unique("k"), &document).await;

        let key = format!("round-{round}");
        let document = json!({"name": key, "role": "viewer"});
        let own = ("/v1/api-keys", tenant.key.as_str());
        let made = at_once(&app, own, &key, &document).await;

        let path = format!("/v1/tenants/{}/api-keys", tenant.id);
        let to = (path.as_str(), ADMIN_KEY);
        at_once(&app, to, &format!("admin-{round}"), &document).await;

        let path = format!("/v1/api-keys/{}/rotate", made["id"].as_str().unwrap());
        let to = (path.as_str(), tenant.key.as_str());
        at_once(&app, to, &format!("rotate-{round}"), &json!({})).await;
    }
    let keys = app.read("/v1/api-keys", &tenant.key).await.is(200);
    assert_eq!(keys["data"].as_array().unwrap().len(), 1 + 3 * 3);
}

#[tokio::test]
async fn twenty_at_once_make_one_customer_and_one_merge() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let to = ("/v1/customers", tenant.key.as_str());
    let named = |name: &str| json!({"external_id": name, "name": name});
    let kept = at_once(&app, to, "kept", &named("kept")).await;
    let double = at_once(&app, to, "double", &named("double")).await;
    let path = format!("/v1/customers/{}/merge", double["id"].as_str().unwrap());
    let merge = || {
        let request = app.post(&path, &tenant.key).header(KEY, "merge");
        send(request.json(&json!({"into": kept["id"]})))
    };
    let mut bodies = HashSet::new();
    for answer in futures_util::future::join_all((0..20).map(|_| merge())).await {
        answer.is(200);
        bodies.insert(answer.body);
    }
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn an_upload_is_replayed() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let upload = |lines: String| {
        send(
            app.upload("/v1/invoices/bulk", &tenant.key, lines)
                .header(KEY, "up-1"),
        )
    };
    let lines = ndjson(&[
        invoice(json!({"external_id": "a"})),
        invoice(json!({"external_id": "b"})),
    ]);
    let first = upload(lines.clone()).await;
    assert_eq!(first.is(200)["created"], 2);
    let again = upload(lines.clone()).await;
    assert_eq!(
        (&again.body, again.header("idempotency-replayed")),
        (&first.body, "true")
    );
    upload(lines + "\n")
        .await
        .is_problem(422, "idempotency_key_reused");
    // Gzip is a way of sending the same body.
    let packed = crate::support::gzip(
        ndjson(&[
            invoice(json!({"external_id": "a"})),
            invoice(json!({"external_id": "b"})),
        ])
        .as_bytes(),
    );
    let request = app
        .upload("/v1/invoices/bulk", &tenant.key, packed)
        .header(KEY, "up-1");
    let again = send(request.header("content-encoding", "gzip")).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(app.all_invoices(&tenant).await.len(), 2);
}
