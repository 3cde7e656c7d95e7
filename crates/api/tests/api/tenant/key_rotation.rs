use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ADMIN_KEY, TestApp, events, now, send, unique};

fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn both_keys_work_until_the_overlap_ends() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (old, old_id) = app.api_key(tenant.id, "finance").await;
    app.read("/v1/invoices", &old).await.is(200);
    let path = format!("/v1/api-keys/{old_id}/rotate");
    let made = app
        .create(&path, &tenant.key, &json!({"overlap_seconds": 1}))
        .await
        .is(201);
    assert_eq!(
        (&made["name"], &made["role"], &made["rotated_from"]),
        (&json!("test"), &json!("finance"), &json!(old_id))
    );
    assert_eq!(made["expires_at"], json!(null));
    let new = made["api_key"].as_str().unwrap();
    app.read("/v1/invoices", &old).await.is(200);
    app.read("/v1/invoices", new).await.is(200);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    app.read("/v1/invoices", &old)
        .await
        .is_problem(401, "expired_credential");
    app.read("/v1/invoices", new).await.is(200);
    app.create(&path, &tenant.key, &json!({}))
        .await
        .is_problem(409, "api_key_ended");

    let rotated = events(tenant.id, "api_key.rotated").await;
    assert_eq!(rotated.len(), 1);
    assert_eq!(rotated[0].subject, old_id);
    assert_eq!(rotated[0].data["successor_id"], made["id"]);
    assert_eq!(rotated[0].actor, format!("api_key:{}", tenant.key_id));
    let created = events(tenant.id, "api_key.created").await;
    assert_eq!(created.last().unwrap().subject, id(&made["id"]));
    let text = format!("{created:?}");
    assert!(!text.contains(new), "an event holds a secret");
}

#[tokio::test]
async fn the_platform_rotates_too_and_a_day_is_the_default() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let keys = format!("/v1/tenants/{}/api-keys", tenant.id);
    let path = format!("{keys}/{}/rotate", tenant.key_id);
    let request = || {
        app.post(&path, ADMIN_KEY)
            .header("idempotency-key", "rotate-1")
            .json(&json!({}))
    };
    let made = send(request()).await.is(201);
    let again = send(request()).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let again = again.is(201);
    assert_eq!(
        (&again["id"], &again["api_key"]),
        (&made["id"], &json!(null))
    );
    let list = app.read(&keys, ADMIN_KEY).await.is(200);
    let list = list["data"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    let old = list
        .iter()
        .find(|key| key["id"] == json!(tenant.key_id))
        .unwrap();
    let end: chrono::DateTime<chrono::Utc> = old["expires_at"].as_str().unwrap().parse().unwrap();
    let from_now = end - now();
    assert!(
        from_now >= TimeDelta::days(1) && from_now < TimeDelta::days(1) + TimeDelta::minutes(5),
        "{end}"
    );
    assert_eq!(events(tenant.id, "api_key.rotated").await[0].actor, "admin");
}

#[tokio::test]
async fn an_overlap_never_makes_a_key_live_longer() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let soon = now() + TimeDelta::hours(1);
    let made = app
        .create(
            "/v1/api-keys",
            &tenant.key,
            &json!({"name": "short", "role": "viewer", "expires_at": soon}),
        )
        .await
        .is(201);
    assert_eq!(made["expires_at"], json!(soon));
    let path = format!("/v1/api-keys/{}/rotate", made["id"].as_str().unwrap());
    let later = now() + TimeDelta::days(90);
    let next = app
        .create(&path, &tenant.key, &json!({"expires_at": later}))
        .await
        .is(201);
    assert_eq!(next["expires_at"], json!(later));
    let list = app.read("/v1/api-keys", &tenant.key).await.is(200);
    let list = list["data"].as_array().unwrap();
    let old = list.iter().find(|key| key["id"] == made["id"]).unwrap();
    assert_eq!(old["expires_at"], json!(soon));
}

#[tokio::test]
async fn bad_rotations_are_refused() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let path = format!("/v1/api-keys/{}/rotate", tenant.key_id);
    for (document, code) in [
        (json!({"overlap_seconds": -1}), "overlap_out_of_range"),
        (
            json!({"overlap_seconds": 2_592_001}),
            "overlap_out_of_range",
        ),
        (json!({"overlap_seconds": "1"}), "invalid_type"),
        (json!({"overlap": 1}), "unknown_field"),
        (
            json!({"expires_at": now() - TimeDelta::days(1)}),
            "expires_at_in_past",
        ),
        (json!({"expires_at": "tomorrow"}), "invalid_type"),
    ] {
        app.create(&path, &tenant.key, &document)
            .await
            .is_problem(422, code);
    }
    app.create(
        "/v1/api-keys",
        &tenant.key,
        &json!({"name": "x", "expires_at": now() - TimeDelta::seconds(1)}),
    )
    .await
    .is_problem(422, "expires_at_in_past");
    app.create(&path, &other.key, &json!({}))
        .await
        .is_problem(404, "api_key_not_found");
    // An id that nobody has made, of a year that nobody has: no partition is made for it.
    let nobody = "/v1/api-keys/05a3ce1a-6400-7000-8000-000000000000/rotate";
    app.create(nobody, &tenant.key, &json!({}))
        .await
        .is_problem(404, "api_key_not_found");
    app.revoke(tenant.id, tenant.key_id).await;
    let by_platform = format!("/v1/tenants/{}{}", tenant.id, &path["/v1".len()..]);
    app.create(&by_platform, ADMIN_KEY, &json!({}))
        .await
        .is_problem(409, "api_key_ended");
    assert_eq!(events(tenant.id, "api_key.revoked").await.len(), 1);
    assert!(events(tenant.id, "api_key.rotated").await.is_empty());
}

#[tokio::test]
async fn a_tenant_manages_its_own_keys() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let name = unique("worker");
    let made = app
        .create(
            "/v1/api-keys",
            &tenant.key,
            &json!({"name": name, "role": "viewer"}),
        )
        .await
        .is(201);
    let secret = made["api_key"].as_str().unwrap();
    app.read("/v1/invoices", secret).await.is(200);
    let listed = app.read("/v1/api-keys", &tenant.key).await.is(200);
    assert_eq!(listed["data"][0]["name"], json!(name));
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    let delete = |key: &str| send(app.request(reqwest::Method::DELETE, &path).bearer_auth(key));
    delete(&other.key)
        .await
        .is_problem(404, "api_key_not_found");
    app.read("/v1/invoices", secret).await.is(200);
    for _ in 0..2 {
        assert_eq!(delete(&tenant.key).await.status, 204);
    }
    app.read("/v1/invoices", secret)
        .await
        .is_problem(401, "revoked_credential");
    let revoked = events(tenant.id, "api_key.revoked").await;
    assert_eq!((revoked.len(), revoked[0].subject), (1, id(&made["id"])));
}
