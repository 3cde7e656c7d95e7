//! What the local S3 was asked, and the faults that tests make it show.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use s3s::{S3Error, S3ErrorCode, S3Result};

/// Requests remembered one by one; older ones only count.
const MAX_RECORDS: usize = 10_000;

/// Totals of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationStats {
    /// Requests that reached the operation (signed correctly), failed ones included.
    pub requests: u64,
    /// Those of them that were answered with an error.
    pub errors: u64,
    /// Object bytes received.
    pub bytes_in: u64,
    /// Object bytes that answers announced.
    pub bytes_out: u64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// S3's name of the operation, such as `GetObject`.
    pub operation: &'static str,
    /// The object key; for listings, the prefix.
    pub key: String,
    /// The Range header, if any, such as `bytes=0-99`.
    pub range: Option<String>,
    /// Object bytes in either direction; 0 when the request failed.
    pub bytes: u64,
    /// Whether it succeeded.
    pub ok: bool,
}

/// Counts requests by operation, and slows or breaks them on demand.
#[derive(Debug, Default)]
pub struct S3Stats {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    totals: BTreeMap<&'static str, OperationStats>,
    records: VecDeque<RequestRecord>,
    delay: Duration,
    /// Requests to refuse, by operation.
    refusals: BTreeMap<String, u32>,
    /// Answers to lose, by operation.
    losses: BTreeMap<String, u32>,
}

impl S3Stats {
    /// Totals of one operation, such as `GetObject`, `HeadObject`, `PutObject`, `ListObjectsV2`.
    #[must_use]
    pub fn operation(&self, operation: &str) -> OperationStats {
        self.lock()
            .totals
            .get(operation)
            .copied()
            .unwrap_or_default()
    }

    /// Totals of all operations that were called.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<&'static str, OperationStats> {
        self.lock().totals.clone()
    }

    /// The latest requests (at most 10,000), oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<RequestRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// Forgets all counts and records; faults stay.
    pub fn reset(&self) {
        let mut inner = self.lock();
        inner.totals.clear();
        inner.records.clear();
    }

    /// Adds this latency to every request from now on, before it acts.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// The next `times` requests of `operation` are answered 503 `SlowDown` and have no effect.
    pub fn refuse(&self, operation: &str, times: u32) {
        self.lock().refusals.insert(operation.to_owned(), times);
    }

    /// The next `times` requests of `operation` take effect, and are answered 500 `InternalError`
    /// all the same.
    pub fn lose_answer(&self, operation: &str, times: u32) {
        self.lock().losses.insert(operation.to_owned(), times);
    }

    pub(super) async fn before(&self, operation: &str) -> S3Result<()> {
        let (delay, refused) = {
            let mut inner = self.lock();
            (inner.delay, take_one(&mut inner.refusals, operation))
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if refused {
            Err(S3Error::with_message(
                S3ErrorCode::SlowDown,
                "injected by a test",
            ))
        } else {
            Ok(())
        }
    }

    pub(super) fn after(&self, operation: &str) -> S3Result<()> {
        if take_one(&mut self.lock().losses, operation) {
            return Err(S3Error::with_message(
                S3ErrorCode::InternalError,
                "injected by a test",
            ));
        }
        Ok(())
    }

    pub(super) fn record(&self, record: RequestRecord, received: bool) {
        let mut inner = self.lock();
        let total = inner.totals.entry(record.operation).or_default();
        total.requests += 1;
        total.errors += u64::from(!record.ok);
        *if received {
            &mut total.bytes_in
        } else {
            &mut total.bytes_out
        } += record.bytes;
        if inner.records.len() == MAX_RECORDS {
            inner.records.pop_front();
        }
        inner.records.push_back(record);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters stay meaningful even if a panicking thread held the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_one(counts: &mut BTreeMap<String, u32>, operation: &str) -> bool {
    match counts.get_mut(operation) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}
