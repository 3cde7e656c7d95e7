//! What is seen of requests: the layer around every route, metrics, traces, denials.

pub mod layer;
pub mod metrics;
pub mod request_id;

pub(crate) mod denials;
mod trace;
