//! Requests a second and tenant: a token bucket each, in this process. Headers are those of
//! draft-ietf-httpapi-ratelimit-headers-10.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;
use sheaf_model::TenantId;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Tenants whose buckets are kept. One that is forgotten starts with a full bucket.
const BUCKETS: usize = 100_000;

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// A token bucket for each tenant, or each client, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that come back each second.
    pub per_second: NonZeroU32,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
}

/// Where a tenant stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    remaining: u32,
    /// Seconds until the bucket is full again; when nothing is left, until there is something.
    reset: u32,
    /// When the request was refused: seconds after which one will be let in.
    pub(crate) retry_after: Option<u32>,
}

/// The tenants' buckets.
pub(crate) struct Limits {
    limit: RateLimit,
    quota: Quota,
    clock: DefaultClock,
    buckets: Cache<TenantId, Arc<Bucket>>,
}

impl Limits {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            quota: Quota::per_second(limit.per_second).allow_burst(limit.burst),
            clock: DefaultClock::default(),
            buckets: Cache::new(BUCKETS),
        }
    }

    /// Takes one request out of the tenant's bucket.
    pub(crate) fn take(&self, tenant: TenantId) -> Standing {
        let make = || {
            let bucket = RateLimiter::direct_with_clock(self.quota, self.clock.clone());
            Ok::<_, Infallible>(Arc::new(
                bucket.with_middleware::<StateInformationMiddleware>(),
            ))
        };
        let Ok(bucket) = self.buckets.get_or_insert_with(&tenant, make);
        match bucket.check() {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = self.limit.burst.get().saturating_sub(remaining);
                Standing {
                    remaining,
                    reset: missing.div_ceil(self.limit.per_second.get()),
                    retry_after: None,
                }
            }
            Err(not_yet) => {
                let wait = not_yet.wait_time_from(self.clock.now());
                // Whole seconds, rounded up: who comes back then is let in.
                let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
                Standing {
                    remaining: 0,
                    reset: seconds.max(1),
                    retry_after: Some(seconds.max(1)),
                }
            }
        }
    }
}

/// `RateLimit-Policy` for a limit: so many requests in the time that fills the bucket.
pub(crate) fn policy(limit: RateLimit) -> Option<HeaderValue> {
    let window = limit.burst.get().div_ceil(limit.per_second.get());
    HeaderValue::try_from(format!("\"tenant\";q={};w={window}", limit.burst)).ok()
}

impl Standing {
    /// Puts both headers into an answer.
    pub(crate) fn write(self, policy: &HeaderValue, headers: &mut HeaderMap) {
        let now = format!("\"tenant\";r={};t={}", self.remaining, self.reset);
        if let Ok(now) = HeaderValue::try_from(now) {
            headers.insert(RATELIMIT, now);
        }
        headers.insert(RATELIMIT_POLICY, policy.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stdout, clippy::unwrap_used)]
    use std::num::NonZeroU32;

    use uuid::Uuid;

    use super::*;

    fn limit(per_second: u32, burst: u32) -> RateLimit {
        RateLimit {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_bucket_empties_and_says_when_it_fills() {
        let limits = Limits::new(limit(1, 3));
        let (one, other) = (TenantId(Uuid::now_v7()), TenantId(Uuid::now_v7()));
        let standings: Vec<_> = (0..4).map(|_| limits.take(one)).collect();
        let left: Vec<_> = standings.iter().map(|s| (s.remaining, s.reset)).collect();
        assert_eq!(left, [(2, 1), (1, 2), (0, 3), (0, 1)]);
        assert_eq!(standings[2].retry_after, None);
        assert_eq!(standings[3].retry_after, Some(1));
        assert_eq!(limits.take(other).remaining, 2);
    }

    /// The best of many rounds: others may be at work on this machine.
    #[test]
    fn taking_costs_less_than_a_microsecond() {
        let limits = Limits::new(limit(1_000_000, 1_000_000));
        let tenants: Vec<_> = (0..1_000).map(|_| TenantId(Uuid::now_v7())).collect();
        let round = || {
            let started = std::time::Instant::now();
            for tenant in &tenants {
                std::hint::black_box(limits.take(*tenant));
            }
            started.elapsed() / 1_000
        };
        let best = (0..100).map(|_| round()).min().unwrap();
        println!("{best:?}");
        assert!(best < std::time::Duration::from_micros(1), "{best:?}");
    }

    #[test]
    fn the_headers_are_structured_fields() {
        let mut headers = HeaderMap::new();
        let policy = policy(limit(100, 250)).unwrap();
        let standing = Limits::new(limit(100, 250)).take(TenantId(Uuid::now_v7()));
        standing.write(&policy, &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"tenant\";q=250;w=3");
        assert_eq!(headers["ratelimit"], "\"tenant\";r=249;t=1");
    }
}
