//! The one table of steps and statuses.

use crate::Code;
use crate::{Kind, Status};

/// What can be done to an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Change anything, lines included.
    Edit,
    /// Change metadata.
    EditMetadata,
    /// Give it to the customer.
    Issue,
    /// Record that it was sent.
    Send,
    /// Record money that came in.
    Pay,
    /// Take a payment back.
    Reverse,
    /// Give money back; on a credit note, pay it out.
    Refund,
    /// Correct it by a credit note.
    Credit,
    /// Set a credit note off against an invoice; asked of the credit note.
    Apply,
    /// Withdraw it.
    Cancel,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 10] = [
        Self::Edit,
        Self::EditMetadata,
        Self::Issue,
        Self::Send,
        Self::Pay,
        Self::Reverse,
        Self::Refund,
        Self::Credit,
        Self::Apply,
        Self::Cancel,
    ];
}

const IMMUTABLE: Named = (
    Code::InvoiceImmutable,
    "an issued document does not change, but for its metadata: correct it with a credit note",
);
const NOT_ISSUED: Named = (Code::NotIssued, "a draft has to be issued first");
const ISSUED: Named = (Code::AlreadyIssued, "the document is issued");
const CANCELLED: Named = (Code::InvoiceCancelled, "the document is cancelled");
const PAID: Named = (Code::AlreadyPaid, "nothing is owed on the invoice");
const NOTHING_PAID: Named = (
    Code::NothingPaid,
    "nothing is paid that could be taken or given back",
);
const HAS_PAYMENTS: Named = (
    Code::InvoiceHasPayments,
    "something is paid: reverse or refund it first, or correct the invoice with a credit note",
);
const SETTLED: Named = (Code::AlreadySettled, "nothing is left of the credit note");
const NOT_PAYABLE: Named = (
    Code::CreditNoteNotPayable,
    "a credit note is applied to an invoice or refunded, not paid",
);
const NOT_CREDITABLE: Named = (
    Code::CreditNoteOfCreditNote,
    "only an invoice is corrected by a credit note",
);
const NO_CREDIT_NOTE: Named = (Code::NotACreditNote, "only a credit note can be applied");

type Named = (Code, &'static str);

/// Why `step` is forbidden: its stable code and a sentence; `None` when the status allows it. A
/// step that is allowed here can still be refused for an amount, or for what another document says.
#[must_use]
pub fn forbidden(kind: Kind, status: Status, step: Step) -> Option<Named> {
    use Kind::{CreditNote, Invoice};
    use Status::{Cancelled, Draft, Issued, Paid, PartiallyPaid};
    match (step, kind, status) {
        (Step::EditMetadata, _, _) => None,
        // What the kind rules out is said first: no status would allow it.
        (Step::Pay, CreditNote, _) => Some(NOT_PAYABLE),
        (Step::Credit, CreditNote, _) => Some(NOT_CREDITABLE),
        (Step::Apply, Invoice, _) => Some(NO_CREDIT_NOTE),
        (_, _, Cancelled) => Some(CANCELLED),
        (Step::Edit | Step::Issue | Step::Cancel, _, Draft) => None,
        (_, _, Draft) => Some(NOT_ISSUED),
        (Step::Edit, _, Issued | PartiallyPaid | Paid) => Some(IMMUTABLE),
        (Step::Issue, _, Issued | PartiallyPaid | Paid) => Some(ISSUED),
        (Step::Send | Step::Credit, _, Issued | PartiallyPaid | Paid) => None,
        (Step::Pay, Invoice, Issued | PartiallyPaid) => None,
        (Step::Pay, Invoice, Paid) => Some(PAID),
        (Step::Reverse, _, Issued) | (Step::Refund, Invoice, Issued) => Some(NOTHING_PAID),
        (Step::Reverse, _, PartiallyPaid | Paid)
        | (Step::Refund, Invoice, PartiallyPaid | Paid) => None,
        (Step::Refund | Step::Apply, CreditNote, Issued | PartiallyPaid) => None,
        (Step::Refund | Step::Apply, CreditNote, Paid) => Some(SETTLED),
        (Step::Cancel, _, Issued) => None,
        (Step::Cancel, _, PartiallyPaid | Paid) => Some(HAS_PAYMENTS),
    }
}
