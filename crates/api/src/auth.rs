//! Who calls, and what they may do. The tenant comes from these extractors and from nowhere else.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use sheaf_model::TenantId;
use sheaf_store::Role;
use uuid::Uuid;

use crate::app::{App, Shared};
use crate::error::ApiError;
use crate::keys::{self, KnownKey};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");

/// What a tenant's route does with the tenant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Write,
}

/// The one table of what each role may do.
fn allows(role: Role, action: Action) -> bool {
    match (role, action) {
        (Role::Admin | Role::Finance, Action::Read | Action::Write)
        | (Role::Viewer, Action::Read) => true,
        (Role::Viewer, Action::Write) => false,
    }
}

/// A tenant's credential.
#[derive(Clone, Debug)]
pub(crate) struct TenantAuth {
    /// Whose data it opens.
    pub(crate) tenant_id: TenantId,
    /// `api_key:<id>`, for the audit trail.
    pub(crate) actor: Arc<str>,
}

/// A tenant's credential that may read.
#[derive(Clone, Debug)]
pub(crate) struct Reader(pub(crate) TenantAuth);

/// A tenant's credential that may write.
#[derive(Clone, Debug)]
pub(crate) struct Writer(pub(crate) TenantAuth);

/// The platform's admin key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminAuth;

impl FromRequestParts<Shared> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        tenant(&parts.headers, app, Action::Read).await.map(Self)
    }
}

impl FromRequestParts<Shared> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        tenant(&parts.headers, app, Action::Write).await.map(Self)
    }
}

impl FromRequestParts<Shared> for AdminAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let secret = credential(&parts.headers)?;
        if app.is_admin(secret) {
            return Ok(Self);
        }
        active(app, secret).await?;
        Err(ApiError::AdminRequired)
    }
}

async fn tenant(headers: &HeaderMap, app: &App, action: Action) -> Result<TenantAuth, ApiError> {
    let secret = credential(headers)?;
    if app.is_admin(secret) {
        return Err(ApiError::TenantCredentialRequired);
    }
    let key = active(app, secret).await?;
    if let Some(named) = headers.get(X_TENANT_ID) {
        let named = named
            .to_str()
            .ok()
            .and_then(|text| Uuid::parse_str(text).ok());
        if named != Some(key.tenant_id.0) {
            return Err(ApiError::TenantMismatch);
        }
    }
    if !allows(key.role, action) {
        return Err(ApiError::ForbiddenRole);
    }
    Ok(TenantAuth {
        tenant_id: key.tenant_id,
        actor: Arc::clone(&key.actor),
    })
}

/// The key that `secret` is, if it is one and still good.
async fn active(app: &App, secret: &str) -> Result<Arc<KnownKey>, ApiError> {
    let key = app
        .keys
        .find(&app.store, secret)
        .await?
        .ok_or(ApiError::InvalidCredential)?;
    if key.revoked {
        Err(ApiError::RevokedCredential)
    } else {
        Ok(key)
    }
}

/// What the client presents. A credential in a form that is not ours is a wrong one, not a missing one.
fn credential(headers: &HeaderMap) -> Result<&str, ApiError> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| ApiError::InvalidCredential)?;
        return match text.split_once(' ') {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => Ok(secret.trim()),
            _ => Err(ApiError::InvalidCredential),
        };
    }
    let value = headers.get(X_API_KEY).ok_or(ApiError::MissingCredential)?;
    value.to_str().map_err(|_| ApiError::InvalidCredential)
}

/// Compares hashes without stopping at the first difference: the time taken says nothing about the key.
pub(crate) fn same_secret(presented: &str, expected: &[u8; 32]) -> bool {
    let presented = keys::hash(presented);
    presented
        .iter()
        .zip(expected)
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_viewers_cannot_write() {
        for role in [Role::Admin, Role::Finance, Role::Viewer] {
            assert!(allows(role, Action::Read));
            assert_eq!(allows(role, Action::Write), role != Role::Viewer);
        }
    }
}
