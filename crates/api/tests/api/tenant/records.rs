use serde_json::json;

use crate::support::{ADMIN_KEY, TestApp, unique};

#[tokio::test]
async fn a_tenant_is_made_read_and_listed_first() {
    let app = TestApp::start().await;
    let external_id = unique("tenant");
    let made = app
        .create(
            "/v1/tenants",
            ADMIN_KEY,
            &json!({"name": "Acme", "external_id": external_id}),
        )
        .await;
    let tenant = made.is(201);
    assert_eq!(
        (&tenant["name"], &tenant["external_id"]),
        (&json!("Acme"), &json!(external_id))
    );
    let path = format!("/v1/tenants/{}", tenant["id"].as_str().unwrap());
    assert_eq!(made.header("location"), path);
    assert_eq!(app.read(&path, ADMIN_KEY).await.is(200), tenant);
    let page = app.read("/v1/tenants?limit=100", ADMIN_KEY).await.is(200);
    assert!(page["data"].as_array().unwrap().contains(&tenant));
}

#[tokio::test]
async fn the_list_goes_on_with_its_cursor() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        app.create("/v1/tenants", ADMIN_KEY, &json!({"name": unique("t")}))
            .await
            .is(201);
    }
    let first = app.read("/v1/tenants?limit=2", ADMIN_KEY).await.is(200);
    assert_eq!(
        (first["data"].as_array().unwrap().len(), &first["has_more"]),
        (2, &json!(true))
    );
    let next = format!(
        "/v1/tenants?limit=1&cursor={}",
        first["next_cursor"].as_str().unwrap()
    );
    let second = app.read(&next, ADMIN_KEY).await.is(200);
    assert!(
        second["data"][0]["id"].as_str() < first["data"][1]["id"].as_str(),
        "newest first"
    );
}

#[tokio::test]
async fn an_external_id_is_taken_once() {
    let app = TestApp::start().await;
    let tenant = json!({"name": "Acme", "external_id": unique("tenant")});
    app.create("/v1/tenants", ADMIN_KEY, &tenant).await.is(201);
    app.create("/v1/tenants", ADMIN_KEY, &tenant)
        .await
        .is_problem(409, "duplicate_external_id");
}

#[tokio::test]
async fn bad_tenants_are_refused() {
    let app = TestApp::start().await;
    for (document, code) in [
        (json!({}), "missing_field"),
        (json!({"name": ""}), "string_empty"),
        (json!({"name": "x".repeat(201)}), "string_too_long"),
        (json!({"name": "a\0b"}), "string_has_nul"),
        (json!({"name": 7}), "invalid_type"),
        (json!({"name": "x", "nmae": "y"}), "unknown_field"),
    ] {
        app.create("/v1/tenants", ADMIN_KEY, &document)
            .await
            .is_problem(422, code);
    }
    for missing in [
        "/v1/tenants/0190f6a0-0000-7000-8000-000000000000",
        "/v1/tenants/nobody",
    ] {
        app.read(missing, ADMIN_KEY)
            .await
            .is_problem(404, "tenant_not_found");
    }
}
