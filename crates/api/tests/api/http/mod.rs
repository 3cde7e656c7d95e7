//! What holds for every route.

pub(crate) mod bad_input;
pub(crate) mod coordinator;
pub(crate) mod headers;
pub(crate) mod idempotency;
pub(crate) mod logs;
pub(crate) mod operations;
pub(crate) mod strict_input;
pub(crate) mod walk;
