//! JWTs of one issuer (RFC 7519, RFC 8725) beside API keys. A verified token is remembered, so that
//! the next request with it costs a hash.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use sheaf_model::TenantId;
use sheaf_store::Role;
use uuid::Uuid;

use super::crypto;
use super::jwks::{Found, Jwks, JwksSource};
use crate::auth::api_key;

/// Tokens that are remembered.
const REMEMBERED: usize = 100_000;
/// Bytes of a token.
const MAX_TOKEN: usize = 8 << 10;
/// Bytes of a `sub`; a longer one is refused, since two that are cut could look the same.
const MAX_SUBJECT: usize = 255;

/// JWTs of one issuer. [`JwtConfig::new`] gives the documented defaults; a secret, a JWK set or
/// both come on top.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// `iss` must be this.
    pub issuer: String,
    /// `aud` must be or hold this.
    pub audience: String,
    /// Verifies HS256. Default none: HS256 is refused.
    pub secret: Option<JwtSecret>,
    /// Verifies RS256 and ES256. Default none: they are refused.
    pub jwks: Option<JwksSource>,
    /// The claim with the tenant's id. Default `tenant_id`.
    pub tenant_claim: String,
    /// The claim with the role. Default `role`.
    pub role_claim: String,
    /// By how much the issuer's clock may differ. Default 60 s.
    pub skew: Duration,
    /// How often the JWK set is read. Default 5 min.
    pub jwks_refresh: Duration,
    /// Time between two readings because of unknown keys, at least. Default 30 s.
    pub jwks_retry: Duration,
}

/// The secret that HS256 is verified with. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret(Vec<u8>);

impl JwtSecret {
    /// As the issuer has it, byte for byte.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret")
    }
}

impl JwtConfig {
    /// The defaults; nothing can be verified with them yet.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            secret: None,
            jwks: None,
            tenant_claim: "tenant_id".to_owned(),
            role_claim: "role".to_owned(),
            skew: Duration::from_secs(60),
            jwks_refresh: Duration::from_mins(5),
            jwks_retry: Duration::from_secs(30),
        }
    }
}

/// A token with a good signature and good claims.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) tenant_id: TenantId,
    pub(super) role: Role,
    /// `jwt:<iss>/<sub>`, as the audit trail names it.
    pub(super) actor: Arc<str>,
    /// Unix seconds until which it holds, the skew included.
    until: i64,
    generation: u64,
}

/// Why a token was refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// For the log.
    Invalid(String),
    /// It was good once.
    Expired(Arc<Verified>),
    /// The issuer's keys could not be read yet.
    NoKeys,
}

/// The issuer's tokens.
pub(crate) struct Jwt {
    config: JwtConfig,
    secret: Option<DecodingKey>,
    jwks: Option<Jwks>,
    remembered: Cache<[u8; 32], Arc<Verified>>,
}

/// Whether a bearer credential has the form of a signed JWT; an API key has no dots.
pub(super) fn looks_like_one(credential: &str) -> bool {
    credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Jwt {
    /// For these settings. Nothing is read yet.
    pub(crate) fn new(config: JwtConfig) -> Self {
        crypto::install();
        let jwks = |source| Jwks::new(source, config.jwks_refresh, config.jwks_retry);
        let secret = config.secret.as_ref();
        Self {
            jwks: config.jwks.clone().map(jwks),
            secret: secret.map(|secret| DecodingKey::from_secret(secret.bytes())),
            remembered: Cache::new(REMEMBERED),
            config,
        }
    }

    /// Reads the issuer's keys for the first time.
    pub(crate) async fn load(&self) -> Result<(), String> {
        match &self.jwks {
            Some(jwks) => jwks.load().await,
            None => Ok(()),
        }
    }

    /// Keeps the issuer's keys fresh, for ever.
    pub(crate) async fn keep_fresh(&self) {
        match &self.jwks {
            Some(jwks) => jwks.keep_fresh().await,
            None => std::future::pending().await,
        }
    }

    /// Who the token says its bearer is.
    pub(super) async fn verify(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<Verified>, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Invalid("too long".to_owned()));
        }
        let hash = api_key::hash(token);
        let generation = self.jwks.as_ref().map_or(0, Jwks::generation);
        let known = self.remembered.get(&hash);
        let verified = match known.filter(|known| known.generation == generation) {
            Some(known) => known,
            None => {
                let verified = Arc::new(self.examine(token, now).await?);
                self.remembered.insert(hash, Arc::clone(&verified));
                verified
            }
        };
        if verified.until <= now.timestamp() {
            return Err(Refused::Expired(verified));
        }
        Ok(verified)
    }

    /// Signature and claims; all but whether it has expired.
    async fn examine(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, Refused> {
        let invalid = |error: jsonwebtoken::errors::Error| Refused::Invalid(error.to_string());
        // `none` and everything unknown fails here.
        let header = decode_header(token).map_err(invalid)?;
        if header.crit.is_some() {
            return Err(Refused::Invalid("a critical extension".to_owned()));
        }
        let generation = self.jwks.as_ref().map_or(0, Jwks::generation);
        let claims = match header.alg {
            Algorithm::HS256 => match &self.secret {
                Some(secret) => claims(token, secret, Algorithm::HS256),
                None => return Err(Refused::Invalid("HS256 is not set up".to_owned())),
            },
            algorithm @ (Algorithm::RS256 | Algorithm::ES256) => {
                let Some(jwks) = &self.jwks else {
                    return Err(Refused::Invalid("no JWK set is set up".to_owned()));
                };
                let kid = header.kid.as_deref();
                let mut found = jwks.find(kid, algorithm);
                if !matches!(found, Found::Key(_)) {
                    jwks.refresh_if_due().await;
                    found = jwks.find(kid, algorithm);
                }
                match found {
                    Found::Key(public) => claims(token, &public.key, public.algorithm),
                    Found::Unknown => return Err(Refused::Invalid("unknown key".to_owned())),
                    Found::NoSet => return Err(Refused::NoKeys),
                }
            }
            other => return Err(Refused::Invalid(format!("{other:?} is not taken"))),
        };
        let claims = claims.map_err(invalid)?;
        self.check(&claims, now, generation)
            .map_err(|claim| Refused::Invalid(format!("claim {claim}")))
    }

    /// Reads the claims, or names the first that is missing or wrong.
    fn check<'c>(
        &'c self,
        claims: &Map<String, Value>,
        now: DateTime<Utc>,
        generation: u64,
    ) -> Result<Verified, &'c str> {
        let config = &self.config;
        let text = |name| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&config.issuer) {
            return Err("iss");
        }
        let ours = |value: &Value| value.as_str() == Some(&config.audience);
        let for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        if !for_us {
            return Err("aud");
        }
        let skew = i64::try_from(config.skew.as_secs()).unwrap_or(i64::MAX);
        let latest = now.timestamp().saturating_add(skew);
        for name in ["nbf", "iat"] {
            match claims.get(name).map(seconds) {
                None => {}
                Some(Some(from)) if from <= latest => {}
                Some(_) => return Err(if name == "nbf" { "nbf" } else { "iat" }),
            }
        }
        let until = claims.get("exp").and_then(seconds).ok_or("exp")?;
        // What goes into the audit trail is printable, and PostgreSQL takes no NUL.
        let subject = text("sub")
            .filter(|sub| !sub.is_empty() && sub.len() <= MAX_SUBJECT)
            .filter(|sub| !sub.chars().any(char::is_control))
            .ok_or("sub")?;
        let tenant = text(&config.tenant_claim)
            .filter(|id| id.len() == 36)
            .and_then(|id| Uuid::try_parse(id).ok())
            .ok_or(config.tenant_claim.as_str())?;
        let role = text(&config.role_claim)
            .and_then(|role| role.parse().ok())
            .ok_or(config.role_claim.as_str())?;
        Ok(Verified {
            tenant_id: TenantId(tenant),
            role,
            actor: format!("jwt:{}/{subject}", config.issuer).into(),
            until: until.saturating_add(skew),
            generation,
        })
    }
}

/// A NumericDate: seconds, which may have a fraction.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let text = value.as_number()?.to_string();
        text.split_once('.')?.0.parse().ok()
    })
}

/// The claims behind a signature of exactly this algorithm. What they say is checked by
/// [`Jwt::check`], by our clock.
fn claims(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<Map<String, Value>, jsonwebtoken::errors::Error> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    decode(token, key, &validation).map(|data| data.claims)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_numeric_date_may_have_a_fraction() {
        assert_eq!(seconds(&json!(1_700_000_000)), Some(1_700_000_000));
        assert_eq!(seconds(&json!(1_700_000_000.75)), Some(1_700_000_000));
        for bad in [json!("1700000000"), json!(1e300), json!(null), json!([1])] {
            assert_eq!(seconds(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_told_from_a_key() {
        assert!(looks_like_one("a.b.c") && !looks_like_one("sheaf_00000000_x"));
        assert!(!looks_like_one("a.b.c.d"));
    }
}
