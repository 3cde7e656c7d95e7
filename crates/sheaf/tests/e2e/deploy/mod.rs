//! Files of deploy/, metrics and traces.

pub(crate) mod files;
pub(crate) mod monitoring;
pub(crate) mod traces;
