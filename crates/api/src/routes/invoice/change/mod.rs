//! The steps of an invoice's life: one handler each, all of the same form. The rules are the
//! model's (`sheaf_model::invoice::lifecycle`).

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use sheaf_model::invoice::input::{
    ApplyInput, Body, CancelInput, CreditNoteInput, IssueInput, PaymentBody, RecallInput,
    ReversalInput, SendInput,
};
use sheaf_model::invoice::lifecycle::Patch;
use sheaf_store::{Changed, Command, NewChange};
use uuid::Uuid;

use crate::error::ApiError;
use crate::schema::{
    ApplyIn, CancelIn, CreditNoteIn, InvoiceOut, InvoicePatch, IssueIn, NewPaymentIn,
    PaymentRecorded, RecallIn, ReversalIn, SendIn,
};
use crate::state::Shared;
use sheaf_web::answer::json_bytes;
use sheaf_web::auth::{Money, TenantAuth, Writer};
use sheaf_web::body::{JsonBody, OptionalBody, PatchBody};
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag;
use sheaf_web::etag::IfMatch;
use sheaf_web::idempotency;
use sheaf_web::observe::request_id::Requested;
use sheaf_web::path::{id_in, parse_id};

/// What every change has besides its body.
pub(crate) struct About {
    requested: Requested,
    if_match: IfMatch,
}

impl FromRequestParts<Shared> for About {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Ok(requested) = Requested::from_request_parts(parts, app).await;
        let Ok(if_match) = IfMatch::from_request_parts(parts, app).await;
        Ok(Self {
            requested,
            if_match,
        })
    }
}

type InvoicePath = Result<Path<String>, PathRejection>;

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
        expected: about.if_match.versions().map(<[i64]>::to_vec),
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

/// Edit a draft by a JSON merge patch (RFC 7396): any field, lines as a whole. Of an issued invoice
/// only `metadata` can be changed; corrections are credit notes.
#[utoipa::path(patch, path = "/v1/invoices/{id}", tag = "invoices", operation_id = "editInvoice",
    request_body(content((InvoicePatch = "application/merge-patch+json"), (InvoicePatch = "application/json"))),
    security(("bearer" = []), ("apiKey" = [])), params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 200, body = InvoiceOut, headers(("ETag" = String, description = "The new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`history_full`, `invoice_immutable`, `invoice_cancelled`, `duplicate_external_id`, `duplicate_number`, \
            `customer_inactive`"),
        (status = 412, description = "`version_mismatch`; `ETag` is the current version"),
        (status = 422, description = "The first field's code; `field_not_editable`, `empty_patch`, `customer_not_found`, \
            `idempotency_key_reused`")))]
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

/// Issue a draft: it gets its date, and the next number of the tenant's series unless it has one.
/// It does not change afterwards.
#[utoipa::path(post, path = "/v1/invoices/{id}/issue", tag = "invoices", operation_id = "issueInvoice",
    request_body = Option<IssueIn>, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 200, body = InvoiceOut, headers(("ETag" = String, description = "The new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`already_issued`, `invoice_cancelled`, `customer_inactive`, `duplicate_number`, `number_series_exhausted`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "`due_before_issue`, `invalid_date`, `date_out_of_range`, `customer_not_found`, \
            `unknown_field`, `idempotency_key_reused`")))]
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

/// Record that the document was sent to the customer. Sending is another system's work: it follows
/// the event `invoice.sent`.
#[utoipa::path(post, path = "/v1/invoices/{id}/send", tag = "invoices", operation_id = "sendInvoice",
    request_body = Option<SendIn>, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 200, body = InvoiceOut, headers(("ETag" = String, description = "The new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"), (status = 409, description = "`not_issued`, `invoice_cancelled`, `history_full`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "`string_empty`, `string_too_long`, `unknown_field`, `idempotency_key_reused`")))]
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

/// Cancel a document on which nothing is paid.
#[utoipa::path(post, path = "/v1/invoices/{id}/cancel", tag = "invoices", operation_id = "cancelInvoice",
    request_body = Option<CancelIn>, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 200, body = InvoiceOut, headers(("ETag" = String, description = "The new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`invoice_has_payments`, `invoice_cancelled`, `invoice_credited`, `credit_note_final`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "`string_empty`, `string_too_long`, `unknown_field`, `idempotency_key_reused`")))]
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

/// Record a payment. The answer is the payment, and the invoice as it is now in `invoice`.
#[utoipa::path(post, path = "/v1/invoices/{id}/payments", tag = "invoices", operation_id = "payInvoice",
    request_body = NewPaymentIn, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 201, body = PaymentRecorded, headers(("Location" = String, description = "Path of the invoice"),
            ("ETag" = String, description = "The invoice's new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`overpayment`, `already_paid`, `not_issued`, `invoice_cancelled`, `credit_note_not_payable`, `duplicate_payment_reference`, `too_many_payments`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "The first field's code, `payment_not_positive` or `paid_in_future` for example; \
            `too_many_decimals`, `idempotency_key_reused`")))]
pub(crate) async fn pay(
    Money(auth): Money,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let payment = PaymentBody::parse(&body.bytes)?.check(app.clock.now())?;
    change(&app, auth, about, id, Command::Pay(payment), body).await
}

/// Take a payment back, once and whole: recorded as a negative payment that names it.
#[utoipa::path(post, path = "/v1/invoices/{id}/payments/{payment_id}/reverse", tag = "invoices", operation_id = "reversePayment",
    request_body = Option<ReversalIn>, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"), ("payment_id" = Uuid, Path, description = "The payment"),
        ("If-Match" = Option<String>, Header, description = "The versions that the invoice may have")),
    responses((status = 201, body = PaymentRecorded, headers(("Location" = String, description = "Path of the invoice"),
            ("ETag" = String, description = "The invoice's new version, quoted"))),
        (status = 404, description = "`invoice_not_found`, `payment_not_found`"),
        (status = 409, description = "`payment_already_reversed`, `payment_not_reversible`, `reversal_exceeds_paid`, `nothing_paid`, `invoice_cancelled`, `duplicate_payment_reference`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "`string_empty`, `invalid_date`, `paid_in_future`, `unknown_field`, \
            `idempotency_key_reused`")))]
pub(crate) async fn reverse(
    Money(auth): Money,
    State(app): State<Shared>,
    about: About,
    path: Result<Path<(String, String)>, PathRejection>,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let Ok(Path((id, payment))) = path else {
        return Err(Error::NotFound(Noun::Invoice).into());
    };
    let id = parse_id(&id, Noun::Invoice)?;
    // One that cannot exist is not found, but only once the invoice is.
    let payment_id = parse_id(&payment, Noun::Invoice).unwrap_or_default();
    let (reversal, reason) =
        ReversalInput::parse(&body.bytes)?.check(payment_id, app.clock.now())?;
    let command = Command::Reverse { reversal, reason };
    change(&app, auth, about, id, command, body).await
}

/// Give money back: on an invoice a negative payment, never more than was paid; on a credit note
/// its paying out, never more than is left of it. On an invoice and its credit notes together never
/// more goes out than came in on the invoice.
#[utoipa::path(post, path = "/v1/invoices/{id}/refunds", tag = "invoices", operation_id = "refundInvoice",
    request_body = NewPaymentIn, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice or credit note"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 201, body = PaymentRecorded, headers(("Location" = String, description = "Path of the invoice"),
            ("ETag" = String, description = "The invoice's new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`refund_exceeds_paid`, `refund_exceeds_credit`, `nothing_paid`, `already_settled`, `not_issued`, `invoice_cancelled`, `duplicate_payment_reference`, `too_many_payments`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "The first field's code; `too_many_decimals`, `idempotency_key_reused`")))]
pub(crate) async fn refund(
    Money(auth): Money,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let refund = PaymentBody::parse(&body.bytes)?.check(app.clock.now())?;
    change(&app, auth, about, id, Command::Refund(refund), body).await
}

/// Correct an invoice by a credit note: of the lines sent, or of all of it. As far as something is
/// owed it is set off at once (unless `apply` is false); the rest can be applied to another invoice
/// or refunded. At no tax rate more is credited than was charged, and what takes the rest of a
/// rate's net takes the rest of its tax.
#[utoipa::path(post, path = "/v1/invoices/{id}/credit-notes", tag = "invoices", operation_id = "creditInvoice",
    request_body = Option<CreditNoteIn>, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 201, body = InvoiceOut, headers(("Location" = String, description = "Path of the credit note"),
            ("ETag" = String, description = "The credit note's version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`history_full`, `credit_exceeds_invoice`, `credit_note_of_credit_note`, `not_issued`, `invoice_cancelled`, `number_series_exhausted`, `too_many_payments`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "The first field's code; `credit_of_nothing`, `credit_before_invoice`, `credit_rate_not_charged`, `credit_exceeds_rate`, `idempotency_key_reused`")))]
pub(crate) async fn credit(
    Money(auth): Money,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let request = CreditNoteInput::parse(&body.bytes)?.check()?;
    let command = Command::Credit(Box::new(request));
    change(&app, auth, about, id, command, body).await
}

/// Set a credit note off against an invoice of the same customer and currency: all that is
/// possible, or `amount`.
#[utoipa::path(post, path = "/v1/invoices/{id}/apply", tag = "invoices", operation_id = "applyCreditNote",
    request_body = ApplyIn, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The credit note"),
        ("If-Match" = Option<String>, Header, description = "The versions that the credit note may have")),
    responses((status = 200, body = InvoiceOut, headers(("ETag" = String, description = "The credit note's new version, quoted"))),
        (status = 404, description = "`invoice_not_found`"),
        (status = 409, description = "`not_a_credit_note`, `already_settled`, `already_paid`, `credit_exceeded`, `overpayment`, `currency_mismatch`, `customer_mismatch`, `credit_note_not_payable`, `not_issued`, `invoice_cancelled`, `too_many_payments`"),
        (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "`missing_field`, `invalid_uuid`, `payment_not_positive`, `unknown_field`, `idempotency_key_reused`")))]
pub(crate) async fn apply(
    Money(auth): Money,
    State(app): State<Shared>,
    about: About,
    id: InvoicePath,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    let (to, amount) = ApplyInput::parse(&body.bytes)?.check()?;
    change(&app, auth, about, id, Command::Apply { to, amount }, body).await
}

/// Bring an archived invoice back to the hot tier, as it is; of a hot one nothing changes. Every
/// change does so by itself. Tiering takes it again with its next run once it is settled.
#[utoipa::path(post, path = "/v1/invoices/{id}/recall", tag = "invoices", operation_id = "recallInvoice",
    request_body = Option<RecallIn>, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have")),
    responses((status = 200, body = InvoiceOut, headers(("ETag" = String, description = "The version, quoted"))),
        (status = 404, description = "`invoice_not_found`"), (status = 412, description = "`version_mismatch`"),
        (status = 422, description = "`unknown_field`, `idempotency_key_reused`")))]
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
