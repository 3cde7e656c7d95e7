//! Runs over the archive: what they work with, their progress, their failures, and the record of
//! how they ended.

pub(crate) mod failures;
pub mod progress;
pub(crate) mod record;
mod resources;

pub(crate) use resources::{IDEMPOTENCY_DAYS, LockedRun, Resources, Run, TENANT_PAGE, elapsed_ms};
