//! Each kind of violation is found in a history that has it, and in none that has not.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::check::history::{Answer, Attempt, Seen};
use crate::check::stored::Document;

const DAY: &str = "2026-01-05";
/// An id of that day.
fn id(n: u128) -> Uuid {
    Uuid::from_u128((0x019b_8b5b_9c00_u128 << 80) | (7 << 76) | (2 << 62) | n)
}

fn seen(n: u128, version: i64) -> Seen {
    Seen {
        id: id(n),
        version,
        hash: 100 * u64::try_from(version).unwrap_or_default(),
    }
}

fn answer(status: u16, seen: Vec<Seen>) -> Answer {
    Answer {
        status,
        code: String::new(),
        retry_after: false,
        seen,
        hash: 0,
    }
}

/// A call with one attempt, in the second `at`.
fn call(name: &str, at: u64, what: What, answer: Answer) -> Call {
    let attempt = Attempt {
        request_id: format!("{name}.0"),
        sent: Duration::from_secs(at),
        ended: Duration::from_millis(at * 1000 + 500),
        answer,
    };
    let (name, attempts) = (name.to_owned(), vec![attempt]);
    Call {
        name,
        tenant: 0,
        what,
        keyed: false,
        doubled: false,
        attempts,
    }
}

fn document(n: u128, call: &str) -> Document {
    let line = json!({"quantity": "1", "unit_price": "10", "discount": "0",
        "document_discount": "0",
        "tax_rate": "0", "net": "10.00", "tax": "0.00"});
    let body = json!({"id": id(n), "tenant_id": Uuid::nil(), "currency": "EUR",
        "status": "partially_paid",
        "number": format!("INV-2026-00000{n}"), "issue_date": DAY, "credits": null, "lines": [line],
        "payments": [{"reference": "pay", "amount": "4.00"}],
        "taxes": [{"rate": "0", "net": "10.00", "tax": "0.00"}], "subtotal": "10.00",
        "discount_total": "0.00", "tax_total": "0.00", "total": "10.00", "amount_paid": "4.00",
        "amount_due": "6.00", "amount_credited": "0.00", "metadata": {"call": call}, "version": 2});
    let event = |event: u128, request: &str, version: i64| {
        json!({"id": Uuid::from_u128(1000 * n + event), "subject_id": id(n), "request_id": request,
            "data": {"version": version}})
    };
    let events = vec![event(1, &format!("{call}.0"), 1), event(2, "pay.0", 2)];
    Document {
        seen: seen(n, 2),
        body,
        cold: false,
        events,
    }
}

/// Invoices 1 and 2 are created, 1 is paid and read.
fn history() -> (Vec<Call>, Stored) {
    let create = || What::Create { customer: None };
    let calls = vec![
        call("one", 1, create(), answer(201, vec![seen(1, 1)])),
        call("two", 2, create(), answer(201, vec![seen(2, 1)])),
        call("pay", 3, What::Pay(id(1)), answer(201, vec![seen(1, 2)])),
        call("read", 4, What::Read(id(1)), answer(200, vec![seen(1, 2)])),
        call("refused", 5, What::Pay(id(1)), answer(409, vec![])),
        call("foreign", 6, What::ReadForeign(id(1)), answer(404, vec![])),
    ];
    let mut stored = Stored::default();
    for (n, call) in [(1, "one"), (2, "two")] {
        let document = document(n, call);
        stored.feed.extend(document.events.clone());
        stored.documents.insert(id(n), document);
    }
    (calls, stored)
}

fn kinds(change: impl FnOnce(&mut Vec<Call>, &mut Stored)) -> Vec<&'static str> {
    let (mut calls, mut stored) = history();
    change(&mut calls, &mut stored);
    let mut kinds: Vec<_> = judge(&calls, &[stored])
        .iter()
        .map(|one| one.kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn body(stored: &mut Stored, n: u128) -> &mut Value {
    &mut stored
        .documents
        .entry(id(n))
        .or_insert_with(|| document(n, "none"))
        .body
}

#[test]
fn a_possible_history_has_no_violation() {
    assert_eq!(kinds(|_, _| {}), Vec::<&str>::new());
}

#[test]
fn an_invoice_that_is_gone_is_lost() {
    assert_eq!(
        kinds(|_, stored| drop(stored.documents.remove(&id(2)))),
        ["lost"]
    );
    let not_found =
        |calls: &mut Vec<Call>, _: &mut Stored| calls[3].attempts[0].answer = answer(404, vec![]);
    assert_eq!(kinds(not_found), ["lost"]);
}

#[test]
fn a_payment_that_is_gone_or_double_is_found() {
    let gone = kinds(|_, stored| {
        let body = body(stored, 1);
        body["payments"] = json!([]);
        body["amount_paid"] = json!("0.00");
        body["amount_due"] = json!("10.00");
    });
    assert_eq!(gone, ["lost"]);
    let double = kinds(|_, stored| {
        let body = body(stored, 1);
        body["payments"] =
            json!([{"reference": "pay", "amount": "2.00"}, {"reference": "pay", "amount": "2.00"}]);
    });
    assert_eq!(double, ["doubled"]);
}

#[test]
fn a_document_made_twice_is_found() {
    let twice = kinds(|_, stored| {
        let mut again = document(3, "one");
        again.events.truncate(1);
        again.seen.version = 1;
        stored.feed.extend(again.events.clone());
        stored.documents.insert(id(3), again);
    });
    assert_eq!(twice, ["doubled"]);
}

#[test]
fn what_was_refused_is_not_done() {
    let done = kinds(|calls, _| calls[2].attempts[0].answer = answer(409, vec![]));
    assert_eq!(done, ["refused_but_done"]);
    // Nobody knows.
    let unknown =
        |calls: &mut Vec<Call>, _: &mut Stored| calls[2].attempts[0].answer = answer(0, vec![]);
    assert_eq!(kinds(unknown), Vec::<&str>::new());
}

#[test]
fn numbers_are_given_once_and_without_gaps() {
    let twice = kinds(|_, stored| body(stored, 2)["number"] = json!("INV-2026-000001"));
    assert_eq!(twice, ["number_twice"]);
    let gap = kinds(|_, stored| body(stored, 2)["number"] = json!("INV-2026-000003"));
    assert_eq!(gap, ["number_gap"]);
    // In the year of issue, which is not the id's.
    let brought = kinds(|_, stored| {
        for (n, day) in [(1, "2025-03-01"), (2, "2025-04-01")] {
            body(stored, n)["number"] = json!("N-1");
            body(stored, n)["issue_date"] = json!(day);
        }
    });
    assert_eq!(brought, ["number_twice"]);
}

#[test]
fn rows_of_others_sums_and_events_are_looked_at() {
    let foreign =
        |_: &mut Vec<Call>, stored: &mut Stored| body(stored, 1)["tenant_id"] = json!(id(9));
    assert_eq!(kinds(foreign), ["foreign_row"]);
    let read =
        |calls: &mut Vec<Call>, _: &mut Stored| calls[5].attempts[0].answer = answer(200, vec![]);
    assert_eq!(kinds(read), ["foreign_row"]);
    let sum =
        |_: &mut Vec<Call>, stored: &mut Stored| body(stored, 1)["amount_due"] = json!("6.01");
    assert_eq!(kinds(sum), ["sum_off"]);
    let credited =
        |_: &mut Vec<Call>, stored: &mut Stored| body(stored, 1)["amount_credited"] = json!("1.00");
    assert_eq!(kinds(credited), ["credit_off"]);
    let missing = |_: &mut Vec<Call>, stored: &mut Stored| drop(stored.feed.pop());
    assert_eq!(kinds(missing), ["event_missing"]);
    let twice = |_: &mut Vec<Call>, stored: &mut Stored| stored.feed.push(stored.feed[0].clone());
    assert_eq!(kinds(twice), ["event_doubled"]);
    let history = |_: &mut Vec<Call>, stored: &mut Stored| {
        if let Some(document) = stored.documents.get_mut(&id(2)) {
            document.events.truncate(1);
        }
    };
    assert_eq!(kinds(history), ["event_missing"]);
}

#[test]
fn what_was_archived_has_left_the_feed_whatever_the_clocks_say() {
    let recalled = |stored: &mut Stored, request: &str| {
        let document = stored
            .documents
            .entry(id(1))
            .or_insert_with(|| document(1, "one"));
        let recall = json!({"id": Uuid::from_u128(1999), "subject_id": id(1), "request_id": request,
            "event_type": effects::RECALLED, "data": {}});
        // Of a server whose clock was behind, or after one whose clock was ahead: it comes first.
        document.events.insert(0, recall.clone());
        stored.feed.push(recall);
    };
    let without = |stored: &mut Stored, event: u128| {
        let gone = json!(Uuid::from_u128(1000 + event));
        stored.feed.retain(|event| event["id"] != gone);
    };
    // The creation was archived, and came back for the payment.
    let archived = kinds(|_, stored| {
        recalled(stored, "pay.0");
        without(stored, 1);
    });
    assert_eq!(archived, Vec::<&str>::new());
    // The payment itself was never archived.
    let lost = kinds(|_, stored| {
        recalled(stored, "pay.0");
        without(stored, 2);
    });
    assert_eq!(lost, ["event_missing"]);
    // It came before a recall of its own.
    let both = kinds(|calls, stored| {
        calls.push(call("recall", 9, What::Recall(id(1)), answer(200, vec![])));
        recalled(stored, "recall.0");
        without(stored, 1);
        without(stored, 2);
    });
    assert_eq!(both, Vec::<&str>::new());
}

#[test]
fn reads_do_not_forget_and_versions_have_one_body() {
    let stale = |calls: &mut Vec<Call>, _: &mut Stored| {
        calls[3].attempts[0].answer = answer(200, vec![seen(1, 1)])
    };
    assert_eq!(kinds(stale), ["stale_read"]);
    let other =
        |calls: &mut Vec<Call>, _: &mut Stored| calls[3].attempts[0].answer.seen[0].hash = 7;
    assert_eq!(kinds(other), ["body_differs"]);
    let update = |calls: &mut Vec<Call>, _: &mut Stored| {
        calls.push(call(
            "again",
            9,
            What::Issue(id(1)),
            answer(200, vec![seen(1, 2)]),
        ));
    };
    assert!(kinds(update).contains(&"lost_update"));
}

#[test]
fn answers_that_are_wrong_by_themselves_are_found() {
    let error =
        |calls: &mut Vec<Call>, _: &mut Stored| calls[4].attempts[0].answer = answer(500, vec![]);
    assert_eq!(kinds(error), ["server_error"]);
    let hang = |calls: &mut Vec<Call>, _: &mut Stored| {
        calls[4].attempts[0].answer = Answer {
            code: "timeout".to_owned(),
            ..answer(0, vec![])
        };
    };
    assert_eq!(kinds(hang), ["hang"]);
    let differs = |calls: &mut Vec<Call>, _: &mut Stored| {
        calls[2].keyed = true;
        let mut again = calls[2].attempts[0].clone();
        again.answer.hash = 1;
        again.request_id = "pay.1".to_owned();
        calls[2].attempts.push(again);
    };
    assert_eq!(kinds(differs), ["replay_differs"]);
    let secrets = |calls: &mut Vec<Call>, _: &mut Stored| {
        let code = SECRET.to_owned();
        let told = || Answer {
            code: code.clone(),
            ..answer(201, vec![])
        };
        let mut made = call("key", 9, What::MakeKey, told());
        made.attempts.push(made.attempts[0].clone());
        calls.push(made);
    };
    assert_eq!(kinds(secrets), ["secret_again"]);
}

#[test]
fn an_upload_is_whole_and_single() {
    let upload = |calls: &mut Vec<Call>, atomic| {
        let code = "received=2 rejected=0".to_owned();
        let answer = Answer {
            code,
            ..answer(200, vec![])
        };
        calls.push(call("up", 9, What::Upload { lines: 2, atomic }, answer));
    };
    let line = |stored: &mut Stored, n: u128, call: &str| {
        let mut document = document(n, call);
        document.body["number"] = Value::Null;
        stored.feed.extend(document.events.clone());
        stored.documents.insert(id(n), document);
    };
    let whole = kinds(|calls, stored| {
        upload(calls, true);
        line(stored, 3, "up/0");
        line(stored, 4, "up/1");
    });
    assert_eq!(whole, Vec::<&str>::new());
    let torn = kinds(|calls, stored| {
        upload(calls, true);
        line(stored, 3, "up/0");
    });
    assert_eq!(torn, ["lost", "torn"]);
    let double = kinds(|calls, stored| {
        upload(calls, false);
        line(stored, 3, "up/0");
        line(stored, 4, "up/1");
        line(stored, 5, "up/1");
    });
    assert_eq!(double, ["doubled"]);
}

#[test]
fn an_erased_name_is_found() {
    let erase = |calls: &mut Vec<Call>, stored: &mut Stored, name: &str| {
        let what = What::Erase {
            customer: "c".to_owned(),
            id: id(8),
        };
        calls.push(call("erase", 9, what, answer(202, vec![])));
        stored.receipts.insert(id(8), "complete".to_owned());
        let body = body(stored, 1);
        body["customer_id"] = json!(id(8));
        body["customer"] = json!({"name": name});
    };
    assert_eq!(
        kinds(|calls, stored| erase(calls, stored, "erased")),
        Vec::<&str>::new()
    );
    let left = kinds(|calls, stored| erase(calls, stored, &documents::person("c")));
    assert_eq!(left, ["erased_name_left"]);
}

#[test]
fn a_name_is_gone_after_a_run_that_met_its_erasure() {
    let erase = |stored: &mut Stored, calls: &mut Vec<Call>, swept| {
        let what = What::Erase {
            customer: "c".to_owned(),
            id: id(8),
        };
        calls.push(call("erase", 9, what, answer(202, vec![])));
        stored.swept = swept;
        let body = body(stored, 1);
        body["customer_id"] = json!(id(8));
        body["customer"] = json!({"name": documents::person("c")});
    };
    assert_eq!(
        kinds(|calls, stored| erase(stored, calls, false)),
        Vec::<&str>::new()
    );
    assert_eq!(
        kinds(|calls, stored| erase(stored, calls, true)),
        ["erased_name_left"]
    );
}

#[test]
fn a_bystander_is_not_hurt() {
    let calm = Calm {
        tenant: 0,
        from: Duration::from_secs(3),
        until: Duration::from_secs(9),
    };
    let hurt = |at: u64, status: u16, what: What| {
        let code = if status == 0 { "timeout" } else { "" }.to_owned();
        let answer = Answer {
            code,
            ..answer(status, vec![])
        };
        let calls = [call("one", at, what, answer)];
        let found = bystanders(&calls, &calm, &[]);
        found.iter().map(|one| one.kind).collect::<Vec<_>>()
    };
    assert_eq!(hurt(4, 503, What::List), ["bystander_hurt"]);
    assert_eq!(hurt(4, 0, What::List), ["bystander_hurt"]);
    assert_eq!(hurt(4, 409, What::List), Vec::<&str>::new());
    // Before all was whole, and with another's key.
    assert_eq!(hurt(2, 503, What::List), Vec::<&str>::new());
    assert_eq!(hurt(4, 503, What::ReadForeign(id(1))), Vec::<&str>::new());
}
