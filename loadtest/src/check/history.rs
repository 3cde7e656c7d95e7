//! What clients did and were answered: the history that is judged.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// What a call asks for. Whatever it makes or changes carries the call's name, so that it is found
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An invoice, with the call's name as `metadata.call`.
    Create {
        /// The customer's external id, where it names one.
        customer: Option<String>,
    },
    /// Lines of one upload, each with `<name>/<line>` as `metadata.call`.
    Upload {
        /// How many.
        lines: u32,
        /// All or nothing.
        atomic: bool,
    },
    /// A draft gets its number.
    Issue(Uuid),
    /// Money comes in; the call's name is the reference.
    Pay(Uuid),
    /// Money goes back; the call's name is the reference.
    Refund(Uuid),
    /// A payment is taken back; the call's name is the reference.
    Reverse(Uuid),
    /// A credit note, with the call's name as `metadata.call`.
    Credit(Uuid),
    /// The call's name becomes `metadata.note`.
    Note(Uuid),
    /// A document is withdrawn.
    Cancel(Uuid),
    /// An archived invoice comes back to the hot tier.
    Recall(Uuid),
    /// An invoice is read.
    Read(Uuid),
    /// An invoice is read with another tenant's credential.
    ReadForeign(Uuid),
    /// A page of invoices is read.
    List,
    /// A customer's personal data is erased.
    Erase {
        /// Its external id.
        customer: String,
        /// Its id.
        id: Uuid,
    },
    /// An API key is made.
    MakeKey,
}

impl What {
    /// The invoice that is changed.
    #[must_use]
    pub fn changes(&self) -> Option<Uuid> {
        match self {
            Self::Issue(id)
            | Self::Pay(id)
            | Self::Refund(id)
            | Self::Reverse(id)
            | Self::Credit(id)
            | Self::Note(id)
            | Self::Cancel(id)
            | Self::Recall(id) => Some(*id),
            _ => None,
        }
    }
}

/// An invoice as an answer showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// Of its bytes.
    pub hash: u64,
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// HTTP status; 0 when there was none: the connection broke, or time was up.
    pub status: u16,
    /// The problem's code, or why there was no answer.
    pub code: String,
    /// `Retry-After` was sent.
    pub retry_after: bool,
    /// The invoices in it.
    pub seen: Vec<Seen>,
    /// Of the whole body.
    pub hash: u64,
}

/// What an answer lets its reader conclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// It was done.
    Done,
    /// It was not done.
    Refused,
    /// Either.
    Unknown,
}

/// One request on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// `X-Request-Id`: events carry it.
    pub request_id: String,
    /// Since the start of the run.
    pub sent: Duration,
    /// The same; when the answer was in.
    pub ended: Duration,
    /// The answer.
    pub answer: Answer,
}

impl Attempt {
    /// What the answer says of the effect. A 503 with `Retry-After` promises that nothing was done,
    /// unless a key makes the question moot.
    #[must_use]
    pub fn conclusion(&self, keyed: bool) -> Conclusion {
        let answer = &self.answer;
        match answer.status {
            200..=299 => Conclusion::Done,
            409 if answer.code == "idempotency_in_progress" => Conclusion::Unknown,
            400..=499 => Conclusion::Refused,
            503 if answer.retry_after && !keyed => Conclusion::Refused,
            _ => Conclusion::Unknown,
        }
    }
}

/// A call and all its attempts, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Unique in the run.
    pub name: String,
    /// Index of the tenant.
    pub tenant: usize,
    /// What was asked for.
    pub what: What,
    /// Sent with an `Idempotency-Key`, the same for all attempts.
    pub keyed: bool,
    /// Two attempts were sent at once.
    pub doubled: bool,
    /// At least one.
    pub attempts: Vec<Attempt>,
}

impl Call {
    /// What follows from all answers. With a key, one final answer stands for all attempts.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        let all = || {
            self.attempts
                .iter()
                .map(|attempt| attempt.conclusion(self.keyed))
        };
        if all().any(|one| one == Conclusion::Done) {
            Conclusion::Done
        } else if all().all(|one| one == Conclusion::Refused)
            || self.keyed && all().next_back() == Some(Conclusion::Refused) && !self.doubled
        {
            Conclusion::Refused
        } else {
            Conclusion::Unknown
        }
    }

    /// When the first attempt was sent.
    #[must_use]
    pub fn sent(&self) -> Duration {
        self.attempts
            .iter()
            .map(|attempt| attempt.sent)
            .min()
            .unwrap_or_default()
    }

    /// When the first attempt that was done had its answer.
    #[must_use]
    pub fn done(&self) -> Option<Duration> {
        let done = |attempt: &&Attempt| attempt.conclusion(self.keyed) == Conclusion::Done;
        self.attempts
            .iter()
            .filter(done)
            .map(|attempt| attempt.ended)
            .min()
    }
}

/// A hash that is the same for the same bytes within one run.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The code of an answer that tells an API key's secret.
pub const SECRET: &str = "secret";

/// The answer to a call that makes an API key: the hash of all but the secret, and whether that is
/// told. The secret is not kept, so an answer that is given again has none; all else is the same.
#[must_use]
pub fn key_answer(mut body: serde_json::Value) -> (u64, bool) {
    let secret = body.as_object_mut().and_then(|key| key.remove("api_key"));
    let is_told = secret.is_some_and(|secret| !secret.is_null());
    (hash(body.to_string().as_bytes()), is_told)
}

/// What an answer may be: an invoice, something with invoices in it, or a problem.
#[derive(Deserialize, Default)]
struct Envelope<'a> {
    id: Option<Uuid>,
    version: Option<i64>,
    code: Option<String>,
    #[serde(borrow)]
    lines: Option<&'a RawValue>,
    #[serde(borrow)]
    invoice: Option<&'a RawValue>,
    #[serde(borrow)]
    credit_note: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The raw text of the invoices in an answer, and the problem's code.
#[must_use]
pub fn read(body: &[u8]) -> (Vec<(Seen, String)>, Option<String>) {
    let Ok(text) = std::str::from_utf8(body) else {
        return (Vec::new(), None);
    };
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
        return (Vec::new(), None);
    };
    let mut found = Vec::new();
    let mut take = |text: &str, envelope: &Envelope<'_>| {
        if let (Some(id), Some(version), Some(_)) = (envelope.id, envelope.version, envelope.lines)
        {
            let hash = hash(text.as_bytes());
            found.push((Seen { id, version, hash }, text.to_owned()));
        }
    };
    take(text, &envelope);
    let data = envelope
        .data
        .map(|data| serde_json::from_str::<Vec<&RawValue>>(data.get()));
    let data = data.and_then(Result::ok).unwrap_or_default();
    let inner = [envelope.invoice, envelope.credit_note]
        .into_iter()
        .flatten()
        .chain(data);
    for raw in inner {
        if let Ok(envelope) = serde_json::from_str(raw.get()) {
            take(raw.get(), &envelope);
        }
    }
    (found, envelope.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(status: u16, code: &str, retry_after: bool) -> Attempt {
        let (code, seen) = (code.to_owned(), Vec::new());
        let answer = Answer {
            status,
            code,
            retry_after,
            seen,
            hash: 0,
        };
        let (sent, ended) = Default::default();
        Attempt {
            request_id: String::new(),
            sent,
            ended,
            answer,
        }
    }

    fn call(keyed: bool, attempts: Vec<Attempt>) -> Call {
        let what = What::MakeKey;
        Call {
            name: String::new(),
            tenant: 0,
            what,
            keyed,
            doubled: false,
            attempts,
        }
    }

    #[test]
    fn a_final_answer_with_a_key_stands_for_lost_ones() {
        let lost = || attempt(0, "timeout", false);
        let refused = || attempt(409, "invoice_cancelled", false);
        assert_eq!(
            call(true, vec![lost(), refused()]).conclusion(),
            Conclusion::Refused
        );
        assert_eq!(
            call(false, vec![lost(), refused()]).conclusion(),
            Conclusion::Unknown
        );
        assert_eq!(
            call(true, vec![refused(), lost()]).conclusion(),
            Conclusion::Unknown
        );
        let done = attempt(201, "", false);
        assert_eq!(
            call(true, vec![lost(), done]).conclusion(),
            Conclusion::Done
        );
    }

    #[test]
    fn busy_without_a_key_promises_that_nothing_was_done() {
        let busy = || attempt(503, "busy", true);
        assert_eq!(call(false, vec![busy()]).conclusion(), Conclusion::Refused);
        assert_eq!(call(true, vec![busy()]).conclusion(), Conclusion::Unknown);
        let unknown = attempt(503, "outcome_unknown", false);
        assert_eq!(call(false, vec![unknown]).conclusion(), Conclusion::Unknown);
    }

    #[test]
    fn a_secret_is_told_once_and_all_else_again() {
        let key = |secret: serde_json::Value| {
            key_answer(serde_json::json!({"id": "k", "api_key": secret, "role": "admin"}))
        };
        let (first, told) = key("shf_1".into());
        let (again, told_again) = key(serde_json::Value::Null);
        assert_eq!((first, told, told_again), (again, true, false));
        let without = serde_json::json!({"id": "k", "role": "admin"});
        assert_eq!(key_answer(without), (first, false));
        let other = serde_json::json!({"id": "l", "role": "admin"});
        assert_ne!(key_answer(other).0, first);
    }

    #[test]
    fn invoices_are_found_wherever_an_answer_has_them() {
        let id = Uuid::from_u128(7);
        let invoice = format!(r#"{{"id":"{id}","version":3,"lines":[]}}"#);
        let wanted = Seen {
            id,
            version: 3,
            hash: hash(invoice.as_bytes()),
        };
        for body in [
            invoice.clone(),
            format!(r#"{{"id":"{id}","kind":"payment","invoice":{invoice}}}"#),
            format!(r#"{{"data":[{invoice}],"has_more":false}}"#),
        ] {
            let (found, _) = read(body.as_bytes());
            let found: Vec<Seen> = found.into_iter().map(|(seen, _)| seen).collect();
            assert_eq!(found, std::slice::from_ref(&wanted), "{body}");
        }
        assert_eq!(read(br#"{"code":"busy"}"#).1.as_deref(), Some("busy"));
    }
}
