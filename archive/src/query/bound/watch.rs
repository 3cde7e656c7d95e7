//! The end of a query, wherever it computes: its deadline, and a client that has gone.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::plan_err;
use datafusion::error::{DataFusionError, Result};
use tokio_util::sync::CancellationToken;

/// Why the engine was stopped. It travels through the engine's own errors, which keep what they are
/// made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// The query's time is over.
    #[error("the query took longer than {seconds} seconds")]
    Late {
        /// The bound.
        seconds: u64,
    },
    /// Nobody waits for the answer any more.
    #[error("nobody reads the answer")]
    Left,
    /// The plan grew beyond its bound.
    #[error("the query is too complex: {0}")]
    Complex(&'static str),
}

impl From<Stop> for DataFusionError {
    fn from(stop: Stop) -> Self {
        Self::External(Box::new(stop))
    }
}

/// The end of one query, as everything that computes for it sees it.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Instant,
    seconds: u64,
    left: AtomicBool,
    gone: CancellationToken,
    batch: AtomicU64,
}

/// Bytes that all functions of a query together may make of a batch, about.
const ALL_BATCHES: u64 = 128 * 1024 * 1024;
/// Bytes that one of them may make, at most.
const BATCH: u64 = 64 * 1024 * 1024;

impl Watch {
    pub(crate) fn new(time: Duration) -> Arc<Self> {
        Arc::new(Self {
            deadline: Instant::now() + time,
            seconds: time.as_secs(),
            left: AtomicBool::new(false),
            gone: CancellationToken::new(),
            batch: AtomicU64::new(BATCH),
        })
    }

    /// So many expressions share what may be made of a batch.
    pub(crate) fn share(&self, expressions: u64) {
        let each = (ALL_BATCHES / expressions.max(1)).min(BATCH);
        self.batch.store(each, Ordering::Relaxed);
    }

    /// When the query has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What a query that is late has to say.
    pub(crate) fn late(&self) -> Stop {
        Stop::Late {
            seconds: self.seconds,
        }
    }

    /// The reader has gone.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        self.gone.cancel();
    }

    /// Waits until the reader has gone.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// An error once the query has to end. Whatever computes for long asks now and then: a
    /// computation yields to nobody.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.left.load(Ordering::Relaxed) {
            return Err(Stop::Left);
        }
        if Instant::now() >= self.deadline {
            return Err(self.late());
        }
        Ok(())
    }
}

/// The watch among the options of a session, where functions find it.
#[derive(Clone, Debug)]
pub(crate) struct Watched(pub(crate) Arc<Watch>);

impl ConfigExtension for Watched {
    const PREFIX: &'static str = "sheaf";
}

impl ExtensionOptions for Watched {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> Result<()> {
        plan_err!("there is no setting {key}")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// Bytes that a function may make of a batch.
pub(crate) fn batch(options: &ConfigOptions) -> u64 {
    let watched = options.extensions.get::<Watched>();
    watched.map_or(BATCH, |watched| watched.0.batch.load(Ordering::Relaxed))
}

/// An error once the query of this session has to end. Sessions of tests have no watch.
pub(crate) fn check(options: &ConfigOptions) -> Result<()> {
    match options.extensions.get::<Watched>() {
        Some(watched) => Ok(watched.0.check()?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_ends_when_it_is_late_and_when_its_reader_has_gone() {
        let watch = Watch::new(Duration::from_secs(60));
        assert_eq!(watch.check(), Ok(()));
        watch.leave();
        assert_eq!(watch.check(), Err(Stop::Left));
        let late = Watch::new(Duration::ZERO);
        assert_eq!(late.check(), Err(Stop::Late { seconds: 0 }));
        let mut options = ConfigOptions::default();
        assert!(check(&options).is_ok());
        options.extensions.insert(Watched(late));
        assert!(check(&options).is_err());
    }
}
