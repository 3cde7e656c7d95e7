//! An invoice on its way in, and what becomes of it.

use chrono::{DateTime, Utc};
use sheaf_model::{Code, Invoice};
use uuid::Uuid;

use crate::event::origin::Origin;
use crate::idempotency::key::{IdemKey, Replay};

/// Where the id of a new invoice comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFrom {
    /// Made for it.
    Server,
    /// The client chose it.
    Client,
    /// Derived from its upload's idempotency key and its line's number: the line may have been
    /// stored before.
    UploadLine,
}

impl IdFrom {
    /// Whether the id may exist, in either tier.
    #[must_use]
    pub fn may_exist(self) -> bool {
        self != Self::Server
    }
}

/// An invoice on its way into the hot tier.
#[derive(Clone, Debug)]
pub struct NewInvoice {
    /// Validated, with totals and id.
    pub invoice: Invoice,
    /// Where its id comes from.
    pub id_from: IdFrom,
    /// When it comes in: the time of its event. That of `created_at`, but where an exported
    /// document is read back.
    pub at: DateTime<Utc>,
    /// Who sends it, and in which request.
    pub origin: Origin,
    /// For single creates.
    pub idem: Option<IdemKey>,
}

/// The answer to a single create.
#[derive(Clone, Debug)]
pub enum Created {
    /// Stored now.
    New(Box<Invoice>),
    /// Stored before, by the same request.
    Replay(Replay),
}

/// What became of one line of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineOutcome {
    /// Stored.
    Created,
    /// The invoice with this id is the same document.
    Duplicate(Uuid),
    /// The upload's key was used with another line in this place, which was stored as the invoice
    /// with this id.
    OtherLine(Uuid),
    /// Refused.
    Rejected {
        /// Stable code.
        code: Code,
        /// For the client.
        detail: String,
    },
}
