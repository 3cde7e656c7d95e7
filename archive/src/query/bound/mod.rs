//! Bounds of a query: memory, time, threads.

pub(crate) mod held;
pub(crate) mod lane;
pub(crate) mod meter;
pub(crate) mod order;
pub(crate) mod room;
pub(crate) mod sizes;
pub(crate) mod watch;
