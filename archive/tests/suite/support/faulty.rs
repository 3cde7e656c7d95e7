//! A storage whose ranged reads go wrong as a script says.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_archive::object::storage::{ColdStorage, Fetched, ObjectInfo, ObjectPage, StorageError};

/// What happens to one ranged read.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// 503 SlowDown.
    Throttled,
    /// 500, or a connection that broke off.
    Unavailable,
    /// The answer comes late.
    Late(Duration),
    /// No answer at all.
    Never,
    /// So many bytes are missing at the end.
    Short(usize),
    /// The answer is of the range so many bytes further on.
    Elsewhere(u64),
    /// The byte at this offset of the object is another one, if the range has it.
    Flipped(u64),
}

type Script = Box<dyn Fn(&str, Range<u64>, u64) -> Fault + Send + Sync>;

/// Breaks the ranged reads of another storage: the script is told key, range and the number of the
/// call.
pub struct Faulty {
    inner: Arc<dyn ColdStorage>,
    script: Script,
    calls: AtomicU64,
    finished: AtomicU64,
}

impl Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    pub fn new(
        inner: Arc<dyn ColdStorage>,
        script: impl Fn(&str, Range<u64>, u64) -> Fault + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            script: Box::new(script),
            calls: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        })
    }

    /// Ranged reads begun, and those that came to an answer; the others were dropped.
    pub fn calls(&self) -> (u64, u64) {
        (
            self.calls.load(Ordering::SeqCst),
            self.finished.load(Ordering::SeqCst),
        )
    }

    async fn broken(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let (key, detail) = (key.to_owned(), "broken by the test".to_owned());
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match (self.script)(&key, range.clone(), call) {
            Fault::None => self.inner.get_range(&key, range).await,
            Fault::Throttled => Err(StorageError::Throttled { key, detail }),
            Fault::Unavailable => Err(StorageError::Unavailable { key, detail }),
            Fault::Late(by) => {
                tokio::time::sleep(by).await;
                self.inner.get_range(&key, range).await
            }
            Fault::Never => std::future::pending().await,
            Fault::Short(by) => {
                let bytes = self.inner.get_range(&key, range).await?;
                Ok(bytes.slice(..bytes.len().saturating_sub(by)))
            }
            Fault::Elsewhere(by) => {
                let range = range.start + by..range.end + by;
                self.inner.get_range(&key, range).await
            }
            Fault::Flipped(at) => {
                let bytes = self.inner.get_range(&key, range.clone()).await?;
                let mut bytes = bytes.to_vec();
                if range.contains(&at) {
                    bytes[usize::try_from(at - range.start).unwrap()] ^= 0x20;
                }
                Ok(bytes.into())
            }
        }
    }
}

impl ColdStorage for Faulty {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        sha256: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        self.inner.put_if_absent(key, path, sha256)
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>> {
        async move {
            let answer = self.broken(key, range).await;
            self.finished.fetch_add(1, Ordering::SeqCst);
            answer
        }
        .boxed()
    }

    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>> {
        self.inner.get_to_file(key, path)
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>> {
        self.inner.head(key)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        self.inner.delete(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>> {
        self.inner.list(prefix, from)
    }
}
