//! The API: axum routes over both tiers, OpenAPI.
//!
//! A handler parses, makes one call, and responds. What every HTTP surface needs is in `sheaf-web`:
//! credentials, bodies and their bounds, rate limits, denials, request ids, metrics, timeouts.

mod config;
mod error;
mod openapi;
mod problems;
mod render_pool;
mod router;
mod routes;
pub mod schema;
mod state;

pub use config::{ApiConfig, BulkConfig};
pub use router::{openapi, router, serve};
pub use state::App;

/// What this build lacks, of what answers 501 `not_built`.
pub const NOT_BUILT: &[&str] = &[
    #[cfg(not(feature = "pdf"))]
    "PDF",
    #[cfg(not(feature = "sql"))]
    "SQL over the archive",
];
