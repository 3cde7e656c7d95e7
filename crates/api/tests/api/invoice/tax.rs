//! Tax by rate or by line, discounts, and credit notes over HTTP: what is new, and what was stored
//! before.

use serde_json::{Value, json};

use crate::archive::export::export;
use crate::archive::files::tier;
use crate::invoice::money::{Desk, path};
use crate::support::{Tenant, TestApp, ndjson, send};

const RESTORE: &str = "/v1/invoices/bulk?restore=true";
/// An export of a build that rounded every line by itself: documents without `tax_rounding`.
const EARLIER: &str = include_str!("../../../../model/tests/golden/earlier.ndjson");

fn lines(count: usize, price: &str) -> Value {
    let line = json!({"description": "d", "quantity": 1, "unit_price": price, "tax_rate": "0.19"});
    json!({"currency": "EUR", "issue_date": "2026-11-02", "lines": vec![line; count],
        "customer": {"external_id": "c-1", "name": "Customer 1"}})
}

async fn upload(
    app: &TestApp,
    tenant: &Tenant,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> Value {
    send(app.upload(path, &tenant.key, body)).await.is(200)
}

#[tokio::test]
async fn tax_is_rounded_once_a_rate_unless_lines_are_asked_for() {
    let desk = Desk::open().await;
    let (app, key) = (&desk.app, &desk.tenant.key);
    for (count, price, by_document, by_line) in [
        (300, "0.02", "1.14", "0.00"),
        (300, "0.03", "1.71", "3.00"),
        (3, "33.35", "19.01", "19.02"),
    ] {
        let mut document = lines(count, price);
        let made = app.create("/v1/invoices", key, &document).await.is(201);
        assert_eq!(made["tax_rounding"], "document");
        assert_eq!(
            (&made["tax_total"], &made["taxes"][0]["tax"]),
            (&json!(by_document), &json!(by_document))
        );
        assert_eq!(desk.read(&made).await.is(200), made);
        document["tax_rounding"] = json!("line");
        let made = app.create("/v1/invoices", key, &document).await.is(201);
        assert_eq!(
            (&made["tax_rounding"], &made["tax_total"]),
            (&json!("line"), &json!(by_line))
        );
    }
    let mut document = lines(3, "33.35");
    document["total"] = json!("119.07");
    let refused = app.create("/v1/invoices", key, &document).await;
    let problem = refused.is_problem(422, "total_fits_line_rounding");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(r#""tax_rounding": "line""#), "{detail}");
    document["tax_rounding"] = json!("half");
    let refused = app.create("/v1/invoices", key, &document).await;
    refused.is_problem(422, "invalid_tax_rounding");
}

#[tokio::test]
async fn an_upload_says_how_lines_round_that_do_not_say() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let document = |id: &str, rounding: Option<&str>| {
        let mut document = lines(3, "33.35");
        document["external_id"] = json!(id);
        if let Some(rounding) = rounding {
            document["tax_rounding"] = json!(rounding);
        }
        document
    };
    let body = ndjson(&[
        document("a", None),
        document("b", Some("document")),
        document("c", Some("line")),
    ]);
    upload(&app, &tenant, "/v1/invoices/bulk?tax_rounding=line", body).await;
    let body = ndjson(&[document("d", None), document("e", Some("line"))]);
    upload(
        &app,
        &tenant,
        "/v1/invoices/bulk?tax_rounding=document&atomic=true",
        body,
    )
    .await;
    upload(
        &app,
        &tenant,
        "/v1/invoices/bulk",
        ndjson(&[document("f", None)]),
    )
    .await;
    let mut found: Vec<String> = app
        .all_invoices(&tenant)
        .await
        .iter()
        .map(|i| {
            format!(
                "{} {} {}",
                i["external_id"], i["tax_rounding"], i["tax_total"]
            )
            .replace('"', "")
        })
        .collect();
    found.sort();
    let expected = [
        "a line 19.02",
        "b document 19.01",
        "c line 19.02",
        "d document 19.01",
        "e line 19.02",
        "f document 19.01",
    ];
    assert_eq!(found, expected);
    let bad = send(app.upload("/v1/invoices/bulk?tax_rounding=lines", &tenant.key, "")).await;
    bad.is_problem(400, "invalid_parameter");
}

/// The document of a line, as this tenant is told it: ids of tenant and customer are its own.
fn as_told(line: &str, told: &str) -> String {
    let member = |text: &str, name: &str| {
        let of: Value = serde_json::from_str(text).unwrap();
        format!("\"{name}\":{}", of[name])
    };
    let mut line = line.to_owned();
    for name in ["tenant_id", "customer_id"] {
        line = line.replacen(&member(&line, name), &member(told, name), 1);
    }
    line
}

#[tokio::test]
async fn what_was_stored_before_keeps_its_bytes_in_both_tiers() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let count = EARLIER.lines().count();
    let answer = upload(&app, &tenant, RESTORE, EARLIER).await;
    assert_eq!(answer["created"], count, "{answer}");
    let mut tiers = std::collections::BTreeSet::new();
    for round in 0..2 {
        for line in EARLIER.lines() {
            let id: Value = serde_json::from_str(line).unwrap();
            let read = app.read(&path(&id), &tenant.key).await;
            read.is(200);
            let told = String::from_utf8(read.body.clone()).unwrap();
            assert_eq!(told, as_told(line, &told));
            assert!(!told.contains("tax_rounding"));
            tiers.insert((round, read.header("sheaf-tier").to_owned()));
        }
        if round == 0 {
            tier(&app, &tenant).await;
        }
    }
    assert!(tiers.contains(&(1, "cold".to_owned())) && tiers.contains(&(1, "hot".to_owned())));
    // And so does an export of them, by another tenant.
    let exported = export(&app, &tenant.key, "from=2024&to=2026").await;
    let other = app.tenant().await;
    let answer = upload(&app, &other, RESTORE, exported.body.clone()).await;
    assert_eq!(answer["created"], count, "{answer}");
    let again = export(&app, &other.key, "from=2024&to=2026").await;
    let (exported, again) = (exported.body, again.body);
    let pairs = std::str::from_utf8(&exported)
        .unwrap()
        .lines()
        .zip(std::str::from_utf8(&again).unwrap().lines());
    let mut compared = 0;
    for (one, two) in pairs {
        assert_eq!(as_told(one, two), two);
        compared += 1;
    }
    assert_eq!(compared, count);
}

#[tokio::test]
async fn the_first_edit_of_an_older_draft_rounds_by_line_unless_it_says_document() {
    let desk = Desk::open().await;
    let drafts: Vec<&str> = EARLIER
        .lines()
        .filter(|line| line.contains(r#""status":"draft""#) && line.contains(r#""currency":"EUR""#))
        .collect();
    let [draft] = drafts[..] else {
        panic!("{} drafts", drafts.len())
    };
    for (edit, rounding) in [
        (json!({"due_date": "2027-01-01"}), "line"),
        (json!({"tax_rounding": "document"}), "document"),
    ] {
        let tenant = desk.app.tenant().await;
        let desk = Desk {
            app: desk.app.clone(),
            tenant,
        };
        upload(&desk.app, &desk.tenant, RESTORE, format!("{draft}\n")).await;
        let before = desk.app.all_invoices(&desk.tenant).await.remove(0);
        let after = desk.patch(&before, &edit, "").await.is(200);
        assert_eq!(
            (&before["tax_rounding"], &after["tax_rounding"]),
            (&Value::Null, &json!(rounding))
        );
        // The line less 100 % has nothing left, and what is given back is less by its percentage.
        assert_eq!(
            (&before["lines"][0]["net"], &after["lines"][0]["net"]),
            (&json!("0.01"), &json!("0.00"))
        );
        assert_eq!(
            (&before["lines"][1]["net"], &after["lines"][1]["net"]),
            (&json!("-100.00"), &json!("-90.00"))
        );
        let events = desk.events(&before).await;
        let changes = &events.last().unwrap()["data"]["changes"];
        assert_eq!(
            changes["tax_rounding"],
            json!({"old": null, "new": rounding})
        );
        assert_eq!(changes["lines"]["old"][1]["net"], "-100.00");
        assert_eq!(changes["lines"]["new"][1]["net"], "-90.00");
        let issued = desk.step(&before, "issue", Value::Null).await.is(200);
        assert_eq!(
            (&issued["tax_rounding"], &issued["total"]),
            (&json!(rounding), &after["total"])
        );
    }
    // Without an edit nothing is computed again.
    upload(&desk.app, &desk.tenant, RESTORE, format!("{draft}\n")).await;
    let before = desk.app.all_invoices(&desk.tenant).await.remove(0);
    let issued = desk.step(&before, "issue", Value::Null).await.is(200);
    assert_eq!(
        (&issued["tax_rounding"], &issued["lines"]),
        (&Value::Null, &before["lines"])
    );
    let pay = json!({"reference": "p", "amount": "1", "paid_on": "2026-11-19", "method": "card"});
    let paid = desk.step(&before, "payments", pay).await.is(201);
    assert_eq!(
        (&paid["invoice"]["total"], &paid["invoice"]["lines"]),
        (&before["total"], &before["lines"])
    );
}

#[tokio::test]
async fn an_edit_tells_the_tax_of_lines_that_it_did_not_touch() {
    let desk = Desk::open().await;
    let mut document = lines(3, "33.35");
    document["status"] = json!("draft");
    let draft = desk
        .app
        .create("/v1/invoices", &desk.tenant.key, &document)
        .await
        .is(201);
    let taxes = |lines: &Value| -> Vec<Value> {
        lines
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["tax"].clone())
            .collect()
    };
    assert_eq!(taxes(&draft["lines"]), ["6.34", "6.34", "6.33"]);
    let mut edited = document["lines"].clone();
    edited[2]["unit_price"] = json!("33.36");
    let after = desk
        .patch(&draft, &json!({"lines": edited}), "")
        .await
        .is(200);
    // 19.01 as before, but the line that was touched is cut most now, and gets a unit.
    assert_eq!(taxes(&after["lines"]), ["6.34", "6.33", "6.34"]);
    let events = desk.events(&draft).await;
    let told = &events.last().unwrap()["data"]["changes"]["lines"];
    assert_eq!(taxes(&told["old"]), ["6.34", "6.34", "6.33"]);
    assert_eq!(taxes(&told["new"]), ["6.34", "6.33", "6.34"]);
}

#[tokio::test]
async fn credits_are_of_what_was_charged_and_the_last_takes_the_rest() {
    let desk = Desk::open().await;
    let mut document = lines(1, "33.35");
    document["lines"][0]["quantity"] = json!(3);
    let invoice = desk
        .app
        .create("/v1/invoices", &desk.tenant.key, &document)
        .await
        .is(201);
    let credit = |rate: &str, price: &str, more: Value| {
        let mut body = json!({"lines": [{"description": "back", "quantity": 1, "unit_price": price,
            "tax_rate": rate}]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let step = async |body: Value| desk.step(&invoice, "credit-notes", body).await;
    let early = credit("0.19", "1", json!({"issue_date": "2026-11-01"}));
    step(early).await.is_problem(422, "credit_before_invoice");
    step(credit("0.07", "1", json!({})))
        .await
        .is_problem(422, "credit_rate_not_charged");
    step(credit("0", "1", json!({})))
        .await
        .is_problem(422, "credit_rate_not_charged");
    step(credit("0.19", "100.06", json!({})))
        .await
        .is_problem(409, "credit_exceeds_invoice");
    let mut total = Vec::new();
    for _ in 0..3 {
        let note = step(credit("0.19", "33.35", json!({}))).await.is(201);
        total.push(note["total"].as_str().unwrap().to_owned());
    }
    assert_eq!(total, ["39.69", "39.68", "39.69"]);
    let invoice = desk.read(&invoice).await.is(200);
    assert_eq!(
        (&invoice["status"], &invoice["amount_credited"]),
        (&json!("paid"), &json!("119.06"))
    );
    // What is kept of it is nobody's business.
    assert!(invoice.get("credited").is_none() && invoice.get("profile_version").is_none());

    let mut document = lines(2, "100");
    document["lines"][1]["tax_rate"] = json!("0.07");
    let invoice = desk
        .app
        .create("/v1/invoices", &desk.tenant.key, &document)
        .await
        .is(201);
    let body = credit("0.07", "100.01", json!({}));
    desk.step(&invoice, "credit-notes", body)
        .await
        .is_problem(422, "credit_exceeds_rate");
}

#[tokio::test]
async fn never_more_is_refunded_than_came_in() {
    let desk = Desk::open().await;
    let pay = |amount: &str, reference: &str| {
        json!({"reference": reference, "amount": amount,
        "paid_on": "2026-11-19", "method": "card"})
    };
    let made = async || {
        let mut document = lines(1, "100");
        document["lines"][0]["tax_rate"] = json!("0");
        desk.app
            .create("/v1/invoices", &desk.tenant.key, &document)
            .await
            .is(201)
    };
    // Paid, credited, and the credit note paid out: nothing is left to refund.
    let invoice = made().await;
    desk.step(&invoice, "payments", pay("100", "in"))
        .await
        .is(201);
    let note = desk
        .step(&invoice, "credit-notes", Value::Null)
        .await
        .is(201);
    desk.step(&note, "refunds", pay("60", "out-1"))
        .await
        .is(201);
    desk.step(&invoice, "refunds", pay("40.01", "back"))
        .await
        .is_problem(409, "refund_exceeds_paid");
    desk.step(&invoice, "refunds", pay("40", "back"))
        .await
        .is(201);
    desk.step(&note, "refunds", pay("0.01", "out-2"))
        .await
        .is_problem(409, "refund_exceeds_paid");
    let events = desk.events(&invoice).await;
    let paid_out = events
        .iter()
        .find(|e| e["event_type"] == "invoice.credit_paid_out")
        .unwrap();
    assert_eq!(
        (
            &paid_out["data"]["credit_note_id"],
            &paid_out["data"]["amount"]
        ),
        (&note["id"], &json!("60.00"))
    );

    // Nothing came in: nothing goes out, though the credit note is not set off.
    let invoice = made().await;
    let note = desk
        .step(&invoice, "credit-notes", json!({"apply": false}))
        .await
        .is(201);
    desk.step(&note, "refunds", pay("1", "out"))
        .await
        .is_problem(409, "refund_exceeds_paid");
    let to = json!({"invoice_id": invoice["id"]});
    assert_eq!(
        desk.step(&note, "apply", to).await.is(200)["status"],
        "paid"
    );

    // Several credit notes are bounded together.
    let invoice = made().await;
    desk.step(&invoice, "payments", pay("70", "in"))
        .await
        .is(201);
    let half = json!({"apply": false, "lines": [{"description": "half", "quantity": 1,
        "unit_price": 50}]});
    let one = desk
        .step(&invoice, "credit-notes", half.clone())
        .await
        .is(201);
    let two = desk.step(&invoice, "credit-notes", half).await.is(201);
    desk.step(&one, "refunds", pay("50", "out")).await.is(201);
    desk.step(&two, "refunds", pay("20.01", "out"))
        .await
        .is_problem(409, "refund_exceeds_paid");
    desk.step(&two, "refunds", pay("20", "out")).await.is(201);
}
