//! Object storage.

pub(crate) mod resilience;
pub(crate) mod storage;
