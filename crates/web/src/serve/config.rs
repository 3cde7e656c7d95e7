//! Settings of every HTTP surface, with the defaults of the contract.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::auth::jwt::JwtConfig;
use crate::rate_limit::RateLimit;

/// Connections, bounds of requests, credentials and rates. [`Config::new`] gives the documented
/// defaults.
#[derive(Clone, Debug)]
pub struct Config {
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

impl Config {
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
            jwt: None,
            rate_limit: None,
            guess_limit: Some(GUESS_LIMIT),
            proxies: 0,
            denial_window: Duration::from_secs(60),
        }
    }
}
