//! Settings of a tenant: each is one versioned row, and each change of it an event.

pub(crate) mod archive_column;
pub(crate) mod expected;
pub(crate) mod number_series;
pub(crate) mod profile;
pub(crate) mod retention;
