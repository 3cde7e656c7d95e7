//! What is done in groups: creates, changes and reads share transactions, and each member gets its
//! own answer (`run.rs`).

pub(crate) mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use sheaf_model::TenantId;
use uuid::Uuid;

use crate::cold::keys::{ColdFiles, YearKeys};
use crate::invoice::create::decide::CustomerRef;
use crate::invoice::send::Place;
use crate::types::{ArchiveFile, ColdInvoice};
use crate::{Store, StoreError};

pub(crate) use run::{Lane, OwnLane, moving};

/// Why an attempt ended without a commit.
pub(crate) enum Abort {
    Db(tokio_postgres::Error),
    Store(StoreError),
    /// The archive's files in these years of these tenants are others than the batch was checked
    /// against.
    ArchiveMoved(Vec<((TenantId, i16), Vec<ArchiveFile>)>),
    /// This tenant's work takes longer than others may wait for.
    Apart(TenantId),
    /// This has to be loaded from the archive first.
    Needs(BTreeMap<TenantId, Needs>),
    /// A panic.
    Bug(String),
}

impl From<tokio_postgres::Error> for Abort {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Db(e)
    }
}

/// What has to be loaded of one tenant's archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// The keys of the files of these years.
    pub(crate) years: BTreeSet<i16>,
    /// The keys of these files, which may have the next numbers of a series that runs through the
    /// years.
    pub(crate) files: Vec<ArchiveFile>,
    /// Invoices that are not hot.
    pub(crate) invoices: BTreeSet<Uuid>,
}

impl Needs {
    pub(crate) fn is_empty(&self) -> bool {
        self.years.is_empty() && self.files.is_empty() && self.invoices.is_empty()
    }
}

/// What a member brings along from earlier attempts, also from those of other batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    /// When it was queued for the first time; none of what is in no queue.
    pub(crate) came: Option<Instant>,
    /// A commit that it was part of may have taken effect: the answer was lost.
    pub(crate) uncertain: bool,
    /// How a create names its customer: writing fills in what the client left out.
    pub(crate) customer: CustomerRef,
    /// Keys of archived files, by year.
    pub(crate) keys: Vec<Arc<YearKeys>>,
    /// Keys of files that may have the next numbers of a series.
    pub(crate) numbers: ColdFiles,
    /// Archived invoices: as read, or known to be nowhere.
    pub(crate) invoices: BTreeMap<Uuid, Option<Arc<ColdInvoice>>>,
    /// The span of its request, where traces are collected.
    pub(crate) span: Option<tracing::Span>,
}

/// Work that is done in groups.
pub(crate) trait Work: Sized + Send + Sync + 'static {
    type Outcome: Send + 'static;
    /// What a batch is checked against beside the hot tier.
    type Known: Send + Sync;
    /// Of the queue, in metrics and logs.
    const KIND: &'static str;
    /// The histogram of batches' sizes.
    const SIZES: &'static str;
    /// Members of one batch, at most. More would only delay the first of them.
    const MOST: usize;
    /// Attempts of a batch before it is taken apart, or given up.
    const ATTEMPTS: u32;

    fn tenant(&self) -> TenantId;
    /// Rows beside its own, of which a batch holds [`Work::HEAVIEST`] at most.
    fn weight(&self) -> usize {
        0
    }
    const HEAVIEST: usize = usize::MAX;
    /// Whether it is done in a transaction of its own.
    fn is_alone(&self) -> bool {
        false
    }
    /// Whether a second attempt finds what a first one did whose answer was lost, and does nothing
    /// twice.
    fn finds_itself(&self) -> bool {
        true
    }
    /// Whether its sender may send it again, though it may have been done.
    fn may_be_sent_again(&self) -> bool {
        true
    }
    /// Its share of what has to be loaded.
    fn share_of(&self, _: &Needs) -> Needs {
        Needs::default()
    }
    /// Years whose partitions have to be there.
    fn years(_: &[Self], _: &[Carried]) -> BTreeSet<i16> {
        BTreeSet::new()
    }
    fn known(store: &Store, works: &[Self], carried: &[Carried]) -> Result<Self::Known, Abort>;
    /// One transaction, begun and ended. Outcomes come in the order of the works, which are sorted
    /// by shard.
    fn attempt(
        store: &Store,
        place: &Place<'_>,
        works: &mut [Self],
        known: &Self::Known,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, Abort>> + Send;
}

/// How a member leaves its batch.
pub(crate) enum End<T> {
    Done(Result<T, StoreError>),
    /// Not done yet: this has to be loaded first, by whoever waits for the answer.
    Needs(Needs),
    /// Not done: its tenant has a lane of its own now, where it may wait for rows that are locked,
    /// and take its time.
    Apart,
}

/// Where a member goes when its batch is through with it.
pub(crate) trait Ticket<W: Work>: Send {
    fn hand(self, work: W, carried: Carried, end: End<W::Outcome>);
}

/// Works that share a transaction, and where their answers go.
pub(crate) struct Batch<W, T> {
    works: Vec<W>,
    carried: Vec<Carried>,
    tickets: Vec<T>,
}

impl<W: Work, T: Ticket<W>> Batch<W, T> {
    /// Members of one shard become neighbours, and those of one tenant among them; they keep their
    /// order.
    pub(crate) fn sorted(store: &Store, mut members: Vec<(W, Carried, T)>) -> Self {
        members.sort_by_cached_key(|(work, ..)| {
            let tenant = work.tenant();
            (store.inner.cluster.shard_of(tenant).id, tenant)
        });
        members.into_iter().collect()
    }

    fn len(&self) -> usize {
        self.works.len()
    }

    fn into_members(self) -> impl Iterator<Item = (W, Carried, T)> {
        let (works, carried) = (self.works.into_iter(), self.carried.into_iter());
        works
            .zip(carried)
            .zip(self.tickets)
            .map(|((work, carried), ticket)| (work, carried, ticket))
    }

    /// Members are sorted by tenant.
    fn is_of_one_tenant(&self) -> bool {
        let two_differ = |two: &[W]| two[0].tenant() != two[1].tenant();
        !self.works.windows(2).any(two_differ)
    }

    fn is_uncertain(&self) -> bool {
        self.carried.iter().any(|carried| carried.uncertain)
    }

    /// Runs of neighbours that may stay together.
    fn runs(self, together: impl Fn(&W, &W) -> bool) -> Vec<Self> {
        let lengths: Vec<usize> = self.works.chunk_by(together).map(<[W]>::len).collect();
        let mut members = self.into_members();
        lengths
            .into_iter()
            .map(|length| members.by_ref().take(length).collect())
            .collect()
    }

    fn halves(self) -> [Self; 2] {
        let half = self.len() / 2;
        let mut members = self.into_members();
        [members.by_ref().take(half).collect(), members.collect()]
    }

    /// Lets members go; `end` says how, and leaves `None` for those who stay. Whether any went.
    fn release(&mut self, end: impl Fn(&W, &Carried) -> Option<End<W::Outcome>>) -> bool {
        let before = self.len();
        let empty = Self::from_iter([]);
        *self = std::mem::replace(self, empty)
            .into_members()
            .filter_map(|(work, carried, ticket)| match end(&work, &carried) {
                None => Some((work, carried, ticket)),
                Some(end) => {
                    ticket.hand(work, carried, end);
                    None
                }
            })
            .collect();
        self.len() < before
    }

    /// Answers all of them.
    fn answer(self, outcomes: Vec<W::Outcome>) {
        if outcomes.len() != self.len() {
            let (got, members) = (outcomes.len(), self.len());
            let detail = format!("{got} outcomes for {members} {}", W::KIND);
            return self.fail(&StoreError::Bug(detail));
        }
        for ((work, carried, ticket), outcome) in self.into_members().zip(outcomes) {
            ticket.hand(work, carried, End::Done(Ok(outcome)));
        }
    }

    fn fail(self, error: &StoreError) {
        for (work, carried, ticket) in self.into_members() {
            let error = Doubt::of(&work, &carried).told(error.clone());
            ticket.hand(work, carried, End::Done(Err(error)));
        }
    }

    /// Notes that the last commit may have taken effect. Whoever would do it twice is told so and
    /// leaves.
    fn lose(&mut self, error: &StoreError) {
        for carried in &mut self.carried {
            carried.uncertain = true;
        }
        self.release(|work, carried| {
            let told = || Doubt::of(work, carried).told(error.clone());
            (!work.finds_itself()).then(|| End::Done(Err(told())))
        });
    }
}

impl<W, T> FromIterator<(W, Carried, T)> for Batch<W, T> {
    fn from_iter<I: IntoIterator<Item = (W, Carried, T)>>(members: I) -> Self {
        let members = members.into_iter();
        let room = members.size_hint().0;
        let mut batch = Self {
            works: Vec::with_capacity(room),
            carried: Vec::with_capacity(room),
            tickets: Vec::with_capacity(room),
        };
        for (work, carried, ticket) in members {
            batch.works.push(work);
            batch.carried.push(carried);
            batch.tickets.push(ticket);
        }
        batch
    }
}

impl Store {
    /// The error of a batch, which ran on the owner of its work's tenant.
    pub(crate) fn met<W: Work>(&self, work: &W, error: StoreError) -> StoreError {
        error.on(&self.inner.cluster.shard_of(work.tenant()).node)
    }
}

/// Whether something may have been done, though its answer says otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    No,
    /// Sending it again finds what was done.
    Repeatable,
    /// Sending it again may do it twice.
    Unrepeatable,
}

impl Doubt {
    pub(crate) fn of<W: Work>(work: &W, carried: &Carried) -> Self {
        match (carried.uncertain, work.may_be_sent_again()) {
            (false, _) => Self::No,
            (true, true) => Self::Repeatable,
            (true, false) => Self::Unrepeatable,
        }
    }

    /// An error as its sender may act on it.
    pub(crate) fn told(self, error: StoreError) -> StoreError {
        let detail = match error {
            error if self == Self::No => return error,
            StoreError::Unavailable { detail } => detail,
            error => error.to_string(),
        };
        match self {
            Self::Unrepeatable => StoreError::OutcomeUnknown { detail },
            _ => StoreError::Unavailable { detail },
        }
    }
}
