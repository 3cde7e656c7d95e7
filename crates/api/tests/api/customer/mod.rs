//! Customers over HTTP.

pub(crate) mod merges;
pub(crate) mod named;
pub(crate) mod privacy;
pub(crate) mod records;
