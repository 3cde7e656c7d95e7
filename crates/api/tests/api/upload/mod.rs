//! Bulk uploads over HTTP.

pub(crate) mod atomic;
pub(crate) mod broken;
pub(crate) mod keys;
pub(crate) mod lines;
pub(crate) mod platform;
