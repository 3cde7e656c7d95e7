//! The life of an invoice over HTTP: steps, numbers, payments, credit notes, events; many clients
//! at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Tenant, TestApp, invoice, send};

/// An app and one tenant of it.
pub(crate) struct Desk {
    pub(crate) app: Arc<TestApp>,
    pub(crate) tenant: Tenant,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        Self::at(Arc::new(TestApp::start().await)).await
    }

    /// A tenant of its own at an app that runs.
    pub(crate) async fn at(app: Arc<TestApp>) -> Self {
        let tenant = app.tenant().await;
        Self { app, tenant }
    }

    pub(crate) async fn make(&self, members: Value) -> Value {
        let document = invoice(members);
        let made = self
            .app
            .create("/v1/invoices", &self.tenant.key, &document)
            .await;
        made.is(201)
    }

    /// POSTs a step of an invoice's life.
    pub(crate) async fn step(&self, invoice: &Value, step: &str, body: Value) -> Answer {
        self.keyed(invoice, step, body, None).await
    }

    pub(crate) async fn keyed(
        &self,
        invoice: &Value,
        step: &str,
        body: Value,
        key: Option<&str>,
    ) -> Answer {
        let path = format!("{}/{step}", path(invoice));
        let mut request = self.app.post(&path, &self.tenant.key);
        if !body.is_null() {
            request = request.json(&body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        send(request).await
    }

    pub(crate) async fn patch(&self, invoice: &Value, body: &Value, if_match: &str) -> Answer {
        let request = self.app.request(Method::PATCH, &path(invoice));
        let request = request.bearer_auth(&self.tenant.key).json(body);
        send(if if_match.is_empty() {
            request
        } else {
            request.header("if-match", if_match)
        })
        .await
    }

    pub(crate) async fn read(&self, invoice: &Value) -> Answer {
        self.app.read(&path(invoice), &self.tenant.key).await
    }

    pub(crate) async fn events(&self, invoice: &Value) -> Vec<Value> {
        let path = format!("{}/events?limit=100", path(invoice));
        let page = self.app.read(&path, &self.tenant.key).await.is(200);
        page["data"].as_array().unwrap().clone()
    }
}

pub(crate) fn path(invoice: &Value) -> String {
    format!("/v1/invoices/{}", invoice["id"].as_str().unwrap())
}

pub(crate) fn pay(amount: &str, reference: &str) -> Value {
    json!({"amount": amount, "reference": reference, "paid_on": "2026-11-19", "method": "card"})
}

pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event_type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_draft_becomes_an_invoice_is_paid_refunded_and_reversed() {
    let desk = Desk::open().await;
    let draft = desk
        .make(json!({"status": "draft", "issue_date": null}))
        .await;
    assert_eq!(
        (&draft["status"], &draft["number"]),
        (&json!("draft"), &Value::Null)
    );
    desk.step(&draft, "payments", pay("1", "early"))
        .await
        .is_problem(409, "not_issued");

    let edit = json!({"lines": [{"description": "Ten", "quantity": 10, "unit_price": "10.00"}],
        "discount_percent": "5", "metadata": {"po": "77"}});
    let edited = desk.patch(&draft, &edit, "").await;
    assert_eq!(
        (edited.header("etag"), &edited.is(200)["total"]),
        ("\"2\"", &json!("95.00"))
    );
    let stale = desk
        .patch(&draft, &json!({"due_date": "2027-01-01"}), "\"1\"")
        .await;
    stale.is_problem(412, "version_mismatch");
    assert_eq!(stale.header("etag"), "\"2\"");

    let issued = desk.step(&draft, "issue", Value::Null).await.is(200);
    assert_eq!(issued["status"], "issued");
    assert_eq!(
        (&issued["number"], &issued["issue_date"]),
        (&json!("INV-2026-000001"), &json!("2026-11-20"))
    );
    desk.step(&draft, "issue", Value::Null)
        .await
        .is_problem(409, "already_issued");
    desk.patch(&draft, &json!({"due_date": "2027-01-01"}), "")
        .await
        .is_problem(409, "invoice_immutable");
    desk.patch(&draft, &json!({"metadata": {"note": 1}}), "")
        .await
        .is(200);
    let sent = json!({"channel": "email", "recipient": "a@b.example"});
    desk.step(&draft, "send", sent).await.is(200);

    let first = desk
        .keyed(&draft, "payments", pay("50", "p-1"), Some("pay-1"))
        .await;
    let payment = first.is(201);
    assert_eq!(
        (&payment["amount"], &payment["kind"]),
        (&json!("50.00"), &json!("payment"))
    );
    assert_eq!(
        (
            &payment["invoice"]["status"],
            &payment["invoice"]["amount_due"]
        ),
        (&json!("partially_paid"), &json!("45.00"))
    );
    let again = desk
        .keyed(&draft, "payments", pay("50", "p-1"), Some("pay-1"))
        .await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(
        (again.header("idempotency-replayed"), again.header("etag")),
        ("true", first.header("etag"))
    );
    desk.keyed(&draft, "payments", pay("51", "p-1"), Some("pay-1"))
        .await
        .is_problem(422, "idempotency_key_reused");
    desk.step(&draft, "payments", pay("45.01", "p-2"))
        .await
        .is_problem(409, "overpayment");
    desk.step(&draft, "payments", pay("45.001", "p-2"))
        .await
        .is_problem(409, "overpayment");
    desk.step(&draft, "payments", pay("0.001", "p-2"))
        .await
        .is_problem(422, "too_many_decimals");
    desk.step(&draft, "payments", pay("1", "p-1"))
        .await
        .is_problem(409, "duplicate_payment_reference");
    desk.step(&draft, "payments", pay("-1", "p-2"))
        .await
        .is_problem(422, "payment_not_positive");
    let rest = desk
        .step(&draft, "payments", pay("45", "p-2"))
        .await
        .is(201);
    assert_eq!(rest["invoice"]["status"], "paid");
    desk.step(&draft, "cancel", Value::Null)
        .await
        .is_problem(409, "invoice_has_payments");

    let refund = desk.step(&draft, "refunds", pay("10", "r-1")).await.is(201);
    assert_eq!(
        (&refund["amount"], &refund["kind"]),
        (&json!("-10.00"), &json!("refund"))
    );
    desk.step(&draft, "refunds", pay("85.01", "r-2"))
        .await
        .is_problem(409, "refund_exceeds_paid");
    let reverse = format!("payments/{}/reverse", payment["id"].as_str().unwrap());
    let reversal = desk
        .step(&draft, &reverse, json!({"reason": "chargeback"}))
        .await
        .is(201);
    assert_eq!(
        (&reversal["amount"], &reversal["reverses"]),
        (&json!("-50.00"), &payment["id"])
    );
    assert_eq!(reversal["invoice"]["amount_paid"], "35.00");
    desk.step(&draft, &reverse, Value::Null)
        .await
        .is_problem(409, "payment_already_reversed");
    let unknown = format!("payments/{}/reverse", Uuid::now_v7());
    desk.step(&draft, &unknown, Value::Null)
        .await
        .is_problem(404, "payment_not_found");

    let events = desk.events(&draft).await;
    assert_eq!(
        types(&events),
        [
            "invoice.created",
            "invoice.updated",
            "invoice.issued",
            "invoice.updated",
            "invoice.sent",
            "payment.recorded",
            "payment.recorded",
            "payment.refunded",
            "payment.reversed"
        ]
    );
    let issue = &events[2];
    assert_eq!(
        issue["data"]["changes"]["status"],
        json!({"old": "draft", "new": "issued"})
    );
    assert_eq!(issue["actor"], format!("api_key:{}", desk.tenant.key_id));
    assert_eq!(issue["correlation_id"], issue["request_id"]);
    assert_eq!(events[8]["data"]["reason"], "chargeback");
}

#[tokio::test]
async fn payments_at_once_are_exact() {
    let desk = Desk::open().await;
    let lines = json!([{"description": "x", "quantity": 1, "unit_price": 100}]);
    let made = desk.make(json!({"lines": lines})).await;
    // 64 clients, two payments each, each sent twice with its key.
    let one = |n: usize| {
        let (desk, made) = (&desk, &made);
        async move {
            let key = format!("key-{n}");
            let body = pay("1.00", &format!("ref-{n}"));
            let send = || desk.keyed(made, "payments", body.clone(), Some(&key));
            let (a, b) = tokio::join!(send(), send());
            for answer in [&a, &b] {
                match answer.status.as_u16() {
                    201 => {}
                    409 => assert!(
                        [
                            "already_paid",
                            "overpayment",
                            "idempotency_in_progress",
                            "duplicate_payment_reference"
                        ]
                        .contains(&answer.json()["code"].as_str().unwrap()),
                        "{answer}"
                    ),
                    _ => panic!("{answer}"),
                }
            }
            if a.status == 201 && b.status == 201 {
                assert_eq!(a.body, b.body);
            }
            a.status == 201 || b.status == 201
        }
    };
    let done = join_all((0..128).map(one)).await;
    assert_eq!(done.iter().filter(|done| **done).count(), 100);
    let invoice = desk.read(&made).await.is(200);
    assert_eq!(
        (&invoice["status"], &invoice["amount_paid"]),
        (&json!("paid"), &json!("100.00"))
    );
    let payments = invoice["payments"].as_array().unwrap();
    let references: BTreeSet<_> = payments
        .iter()
        .map(|p| p["reference"].as_str().unwrap())
        .collect();
    assert_eq!((payments.len(), references.len()), (100, 100));
    assert_eq!(invoice["version"], 101);
    let events = desk.events(&made).await;
    assert_eq!(events.len(), 100);
}

#[tokio::test]
async fn of_many_edits_of_one_version_one_wins() {
    let desk = Desk::open().await;
    let draft = desk
        .make(json!({"status": "draft", "issue_date": null}))
        .await;
    let edits: Vec<Value> = (0..20)
        .map(|n| json!({"metadata": {"n": n}, "due_date": "2027-01-01"}))
        .collect();
    let answers = join_all(edits.iter().map(|edit| desk.patch(&draft, edit, "\"1\""))).await;
    let won: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.is_problem(412, "version_mismatch");
        assert_eq!(answer.header("etag"), "\"2\"");
    }
    assert_eq!(desk.read(&draft).await.body, won[0].body);
}

#[tokio::test]
async fn credit_notes_correct_are_set_off_and_paid_out() {
    let desk = Desk::open().await;
    let made = desk.make(json!({})).await;
    desk.step(&made, "payments", pay("20", "p")).await.is(201);
    let lines = json!([{"description": "Widget back", "quantity": 1, "unit_price": "9.99",
        "tax_rate": "0.2"}]);
    let note = desk
        .step(
            &made,
            "credit-notes",
            json!({"lines": lines, "reason": "broken"}),
        )
        .await;
    let note = note.is(201);
    assert_eq!(
        (&note["kind"], &note["number"]),
        (&json!("credit_note"), &json!("CN-2026-000001"))
    );
    assert_eq!(
        (&note["credits"], &note["total"]),
        (&made["id"], &json!("11.99"))
    );
    // 6.98 were owed: the rest of the note is left.
    let invoice = desk.read(&made).await.is(200);
    assert_eq!(
        (&invoice["status"], &invoice["amount_credited"]),
        (&json!("paid"), &json!("11.99"))
    );
    assert_eq!(
        (&note["status"], &note["amount_due"]),
        (&json!("partially_paid"), &json!("5.01"))
    );
    desk.step(&made, "credit-notes", Value::Null)
        .await
        .is_problem(409, "credit_exceeds_invoice");
    desk.step(&note, "payments", pay("1", "x"))
        .await
        .is_problem(409, "credit_note_not_payable");

    let other = desk.make(json!({})).await;
    let to = |id: &Value, amount: &str| json!({"invoice_id": id, "amount": amount});
    desk.step(&note, "apply", to(&other["id"], "5.02"))
        .await
        .is_problem(409, "credit_exceeded");
    let applied = desk
        .step(&note, "apply", to(&other["id"], "3.00"))
        .await
        .is(200);
    assert_eq!(applied["amount_due"], "2.01");
    assert_eq!(desk.read(&other).await.is(200)["amount_due"], "23.98");
    let stranger = desk
        .make(json!({"customer": {"external_id": "c-2", "name": "Two"}}))
        .await;
    desk.step(&note, "apply", to(&stranger["id"], "1"))
        .await
        .is_problem(409, "customer_mismatch");
    desk.step(&note, "apply", to(&json!(Uuid::now_v7()), "1"))
        .await
        .is_problem(404, "invoice_not_found");
    let refund = desk
        .step(&note, "refunds", pay("2.01", "out"))
        .await
        .is(201);
    assert_eq!(
        (&refund["amount"], &refund["invoice"]["status"]),
        (&json!("2.01"), &json!("paid"))
    );
}

#[tokio::test]
async fn overdue_follows_from_the_day() {
    let desk = Desk::open().await;
    let due = |day: &str| json!({"issue_date": "2026-11-01", "due_date": day});
    let late = desk.make(due("2026-11-19")).await;
    desk.make(due("2026-11-20")).await;
    let paid = desk.make(due("2026-11-10")).await;
    desk.step(&paid, "payments", pay("26.98", "p"))
        .await
        .is(201);
    let part = desk.make(due("2026-11-11")).await;
    desk.step(&part, "payments", pay("1", "p")).await.is(201);
    let list = |more: String| {
        let (app, key) = (&desk.app, &desk.tenant.key);
        async move {
            app.read(&format!("/v1/invoices?status=overdue{more}"), key)
                .await
                .is(200)
        }
    };
    let all = list(String::new()).await;
    let ids: BTreeSet<_> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        BTreeSet::from([late["id"].as_str().unwrap(), part["id"].as_str().unwrap()])
    );
    let page = list("&limit=1".to_owned()).await;
    let next = list(format!(
        "&limit=1&cursor={}",
        page["next_cursor"].as_str().unwrap()
    ))
    .await;
    assert_eq!(
        (page["has_more"].as_bool(), next["has_more"].as_bool()),
        (Some(true), Some(false))
    );
    desk.app
        .read("/v1/invoices?status=late", &desk.tenant.key)
        .await
        .is_problem(400, "invalid_parameter");
}
