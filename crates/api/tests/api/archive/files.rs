//! Both tiers behind the same routes.

use std::time::Duration;

use serde_json::{Value, json};
use sheaf_archive::{ArchiveError, RunOptions, RunSummary, Silent};
use sheaf_model::TenantId;

use crate::support::{Tenant, TestApp, invoice, now};

/// Runs tiering for one tenant; one run at a time is allowed in the whole cluster.
pub(crate) async fn tier(app: &TestApp, tenant: &Tenant) -> RunSummary {
    let options = RunOptions {
        as_of: now().date_naive(),
        older_than_months: 12,
        tenant: Some(TenantId(tenant.id)),
        dry_run: false,
    };
    for _ in 0..200 {
        match app.archive.tiering().run(options.clone(), &Silent).await {
            Err(ArchiveError::AlreadyRunning) => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            result => return result.unwrap(),
        }
    }
    panic!("tiering never got its lock");
}

pub(crate) fn paid(number: &str, date: &str) -> Value {
    let payment =
        json!([{"reference": number, "amount": "26.98", "paid_on": date, "method": "card"}]);
    invoice(json!({"number": number, "issue_date": date, "payments": payment}))
}

#[tokio::test]
async fn a_cold_invoice_answers_as_it_did_when_it_was_hot() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let mut paths = Vec::new();
    for document in [
        paid("C-1", "2023-03-05"),
        paid("C-2", "2023-03-06"),
        paid("C-3", "2024-08-01"),
        invoice(json!({"number": "H-1", "issue_date": "2023-03-07"})),
        paid("H-2", "2026-11-01"),
    ] {
        let made = app.create("/v1/invoices", &tenant.key, &document).await;
        made.is(201);
        paths.push((made.header("location").to_owned(), made.body));
    }
    let before = app.read("/v1/invoices?limit=100", &tenant.key).await;
    assert_eq!(tier(&app, &tenant).await.invoices, 3);
    for (index, (path, body)) in paths.iter().enumerate() {
        let read = app.read(path, &tenant.key).await;
        assert_eq!(&read.body, body, "byte for byte");
        assert_eq!(
            (read.header("sheaf-tier"), read.header("etag")),
            (if index < 3 { "cold" } else { "hot" }, "\"1\"")
        );
    }
    let after = app.read("/v1/invoices?limit=100", &tenant.key).await;
    assert_eq!(after.body, before.body, "one order over both tiers");
    assert_eq!(after.header("sheaf-tier"), "hot, cold");
    for (tier, count) in [("hot", 2), ("cold", 3)] {
        let page = app
            .read(&format!("/v1/invoices?tier={tier}"), &tenant.key)
            .await;
        assert_eq!(
            (
                page.is(200)["data"].as_array().unwrap().len(),
                page.header("sheaf-tier")
            ),
            (count, tier)
        );
    }
    // The keys of archived invoices stay taken.
    app.create("/v1/invoices", &tenant.key, &paid("C-1", "2023-03-05"))
        .await
        .is_problem(409, "duplicate_number");
}

#[tokio::test]
async fn the_catalog_is_paged_and_its_own_tenants() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    for (number, date) in [
        ("C-1", "2022-01-05"),
        ("C-2", "2022-02-06"),
        ("C-3", "2022-03-01"),
    ] {
        app.create("/v1/invoices", &tenant.key, &paid(number, date))
            .await
            .is(201);
    }
    tier(&app, &tenant).await;
    let first = app
        .read("/v1/archive/files?limit=2", &tenant.key)
        .await
        .is(200);
    let files = first["data"].as_array().unwrap();
    assert_eq!(
        (files.len(), &files[0]["period"], &files[1]["period"]),
        (2, &json!("2022-01"), &json!("2022-02"))
    );
    assert_eq!(
        (&files[0]["invoices"], &files[0]["sums"]["GBP"]["invoice"]),
        (&json!(1), &json!("26.98"))
    );
    assert_eq!(files[0]["sha256"].as_str().unwrap().len(), 64);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app
        .read(&format!("/v1/archive/files?cursor={cursor}"), &tenant.key)
        .await
        .is(200);
    assert_eq!(
        (&second["data"][0]["period"], &second["has_more"]),
        (&json!("2022-03"), &json!(false))
    );
    app.read(&format!("/v1/archive/files?cursor={cursor}"), &other.key)
        .await
        .is_problem(400, "invalid_cursor");
    assert_eq!(
        app.read("/v1/archive/files", &other.key).await.is(200)["data"],
        json!([])
    );
}
