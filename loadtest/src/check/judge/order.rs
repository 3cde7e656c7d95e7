//! What was answered before a request was sent is not forgotten by its answer; one version has one
//! body.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::Notes;
use crate::check::history::{Call, Conclusion, What};
use crate::check::stored::Stored;

/// What is known of one invoice: answers in the order in which they came.
#[derive(Default)]
struct Invoice<'a> {
    /// When an answer was in, the highest version answered until then, and by which call.
    known: Vec<(Duration, i64, &'a str)>,
    /// The body's hash of each version, and the call that answered it.
    bodies: BTreeMap<i64, (u64, &'a str)>,
    /// Which change made a version.
    made: BTreeMap<i64, &'a str>,
}

impl<'a> Invoice<'a> {
    /// The highest version that was answered before this moment.
    fn before(&self, sent: Duration) -> Option<(i64, &'a str)> {
        let until = self.known.partition_point(|(ended, ..)| *ended < sent);
        until
            .checked_sub(1)
            .map(|last| (self.known[last].1, self.known[last].2))
    }

    fn body(&mut self, id: Uuid, version: i64, hash: u64, by: &'a str, notes: &mut Notes) {
        let (first, told) = *self.bodies.entry(version).or_insert((hash, by));
        if first != hash {
            let text =
                format!("invoice {id}, version {version}: {told} and {by} saw different bytes");
            notes.add("body_differs", text);
        }
    }
}

pub(super) fn judge(calls: &[Call], stored: &[Stored], notes: &mut Notes) {
    let mut invoices: BTreeMap<Uuid, Invoice<'_>> = BTreeMap::new();
    let answers = calls
        .iter()
        .flat_map(|call| call.attempts.iter().map(move |attempt| (call, attempt)));
    let mut answers: Vec<_> = answers
        .filter(|(_, attempt)| !attempt.answer.seen.is_empty())
        .collect();
    answers.sort_by_key(|(_, attempt)| attempt.ended);
    for (call, attempt) in &answers {
        for seen in &attempt.answer.seen {
            let invoice = invoices.entry(seen.id).or_default();
            let highest = invoice
                .known
                .last()
                .map_or(0, |(_, version, _)| *version)
                .max(seen.version);
            invoice.known.push((attempt.ended, highest, &call.name));
            invoice.body(seen.id, seen.version, seen.hash, &call.name, notes);
            if call.what.changes() == Some(seen.id) && !idle(&call.what) {
                let by = *invoice.made.entry(seen.version).or_insert(&call.name);
                if by != call.name {
                    let text = format!(
                        "invoice {}, version {}: {by} and {}",
                        seen.id, seen.version, call.name
                    );
                    notes.add("lost_update", text);
                }
            }
        }
    }
    for call in calls {
        reads(call, &invoices, notes);
    }
    for stored in stored {
        for (id, document) in &stored.documents {
            if let Some(invoice) = invoices.get_mut(id) {
                let seen = &document.seen;
                invoice.body(*id, seen.version, seen.hash, "the end", notes);
                let highest = invoice.known.last().map_or(0, |(_, version, _)| *version);
                if seen.version < highest {
                    let text = format!(
                        "invoice {id} ends at version {}, {highest} was told",
                        seen.version
                    );
                    notes.add("lost", text);
                }
            }
        }
    }
    let there = |id: &Uuid| {
        stored
            .iter()
            .any(|stored| stored.documents.contains_key(id))
    };
    for (id, invoice) in invoices.iter().filter(|(id, _)| !there(id)) {
        let by = invoice.known.last().map_or("", |(.., by)| *by);
        notes.add(
            "lost",
            format!("invoice {id} was told to {by}, and is not there in the end"),
        );
    }
}

/// Changes that may leave the version as it is.
fn idle(what: &What) -> bool {
    matches!(what, What::Recall(_) | What::Note(_))
}

/// A read shows at least what was answered before it was sent.
fn reads(call: &Call, invoices: &BTreeMap<Uuid, Invoice<'_>>, notes: &mut Notes) {
    for attempt in &call.attempts {
        if let What::Read(id) = call.what
            && attempt.answer.status == 404
            && let Some((version, by)) = invoices.get(&id).and_then(|one| one.before(attempt.sent))
        {
            let text = format!(
                "{}: invoice {id} is not found, {by} was told version {version}",
                call.name
            );
            notes.add("lost", text);
        }
        if attempt.conclusion(call.keyed) != Conclusion::Done || call.keyed {
            // With a key it may be an answer of before, once more.
            continue;
        }
        for seen in &attempt.answer.seen {
            let before = invoices
                .get(&seen.id)
                .and_then(|one| one.before(attempt.sent));
            if let Some((version, by)) = before.filter(|(version, _)| seen.version < *version) {
                let text = format!(
                    "{}: invoice {} has version {}, {by} was told {version} before",
                    call.name, seen.id, seen.version
                );
                notes.add("stale_read", text);
            }
        }
    }
}
