//! Care of the archive: verification, garbage collection, compaction, erasure.

pub mod compact;
pub mod erase;
pub(crate) mod erasures;
pub mod gc;
pub(crate) mod months;
pub mod numbers;
pub(crate) mod rewrite;
pub mod verify;
