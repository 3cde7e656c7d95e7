//! The archive against a real database and a real S3. One program: each one more would build the
//! query engine's code again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod care;
mod object;
mod read;
mod tier;

mod export;
mod fixtures;
mod query;
mod support;
