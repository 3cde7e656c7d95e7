//! Group commit: single creates wait in their node's queue and are written together.

pub(crate) mod customer_ref;
pub(crate) mod decide;
pub(crate) mod lookup;
pub(crate) mod write;

use sheaf_model::id;
use uuid::Uuid;

use crate::batch::{Attachment, Carried};
use crate::invoice::create::customer_ref::CustomerRef;
use crate::invoice::create::decide::Outcome;
use crate::invoice::new::{Created, NewInvoice};
use crate::{Store, StoreError};
use sheaf_cluster::fair_queue::{Job, Queued, Queues, Refused, submit};

/// Why one create was not done.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The tenant has an invoice with this `external_id` in the same year.
    #[error("external_id is taken by invoice {existing}")]
    DuplicateExternalId {
        /// Its id.
        existing: Uuid,
    },
    /// The tenant has an invoice with this `number` in the same year.
    #[error("number is taken by invoice {existing}")]
    DuplicateNumber {
        /// Its id.
        existing: Uuid,
    },
    /// The client's id exists.
    #[error("the id exists")]
    DuplicateId,
    /// The tenant has no customer with this `customer_id`.
    #[error("no such customer")]
    CustomerNotFound,
    /// The customer is inactive, or was merged into one that is.
    #[error("the customer is not active")]
    CustomerInactive,
    /// The lane's queue is full.
    #[error("the write queue is full")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Queued for NewInvoice {
    fn queues(store: &Store) -> &Queues<Job<Self>> {
        &store.inner.writers
    }
}

impl Store {
    /// Stores one invoice. It shares its transaction with the other creates of its node that arrive
    /// meanwhile; the answer comes after their common commit.
    ///
    /// # Errors
    /// [`CreateError::Busy`] when the node's queue, or the tenant's share of it, is full;
    /// [`ClusterError::Unavailable`] at once while the node is down,
    /// [`ClusterError::OutcomeUnknown`] where the answer to the commit was lost, and neither key
    /// nor id would find the invoice again; the conflicts that [`CreateError`] names.
    ///
    /// [`ClusterError::Unavailable`]: crate::ClusterError::Unavailable
    /// [`ClusterError::OutcomeUnknown`]: crate::ClusterError::OutcomeUnknown
    pub async fn create_invoice(&self, new: NewInvoice) -> Result<Created, CreateError> {
        // Before the queue, where it would keep others waiting.
        self.ensure_year(id::year_of(new.invoice.id)).await?;
        let carried = carried(&new);
        match submit(self, new, carried).await {
            Ok((new, outcome)) => answer(new, outcome),
            Err(Refused::Busy) => Err(CreateError::Busy),
            Err(Refused::Failed(error)) => Err(error.into()),
        }
    }
}

/// What a create is given along: its customer as the client named it.
pub(crate) fn carried(new: &NewInvoice) -> Carried {
    Carried::new(Attachment {
        customer: CustomerRef::of(new),
        ..Attachment::default()
    })
}

fn answer(new: NewInvoice, outcome: Outcome) -> Result<Created, CreateError> {
    match outcome {
        Outcome::Created => Ok(Created::New(Box::new(new.invoice))),
        Outcome::Replay(replay) => Ok(Created::Replay(replay)),
        Outcome::Idempotency(conflict) => Err(StoreError::from(conflict).into()),
        Outcome::DuplicateExternalId(existing) => {
            Err(CreateError::DuplicateExternalId { existing })
        }
        Outcome::DuplicateNumber(existing) => Err(CreateError::DuplicateNumber { existing }),
        Outcome::DuplicateId => Err(CreateError::DuplicateId),
        Outcome::CustomerNotFound => Err(CreateError::CustomerNotFound),
        Outcome::CustomerInactive => Err(CreateError::CustomerInactive),
    }
}
