//! Commands of operators: migrations, tiering, the archive, the cluster.

pub(crate) mod archive;
pub(crate) mod cluster;
pub(crate) mod migrate;
pub(crate) mod pause;
pub(crate) mod tier;
