//! The steps that move money: payments, reversals, refunds, credit notes.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use sheaf_model::invoice::input::{ApplyInput, Body, CreditNoteInput, PaymentBody, ReversalInput};
use sheaf_store::Command;
use sheaf_web::auth::Money;
use sheaf_web::body::{JsonBody, OptionalBody};
use sheaf_web::error::{Error, Noun};
use sheaf_web::path::{id_in, parse_id};

use super::{About, InvoicePath, change};
use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{ApplyIn, CreditNoteIn, InvoiceOut, NewPaymentIn, PaymentRecorded, ReversalIn};
use crate::state::Shared;

problems! {
    PayProblems {
        404: InvoiceNotFound;
        409: Overpayment, AlreadyPaid, NotIssued, InvoiceCancelled, CreditNoteNotPayable,
            DuplicatePaymentReference, TooManyPayments;
        412: VersionMismatch;
        422: "The first field's code, ", PaymentNotPositive, " or ", PaidInFuture, " for example; ",
            TooManyDecimals, IdempotencyKeyReused;
    }
}

/// Record a payment. The answer is the payment, and the invoice as it is now in `invoice`.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/payments", tag = "invoices", operation_id = "payInvoice",
    request_body = NewPaymentIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 201,
            body = PaymentRecorded,
            headers(
                ("Location" = String, description = "Path of the invoice"),
                ("ETag" = String, description = "The invoice's new version, quoted"),
            ),
        ),
        PayProblems,
    ),
)]
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

problems! {
    ReverseProblems {
        404: InvoiceNotFound, PaymentNotFound;
        409: PaymentAlreadyReversed, PaymentNotReversible, ReversalExceedsPaid, NothingPaid,
            InvoiceCancelled, DuplicatePaymentReference;
        412: VersionMismatch;
        422: StringEmpty, InvalidDate, PaidInFuture, UnknownField, IdempotencyKeyReused;
    }
}

/// Take a payment back, once and whole: recorded as a negative payment that names it.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/payments/{payment_id}/reverse", tag = "invoices",
    operation_id = "reversePayment", request_body = Option<ReversalIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("payment_id" = Uuid, Path, description = "The payment"),
        (
            "If-Match" = Option<String>,
            Header,
            description = "The versions that the invoice may have",
        ),
    ),
    responses(
        (
            status = 201,
            body = PaymentRecorded,
            headers(
                ("Location" = String, description = "Path of the invoice"),
                ("ETag" = String, description = "The invoice's new version, quoted"),
            ),
        ),
        ReverseProblems,
    ),
)]
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

problems! {
    RefundProblems {
        404: InvoiceNotFound;
        409: RefundExceedsPaid, RefundExceedsCredit, NothingPaid, AlreadySettled, NotIssued,
            InvoiceCancelled, DuplicatePaymentReference, TooManyPayments;
        412: VersionMismatch;
        422: "The first field's code; ", TooManyDecimals, IdempotencyKeyReused;
    }
}

/// Give money back: on an invoice a negative payment, never more than was paid; on a credit note
/// its paying out, never more than is left of it. On an invoice and its credit notes together never
/// more goes out than came in on the invoice.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/refunds", tag = "invoices", operation_id = "refundInvoice",
    request_body = NewPaymentIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice or credit note"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 201,
            body = PaymentRecorded,
            headers(
                ("Location" = String, description = "Path of the invoice"),
                ("ETag" = String, description = "The invoice's new version, quoted"),
            ),
        ),
        RefundProblems,
    ),
)]
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

problems! {
    CreditProblems {
        404: InvoiceNotFound;
        409: HistoryFull, CreditExceedsInvoice, CreditNoteOfCreditNote, NotIssued, InvoiceCancelled,
            NumberSeriesExhausted, TooManyPayments;
        412: VersionMismatch;
        422: "The first field's code; ", CreditOfNothing, CreditBeforeInvoice, CreditRateNotCharged,
            CreditExceedsRate, IdempotencyKeyReused;
    }
}

/// Correct an invoice by a credit note: of the lines sent, or of all of it. As far as something is
/// owed it is set off at once (unless `apply` is false); the rest can be applied to another invoice
/// or refunded. At no tax rate more is credited than was charged, and what takes the rest of a
/// rate's net takes the rest of its tax.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/credit-notes", tag = "invoices", operation_id = "creditInvoice",
    request_body = Option<CreditNoteIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        ("If-Match" = Option<String>, Header, description = "The versions that it may have"),
    ),
    responses(
        (
            status = 201,
            body = InvoiceOut,
            headers(
                ("Location" = String, description = "Path of the credit note"),
                ("ETag" = String, description = "The credit note's version, quoted"),
            ),
        ),
        CreditProblems,
    ),
)]
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

problems! {
    ApplyProblems {
        404: InvoiceNotFound;
        409: NotACreditNote, AlreadySettled, AlreadyPaid, CreditExceeded, Overpayment,
            CurrencyMismatch, CustomerMismatch, CreditNoteNotPayable, NotIssued, InvoiceCancelled,
            TooManyPayments;
        412: VersionMismatch;
        422: MissingField, InvalidUuid, PaymentNotPositive, UnknownField, IdempotencyKeyReused;
    }
}

/// Set a credit note off against an invoice of the same customer and currency: all that is
/// possible, or `amount`.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/apply", tag = "invoices", operation_id = "applyCreditNote",
    request_body = ApplyIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The credit note"),
        (
            "If-Match" = Option<String>,
            Header,
            description = "The versions that the credit note may have",
        ),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(("ETag" = String, description = "The credit note's new version, quoted")),
        ),
        ApplyProblems,
    ),
)]
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
