//! Local PostgreSQL/Citus nodes and a local S3, for `sheaf up` and for tests.
//!
//! [`LocalEnv`] starts everything in one data directory: PostgreSQL servers as child processes, S3
//! in this process. [`S3Server`] is that S3 alone. Tests that run under the `with-cluster` program
//! read what it exports by [`test_env`].

mod account;
mod cluster;
mod datadir;
mod env;
mod error;
mod install;
mod node;
mod ports;
mod s3;
mod setup;
mod test_env;
mod throwaway;

pub use env::{CitusMode, LocalEnv, Options, Worker};
pub use error::{LocalError, Result};
pub use install::{CITUS_INSTALLATION, Install};
pub use s3::{OperationStats, REGION, RequestRecord, S3Server, S3Stats};
pub use test_env::{TestEnv, test_env};
pub use throwaway::Throwaway;
