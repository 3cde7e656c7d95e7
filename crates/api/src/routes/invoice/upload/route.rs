//! The two bulk routes. The work is in [`crate::routes::invoice::upload`].

use axum::extract::{Request, State};
use axum::response::Response;
use sheaf_web::auth::{AdminAuth, Writer};
use sheaf_web::observe::request_id::Requested;

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::invoice::upload;
use crate::routes::invoice::upload::options::{Caller, Owner};
use crate::routes::invoice::upload::summary::Summary;
use crate::schema::{InvoiceIn, InvoiceLineIn, TaxRoundingSchema};
use crate::state::Shared;

problems! {
    UploadProblems {
        403: TenantMismatch, ForbiddenRole, TenantCredentialRequired;
        409: IdempotencyInProgress;
        413: CompressionRatioExceeded;
        422: BulkRejected, " (atomic; with the summary's members), ", IdempotencyKeyReused;
        429: TooManyUploads, UploadSpaceExceeded;
    }
}

/// Upload invoices of one tenant as NDJSON, one invoice a line, streamed. Good lines land, bad ones
/// are named by number. With `atomic=true` all lines land or none. A broken upload leaves whole
/// invoices; send it again to create the rest: lines with an `external_id` that exists are counted
/// as duplicates, and with the same `Idempotency-Key` any line that was stored.
///
/// A line with a `version` is a whole document, as an export has it: it keeps its id, number,
/// version, times and payments, and what does not follow from the rest is refused
/// (`inconsistent_document`). With `restore=true` lines may have 8 MiB instead of 1, and the
/// `tenant_id` of such a document is not looked at: it becomes the caller's.
///
/// `tax_rounding` is what new documents have that do not say it themselves.
#[utoipa::path(
    post, path = "/v1/invoices/bulk", tag = "invoices", operation_id = "uploadInvoices",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("atomic" = Option<bool>, Query, description = "All lines or none"),
        (
            "restore" = Option<bool>,
            Query,
            description = "The lines are an export, of whatever tenant",
        ),
        (
            "tax_rounding" = inline(Option<TaxRoundingSchema>),
            Query,
            description = "Of lines that do not say",
        ),
    ),
    request_body(
        content = InvoiceIn,
        content_type = "application/x-ndjson",
        description = "One invoice a line; `Content-Encoding: gzip` is taken",
    ),
    responses((status = 200, body = Summary), UploadProblems),
)]
pub(crate) async fn upload(
    Writer(auth): Writer,
    State(app): State<Shared>,
    requested: Requested,
    request: Request,
) -> Result<Response, ApiError> {
    let caller = Caller {
        owner: Owner::Tenant(auth.tenant_id),
        origin: requested.by(auth.actor),
    };
    Box::pin(upload::run(&app, caller, request)).await
}

problems! {
    PlatformUploadProblems {
        409: IdempotencyInProgress;
        413: CompressionRatioExceeded;
        422: BulkRejected, " (atomic; with the summary's members), ", IdempotencyKeyReused;
        429: TooManyUploads, UploadSpaceExceeded;
    }
}

/// Upload invoices of many tenants. Each line names its tenant by `tenant_id` or
/// `tenant_external_id`; with `create_tenants=true` unknown external ids become tenants.
#[utoipa::path(
    post, path = "/v1/platform/invoices/bulk", tag = "platform",
    operation_id = "uploadPlatformInvoices",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("atomic" = Option<bool>, Query, description = "All lines or none"),
        ("create_tenants" = Option<bool>, Query, description = "Make tenants that do not exist"),
        (
            "restore" = Option<bool>,
            Query,
            description = "The lines are exports; each goes to the tenant that it names",
        ),
        (
            "tax_rounding" = inline(Option<TaxRoundingSchema>),
            Query,
            description = "Of lines that do not say",
        ),
    ),
    request_body(
        content = InvoiceLineIn,
        content_type = "application/x-ndjson",
        description = "One invoice a line; `Content-Encoding: gzip` is taken",
    ),
    responses((status = 200, body = Summary), PlatformUploadProblems),
)]
pub(crate) async fn platform_upload(
    _: AdminAuth,
    State(app): State<Shared>,
    requested: Requested,
    request: Request,
) -> Result<Response, ApiError> {
    let caller = Caller {
        owner: Owner::Platform,
        origin: requested.by("admin".into()),
    };
    Box::pin(upload::run(&app, caller, request)).await
}
