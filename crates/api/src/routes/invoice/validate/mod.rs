//! `/v1/invoices/{id}/validate`: what keeps an invoice from being exported.

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use sheaf_documents::{Format, as_issued};
use sheaf_model::invoice::input::{Body, RecallInput};
use sheaf_web::answer::{SHEAF_TIER, json};
use sheaf_web::auth::Reader;
use sheaf_web::body::OptionalBody;
use sheaf_web::error::{Error, Noun};
use sheaf_web::path::id_in;

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::invoice::document;
use crate::schema::{ExportableOut, FindingOut, ValidateIn, ValidationOut};
use crate::state::Shared;

problems! {
    ValidateProblems {
        404: InvoiceNotFound, ", also for another tenant's";
        422: UnknownField, InvalidType;
    }
}

/// What keeps an invoice from being exported as PDF and as e-invoice (UBL under EN 16931), all of
/// it at once: what `.pdf` and `.xml` would refuse it for. A draft is looked at as if it were
/// issued today as it is. Nothing changes: it is a read, and an archived invoice stays where it is.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/validate", tag = "documents", operation_id = "validateInvoice",
    request_body = Option<ValidateIn>,
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = uuid::Uuid, Path, description = "The invoice")),
    responses(
        (
            status = 200,
            body = ValidationOut,
            headers(("Sheaf-Tier" = String, description = "`hot` or `cold`")),
        ),
        ValidateProblems,
    ),
)]
pub(crate) async fn validate(
    Reader(auth): Reader,
    State(app): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Invoice)?;
    RecallInput::parse(&body.bytes)?;
    let found = app.reader.get(auth.tenant_id, id).await?;
    let (invoice, tier) = found.ok_or(Error::NotFound(Noun::Invoice))?;
    let (profile, _) = document::seller(&app, &invoice).await?;
    let looked_at = as_issued(&invoice, app.clock.now().date_naive());
    let found = Format::ALL.map(|format| (format, format.findings(&looked_at, &profile)));
    let exportable = ExportableOut {
        pdf: found[0].1.is_empty(),
        ubl: found[1].1.is_empty(),
    };
    let findings = found.into_iter().flat_map(|(format, errors)| {
        errors.into_iter().map(move |error| FindingOut {
            format: format.as_str(),
            field: error.field,
            code: error.code,
            detail: error.detail,
        })
    });
    let answer = ValidationOut {
        invoice_id: id,
        version: invoice.version,
        status: invoice.status.as_str(),
        exportable,
        findings: findings.collect(),
    };
    let mut response = json(StatusCode::OK, &answer);
    let tier = HeaderValue::from_static(tier.as_str());
    response.headers_mut().insert(SHEAF_TIER, tier);
    Ok(response)
}
