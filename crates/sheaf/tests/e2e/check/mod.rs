//! The independent check and poison.

pub(crate) mod histories;
pub(crate) mod poison;
