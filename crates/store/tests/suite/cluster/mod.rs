//! Nodes, lanes and lent connections.

pub(crate) mod clocks;
pub(crate) mod hung_nodes;
pub(crate) mod lanes;
pub(crate) mod lent;
