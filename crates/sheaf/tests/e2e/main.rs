//! End-to-end tests: the real binary, real processes, HTTP from outside. Those with `citus_` in
//! their name need the Citus extension.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub
)]

mod api;
mod check;
mod cluster;
mod commands;
mod data;
mod deploy;
mod doctor;
mod export;
mod failures;
mod kills;
mod load;
mod main_job;
mod monitoring;
mod parquet;
mod pay_kills;
mod poison;
mod process;
mod proxy;
mod statements;
mod tiering_kills;
mod traces;
mod under_load;
mod up;
