//! Commands of the binary.

pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod help;
pub(crate) mod parquet;
pub(crate) mod up;
