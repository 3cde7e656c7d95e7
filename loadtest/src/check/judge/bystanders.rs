//! A tenant without an archive does not notice that others' archives break, nor what operators do
//! with them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Violation;
use crate::check::faults::Inflicted;
use crate::check::history::{Call, What};

/// The part of a run in which nothing broke that may hurt this tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calm {
    /// Index of the tenant.
    pub(crate) tenant: usize,
    /// Since the start of the run.
    pub(crate) from: Duration,
    /// The same.
    pub(crate) until: Duration,
}

/// Calls of the tenant that failed all the same.
pub(crate) fn bystanders(calls: &[Call], calm: &Calm, inflicted: &[Inflicted]) -> Vec<Violation> {
    let mut found = Vec::new();
    let own = calls
        .iter()
        // A foreign read is sent with another tenant's key.
        .filter(|call| call.tenant == calm.tenant && !matches!(call.what, What::ReadForeign(_)));
    for call in own {
        for attempt in &call.attempts {
            let answer = &attempt.answer;
            // A connection that breaks may be one of a server that was killed long before; uploads
            // are broken off by clients.
            let unanswered = answer.code == "timeout" || answer.code.starts_with("cannot connect");
            let failed = answer.status >= 500 || answer.status == 0 && unanswered;
            let is_calm = calm.from <= attempt.sent && attempt.ended <= calm.until;
            if !is_calm || !failed {
                continue;
            }
            let beside: BTreeSet<&str> = inflicted
                .iter()
                .filter(|one| one.begun <= attempt.ended && one.ended >= attempt.sent)
                .map(|one| one.name.as_str())
                .collect();
            let text = format!(
                "{} ({:?}) of a tenant without an archive was answered {} {} beside {beside:?}",
                call.name, call.what, answer.status, answer.code
            );
            found.push(Violation {
                kind: "bystander_hurt",
                text,
            });
        }
    }
    found
}
