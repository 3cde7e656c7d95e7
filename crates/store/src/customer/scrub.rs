//! Taking a customer's personal data out of an invoice and its history. Figures, dates, the country
//! and the customer's id stay: books must go on to add up, and tell whose documents belong
//! together.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sheaf_model::{Customer, id};
use uuid::Uuid;

use super::Cause;
use crate::cold::archive::ArchivedInvoice;
use crate::event::row::EventRow;

/// What stands in the place of a name.
pub const ERASED_NAME: &str = "[erased]";

/// Whether nothing personal is left in it.
pub fn is_erased(customer: &Customer) -> bool {
    customer.name == ERASED_NAME
        && customer.external_id.is_none()
        && customer.email.is_none()
        && customer.tax_id.is_none()
        && customer.address.is_none()
}

/// Takes the personal data of `customer` out of an invoice and its history. True when there was
/// any: the version counts the change then, and an event tells of it.
pub fn scrub(row: &mut ArchivedInvoice, customer: Uuid, cause: &Cause) -> bool {
    let mut changed = false;
    if row.invoice.customer_id == Some(customer)
        && let Some(shown) = &mut row.invoice.customer
        && !is_erased(shown)
    {
        *shown = Customer {
            name: ERASED_NAME.to_owned(),
            country: shown.country.take(),
            ..Customer::default()
        };
        changed = true;
    }
    changed |= scrub_events(&mut row.events, row.invoice.customer_id, customer);
    if changed {
        row.invoice.version += 1;
        row.events.push(told(row.invoice.version, cause));
    }
    changed
}

/// The type of the event that tells of it.
pub(super) const EVENT_TYPE: &str = "invoice.customer_erased";

/// Its data.
pub(super) fn told_data(version: i64) -> String {
    format!("{{\"version\": {version}}}")
}

fn told(version: i64, cause: &Cause) -> EventRow {
    let (origin, trace) = (&cause.origin, &cause.origin.trace);
    EventRow {
        id: id::precise_id(cause.at),
        event_type: EVENT_TYPE.to_owned(),
        actor: origin.actor.to_string(),
        request_id: Some(origin.request_id.to_string()),
        data: told_data(version),
        created_at: cause.at,
        correlation_id: trace.correlation_id.as_deref().map(str::to_owned),
        causation_id: trace.causation_id.as_deref().map(str::to_owned),
    }
}

/// Takes the personal data of `customer` out of a history, which ends with an invoice of `owner`.
/// Whose data an event tells of is known by going back: a draft may have been another customer's
/// before.
pub fn scrub_events(events: &mut [EventRow], owner: Option<Uuid>, customer: Uuid) -> bool {
    let id = customer.to_string();
    if owner != Some(customer) && !events.iter().any(|event| event.data.contains(&id)) {
        return false;
    }
    let (mut changed, mut owner) = (false, owner);
    for event in events.iter_mut().rev() {
        let (data, before) = scrubbed(&event.data, owner, customer);
        if let Some(data) = data {
            event.data = data;
            changed = true;
        }
        owner = before;
    }
    changed
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn object(json: &str) -> Option<Object<'_>> {
    serde_json::from_str(json).ok()
}

/// A customer as events write it.
#[derive(Deserialize)]
struct Shown {
    name: Option<String>,
    email: Option<String>,
    tax_id: Option<String>,
    address: Option<String>,
    country: Option<String>,
    external_id: Option<String>,
}

/// The event without the customer's data, if there is any in it, and whose the invoice was before.
/// Everything else keeps its text.
fn scrubbed(data: &str, owner: Option<Uuid>, customer: Uuid) -> (Option<String>, Option<Uuid>) {
    let Some(event) = object(data) else {
        return (None, owner);
    };
    let changes = event.get("changes").and_then(|raw| object(raw.get()));
    let side = |field: &str, side: &str| {
        let both = object(changes.as_ref()?.get(field)?.get())?;
        both.get(side).copied()
    };
    let id = |raw: &RawValue| {
        serde_json::from_str::<Option<Uuid>>(raw.get())
            .ok()
            .flatten()
    };
    let before = side("customer_id", "old").map_or(owner, id);
    let is_ours = |of: Option<Uuid>| of == Some(customer);
    let mut found: Vec<(&RawValue, String)> = Vec::new();
    let shown = [
        (event.get("customer").copied(), owner),
        (side("customer", "new"), owner),
        (side("customer", "old"), before),
    ];
    for (raw, _) in shown.iter().filter(|(_, of)| is_ours(*of)) {
        found.extend(raw.and_then(|raw| erased(raw.get()).map(|text| (raw, text))));
    }
    // To whom the document was sent.
    if let Some(raw) = event.get("recipient").filter(|raw| raw.get() != "null")
        && is_ours(owner)
    {
        found.push((raw, "null".to_owned()));
    }
    if found.is_empty() {
        return (None, before);
    }
    // A raw value is a slice of the text that it was read from.
    let start = |raw: &RawValue| raw.get().as_ptr() as usize - data.as_ptr() as usize;
    found.sort_by_key(|(raw, _)| start(raw));
    let (mut out, mut at) = (String::with_capacity(data.len()), 0);
    for (raw, text) in found {
        out.push_str(&data[at..start(raw)]);
        out.push_str(&text);
        at = start(raw) + raw.get().len();
    }
    out.push_str(&data[at..]);
    (Some(out), before)
}

/// The customer object without personal data, in `jsonb`'s order of keys; `None` when there is none
/// in it.
fn erased(json: &str) -> Option<String> {
    let shown: Shown = serde_json::from_str(json).ok()?;
    let customer = Customer {
        name: shown.name?,
        external_id: shown.external_id,
        email: shown.email,
        tax_id: shown.tax_id,
        address: shown.address,
        country: shown.country,
    };
    if is_erased(&customer) {
        return None;
    }
    let country = serde_json::Value::from(customer.country);
    Some(format!(
        "{{\"name\": \"{ERASED_NAME}\", \"email\": null, \"tax_id\": null, \"address\": null, \
         \"country\": {country}, \
         \"external_id\": null}}"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OURS: Uuid = Uuid::from_u128(0x1111);
    const OTHER: Uuid = Uuid::from_u128(0x2222);

    fn event(data: &str) -> EventRow {
        EventRow {
            id: Uuid::nil(),
            event_type: "invoice.updated".into(),
            actor: "a".into(),
            request_id: None,
            data: data.to_owned(),
            created_at: Default::default(),
            correlation_id: None,
            causation_id: None,
        }
    }

    /// A draft of ours whose address was corrected, then given to another customer, whose email was
    /// corrected.
    fn history() -> Vec<EventRow> {
        let switch = format!(
            "{{\"changes\": {{\"total\": {{\"new\": \"1.10\", \"old\": 1.10}}, \"customer\": \
             {{\"new\": {{\"name\": \"Bea\", \
             \"country\": \"FR\"}}, \"old\": {{\"name\": \"Ada \\\"A\\\"\", \"tax_id\": \"7\", \
             \"country\": \"DE\"}}}}, \
             \"customer_id\": {{\"new\": \"{OTHER}\", \"old\": \"{OURS}\"}}}}, \"version\": 3}}"
        );
        vec![
            event(
                "{\"changes\": {\"customer\": {\"new\": {\"name\": \"Ada\", \"address\": \"Weg \
                 2\"}, \
                 \"old\": {\"name\": \"Ada\", \"address\": \"Weg 1\"}}}}",
            ),
            event(&switch),
            event(
                "{\"changes\": {\"customer\": {\"new\": {\"name\": \"Bea\", \"email\": \"new\"}, \
                 \"old\": {\"name\": \"Bea\", \"email\": \"old\"}}}}",
            ),
            event("{\"channel\": \"email\", \"recipient\": \"bea@example.org\"}"),
        ]
    }

    fn text(events: &[EventRow]) -> String {
        events.iter().map(|event| event.data.as_str()).collect()
    }

    #[test]
    fn only_what_was_the_customers_at_that_time_is_taken_out() {
        let mut events = history();
        assert!(scrub_events(&mut events, Some(OTHER), OURS));
        let ours = text(&events);
        assert!(!ours.contains("Ada") && !ours.contains("Weg") && !ours.contains("\"7\""));
        assert!(ours.contains("\"country\": \"DE\"") && ours.matches("Bea").count() == 3);
        assert!(ours.contains("\"total\": {\"new\": \"1.10\", \"old\": 1.10}"));
        assert!(ours.contains("bea@example.org"));
        assert!(
            !scrub_events(&mut events, Some(OTHER), OURS),
            "once is enough"
        );

        let mut events = history();
        assert!(scrub_events(&mut events, Some(OTHER), OTHER));
        let other = text(&events);
        assert!(
            !other.contains("Bea") && !other.contains("bea@") && other.matches("Ada").count() == 3
        );
        assert!(other.contains("\"recipient\": null"));
        for event in &events {
            assert!(serde_json::from_str::<serde_json::Value>(&event.data).is_ok());
        }
    }

    #[test]
    fn what_names_no_customer_stays() {
        for data in [
            "{}",
            "null",
            "[1]",
            "{\"customer\": null}",
            "{\"changes\": {\"number\": {\"old\": null}}}",
        ] {
            let mut events = [event(data)];
            assert!(!scrub_events(&mut events, Some(OURS), OURS), "{data}");
            assert_eq!(events[0].data, data);
        }
        let mut events = history();
        assert!(!scrub_events(&mut events, Some(OTHER), Uuid::from_u128(3)));
        assert_eq!(events, history());
    }
}
