//! The feed of events.

pub(crate) mod feed;
