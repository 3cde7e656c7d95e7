//! The archive over HTTP.

pub(crate) mod export;
pub(crate) mod files;
pub(crate) mod query;
