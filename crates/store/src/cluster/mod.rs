//! The machinery below all nouns: routing, nodes, connections, transactions, the fair queue and the
//! batch loop.

pub(crate) mod admin;
pub(crate) mod batch;
pub(crate) mod clocks;
pub(crate) mod connect;
pub(crate) mod ddl;
pub(crate) mod fair_queue;
pub(crate) mod fetch;
pub(crate) mod hash;
pub(crate) mod lent;
pub(crate) mod node;
pub(crate) mod plan_age;
pub(crate) mod pools;
pub(crate) mod routing;
pub(crate) mod rows;
pub(crate) mod shard;
pub(crate) mod shares;
pub(crate) mod spans;
pub(crate) mod supervise;
pub(crate) mod transaction;
