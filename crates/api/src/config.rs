//! The front door's settings, with the defaults of the contract.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Settings of the HTTP API. [`ApiConfig::new`] gives the documented defaults.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The key that opens `/v1/tenants` and the platform routes.
    pub admin_key: String,
    /// Open connections at any moment; further ones wait in the kernel's queue. Default 4,096.
    pub max_connections: usize,
    /// Time for a client to send the head of a request, counted from the end of the one before: an
    /// idle connection is closed after it. Default 60 s.
    pub header_timeout: Duration,
    /// Time for the whole body of a single (not bulk) request, else 408. Default 30 s.
    pub body_timeout: Duration,
    /// Time for a whole single request, else 504. Default 60 s; bulk uploads have no such bound.
    pub request_timeout: Duration,
    /// Time for requests in flight to end after the shutdown signal. Default 25 s.
    pub shutdown_grace: Duration,
    /// Bytes of a single request's body, after decompression. Default 2 MiB.
    pub body_limit: usize,
    /// How long a credential is trusted without asking the store again. Default 5 s: the longest
    /// time for which a key that another process revoked still works.
    pub key_ttl: Duration,
    /// One log event (target `sheaf::access`) for every request; when off, only for those answered
    /// with 5xx. Default on.
    pub access_log: bool,
    /// Bulk uploads.
    pub bulk: BulkConfig,
    /// PDFs and e-invoices that may wait or be made. Default 64.
    pub documents: usize,
    /// Those of one tenant among them. Default 16.
    pub documents_per_tenant: usize,
    /// Tokens of an issuer, beside API keys. Default none.
    pub jwt: Option<JwtConfig>,
    /// Requests that a tenant may send. Default as many as it likes.
    pub rate_limit: Option<RateLimit>,
    /// Wrong credentials that one client address may send. Default 10 a second, and 300 at once.
    pub guess_limit: Option<RateLimit>,
    /// Proxies of ours in front, each of which appends to `X-Forwarded-For` whom it heard: a
    /// client's address is what the first of them wrote. Default 0: the address is that of the
    /// connection.
    pub proxies: usize,
    /// Denials of one caller on one route for one reason within this time become one event. Default
    /// 60 s.
    pub denial_window: Duration,
}

/// Keys of ours cannot be guessed, an admin key that somebody chose may be. A busy client with a
/// wrong key is told so for a while before it is turned away.
const GUESS_LIMIT: RateLimit = RateLimit {
    per_second: NonZeroU32::MIN.saturating_add(9),
    burst: NonZeroU32::MIN.saturating_add(299),
};

/// A token bucket for each tenant, or each client, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that come back each second.
    pub per_second: NonZeroU32,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
}

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

/// Where a JWK set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A file.
    File(PathBuf),
    /// `http://` or `https://`.
    Url(String),
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

/// Bounds of one bulk upload: its memory stays below about three chunks and two batches.
#[derive(Clone, Debug)]
pub struct BulkConfig {
    /// Bytes of one NDJSON line; a longer one is rejected by number. Default 1 MiB.
    pub line_limit: usize,
    /// The same with `restore=true`: what the API tells of an invoice is longer than what it was
    /// made of. Default 8 MiB.
    pub restore_line_limit: usize,
    /// Lines parsed in one go. Default 256.
    pub batch_lines: usize,
    /// Bytes parsed in one go. Default 1 MiB.
    pub batch_bytes: usize,
    /// Invoices written by one chunk. Default 2,000.
    pub chunk_invoices: usize,
    /// Invoice lines written by one chunk. Default 20,000.
    pub chunk_lines: usize,
    /// NDJSON bytes written by one chunk. Default 4 MiB.
    pub chunk_bytes: usize,
    /// Chunks being written at once, for one upload. Default 2.
    pub chunks_in_flight: usize,
    /// Line errors named in the answer. Default 1,000.
    pub max_errors: usize,
    /// Time without a byte from the client, else 408. Default 60 s.
    pub idle_timeout: Duration,
    /// Lease of a running upload's idempotency key; extended while it runs. Default 60 s.
    pub idempotency_lease: Duration,
    /// Decoded bytes of an atomic upload, which is spooled to disk before it is written. Default 8
    /// GiB.
    pub spool_limit: u64,
    /// The same of all that one tenant has running. Default 8 GiB.
    pub spool_limit_per_tenant: u64,
    /// The same of all that run. Default 16 GiB.
    pub spool_limit_total: u64,
    /// Uploads that one tenant may have running. Default 8. Of these and the following pairs one is
    /// always left for other tenants; the platform counts as one.
    pub uploads_per_tenant: usize,
    /// Uploads that may run. Default 64.
    pub uploads: usize,
    /// Atomic ones of one tenant among them. Default 2.
    pub atomic_uploads_per_tenant: usize,
    /// Atomic ones among them. Default 8.
    pub atomic_uploads: usize,
    /// Bytes that one byte of gzip may come to, on the average of an upload. Default 100: documents
    /// come to 5 to 40.
    pub max_compression: u64,
    /// Decoded bytes from which on that is looked at. Default 16 MiB.
    pub compression_from: u64,
    /// Where atomic uploads are spooled. Default: the system's directory for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// Tenants that one atomic upload may make. Default 10,000.
    pub max_new_tenants: usize,
}

impl ApiConfig {
    /// The defaults.
    #[must_use]
    pub fn new(admin_key: impl Into<String>) -> Self {
        Self {
            admin_key: admin_key.into(),
            max_connections: 4096,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(25),
            body_limit: 2 << 20,
            key_ttl: Duration::from_secs(5),
            access_log: true,
            bulk: BulkConfig::default(),
            documents: 64,
            documents_per_tenant: 16,
            jwt: None,
            rate_limit: None,
            guess_limit: Some(GUESS_LIMIT),
            proxies: 0,
            denial_window: Duration::from_secs(60),
        }
    }
}

impl Default for BulkConfig {
    fn default() -> Self {
        Self {
            line_limit: 1 << 20,
            restore_line_limit: 8 << 20,
            batch_lines: 256,
            batch_bytes: 1 << 20,
            chunk_invoices: 2_000,
            chunk_lines: 20_000,
            chunk_bytes: 4 << 20,
            chunks_in_flight: 2,
            max_errors: 1_000,
            idle_timeout: Duration::from_secs(60),
            idempotency_lease: Duration::from_secs(60),
            spool_limit: 8 << 30,
            spool_limit_per_tenant: 8 << 30,
            spool_limit_total: 16 << 30,
            uploads_per_tenant: 8,
            uploads: 64,
            atomic_uploads_per_tenant: 2,
            atomic_uploads: 8,
            max_compression: 100,
            compression_from: 16 << 20,
            spool_dir: None,
            max_new_tenants: 10_000,
        }
    }
}

/// Where "now" comes from: validation and ids take it from here, so that tests can choose it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// A clock of the caller's.
    pub fn from_fn(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
