//! An invoice as a client sends it: reading, and validation into an [`Invoice`](crate::Invoice).

mod bounds;
pub(crate) mod check;
mod discount;
mod document;
mod lines;
pub(crate) mod parse;
mod payment;
pub(crate) mod read;
mod restore;
mod step;
mod stored;
pub(crate) mod syntax;
mod validate;

pub use document::{Context, InvoiceInput, TenantRef};
pub use parse::ParseError;
pub use step::{
    ApplyInput, Body, CancelInput, CreditNoteInput, CreditNoteRequest, IssueInput, PaymentBody,
    RecallInput, ReversalInput, SendInput,
};

#[cfg(test)]
mod tests;
