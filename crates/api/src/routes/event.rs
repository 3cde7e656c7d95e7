//! The audit trail: the history of an invoice, and the feed of all changes of a tenant.

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sheaf_model::bounds;
use sheaf_store::{EventRow, FeedPosition};
use sheaf_web::answer::{PageOut, json};
use sheaf_web::auth::Auditor;
use sheaf_web::cursor::Scope;
use sheaf_web::error::{Error, Noun};
use sheaf_web::path::id_in;
use sheaf_web::query::Params;
use uuid::Uuid;

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{EventPage, PageParams};
use crate::state::Shared;

/// An event as answered.
#[derive(Serialize)]
struct EventOut {
    id: Uuid,
    subject_id: Uuid,
    event_type: String,
    actor: String,
    request_id: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    data: Box<RawValue>,
    created_at: DateTime<Utc>,
}

impl EventOut {
    fn new(subject_id: Uuid, event: EventRow) -> Result<Self, ApiError> {
        let data = RawValue::from_string(event.data)
            .map_err(|error| Error::Internal(format!("event {}: {error}", event.id)))?;
        Ok(Self {
            id: event.id,
            subject_id,
            event_type: event.event_type,
            actor: event.actor,
            // A request that names no process is one of its own.
            correlation_id: event.correlation_id.or_else(|| event.request_id.clone()),
            request_id: event.request_id,
            causation_id: event.causation_id,
            data,
            created_at: event.created_at,
        })
    }
}

problems! {
    OfInvoiceProblems {
        404: InvoiceNotFound;
    }
}

/// The history of an invoice, from whichever tier holds it: one event a change, oldest first.
#[utoipa::path(
    get, path = "/v1/invoices/{id}/events", tag = "events", operation_id = "listInvoiceEvents",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"), PageParams),
    responses((status = 200, body = EventPage), OfInvoiceProblems),
)]
pub(crate) async fn of_invoice(
    Auditor(auth): Auditor,
    State(app): State<Shared>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let mut params = Params::of(&uri)?;
    let limit = params.limit()?;
    let scope = Scope::new("invoice-events").with(&id.to_string());
    let after = params.take("cursor")?;
    let after = after.map(|cursor| scope.decode_id(&cursor)).transpose()?;
    params.finish()?;
    let page = app
        .reader
        .events(auth.tenant_id, id, after, limit)
        .await?
        .ok_or(Error::NotFound(Noun::Invoice))?;
    let last = page.items.last().filter(|_| page.has_more);
    let next_cursor = last.map(|event| scope.encode(event.id.as_bytes()));
    let data = page.items.into_iter().map(|event| EventOut::new(id, event));
    let page = PageOut {
        data: data.collect::<Result<Vec<_>, _>>()?,
        has_more: page.has_more,
        next_cursor,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Time and id.
const POSITION: usize = 24;

/// All changes of the tenant in one order, oldest first: come again with `next_cursor`, which is
/// always given, and no change is missed, however late it was committed. An event appears about
/// half a second after its change. Events of archived invoices are read with the invoice.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    security(("bearer" = []), ("apiKey" = [])),
    params(PageParams),
    responses((status = 200, body = EventPage)),
)]
pub(crate) async fn feed(
    Auditor(auth): Auditor,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri)?;
    let limit = params.limit()?;
    let scope = Scope::new("events").with(&auth.tenant_id.to_string());
    let sent = params.take("cursor")?;
    let after = match &sent {
        Some(cursor) => Some(position_in(scope.decode(cursor)?)?),
        None => None,
    };
    params.finish()?;
    let page = app.store.feed(auth.tenant_id, after, limit).await?;
    let last = page.items.last().map(|event| event.position);
    let next_cursor = last.map(|position| scope.encode(&position_of(position)));
    let data = page
        .items
        .into_iter()
        .map(|event| EventOut::new(event.subject_id, event.event));
    let page = PageOut {
        data: data.collect::<Result<Vec<_>, _>>()?,
        has_more: page.has_more,
        // Nothing new: the place is still the same.
        next_cursor: next_cursor.or(sent),
    };
    Ok(json(StatusCode::OK, &page))
}

fn position_of(position: FeedPosition) -> [u8; POSITION] {
    let mut bytes = [0; POSITION];
    bytes[..8].copy_from_slice(&position.micros.to_be_bytes());
    bytes[8..].copy_from_slice(position.id.as_bytes());
    bytes
}

/// The place that a cursor names. One that we did not make can hold any time; the database's end
/// before chrono's.
fn position_in(bytes: [u8; POSITION]) -> Result<FeedPosition, ApiError> {
    let (mut micros, mut id) = ([0; 8], [0; 16]);
    micros.copy_from_slice(&bytes[..8]);
    id.copy_from_slice(&bytes[8..]);
    let micros = i64::from_be_bytes(micros);
    let time = DateTime::from_timestamp_micros(micros).ok_or(Error::InvalidCursor)?;
    let day = time.date_naive();
    if day < bounds::min_date() || day > bounds::max_date() {
        return Err(Error::InvalidCursor.into());
    }
    Ok(FeedPosition {
        micros,
        id: Uuid::from_bytes(id),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_position_is_of_a_time_that_there_is() {
        for micros in [0, 1_700_000_000_000_000] {
            let id = Uuid::from_u128(7);
            let position = FeedPosition { micros, id };
            assert_eq!(position_in(position_of(position)).unwrap(), position);
        }
        // Before 4713 BC, of which PostgreSQL knows nothing; before 1970; and after chrono's end.
        for micros in [i64::MIN, -210_900_000_000_000_000, -1, i64::MAX] {
            let id = Uuid::max();
            assert!(position_in(position_of(FeedPosition { micros, id })).is_err());
        }
    }
}
