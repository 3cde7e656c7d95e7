//! A statement before it is planned: what it may be, and how large.

pub(crate) mod complexity;
pub(crate) mod dialect;
pub(crate) mod guard;
pub(crate) mod size;
