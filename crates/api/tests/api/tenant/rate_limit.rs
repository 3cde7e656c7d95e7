use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;
use sheaf_web::RateLimit;

use crate::support::{ADMIN_KEY, TestApp, invoice, ndjson, send};

async fn app(per_second: u32, burst: u32) -> TestApp {
    TestApp::start_with(|config| {
        config.web.rate_limit = Some(RateLimit {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        });
    })
    .await
}

#[tokio::test]
async fn a_tenant_beyond_its_limit_waits_alone() {
    let app = app(1, 5).await;
    let (busy, other) = (app.tenant().await, app.tenant().await);
    let (second_key, _) = app.api_key(busy.id, "viewer").await;
    for n in 0..5 {
        let answer = app.read("/v1/invoices", &busy.key).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.header("ratelimit-policy"), "\"tenant\";q=5;w=5");
        let left = answer.header("ratelimit");
        assert!(n > 0 || left == "\"tenant\";r=4;t=1", "{left}");
    }
    // The limit is the tenant's, not the key's; it comes before the role.
    for key in [&busy.key, &second_key] {
        let refused = app.create("/v1/invoices", key, &invoice(json!({}))).await;
        refused.is_problem(429, "rate_limited");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("ratelimit"), "\"tenant\";r=0;t=1");
    }
    let answer = app.read("/v1/invoices", &other.key).await;
    answer.is(200);
    let platform = app.read("/v1/tenants", ADMIN_KEY).await;
    platform.is(200);
    assert!(!platform.headers.contains_key("ratelimit"));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    app.read("/v1/invoices", &busy.key).await.is(200);
}

#[tokio::test]
async fn an_upload_counts_once() {
    let app = app(1, 3).await;
    let tenant = app.tenant().await;
    let lines = ndjson(&(0..20).map(|_| invoice(json!({}))).collect::<Vec<_>>());
    let answer = send(app.upload("/v1/invoices/bulk", &tenant.key, lines)).await;
    assert_eq!(answer.header("ratelimit"), "\"tenant\";r=2;t=1");
    assert_eq!(answer.is(200)["created"], 20);
}

#[tokio::test]
async fn a_revoked_key_takes_nothing_from_its_tenant() {
    let app = app(1, 3).await;
    let tenant = app.tenant().await;
    let (revoked, id) = app.api_key(tenant.id, "admin").await;
    app.revoke(tenant.id, id).await;
    for _ in 0..10 {
        app.read("/v1/invoices", &revoked)
            .await
            .is_problem(401, "revoked_credential");
    }
    app.read("/v1/invoices", &tenant.key).await.is(200);
}

#[tokio::test]
async fn without_a_limit_nothing_is_said() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let answer = app.read("/v1/invoices", &tenant.key).await;
    assert!(!answer.headers.contains_key("ratelimit"));
    assert!(!answer.headers.contains_key("ratelimit-policy"));
}
