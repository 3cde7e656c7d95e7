//! Erasure of customers' personal data, and the retention that may forbid it.

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use chrono::Utc;
use sheaf_model::bounds::{MAX_YEAR, MIN_YEAR};
use sheaf_model::{Code, FieldError, Invalid, plain_value};
use sheaf_store::{Cause, NewRetention, PutRetention};
use sheaf_web::answer::{PageOut, json};
use sheaf_web::auth::{Privacy, Reader};
use sheaf_web::body::JsonBody;
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag::{self, Preconditions};
use sheaf_web::observe::request_id::Requested;
use sheaf_web::path::id_in;
use sheaf_web::query;
use uuid::Uuid;

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{ErasureOut, RetentionIn, RetentionList, RetentionOut};
use crate::state::Shared;

problems! {
    EraseProblems {
        404: CustomerNotFound;
        409: CustomerMerged, ": the survivor is the one to ask for";
    }
}

/// Erase a customer's personal data: name, email, tax id, address, external id and metadata. The
/// record, and those merged into it, are erased at once and can be invoiced no more; documents and
/// their histories follow in both tiers, and the receipt says how far that is. Figures, dates and
/// the country stay. It cannot be undone. Asking again goes through everything again. A customer
/// that was deleted can be asked for too: its history and stray invoices still tell of it.
#[utoipa::path(
    put, path = "/v1/customers/{id}/erasure", tag = "customers", operation_id = "eraseCustomer",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The customer")),
    responses((status = 202, body = ErasureOut), EraseProblems),
)]
pub(crate) async fn erase(
    Privacy(auth): Privacy,
    State(app): State<Shared>,
    requested: Requested,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let id = id_in(id, Noun::Customer)?;
    let cause = Cause::new(requested.by(auth.actor), app.clock.now());
    let receipt = app
        .store
        .request_erasure(auth.tenant_id, id, &cause)
        .await?;
    Ok(json(StatusCode::ACCEPTED, &ErasureOut::from(receipt)))
}

problems! {
    ReceiptProblems {
        404: CustomerNotFound, ErasureNotFound, ": none was asked for";
    }
}

/// The receipt of a customer's erasure.
#[utoipa::path(
    get, path = "/v1/customers/{id}/erasure", tag = "customers", operation_id = "getErasure",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The customer")),
    responses((status = 200, body = ErasureOut), ReceiptProblems),
)]
pub(crate) async fn receipt(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let id: Uuid = id_in(id, Noun::Customer)?;
    let tenant = auth.tenant_id;
    let Some(receipt) = app.store.erasure(tenant, id).await? else {
        let customer = app.store.get_customer(tenant, id).await?;
        return Err(Error::NotFound(if customer.is_some() {
            Noun::Erasure
        } else {
            Noun::Customer
        })
        .into());
    };
    Ok(json(StatusCode::OK, &ErasureOut::from(receipt)))
}

/// How long documents must stay as they are, by year. A year that is not listed is not held.
#[utoipa::path(
    get, path = "/v1/retention", tag = "archive", operation_id = "listRetention",
    security(("bearer" = []), ("apiKey" = [])),
    responses((status = 200, body = RetentionList)),
)]
pub(crate) async fn list_retention(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let settings = app.store.retention(auth.tenant_id).await?;
    let page = PageOut {
        data: settings.into_iter().map(RetentionOut::from).collect(),
        has_more: false,
        next_cursor: None,
    };
    Ok(json(StatusCode::OK, &page))
}

problems! {
    PutRetentionProblems {
        412: VersionMismatch;
        422: DateOutOfRange, UnknownField, InvalidType;
        503: DeletionUnderWay, ": the hold is stored; ask again after `Retry-After`";
    }
}

/// Set how long documents of a year must stay as they are. Erasure leaves a held year alone, says
/// so in its receipt, and goes on when it is held no more. The same again changes nothing.
#[utoipa::path(
    put, path = "/v1/retention/{year}", tag = "archive", operation_id = "putRetention",
    request_body = RetentionIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("year" = i16, Path, description = "1970-2199"),
        (
            "If-Match" = Option<String>,
            Header,
            description = "The version that the client has seen, quoted; `\"0\"` when there was \
                none",
        ),
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "`*`: only where there is none",
        ),
    ),
    responses(
        (
            status = 200,
            body = RetentionOut,
            headers(("ETag" = String, description = "The version, quoted")),
        ),
        PutRetentionProblems,
    ),
)]
pub(crate) async fn put_retention(
    Privacy(auth): Privacy,
    State(app): State<Shared>,
    requested: Requested,
    Preconditions { expected }: Preconditions,
    year: Result<Path<String>, PathRejection>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let year = year.ok().and_then(|Path(text)| plain_value::count(&text));
    let year = year.filter(|year| (MIN_YEAR..=MAX_YEAR).contains(year));
    let Some(year) = year else {
        let mistake = FieldError::new("year", Code::DateOutOfRange, "from 1970 to 2199");
        return Err(Invalid::from(mistake).into());
    };
    let input: RetentionIn = body.parse()?;
    let new = NewRetention {
        tenant: auth.tenant_id,
        year,
        legal_hold: input.legal_hold,
        keep_until: input.keep_until,
        expected,
        origin: requested.by(auth.actor),
    };
    match app.store.put_retention(&new).await? {
        PutRetention::Stored(setting) => {
            let mut response = json(StatusCode::OK, &RetentionOut::from(setting));
            etag::set(response.headers_mut(), setting.version);
            Ok(response)
        }
        PutRetention::VersionMismatch(current) => Err(Error::VersionMismatch { current }.into()),
        PutRetention::Deleting(until) => {
            let left = (until - Utc::now()).num_seconds();
            Err(ApiError::DeletionUnderWay(u32::try_from(left).unwrap_or(1)))
        }
    }
}
