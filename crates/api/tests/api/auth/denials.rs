use std::time::{Duration, Instant};

use chrono::Datelike as _;
use serde_json::json;
use uuid::Uuid;

use crate::auth::tokens::{claims, config, hs256};
use crate::support::{ADMIN_KEY, Event, TestApp, events, invoice, now, send};

async fn app() -> TestApp {
    TestApp::start_with(|settings| {
        settings.web.denial_window = Duration::from_millis(300);
        settings.web.jwt = Some(config());
    })
    .await
}

/// Waits until the tenant has so many events, since they are written in the background.
async fn denied(tenant: Uuid, many: usize) -> Vec<Event> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = events(tenant, "access.denied").await;
        if found.len() >= many || Instant::now() > deadline {
            assert_eq!(found.len(), many, "{found:?}");
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_reason_is_an_event_of_the_tenant() {
    let app = app().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let (revoked, revoked_id) = app.api_key(tenant.id, "admin").await;
    app.revoke(tenant.id, revoked_id).await;
    let (viewer, viewer_id) = app.api_key(tenant.id, "viewer").await;
    let expired = hs256(&claims(
        tenant.id,
        "admin",
        json!({"exp": now().timestamp() - 61}),
    ));
    app.read("/v1/invoices", &revoked)
        .await
        .is_problem(401, "revoked_credential");
    app.read("/v1/invoices", &expired)
        .await
        .is_problem(401, "expired_credential");
    app.create("/v1/invoices", &viewer, &invoice(json!({})))
        .await
        .is_problem(403, "forbidden_role");
    app.read("/v1/tenants", &tenant.key)
        .await
        .is_problem(403, "admin_required");
    let document = invoice(json!({"tenant_id": other.id}));
    let request = app
        .post("/v1/invoices", &tenant.key)
        .header("x-request-id", "denied-1")
        .json(&document);
    send(request).await.is_problem(403, "tenant_mismatch");

    let found = denied(tenant.id, 5).await;
    let mut codes: Vec<_> = found
        .iter()
        .map(|event| {
            assert_eq!(
                (event.subject, event.data["count"].as_u64()),
                (tenant.id, Some(1))
            );
            assert_eq!(i32::from(event.year), now().year());
            assert_eq!(event.data["actor"], json!(event.actor));
            (
                event.data["code"].as_str().unwrap(),
                event.actor.as_str(),
                event.data["method"].as_str().unwrap(),
                event.data["route"].as_str().unwrap(),
            )
        })
        .collect();
    codes.sort_unstable();
    let actor = |id: Uuid| format!("api_key:{id}");
    let (by_tenant, by_viewer, by_revoked) =
        (actor(tenant.key_id), actor(viewer_id), actor(revoked_id));
    assert_eq!(
        codes,
        [
            ("admin_required", by_tenant.as_str(), "GET", "/v1/tenants"),
            (
                "expired_credential",
                "jwt:https://id.example/user-1",
                "GET",
                "/v1/invoices"
            ),
            ("forbidden_role", &by_viewer, "POST", "/v1/invoices"),
            ("revoked_credential", &by_revoked, "GET", "/v1/invoices"),
            ("tenant_mismatch", &by_tenant, "POST", "/v1/invoices"),
        ]
    );
    assert!(
        found
            .iter()
            .any(|event| event.request_id.as_deref() == Some("denied-1"))
    );
    // What names no tenant goes into nobody's trail, and neither does another tenant's denial.
    assert!(events(other.id, "access.denied").await.is_empty());
}

#[tokio::test]
async fn a_flood_is_one_event_with_a_count() {
    let app =
        TestApp::start_with(|settings| settings.web.denial_window = Duration::from_secs(2)).await;
    let tenant = app.tenant().await;
    let (viewer, _) = app.api_key(tenant.id, "viewer").await;
    for _ in 0..50 {
        app.create("/v1/invoices", &viewer, &json!({}))
            .await
            .is_problem(403, "forbidden_role");
    }
    let found = denied(tenant.id, 1).await;
    assert_eq!(found[0].data["count"], json!(50));
    assert!(found[0].data["first_at"].as_str() < found[0].data["last_at"].as_str());
}

#[tokio::test]
async fn a_shutdown_writes_what_was_noted() {
    let mut app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (viewer, _) = app.api_key(tenant.id, "viewer").await;
    app.read("/v1/api-keys", &viewer)
        .await
        .is_problem(403, "forbidden_role");
    assert!(events(tenant.id, "access.denied").await.is_empty());
    app.stop().await;
    assert_eq!(events(tenant.id, "access.denied").await.len(), 1);
}

#[tokio::test]
async fn denials_are_counted_with_and_without_a_tenant() {
    let app = app().await;
    let tenant = app.tenant().await;
    app.read("/v1/tenants", &tenant.key)
        .await
        .is_problem(403, "admin_required");
    app.read("/v1/invoices", "sheaf_nonsense")
        .await
        .is_problem(401, "invalid_credential");
    app.read("/v1/invoices", ADMIN_KEY)
        .await
        .is_problem(403, "tenant_credential_required");
    let text = app.metrics_text().await;
    for line in [
        r#"sheaf_denials_total{code="admin_required",tenant="known"}"#,
        r#"sheaf_denials_total{code="invalid_credential",tenant="unknown"}"#,
        r#"sheaf_denials_total{code="tenant_credential_required",tenant="unknown"}"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
}
