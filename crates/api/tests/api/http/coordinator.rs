//! Everything through the coordinator (`SHEAF_ROUTE=coordinator`): slower, and the same.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use sheaf_store::Route;

use crate::archive::files::{paid, tier};
use crate::invoice::money::{Desk, path, pay, types};
use crate::support::{TestApp, ndjson, send};

async fn desk() -> Desk {
    let app = TestApp::start_over(|store| store.cluster.route = Route::Coordinator, |_| {}).await;
    Desk::at(Arc::new(app)).await
}

/// An issued invoice of 26.98, its number from the series.
async fn issued(desk: &Desk) -> Value {
    let draft = desk
        .make(json!({"status": "draft", "issue_date": null}))
        .await;
    desk.step(&draft, "issue", Value::Null).await.is(200)
}

fn note(amount: &str, apply: bool) -> Value {
    let line =
        json!({"description": "Back", "quantity": 1, "unit_price": amount, "tax_rate": "0.2"});
    json!({"lines": [line], "apply": apply})
}

#[tokio::test]
async fn citus_money_moves_through_the_coordinator() {
    let desk = desk().await;
    let profile = json!({"name": "Seller"});
    let put = desk.app.request(Method::PUT, "/v1/profile");
    send(put.bearer_auth(&desk.tenant.key).json(&profile)).await;
    let invoice = issued(&desk).await;
    assert_eq!(invoice["number"], "INV-2026-000001");
    desk.step(&invoice, "payments", pay("20.00", "p-1"))
        .await
        .is(201);
    // A note that is set off, and one that is paid out in part.
    let first = desk
        .keyed(&invoice, "credit-notes", note("1.00", true), Some("note-1"))
        .await
        .is(201);
    assert_eq!(
        (&first["number"], &first["status"]),
        (&json!("CN-2026-000001"), &json!("paid"))
    );
    let second = desk
        .step(&invoice, "credit-notes", note("2.00", false))
        .await
        .is(201);
    assert_eq!(second["number"], "CN-2026-000002");
    desk.step(&second, "refunds", pay("1.00", "out"))
        .await
        .is(201);
    // The rest of it against another invoice of the customer.
    let other = issued(&desk).await;
    let apply = json!({"invoice_id": other["id"], "amount": "1.40"});
    let applied = desk.keyed(&second, "apply", apply, Some("apply-1")).await;
    assert_eq!(applied.is(200)["amount_due"], "0.00");
    let payment = desk
        .step(&other, "payments", pay("5.00", "p-2"))
        .await
        .is(201);
    let reverse = format!("payments/{}/reverse", payment["id"].as_str().unwrap());
    desk.step(&other, &reverse, Value::Null).await.is(201);
    desk.step(&invoice, "refunds", pay("3.00", "back"))
        .await
        .is(201);
    let events = desk.events(&invoice).await;
    let told = types(&events);
    for event in ["invoice.issued", "payment.recorded", "payment.refunded"] {
        assert!(told.contains(&event), "{told:?}");
    }
    let idle = desk
        .make(json!({"status": "draft", "issue_date": null}))
        .await;
    desk.patch(&idle, &json!({"metadata": {"a": 1}}), "")
        .await
        .is(200);
    desk.step(&idle, "cancel", Value::Null).await.is(200);
}

#[tokio::test]
async fn citus_uploads_archive_and_recalls_through_the_coordinator() {
    let desk = desk().await;
    let key = desk.tenant.key.as_str();
    let lines: Vec<Value> = (0..5)
        .map(|n| paid(&format!("K-{n}"), "2022-05-06"))
        .collect();
    for (path, lines) in [
        ("/v1/invoices/bulk", &lines[..3]),
        ("/v1/invoices/bulk?atomic=true", &lines[3..]),
    ] {
        let upload = desk.app.upload(path, key, ndjson(lines));
        let summary = send(upload.header("idempotency-key", path)).await.is(200);
        assert_eq!(summary["created"], lines.len(), "{summary}");
    }
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 5);
    let all = desk.app.all_invoices(&desk.tenant).await;
    assert_eq!(all.len(), 5);
    // Recalled by a change that makes another document, and by being asked to.
    let credited = desk
        .step(&all[0], "credit-notes", json!({"apply": false}))
        .await
        .is(201);
    assert_eq!(credited["credits"], all[0]["id"]);
    desk.step(&all[1], "refunds", pay("1.00", "back"))
        .await
        .is(201);
    let recall = format!("{}/recall", path(&all[2]));
    desk.app.create(&recall, key, &json!({})).await.is(200);
    let put = desk.app.request(Method::PUT, "/v1/retention/2022");
    send(put.bearer_auth(key).json(&json!({"legal_hold": true})))
        .await
        .is(200);
    desk.app.read("/v1/reports/summary", key).await.is(200);
    assert_eq!(desk.app.all_invoices(&desk.tenant).await.len(), 6);
}
