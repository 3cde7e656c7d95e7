//! What a query read.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// What a query read, by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueryStats {
    /// Rows of the answer.
    pub rows: u64,
    /// Published files of the tenant.
    pub files_total: u64,
    /// Files that the catalog could not rule out, by table that was scanned.
    pub files_planned: u64,
    /// Files of which at least the footer was looked at.
    pub files_read: u64,
    /// Size of the planned files.
    pub bytes_planned: u64,
    /// Bytes that came from the object storage.
    pub bytes_read: u64,
    /// Requests to the object storage.
    pub requests: u64,
    /// Hot invoices that were read.
    pub hot_invoices: u64,
    /// Time since the query began.
    pub elapsed_ms: u64,
}

/// Counts while a query runs.
#[derive(Debug)]
pub(crate) struct Counters {
    began: Instant,
    pub(crate) rows: AtomicU64,
    pub(crate) files_total: AtomicU64,
    pub(crate) files_planned: AtomicU64,
    pub(crate) bytes_planned: AtomicU64,
    bytes_read: AtomicU64,
    requests: AtomicU64,
    pub(crate) hot_invoices: AtomicU64,
    opened: Mutex<HashSet<String>>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            rows: AtomicU64::new(0),
            files_total: AtomicU64::new(0),
            files_planned: AtomicU64::new(0),
            bytes_planned: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            hot_invoices: AtomicU64::new(0),
            opened: Mutex::new(HashSet::new()),
        }
    }

    /// Forgets what a plan that is made again will count again. Requests were made all the same.
    pub(crate) fn clear(&self) {
        for counter in [&self.files_planned, &self.bytes_planned, &self.hot_invoices] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn opened(&self, key: &str) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !opened.contains(key) {
            opened.insert(key.to_owned());
        }
    }

    pub(crate) fn request(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn read(&self) -> QueryStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        QueryStats {
            rows: of(&self.rows),
            files_total: of(&self.files_total),
            files_planned: of(&self.files_planned),
            files_read: opened.len() as u64,
            bytes_planned: of(&self.bytes_planned),
            bytes_read: of(&self.bytes_read),
            requests: of(&self.requests),
            hot_invoices: of(&self.hot_invoices),
            elapsed_ms: u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl QueryStats {
    /// The line that EXPLAIN adds to the engine's plan.
    pub(crate) fn explained(&self) -> String {
        format!(
            "files: {} of {} planned, {} read\nbytes: {} in the planned files, {} read in {} \
            requests",
            self.files_planned,
            self.files_total,
            self.files_read,
            self.bytes_planned,
            self.bytes_read,
            self.requests,
        )
    }
}
