//! The authenticator: it recognises credentials, counts wrong ones by address, and takes requests
//! out of tenants' buckets.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sheaf_store::{Role, Store};
use uuid::Uuid;

use crate::auth::api_key::{self, KeyCache};
use crate::auth::caller::{Caller, TenantAuth};
use crate::auth::guesses::{Guesses, Secret};
use crate::auth::jwt::{self, Jwt};
use crate::auth::known_tenant::KnownTenants;
use crate::auth::role::{self, Action};
use crate::clock::Clock;
use crate::error::Error;
use crate::headers::{X_API_KEY, X_TENANT_ID};
use crate::rate_limit::Limits;
use crate::serve::config::Config;

/// Characters of an admin key that nobody finds by trying: 128 bits even where each is a
/// hexadecimal digit.
const UNGUESSABLE: usize = 32;

/// Recognises the credentials of requests. A handle: clones share the caches and the counts.
#[derive(Clone)]
pub struct Authenticator(Arc<Shared>);

struct Shared {
    store: Store,
    clock: Clock,
    keys: KeyCache,
    jwt: Option<Jwt>,
    tenants: KnownTenants,
    limits: Option<Limits>,
    guesses: Option<Guesses>,
    /// None: no admin key is set, and none opens anything.
    admin_hash: Option<[u8; 32]>,
    /// Whether the admin key is so short that somebody who tries for long enough may find it.
    admin_can_be_guessed: bool,
}

/// Whose credential it is.
pub(crate) enum Principal {
    Admin,
    Tenant(TenantAuth, Role),
}

impl Authenticator {
    /// An authenticator with empty caches and full buckets.
    #[must_use]
    pub fn new(store: Store, config: &Config, clock: Clock) -> Self {
        let admin_key = config.admin_key.as_str();
        let guesses = |limit| Guesses::new(limit, config.proxies);
        Self(Arc::new(Shared {
            store,
            clock,
            keys: KeyCache::new(config.key_ttl),
            jwt: config.jwt.clone().map(Jwt::new),
            tenants: KnownTenants::new(),
            limits: config.rate_limit.map(Limits::new),
            guesses: config.guess_limit.map(guesses),
            admin_hash: (!admin_key.is_empty()).then(|| api_key::hash(admin_key)),
            admin_can_be_guessed: admin_key.len() < UNGUESSABLE,
        }))
    }

    /// Forgets a key that was changed in this process, so that the change holds at once.
    pub fn forget(&self, key: Uuid) {
        self.0.keys.forget(key);
    }

    /// The tokens of an issuer, where any are taken.
    pub(crate) fn jwt(&self) -> Option<&Jwt> {
        self.0.jwt.as_ref()
    }

    /// Whether the secret with this hash is the admin key. An empty admin key opens nothing.
    fn is_admin(&self, hash: &[u8; 32]) -> bool {
        let expected = self.0.admin_hash.as_ref();
        expected.is_some_and(|expected| same_secret(hash, expected))
    }

    /// Whose data the request opens, if the role table allows `action`.
    pub(crate) async fn tenant(&self, parts: &Parts, action: Action) -> Result<TenantAuth, Error> {
        let Principal::Tenant(auth, role) = self.principal(parts).await? else {
            return Err(Error::TenantCredentialRequired);
        };
        if let Some(limits) = &self.0.limits {
            let standing = limits.take(auth.tenant_id);
            if let Some(caller) = parts.extensions.get::<Arc<Caller>>() {
                let _first = caller.standing.set(standing);
            }
            if let Some(seconds) = standing.retry_after {
                return Err(Error::RateLimited(seconds));
            }
        }
        if let Some(named) = parts.headers.get(X_TENANT_ID) {
            let named = named
                .to_str()
                .ok()
                .and_then(|text| Uuid::parse_str(text).ok());
            if named != Some(auth.tenant_id.0) {
                return Err(Error::TenantMismatch);
            }
        }
        if role::allows(role, action) {
            Ok(auth)
        } else {
            Err(Error::ForbiddenRole)
        }
    }

    /// Recognises the credential, and counts it against its address if it is wrong.
    pub(crate) async fn principal(&self, parts: &Parts) -> Result<Principal, Error> {
        let guesses = self.0.guesses.as_ref();
        let from = guesses.and_then(|guesses| Some((guesses, guesses.address(parts)?)));
        let credential = match credential(&parts.headers) {
            // None is no guess, nor are two.
            Err(error) if !matches!(error, Error::InvalidCredential) => return Err(error),
            credential => credential,
        };
        // One in a form that is not ours is a guess, and all such are the same.
        let hash = credential.as_ref();
        let hash = hash.map_or([0; 32], |credential| api_key::hash(credential.text()));
        let secret = Secret {
            hash,
            can_be_guessed: self.0.admin_can_be_guessed && self.is_admin(&hash),
        };
        let admitted = from.map(|(guesses, from)| (guesses, guesses.admit(from, secret)));
        let suspect = admitted.is_some_and(|(_, admitted)| admitted.is_suspect());
        let outcome = match credential {
            Ok(credential) => self.recognise(parts, &credential, &hash, suspect).await,
            Err(error) => Err(error),
        };
        match (admitted, outcome) {
            (Some((guesses, admitted)), Err(Error::InvalidCredential)) => {
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

    /// Whose the credential is. One that is known is noted in the request's [`Caller`], also when
    /// it is refused. A `suspect` one comes from where many wrong ones come from: keys and
    /// signatures, which nobody guesses, are looked at all the same, or whoever shares an address
    /// with a guesser could not come in.
    async fn recognise(
        &self,
        parts: &Parts,
        credential: &Credential<'_>,
        hash: &[u8; 32],
        suspect: bool,
    ) -> Result<Principal, Error> {
        let secret = credential.text();
        if self.is_admin(hash) && !(suspect && self.0.admin_can_be_guessed) {
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
        if let (Credential::Bearer(token), Some(jwt)) = (credential, &self.0.jwt)
            && jwt::looks_like_one(token)
        {
            let (verified, expired) = match jwt.verify(token, self.0.clock.now()).await {
                Ok(verified) => (verified, false),
                Err(jwt::Refused::Expired(verified)) => (verified, true),
                Err(jwt::Refused::NoKeys) => return Err(Error::JwksUnavailable),
                Err(jwt::Refused::Invalid(why)) => {
                    tracing::debug!(why, "a token was refused");
                    return Err(Error::InvalidCredential);
                }
            };
            if !self
                .0
                .tenants
                .exists(&self.0.store, verified.tenant_id)
                .await?
            {
                return Err(Error::UnknownTenant);
            }
            let auth = note(verified.tenant_id, &verified.actor);
            return if expired {
                Err(Error::ExpiredCredential)
            } else {
                Ok(Principal::Tenant(auth, verified.role))
            };
        }
        let found = self
            .0
            .keys
            .find(&self.0.store, secret, hash, suspect)
            .await?;
        let key = found.ok_or(Error::InvalidCredential)?;
        let auth = note(key.tenant_id, &key.actor);
        if key.revoked {
            return Err(Error::RevokedCredential);
        }
        if key.expires_at.is_some_and(|end| end <= self.0.clock.now()) {
            return Err(Error::ExpiredCredential);
        }
        Ok(Principal::Tenant(auth, key.role))
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator")
    }
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
fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Error> {
    let key = headers.get(X_API_KEY);
    let Some(value) = headers.get(AUTHORIZATION) else {
        let value = key.ok_or(Error::MissingCredential)?;
        let text = value.to_str().map_err(|_| Error::InvalidCredential)?;
        return Ok(Credential::Key(text));
    };
    let text = value.to_str().map_err(|_| Error::InvalidCredential)?;
    let secret = match text.split_once(' ') {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => secret.trim(),
        _ => return Err(Error::InvalidCredential),
    };
    // Nobody says which of two it is (RFC 6750, section 2).
    if key.is_some_and(|key| key.as_bytes() != secret.as_bytes()) {
        return Err(Error::InvalidHeader {
            name: "X-Api-Key",
            detail: "is another credential than that of Authorization: send one of them",
        });
    }
    Ok(Credential::Bearer(secret))
}

/// Compares hashes without stopping at the first difference: the time taken says nothing about the
/// key.
fn same_secret(presented: &[u8; 32], expected: &[u8; 32]) -> bool {
    presented
        .iter()
        .zip(expected)
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
}
