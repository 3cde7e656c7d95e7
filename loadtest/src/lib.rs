//! Load for Sheaf: invoices to send, and a driver that sends them. Speaks HTTP only.
//!
//! | module | job |
//! |---|---|
//! | [`generate`] | realistic invoices as JSON, the same ones for the same seed |
//! | [`http`] | one HTTP/1.1 connection, as cheap as it gets |
//! | [`closed`] | the closed loop: a fixed number of connections, each sends when its last answer is in |
//! | [`setup`] | tenants and API keys to send for |
//!
//! A closed loop finds the highest rate that a server takes. It hides latency under overload, because a slow server
//! slows its clients: latency under load needs a paced run ([`closed::Plan::rate`]) below that rate.

pub mod closed;
pub mod generate;
pub mod http;
pub mod setup;
