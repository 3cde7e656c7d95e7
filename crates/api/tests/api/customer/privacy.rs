//! Erasure of customers, and retention.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sheaf_archive::{ArchiveError, ErasureOptions, Silent};
use sheaf_model::TenantId;

use crate::archive::files::{paid, tier};
use crate::support::{Answer, Tenant, TestApp, now, raw, send};

async fn put(app: &TestApp, key: &str, path: &str, body: Option<Value>) -> Answer {
    let request = app.request(Method::PUT, path).bearer_auth(key);
    send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

async fn run(app: &TestApp, tenant: &Tenant) {
    let options = ErasureOptions {
        tenant: Some(TenantId(tenant.id)),
        grace: Duration::from_secs(3_600),
        clock_skew: Duration::ZERO,
        as_of: now(),
    };
    while let Err(error) = app.archive.run_erasures(options, &Silent).await {
        assert!(matches!(error, ArchiveError::AlreadyRunning), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_customer_is_erased_in_both_tiers_and_the_receipt_says_so() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let mut ids = Vec::new();
    for (number, date) in [("E-1", "2023-03-05"), ("E-2", "2026-11-01")] {
        let mut document = paid(number, date);
        document["customer"] = json!({"external_id": "ada", "name": "Ada Vergessen",
            "email": "ada@example.org",
            "country": "DE"});
        let made = app.create("/v1/invoices", &tenant.key, &document).await;
        ids.push(made.is(201)["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    let read = app
        .read(&format!("/v1/invoices/{}", ids[0]), &tenant.key)
        .await;
    let before = read.is(200).clone();
    let customer = before["customer_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/customers/{customer}/erasure");
    app.read(&path, &tenant.key)
        .await
        .is_problem(404, "erasure_not_found");
    app.read(&path, &other.key)
        .await
        .is_problem(404, "customer_not_found");

    let asked = put(&app, &tenant.key, &path, None).await;
    assert_eq!(asked.is(202)["status"], "requested");
    let record = app
        .read(&format!("/v1/customers/{customer}"), &tenant.key)
        .await;
    assert_eq!(record.is(200)["name"], "[erased]");
    run(&app, &tenant).await;
    let receipt = app.read(&path, &tenant.key).await;
    let receipt = receipt.is(200);
    assert_eq!(receipt["status"], "pending");
    assert_eq!(receipt["hot"]["invoices"], 1);
    assert_eq!(receipt["cold"]["invoices"], 1);
    assert_eq!(receipt["pending"].as_array().unwrap().len(), 2);
    assert_eq!(receipt["completed_at"], Value::Null);
    for id in &ids {
        let read = app.read(&format!("/v1/invoices/{id}"), &tenant.key).await;
        let after = read.is(200);
        assert_eq!(after["customer"]["name"], "[erased]");
        assert_eq!(after["customer"]["country"], "DE");
        assert_eq!(after["total"], before["total"]);
        let events = app
            .read(&format!("/v1/invoices/{id}/events"), &tenant.key)
            .await;
        let events = events.is(200)["data"].to_string();
        assert!(!events.contains("Ada") && events.contains("invoice.customer_erased"));
    }
    // Somebody of that name is somebody else from now on.
    let mut document = paid("E-3", "2026-11-02");
    document["customer"] = json!({"external_id": "ada", "name": "Ada Vergessen"});
    let again = app.create("/v1/invoices", &tenant.key, &document);
    assert_ne!(again.await.is(201)["customer_id"], before["customer_id"]);
}

#[tokio::test]
async fn retention_is_set_by_year_with_versions() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let path = "/v1/retention/2023";
    let set = put(
        &app,
        &tenant.key,
        path,
        Some(json!({"keep_until": "2034-01-01"})),
    )
    .await;
    assert_eq!(set.is(200)["keep_until"], "2034-01-01");
    assert_eq!(set.header("etag"), "\"1\"");
    let same = put(
        &app,
        &tenant.key,
        path,
        Some(json!({"keep_until": "2034-01-01"})),
    )
    .await;
    assert_eq!(same.is(200)["version"], 1);
    let stale = app
        .request(Method::PUT, path)
        .bearer_auth(&tenant.key)
        .header("if-match", "\"7\"")
        .json(&json!({"legal_hold": true}));
    send(stale).await.is_problem(412, "version_mismatch");
    let held = put(&app, &tenant.key, path, Some(json!({"legal_hold": true}))).await;
    assert_eq!(held.is(200)["keep_until"], Value::Null);
    assert_eq!(held.is(200)["version"], 2);
    let list = app.read("/v1/retention", &tenant.key).await;
    assert_eq!(list.is(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(list.is(200)["data"][0]["year"], 2023);
    let none = app.read("/v1/retention", &other.key).await;
    assert_eq!(none.is(200)["data"], json!([]));
    for (path, body, code) in [
        ("/v1/retention/1969", json!({}), "date_out_of_range"),
        ("/v1/retention/x", json!({}), "date_out_of_range"),
        (path, json!({"until": 1}), "unknown_field"),
        (path, json!({"keep_until": "never"}), "invalid_type"),
    ] {
        put(&app, &tenant.key, path, Some(body))
            .await
            .is_problem(422, code);
    }
}

#[tokio::test]
async fn a_hold_is_answered_when_no_deletion_can_break_it_any_more() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let db = raw().await;
    // gc has asked for a deletion, and had no answer.
    let file = "insert into archive_files
                (tenant_id, period, part, generation, year, object_key, state, schema_version,
                 staged_at, published_at, superseded_at)
                values ($1, '2023-05', 0, 1, 2023, 'k', 'garbage', 1, now(), now(), now())";
    db.execute(file, &[&tenant.id]).await.unwrap();
    let hold = json!({"legal_hold": true});
    for year in ["2023", "2022"] {
        let path = format!("/v1/retention/{year}");
        let asked = put(&app, &tenant.key, &path, Some(hold.clone())).await;
        if year == "2022" {
            asked.is(200);
            continue;
        }
        asked.is_problem(503, "deletion_under_way");
        let wait: u32 = asked.header("retry-after").parse().unwrap();
        assert!((960..=1020).contains(&wait), "{wait}");
    }
    let list = app.read("/v1/retention", &tenant.key).await;
    assert_eq!(list.is(200)["data"][1]["legal_hold"], true);
    let later = "update archive_files set superseded_at = now() - interval '17 minutes'
                 where tenant_id = $1";
    db.execute(later, &[&tenant.id]).await.unwrap();
    let again = put(&app, &tenant.key, "/v1/retention/2023", Some(hold)).await;
    assert_eq!(again.is(200)["version"], 1);
}
