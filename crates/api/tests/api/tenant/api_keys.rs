use serde_json::json;

use crate::support::{ADMIN_KEY, TestApp, invoice, send};

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let path = format!("/v1/tenants/{}/api-keys", tenant.id);
    let made = app
        .create(
            &path,
            ADMIN_KEY,
            &json!({"name": "worker", "role": "finance"}),
        )
        .await
        .is(201);
    let secret = made["api_key"].as_str().unwrap();
    assert!(
        secret.starts_with(made["prefix"].as_str().unwrap()) && secret.len() == 58,
        "{secret}"
    );
    let listed = app.read(&path, ADMIN_KEY).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(secret));
    let keys = listed.is(200)["data"].as_array().unwrap().clone();
    let key = keys.iter().find(|key| key["id"] == made["id"]).unwrap();
    assert_eq!(
        (&key["role"], &key["revoked_at"]),
        (&json!("finance"), &json!(null))
    );
    app.read("/v1/invoices", secret).await.is(200);
    let by_header = send(
        app.request(reqwest::Method::GET, "/v1/invoices")
            .header("x-api-key", secret),
    )
    .await;
    by_header.is(200);
}

#[tokio::test]
async fn a_revoked_key_stops_at_once() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    app.read("/v1/invoices", &tenant.key).await.is(200);
    app.revoke(tenant.id, tenant.key_id).await;
    let refused = app.read("/v1/invoices", &tenant.key).await;
    refused.is_problem(401, "revoked_credential");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    app.revoke(tenant.id, tenant.key_id).await;
}

#[tokio::test]
async fn a_viewer_reads_only() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (viewer, _) = app.api_key(tenant.id, "viewer").await;
    app.read("/v1/invoices", &viewer).await.is(200);
    app.create("/v1/invoices", &viewer, &invoice(json!({})))
        .await
        .is_problem(403, "forbidden_role");
    send(app.upload("/v1/invoices/bulk", &viewer, "{}"))
        .await
        .is_problem(403, "forbidden_role");
    assert!(app.all_invoices(&tenant).await.is_empty());
}

#[tokio::test]
async fn bad_keys_are_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let path = format!("/v1/tenants/{}/api-keys", tenant.id);
    app.create(&path, ADMIN_KEY, &json!({"name": "x", "role": "owner"}))
        .await
        .is_problem(422, "invalid_role");
    app.create(&path, ADMIN_KEY, &json!({"name": " "}))
        .await
        .is_problem(422, "string_empty");
    let nobody = "/v1/tenants/0190f6a0-0000-7000-8000-000000000000/api-keys";
    app.create(nobody, ADMIN_KEY, &json!({"name": "x"}))
        .await
        .is_problem(404, "tenant_not_found");
    app.read(nobody, ADMIN_KEY)
        .await
        .is_problem(404, "tenant_not_found");
    let other = app.tenant().await;
    let wrong = format!("{path}/{}", other.key_id);
    let answer = send(
        app.request(reqwest::Method::DELETE, &wrong)
            .bearer_auth(ADMIN_KEY),
    )
    .await;
    answer.is_problem(404, "api_key_not_found");
    app.read("/v1/invoices", &other.key).await.is(200);
}

#[tokio::test]
async fn a_named_tenant_must_be_the_credentials() {
    let app = TestApp::start().await;
    let (mine, other) = (app.tenant().await, app.tenant().await);
    let with = |id: String| send(app.get("/v1/invoices", &mine.key).header("x-tenant-id", id));
    with(mine.id.to_string()).await.is(200);
    with(other.id.to_string())
        .await
        .is_problem(403, "tenant_mismatch");
    with("not a uuid".to_owned())
        .await
        .is_problem(403, "tenant_mismatch");
}
