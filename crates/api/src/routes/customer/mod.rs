//! `/v1/customers`: the records of a tenant's customers, their invoices and balances.

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;
use sheaf_model::customer::{CustomerPatch, new_customer};
use sheaf_model::money::decimal::render_amount;
use sheaf_model::{Decimal, TenantId};
use sheaf_store::{
    Balance, Cause, CreateOutcome, CustomerFilter, CustomerRecord, ListFilter, Merged,
};
use sheaf_web::answer::{PageOut, json, json_bytes, to_bytes};
use sheaf_web::auth::{Customers, Reader, TenantAuth};
use sheaf_web::body::{JsonBody, PatchBody};
use sheaf_web::cursor::Scope;
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag::{self, Preconditions, matches_etag};
use sheaf_web::idempotency;
use sheaf_web::observe::request_id::Requested;
use sheaf_web::path::id_in;
use sheaf_web::query::{self, Params};
use uuid::Uuid;

use crate::error::ApiError;
use crate::problems::problems;
use crate::routes::invoice::{self, Asked};
use crate::schema::{
    BalanceOut, CustomerBalance, CustomerNew, CustomerPage, CustomerParams, CustomerPatchIn,
    CustomerRecordOut, InvoicePage, InvoiceParams, MergeIn, MergeOut,
};
use crate::state::Shared;

impl From<&CustomerRecord> for CustomerRecordOut {
    fn from(record: &CustomerRecord) -> Self {
        let (fields, c) = (&record.fields, &record.fields.customer);
        Self {
            id: record.id,
            external_id: c.external_id.clone(),
            name: c.name.clone(),
            email: c.email.clone(),
            tax_id: c.tax_id.clone(),
            address: c.address.clone(),
            country: c.country.clone(),
            // Metadata is JSON in normal form.
            metadata: RawValue::from_string(fields.metadata.as_str().to_owned())
                .unwrap_or_else(|_| RawValue::NULL.to_owned()),
            active: fields.active,
            merged_into: record.merged_into,
            version: record.version,
            created_at: record.created_at,
            modified_at: record.modified_at,
        }
    }
}

impl From<&Merged> for MergeOut {
    fn from(merged: &Merged) -> Self {
        Self {
            customer: (&merged.customer).into(),
            invoices_moved: merged.invoices,
            complete: merged.complete,
        }
    }
}

problems! {
    CreateProblems {
        409: DuplicateExternalId, IdempotencyInProgress;
        422: "The first field's code, ", StringTooLong, " for example; ", IdempotencyKeyReused;
    }
}

/// Make a customer.
#[utoipa::path(
    post, path = "/v1/customers", tag = "customers", operation_id = "createCustomer",
    request_body = CustomerNew,
    security(("bearer" = []), ("apiKey" = [])),
    responses(
        (
            status = 201,
            body = CustomerRecordOut,
            headers(
                ("Location" = String, description = "Path of the customer"),
                ("ETag" = String, description = "The version, quoted"),
            ),
        ),
        CreateProblems,
    ),
)]
pub(crate) async fn create(
    Customers(auth): Customers,
    State(app): State<Shared>,
    requested: Requested,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let fields = new_customer(&body.bytes)?;
    let tenant = auth.tenant_id;
    let cause = Cause::new(requested.by(auth.actor), app.clock.now());
    let made = app
        .store
        .create_customer(tenant, &fields, &cause, body.idem.as_ref(), rendered)
        .await?;
    match made {
        CreateOutcome::Created(record) => {
            let mut response = answer(StatusCode::CREATED, &record);
            let location = HeaderValue::try_from(format!("/v1/customers/{}", record.id));
            let headers = response.headers_mut();
            headers.extend(location.ok().map(|location| (LOCATION, location)));
            Ok(response)
        }
        CreateOutcome::Replay(replay) => {
            let mut response = idempotency::replay(replay);
            // What is replayed is the answer to a creation, which always has the first version.
            etag::set(response.headers_mut(), 1);
            Ok(response)
        }
    }
}

/// The customers, newest first.
#[utoipa::path(
    get, path = "/v1/customers", tag = "customers", operation_id = "listCustomers",
    security(("bearer" = []), ("apiKey" = [])),
    params(CustomerParams),
    responses((status = 200, body = CustomerPage)),
)]
pub(crate) async fn list(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri)?;
    let limit = params.limit()?;
    let cursor = params.take("cursor")?;
    let filter = CustomerFilter {
        external_id: params.take("external_id")?,
        tax_id: params.take("tax_id")?,
        email: params.take("email")?,
        active: params.parse("active", "true or false")?,
    };
    params.finish()?;
    let scope = Scope::new("customers")
        .with(&auth.tenant_id.to_string())
        .with(&format!("{filter:?}"));
    let before = cursor.map(|cursor| scope.decode_id(&cursor)).transpose()?;
    let page = app
        .store
        .list_customers(auth.tenant_id, &filter, before, limit)
        .await?;
    let last = page.items.last().filter(|_| page.has_more);
    let next_cursor = last.map(|record| scope.encode(record.id.as_bytes()));
    let data: Vec<CustomerRecordOut> = page.items.iter().map(Into::into).collect();
    Ok(json(
        StatusCode::OK,
        &PageOut {
            data,
            has_more: page.has_more,
            next_cursor,
        },
    ))
}

problems! {
    GetProblems {
        404: CustomerNotFound, ", also for another tenant's";
    }
}

/// One customer.
#[utoipa::path(
    get, path = "/v1/customers/{id}", tag = "customers", operation_id = "getCustomer",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The customer"),
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "Answer 304 when the version is one of these",
        ),
    ),
    responses(
        (
            status = 200,
            body = CustomerRecordOut,
            headers(("ETag" = String, description = "The version, quoted")),
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
    let record = existing(&app, auth.tenant_id, id_in(id, Noun::Customer)?).await?;
    if matches_etag(&headers, &etag::etag(record.version)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        etag::set(response.headers_mut(), record.version);
        return Ok(response);
    }
    Ok(answer(StatusCode::OK, &record))
}

problems! {
    UpdateProblems {
        404: CustomerNotFound;
        409: DuplicateExternalId, CustomerMerged, CustomerErased;
        412: VersionMismatch;
        422: "The first field's code, ", StringTooLong, " for example";
    }
}

/// Change a customer, by a JSON merge patch (`application/json` or `application/merge-patch+json`).
/// What was issued keeps the customer as it was.
#[utoipa::path(
    patch, path = "/v1/customers/{id}", tag = "customers", operation_id = "updateCustomer",
    request_body = CustomerPatchIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The customer"),
        (
            "If-Match" = Option<String>,
            Header,
            description = "Only where the version is one of these",
        ),
    ),
    responses(
        (
            status = 200,
            body = CustomerRecordOut,
            headers(("ETag" = String, description = "The version, quoted")),
        ),
        UpdateProblems,
    ),
)]
pub(crate) async fn update(
    Customers(auth): Customers,
    State(app): State<Shared>,
    requested: Requested,
    Preconditions { expected }: Preconditions,
    id: Result<Path<String>, PathRejection>,
    PatchBody(body): PatchBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Customer)?;
    let patch = CustomerPatch::parse(&body.bytes)?;
    let cause = Cause::new(requested.by(auth.actor), app.clock.now());
    let change = |fields: &_| patch.clone().apply(fields);
    let record = app
        .store
        .update_customer(auth.tenant_id, id, expected.as_ref(), &cause, change)
        .await?;
    Ok(answer(StatusCode::OK, &record))
}

problems! {
    DeleteProblems {
        404: CustomerNotFound;
        409: CustomerInUse,
            ": a hot invoice refers to it, archived ones may, or it took part in a merge";
        412: VersionMismatch;
    }
}

/// Delete a customer that no invoice refers to. Others can be made inactive.
#[utoipa::path(
    delete, path = "/v1/customers/{id}", tag = "customers", operation_id = "deleteCustomer",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The customer"),
        (
            "If-Match" = Option<String>,
            Header,
            description = "Only where the version is one of these",
        ),
    ),
    responses((status = 204, description = "Deleted"), DeleteProblems),
)]
pub(crate) async fn delete(
    Customers(auth): Customers,
    State(app): State<Shared>,
    requested: Requested,
    Preconditions { expected }: Preconditions,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let id = id_in(id, Noun::Customer)?;
    let cause = Cause::new(requested.by(auth.actor), app.clock.now());
    app.store
        .delete_customer(auth.tenant_id, id, expected.as_ref(), &cause)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

problems! {
    MergeProblems {
        404: CustomerNotFound;
        409: MergeChain, CustomerMerged, CustomerInactive, CustomerErased, TooManyMerges,
            IdempotencyInProgress;
        422: CustomerNotFound, " of `into`, ", MissingField, UnknownField, InvalidType,
            IdempotencyKeyReused;
    }
}

/// Merge a duplicate into the customer that it duplicates. Its hot invoices get the survivor's
/// `customer_id` (what was issued keeps the customer as it was), it becomes inactive, and its
/// `external_id` leads to the survivor from then on. With very many invoices the answer says
/// `"complete": false`: the same request again goes on.
#[utoipa::path(
    post, path = "/v1/customers/{id}/merge", tag = "customers", operation_id = "mergeCustomer",
    request_body = MergeIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The duplicate")),
    responses((status = 200, body = MergeOut), MergeProblems),
)]
pub(crate) async fn merge(
    Customers(auth): Customers,
    State(app): State<Shared>,
    requested: Requested,
    id: Result<Path<String>, PathRejection>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Customer)?;
    let MergeIn { into } = body.parse()?;
    let cause = Cause::new(requested.by(auth.actor), app.clock.now());
    let rendered = |merged: &Merged| to_bytes(&MergeOut::from(merged));
    let merged = app
        .store
        .merge_customer(
            auth.tenant_id,
            id,
            into,
            &cause,
            body.idem.as_ref(),
            rendered,
        )
        .await?;
    match merged {
        CreateOutcome::Created(merged) => Ok(json_bytes(StatusCode::OK, rendered(&merged))),
        CreateOutcome::Replay(replay) => Ok(idempotency::replay(replay)),
    }
}

problems! {
    ListInvoicesProblems {
        404: CustomerNotFound;
    }
}

/// Invoices of a customer and of those merged into it, of both tiers in one order, newest first.
#[utoipa::path(
    get, path = "/v1/customers/{id}/invoices", tag = "customers",
    operation_id = "listCustomerInvoices",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The customer"), InvoiceParams),
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
        ListInvoicesProblems,
    ),
)]
pub(crate) async fn list_invoices(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = id_in(id, Noun::Customer)?;
    // The list of invoices with one filter given: a second one is refused as it is there.
    let query = format!("/?customer_id={id}&{}", uri.query().unwrap_or_default());
    let query = Uri::try_from(query.trim_end_matches('&'))
        .map_err(|_| query::invalid("query", "is too long"))?;
    let asked = Asked::parse(&query, auth.tenant_id, app.clock.now().date_naive())?;
    existing(&app, auth.tenant_id, id).await?;
    let filter = ListFilter {
        merged: app.store.merged_customers(auth.tenant_id, id).await?,
        ..asked.filter.clone()
    };
    let (before, limit) = (asked.before, asked.limit);
    let page = app
        .reader
        .list(auth.tenant_id, &filter, before, limit, asked.tier);
    Ok(invoice::page(&page.await?, &asked))
}

problems! {
    BalanceProblems {
        404: CustomerNotFound;
    }
}

/// What a customer owes and has paid, by currency, from the hot tier: the last year, and whatever
/// is still owed.
#[utoipa::path(
    get, path = "/v1/customers/{id}/balance", tag = "customers",
    operation_id = "getCustomerBalance",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The customer")),
    responses((status = 200, body = CustomerBalance), BalanceProblems),
)]
pub(crate) async fn balance(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let id = id_in(id, Noun::Customer)?;
    let (tenant, ids) = with_merged(&app, &auth, id).await?;
    let as_of = app.clock.now().date_naive();
    let balances = app.store.balance(tenant, &ids, as_of).await?;
    Ok(json(
        StatusCode::OK,
        &CustomerBalance {
            customer_id: id,
            tier: "hot",
            as_of,
            balances: balances.iter().map(balance_out).collect(),
        },
    ))
}

fn balance_out(balance: &Balance) -> BalanceOut {
    let amount = |value: Decimal| render_amount(value, balance.currency.exponent());
    BalanceOut {
        currency: balance.currency.code().to_owned(),
        invoiced: amount(balance.invoiced),
        paid: amount(balance.paid),
        due: amount(balance.due),
        overdue: amount(balance.overdue),
        credit_available: amount(balance.credit),
    }
}

fn rendered(record: &CustomerRecord) -> Vec<u8> {
    to_bytes(&CustomerRecordOut::from(record))
}

fn answer(status: StatusCode, record: &CustomerRecord) -> Response {
    let mut response = json_bytes(status, rendered(record));
    etag::set(response.headers_mut(), record.version);
    response
}

async fn existing(app: &Shared, tenant: TenantId, id: Uuid) -> Result<CustomerRecord, ApiError> {
    let found = app.store.get_customer(tenant, id).await?;
    found.ok_or(Error::NotFound(Noun::Customer).into())
}

/// The customer, which must exist, and those that were merged into it: archived invoices keep the
/// customer that they had.
async fn with_merged(
    app: &Shared,
    auth: &TenantAuth,
    id: Uuid,
) -> Result<(TenantId, Vec<Uuid>), ApiError> {
    let tenant = auth.tenant_id;
    existing(app, tenant, id).await?;
    let mut ids = app.store.merged_customers(tenant, id).await?;
    ids.insert(0, id);
    Ok((tenant, ids))
}
