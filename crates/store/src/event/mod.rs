//! Events: each change writes one, in its own transaction; readers follow them as a feed.

pub(crate) mod feed;
pub(crate) mod origin;
pub(crate) mod row;
pub(crate) mod write;
