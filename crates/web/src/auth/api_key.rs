//! API keys: making them, and recognising them through a bounded cache.

mod batches;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use sheaf_model::TenantId;
use sheaf_store::{Role, Store, StoreError};
use uuid::Uuid;

use self::batches::Batches;

const PREFIX: &str = "sheaf_";
const PREFIX_LEN: usize = PREFIX.len() + 8;
/// `sheaf_` + 8 hex digits + `_` + 43 characters of base64url (256 bits).
const KEY_LEN: usize = PREFIX_LEN + 1 + 43;

const KNOWN: usize = 100_000;
const UNKNOWN: usize = 10_000;
const UNKNOWN_TTL: Duration = Duration::from_secs(1);

/// A new API key. The secret is shown once; the store keeps the hash.
pub struct NewKey {
    /// The whole key.
    pub secret: String,
    /// The readable start: enough to recognise a key in a list, nothing of the secret.
    pub prefix: String,
    /// What the store keeps.
    pub hash: [u8; 32],
}

/// Makes a key from the thread's cryptographic generator.
pub fn generate() -> NewKey {
    let label: [u8; 4] = rand::random();
    let random: [u8; 32] = rand::random();
    let prefix = format!("{PREFIX}{:08x}", u32::from_be_bytes(label));
    let secret = format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(random));
    let hash = hash(&secret);
    NewKey {
        secret,
        prefix,
        hash,
    }
}

/// SHA-256 of the whole key. The key has 256 random bits: a slow hash would add nothing.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Whether a credential can be a key of ours at all; others never reach the store.
fn well_formed(secret: &str) -> bool {
    let bytes = secret.as_bytes();
    bytes.len() == KEY_LEN
        && secret.starts_with(PREFIX)
        && bytes[PREFIX.len()..PREFIX_LEN]
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && bytes[PREFIX_LEN] == b'_'
        && bytes[PREFIX_LEN + 1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A recognised key.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: TenantId,
    pub(crate) role: Role,
    /// `api_key:<id>`, as the audit trail names it.
    pub(crate) actor: Arc<str>,
    pub(crate) revoked: bool,
    /// It opens nothing from here on.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    loaded: Instant,
}

/// Keys seen lately. A hit costs one hash and no await; a miss asks the store, once for all who
/// wait for it.
pub(crate) struct KeyCache {
    known: Cache<[u8; 32], Arc<KnownKey>>,
    unknown: Cache<[u8; 32], Instant>,
    /// Look-ups for addresses that have sent too many wrong keys.
    batches: Batches,
    ttl: Duration,
    /// Counts changes to keys, so that an answer read before one is not cached after it.
    changes: AtomicU64,
}

impl KeyCache {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            known: Cache::new(KNOWN),
            unknown: Cache::new(UNKNOWN),
            batches: Batches::default(),
            ttl,
            changes: AtomicU64::new(0),
        }
    }

    /// The key, if it is in the cache and fresh.
    pub(crate) fn cached(&self, hash: &[u8; 32]) -> Option<Arc<KnownKey>> {
        self.known
            .get(hash)
            .filter(|key| key.loaded.elapsed() < self.ttl)
    }

    /// The key that `secret` is, whose hash is `hash`, revoked or not; `None` when there is none.
    /// `suspect`: it comes from where many wrong ones come from, and is looked up together with
    /// others.
    pub(crate) async fn find(
        &self,
        store: &Store,
        secret: &str,
        hash: &[u8; 32],
        suspect: bool,
    ) -> Result<Option<Arc<KnownKey>>, StoreError> {
        if !well_formed(secret) {
            return Ok(None);
        }
        let hash = *hash;
        if let Some(key) = self.cached(&hash) {
            return Ok(Some(key));
        }
        if self.is_unknown(&hash) {
            return Ok(None);
        }
        self.known
            .remove_if(&hash, |key| key.loaded.elapsed() >= self.ttl);
        let guard = match self.known.get_value_or_guard_async(&hash).await {
            Ok(key) => return Ok(Some(key)),
            Err(guard) => guard,
        };
        // Whoever was waited for may have found that there is none.
        if self.is_unknown(&hash) {
            return Ok(None);
        }
        let before = self.changes.load(Ordering::Acquire);
        let found = if suspect {
            let look_up = |hashes: Vec<_>| {
                let store = store.clone();
                async move { store.find_api_keys(&hashes).await }
            };
            self.batches.find(hash, look_up).await?
        } else {
            store.find_api_key(&hash).await?
        };
        let Some(found) = found else {
            self.unknown.insert(hash, Instant::now());
            return Ok(None);
        };
        let key = Arc::new(KnownKey {
            id: found.id,
            tenant_id: found.tenant_id,
            role: found.role,
            actor: format!("api_key:{}", found.id).into(),
            revoked: found.revoked_at.is_some(),
            expires_at: found.expires_at,
            loaded: Instant::now(),
        });
        if self.changes.load(Ordering::Acquire) == before {
            // Fails only when the entry was taken out meanwhile; the next caller loads it again.
            let _ = guard.insert(Arc::clone(&key));
        }
        Ok(Some(key))
    }

    /// Whether it was looked for a moment ago, in vain.
    fn is_unknown(&self, hash: &[u8; 32]) -> bool {
        self.unknown
            .get(hash)
            .is_some_and(|seen| seen.elapsed() < UNKNOWN_TTL)
    }

    /// Forgets a key that was changed in this process. Changes are rare: a walk over the cache is
    /// fine.
    pub(crate) fn forget(&self, id: Uuid) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.known.retain(|_, key| key.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_well_formed_and_hashed_whole() {
        let key = generate();
        assert!(well_formed(&key.secret), "{}", key.secret);
        assert!(key.secret.starts_with(&key.prefix));
        assert_eq!(key.hash, hash(&key.secret));
        assert_ne!(key.secret, generate().secret);
        assert!(!well_formed(&key.secret[1..]));
        assert!(!well_formed(&key.secret.to_uppercase()));
    }
}
