//! `SHEAF_JWT_*`: tokens of an issuer, beside API keys.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sheaf_web::{JwksSource, JwtConfig, JwtSecret};

use crate::error::{Error, Result};
use crate::terminal::units;

/// Bytes of a secret for HS256: as many as the hash has (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;

/// JWTs are taken where the issuer is set.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct JwtSettings {
    /// Take JWTs whose `iss` is this, as `Authorization: Bearer`, beside API keys
    #[arg(long, env = "SHEAF_JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,
    /// The tokens' `aud` must be or hold this
    #[arg(long, env = "SHEAF_JWT_AUDIENCE", value_name = "TEXT")]
    jwt_audience: Option<String>,
    /// Verifies HS256; at least 32 bytes
    #[arg(
        long,
        env = "SHEAF_JWT_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    jwt_secret: Option<String>,
    /// Verifies RS256 and ES256: a JWK set, as a file or at an http(s) URL
    #[arg(
        long,
        env = "SHEAF_JWT_JWKS",
        hide_env_values = true,
        value_name = "FILE|URL"
    )]
    jwt_jwks: Option<String>,
    /// The claim with the tenant's id
    #[arg(
        long,
        env = "SHEAF_JWT_TENANT_CLAIM",
        default_value = "tenant_id",
        value_name = "NAME"
    )]
    jwt_tenant_claim: String,
    /// The claim with the role: admin, finance or viewer
    #[arg(
        long,
        env = "SHEAF_JWT_ROLE_CLAIM",
        default_value = "role",
        value_name = "NAME"
    )]
    jwt_role_claim: String,
    /// By how much the issuer's clock may differ: 60s, 2m
    #[arg(long, env = "SHEAF_JWT_SKEW", default_value = "60s", value_name = "TIME",
        value_parser = units::duration)]
    jwt_skew: Duration,
    /// How often the JWK set is read: 5m, 1h
    #[arg(long, env = "SHEAF_JWT_JWKS_REFRESH", default_value = "5m", value_name = "INTERVAL",
        value_parser = units::interval)]
    jwt_jwks_refresh: Duration,
}

impl JwtSettings {
    /// The issuer's tokens, if there is one; or a sentence that says what is missing.
    pub(crate) fn config(&self) -> Result<Option<JwtConfig>> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let (secret, jwks) = (set(&self.jwt_secret), set(&self.jwt_jwks));
        let Some(issuer) = set(&self.jwt_issuer) else {
            return match secret.or(jwks).or(set(&self.jwt_audience)) {
                Some(_) => Err(Error::new(
                    "SHEAF_JWT_ISSUER is not set: without it no JWT is taken, and the other \
                    SHEAF_JWT settings mean nothing",
                )),
                None => Ok(None),
            };
        };
        let audience = set(&self.jwt_audience).ok_or_else(|| {
            Error::new("SHEAF_JWT_AUDIENCE is not set: tokens for other services would be taken")
        })?;
        if secret.is_none() && jwks.is_none() {
            return Err(Error::new(
                "SHEAF_JWT_SECRET (HS256) or SHEAF_JWT_JWKS (RS256, ES256) must be set: nothing \
                could be verified",
            ));
        }
        if secret.as_ref().is_some_and(|s| s.len() < MIN_SECRET) {
            return Err(Error::new(format!(
                "SHEAF_JWT_SECRET needs at least {MIN_SECRET} bytes"
            )));
        }
        Ok(Some(JwtConfig {
            secret: secret.map(JwtSecret::new),
            jwks: jwks.map(source),
            tenant_claim: self.jwt_tenant_claim.clone(),
            role_claim: self.jwt_role_claim.clone(),
            skew: self.jwt_skew,
            jwks_refresh: self.jwt_jwks_refresh,
            ..JwtConfig::new(issuer, audience)
        }))
    }
}

fn source(text: String) -> JwksSource {
    if text.starts_with("http://") || text.starts_with("https://") {
        JwksSource::Url(text)
    } else {
        JwksSource::File(PathBuf::from(text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(issuer: &str, audience: &str, secret: &str, jwks: &str) -> JwtSettings {
        JwtSettings {
            jwt_issuer: Some(issuer.to_owned()),
            jwt_audience: Some(audience.to_owned()),
            jwt_secret: Some(secret.to_owned()),
            jwt_jwks: Some(jwks.to_owned()),
            ..JwtSettings::default()
        }
    }

    #[test]
    fn half_a_configuration_is_refused() {
        let long = "s".repeat(MIN_SECRET);
        assert!(settings("", "", "", "").config().unwrap().is_none());
        for (issuer, audience, secret, jwks) in [
            ("", "", long.as_str(), ""),
            ("", "", "", "keys.json"),
            ("i", "", &long, ""),
            ("i", "a", "", ""),
            ("i", "a", "short", ""),
            ("i", "a", "short", "keys.json"),
        ] {
            let given = settings(issuer, audience, secret, jwks);
            assert!(given.config().is_err(), "{given:?}");
        }
        let config = settings("i", "a", &long, "").config().unwrap().unwrap();
        assert!(config.secret.is_some() && config.jwks.is_none());
    }

    #[test]
    fn a_set_is_a_file_or_a_url() {
        let of = |text: &str| settings("i", "a", "", text).config().unwrap().unwrap().jwks;
        let url = "https://id.example/keys";
        assert_eq!(of(url), Some(JwksSource::Url(url.to_owned())));
        assert_eq!(
            of("/etc/keys.json"),
            Some(JwksSource::File("/etc/keys.json".into()))
        );
    }
}
