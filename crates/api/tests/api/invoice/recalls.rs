//! Archived invoices that come back: by a change, and by being asked to.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::archive::files::{paid, tier};
use crate::invoice::money::{Desk, path, pay, types};
use crate::support::{Answer, send};

#[tokio::test]
async fn a_change_of_an_archived_invoice_recalls_it() {
    let desk = Desk::open().await;
    let made = desk
        .app
        .create("/v1/invoices", &desk.tenant.key, &paid("R-1", "2023-03-05"))
        .await
        .is(201);
    let quiet = desk
        .app
        .create("/v1/invoices", &desk.tenant.key, &paid("R-2", "2023-03-06"))
        .await
        .is(201);
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 2);
    // What is refused leaves it where it is.
    desk.step(&made, "payments", pay("1", "x"))
        .await
        .is_problem(409, "already_paid");
    assert_eq!(desk.read(&made).await.header("sheaf-tier"), "cold");

    let refund = desk
        .keyed(&made, "refunds", pay("6.98", "back"), Some("back"))
        .await;
    assert_eq!(refund.is(201)["invoice"]["status"], "partially_paid");
    let hot = desk.read(&made).await;
    assert_eq!(
        (hot.header("sheaf-tier"), hot.header("etag")),
        ("hot", "\"2\"")
    );
    assert_eq!(desk.read(&quiet).await.header("sheaf-tier"), "cold");
    let again = desk
        .keyed(&made, "refunds", pay("6.98", "back"), Some("back"))
        .await;
    assert_eq!(again.body, refund.body);
    assert_eq!(
        types(&desk.events(&made).await),
        ["invoice.created", "invoice.recalled", "payment.refunded"]
    );
    // One list over both tiers has it once, as it is now; the archive's copy is masked.
    let list = desk.app.all_invoices(&desk.tenant).await;
    assert_eq!(list.len(), 2);
    assert_eq!(list[1]["amount_paid"], "20.00");
    let cold = desk
        .app
        .read("/v1/invoices?tier=cold", &desk.tenant.key)
        .await
        .is(200);
    assert_eq!(cold["data"].as_array().unwrap().len(), 1);

    // Unsettled it stays; settled it goes again, and the new copy is the one that is read.
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 0);
    desk.step(&made, "payments", pay("6.98", "rest"))
        .await
        .is(201);
    let before = desk.read(&made).await;
    let before_events = desk.events(&made).await;
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 1);
    let after = desk.read(&made).await;
    assert_eq!(
        (after.header("sheaf-tier"), &after.body),
        ("cold", &before.body)
    );
    assert_eq!(desk.events(&made).await, before_events);
    assert_eq!(desk.app.all_invoices(&desk.tenant).await.len(), 2);
    // And once more.
    desk.step(&made, "refunds", pay("1", "third")).await.is(201);
    assert_eq!(desk.read(&made).await.is(200)["amount_paid"], "25.98");
    assert_eq!(desk.app.all_invoices(&desk.tenant).await.len(), 2);
}

#[tokio::test]
async fn a_recall_brings_an_invoice_back_as_it_is() {
    let desk = Desk::open().await;
    let (app, key) = (&desk.app, &desk.tenant.key);
    let document = paid("back", "2022-04-05");
    let made = app.create("/v1/invoices", key, &document).await.is(201);
    assert_eq!(tier(app, &desk.tenant).await.invoices, 1);
    let cold = desk.read(&made).await;
    desk.step(&made, "recall", json!({"when": "now"}))
        .await
        .is_problem(422, "unknown_field");
    // Another tenant does not see it, and does not move it.
    let other = app.tenant().await;
    let foreign = app.post(&format!("{}/recall", path(&made)), &other.key);
    send(foreign).await.is_problem(404, "invoice_not_found");
    assert_eq!(desk.read(&made).await.header("sheaf-tier"), "cold");

    // Twice is once.
    for _ in 0..2 {
        let back = desk.step(&made, "recall", Value::Null).await;
        assert_eq!((back.status.as_u16(), &back.body), (200, &cold.body));
        let hot = desk.read(&made).await;
        assert_eq!(
            (hot.header("sheaf-tier"), &hot.body),
            ("hot", &cold.body),
            "byte for byte"
        );
    }
    assert_eq!(
        types(&desk.events(&made).await),
        ["invoice.created", "invoice.recalled"]
    );
    // The archive's copy is masked, until the next run takes the invoice again.
    let listed = async || {
        let list = app.read("/v1/invoices?tier=cold", key).await.is(200);
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(
        (listed().await, app.all_invoices(&desk.tenant).await.len()),
        (0, 1)
    );
    assert_eq!(tier(app, &desk.tenant).await.invoices, 1);
    assert_eq!(
        (listed().await, app.all_invoices(&desk.tenant).await.len()),
        (1, 1)
    );
    assert_eq!(desk.read(&made).await.body, cold.body);
}

#[tokio::test]
async fn a_recall_with_a_key_is_answered_once() {
    let desk = Desk::open().await;
    let (app, key) = (&desk.app, &desk.tenant.key);
    let document = paid("keyed", "2022-04-05");
    let cold = app.create("/v1/invoices", key, &document).await.is(201);
    assert_eq!(tier(app, &desk.tenant).await.invoices, 1);
    let hot = desk.make(json!({})).await;
    // Of what is hot nothing changes, and its answer is kept like that of a change.
    for (made, name) in [(&cold, "of-cold"), (&hot, "of-hot")] {
        let recall = async |body: Value| desk.keyed(made, "recall", body, Some(name)).await;
        let first = recall(Value::Null).await;
        first.is(200);
        assert!(!first.headers.contains_key("idempotency-replayed"));
        let again = recall(Value::Null).await;
        assert_eq!(again.header("idempotency-replayed"), "true", "{name}");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("etag"), first.header("etag"));
        recall(json!({}))
            .await
            .is_problem(422, "idempotency_key_reused");
    }
    // Nor does another recall have the key, whichever came first, or another change.
    desk.keyed(&cold, "recall", Value::Null, Some("of-hot"))
        .await
        .is_problem(422, "idempotency_key_reused");
    desk.keyed(&hot, "payments", pay("1", "p"), Some("of-hot"))
        .await
        .is_problem(422, "idempotency_key_reused");
    // The answer stays what it was when the invoice has changed.
    let before = desk.keyed(&hot, "recall", Value::Null, Some("of-hot"));
    let before = before.await;
    desk.step(&hot, "payments", pay("1", "p")).await.is(201);
    let after = desk.keyed(&hot, "recall", Value::Null, Some("of-hot"));
    assert_eq!(after.await.body, before.body);
}

#[tokio::test]
async fn recalls_with_one_key_at_once_are_answered_alike() {
    let desk = Desk::open().await;
    let hot = desk.make(json!({})).await;
    let recall = || desk.keyed(&hot, "recall", Value::Null, Some("at-once"));
    let answers: Vec<Answer> = join_all((0..20).map(|_| recall())).await;
    let made = |answer: &&Answer| !answer.headers.contains_key("idempotency-replayed");
    assert_eq!(answers.iter().filter(made).count(), 1);
    for answer in &answers {
        answer.is(200);
        assert_eq!(answer.body, answers[0].body);
    }
}
