//! Invoices in the hot tier: creates, changes, uploads, reads, lists, numbers.

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod filter;
pub(crate) mod ids;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod number;
pub(crate) mod read;
pub(crate) mod send;
pub(crate) mod upload;
