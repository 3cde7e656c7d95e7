//! One module a noun. Each handler parses, makes one call, and responds.

pub(crate) mod api_key;
pub(crate) mod archive;
pub(crate) mod customer;
pub(crate) mod event;
pub(crate) mod invoice;
pub(crate) mod number_series;
pub(crate) mod ops;
pub(crate) mod privacy;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod tenant;
