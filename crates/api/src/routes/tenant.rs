//! `/v1/tenants`: the platform's tenants, by the admin key.

pub(crate) mod schema;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use sheaf_model::visible_text::is_blank;
use sheaf_model::{Code, FieldError, Invalid, TenantId, bounds};
use sheaf_store::{CreateOutcome, NewTenant, Tenant};
use sheaf_web::answer::{PageOut, json, json_bytes, to_bytes};
use sheaf_web::auth::AdminAuth;
use sheaf_web::body::JsonBody;
use sheaf_web::cursor::Scope;
use sheaf_web::error::{Error, Noun};
use sheaf_web::path::id_in;
use sheaf_web::{idempotency, query};

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{TenantIn, TenantOut, TenantPage};
use crate::state::Shared;

/// Characters of a name, of tenants and of API keys.
const MAX_NAME: usize = 200;

impl From<&Tenant> for TenantOut {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.0,
            name: tenant.name.clone(),
            external_id: tenant.external_id.clone(),
            created_at: tenant.created_at,
        }
    }
}

problems! {
    CreateProblems {
        409: DuplicateExternalId, IdempotencyInProgress;
        422: StringEmpty, StringTooLong, StringHasNul, MissingField, UnknownField, InvalidType,
            IdempotencyKeyReused;
    }
}

/// Make a tenant.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "tenants", operation_id = "createTenant",
    request_body = TenantIn,
    security(("bearer" = []), ("apiKey" = [])),
    responses(
        (
            status = 201,
            body = TenantOut,
            headers(("Location" = String, description = "Path of the tenant")),
        ),
        CreateProblems,
    ),
)]
pub(crate) async fn create(
    _: AdminAuth,
    State(app): State<Shared>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let input: TenantIn = body.parse()?;
    let mut mistakes = Vec::new();
    check_text("name", &input.name, MAX_NAME, &mut mistakes);
    if let Some(external_id) = &input.external_id {
        check_text(
            "external_id",
            external_id,
            bounds::MAX_EXTERNAL_ID,
            &mut mistakes,
        );
    }
    if let Some(invalid) = Invalid::from_errors(mistakes) {
        return Err(invalid.into());
    }
    let new = NewTenant {
        name: input.name,
        external_id: input.external_id,
    };
    let answer = |tenant: &Tenant| to_bytes(&TenantOut::from(tenant));
    match app
        .store
        .create_tenant(new, body.idem.as_ref(), answer)
        .await?
    {
        CreateOutcome::Created(tenant) => {
            let location = HeaderValue::try_from(format!("/v1/tenants/{}", tenant.id));
            let mut response = json_bytes(StatusCode::CREATED, answer(&tenant));
            response
                .headers_mut()
                .extend(location.ok().map(|location| (LOCATION, location)));
            Ok(response)
        }
        CreateOutcome::Replay(replay) => Ok(idempotency::replay(replay)),
    }
}

/// The tenants, newest first.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants", operation_id = "listTenants",
    security(("bearer" = []), ("apiKey" = [])),
    params(crate::schema::PageParams),
    responses((status = 200, body = TenantPage)),
)]
pub(crate) async fn list(
    _: AdminAuth,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = query::Params::of(&uri)?;
    let limit = params.limit()?;
    let scope = Scope::new("tenants");
    let before = params
        .take("cursor")?
        .map(|cursor| scope.decode_id(&cursor))
        .transpose()?;
    params.finish()?;
    let page = app.store.list_tenants(before, limit).await?;
    let last = page.items.last().map(|tenant| tenant.id);
    let next_cursor = last
        .filter(|_| page.has_more)
        .map(|id| scope.encode(id.0.as_bytes()));
    let data: Vec<TenantOut> = page.items.iter().map(TenantOut::from).collect();
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
        404: TenantNotFound;
    }
}

/// One tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{id}", tag = "tenants", operation_id = "getTenant",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = 200, body = TenantOut), GetProblems),
)]
pub(crate) async fn get(
    _: AdminAuth,
    State(app): State<Shared>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let id = TenantId(id_in(id, Noun::Tenant)?);
    let tenant = app
        .store
        .get_tenant(id)
        .await?
        .ok_or(Error::NotFound(Noun::Tenant))?;
    Ok(json(StatusCode::OK, &TenantOut::from(&tenant)))
}

/// Notes what is wrong with a required text.
pub(super) fn check_text(field: &str, text: &str, max: usize, mistakes: &mut Vec<FieldError>) {
    let mut note = |code, detail: &str| mistakes.push(FieldError::new(field, code, detail));
    if is_blank(text) {
        note(Code::StringEmpty, "must not be empty");
    } else if text.contains('\0') {
        note(Code::StringHasNul, "must not contain NUL");
    } else if text.chars().nth(max).is_some() {
        note(
            Code::StringTooLong,
            &format!("may have {max} characters at most"),
        );
    }
}
