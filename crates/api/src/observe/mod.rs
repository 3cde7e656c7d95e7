//! What is seen of requests: the layer around every route, metrics, traces, denials.

pub(crate) mod denials;
pub(crate) mod layer;
pub(crate) mod metrics;
pub(crate) mod trace;
