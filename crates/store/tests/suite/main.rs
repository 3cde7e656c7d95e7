//! The store against a real cluster. One program: each one more would build its code again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod cold;
mod invoice;
mod schema;
mod setting;

mod customer;
mod job_run;
mod support;
