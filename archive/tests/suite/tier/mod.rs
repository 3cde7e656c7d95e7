//! Tiering.

pub(crate) mod faults;
pub(crate) mod histories;
pub(crate) mod keeping;
pub(crate) mod roundtrip;
pub(crate) mod runs;
