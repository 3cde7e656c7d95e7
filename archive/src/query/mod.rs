//! SQL over the archive: read-only, one tenant's files of one snapshot, within bounds.
//!
//! A session knows the four tables and functions that compute. It has no object store, no file
//! format, no table function and no disk, so there is nothing by which SQL could name a file.

pub(crate) mod answer;
pub(crate) mod bound;
pub(crate) mod engine;
mod error;
pub(crate) mod function;
mod job;
mod options;
mod run;
mod session;
pub(crate) mod statement;
pub(crate) mod table;

pub use answer::stats::QueryStats;
pub use answer::{Answer, Format};
pub use error::QueryError;
pub use options::{DEFAULT_ROWS, QueryOptions, Tiers};
pub use run::QueryRun;
pub use statement::guard::MAX_SQL_BYTES;
