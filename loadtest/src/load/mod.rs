//! Load: what is sent, when, and over which connections.

pub mod arrivals;
pub mod closed;
pub mod generate;
pub mod http;
pub mod material;
pub mod mix;
pub mod open;
pub mod setup;
pub mod stolen;
pub mod stub;
pub mod timer;
pub mod wire;
pub mod workload;
