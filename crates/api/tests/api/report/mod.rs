//! Reports.

pub(crate) mod money;
pub(crate) mod summaries;
