//! `/v1/tenants/{id}/api-keys`: a tenant's credentials, by the admin key.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sheaf_model::{FieldError, Invalid, TenantId};
use sheaf_store::{ApiKey, CreateOutcome, NewApiKey, Role};

use super::tenants::check_text;
use super::{id_in, json, parse_id, to_bytes};
use crate::app::Shared;
use crate::auth::AdminAuth;
use crate::body::JsonBody;
use crate::error::{ApiError, Noun};
use crate::schemas::{ApiKeyCreated, ApiKeyIn, ApiKeyList, ApiKeyOut};
use crate::{idempotency, keys, query};

/// Characters of a key's name.
const MAX_NAME: usize = 200;

impl From<ApiKey> for ApiKeyOut {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            tenant_id: key.tenant_id.0,
            name: key.name,
            role: key.role.as_str().to_owned(),
            prefix: key.prefix,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// Make an API key. The answer holds the key itself, this once: it is not stored. An idempotent replay answers
/// `"api_key": null`.
#[utoipa::path(post, path = "/v1/tenants/{id}/api-keys", tag = "tenants", operation_id = "createApiKey",
    request_body = ApiKeyIn, security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = 201, body = ApiKeyCreated), (status = 404, description = "`tenant_not_found`"),
        (status = 409, description = "`too_many_api_keys`, `idempotency_in_progress`"),
        (status = 422, description = "`invalid_role`, `string_empty`, `string_too_long`, `string_has_nul`, `missing_field`, `unknown_field`, `invalid_type`, `idempotency_key_reused`")))]
pub(super) async fn create(
    _: AdminAuth,
    State(app): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let tenant = existing_tenant(&app, id).await?;
    let input: ApiKeyIn = body.parse()?;
    let role = check(&input)?;
    let key = keys::generate();
    let new = NewApiKey {
        name: input.name,
        role,
        prefix: key.prefix,
        hash: key.hash,
    };
    // What is kept for a replay must not hold the secret.
    let answer = |key: &ApiKey| {
        to_bytes(&ApiKeyCreated {
            key: key.clone().into(),
            api_key: None,
        })
    };
    match app
        .store
        .create_api_key(tenant, new, body.idem.as_ref(), answer)
        .await?
    {
        CreateOutcome::Created(stored) => {
            let answer = ApiKeyCreated {
                key: stored.into(),
                api_key: Some(key.secret),
            };
            Ok(json(StatusCode::CREATED, &answer))
        }
        CreateOutcome::Replay(replay) => Ok(idempotency::replay(replay)),
        CreateOutcome::IdemMismatch => Err(ApiError::IdempotencyReused),
    }
}

/// The tenant's API keys, at most 1,000, revoked ones included.
#[utoipa::path(get, path = "/v1/tenants/{id}/api-keys", tag = "tenants", operation_id = "listApiKeys",
    security(("bearer" = []), ("apiKey" = [])), params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = 200, body = ApiKeyList), (status = 404, description = "`tenant_not_found`")))]
pub(super) async fn list(
    _: AdminAuth,
    State(app): State<Shared>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let tenant = existing_tenant(&app, id).await?;
    let keys = app.store.list_api_keys(tenant).await?;
    let data = keys.into_iter().map(ApiKeyOut::from).collect();
    Ok(json(
        StatusCode::OK,
        &ApiKeyList {
            data,
            has_more: false,
            next_cursor: None,
        },
    ))
}

/// Revoke an API key. At once in this process, within 5 seconds in others. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/v1/tenants/{id}/api-keys/{key_id}", tag = "tenants", operation_id = "revokeApiKey",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The tenant"), ("key_id" = Uuid, Path, description = "The key's id")),
    responses((status = 204, description = "Revoked"), (status = 404, description = "`tenant_not_found`, `api_key_not_found`")))]
pub(super) async fn revoke(
    _: AdminAuth,
    State(app): State<Shared>,
    uri: Uri,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let Ok(Path((tenant, key))) = path else {
        return Err(ApiError::NotFound(Noun::ApiKey));
    };
    let tenant = TenantId(parse_id(&tenant, Noun::Tenant)?);
    let key = parse_id(&key, Noun::ApiKey)?;
    app.store
        .revoke_api_key(tenant, key)
        .await?
        .ok_or(ApiError::NotFound(Noun::ApiKey))?;
    app.keys.forget(key);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn existing_tenant(
    app: &Shared,
    id: Result<Path<String>, PathRejection>,
) -> Result<TenantId, ApiError> {
    let id = TenantId(id_in(id, Noun::Tenant)?);
    app.store
        .get_tenant(id)
        .await?
        .map(|tenant| tenant.id)
        .ok_or(ApiError::NotFound(Noun::Tenant))
}

fn check(input: &ApiKeyIn) -> Result<Role, Invalid> {
    let mut mistakes = Vec::new();
    check_text("name", &input.name, MAX_NAME, &mut mistakes);
    let role = input.role.as_deref().map_or(Ok(Role::Admin), str::parse);
    if role.is_err() {
        mistakes.push(FieldError::new(
            "role",
            "invalid_role",
            "must be admin, finance or viewer",
        ));
    }
    match (Invalid::from_errors(mistakes), role) {
        (None, Ok(role)) => Ok(role),
        (Some(invalid), _) => Err(invalid),
        (None, Err(())) => Err(FieldError::new("role", "invalid_role", "is not valid").into()),
    }
}
