//! Tiering: settled invoices move from PostgreSQL into Parquet files, part by part.

pub(crate) mod part;
pub(crate) mod publish;
pub(crate) mod read_back;
mod run;
mod summary;

pub use run::Tiering;
pub use summary::{RunOptions, RunSummary};
