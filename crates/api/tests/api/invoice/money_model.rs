//! Random operations against a model of the rules.
//!
//! One client at a time, every answer is compared with the model's: outcome, code, status, sums.
//! Several at once, what came out must keep the invariants: no update lost, no number skipped, sums
//! that agree, history that explains the state. Failures shrink, and are kept in
//! `proptest-regressions/`.

pub(crate) mod model;

use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::invoice::money::Desk;
use crate::support::{Answer, TestApp};
use model::{Cents, Doc, Line, Status};

/// Histories and their length: 10,000 operations in all.
const ALONE: (u32, usize) = (60, 100);
const TOGETHER: (u32, usize) = (20, 200);
const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Create { draft: bool, lines: Vec<Line> },
    Edit { at: usize, lines: Vec<Line> },
    Issue(usize),
    Cancel(usize),
    Pay(usize, Cents),
    PayRest(usize),
    Refund(usize, Cents),
    Reverse(usize, usize),
    Credit(usize, Vec<Line>),
    CreditAll(usize),
    Apply(usize, usize),
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = (
        1_i64..4,
        0_i64..5_000,
        prop_oneof![Just(0), Just(7), Just(19)],
    );
    prop::collection::vec(line, 1..4)
}

fn op() -> impl Strategy<Value = Op> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    prop_oneof![
        3 => (any::<bool>(), lines()).prop_map(|(draft, lines)| Op::Create { draft, lines }),
        1 => (at(), lines()).prop_map(|(at, lines)| Op::Edit { at, lines }),
        2 => at().prop_map(Op::Issue),
        1 => at().prop_map(Op::Cancel),
        6 => (at(), 1_i64..6_000).prop_map(|(at, amount)| Op::Pay(at, amount)),
        2 => at().prop_map(Op::PayRest),
        3 => (at(), 1_i64..6_000).prop_map(|(at, amount)| Op::Refund(at, amount)),
        3 => (at(), 0_usize..6).prop_map(|(at, nth)| Op::Reverse(at, nth)),
        2 => (at(), lines()).prop_map(|(at, lines)| Op::Credit(at, lines)),
        1 => at().prop_map(Op::CreditAll),
        3 => (at(), at()).prop_map(|(note, to)| Op::Apply(note, to)),
    ]
}

fn show(cents: Cents) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

fn lines_json(lines: &[Line]) -> Value {
    let line = |(quantity, price, rate): &Line| {
        json!({"description": "x", "quantity": quantity, "unit_price": show(*price),
            "tax_rate": format!("0.{rate:02}")})
    };
    lines.iter().map(line).collect()
}

fn document(draft: bool, lines: &[Line]) -> Value {
    json!({"currency": "EUR", "status": if draft { "draft" } else { "issued" },
        "customer": {"external_id": "c", "name": "C"}, "lines": lines_json(lines)})
}

fn reference(nth: usize) -> String {
    format!("ref-{nth}")
}

/// What an operation came to: the answer, and what the model says.
struct Ran {
    answer: Answer,
    expected: Result<usize, &'static str>,
}

/// One client with the model beside it.
struct Alone {
    desk: Desk,
    docs: Vec<Doc>,
}

impl Alone {
    fn at(&self, index: usize) -> usize {
        index % self.docs.len()
    }

    async fn step(&self, at: usize, step: &str, body: Value) -> Answer {
        let id = json!({"id": self.docs[at].id});
        self.desk.step(&id, step, body).await
    }

    async fn payment_id(&self, at: usize, nth: usize) -> String {
        let id = json!({"id": self.docs[at].id});
        let read = self.desk.read(&id).await.is(200);
        match read["payments"][nth]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => uuid::Uuid::now_v7().to_string(),
        }
    }

    async fn run(&mut self, nth: usize, op: &Op) -> Ran {
        let money = |amount: Cents| json!({"reference": reference(nth), "amount": show(amount)});
        match op {
            Op::Create { draft, lines } => {
                let key = &self.desk.tenant.key;
                let document = document(*draft, lines);
                let answer = self.desk.app.create("/v1/invoices", key, &document).await;
                let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
                self.docs.push(Doc::new(id, *draft, false, lines.clone()));
                let expected = Ok(self.docs.len() - 1);
                Ran { answer, expected }
            }
            Op::Edit { at, lines } => {
                let at = self.at(*at);
                let id = json!({"id": self.docs[at].id});
                let body = json!({"lines": lines_json(lines)});
                let answer = self.desk.patch(&id, &body, "").await;
                let expected = self.docs[at].edit(lines.clone()).map(|()| at);
                Ran { answer, expected }
            }
            Op::Issue(at) => {
                let at = self.at(*at);
                let answer = self.step(at, "issue", Value::Null).await;
                let expected = self.docs[at].issue().map(|()| at);
                Ran { answer, expected }
            }
            Op::Cancel(at) => {
                let at = self.at(*at);
                let answer = self.step(at, "cancel", Value::Null).await;
                let expected = self.docs[at].cancel().map(|()| at);
                Ran { answer, expected }
            }
            Op::Pay(at, amount) => {
                let at = self.at(*at);
                let answer = self.step(at, "payments", money(*amount)).await;
                let expected = self.docs[at].pay(*amount).map(|()| at);
                Ran { answer, expected }
            }
            Op::PayRest(at) => {
                let at = self.at(*at);
                let rest = self.docs[at].due().max(1);
                let answer = self.step(at, "payments", money(rest)).await;
                let expected = self.docs[at].pay(rest).map(|()| at);
                Ran { answer, expected }
            }
            Op::Refund(at, amount) => {
                let at = self.at(*at);
                let answer = self.step(at, "refunds", money(*amount)).await;
                let expected = self.refund(at, *amount).map(|()| at);
                Ran { answer, expected }
            }
            Op::Reverse(at, payment) => {
                let at = self.at(*at);
                let id = self.payment_id(at, *payment).await;
                let step = format!("payments/{id}/reverse");
                let answer = self.step(at, &step, Value::Null).await;
                let expected = self.docs[at].reverse(*payment).map(|()| at);
                Ran { answer, expected }
            }
            Op::Credit(at, lines) => {
                let at = self.at(*at);
                let body = json!({"lines": lines_json(lines)});
                let answer = self.step(at, "credit-notes", body).await;
                let expected = self.credit(at, lines.clone(), &answer);
                Ran { answer, expected }
            }
            Op::CreditAll(at) => {
                let at = self.at(*at);
                let answer = self.step(at, "credit-notes", Value::Null).await;
                let expected = self.credit(at, self.docs[at].lines.clone(), &answer);
                Ran { answer, expected }
            }
            Op::Apply(note, to) => {
                let (note, to) = (self.at(*note), self.at(*to));
                let body = json!({"invoice_id": self.docs[to].id});
                let answer = self.step(note, "apply", body).await;
                let mut target = self.docs[to].clone();
                let mut of = self.docs[note].clone();
                let expected = of.apply(&mut target).map(|()| note);
                if expected.is_ok() {
                    (self.docs[note], self.docs[to]) = (of, target);
                }
                Ran { answer, expected }
            }
        }
    }

    fn refund(&mut self, at: usize, amount: Cents) -> Result<(), &'static str> {
        let Some(of) = self.docs[at].of else {
            return self.docs[at].refund(amount);
        };
        let mut note = self.docs[at].clone();
        self.docs[of].pay_out(&mut note, amount)?;
        self.docs[at] = note;
        Ok(())
    }

    fn credit(
        &mut self,
        at: usize,
        lines: Vec<Line>,
        answer: &Answer,
    ) -> Result<usize, &'static str> {
        let mut note = self.docs[at].credit(lines)?;
        note.of = Some(at);
        note.id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        self.docs.push(note);
        Ok(self.docs.len() - 1)
    }
}

fn same(doc: &Doc, read: &Value) -> Result<(), TestCaseError> {
    let field = |name: &str| read[name].as_str().unwrap_or_default().to_owned();
    prop_assert_eq!(field("status"), doc.status.name(), "{:?}", doc);
    prop_assert_eq!(field("total"), show(doc.total()));
    prop_assert_eq!(field("amount_paid"), show(doc.paid()));
    prop_assert_eq!(field("amount_due"), show(doc.due()));
    prop_assert_eq!(field("amount_credited"), show(doc.credited));
    prop_assert_eq!(read["version"].as_i64(), Some(doc.version));
    Ok(())
}

fn cents(value: &Value) -> Cents {
    let text = value.as_str().unwrap();
    text.replace('.', "").parse().unwrap()
}

/// What holds of any document, whoever changed it.
fn sound(read: &Value) -> Result<(), TestCaseError> {
    let sum = |list: &str, field: &str| -> Cents {
        let items = read[list].as_array().unwrap();
        items.iter().map(|item| cents(&item[field])).sum()
    };
    let total = sum("lines", "net") + sum("lines", "tax");
    prop_assert_eq!(total, cents(&read["total"]));
    let paid = sum("payments", "amount");
    prop_assert_eq!(paid, cents(&read["amount_paid"]));
    prop_assert!(paid >= 0 && paid <= total);
    let cancelled = read["status"] == Status::Cancelled.name();
    let due = if cancelled { 0 } else { total - paid };
    prop_assert_eq!(due, cents(&read["amount_due"]));
    prop_assert!(cents(&read["amount_credited"]) <= total);
    let status = match read["status"].as_str().unwrap() {
        "draft" => paid == 0 && read["kind"] == "invoice",
        "issued" => paid == 0 && total > 0,
        "partially_paid" => paid > 0 && paid < total,
        "paid" => paid == total,
        _ => paid == 0,
    };
    prop_assert!(status, "{read}");
    Ok(())
}

/// One app for all histories; each has a tenant of its own.
fn desk() -> (&'static Runtime, Desk) {
    static APP: OnceLock<(Runtime, Arc<TestApp>)> = OnceLock::new();
    let (runtime, app) = APP.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let app = runtime.block_on(TestApp::start());
        (runtime, Arc::new(app))
    });
    let desk = runtime.block_on(Desk::at(Arc::clone(app)));
    (runtime, desk)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/money.txt"
        )))),
        ..Config::default()
    })
}

fn history(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let start = Just(Op::Create {
        draft: false,
        lines: vec![(1, 10_000, 0)],
    });
    let rest = prop::collection::vec(op(), length - 1);
    (start, rest).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

#[test]
fn one_client_is_answered_as_the_model_says() {
    let run = |ops: Vec<Op>| {
        let (runtime, desk) = desk();
        let mut alone = Alone {
            desk,
            docs: Vec::new(),
        };
        runtime.block_on(async {
            for (nth, op) in ops.iter().enumerate() {
                let Ran { answer, expected } = alone.run(nth, op).await;
                let body = answer.json();
                match expected {
                    Ok(at) => {
                        prop_assert!(answer.status.is_success(), "{op:?}: {answer}");
                        let told = if body["invoice"].is_object() {
                            &body["invoice"]
                        } else {
                            &body
                        };
                        same(&alone.docs[at], told)?;
                        sound(told)?;
                    }
                    Err(code) => {
                        prop_assert_eq!(body["code"].as_str(), Some(code), "{:?}: {}", op, answer);
                    }
                }
            }
            for doc in &alone.docs {
                let read = alone.desk.read(&json!({"id": doc.id})).await.is(200);
                same(doc, &read)?;
            }
            Ok(())
        })
    };
    runner(ALONE.0).run(&history(ALONE.1), run).unwrap();
}

/// Several clients: each takes the operations whose turn it is, on whatever documents there are by
/// then.
async fn together(desk: &Desk, ops: &[Op]) -> Vec<String> {
    let ids: Arc<Mutex<Vec<String>>> = Arc::default();
    let client = |number: usize| {
        let ids = Arc::clone(&ids);
        async move {
            for (nth, op) in ops.iter().enumerate().skip(number).step_by(CLIENTS) {
                let pick = |index: usize| {
                    let ids = ids.lock().unwrap();
                    (!ids.is_empty()).then(|| json!({"id": ids[index % ids.len()]}))
                };
                let money =
                    |amount: Cents| json!({"reference": reference(nth), "amount": show(amount)});
                let step = async |at: usize, step: &str, body: Value| match pick(at) {
                    Some(id) => Some(desk.step(&id, step, body).await),
                    None => None,
                };
                let answer = match op {
                    Op::Create { draft, lines } => {
                        let (key, document) = (&desk.tenant.key, document(*draft, lines));
                        Some(desk.app.create("/v1/invoices", key, &document).await)
                    }
                    Op::Edit { at, lines } => match pick(*at) {
                        Some(id) => {
                            let body = json!({"lines": lines_json(lines)});
                            Some(desk.patch(&id, &body, "").await)
                        }
                        None => None,
                    },
                    Op::Issue(at) => step(*at, "issue", Value::Null).await,
                    Op::Cancel(at) => step(*at, "cancel", Value::Null).await,
                    Op::Pay(at, amount) => step(*at, "payments", money(*amount)).await,
                    Op::PayRest(at) => step(*at, "payments", money(100)).await,
                    Op::Refund(at, amount) => step(*at, "refunds", money(*amount)).await,
                    Op::Reverse(at, payment) => match pick(*at) {
                        Some(id) => {
                            let read = desk.read(&id).await.is(200);
                            match read["payments"][*payment]["id"].as_str() {
                                Some(payment) => {
                                    let path = format!("payments/{payment}/reverse");
                                    Some(desk.step(&id, &path, Value::Null).await)
                                }
                                None => None,
                            }
                        }
                        None => None,
                    },
                    Op::Credit(at, lines) => {
                        let body = json!({"lines": lines_json(lines)});
                        step(*at, "credit-notes", body).await
                    }
                    Op::CreditAll(at) => step(*at, "credit-notes", Value::Null).await,
                    Op::Apply(note, to) => match pick(*to) {
                        Some(to) => step(*note, "apply", json!({"invoice_id": to["id"]})).await,
                        None => None,
                    },
                };
                let Some(answer) = answer else { continue };
                assert!(answer.status.as_u16() < 500, "{op:?}: {answer}");
                let body = answer.json();
                let made = matches!(op, Op::Create { .. } | Op::Credit(..) | Op::CreditAll(_));
                if made && answer.status == 201 {
                    let id = body["id"].as_str().unwrap().to_owned();
                    ids.lock().unwrap().push(id);
                }
            }
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    Arc::try_unwrap(ids).unwrap().into_inner().unwrap()
}

#[test]
fn several_clients_leave_sound_documents_and_no_gap() {
    let run = |ops: Vec<Op>| {
        let (runtime, desk) = desk();
        runtime.block_on(async {
            let ids = together(&desk, &ops).await;
            let mut numbers = [Vec::new(), Vec::new()];
            for id in &ids {
                let path = format!("/v1/invoices/{id}");
                let read = desk.app.read(&path, &desk.tenant.key).await.is(200);
                sound(&read)?;
                if let Some(number) = read["number"].as_str() {
                    let note = usize::from(read["kind"] == "credit_note");
                    numbers[note].push(number.to_owned());
                }
                let path = format!("{path}/events?limit=100");
                let page = desk.app.read(&path, &desk.tenant.key).await.is(200);
                let events = page["data"].as_array().unwrap();
                // Each change has its version and its event: none was lost.
                let versions: Vec<i64> = events
                    .iter()
                    .map(|event| event["data"]["version"].as_i64().unwrap())
                    .collect();
                let count = i64::try_from(versions.len()).unwrap();
                prop_assert_eq!(&versions, &(1..=count).collect::<Vec<_>>(), "{}", page);
                prop_assert_eq!(read["version"].as_i64(), Some(count));
            }
            for (prefix, mut given) in ["INV", "CN"].into_iter().zip(numbers) {
                given.sort();
                let expected: Vec<String> = (1..=given.len())
                    .map(|n| format!("{prefix}-2026-{n:06}"))
                    .collect();
                prop_assert_eq!(given, expected);
            }
            Ok(())
        })
    };
    runner(TOGETHER.0).run(&history(TOGETHER.1), run).unwrap();
}
