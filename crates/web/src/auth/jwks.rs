//! The issuer's public keys: a JWK set (RFC 7517) from a file or a URL, read again on a timer and
//! when a token names a key that is not in it. The last good set stays when the source is down.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;

/// Bytes of a set.
const MAX_SET: usize = 256 << 10;
/// Keys of a set.
const MAX_KEYS: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a JWK set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A file.
    File(PathBuf),
    /// `http://` or `https://`.
    Url(String),
}

/// A public key, and the one algorithm that it verifies.
#[derive(Debug)]
pub(super) struct PublicKey {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// What a look into the set gives.
pub(super) enum Found {
    Key(Arc<PublicKey>),
    /// No such key, or not for this algorithm.
    Unknown,
    /// No set was ever read.
    NoSet,
}

#[derive(Default)]
struct KeySet {
    keys: Vec<Arc<PublicKey>>,
    text: Bytes,
}

/// The set, and how it is kept fresh.
pub(super) struct Jwks {
    source: JwksSource,
    set: RwLock<Option<Arc<KeySet>>>,
    /// Counts the sets: what was verified by a key of an earlier one is verified again.
    generation: AtomicU64,
    /// When the source was asked last.
    asked: tokio::sync::Mutex<Option<Instant>>,
    refresh: Duration,
    retry: Duration,
}

impl Jwks {
    /// `refresh`: how often the source is asked; `retry`: how long it is left alone at least.
    pub(super) fn new(source: JwksSource, refresh: Duration, retry: Duration) -> Self {
        Self {
            source,
            set: RwLock::default(),
            generation: AtomicU64::new(0),
            asked: tokio::sync::Mutex::new(None),
            refresh,
            retry,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The key of this id for this algorithm. Without an id: the only key for the algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let Some(set) = set.as_ref() else {
            return Found::NoSet;
        };
        let mut fitting = set
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm)
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(Arc::clone(key)),
            _ => Found::Unknown,
        }
    }

    /// The first reading. A file that cannot be read is a mistake of whoever starts the process; a
    /// URL may come up later.
    pub(super) async fn load(&self) -> Result<(), String> {
        let loaded = self.ask_again(Duration::ZERO).await;
        match (&self.source, loaded) {
            (JwksSource::File(path), Err(error)) => Err(format!("{}: {error}", path.display())),
            _ => Ok(()),
        }
    }

    /// Reads the set again, unless that was tried within the pause between two attempts.
    pub(super) async fn refresh_if_due(&self) {
        // What went wrong is in the log.
        let _ = self.ask_again(self.retry).await;
    }

    /// Reads the set on a timer, for ever.
    pub(super) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(self.refresh).await;
            let _ = self.ask_again(self.retry.min(self.refresh)).await;
        }
    }

    /// All who wait for the same answer get it: whoever comes second finds that it was asked just
    /// now.
    async fn ask_again(&self, pause: Duration) -> Result<(), String> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < pause) {
            return Ok(());
        }
        let read = self.read().await.and_then(|text| {
            let keys = parse(&text)?;
            Ok(KeySet { keys, text })
        });
        // Counted from the end: a source that answers slowly is not asked without pause.
        *asked = Some(Instant::now());
        match read {
            Ok(set) => {
                self.replace(set);
                Ok(())
            }
            Err(error) => {
                metrics::counter!("sheaf_jwks_failures_total").increment(1);
                tracing::warn!(error, "the JWK set could not be read; the last one stays");
                Err(error)
            }
        }
    }

    fn replace(&self, new: KeySet) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        if set.as_ref().is_some_and(|old| old.text == new.text) {
            return;
        }
        tracing::info!(keys = new.keys.len(), "JWK set read");
        *set = Some(Arc::new(new));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn read(&self) -> Result<Bytes, String> {
        match &self.source {
            JwksSource::File(path) => read_file(path).await,
            JwksSource::Url(url) => fetch(url).await,
        }
    }
}

async fn read_file(path: &Path) -> Result<Bytes, String> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    file.take(MAX_SET as u64 + 1)
        .read_to_end(&mut text)
        .await
        .map_err(|error| error.to_string())?;
    if text.len() > MAX_SET {
        return Err(too_large());
    }
    Ok(text.into())
}

/// A client of its own each time: minutes lie between two questions.
async fn fetch(url: &str) -> Result<Bytes, String> {
    // Errors of the client name the URL, which may hold a password.
    let failed = |error: reqwest::Error| error.without_url().to_string();
    // A provider that is installed already stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        // The keys are what the setting names, and not what somebody there points to.
        .redirect(Policy::none())
        .build()
        .map_err(failed)?;
    let mut answer = client.get(url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("the server answers {}", answer.status()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if text.len() + chunk.len() > MAX_SET {
            return Err(too_large());
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text.into())
}

fn too_large() -> String {
    format!("the set has more than {MAX_SET} bytes")
}

/// The keys of a set that can verify here. Others (encryption keys, other curves) are passed over,
/// as RFC 7517 (section 5) asks; a set without any is refused, so that it does not replace a good
/// one.
fn parse(text: &[u8]) -> Result<Vec<Arc<PublicKey>>, String> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text).map_err(|error| format!("no JWK set: {error}"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("the set has more than {MAX_KEYS} keys"));
    }
    let keys: Vec<_> = set
        .keys
        .into_iter()
        .filter_map(|value| public_key(&serde_json::from_value(value).ok()?))
        .map(Arc::new)
        .collect();
    if keys.is_empty() {
        return Err("the set has no RS256 or ES256 key".to_owned());
    }
    Ok(keys)
}

/// A key that verifies RS256 or ES256. Secrets (`oct`) are never taken from a set: whoever can read
/// it could sign.
fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let operations = common.key_operations.as_ref();
    if operations.is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    if common.key_algorithm.is_some_and(|alg| alg != named) {
        return None;
    }
    Some(PublicKey {
        kid: common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(jwk).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn parsed(keys: Value) -> Result<Vec<Arc<PublicKey>>, String> {
        parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn rsa(members: Value) -> Value {
        let mut key = json!({"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"});
        let Value::Object(members) = members else {
            unreachable!()
        };
        key.as_object_mut().unwrap().extend(members);
        key
    }

    #[test]
    fn a_key_is_pinned_to_one_algorithm() {
        let keys = parsed(json!([rsa(json!({}))])).unwrap();
        assert_eq!(keys[0].algorithm, Algorithm::RS256);
        for other in [
            json!({"alg": "RS512"}),
            json!({"alg": "HS256"}),
            json!({"alg": "RSA-OAEP"}),
            json!({"alg": "ES256K"}),
            json!({"use": "enc"}),
            json!({"key_ops": ["sign"]}),
        ] {
            assert!(parsed(json!([rsa(other.clone())])).is_err(), "{other}");
        }
        let fits = json!({"alg": "RS256", "use": "sig", "key_ops": ["verify"]});
        assert_eq!(parsed(json!([rsa(fits)])).unwrap().len(), 1);
    }

    #[test]
    fn secrets_and_unknown_kinds_are_passed_over() {
        let secret = json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"});
        assert!(parsed(json!([secret])).is_err());
        let set =
            json!([secret, {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}, rsa(json!({})), 7]);
        assert_eq!(parsed(set).unwrap().len(), 1);
        assert!(parsed(json!(vec![rsa(json!({})); MAX_KEYS + 1])).is_err());
        assert!(parse(b"<html>").is_err());
    }
}
