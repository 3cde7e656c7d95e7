//! Numbers of invoices: series, archived ones, and years.

pub(crate) mod archived;
pub(crate) mod series;
pub(crate) mod years;
