//! The schema: migrations, partitions by year, the role that the API works as, and the clocks of
//! the nodes.

pub(crate) mod clocks;
pub(crate) mod inspect;
pub(crate) mod migrate;
pub(crate) mod partition;
pub(crate) mod role;
pub(crate) mod years;
