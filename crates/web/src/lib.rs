//! What every HTTP surface of Sheaf needs: serving, credentials and roles, request ids, metrics,
//! traces and denials, bodies, queries and cursors, problems, rate limits, the clock.
//!
//! It knows the model and the store, and no route. A surface gives its state `FromRef` for
//! [`auth::Authenticator`] and [`body::BodyLimits`], builds a router over its handlers, puts
//! [`Web::observe`] around it, and hands it to [`serve()`].

pub mod answer;
pub mod auth;
pub mod body;
pub mod cursor;
pub mod error;
pub mod etag;
mod headers;
pub mod idempotency;
pub mod observe;
pub mod path;
pub mod problem;
pub mod query;

mod clock;
mod rate_limit;
mod serve;

pub use auth::{JwksSource, JwtConfig, JwtSecret, role_table};
pub use clock::Clock;
pub use error::Error;
pub use observe::metrics::Metrics;
pub use problem::{PROBLEM_JSON, Problem};
pub use rate_limit::RateLimit;
pub use serve::config::Config;
pub use serve::{Web, serve, serve_metrics};
