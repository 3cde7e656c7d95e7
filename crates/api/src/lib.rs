//! The front door: axum routes, authentication, problem+json, OpenAPI.
//!
//! A handler parses, makes one call, and responds. Everything around that is done once: credentials
//! by the extractors of `auth`, guesses at them by `guesses`, rate limits by `limits`, what was
//! refused by `denials`, bodies and their bounds by `body`, errors by the match in `error`, request
//! ids, metrics, the access log and timeouts by the one layer of `observe`.

mod observe;

mod auth;
mod body;
mod config;
mod cursor;
mod error;
mod etag;
mod headers;
mod idempotency;
mod openapi;
mod problem;
mod query;
mod rate_limit;
mod render_pool;
mod routes;
pub mod schema;
mod serve;
mod state;

pub use crate::observe::metrics::Metrics;
pub use crate::state::{App, openapi, router};
pub use auth::role_table;
pub use config::{ApiConfig, BulkConfig, Clock, JwksSource, JwtConfig, JwtSecret, RateLimit};
pub use problem::{PROBLEM_JSON, Problem};
pub use serve::{serve, serve_metrics};

/// What this build lacks, of what answers 501 `not_built`.
pub const NOT_BUILT: &[&str] = &[
    #[cfg(not(feature = "pdf"))]
    "PDF",
    #[cfg(not(feature = "sql"))]
    "SQL over the archive",
];
