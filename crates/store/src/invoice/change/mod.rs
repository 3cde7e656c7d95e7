//! Changes of invoices that exist: payments, issue, credit notes and the rest of their lives,
//! committed in groups.
//!
//! A batch locks its invoices, lets the model's rules decide on each change in turn, and writes
//! what came out, with the events and the answers that retries will get: two round trips and one
//! commit, whatever the number of changes. Many payments on one invoice are one update of it.

pub(crate) mod apply;
pub(crate) mod attempt;
pub(crate) mod command;
pub(crate) mod history;
pub(crate) mod named;
pub(crate) mod needs;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sheaf_model::invoice::lifecycle;
use sheaf_model::{Invalid, TenantId, id};
use uuid::Uuid;

use crate::cluster::batch::{Abort, Carried, Needs, Work};
use crate::cluster::fair_queue::{Job, Queued, Queues, Refused};
use crate::cold::keys::{ColdFiles, YearKeys};
use crate::invoice::send::Place;
use crate::types::{ColdInvoice, Replay};
use crate::{Inner, Store, StoreError};

pub use command::{Answer, Command, NewChange};

/// What a change came to.
#[derive(Clone, Debug)]
pub enum Changed {
    /// Done now.
    New(Answer),
    /// Done before, by the same request.
    Replay(Replay),
}

/// Why a change was not done. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The tenant has no such invoice, in either tier.
    #[error("there is no invoice {0}")]
    NotFound(Uuid),
    /// The state, or another document, forbids it.
    #[error(transparent)]
    Refused(#[from] lifecycle::Refusal),
    /// The document that would come out is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// `If-Match` or `If-None-Match` rules out the version that it has.
    #[error("the invoice has version {current}")]
    VersionMismatch {
        /// The version that it has.
        current: i64,
    },
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
    /// The tenant has no customer with this `customer_id`.
    #[error("no such customer")]
    CustomerNotFound,
    /// The customer may get no new document: it is not active, was merged or erased.
    #[error("the customer is not active")]
    CustomerInactive,
    /// The queue is full.
    #[error("the write queue is full")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Outcome = Result<Changed, ChangeError>;

impl Queued for NewChange {
    fn queues(inner: &Inner) -> &Queues<Job<Self>> {
        &inner.changes
    }
}

impl Store {
    /// Changes one invoice. It shares its transaction with the other changes of its node that
    /// arrive meanwhile; the answer comes after their common commit. An archived invoice is
    /// recalled in the same transaction.
    ///
    /// A change is safe to repeat with its idempotency key, also when no answer came.
    ///
    /// # Errors
    /// [`ChangeError`]; [`StoreError::OutcomeUnknown`] where the answer to the commit was lost and
    /// the change has no key.
    pub async fn change_invoice(&self, mut change: NewChange) -> Outcome {
        if let Command::Refund(refund) = &change.command
            && let Some(of) = self.corrected(change.tenant_id, change.invoice_id).await?
        {
            let refund = refund.clone();
            change.command = Command::PayOut { refund, of };
        }
        match self.submit(change, Carried::default()).await {
            Ok((_, outcome)) => outcome,
            Err(Refused::Busy) => Err(ChangeError::Busy),
            Err(Refused::Store(error)) => Err(error.into()),
        }
    }

    /// The invoice that a credit note corrects, in whichever tier the note is: it never becomes
    /// another.
    async fn corrected(&self, tenant: TenantId, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        if let Some(note) = self.get_invoice(tenant, id).await? {
            return Ok(note.credits);
        }
        let Some(archive) = self.inner.cold.get() else {
            return Ok(None);
        };
        let found = archive.fetch(tenant, id).await?;
        Ok(found.and_then(|found| found.archived.invoice.credits))
    }
}

/// What a batch of changes was given along of the archive.
pub(crate) struct Known {
    /// Invoices that it may recall: as read, or known to be nowhere.
    invoices: BTreeMap<(TenantId, Uuid), Option<Arc<ColdInvoice>>>,
    keys: Vec<Arc<YearKeys>>,
    /// Keys of files that may have the next numbers of its series.
    numbers: ColdFiles,
}

impl Work for NewChange {
    type Outcome = Outcome;
    type Known = Known;
    const KIND: &'static str = "changes";
    const SIZES: &'static str = "sheaf_change_batch";
    /// They hold their locks together.
    const MOST: usize = 128;
    const ATTEMPTS: u32 = 8;

    fn tenant(&self) -> TenantId {
        self.tenant_id
    }

    /// An edit looks up customers and keys for itself.
    fn is_alone(&self) -> bool {
        self.is_edit()
    }

    /// By its key; a recall of what is hot is none.
    fn finds_itself(&self) -> bool {
        self.idem.is_some() || matches!(self.command, Command::Recall)
    }

    fn may_be_sent_again(&self) -> bool {
        self.finds_itself()
    }

    fn share_of(&self, needs: &Needs) -> Needs {
        let targets = self.targets().filter(|id| needs.invoices.contains(id));
        let mut share = Needs {
            invoices: targets.collect(),
            ..Needs::default()
        };
        if self.takes_keys() {
            share.years.clone_from(&needs.years);
            share.files.clone_from(&needs.files);
        }
        share
    }

    /// Those of recalled invoices: the last invoice of a year may have left, and its partition with
    /// it.
    fn years(_: &[Self], carried: &[Carried]) -> BTreeSet<i16> {
        let recalled = carried.iter().flat_map(|carried| &carried.invoices);
        recalled
            .filter(|(_, found)| found.is_some())
            .map(|(invoice, _)| id::year_of(*invoice))
            .collect()
    }

    fn known(_: &Store, changes: &[Self], carried: &[Carried]) -> Result<Known, Abort> {
        let mut known = Known {
            invoices: BTreeMap::new(),
            keys: Vec::new(),
            numbers: ColdFiles::new(),
        };
        for (change, carried) in changes.iter().zip(carried) {
            known.keys.extend(carried.keys.iter().cloned());
            known.numbers.extend(carried.numbers.iter().cloned());
            for (invoice, found) in &carried.invoices {
                let key = (change.tenant_id, *invoice);
                known.invoices.insert(key, found.clone());
            }
        }
        Ok(known)
    }

    async fn attempt(
        store: &Store,
        place: &Place<'_>,
        changes: &mut [Self],
        known: &Known,
    ) -> Result<Vec<Outcome>, Abort> {
        store.changes_in(place, changes, known).await
    }
}
