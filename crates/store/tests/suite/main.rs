//! The store against a real cluster. One program: each one more would build its code again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_role;
mod batches;
mod clocks;
mod customers;
mod encoding;
mod hung;
mod jobs;
mod lanes;
mod lent;
mod lists;
mod money_checks;
mod numbers;
mod plans;
mod profile_versions;
mod schema_change;
mod support;
mod tiering;
mod upgrade;
mod uploads;
mod writes;
mod years;
