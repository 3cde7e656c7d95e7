//! Events: each change writes one, in its own transaction; readers follow them as a feed.

pub(crate) mod feed;
pub(crate) mod write;
