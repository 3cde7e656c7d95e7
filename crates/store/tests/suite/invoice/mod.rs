//! Invoices: creates, batches, uploads, numbers, lists.

pub(crate) mod batches;
pub(crate) mod encoding;
pub(crate) mod lists;
pub(crate) mod money_checks;
pub(crate) mod numbers;
pub(crate) mod uploads;
pub(crate) mod writes;
