//! What the hot tier knows of the cold one: the catalog of its files, the handover, recalls and
//! snapshots of both.

pub(crate) mod archive;
pub(crate) mod catalog;
pub(crate) mod file;
pub(crate) mod handover;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod recall;
pub(crate) mod replace;
pub(crate) mod snapshot;
