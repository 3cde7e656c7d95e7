//! How a query is run: which tiers it reads, and how many rows it may answer.

#[cfg(doc)]
use crate::quota::QueryLimits;

/// Rows of an answer unless a query asks for more.
pub const DEFAULT_ROWS: usize = 100_000;

/// Which tiers a query reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiers {
    /// The archive alone.
    #[default]
    Cold,
    /// The archive and the hot tier.
    All,
}

/// How a query is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// What is read.
    pub tiers: Tiers,
    /// More rows are an error; [`QueryLimits::rows`] at most.
    pub max_rows: usize,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            tiers: Tiers::Cold,
            max_rows: DEFAULT_ROWS,
        }
    }
}
