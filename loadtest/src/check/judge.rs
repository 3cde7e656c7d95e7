//! Whether a history is possible: what clients were answered, against what is there in the end.
//!
//! It knows the contract and nothing of the server: no line is shared with it. Each rule names a
//! *kind* of violation; a report counts them by kind.

mod bystanders;
mod effects;
mod numbers;
mod order;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::history::{Attempt, Call, Conclusion, SECRET, What};
use super::stored::Stored;
use super::{documents, money};

pub(crate) use bystanders::{Calm, bystanders};

/// Something that cannot have happened in a system that keeps its promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// Which promise: `lost`, `doubled`, ...
    pub kind: &'static str,
    /// What was seen, with the names of the calls.
    pub text: String,
}

/// Notes violations.
#[derive(Default)]
pub(super) struct Notes(Vec<Violation>);

impl Notes {
    fn add(&mut self, kind: &'static str, text: String) {
        self.0.push(Violation { kind, text });
    }
}

/// All that is impossible in this history; empty when it is fine.
#[must_use]
pub fn judge(calls: &[Call], stored: &[Stored]) -> Vec<Violation> {
    let mut notes = Notes::default();
    answers(calls, &mut notes);
    order::judge(calls, stored, &mut notes);
    for (tenant, stored) in stored.iter().enumerate() {
        let calls: Vec<&Call> = calls.iter().filter(|call| call.tenant == tenant).collect();
        for fault in &stored.faults {
            notes.add("unreadable", fault.clone());
        }
        effects::judge(&calls, stored, &mut notes);
        numbers::judge(stored, &mut notes);
        documents_of(stored, &mut notes);
        events_of(&calls, stored, &mut notes);
        erasures(&calls, stored, &mut notes);
    }
    notes.0
}

/// Answers that are wrong by themselves.
fn answers(calls: &[Call], notes: &mut Notes) {
    for call in calls {
        for attempt in &call.attempts {
            let answer = &attempt.answer;
            let known = ["outcome_unknown"].contains(&answer.code.as_str());
            if answer.status >= 500 && !matches!(answer.status, 502..=504) && !known {
                let text = format!(
                    "{} ({:?}) was answered {}",
                    call.name, call.what, answer.status
                );
                notes.add("server_error", format!("{text} {}", answer.code));
            }
            if answer.code == "timeout" {
                notes.add(
                    "hang",
                    format!("{} ({:?}) was not answered", call.name, call.what),
                );
            }
        }
        if let What::ReadForeign(id) = call.what
            && let Some(attempt) = call
                .attempts
                .iter()
                .find(|one| one.answer.status < 400 && one.answer.status > 0)
        {
            let text = format!(
                "{} read {id} of another tenant: {}",
                call.name, attempt.answer.status
            );
            notes.add("foreign_row", text);
        }
        replays(call, notes);
    }
}

/// One key, one answer.
fn replays(call: &Call, notes: &mut Notes) {
    let done = call
        .attempts
        .iter()
        .filter(|one| (200..300).contains(&one.answer.status));
    let mut answers: Vec<u64> = done.map(|one| one.answer.hash).collect();
    answers.sort_unstable();
    answers.dedup();
    let attempts = call.attempts.iter();
    let secrets = attempts.filter(|one| one.answer.code == SECRET).count();
    if secrets > 1 {
        notes.add(
            "secret_again",
            format!("{}: its secret was told {secrets} times", call.name),
        );
    }
    if call.keyed && answers.len() > 1 {
        notes.add(
            "replay_differs",
            format!("{}: one key, {} answers", call.name, answers.len()),
        );
    }
}

/// What each document says of itself and of others.
fn documents_of(stored: &Stored, notes: &mut Notes) {
    let mut credited: BTreeMap<&str, rust_decimal::Decimal> = BTreeMap::new();
    for document in stored.documents.values() {
        let body = &document.body;
        for fault in money::faults(body) {
            notes.add("sum_off", format!("invoice {}: {fault}", document.seen.id));
        }
        if body["tenant_id"] != stored.tenant.to_string() {
            notes.add(
                "foreign_row",
                format!("invoice {} is of {}", document.seen.id, body["tenant_id"]),
            );
        }
        if let Some(of) = body["credits"]
            .as_str()
            .filter(|_| body["status"] != "cancelled")
        {
            *credited.entry(of).or_default() += money::amount(body, "total").unwrap_or_default();
        }
    }
    for document in stored.documents.values() {
        let body = &document.body;
        let by_notes = body["id"]
            .as_str()
            .and_then(|id| credited.get(id))
            .copied()
            .unwrap_or_default();
        let told = money::amount(body, "amount_credited").unwrap_or_default();
        let total = money::amount(body, "total").unwrap_or_default();
        if told != by_notes || told > total {
            let text = format!(
                "invoice {}: credited {told} of {total}, by notes {by_notes}",
                document.seen.id
            );
            notes.add("credit_off", text);
        }
    }
}

/// Every version has its event, and the feed has each event of a hot invoice once.
fn events_of(calls: &[&Call], stored: &Stored, notes: &mut Notes) {
    let times = Times::of(calls);
    let mut fed: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &stored.feed {
        *fed.entry(event["id"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    for (id, times) in fed.iter().filter(|(_, times)| **times > 1) {
        notes.add(
            "event_doubled",
            format!("the feed has event {id} {times} times"),
        );
    }
    for document in stored.documents.values() {
        let id = document.seen.id;
        let versions: Vec<i64> = document
            .events
            .iter()
            .filter_map(|e| e["data"]["version"].as_i64())
            .collect();
        for version in 2..=document.seen.version {
            if !versions.contains(&version) {
                notes.add(
                    "event_missing",
                    format!("invoice {id}: version {version} has no event"),
                );
            }
        }
        if document.events.is_empty() {
            notes.add("event_missing", format!("invoice {id} has no event"));
        }
        // What was archived has left the feed, also when it has come back.
        let fed_still = document.events.iter().filter(|_| !document.cold);
        for event in fed_still.filter(|event| times.is_after_recalls(event, &document.events)) {
            let event_id = event["id"].as_str().unwrap_or_default();
            if !fed.contains_key(event_id) {
                notes.add(
                    "event_missing",
                    format!("invoice {id}: the feed lacks event {event_id}"),
                );
            }
        }
    }
}

/// When requests were sent and answered, by the clients' clock: the servers' clocks step, and
/// events carry those.
struct Times<'a>(BTreeMap<&'a str, (Duration, Duration)>);

impl<'a> Times<'a> {
    fn of(calls: &[&'a Call]) -> Self {
        let attempts = calls.iter().flat_map(|call| &call.attempts);
        let time = |one: &'a Attempt| (one.request_id.as_str(), (one.sent, one.ended));
        Self(attempts.map(time).collect())
    }

    /// Whether the event came after all recalls of its invoice, or with one, for certain.
    fn is_after_recalls(&self, event: &Value, all: &[Value]) -> bool {
        let mut recalls = all
            .iter()
            .filter(|one| one["event_type"] == effects::RECALLED);
        recalls.all(|recall| {
            let (of_event, of_recall) = (request_of(event), request_of(recall));
            let times = (self.0.get(of_event), self.0.get(of_recall));
            of_event == of_recall
                || matches!(times, (Some((sent, _)), Some((_, ended))) if sent >= ended)
        })
    }
}

fn request_of(event: &Value) -> &str {
    event["request_id"].as_str().unwrap_or_default()
}

/// An erasure that is complete, or that an operator's run has met, left no name behind.
fn erasures(calls: &[&Call], stored: &Stored, notes: &mut Notes) {
    for call in calls {
        let What::Erase { customer, id } = &call.what else {
            continue;
        };
        let is_swept = stored.swept && call.conclusion() == Conclusion::Done;
        if !is_swept && stored.receipts.get(id).map(String::as_str) != Some("complete") {
            continue;
        }
        let name = documents::person(customer);
        let holds = |value: &Value| value.to_string().contains(&format!("\"{name}\""));
        for document in stored.documents.values() {
            // A later call that names the customer makes it again.
            let of_it = document.body["customer_id"] == id.to_string();
            if of_it && (holds(&document.body) || document.events.iter().any(holds)) {
                let text = format!(
                    "{}: invoice {} still names {name}",
                    call.name, document.seen.id
                );
                notes.add("erased_name_left", text);
            }
        }
    }
}

#[cfg(test)]
mod tests;
