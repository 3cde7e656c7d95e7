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
mod command;
mod crash;
mod deploy;
mod load;
mod process;
mod proxy;
mod statements;
