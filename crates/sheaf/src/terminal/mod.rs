//! What a person sees in a terminal: results, tables, progress, the log.

pub(crate) mod bar;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod table;
pub(crate) mod units;
