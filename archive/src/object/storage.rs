//! The object storage behind a trait, so that tests can count, delay and break it.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// A failure of the object storage.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// No such object.
    #[error("{key}: not found")]
    NotFound {
        /// The object.
        key: String,
    },
    /// The key is taken: objects are never overwritten.
    #[error("{key}: exists already")]
    AlreadyExists {
        /// The object.
        key: String,
    },
    /// The storage asks to be called less often.
    #[error("{key}: throttled: {detail}")]
    Throttled {
        /// The object.
        key: String,
        /// The storage's words.
        detail: String,
    },
    /// The object is in a storage class that takes hours to read from; it is being restored.
    #[error("{key}: is being restored from its storage class")]
    Restoring {
        /// The object.
        key: String,
    },
    /// The storage cannot be reached, answers with a 5xx, or broke off.
    #[error("{key}: unavailable: {detail}")]
    Unavailable {
        /// The object.
        key: String,
        /// The storage's words.
        detail: String,
    },
    /// Anything else: refused credentials, a missing bucket, a local file that cannot be read.
    #[error("{key}: {detail}")]
    Other {
        /// The object.
        key: String,
        /// The storage's words.
        detail: String,
    },
}

/// What the storage says of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key inside the bucket.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
    /// When it was written, by the storage's clock.
    pub last_modified: Option<DateTime<Utc>>,
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct ObjectPage {
    /// Ascending by key, at most 1,000.
    pub objects: Vec<ObjectInfo>,
    /// Hand it back for the page after; none on the last.
    pub next: Option<String>,
}

/// A whole object, copied to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes copied.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

/// Object storage, as the archive needs it. Every failure is a [`StorageError`].
pub trait ColdStorage: Send + Sync + Debug {
    /// Writes the file at `path` under `key`, unless the key is taken. `sha256` is checked by the
    /// storage.
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        sha256: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Reads exactly `range` of an object, at most [`MAX_RANGE`] bytes.
    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>>;

    /// Copies a whole object into the file at `path`, which is overwritten; memory stays bounded.
    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>>;

    /// Size and age of an object.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>>;

    /// Deletes an object; one that is gone already is no error.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Lists keys that start with `prefix`; `from` is [`ObjectPage::next`] of the page before.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>>;

    /// A URL by which anybody who has it may read the object until `expires` from now, at most
    /// [`MAX_URL_AGE`]. It is signed, not asked for: whether there is such an object is not looked
    /// at. None where the storage has no URLs.
    fn presign<'a>(
        &'a self,
        key: &'a str,
        expires: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, StorageError>> {
        let _ = (key, expires);
        std::future::ready(Ok(None)).boxed()
    }
}

/// Longest life of a URL.
pub const MAX_URL_AGE: Duration = Duration::from_hours(12);

/// Largest ranged read, in bytes: a row group of one largest invoice fits.
pub const MAX_RANGE: u64 = 128 * 1024 * 1024;

/// What happens to a call in a [`Counting`] storage.
pub type Fault = Box<dyn Fn(&str, &str) -> Option<StorageError> + Send + Sync>;

/// A storage that counts the calls of another, and breaks those that its fault says.
pub struct Counting {
    inner: Arc<dyn ColdStorage>,
    fault: Option<Fault>,
    gets: AtomicU64,
    bytes: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
}

impl Debug for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counting")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Counting {
    /// Counts the calls of `inner`.
    pub fn new(inner: Arc<dyn ColdStorage>) -> Self {
        Self {
            inner,
            fault: None,
            gets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
        }
    }

    /// Breaks each call for which `fault(operation, key)` answers an error; operations have the
    /// trait's names.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Reads so far, ranged and whole, and the bytes that they brought.
    pub fn gets(&self) -> (u64, u64) {
        (
            self.gets.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Writes so far.
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// Deletes so far.
    pub fn deletes(&self) -> u64 {
        self.deletes.load(Ordering::Relaxed)
    }

    fn check(&self, operation: &str, key: &str) -> Result<(), StorageError> {
        match self.fault.as_ref().and_then(|fault| fault(operation, key)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl ColdStorage for Counting {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        sha256: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        async move {
            self.puts.fetch_add(1, Ordering::Relaxed);
            self.check("put_if_absent", key)?;
            self.inner.put_if_absent(key, path, sha256).await
        }
        .boxed()
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>> {
        async move {
            self.gets.fetch_add(1, Ordering::Relaxed);
            self.check("get_range", key)?;
            let bytes = self.inner.get_range(key, range).await?;
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        }
        .boxed()
    }

    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>> {
        async move {
            self.gets.fetch_add(1, Ordering::Relaxed);
            self.check("get_to_file", key)?;
            let fetched = self.inner.get_to_file(key, path).await?;
            self.bytes.fetch_add(fetched.bytes, Ordering::Relaxed);
            Ok(fetched)
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>> {
        async move {
            self.check("head", key)?;
            self.inner.head(key).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        async move {
            self.deletes.fetch_add(1, Ordering::Relaxed);
            self.check("delete", key)?;
            self.inner.delete(key).await
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>> {
        async move {
            self.check("list", prefix)?;
            self.inner.list(prefix, from).await
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
