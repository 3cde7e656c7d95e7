//! Processes killed in the middle.

pub(crate) mod failures;
pub(crate) mod main_job;
pub(crate) mod payments;
pub(crate) mod tiering;
pub(crate) mod under_load;
pub(crate) mod uploads;
