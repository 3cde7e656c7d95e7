//! Who calls, and what they may do. The tenant comes from these extractors and from nowhere else.

pub(crate) mod api_key;
pub(crate) mod guesses;

mod crypto;
mod jwks;
mod jwt;
pub(crate) mod known_tenant;
pub(crate) mod role;

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sheaf_model::TenantId;
use sheaf_store::Role;
use uuid::Uuid;

use crate::auth::guesses::Secret;
use crate::error::ApiError;
use crate::headers::{X_API_KEY, X_TENANT_ID};
use crate::state::{App, Shared};

use crate::rate_limit::Standing;

pub(crate) use crate::auth::known_tenant::KnownTenants;
pub(crate) use crate::auth::role::Action;
pub use crate::auth::role::role_table;
pub(crate) use jwt::Jwt;

/// A tenant's credential.
#[derive(Clone, Debug)]
pub(crate) struct TenantAuth {
    /// Whose data it opens.
    pub(crate) tenant_id: TenantId,
    /// `api_key:<id>` or `jwt:<iss>/<sub>`, for the audit trail.
    pub(crate) actor: Arc<str>,
}

/// What became known of a request's caller: the layer around the route reads it when the answer is
/// there.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// Whose credential it is, also one that is refused.
    pub(crate) auth: OnceLock<TenantAuth>,
    /// How many requests are left.
    pub(crate) standing: OnceLock<Standing>,
}

/// One extractor for each action. A handler that takes it gets the tenant, and cannot be reached by
/// a role that the table does not allow.
macro_rules! extractors {
    ($($(#[$meta:meta])* $name:ident => $action:ident,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name(pub(crate) TenantAuth);

        impl FromRequestParts<Shared> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
                tenant(parts, app, Action::$action).await.map(Self)
            }
        }
    )*};
}

extractors! {
    /// May read documents.
    Reader => Read,
    /// May write documents.
    Writer => Write,
    /// May move money: payments, refunds, reversals, credit notes, cancellations.
    Money => Money,
    /// May make and change customers.
    Customers => Customers,
    /// May change number series and the tenant's profile.
    Settings => Settings,
    /// May erase customers' personal data and set retention.
    Privacy => Privacy,
    /// May manage API keys.
    Keys => Keys,
    /// May read the audit trail.
    Auditor => Audit,
}

/// The platform's admin key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminAuth;

impl FromRequestParts<Shared> for AdminAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        match principal(parts, app).await? {
            Principal::Admin => Ok(Self),
            Principal::Tenant(..) => Err(ApiError::AdminRequired),
        }
    }
}

/// Whose credential it is.
enum Principal {
    Admin,
    Tenant(TenantAuth, Role),
}

async fn tenant(parts: &Parts, app: &App, action: Action) -> Result<TenantAuth, ApiError> {
    let Principal::Tenant(auth, role) = principal(parts, app).await? else {
        return Err(ApiError::TenantCredentialRequired);
    };
    if let Some(limits) = &app.limits {
        let standing = limits.take(auth.tenant_id);
        if let Some(caller) = parts.extensions.get::<Arc<Caller>>() {
            let _first = caller.standing.set(standing);
        }
        if let Some(seconds) = standing.retry_after {
            return Err(ApiError::RateLimited(seconds));
        }
    }
    if let Some(named) = parts.headers.get(X_TENANT_ID) {
        let named = named
            .to_str()
            .ok()
            .and_then(|text| Uuid::parse_str(text).ok());
        if named != Some(auth.tenant_id.0) {
            return Err(ApiError::TenantMismatch);
        }
    }
    if crate::auth::role::allows(role, action) {
        Ok(auth)
    } else {
        Err(ApiError::ForbiddenRole)
    }
}

/// Recognises the credential, and counts it against its address if it is wrong.
async fn principal(parts: &Parts, app: &App) -> Result<Principal, ApiError> {
    let guesses = app.guesses.as_ref();
    let from = guesses.and_then(|guesses| Some((guesses, guesses.address(parts)?)));
    let credential = match credential(&parts.headers) {
        // None is no guess, nor are two.
        Err(error) if !matches!(error, ApiError::InvalidCredential) => return Err(error),
        credential => credential,
    };
    // One in a form that is not ours is a guess, and all such are the same.
    let hash = credential.as_ref();
    let hash = hash.map_or([0; 32], |credential| api_key::hash(credential.text()));
    let secret = Secret {
        hash,
        can_be_guessed: app.admin_can_be_guessed() && app.is_admin(&hash),
    };
    let admitted = from.map(|(guesses, from)| (guesses, guesses.admit(from, secret)));
    let suspect = admitted.is_some_and(|(_, admitted)| admitted.is_suspect());
    let outcome = match credential {
        Ok(credential) => recognise(parts, app, &credential, &hash, suspect).await,
        Err(error) => Err(error),
    };
    match (admitted, outcome) {
        (Some((guesses, admitted)), Err(ApiError::InvalidCredential)) => {
            Err(guesses.wrong(admitted))
        }
        (Some((guesses, admitted)), Ok(principal)) => {
            guesses.right(admitted, secret);
            Ok(principal)
        }
        (Some((guesses, admitted)), outcome) => {
            guesses.forgive(admitted);
            outcome
        }
        (None, outcome) => outcome,
    }
}

/// Whose the credential is. One that is known is noted in the request's [`Caller`], also when it is
/// refused. A `suspect` one comes from where many wrong ones come from: keys and signatures, which
/// nobody guesses, are looked at all the same, or whoever shares an address with a guesser could
/// not come in.
async fn recognise(
    parts: &Parts,
    app: &App,
    credential: &Credential<'_>,
    hash: &[u8; 32],
    suspect: bool,
) -> Result<Principal, ApiError> {
    let secret = credential.text();
    if app.is_admin(hash) && !(suspect && app.admin_can_be_guessed()) {
        return Ok(Principal::Admin);
    }
    let note = |tenant_id, actor: &Arc<str>| {
        let auth = TenantAuth {
            tenant_id,
            actor: Arc::clone(actor),
        };
        if let Some(caller) = parts.extensions.get::<Arc<Caller>>() {
            let _first = caller.auth.set(auth.clone());
        }
        auth
    };
    if let (Credential::Bearer(token), Some(jwt)) = (credential, &app.jwt)
        && jwt::looks_like_one(token)
    {
        let (verified, expired) = match jwt.verify(token, app.clock.now()).await {
            Ok(verified) => (verified, false),
            Err(jwt::Refused::Expired(verified)) => (verified, true),
            Err(jwt::Refused::NoKeys) => return Err(ApiError::JwksUnavailable),
            Err(jwt::Refused::Invalid(why)) => {
                tracing::debug!(why, "a token was refused");
                return Err(ApiError::InvalidCredential);
            }
        };
        if !app.tenants.exists(&app.store, verified.tenant_id).await? {
            return Err(ApiError::UnknownTenant);
        }
        let auth = note(verified.tenant_id, &verified.actor);
        return if expired {
            Err(ApiError::ExpiredCredential)
        } else {
            Ok(Principal::Tenant(auth, verified.role))
        };
    }
    let found = app.keys.find(&app.store, secret, hash, suspect).await?;
    let key = found.ok_or(ApiError::InvalidCredential)?;
    let auth = note(key.tenant_id, &key.actor);
    if key.revoked {
        return Err(ApiError::RevokedCredential);
    }
    if key.expires_at.is_some_and(|end| end <= app.clock.now()) {
        return Err(ApiError::ExpiredCredential);
    }
    Ok(Principal::Tenant(auth, key.role))
}

/// What the client presents.
enum Credential<'a> {
    /// `Authorization: Bearer`: an API key or a JWT.
    Bearer(&'a str),
    /// `X-Api-Key`.
    Key(&'a str),
}

impl<'a> Credential<'a> {
    fn text(&self) -> &'a str {
        match self {
            Self::Bearer(text) | Self::Key(text) => text,
        }
    }
}

/// A credential in a form that is not ours is a wrong one, not a missing one.
fn credential(headers: &HeaderMap) -> Result<Credential<'_>, ApiError> {
    let key = headers.get(X_API_KEY);
    let Some(value) = headers.get(AUTHORIZATION) else {
        let value = key.ok_or(ApiError::MissingCredential)?;
        let text = value.to_str().map_err(|_| ApiError::InvalidCredential)?;
        return Ok(Credential::Key(text));
    };
    let text = value.to_str().map_err(|_| ApiError::InvalidCredential)?;
    let secret = match text.split_once(' ') {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => secret.trim(),
        _ => return Err(ApiError::InvalidCredential),
    };
    // Nobody says which of two it is (RFC 6750, section 2).
    if key.is_some_and(|key| key.as_bytes() != secret.as_bytes()) {
        return Err(ApiError::InvalidHeader {
            name: "X-Api-Key",
            detail: "is another credential than that of Authorization: send one of them",
        });
    }
    Ok(Credential::Bearer(secret))
}

/// Compares hashes without stopping at the first difference: the time taken says nothing about the
/// key.
pub(crate) fn same_secret(presented: &[u8; 32], expected: &[u8; 32]) -> bool {
    presented
        .iter()
        .zip(expected)
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
}
