//! The handover to the archive.

pub(crate) mod handover;
