//! Runs over many tenants: their progress, their failures, and the record of how they ended.

pub(crate) mod failures;
pub mod progress;
pub(crate) mod record;
