//! What reports and lists count as money: no set-off is a payment, no credit note is overdue,
//! nothing was paid next year.

use serde_json::{Value, json};

use crate::archive::export::documents;
use crate::support::{Tenant, TestApp, invoice, ndjson, send};

fn line(price: &str) -> Value {
    json!([{"description": "x", "quantity": 1, "unit_price": price}])
}

async fn create(app: &TestApp, tenant: &Tenant, path: &str, document: &Value) -> Value {
    app.create(path, &tenant.key, document).await.is(201)
}

fn at(document: &Value) -> String {
    format!("/v1/invoices/{}", document["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_set_off_is_no_payment_of_the_last_days() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let sold = create(
        &app,
        &tenant,
        "/v1/invoices",
        &invoice(json!({"lines": line("100")})),
    )
    .await;
    let payments = format!("{}/payments", at(&sold));
    let pay = |reference: &str, amount: &str| json!({"reference": reference, "amount": amount});
    let paid = create(&app, &tenant, &payments, &pay("p-1", "30")).await;
    create(&app, &tenant, &payments, &pay("p-2", "20")).await;
    let reverse = format!("{payments}/{}/reverse", paid["id"].as_str().unwrap());
    create(&app, &tenant, &reverse, &json!({})).await;
    // 45 are set off at once; a second note has 5 set off later, and 10 paid out.
    let notes = format!("{}/credit-notes", at(&sold));
    create(&app, &tenant, &notes, &json!({"lines": line("45")})).await;
    let later = json!({"lines": line("15"), "apply": false});
    let note = create(&app, &tenant, &notes, &later).await;
    let apply = json!({"invoice_id": sold["id"], "amount": "5"});
    app.create(&format!("{}/apply", at(&note)), &tenant.key, &apply)
        .await
        .is(200);
    create(
        &app,
        &tenant,
        &format!("{}/refunds", at(&note)),
        &pay("r", "10"),
    )
    .await;
    let report = app.read("/v1/reports/summary", &tenant.key).await.is(200);
    assert_eq!(
        report["paid_last_30_days"],
        json!([
            {"currency": "GBP", "kind": "credit_note", "count": 1, "amount": "10.00"},
            {"currency": "GBP", "kind": "invoice", "count": 3, "amount": "20.00"},
        ])
    );
    // What was set off is no longer owed all the same.
    let open = report["totals"].as_array().unwrap();
    let open = open
        .iter()
        .find(|t| t["status"] == "partially_paid")
        .unwrap();
    assert_eq!(
        (&open["amount_paid"], &open["amount_due"]),
        (&json!("70.00"), &json!("30.00"))
    );
}

#[tokio::test]
async fn the_list_of_what_is_overdue_is_what_the_summary_counts() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let old = json!({"issue_date": "2026-09-01", "due_date": "2026-09-15"});
    let late = create(&app, &tenant, "/v1/invoices", &invoice(old.clone())).await;
    let mut note = invoice(old);
    note["kind"] = json!("credit_note");
    create(&app, &tenant, "/v1/invoices", &note).await;
    let report = app.read("/v1/reports/summary", &tenant.key).await.is(200);
    assert_eq!(
        report["overdue"],
        json!([{"currency": "GBP", "count": 1, "amount": "26.98"}])
    );
    for query in ["", "&kind=invoice", "&tier=hot"] {
        let path = format!("/v1/invoices?status=overdue{query}");
        let list = app.read(&path, &tenant.key).await.is(200);
        assert_eq!(list["data"], json!([late]), "{query}");
    }
    let notes = app.read("/v1/invoices?status=overdue&kind=credit_note", &tenant.key);
    assert_eq!(notes.await.is(200)["data"], json!([]));
}

/// The clock of the tests stands at noon of 2026-11-20, UTC: at the latest it is the 21st
/// somewhere, and its tomorrow the 22nd.
#[tokio::test]
async fn money_moved_tomorrow_at_the_latest() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let with = |paid_on: &str| {
        let paid = json!([{"reference": "p", "amount": "1", "paid_on": paid_on, "method": "card"}]);
        invoice(json!({"payments": paid}))
    };
    let early = ["2026-11-23", "2027-11-20", "2199-12-31"];
    for day in early {
        let problem = app.create("/v1/invoices", &tenant.key, &with(day)).await;
        let problem = problem.is_problem(422, "paid_in_future");
        assert_eq!(problem["errors"][0]["field"], "payments[0].paid_on");
        let upload = app.upload("/v1/invoices/bulk", &tenant.key, ndjson(&[with(day)]));
        let upload = send(upload).await.is(200);
        assert_eq!(upload["errors"][0]["code"], "paid_in_future");
    }
    let open = create(&app, &tenant, "/v1/invoices", &with("2026-11-22")).await;
    let step = |of: &Value, step: &str| format!("{}/{step}", at(of));
    let body = |day: &str| json!({"reference": day, "amount": "1", "paid_on": day});
    for day in early {
        for kind in ["payments", "refunds"] {
            app.create(&step(&open, kind), &tenant.key, &body(day))
                .await
                .is_problem(422, "paid_in_future");
        }
    }
    let paid = create(&app, &tenant, &step(&open, "payments"), &body("2026-11-22")).await;
    let reverse = format!(
        "{}/payments/{}/reverse",
        at(&open),
        paid["id"].as_str().unwrap()
    );
    app.create(&reverse, &tenant.key, &json!({"paid_on": "2026-11-23"}))
        .await
        .is_problem(422, "paid_in_future");
    create(&app, &tenant, &reverse, &json!({"paid_on": "2026-11-22"})).await;
}

/// What an older release took comes back as it was.
#[tokio::test]
async fn a_restored_document_keeps_its_days() {
    let app = TestApp::start().await;
    let (tenant, copy) = (app.tenant().await, app.tenant().await);
    let paid =
        json!([{"reference": "p", "amount": "26.98", "paid_on": "2026-11-01", "method": "card"}]);
    create(
        &app,
        &tenant,
        "/v1/invoices",
        &invoice(json!({"payments": paid})),
    )
    .await;
    let export = app.read("/v1/archive/export?from=2026&to=2026", &tenant.key);
    let mut document = documents(&export.await).remove(0);
    document["payments"][0]["paid_on"] = json!("2199-12-31");
    let body = ndjson(&[document]);
    let restore = app.upload("/v1/invoices/bulk?restore=true", &copy.key, body);
    assert_eq!(send(restore).await.is(200)["created"], 1);
}
