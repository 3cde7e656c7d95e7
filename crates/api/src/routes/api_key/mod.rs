//! `/v1/api-keys`, a tenant's own credentials, and `/v1/tenants/{id}/api-keys`, the same by the
//! admin key.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sheaf_model::TenantId;
use sheaf_store::{ApiKey, CreateOutcome, KeyCause, Origin};
use sheaf_web::answer::{json, to_bytes};
use sheaf_web::auth::{AdminAuth, Keys, api_key};
use sheaf_web::body::JsonBody;
use sheaf_web::error::{Error, Noun};
use sheaf_web::observe::request_id::Requested;
use sheaf_web::path::{id_in, parse_id};
use sheaf_web::{idempotency, query};
use uuid::Uuid;

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::{ApiKeyCreated, ApiKeyIn, ApiKeyList, ApiKeyOut, ApiKeyRotationIn};
use crate::state::Shared;

pub(crate) mod check;
pub(crate) mod schema;

type TwoIds = Result<Path<(String, String)>, PathRejection>;
type OneId = Result<Path<String>, PathRejection>;

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
            expires_at: key.expires_at,
            rotated_from: key.rotated_from,
        }
    }
}

/// Whose keys, and who does what to them.
struct Call {
    app: Shared,
    tenant: TenantId,
    origin: Origin,
    /// Path of the list.
    collection: String,
}

problems! {
    CreateProblems {
        404: TenantNotFound;
        409: TooManyApiKeys, IdempotencyInProgress;
        422: InvalidRole, ExpiresAtInPast, TimeOutOfRange, StringEmpty, StringTooLong, StringHasNul,
            MissingField, UnknownField, InvalidType, IdempotencyKeyReused;
    }
}

/// Make an API key. The answer holds the key itself, this once: it is not stored. An idempotent
/// replay answers `"api_key": null`.
#[utoipa::path(
    post, path = "/v1/tenants/{id}/api-keys", tag = "tenants", operation_id = "createApiKey",
    request_body = ApiKeyIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = 201, body = ApiKeyCreated), CreateProblems),
)]
pub(crate) async fn create(
    _: AdminAuth,
    State(app): State<Shared>,
    requested: Requested,
    id: OneId,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let tenant = existing_tenant(&app, id).await?;
    platform(app, tenant, requested).create(body).await
}

problems! {
    ListProblems {
        404: TenantNotFound;
    }
}

/// The tenant's API keys, at most 1,000, revoked and expired ones included.
#[utoipa::path(
    get, path = "/v1/tenants/{id}/api-keys", tag = "tenants", operation_id = "listApiKeys",
    security(("bearer" = []), ("apiKey" = [])),
    params(("id" = Uuid, Path, description = "The tenant")),
    responses((status = 200, body = ApiKeyList), ListProblems),
)]
pub(crate) async fn list(
    _: AdminAuth,
    State(app): State<Shared>,
    requested: Requested,
    uri: Uri,
    id: OneId,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let tenant = existing_tenant(&app, id).await?;
    platform(app, tenant, requested).list().await
}

problems! {
    RevokeProblems {
        404: TenantNotFound, ApiKeyNotFound;
    }
}

/// Revoke an API key. At once in this process, within 5 seconds in others. Revoking it again
/// changes nothing.
#[utoipa::path(
    delete, path = "/v1/tenants/{id}/api-keys/{key_id}", tag = "tenants",
    operation_id = "revokeApiKey",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The tenant"),
        ("key_id" = Uuid, Path, description = "The key's id"),
    ),
    responses((status = 204, description = "Revoked"), RevokeProblems),
)]
pub(crate) async fn revoke(
    _: AdminAuth,
    State(app): State<Shared>,
    requested: Requested,
    uri: Uri,
    path: TwoIds,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let (tenant, key) = tenant_and_key(path)?;
    platform(app, tenant, requested).revoke(key).await
}

problems! {
    RotateProblems {
        404: TenantNotFound, ApiKeyNotFound;
        409: ApiKeyEnded, TooManyApiKeys, IdempotencyInProgress;
        422: OverlapOutOfRange, ExpiresAtInPast, TimeOutOfRange, UnknownField, InvalidType,
            IdempotencyKeyReused;
    }
}

/// Replace an API key by a new one with the same name and role. The old one goes on for
/// `overlap_seconds`, so that whoever uses it can change over. The answer holds the new key itself,
/// this once.
#[utoipa::path(
    post, path = "/v1/tenants/{id}/api-keys/{key_id}/rotate", tag = "tenants",
    operation_id = "rotateApiKey", request_body = ApiKeyRotationIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = Uuid, Path, description = "The tenant"),
        ("key_id" = Uuid, Path, description = "The old key's id"),
    ),
    responses((status = 201, body = ApiKeyCreated), RotateProblems),
)]
pub(crate) async fn rotate(
    _: AdminAuth,
    State(app): State<Shared>,
    requested: Requested,
    path: TwoIds,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (tenant, key) = tenant_and_key(path)?;
    platform(app, tenant, requested).rotate(key, body).await
}

problems! {
    CreateOwnProblems {
        409: TooManyApiKeys, IdempotencyInProgress;
        422: InvalidRole, ExpiresAtInPast, TimeOutOfRange, StringEmpty, StringTooLong, StringHasNul,
            MissingField, UnknownField, InvalidType, IdempotencyKeyReused;
    }
}

/// Make an API key of the caller's tenant. The answer holds the key itself, this once. An
/// idempotent replay answers `"api_key": null`.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "api keys", operation_id = "createOwnApiKey",
    request_body = ApiKeyIn,
    security(("bearer" = []), ("apiKey" = [])),
    responses((status = 201, body = ApiKeyCreated), CreateOwnProblems),
)]
pub(crate) async fn create_own(
    auth: Keys,
    State(app): State<Shared>,
    requested: Requested,
    body: JsonBody,
) -> Result<Response, ApiError> {
    own(app, auth, requested).create(body).await
}

/// The API keys of the caller's tenant, at most 1,000, revoked and expired ones included.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "api keys", operation_id = "listOwnApiKeys",
    security(("bearer" = []), ("apiKey" = [])),
    responses((status = 200, body = ApiKeyList)),
)]
pub(crate) async fn list_own(
    auth: Keys,
    State(app): State<Shared>,
    requested: Requested,
    uri: Uri,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    own(app, auth, requested).list().await
}

problems! {
    RevokeOwnProblems {
        404: ApiKeyNotFound, ", also for another tenant's";
    }
}

/// Revoke an API key of the caller's tenant. At once in this process, within 5 seconds in others.
#[utoipa::path(
    delete, path = "/v1/api-keys/{key_id}", tag = "api keys", operation_id = "revokeOwnApiKey",
    security(("bearer" = []), ("apiKey" = [])),
    params(("key_id" = Uuid, Path, description = "The key's id")),
    responses((status = 204, description = "Revoked"), RevokeOwnProblems),
)]
pub(crate) async fn revoke_own(
    auth: Keys,
    State(app): State<Shared>,
    requested: Requested,
    uri: Uri,
    id: OneId,
) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let key = id_in(id, Noun::ApiKey)?;
    own(app, auth, requested).revoke(key).await
}

problems! {
    RotateOwnProblems {
        404: ApiKeyNotFound, ", also for another tenant's";
        409: ApiKeyEnded, TooManyApiKeys, IdempotencyInProgress;
        422: OverlapOutOfRange, ExpiresAtInPast, TimeOutOfRange, UnknownField, InvalidType,
            IdempotencyKeyReused;
    }
}

/// Replace an API key of the caller's tenant by a new one with the same name and role; the old one
/// goes on for `overlap_seconds`. The answer holds the new key itself, this once.
#[utoipa::path(
    post, path = "/v1/api-keys/{key_id}/rotate", tag = "api keys", operation_id = "rotateOwnApiKey",
    request_body = ApiKeyRotationIn,
    security(("bearer" = []), ("apiKey" = [])),
    params(("key_id" = Uuid, Path, description = "The old key's id")),
    responses((status = 201, body = ApiKeyCreated), RotateOwnProblems),
)]
pub(crate) async fn rotate_own(
    auth: Keys,
    State(app): State<Shared>,
    requested: Requested,
    id: OneId,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let key = id_in(id, Noun::ApiKey)?;
    own(app, auth, requested).rotate(key, body).await
}

fn platform(app: Shared, tenant: TenantId, requested: Requested) -> Call {
    Call {
        app,
        tenant,
        origin: requested.by("admin".into()),
        collection: format!("/v1/tenants/{tenant}/api-keys"),
    }
}

fn own(app: Shared, Keys(auth): Keys, requested: Requested) -> Call {
    Call {
        app,
        tenant: auth.tenant_id,
        origin: requested.by(auth.actor),
        collection: "/v1/api-keys".to_owned(),
    }
}

impl Call {
    fn cause(&self, body: Option<&JsonBody>) -> KeyCause {
        KeyCause {
            origin: self.origin.clone(),
            idem: body.and_then(|body| body.idem.clone()),
            collection: self.collection.clone(),
        }
    }

    async fn create(self, body: JsonBody) -> Result<Response, ApiError> {
        let input: ApiKeyIn = body.parse()?;
        let key = api_key::generate();
        let new = check::new_key(input, &key, self.app.clock.now())?;
        let cause = self.cause(Some(&body));
        let store = &self.app.store;
        let outcome = store
            .create_api_key(self.tenant, new, &cause, without_secret)
            .await?;
        answer(outcome, key.secret)
    }

    async fn rotate(self, old: Uuid, body: JsonBody) -> Result<Response, ApiError> {
        let input: ApiKeyRotationIn = body.parse()?;
        let key = api_key::generate();
        let rotation = check::rotation(&input, &key, self.app.clock.now())?;
        let cause = self.cause(Some(&body));
        let store = &self.app.store;
        let outcome = store
            .rotate_api_key(self.tenant, old, rotation, &cause, without_secret)
            .await?;
        self.app.web.auth.forget(old);
        answer(outcome.ok_or(Error::NotFound(Noun::ApiKey))?, key.secret)
    }

    async fn list(self) -> Result<Response, ApiError> {
        let keys = self.app.store.list_api_keys(self.tenant).await?;
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

    async fn revoke(self, key: Uuid) -> Result<Response, ApiError> {
        let cause = self.cause(None);
        let store = &self.app.store;
        store
            .revoke_api_key(self.tenant, key, &cause)
            .await?
            .ok_or(Error::NotFound(Noun::ApiKey))?;
        self.app.web.auth.forget(key);
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

/// What is kept for a replay must not hold the secret.
fn without_secret(key: &ApiKey) -> Vec<u8> {
    to_bytes(&ApiKeyCreated {
        key: key.clone().into(),
        api_key: None,
    })
}

fn answer(outcome: CreateOutcome<ApiKey>, secret: String) -> Result<Response, ApiError> {
    match outcome {
        CreateOutcome::Created(stored) => {
            let answer = ApiKeyCreated {
                key: stored.into(),
                api_key: Some(secret),
            };
            Ok(json(StatusCode::CREATED, &answer))
        }
        CreateOutcome::Replay(replay) => Ok(idempotency::replay(replay)),
    }
}

fn tenant_and_key(path: TwoIds) -> Result<(TenantId, Uuid), ApiError> {
    let Ok(Path((tenant, key))) = path else {
        return Err(Error::NotFound(Noun::ApiKey).into());
    };
    let tenant = TenantId(parse_id(&tenant, Noun::Tenant)?);
    Ok((tenant, parse_id(&key, Noun::ApiKey)?))
}

async fn existing_tenant(app: &Shared, id: OneId) -> Result<TenantId, ApiError> {
    let id = TenantId(id_in(id, Noun::Tenant)?);
    app.store
        .get_tenant(id)
        .await?
        .map(|tenant| tenant.id)
        .ok_or(Error::NotFound(Noun::Tenant).into())
}
