//! Compaction, erasure, holds.

pub(crate) mod compaction;
pub(crate) mod erasure;
pub(crate) mod erasures;
pub(crate) mod holds;
pub(crate) mod years;
