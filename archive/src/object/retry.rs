//! A storage that bears with another one that is slow, throttles, times out or answers in part:
//! retries with jitter, hedged reads, a deadline for every operation. What is left after that is a
//! clear error, never a short answer.
//!
//! Whether the bytes are right is not known here: [`crate::object::cache`] compares them with their
//! checksums.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use tokio::time::{Instant, sleep, timeout};

use crate::file::writer::bounds;
use crate::object::purpose::count;
use crate::object::storage::{ColdStorage, Fetched, ObjectInfo, ObjectPage, StorageError};

/// How much is borne with.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Attempts of one operation, the first included.
    pub attempts: u32,
    /// Upper bound of the pause before the second attempt; it doubles with each. The pause itself
    /// is drawn evenly below it.
    pub pause: Duration,
    /// The upper bound never grows beyond this.
    pub longest_pause: Duration,
    /// One attempt ends after this, and [`Policy::slowest`].
    pub attempt: Duration,
    /// All attempts and pauses together end after this, and [`Policy::slowest`].
    pub deadline: Duration,
    /// Bytes a second below which a transfer counts as stuck: each operation gets the time that its
    /// bytes take so.
    pub slowest: u64,
    /// Second GETs for a hundred first ones, at most.
    pub hedge_percent: u64,
    /// Never hedged earlier than this.
    pub hedge_floor: Duration,
    /// GETs of about the same size that must have been seen before one is hedged.
    pub hedge_samples: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 4,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(3),
            attempt: Duration::from_secs(8),
            deadline: Duration::from_secs(20),
            slowest: 1024 * 1024,
            hedge_percent: 5,
            hedge_floor: Duration::from_millis(10),
            hedge_samples: 50,
        }
    }
}

/// Latencies of the last GETs of one class of sizes.
#[derive(Debug, Default)]
struct Latencies {
    /// Microseconds.
    last: Vec<u64>,
    next: usize,
}

impl Latencies {
    const KEPT: usize = 256;

    fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if self.last.len() < Self::KEPT {
            self.last.push(micros);
        } else {
            self.last[self.next] = micros;
            self.next = (self.next + 1) % Self::KEPT;
        }
    }

    /// The time within which 95 of 100 were answered.
    fn p95(&self, samples: usize) -> Option<Duration> {
        if self.last.len() < samples.max(1) {
            return None;
        }
        let mut sorted = self.last.clone();
        let at = (sorted.len() * 95 / 100).min(sorted.len() - 1);
        let (_, p95, _) = sorted.select_nth_unstable(at);
        Some(Duration::from_micros(*p95))
    }
}

/// Ranges up to this many bytes (footers, Bloom filters) are one class of latency, larger ones
/// another.
const SMALL: u64 = 256 * 1024;
/// What a hedge costs, in [`Policy::hedge_percent`].
const HEDGE_PRICE: u64 = 100;
/// Hedges that can be saved up.
const HEDGES_SAVED: u64 = 10;

/// Bears with `inner`.
#[derive(Debug)]
pub struct Resilient {
    inner: Arc<dyn ColdStorage>,
    policy: Policy,
    latencies: [Mutex<Latencies>; 2],
    /// What may be spent on hedges.
    credit: AtomicU64,
}

impl Resilient {
    /// Bears with `inner` as much as `policy` says.
    pub fn new(inner: Arc<dyn ColdStorage>, policy: Policy) -> Self {
        Self {
            inner,
            policy,
            latencies: Default::default(),
            credit: AtomicU64::new(0),
        }
    }

    /// Runs an operation that moves about `bytes` until it succeeds, fails for good, or time is up.
    async fn persist<'a, T>(
        &'a self,
        key: &str,
        bytes: u64,
        operation: impl Fn() -> BoxFuture<'a, Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        let transfer = Duration::from_secs(bytes / self.policy.slowest.max(1));
        let deadline = Instant::now() + self.policy.deadline + transfer;
        let mut attempt = 1;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = left.min(self.policy.attempt + transfer);
            let answer = timeout(limit, operation()).await;
            let answer = answer.unwrap_or_else(|_| {
                let detail = format!("no answer within {} ms", limit.as_millis());
                Err(unavailable(key, detail))
            });
            let error = match answer {
                Err(error) if is_passing(&error) => error,
                answer => return answer,
            };
            if matches!(error, StorageError::Throttled { .. }) {
                // More requests are the last thing that it needs.
                self.credit.store(0, Ordering::Relaxed);
            }
            let pause = self.pause(attempt);
            if attempt >= self.policy.attempts || Instant::now() + pause >= deadline {
                count("sheaf_cold_failures_total");
                return Err(error);
            }
            tracing::debug!(%error, attempt, "the storage is asked again");
            count("sheaf_cold_retries_total");
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// The pause after the n-th attempt: anything up to the bound, so that those who failed
    /// together come back apart.
    fn pause(&self, attempt: u32) -> Duration {
        let factor = 1_u32 << attempt.saturating_sub(1).min(16);
        let bound = self
            .policy
            .pause
            .saturating_mul(factor)
            .min(self.policy.longest_pause);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(fastrand::u64(0..=micros))
    }

    /// One GET, and a second one beside it when the first takes longer than 95 of 100 do. The first
    /// good answer counts, the other request is dropped.
    async fn hedged(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let length = range.end.saturating_sub(range.start);
        let class = &self.latencies[usize::from(length > SMALL)];
        let started = Instant::now();
        let answer = self.race(key, range, class).await?;
        if answer.len() as u64 != length {
            let detail = format!("{} bytes instead of {length}", answer.len());
            return Err(unavailable(key, detail));
        }
        class
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(started.elapsed());
        Ok(answer)
    }

    async fn race(
        &self,
        key: &str,
        range: Range<u64>,
        class: &Mutex<Latencies>,
    ) -> Result<Bytes, StorageError> {
        self.earn();
        let mut first = self.inner.get_range(key, range.clone());
        let p95 = class
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .p95(self.policy.hedge_samples);
        let Some(p95) = p95 else {
            return first.await;
        };
        if let Ok(answer) = timeout(p95.max(self.policy.hedge_floor), &mut first).await {
            return answer;
        }
        if !self.spend() {
            return first.await;
        }
        count("sheaf_cold_hedges_total");
        match select(first, self.inner.get_range(key, range)).await {
            Either::Left((Ok(bytes), _)) | Either::Right((Ok(bytes), _)) => Ok(bytes),
            Either::Left((Err(_), other)) | Either::Right((Err(_), other)) => other.await,
        }
    }

    fn earn(&self) {
        let most = HEDGE_PRICE * HEDGES_SAVED;
        let more = |credit: u64| Some((credit + self.policy.hedge_percent).min(most));
        let _ = self
            .credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn spend(&self) -> bool {
        let less = |credit: u64| credit.checked_sub(HEDGE_PRICE);
        self.credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

/// Whether it may be better the next time.
fn is_passing(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::Throttled { .. } | StorageError::Unavailable { .. }
    )
}

fn unavailable(key: &str, detail: String) -> StorageError {
    StorageError::Unavailable {
        key: key.to_owned(),
        detail,
    }
}

impl ColdStorage for Resilient {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        sha256: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        // An attempt whose answer was lost makes the next one find the key taken; callers read the
        // object back.
        async move {
            self.persist(key, bounds::BYTES, || {
                self.inner.put_if_absent(key, path, sha256)
            })
            .await
        }
        .boxed()
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>> {
        async move {
            let bytes = range.end.saturating_sub(range.start);
            self.persist(key, bytes, || self.hedged(key, range.clone()).boxed())
                .await
        }
        .boxed()
    }

    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>> {
        async move {
            self.persist(key, bounds::BYTES, || self.inner.get_to_file(key, path))
                .await
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>> {
        async move { self.persist(key, 0, || self.inner.head(key)).await }.boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        async move { self.persist(key, 0, || self.inner.delete(key)).await }.boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>> {
        async move {
            self.persist(prefix, 0, || self.inner.list(prefix, from))
                .await
        }
        .boxed()
    }

    fn presign<'a>(
        &'a self,
        key: &'a str,
        expires: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, StorageError>> {
        self.inner.presign(key, expires)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_p95_is_of_the_last_answers() {
        let mut latencies = Latencies::default();
        for millis in 1..=100 {
            assert_eq!(latencies.p95(101), None);
            latencies.record(Duration::from_millis(millis));
        }
        assert_eq!(latencies.p95(100), Some(Duration::from_millis(96)));
        for _ in 0..Latencies::KEPT {
            latencies.record(Duration::from_millis(5));
        }
        assert_eq!(latencies.p95(1), Some(Duration::from_millis(5)));
    }
}
