//! The steps of an invoice's life: one handler each, all of the same form. The rules are the
//! model's (`sheaf_model::invoice::lifecycle`).

pub(crate) mod money;
pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use sheaf_model::invoice::input::{Body, CancelInput, IssueInput, RecallInput, SendInput};
use sheaf_model::invoice::lifecycle::Patch;
use sheaf_store::{Changed, Command, Expected, NewChange};
use sheaf_web::answer::json_bytes;
use sheaf_web::auth::{Money, TenantAuth, Writer};
use sheaf_web::body::{JsonBody, OptionalBody, PatchBody};
use sheaf_web::error::Noun;
use sheaf_web::etag::{self, Preconditions};
use sheaf_web::idempotency;
use sheaf_web::observe::request_id::Requested;
use sheaf_web::path::id_in;
use uuid::Uuid;

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{CancelIn, InvoiceOut, InvoicePatch, IssueIn, RecallIn, SendIn};
use crate::state::Shared;

/// What every change has besides its body.
pub(crate) struct About {
    requested: Requested,
    expected: Option<Expected>,
}

impl FromRequestParts<Shared> for About {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Ok(requested) = Requested::from_request_parts(parts, app).await;
        let Preconditions { expected } = Preconditions::from_request_parts(parts, app).await?;
        Ok(Self {
            requested,
            expected,
        })
    }
}

pub(super) type InvoicePath = Result<Path<String>, PathRejection>;

/// Runs a command on the invoice in the path, and answers with what it made or changed.
async fn change(
    app: &Shared,
    auth: TenantAuth,
    about: About,
    id: Uuid,
    command: Command,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let change = NewChange {
        tenant_id: auth.tenant_id,
        invoice_id: id,
        command,
        expected: about.expected,
        origin: about.requested.by(auth.actor),
        idem: body.idem,
        now: app.clock.now(),
    };
    match app.store.change_invoice(change).await? {
        Changed::New(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            let mut response = json_bytes(status, answer.body);
            let headers = response.headers_mut();
            headers.extend(
                answer
                    .location
                    .and_then(|location| HeaderValue::try_from(location).ok())
                    .map(|location| (LOCATION, location)),
            );
            etag::set(headers, answer.version);
            Ok(response)
        }
        Changed::Replay(replay) => {
            let version = version_in(&replay.body);
            let mut response = idempotency::replay(replay);
            if let Some(version) = version {
                etag::set(response.headers_mut(), version);
            }
            Ok(response)
        }
    }
}

/// The version that an answer of ours told: its own, or that of the invoice in it.
fn version_in(body: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Told {
        version: Option<i64>,
        invoice: Option<Box<Told>>,
    }
    let told: Told = serde_json::from_slice(body).ok()?;
    told.version.or_else(|| told.invoice?.version)
}

problems! {
    EditProblems {
        404: InvoiceNotFound;
        409: HistoryFull, InvoiceImmutable, InvoiceCancelled, DuplicateExternalId, DuplicateNumber,
            CustomerInactive;
        412: VersionMismatch, "; `ETag` is the current version";
        422: "The first field's code; ", FieldNotEditable, EmptyPatch, CustomerNotFound,
            IdempotencyKeyReused;
    }
}

/// Edit a draft by a JSON merge patch (RFC 7396): any field, lines as a whole. Of an issued invoice
/// only `metadata` can be changed; corrections are credit notes.
#[utoipa::path(
    patch, path = "/v1/invoices/{id}", tag = "invoices", operation_id = "editInvoice",
    request_body(
        content(
            (InvoicePatch = "application/merge-patch+json"),
            (InvoicePatch = "application/json"),
        ),
    ),
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(("ETag" = String, description = "The new version, quoted")),
        ),
        EditProblems,
    ),
)]
pub(crate) async fn edit(
    Writer(auth): Writer,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    PatchBody(body): PatchBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let patch = Patch::parse(&body.bytes)?;
    change(&app, auth, about, id, Command::Edit(patch), body).await
}

problems! {
    IssueProblems {
        404: InvoiceNotFound;
        409: AlreadyIssued, InvoiceCancelled, CustomerInactive, DuplicateNumber,
            NumberSeriesExhausted;
        412: VersionMismatch;
        422: DueBeforeIssue, InvalidDate, DateOutOfRange, CustomerNotFound, UnknownField,
            IdempotencyKeyReused;
    }
}

/// Issue a draft: it gets its date, and the next number of the tenant's series unless it has one.
/// It does not change afterwards.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/issue", tag = "invoices", operation_id = "issueInvoice",
    request_body = Option<IssueIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(("ETag" = String, description = "The new version, quoted")),
        ),
        IssueProblems,
    ),
)]
pub(crate) async fn issue(
    Writer(auth): Writer,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let (issue_date, due_date) = IssueInput::parse(&body.bytes)?.dates()?;
    let command = Command::Issue {
        issue_date,
        due_date,
    };
    change(&app, auth, about, id, command, body).await
}

problems! {
    SendProblems {
        404: InvoiceNotFound;
        409: NotIssued, InvoiceCancelled, HistoryFull;
        412: VersionMismatch;
        422: StringEmpty, StringTooLong, UnknownField, IdempotencyKeyReused;
    }
}

/// Record that the document was sent to the customer. Sending is another system's work: it follows
/// the event `invoice.sent`.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/send", tag = "invoices", operation_id = "sendInvoice",
    request_body = Option<SendIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(("ETag" = String, description = "The new version, quoted")),
        ),
        SendProblems,
    ),
)]
pub(crate) async fn send(
    Writer(auth): Writer,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let (channel, recipient) = SendInput::parse(&body.bytes)?.check()?;
    let command = Command::Send { channel, recipient };
    change(&app, auth, about, id, command, body).await
}

problems! {
    CancelProblems {
        404: InvoiceNotFound;
        409: InvoiceHasPayments, InvoiceCancelled, InvoiceCredited, CreditNoteFinal;
        412: VersionMismatch;
        422: StringEmpty, StringTooLong, UnknownField, IdempotencyKeyReused;
    }
}

/// Cancel a document on which nothing is paid.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/cancel", tag = "invoices", operation_id = "cancelInvoice",
    request_body = Option<CancelIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(("ETag" = String, description = "The new version, quoted")),
        ),
        CancelProblems,
    ),
)]
pub(crate) async fn cancel(
    Money(auth): Money,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let reason = CancelInput::parse(&body.bytes)?.check()?;
    change(&app, auth, about, id, Command::Cancel { reason }, body).await
}

problems! {
    RecallProblems {
        404: InvoiceNotFound;
        412: VersionMismatch;
        422: UnknownField, IdempotencyKeyReused;
    }
}

/// Bring an archived invoice back to the hot tier, as it is; of a hot one nothing changes. Every
/// change does so by itself. Tiering takes it again with its next run once it is settled.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/recall", tag = "invoices", operation_id = "recallInvoice",
    request_body = Option<RecallIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(("ETag" = String, description = "The version, quoted")),
        ),
        RecallProblems,
    ),
)]
pub(crate) async fn recall(
    Writer(auth): Writer,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    RecallInput::parse(&body.bytes)?;
    change(&app, auth, about, id, Command::Recall, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_tells_its_version() {
        assert_eq!(version_in(br#"{"id":"x","version":4}"#), Some(4));
        let payment = br#"{"id":"x","invoice":{"id":"y","version":7}}"#;
        assert_eq!(version_in(payment), Some(7));
        assert_eq!(version_in(b"[]"), None);
    }
}
