//! A hook of the tests: a run that stops at a given step of its protocol, to be killed there.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_archive::{Archive, Checkpoint, Step};

use crate::error::{Error, Result};

const VARIABLE: &str = "SHEAF_TIER_PAUSE_AT";

struct PauseAt(Step);

impl Checkpoint for PauseAt {
    fn reached(&self, step: Step) -> BoxFuture<'_, ()> {
        if step != self.0 {
            return std::future::ready(()).boxed();
        }
        eprintln!("reached {step}");
        std::future::pending().boxed()
    }
}

/// The archive as it is, or with the pause that the environment asks for.
pub(crate) fn hooked(archive: Archive) -> Result<Archive> {
    let Ok(step) = std::env::var(VARIABLE) else {
        return Ok(archive);
    };
    let step = step
        .parse()
        .map_err(|error| Error::new(format!("{VARIABLE}: {error}")))?;
    Ok(archive.with_checkpoint(Arc::new(PauseAt(step))))
}
