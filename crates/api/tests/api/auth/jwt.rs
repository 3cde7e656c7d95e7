use std::time::Duration;

use serde_json::{Value, json};
use sheaf_web::{JwksSource, JwtConfig};
use uuid::Uuid;

use crate::auth::tokens::{Ec, Issuer, Rsa, claims, config, hmac, hs256, token};
use crate::support::{ADMIN_KEY, TestApp, events, invoice, now, send};

async fn app(jwt: JwtConfig) -> TestApp {
    TestApp::start_with(|config| config.web.jwt = Some(jwt)).await
}

async fn with_set(keys: Value) -> (TestApp, Issuer) {
    let issuer = Issuer::start(keys).await;
    let jwt = JwtConfig {
        jwks: Some(JwksSource::Url(issuer.url.clone())),
        jwks_retry: Duration::from_millis(200),
        ..config()
    };
    (app(jwt).await, issuer)
}

#[tokio::test]
async fn a_token_opens_its_tenant_and_is_named_in_the_audit_trail() {
    let app = app(config()).await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let token = hs256(&claims(tenant.id, "finance", json!({})));
    let made = app
        .create("/v1/invoices", &token, &invoice(json!({})))
        .await
        .is(201);
    // The second request is answered from the cache.
    let list = app.read("/v1/invoices", &token).await.is(200);
    assert_eq!(list["data"][0]["id"], made["id"]);
    let created = events(tenant.id, "invoice.created").await;
    assert_eq!(created[0].actor, "jwt:https://id.example/user-1");
    let elsewhere = hs256(&claims(other.id, "viewer", json!({})));
    let path = format!("/v1/invoices/{}", made["id"].as_str().unwrap());
    app.read(&path, &elsewhere)
        .await
        .is_problem(404, "invoice_not_found");
    let named = app
        .get("/v1/invoices", &elsewhere)
        .header("x-tenant-id", tenant.id.to_string());
    send(named).await.is_problem(403, "tenant_mismatch");
}

#[tokio::test]
async fn a_tokens_role_is_the_tables() {
    let app = app(config()).await;
    let tenant = app.tenant().await;
    let viewer = hs256(&claims(tenant.id, "viewer", json!({})));
    let admin = hs256(&claims(tenant.id, "admin", json!({})));
    app.read("/v1/invoices", &viewer).await.is(200);
    app.create("/v1/invoices", &viewer, &invoice(json!({})))
        .await
        .is_problem(403, "forbidden_role");
    app.read("/v1/api-keys", &viewer)
        .await
        .is_problem(403, "forbidden_role");
    app.read("/v1/api-keys", &admin).await.is(200);
    app.read("/v1/tenants", &admin)
        .await
        .is_problem(403, "admin_required");
    app.read("/v1/tenants", ADMIN_KEY).await.is(200);
}

#[tokio::test]
async fn wrong_claims_are_refused() {
    let app = app(config()).await;
    let tenant = app.tenant().await;
    let at = |seconds: i64| json!(now().timestamp() + seconds);
    for members in [
        json!({"iss": "https://other.example"}),
        json!({"iss": null}),
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"aud": ["a", "b"]}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"nbf": at(120)}),
        json!({"nbf": "now"}),
        json!({"iat": at(120)}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": "x".repeat(256)}),
        json!({"role": "owner"}),
        json!({"role": null}),
        json!({"tenant_id": "acme"}),
        json!({"tenant_id": null}),
    ] {
        let token = hs256(&claims(tenant.id, "admin", members.clone()));
        let answer = app.read("/v1/invoices", &token).await;
        assert_eq!(answer.status, 401, "{members}");
        answer.is_problem(401, "invalid_credential");
    }
    // Within the skew of 60 s, and in other forms that are right.
    for members in [
        json!({"nbf": at(30), "iat": at(30)}),
        json!({"exp": at(-30)}),
        json!({"aud": ["other", "sheaf"]}),
        json!({"exp": (now().timestamp() + 60) as f64 + 0.5}),
    ] {
        let token = hs256(&claims(tenant.id, "admin", members.clone()));
        let answer = app.read("/v1/invoices", &token).await;
        assert_eq!(answer.status, 200, "{members}: {answer}");
    }
}

#[tokio::test]
async fn an_expired_token_says_so_and_an_unknown_tenant_does_too() {
    let app = app(config()).await;
    let tenant = app.tenant().await;
    let expired = hs256(&claims(
        tenant.id,
        "admin",
        json!({"exp": now().timestamp() - 61}),
    ));
    for _ in 0..2 {
        app.read("/v1/invoices", &expired)
            .await
            .is_problem(401, "expired_credential");
    }
    let nobody = hs256(&claims(Uuid::now_v7(), "admin", json!({})));
    app.read("/v1/invoices", &nobody)
        .await
        .is_problem(403, "unknown_tenant");
}

#[tokio::test]
async fn algorithms_are_not_confused() {
    let rsa = Rsa::load();
    let ec = Ec::new();
    let (app, _) = with_set(json!([rsa.jwk("r"), ec.jwk("e")])).await;
    let tenant = app.tenant().await;
    let claims = claims(tenant.id, "admin", json!({}));
    app.read("/v1/invoices", &rsa.token("r", &claims))
        .await
        .is(200);
    app.read("/v1/invoices", &ec.token("e", &claims))
        .await
        .is(200);
    let none = |_: &[u8]| Vec::new();
    let by_modulus = |message: &[u8]| hmac(&rsa.modulus(), message);
    let by_rsa = |message: &[u8]| rsa.sign(message);
    for (why, token) in [
        ("none", token(&json!({"alg": "none"}), &claims, none)),
        (
            "None",
            token(&json!({"alg": "None", "kid": "r"}), &claims, none),
        ),
        (
            "public key as secret",
            token(&json!({"alg": "HS256", "kid": "r"}), &claims, by_modulus),
        ),
        (
            "another hash",
            token(&json!({"alg": "RS512", "kid": "r"}), &claims, by_rsa),
        ),
        (
            "another key's algorithm",
            token(&json!({"alg": "RS256", "kid": "e"}), &claims, by_rsa),
        ),
        ("another key", rsa.token("e", &claims)),
        (
            "a critical extension",
            token(
                &json!({"alg": "RS256", "kid": "r", "crit": ["b64"]}),
                &claims,
                by_rsa,
            ),
        ),
        (
            "no signature",
            token(&json!({"alg": "RS256", "kid": "r"}), &claims, none),
        ),
        ("another issuer's key", Ec::new().token("e", &claims)),
        (
            "too long",
            format!("{}{}", rsa.token("r", &claims), "A".repeat(8 << 10)),
        ),
    ] {
        let answer = app.read("/v1/invoices", &token).await;
        assert_eq!(answer.status, 401, "{why}: {answer}");
    }
    let good = rsa.token("r", &claims);
    let tampered = good.replacen('.', ".e", 1);
    app.read("/v1/invoices", &tampered)
        .await
        .is_problem(401, "invalid_credential");
    // A token is for Authorization; X-Api-Key takes keys.
    let by_key_header = app
        .request(reqwest::Method::GET, "/v1/invoices")
        .header("x-api-key", &good);
    send(by_key_header)
        .await
        .is_problem(401, "invalid_credential");
}

#[tokio::test]
async fn keys_are_replaced_while_tokens_come_in() {
    let (old, new) = (Ec::new(), Ec::new());
    let (app, issuer) = with_set(json!([old.jwk("1")])).await;
    let tenant = app.tenant().await;
    let claims = claims(tenant.id, "admin", json!({}));
    let (by_old, by_new) = (old.token("1", &claims), new.token("2", &claims));
    app.read("/v1/invoices", &by_old).await.is(200);
    assert_eq!(issuer.asked(), 1);
    // A flood of unknown keys asks the issuer once.
    tokio::time::sleep(Duration::from_millis(250)).await;
    for n in 0..20 {
        app.read("/v1/invoices", &new.token(&format!("x{n}"), &claims))
            .await
            .is_problem(401, "invalid_credential");
    }
    assert!(issuer.asked() <= 4, "{}", issuer.asked());
    // The issuer is down: the last good set stays.
    issuer.break_down(true);
    tokio::time::sleep(Duration::from_millis(250)).await;
    app.read("/v1/invoices", &by_new)
        .await
        .is_problem(401, "invalid_credential");
    app.read("/v1/invoices", &by_old).await.is(200);
    // It is back with another key, and the old one is gone: what was verified by it is verified
    // again.
    issuer.publish(json!([new.jwk("2")]));
    issuer.break_down(false);
    tokio::time::sleep(Duration::from_millis(250)).await;
    app.read("/v1/invoices", &by_new).await.is(200);
    app.read("/v1/invoices", &by_old)
        .await
        .is_problem(401, "invalid_credential");
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_not_the_clients_mistake() {
    let key = Ec::new();
    let issuer = Issuer::start(json!([key.jwk("1")])).await;
    issuer.break_down(true);
    let jwt = JwtConfig {
        jwks: Some(JwksSource::Url(issuer.url.clone())),
        jwks_refresh: Duration::from_millis(100),
        jwks_retry: Duration::from_millis(50),
        ..config()
    };
    let app = app(jwt).await;
    let tenant = app.tenant().await;
    let claims = claims(tenant.id, "admin", json!({}));
    let token = key.token("1", &claims);
    let answer = app.read("/v1/invoices", &token).await;
    answer.is_problem(503, "jwks_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    app.read("/v1/invoices", &hs256(&claims)).await.is(200);
    app.read("/v1/invoices", &tenant.key).await.is(200);
    issuer.break_down(false);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(issuer.asked() > 2, "the timer asks again");
    app.read("/v1/invoices", &token).await.is(200);
}

#[tokio::test]
async fn a_set_can_be_a_file_and_claims_can_have_other_names() {
    let key = Ec::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    std::fs::write(&path, json!({"keys": [key.jwk("1")]}).to_string()).unwrap();
    let jwt = JwtConfig {
        jwks: Some(JwksSource::File(path)),
        secret: None,
        tenant_claim: "https://sheaf.example/tenant".to_owned(),
        role_claim: "https://sheaf.example/role".to_owned(),
        ..config()
    };
    let app = app(jwt).await;
    let tenant = app.tenant().await;
    let renamed = claims(
        tenant.id,
        "viewer",
        json!({"tenant_id": null, "role": null,
            "https://sheaf.example/tenant": tenant.id, "https://sheaf.example/role": "viewer"}),
    );
    app.read("/v1/invoices", &key.token("1", &renamed))
        .await
        .is(200);
    app.read("/v1/invoices", &hs256(&renamed))
        .await
        .is_problem(401, "invalid_credential");
}

#[tokio::test]
async fn without_an_issuer_a_token_is_a_wrong_credential() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    app.read(
        "/v1/invoices",
        &hs256(&claims(tenant.id, "admin", json!({}))),
    )
    .await
    .is_problem(401, "invalid_credential");
}
