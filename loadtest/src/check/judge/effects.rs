//! What was done is there once; what was refused is not there; what is unknown is there at most
//! once.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Notes;
use crate::check::history::{Call, Conclusion, What};
use crate::check::stored::Stored;

/// An archived invoice came back to the hot tier.
pub(super) const RECALLED: &str = "invoice.recalled";

/// Where the traces of calls are found.
struct Traces<'a> {
    /// Documents by `metadata.call`.
    made: BTreeMap<&'a str, Vec<Uuid>>,
    /// Payments by invoice and reference.
    payments: BTreeMap<(Uuid, &'a str), usize>,
    /// Events by subject and by the request that caused them.
    events: BTreeMap<(Uuid, &'a str), usize>,
}

impl<'a> Traces<'a> {
    fn of(stored: &'a Stored) -> Self {
        let mut traces = Self {
            made: BTreeMap::new(),
            payments: BTreeMap::new(),
            events: BTreeMap::new(),
        };
        for (id, document) in &stored.documents {
            let body = &document.body;
            if let Some(call) = body["metadata"]["call"].as_str() {
                traces.made.entry(call).or_default().push(*id);
            }
            for payment in body["payments"].as_array().map_or(&[][..], Vec::as_slice) {
                let reference = payment["reference"].as_str().unwrap_or_default();
                *traces.payments.entry((*id, reference)).or_default() += 1;
            }
            // Whatever changes an archived invoice brings it back first, with an event of that.
            for event in document
                .events
                .iter()
                .filter(|event| event["event_type"] != RECALLED)
            {
                let cause = event["request_id"].as_str().unwrap_or_default();
                *traces.events.entry((*id, cause)).or_default() += 1;
            }
        }
        traces
    }

    /// Events on an invoice that the attempts of a call caused.
    fn caused(&self, id: Uuid, call: &Call) -> usize {
        let of = |request: &str| self.events.get(&(id, request)).copied().unwrap_or_default();
        call.attempts
            .iter()
            .map(|attempt| of(&attempt.request_id))
            .sum()
    }
}

pub(super) fn judge(calls: &[&Call], stored: &Stored, notes: &mut Notes) {
    let traces = Traces::of(stored);
    for call in calls {
        match &call.what {
            What::Create { .. } | What::Credit(_) => made(call, &call.name, &traces, notes),
            What::Upload { lines, .. } => upload(call, *lines, &traces, notes),
            _ => {}
        }
        if let Some(id) = call.what.changes() {
            let count = traces.caused(id, call);
            // What changes nothing, such as a recall of what is hot, needs no event.
            let idle = matches!(call.what, What::Recall(_) | What::Note(_));
            told(call, "event", count, idle, notes);
        }
        if let What::Pay(id) | What::Refund(id) | What::Reverse(id) = call.what {
            let count = traces
                .payments
                .get(&(id, call.name.as_str()))
                .copied()
                .unwrap_or_default();
            told(call, "payment", count, false, notes);
        }
    }
}

/// Compares how often something is there with what was answered.
fn told(call: &Call, noun: &str, count: usize, idle: bool, notes: &mut Notes) {
    let text = || format!("{} ({:?}): {count} times a {noun}", call.name, call.what);
    match (call.conclusion(), count) {
        (Conclusion::Done, 0) if !idle => notes.add("lost", text()),
        (Conclusion::Refused, 1..) => notes.add("refused_but_done", text()),
        (_, 2..) => notes.add("doubled", text()),
        _ => {}
    }
}

fn made(call: &Call, name: &str, traces: &Traces<'_>, notes: &mut Notes) {
    let found = traces.made.get(name).map_or(&[][..], Vec::as_slice);
    told(call, "document", found.len(), false, notes);
    let answered = call
        .attempts
        .iter()
        .flat_map(|attempt| &attempt.answer.seen);
    for seen in answered.filter(|_| !found.is_empty()) {
        if !found.contains(&seen.id) {
            let text = format!(
                "{}: invoice {} was answered, {found:?} is there",
                call.name, seen.id
            );
            notes.add("lost", text);
        }
    }
}

fn upload(call: &Call, lines: u32, traces: &Traces<'_>, notes: &mut Notes) {
    let summary = call
        .attempts
        .iter()
        .rev()
        .find(|one| one.answer.status == 200);
    let all = format!("received={lines} rejected=0");
    let complete = summary.is_some_and(|one| one.answer.code == all);
    let mut there = 0;
    for line in 0..lines {
        let name = format!("{}/{line}", call.name);
        let count = traces.made.get(name.as_str()).map_or(0, Vec::len);
        there += u32::from(count > 0);
        let text = || format!("{name} of {:?}: {count} times a document", call.what);
        match (call.conclusion(), count) {
            (Conclusion::Done, 0) if complete => notes.add("lost", text()),
            (_, 2..) => notes.add("doubled", text()),
            _ => {}
        }
    }
    let atomic = call.what
        == What::Upload {
            lines,
            atomic: true,
        };
    if atomic && there != 0 && there != lines {
        notes.add(
            "torn",
            format!(
                "{}: {there} of {lines} lines of an atomic upload",
                call.name
            ),
        );
    }
    if atomic && call.conclusion() == Conclusion::Refused && there != 0 {
        notes.add(
            "refused_but_done",
            format!("{}: {there} lines are there", call.name),
        );
    }
}
