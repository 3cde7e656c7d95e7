//! What a run found: records, objectives, reports, plots.

pub mod baseline;
pub mod objective;
pub mod plot;
pub mod record;
pub mod report;
pub mod run;
