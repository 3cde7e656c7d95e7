//! The machinery below all nouns: where tenants live, the nodes and the connections to them,
//! transactions, the fair queue, and the one loop of all batches.
//!
//! This crate knows that rows belong to tenants. It knows no invoice and no archive: whoever has
//! those hands over the statements of a shard ([`routing::shard::StatementSet`]) and the work
//! ([`batch::Work`]).

pub mod admin;
pub mod batch;
pub mod config;
pub mod connect;
pub mod ddl;
pub mod error;
pub mod fair_queue;
pub mod node;
pub mod routing;
pub mod rows;
pub mod shares;
pub mod spans;
mod sql;
pub mod supervise;
pub mod transaction;

pub use config::{Config, Route};
pub use error::Error;
pub use routing::Cluster;
