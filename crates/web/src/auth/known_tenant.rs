//! Which tenants exist: a token names one that nobody here has checked.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sheaf_model::TenantId;
use sheaf_store::{Store, StoreError};

const KNOWN: usize = 100_000;
const KNOWN_TTL: Duration = Duration::from_secs(30);
const UNKNOWN: usize = 10_000;
const UNKNOWN_TTL: Duration = Duration::from_secs(1);

/// Tenants asked about lately.
pub(crate) struct KnownTenants {
    known: Cache<TenantId, Instant>,
    unknown: Cache<TenantId, Instant>,
}

impl KnownTenants {
    pub(crate) fn new() -> Self {
        Self {
            known: Cache::new(KNOWN),
            unknown: Cache::new(UNKNOWN),
        }
    }

    /// Whether the tenant exists, or did within the last 30 s; one that was made is seen after 1 s
    /// at most.
    pub(super) async fn exists(&self, store: &Store, tenant: TenantId) -> Result<bool, StoreError> {
        let fresh = |seen: Option<Instant>, ttl| seen.is_some_and(|seen| seen.elapsed() < ttl);
        if fresh(self.known.get(&tenant), KNOWN_TTL) {
            return Ok(true);
        }
        if fresh(self.unknown.get(&tenant), UNKNOWN_TTL) {
            return Ok(false);
        }
        let exists = store.get_tenant(tenant).await?.is_some();
        let cache = if exists { &self.known } else { &self.unknown };
        cache.insert(tenant, Instant::now());
        Ok(exists)
    }
}
