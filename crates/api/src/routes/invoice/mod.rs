//! `/v1/invoices`: one invoice at a time, and lists over both tiers.

pub(crate) mod change;
pub(crate) mod document;
pub(crate) mod schema;
pub(crate) mod upload;
pub(crate) mod validate;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use sheaf_archive::{MergedPage, Tier};
use sheaf_model::invoice::input::{Context, TenantRef};
use sheaf_model::{Invoice, InvoiceInput, TenantId};
use sheaf_store::{Created, IdFrom, ListFilter, NewInvoice};
use sheaf_web::answer::{SHEAF_TIER, json_bytes};
use sheaf_web::auth::{Reader, Writer};
use sheaf_web::body::JsonBody;
use sheaf_web::cursor::Scope;
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag::matches_etag;
use sheaf_web::idempotency;
use sheaf_web::observe::request_id::Requested;
use sheaf_web::path::id_in;
use sheaf_web::query::{self, Params};
use uuid::Uuid;

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::invoice::document::Form;
use crate::schema::{InvoiceIn, InvoiceOut, InvoicePage, InvoiceParams};
use crate::state::Shared;

/// `metadata.<key>=` conditions of one list.
const MAX_METADATA_FILTERS: usize = 8;

problems! {
    CreateProblems {
        403: TenantMismatch, ForbiddenRole, TenantCredentialRequired;
        409: DuplicateExternalId, DuplicateNumber, DuplicateId, CustomerInactive,
            IdempotencyInProgress;
        422: "The first field's code, ", UnknownCurrency, " for example; ", IdempotencyKeyReused;
    }
}

/// Create an invoice. Totals are computed here; a `total` sent along is checked.
#[utoipa::path(
    post, path = "/v1/invoices", tag = "invoices", operation_id = "createInvoice",
    request_body = InvoiceIn,
    security(("bearer" = []), ("apiKey" = [])),
    responses(
        (
            status = 201,
            body = InvoiceOut,
            headers(
                ("Location" = String, description = "Path of the invoice"),
                ("ETag" = String, description = "The version, quoted"),
            ),
        ),
        CreateProblems,
    ),
)]
pub(crate) async fn create(
    Writer(auth): Writer,
    State(app): State<Shared>,
    requested: Requested,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let input = InvoiceInput::parse(&body.bytes)?;
    check_tenant(&input, auth.tenant_id)?;
    let context = Context {
        tenant_id: auth.tenant_id,
        now: app.clock.now(),
    };
    let id_from = match input.names_its_id() {
        true => IdFrom::Client,
        false => IdFrom::Server,
    };
    let invoice = input.into_invoice(&context)?;
    let new = NewInvoice {
        at: invoice.created_at,
        invoice,
        id_from,
        origin: requested.by(auth.actor),
        idem: body.idem,
    };
    match app.store.create_invoice(new).await? {
        Created::New(invoice) => Ok(created(&invoice)),
        Created::Replay(replay) => {
            let mut response = idempotency::replay(replay);
            // What is replayed is the answer to a creation, which always has the first version.
            response
                .headers_mut()
                .insert(ETAG, HeaderValue::from_static("\"1\""));
            Ok(response)
        }
    }
}

fn created(invoice: &Invoice) -> Response {
    let mut response = json_bytes(StatusCode::CREATED, invoice.render());
    let headers = response.headers_mut();
    headers.extend(
        HeaderValue::try_from(format!("/v1/invoices/{}", invoice.id))
            .ok()
            .map(|value| (LOCATION, value)),
    );
    headers.extend(
        HeaderValue::try_from(invoice.etag())
            .ok()
            .map(|value| (ETAG, value)),
    );
    response
}

/// A document may name its tenant; on a tenant's own route it must be the credential's.
fn check_tenant(input: &InvoiceInput, tenant: TenantId) -> Result<(), ApiError> {
    match input
        .tenant_ref()
        .map_err(|error| Error::Invalid(error.into()))?
    {
        None => Ok(()),
        Some(TenantRef::Id(named)) if named == tenant => Ok(()),
        Some(TenantRef::Id(_) | TenantRef::ExternalId(_)) => Err(Error::TenantMismatch.into()),
    }
}

problems! {
    GetProblems {
        404: InvoiceNotFound, ", also for another tenant's";
    }
}

/// One invoice, from whichever tier holds it.
#[utoipa::path(
    get, path = "/v1/invoices/{id}", tag = "invoices", operation_id = "getInvoice",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The invoice"),
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "Answer 304 when the version is one of these",
        ),
    ),
    responses(
        (
            status = 200,
            body = InvoiceOut,
            headers(
                ("ETag" = String, description = "The version, quoted"),
                ("Sheaf-Tier" = String, description = "`hot` or `cold`"),
            ),
        ),
        (status = 304, description = "The client has this version"),
        GetProblems,
    ),
)]
pub(crate) async fn get(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    // A path's parameter is a whole segment: its documents' names come here as well.
    if let Ok(Path(name)) = &id
        && let Some((id, form)) = Form::of(name)
    {
        return document::answer(&app, auth.tenant_id, id, form, &headers).await;
    }
    let id = id_in(id, Noun::Invoice)?;
    let found = app.reader.get(auth.tenant_id, id).await?;
    let (invoice, tier) = found.ok_or(Error::NotFound(Noun::Invoice))?;
    let etag = invoice.etag();
    let mut response = if matches_etag(&headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json_bytes(StatusCode::OK, invoice.render())
    };
    let answered = response.headers_mut();
    answered.insert(SHEAF_TIER, HeaderValue::from_static(tier.as_str()));
    answered.extend(HeaderValue::try_from(etag).ok().map(|value| (ETAG, value)));
    Ok(response)
}

/// Invoices of both tiers in one order, newest first.
#[utoipa::path(
    get, path = "/v1/invoices", tag = "invoices", operation_id = "listInvoices",
    security(("bearer" = []), ("apiKey" = [])),
    params(InvoiceParams),
    responses(
        (
            status = 200,
            body = InvoicePage,
            headers(
                (
                    "Sheaf-Tier" = String,
                    description = "`hot`, `cold` or `hot, cold`: where the page's invoices are"
                ),
            ),
        ),
    ),
)]
pub(crate) async fn list(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(&uri, auth.tenant_id, app.clock.now().date_naive())?;
    let page = app
        .reader
        .list(
            auth.tenant_id,
            &asked.filter,
            asked.before,
            asked.limit,
            asked.tier,
        )
        .await?;
    Ok(self::page(&page, &asked))
}

/// A page as it is answered.
pub(super) fn page(page: &MergedPage, asked: &Asked) -> Response {
    let mut body = Vec::with_capacity(64 + 2048 * page.items.len());
    body.extend_from_slice(b"{\"data\":[");
    for (index, (invoice, _)) in page.items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        invoice.render_into(&mut body);
    }
    let next = page
        .next_before
        .filter(|_| page.has_more)
        .map(|id| asked.scope.encode(id.as_bytes()));
    // A cursor is base64url: nothing in it needs an escape.
    let next = next.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
    let tail = format!("],\"has_more\":{},\"next_cursor\":{next}}}", page.has_more);
    body.extend_from_slice(tail.as_bytes());
    let mut response = json_bytes(StatusCode::OK, body);
    let tiers = tiers_of(page.items.iter().map(|(_, tier)| *tier), asked.tier);
    response
        .headers_mut()
        .insert(SHEAF_TIER, HeaderValue::from_static(tiers));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn tiers_of(tiers: impl Iterator<Item = Tier>, asked: Option<Tier>) -> &'static str {
    let (mut hot, mut cold) = (false, false);
    for tier in tiers {
        match tier {
            Tier::Hot => hot = true,
            Tier::Cold => cold = true,
        }
    }
    match (hot, cold) {
        (true, true) => "hot, cold",
        (true, false) => "hot",
        (false, true) => "cold",
        (false, false) => asked.map_or("hot", Tier::as_str),
    }
}

/// What a list asks for.
pub(super) struct Asked {
    pub(super) filter: ListFilter,
    pub(super) tier: Option<Tier>,
    pub(super) limit: usize,
    pub(super) before: Option<Uuid>,
    scope: Scope,
}

impl Asked {
    pub(super) fn parse(uri: &Uri, tenant: TenantId, today: NaiveDate) -> Result<Self, ApiError> {
        let mut params = Params::of(uri)?;
        let limit = params.limit()?;
        let cursor = params.take("cursor")?;
        let tier = match params.take("tier")?.as_deref() {
            None => None,
            Some("hot") => Some(Tier::Hot),
            Some("cold") => Some(Tier::Cold),
            Some(_) => return Err(query::invalid("tier", "must be hot or cold").into()),
        };
        let metadata = params.take_prefixed("metadata.");
        if metadata.len() > MAX_METADATA_FILTERS {
            return Err(query::invalid("metadata", "may have 8 conditions at most").into());
        }
        if metadata
            .iter()
            .any(|(key, value)| key.is_empty() || key.contains('\0') || value.contains('\0'))
        {
            return Err(query::invalid("metadata", "needs a key, and no NUL").into());
        }
        // Overdue is no status that is stored: it follows from the day.
        let status = params.take("status")?;
        let overdue_on = (status.as_deref() == Some("overdue")).then_some(today);
        let status = status
            .filter(|_| overdue_on.is_none())
            .map(|status| status.parse())
            .transpose()
            .map_err(|_| {
                query::invalid(
                    "status",
                    "must be draft, issued, partially_paid, paid, cancelled or overdue",
                )
            })?;
        let filter = ListFilter {
            status,
            overdue_on,
            kind: params.parse("kind", "invoice or credit_note")?,
            customer_id: params.uuid("customer_id")?,
            merged: Vec::new(),
            number: params.take("number")?,
            external_id: params.take("external_id")?,
            issued_from: params.date("issued_from")?,
            issued_to: params.date("issued_to")?,
            metadata,
        };
        params.finish()?;
        let scope = scope_of(tenant, &filter, tier);
        let before = cursor.map(|cursor| scope.decode_id(&cursor)).transpose()?;
        Ok(Self {
            filter,
            tier,
            limit,
            before,
            scope,
        })
    }
}

/// A cursor belongs to one tenant's list with one set of filters.
fn scope_of(tenant: TenantId, filter: &ListFilter, tier: Option<Tier>) -> Scope {
    let scope = Scope::new("invoices")
        .with(&tenant.to_string())
        .with(tier.map_or("", Tier::as_str));
    if *filter == ListFilter::default() {
        return scope;
    }
    // The day may change between two pages; the list stays the same.
    let mut filter = filter.clone();
    filter.overdue_on = filter.overdue_on.map(|_| NaiveDate::default());
    scope.with(&format!("{filter:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_names_the_tiers_on_it() {
        assert_eq!(
            tiers_of([Tier::Hot, Tier::Cold].into_iter(), None),
            "hot, cold"
        );
        assert_eq!(tiers_of([Tier::Cold].into_iter(), None), "cold");
        assert_eq!(tiers_of([].into_iter(), None), "hot");
        assert_eq!(tiers_of([].into_iter(), Some(Tier::Cold)), "cold");
    }
}
