//! Reads of the archive.

pub(crate) mod lists;
pub(crate) mod unseen;
