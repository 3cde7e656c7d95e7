#![allow(clippy::unwrap_used, clippy::panic)]
use chrono::{TimeDelta, TimeZone, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::invoice::input::{Body, Context, CreditNoteInput};
use crate::{InvoiceInput, Kind, Metadata, PaymentKind, TenantId, id};

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap()
}

fn make(document: &Value) -> Invoice {
    let context = Context {
        tenant_id: TenantId(Uuid::from_u128(7)),
        now: now(),
    };
    let input = InvoiceInput::parse(document.to_string().as_bytes()).unwrap();
    input.into_invoice(&context).unwrap()
}

/// 100.00 EUR, net 80.00 and 25 % tax.
fn document(status: &str) -> Value {
    json!({"currency": "EUR", "status": status, "customer": {"external_id": "c", "name": "C"},
        "lines": [{"description": "d", "quantity": "8", "unit_price": "10", "tax_rate": "0.25"}]})
}

fn issued() -> Invoice {
    make(&document("issued"))
}

fn money(amount: &str, reference: &str) -> NewPayment {
    NewPayment {
        reference: reference.to_owned(),
        amount: amount.parse().unwrap(),
        paid_on: now().date_naive(),
        method: "card".to_owned(),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, code: &str) {
    assert_eq!(result.unwrap_err().code, code);
}

/// The whole machine, so that a change of it is seen.
#[test]
fn every_step_of_every_status() {
    let mut table = String::new();
    for kind in [Kind::Invoice, Kind::CreditNote] {
        for step in Step::ALL {
            let answers = Status::ALL.map(|status| {
                forbidden(kind, status, step).map_or("yes", |(code, detail)| {
                    assert!(!detail.is_empty());
                    code.as_str()
                })
            });
            table.push_str(&format!("{kind} {step:?}: {}\n", answers.join(" ")));
        }
    }
    // draft, issued, partially_paid, paid, cancelled
    let expected = "\
invoice Edit: yes invoice_immutable invoice_immutable invoice_immutable invoice_cancelled
invoice EditMetadata: yes yes yes yes yes
invoice Issue: yes already_issued already_issued already_issued invoice_cancelled
invoice Send: not_issued yes yes yes invoice_cancelled
invoice Pay: not_issued yes yes already_paid invoice_cancelled
invoice Reverse: not_issued nothing_paid yes yes invoice_cancelled
invoice Refund: not_issued nothing_paid yes yes invoice_cancelled
invoice Credit: not_issued yes yes yes invoice_cancelled
invoice Apply: not_a_credit_note not_a_credit_note not_a_credit_note not_a_credit_note \
not_a_credit_note
invoice Cancel: yes yes invoice_has_payments invoice_has_payments invoice_cancelled
credit_note Edit: yes invoice_immutable invoice_immutable invoice_immutable invoice_cancelled
credit_note EditMetadata: yes yes yes yes yes
credit_note Issue: yes already_issued already_issued already_issued invoice_cancelled
credit_note Send: not_issued yes yes yes invoice_cancelled
credit_note Pay: credit_note_not_payable credit_note_not_payable credit_note_not_payable \
credit_note_not_payable credit_note_not_payable
credit_note Reverse: not_issued nothing_paid yes yes invoice_cancelled
credit_note Refund: not_issued yes yes already_settled invoice_cancelled
credit_note Credit: credit_note_of_credit_note credit_note_of_credit_note \
credit_note_of_credit_note credit_note_of_credit_note credit_note_of_credit_note
credit_note Apply: not_issued yes yes already_settled invoice_cancelled
credit_note Cancel: yes yes invoice_has_payments invoice_has_payments invoice_cancelled
";
    assert_eq!(table, expected);
}

#[test]
fn status_follows_payments_refunds_and_reversals() {
    let mut invoice = issued();
    let first = invoice.pay(money("30", "a"), now()).unwrap();
    assert_eq!(
        (invoice.status, invoice.version),
        (Status::PartiallyPaid, 2)
    );
    refused(invoice.pay(money("70.01", "b"), now()), "overpayment");
    refused(
        invoice.pay(money("1", "a"), now()),
        "duplicate_payment_reference",
    );
    refused(invoice.pay(money("0.001", "c"), now()), "too_many_decimals");
    invoice.pay(money("70", "b"), now()).unwrap();
    assert_eq!(
        (invoice.status, invoice.amount_due),
        (Status::Paid, Decimal::ZERO)
    );
    refused(invoice.pay(money("1", "c"), now()), "already_paid");
    // Sent again, the last payment is known by its reference.
    refused(
        invoice.pay(money("70", "b"), now()),
        "duplicate_payment_reference",
    );
    refused(invoice.cancel(now()), "invoice_has_payments");
    refused(
        invoice.refund(money("100.01", "r"), now()),
        "refund_exceeds_paid",
    );
    invoice.refund(money("80", "r"), now()).unwrap();
    assert_eq!(invoice.amount_paid, Decimal::from(20));
    assert_eq!(invoice.status, Status::PartiallyPaid);
    let back = |payment_id| Reversal {
        payment_id,
        reference: None,
        paid_on: None,
    };
    refused(invoice.reverse(back(first), now()), "reversal_exceeds_paid");
    invoice.pay(money("80", "again"), now()).unwrap();
    let reversal = invoice.reverse(back(first), now()).unwrap();
    assert_eq!(invoice.amount_paid, Decimal::from(70));
    refused(
        invoice.reverse(back(first), now()),
        "payment_already_reversed",
    );
    refused(
        invoice.reverse(back(reversal), now()),
        "payment_not_reversible",
    );
    refused(
        invoice.reverse(back(Uuid::nil()), now()),
        "payment_not_found",
    );
    let sum: Decimal = invoice.payments.iter().map(|p| p.amount).sum();
    assert_eq!((sum, invoice.version), (invoice.amount_paid, 6));
    assert!(invoice.payments.is_sorted_by_key(|payment| payment.id));
}

#[test]
fn payments_keep_their_order_when_a_clock_goes_back() {
    let mut invoice = issued();
    let first = invoice.pay(money("1", "a"), now()).unwrap();
    let second = invoice
        .pay(money("1", "b"), now() - TimeDelta::hours(1))
        .unwrap();
    assert!(second > first && id::check_client_id(second, now()).is_ok());
    assert_eq!(invoice.modified_at, now() + TimeDelta::microseconds(2));
}

#[test]
fn a_document_that_cannot_count_further_stays_as_it_is() {
    let mut invoice = issued();
    invoice.version = bounds::MAX_VERSION;
    let before = invoice.clone();
    refused(invoice.pay(money("1", "a"), now()), "too_many_changes");
    refused(invoice.send(now()), "too_many_changes");
    refused(invoice.cancel(now()), "too_many_changes");
    // One that an earlier version let in.
    invoice.version = i64::MAX;
    refused(invoice.pay(money("1", "a"), now()), "too_many_changes");
    invoice.version = before.version;
    assert_eq!(invoice, before);
}

#[test]
fn a_draft_is_issued_once_with_date_and_number() {
    let mut draft = make(&document("draft"));
    refused(draft.send(now()), "not_issued");
    refused(draft.pay(money("1", "a"), now()), "not_issued");
    let early = Issue {
        due_date: Some(now().date_naive() - TimeDelta::days(1)),
        ..Issue::default()
    };
    refused(draft.issue(early, now()), "due_before_issue");
    let issue = Issue {
        number: Some("INV-1".to_owned()),
        ..Issue::default()
    };
    draft.issue(issue.clone(), now()).unwrap();
    assert_eq!(draft.number.as_deref(), Some("INV-1"));
    assert_eq!(draft.issue_date, Some(now().date_naive()));
    refused(draft.issue(issue, now()), "already_issued");
    draft.send(now()).unwrap();
    draft.cancel(now()).unwrap();
    assert_eq!(
        (draft.status, draft.amount_due),
        (Status::Cancelled, Decimal::ZERO)
    );
    refused(draft.send(now()), "invoice_cancelled");
}

fn note(lines: Option<Value>, apply: bool) -> CreditNote {
    let mut body = json!({"apply": apply});
    if let Some(lines) = lines {
        body["lines"] = lines;
    }
    let request = CreditNoteInput::parse(body.to_string().as_bytes())
        .unwrap()
        .check()
        .unwrap();
    CreditNote {
        lines: request
            .lines(crate::Currency::parse("EUR").unwrap())
            .unwrap(),
        issue_date: now().date_naive(),
        number: None,
        metadata: Metadata::default(),
        apply,
    }
}

fn line(price: &str) -> Value {
    json!([{"description": "back", "quantity": "1", "unit_price": price, "tax_rate": "0.25"}])
}

#[test]
fn credit_notes_settle_what_is_owed_and_never_exceed_the_invoice() {
    let mut invoice = issued();
    invoice.pay(money("70", "a"), now()).unwrap();
    let (made, applied) = invoice.credit(note(Some(line("40")), true), now()).unwrap();
    assert_eq!(applied.unwrap().amount, Decimal::from(30));
    assert_eq!(
        (invoice.status, invoice.amount_credited),
        (Status::Paid, Decimal::from(50))
    );
    assert_eq!(
        (made.status, made.amount_due, made.version),
        (Status::PartiallyPaid, Decimal::from(20), 1)
    );
    assert_eq!(
        (made.credits, made.kind),
        (Some(invoice.id), Kind::CreditNote)
    );
    assert_eq!(invoice.payments[1].kind, PaymentKind::Credit);
    refused(
        invoice.credit(note(None, true), now()),
        "credit_exceeds_invoice",
    );
    refused(
        invoice.credit(note(Some(line("0")), true), now()),
        "credit_of_nothing",
    );
    // Money only is given back: the 30 that were set off are none.
    refused(
        invoice.refund(money("70.01", "r"), now()),
        "refund_exceeds_paid",
    );

    let (mut made, mut other) = (made, issued());
    other.customer_id = Some(Uuid::from_u128(1));
    refused(
        apply_credit(&mut made, &mut other, None, now()),
        "customer_mismatch",
    );
    other.customer_id = None;
    let too_much = Some(Decimal::from(21));
    refused(
        apply_credit(&mut made, &mut other, too_much, now()),
        "credit_exceeded",
    );
    let five = Some(Decimal::from(5));
    apply_credit(&mut made, &mut other, five, now()).unwrap();
    apply_credit(&mut made, &mut other, five, now()).unwrap();
    assert_eq!(
        (made.amount_due, other.amount_paid),
        (Decimal::from(10), Decimal::from(10))
    );
    refused(
        made.refund(money("10.01", "out"), now()),
        "refund_exceeds_credit",
    );
    made.refund(money("10", "out"), now()).unwrap();
    assert_eq!((made.status, made.amount_paid), (Status::Paid, made.total));
    refused(
        apply_credit(&mut made, &mut other, None, now()),
        "already_settled",
    );
    refused(made.cancel(now()), "invoice_has_payments");
}

#[test]
fn an_edit_replaces_fields_and_obeys_the_rules_of_a_new_document() {
    let patch = |patch: Value| Patch::parse(patch.to_string().as_bytes()).unwrap();
    let mut draft = make(&document("draft"));
    let before = draft.clone();
    let lines = json!({"lines": [{"description": "e", "quantity": 3, "unit_price": 1.10}],
        "due_date": "2027-01-01"});
    draft.edit(&patch(lines), now()).unwrap();
    assert_eq!((draft.total, draft.version), ("3.30".parse().unwrap(), 2));
    assert_eq!((draft.id, draft.created_at), (before.id, before.created_at));
    draft
        .edit(&patch(json!({"discount_percent": 10})), now())
        .unwrap();
    assert_eq!(
        (draft.total, draft.discount),
        ("2.97".parse().unwrap(), "0.33".parse().unwrap())
    );
    draft.edit(&patch(json!({"discount": "1"})), now()).unwrap();
    assert_eq!(
        (draft.total, draft.discount_percent),
        ("2.30".parse().unwrap(), None)
    );
    draft
        .edit(
            &patch(json!({"customer": {"email": "c@example.com"}})),
            now(),
        )
        .unwrap();
    let customer = draft.customer.clone().unwrap();
    assert_eq!(
        (customer.name.as_str(), customer.email.as_deref()),
        ("C", Some("c@example.com"))
    );
    draft
        .edit(
            &patch(json!({"customer": {"external_id": "d", "name": "D"}})),
            now(),
        )
        .unwrap();
    assert_eq!(draft.customer.as_ref().unwrap().email, None);
    draft
        .edit(&patch(json!({"due_date": null})), now())
        .unwrap();
    assert_eq!(draft.due_date, None);
    match draft.edit(&patch(json!({"lines": []})), now()).unwrap_err() {
        PatchError::Invalid(invalid) => assert_eq!(invalid.code(), "no_lines"),
        other => panic!("{other:?}"),
    }

    // Metadata of any document, key by key, and exactly.
    let mut invoice = issued();
    invoice
        .edit(&patch(json!({"metadata": {"a": 1, "b": {"c": 2}}})), now())
        .unwrap();
    let exact = br#"{"metadata": {"a": null, "b": {"d": 12345678901234567890.10}}}"#;
    invoice.edit(&Patch::parse(exact).unwrap(), now()).unwrap();
    assert_eq!(
        invoice.metadata.as_str(),
        r#"{"b": {"c": 2, "d": 12345678901234567890.10}}"#
    );
    match invoice
        .edit(&patch(json!({"due_date": "2027-01-01"})), now())
        .unwrap_err()
    {
        PatchError::Refused(refusal) => assert_eq!(refusal.code, "invoice_immutable"),
        other => panic!("{other:?}"),
    }
    for (bad, code) in [
        ("[]", "invalid_type"),
        ("{}", "empty_patch"),
        (r#"{"id": "x"}"#, "field_not_editable"),
    ] {
        assert_eq!(Patch::parse(bad.as_bytes()).unwrap_err().code(), code);
    }
}

#[test]
fn an_event_tells_old_and_new() {
    let (before, mut after) = (issued(), issued());
    after.id = before.id;
    after.pay(money("30", "a"), now()).unwrap();
    let event: Value =
        serde_json::from_str(&Change::between(&before, &after).event(2, json!({"x": 1}))).unwrap();
    assert_eq!(
        event,
        json!({"version": 2, "x": 1, "changes": {
            "status": {"old": "issued", "new": "partially_paid"},
            "amount_paid": {"old": "0.00", "new": "30.00"},
            "amount_due": {"old": "100.00", "new": "70.00"},
        }})
    );
}

#[test]
fn overdue_is_derived() {
    let mut document = document("issued");
    document["due_date"] = json!("2026-11-20");
    let mut invoice = make(&document);
    let day = now().date_naive();
    assert!(!is_overdue(&invoice, day) && is_overdue(&invoice, day + TimeDelta::days(1)));
    invoice.pay(money("100", "a"), now()).unwrap();
    assert!(!is_overdue(&invoice, day + TimeDelta::days(1)));
}
