//! What is asked for, and what is answered.

use chrono::{DateTime, NaiveDate, Utc};
use sheaf_model::invoice::input::CreditNoteRequest;
use sheaf_model::invoice::lifecycle::{NewPayment, Patch, Reversal};
use sheaf_model::{Decimal, TenantId};
use uuid::Uuid;

use crate::Expected;
use crate::types::{IdemKey, Origin};

/// One step of an invoice's life.
#[derive(Clone, Debug)]
pub enum Command {
    /// A merge patch on a draft, or on the metadata of any document.
    Edit(Patch),
    /// Gives a draft its date and number.
    Issue {
        /// The draft's own or today, when none is given.
        issue_date: Option<NaiveDate>,
        /// The draft's own, when none is given.
        due_date: Option<NaiveDate>,
    },
    /// Records that it was sent.
    Send {
        /// By which way.
        channel: Option<String>,
        /// To whom.
        recipient: Option<String>,
    },
    /// Withdraws it.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// Records a payment.
    Pay(NewPayment),
    /// Takes a payment back.
    Reverse {
        /// Which.
        reversal: Reversal,
        /// Why.
        reason: Option<String>,
    },
    /// Gives money back.
    Refund(NewPayment),
    /// The same of a credit note that corrects an invoice: what came in on that is the bound.
    /// [`Store::change_invoice`] makes it of a refund.
    ///
    /// [`Store::change_invoice`]: crate::Store::change_invoice
    PayOut {
        /// How.
        refund: NewPayment,
        /// The invoice.
        of: Uuid,
    },
    /// Makes a credit note of it.
    Credit(Box<CreditNoteRequest>),
    /// Sets it, a credit note, off against an invoice.
    Apply {
        /// The invoice.
        to: Uuid,
        /// All that is possible, when none is given.
        amount: Option<Decimal>,
    },
    /// Brings it back from the archive.
    Recall,
}

/// A change of one invoice.
#[derive(Clone, Debug)]
pub struct NewChange {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which.
    pub invoice_id: Uuid,
    /// What.
    pub command: Command,
    /// What the invoice's version must be (`If-Match`, `If-None-Match`).
    pub expected: Option<Expected>,
    /// Who, and in which request.
    pub origin: Origin,
    /// So that a retry is answered, not done again.
    pub idem: Option<IdemKey>,
    /// The clock.
    pub now: DateTime<Utc>,
}

impl NewChange {
    /// Whether it may name customers or keys.
    pub(super) fn is_edit(&self) -> bool {
        matches!(&self.command, Command::Edit(patch) if !patch.is_metadata())
    }

    /// Whether it is an edit that names a customer, or takes it away.
    pub(super) fn names_customer(&self) -> bool {
        matches!(&self.command, Command::Edit(patch) if patch.names_customer())
    }

    /// Whether it may give a document a key that must be unique.
    pub(super) fn takes_keys(&self) -> bool {
        self.is_edit() || matches!(self.command, Command::Issue { .. } | Command::Credit(_))
    }

    /// The invoices that it changes.
    pub(super) fn targets(&self) -> impl Iterator<Item = Uuid> {
        let other = match self.command {
            Command::Apply { to, .. } => Some(to),
            Command::PayOut { of, .. } => Some(of),
            _ => None,
        };
        std::iter::once(self.invoice_id).chain(other)
    }
}

/// The answer to a change; it is kept with the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Path of what was made.
    pub location: Option<String>,
    /// JSON.
    pub body: Vec<u8>,
    /// The invoice's version, the ETag.
    pub version: i64,
}
