//! Request headers that say what they cannot.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::invoice::money::{Desk, path, pay};
use crate::support::{ADMIN_KEY, TestApp, invoice, send};

/// Asserts that the request is refused for this header.
async fn refused(request: RequestBuilder, name: &str) {
    let problem = send(request).await.is_problem(400, "invalid_header");
    assert_eq!(problem["errors"][0]["field"], name, "{problem}");
}

#[tokio::test]
async fn what_is_said_once_is_refused_twice() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let (ours, theirs) = (tenant.id.to_string(), other.id.to_string());
    let list = || app.get("/v1/invoices", &tenant.key);
    send(list().header("x-tenant-id", &ours)).await.is(200);
    // Whichever comes first, and the same one as well.
    for (one, two) in [(&ours, &theirs), (&theirs, &ours), (&ours, &ours)] {
        let doubled = list().header("x-tenant-id", one);
        refused(doubled.header("x-tenant-id", two), "X-Tenant-Id").await;
    }
    for key in [&other.key, &tenant.key] {
        refused(list().bearer_auth(key), "Authorization").await;
        let keys = app.request(Method::GET, "/v1/invoices");
        let keys = keys.header("x-api-key", &tenant.key);
        refused(keys.header("x-api-key", key), "X-Api-Key").await;
    }
    // The platform's routes are no exception, nor is what nobody has to be known for.
    let tenants = app.get("/v1/tenants", ADMIN_KEY).bearer_auth("x");
    refused(tenants, "Authorization").await;
    let probe = app.request(Method::GET, "/healthz");
    let probe = probe.header("x-tenant-id", &ours);
    refused(probe.header("x-tenant-id", &ours), "X-Tenant-Id").await;
    let create = app.post("/v1/invoices", &tenant.key);
    let create = create.header("content-type", "application/json");
    let create = create.header("content-type", "text/plain");
    let create = create.body(invoice(json!({})).to_string());
    refused(create, "Content-Type").await;
    assert!(app.all_invoices(&tenant).await.is_empty());
    let twice = app.post("/v1/invoices", &tenant.key);
    let twice = twice.header("idempotency-key", "a");
    let twice = twice.header("idempotency-key", "a");
    send(twice.json(&invoice(json!({}))))
        .await
        .is_problem(400, "invalid_idempotency_key");
    // Of two ids of the request none is taken, and the request is done.
    let ids = list().header("x-request-id", "a");
    let done = send(ids.header("x-request-id", "b")).await;
    done.is(200);
    done.header("x-request-id").parse::<Uuid>().unwrap();
}

#[tokio::test]
async fn a_request_has_one_credential() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let list = || app.get("/v1/invoices", &tenant.key);
    send(list().header("x-api-key", &tenant.key)).await.is(200);
    for another in [other.key.as_str(), ADMIN_KEY, "nothing"] {
        refused(list().header("x-api-key", another), "X-Api-Key").await;
    }
}

#[tokio::test]
async fn a_version_without_its_quotes_is_no_other_version() {
    let desk = Desk::open().await;
    let (app, key) = (&desk.app, &desk.tenant.key);
    let made = desk.make(json!({})).await;
    let at = path(&made);
    let customer = json!({"name": "Acme"});
    let customer = app.create("/v1/customers", key, &customer).await.is(201);
    let customer = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    let routes = [
        (Method::PATCH, at.clone(), json!({"metadata": {"a": 1}})),
        (Method::POST, format!("{at}/payments"), pay("1", "p")),
        (Method::PATCH, customer.clone(), json!({"name": "B"})),
        (Method::DELETE, customer, json!({})),
        (Method::PUT, "/v1/profile".into(), json!({"name": "S"})),
        (Method::PUT, "/v1/retention/2020".into(), json!({})),
        (
            Method::PUT,
            "/v1/archive/columns".into(),
            json!({"metadata_keys": []}),
        ),
        (
            Method::PUT,
            "/v1/number-series/invoice".into(),
            json!({"prefix": "R-", "padding": 4}),
        ),
    ];
    for (method, path, body) in &routes {
        for name in ["If-Match", "If-None-Match"] {
            for tag in ["1", "etag", "\"1", "*, \"1\"", ""] {
                let request = app.request(method.clone(), path).bearer_auth(key);
                refused(request.header(name, tag).json(body), name).await;
            }
        }
    }
    // Nothing of it was done, and a tag that is none of ours is another version, as ever.
    assert_eq!(desk.read(&made).await.header("etag"), "\"1\"");
    desk.patch(&made, &json!({"metadata": {"a": 1}}), "W/\"1\"")
        .await
        .is_problem(412, "version_mismatch");
    desk.patch(&made, &json!({"metadata": {"a": 1}}), "\"1\"")
        .await
        .is(200);
}

#[tokio::test]
async fn settings_can_be_made_only_where_there_are_none() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for (path, one, two) in [
        ("/v1/profile", json!({"name": "A"}), json!({"name": "B"})),
        (
            "/v1/retention/2020",
            json!({"legal_hold": true}),
            json!({"legal_hold": false}),
        ),
        (
            "/v1/archive/columns",
            json!({"metadata_keys": ["a"]}),
            json!({"metadata_keys": ["b"]}),
        ),
    ] {
        let put = |name: &'static str, tag: &'static str, body: &Value| {
            let request = app.request(Method::PUT, path).bearer_auth(&tenant.key);
            send(request.header(name, tag).json(body))
        };
        // There is none that it could match.
        put("if-match", "*", &one)
            .await
            .is_problem(412, "version_mismatch");
        put("if-none-match", "*", &one).await.is(200);
        for body in [&one, &two] {
            let again = put("if-none-match", "*", body).await;
            again.is_problem(412, "version_mismatch");
            assert_eq!(again.header("etag"), "\"1\"", "{path}");
        }
        put("if-none-match", "\"1\"", &two)
            .await
            .is_problem(412, "version_mismatch");
        let changed = put("if-none-match", "\"7\"", &two).await;
        assert_eq!(changed.header("etag"), "\"2\"", "{path}");
        put("if-match", "*", &one).await.is(200);
    }
    // A series is there from the beginning, and has no version.
    let series = |name: &'static str, tag: &'static str| {
        let request = app.request(Method::PUT, "/v1/number-series/invoice");
        let request = request.bearer_auth(&tenant.key).header(name, tag);
        send(request.json(&json!({"prefix": "R-", "padding": 4})))
    };
    for (name, tag) in [("if-none-match", "*"), ("if-match", "\"1\"")] {
        series(name, tag).await.is_problem(412, "version_mismatch");
    }
    series("if-match", "*").await.is(200);
}
