//! The one loop of everything that is done in groups: creates, changes and reads.
//!
//! A batch is one transaction on one node. When an attempt fails, the loop decides what becomes of it: it is tried again, it is
//! taken apart (by node, by shard, by tenant, by halves) until only the culprit fails, or a member leaves it because its
//! tenant's archive has to be read first. Each member gets its own answer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use sheaf_model::TenantId;
use uuid::Uuid;

use crate::cold_keys::{ColdFiles, YearKeys};
use crate::error::{Failure, classify};
use crate::plan::CustomerRef;
use crate::send::{Frame, Place};
use crate::session::Session;
use crate::shard::Shard;
use crate::supervise::caught;
use crate::types::{ArchiveFile, ColdInvoice};
use crate::{Store, StoreError};

/// For how long a batch is tried again: whoever waits for it gives up soon after.
const PATIENCE: Duration = Duration::from_secs(20);
/// Parts of a batch that run side by side, each on a connection of its own.
const SIDE_BY_SIDE: usize = 4;
/// The same of members that are alone in theirs: these are quick.
const ALONE_AT_ONCE: usize = 16;

/// Why an attempt ended without a commit.
pub(crate) enum Abort {
    Db(tokio_postgres::Error),
    Store(StoreError),
    /// The archive's files in these years of these tenants are others than the batch was checked against.
    ArchiveMoved(Vec<((TenantId, i16), Vec<ArchiveFile>)>),
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
    /// The keys of these files, which may have the next numbers of a series that runs through the years.
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
    /// Whether a second attempt finds what a first one did whose answer was lost, and does nothing twice.
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
    /// One transaction, begun and ended. Outcomes come in the order of the works, which are sorted by shard.
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
    /// Members of one shard become neighbours, and those of one tenant among them; they keep their order.
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

    /// Notes that the last commit may have taken effect. Whoever would do it twice is told so and leaves.
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

impl Store {
    /// Runs a batch until each of its members has left it. `spent`: attempts that count as made.
    pub(crate) async fn run_batch<W: Work, T: Ticket<W>>(
        &self,
        mut batch: Batch<W, T>,
        spent: u32,
    ) {
        let shard = |work: &W| self.inner.cluster.shard_of(work.tenant());
        let (started, mut attempt) = (Instant::now(), spent);
        while batch.len() > 0 {
            attempt += 1;
            let shards: Vec<_> = batch.works.iter().map(shard).collect();
            if shards.windows(2).any(|two| two[0].node != two[1].node) {
                let together = |a: &W, b: &W| shard(a).node == shard(b).node;
                return self.each(batch.runs(together), SIDE_BY_SIDE, 0).await;
            }
            if batch.len() > 1 && batch.works.iter().any(W::is_alone) {
                let together = |a: &W, b: &W| !a.is_alone() && !b.is_alone();
                return self.each(batch.runs(together), ALONE_AT_ONCE, 0).await;
            }
            let committing = AtomicBool::new(false);
            let tried = self.attempt_batch(&shards, &mut batch, &committing).await;
            let (kind, error) = match tried {
                Ok(outcomes) => return batch.answer(outcomes),
                Err(Abort::Needs(needs)) => {
                    let share = |work: &W, _: &Carried| {
                        let share = work.share_of(needs.get(&work.tenant())?);
                        (!share.is_empty()).then_some(End::Needs(share))
                    };
                    if batch.release(share) {
                        attempt = spent;
                        continue;
                    }
                    (Failure::Fatal, moving())
                }
                Err(Abort::ArchiveMoved(files)) => {
                    self.remember_archived(files);
                    if attempt < W::ATTEMPTS {
                        continue;
                    }
                    (Failure::Retry, moving())
                }
                Err(Abort::Db(error)) => (classify(&error), error.into()),
                Err(Abort::Store(error)) => (kind_of(&error), error),
                Err(Abort::Bug(text)) => (Failure::Fatal, StoreError::Bug(text)),
            };
            let is_lost = kind == Failure::Unavailable || matches!(error, StoreError::Bug(_));
            if is_lost && committing.load(Ordering::Relaxed) {
                batch.lose(&error);
            }
            let several = shards.windows(2).any(|two| two[0].id != two[1].id);
            if kind == Failure::Locked && several {
                // One shard is being moved: the others need not wait for it.
                let together = |a: &W, b: &W| shard(a).id == shard(b).id;
                return self.each(batch.runs(together), SIDE_BY_SIDE, 0).await;
            }
            // A node that went away in the middle of a commit is waited for: it alone can tell.
            let asks = kind == Failure::Unavailable && batch.is_uncertain();
            let again = !matches!(kind, Failure::Fatal | Failure::Timeout)
                && (attempt < W::ATTEMPTS || asks)
                && started.elapsed() < PATIENCE;
            if again {
                self.after_failure(W::KIND, kind, attempt, &error).await;
                continue;
            }
            return self.give_up(batch, kind, error).await;
        }
    }

    /// After the last attempt: only the culprits fail.
    async fn give_up<W: Work, T: Ticket<W>>(
        &self,
        batch: Batch<W, T>,
        kind: Failure,
        error: StoreError,
    ) {
        let same_tenant = |a: &W, b: &W| a.tenant() == b.tenant();
        let several_tenants = || {
            batch
                .works
                .windows(2)
                .any(|two| !same_tenant(&two[0], &two[1]))
        };
        match kind {
            // All of its members are of one node.
            Failure::Unavailable => {}
            // Whoever waits for a lock, or takes long, does so beside the others, and once.
            Failure::Locked | Failure::Timeout if several_tenants() => {
                metrics::counter!("sheaf_flush_fallback_total").increment(1);
                let runs = batch.runs(same_tenant);
                return self.each(runs, SIDE_BY_SIDE, W::ATTEMPTS - 1).await;
            }
            Failure::Locked | Failure::Timeout => {}
            // One after the other: changes of one invoice keep their order.
            _ if batch.len() > 1 => {
                metrics::counter!("sheaf_flush_fallback_total").increment(1);
                for half in batch.halves() {
                    Box::pin(self.run_batch(half, 0)).await;
                }
                return;
            }
            _ => {}
        }
        tracing::warn!(%error, members = batch.len(), "a batch of {} failed", W::KIND);
        batch.fail(&error);
    }

    /// Runs the parts of a batch, `at_once` of them side by side.
    async fn each<W: Work, T: Ticket<W>>(
        &self,
        runs: Vec<Batch<W, T>>,
        at_once: usize,
        spent: u32,
    ) {
        stream::iter(runs)
            .for_each_concurrent(at_once, |run| Box::pin(self.run_batch(run, spent)))
            .await;
    }

    /// One attempt. A panic ends it as an error does: its connection is closed, and with it the transaction.
    async fn attempt_batch<W: Work, T>(
        &self,
        shards: &[Arc<Shard>],
        batch: &mut Batch<W, T>,
        committing: &AtomicBool,
    ) -> Result<Vec<W::Outcome>, Abort> {
        let (works, carried) = (&mut batch.works, &batch.carried);
        let attempt = async {
            let years = W::years(works, carried);
            self.ensure_years(&years).await.map_err(Abort::Store)?;
            let known = W::known(self, works, carried)?;
            // The server bounds its statements; a server that hangs does not.
            let most = self.inner.config.attempt_timeout();
            let within = self.transact(shards, works, &known, committing);
            tokio::time::timeout(most, within)
                .await
                .unwrap_or_else(|_| {
                    Err(Abort::Store(StoreError::Unavailable {
                        detail: format!("the node did not answer within {} s", most.as_secs()),
                    }))
                })
        };
        Box::pin(caught(W::KIND, attempt))
            .await
            .unwrap_or_else(|text| Err(Abort::Bug(text)))
    }

    async fn transact<W: Work>(
        &self,
        shards: &[Arc<Shard>],
        works: &mut [W],
        known: &W::Known,
        committing: &AtomicBool,
    ) -> Result<Vec<W::Outcome>, Abort> {
        let Some(first) = shards.first() else {
            return Ok(Vec::new());
        };
        let node = self.inner.cluster.node(&first.node);
        let session = Session::open(&node).await.map_err(Abort::Store)?;
        let place = Place {
            conn: session.conn().map_err(Abort::Store)?,
            frame: Frame::Own,
            shards,
            direct: self.inner.cluster.is_direct(),
            committing,
        };
        match W::attempt(self, &place, works, known).await {
            Ok(outcomes) => {
                session.release();
                Ok(outcomes)
            }
            Err(abort) => {
                session.rollback().await;
                Err(abort)
            }
        }
    }

    /// Waits a little before the next attempt, and forgets what the failure says is out of date.
    pub(crate) async fn after_failure(
        &self,
        queue: &'static str,
        kind: Failure,
        attempt: u32,
        error: &StoreError,
    ) {
        metrics::counter!("sheaf_flush_retry_total", "queue" => queue).increment(1);
        tracing::debug!(%error, ?kind, attempt, queue, "a batch is tried again");
        if kind == Failure::MissingPartition {
            self.forget_years();
        }
        match kind {
            Failure::Unavailable => {
                let pause = Duration::from_millis(20 << attempt.min(6));
                tokio::time::sleep(pause).await;
            }
            _ => tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 2)).await,
        }
        // A shard that has left may leave its tables, or take them along.
        if !matches!(kind, Failure::Unique | Failure::Locked) {
            self.reroute().await;
        }
    }

    /// Reads the routes again after a failure. If nobody can tell, the old routes are all there is.
    pub(crate) async fn reroute(&self) {
        if let Err(error) = self.inner.cluster.refresh_placement().await {
            tracing::warn!(%error, "placements could not be read again");
        }
    }

    /// Remembers which archived files tenants have in a year, as a transaction met them.
    pub(crate) fn remember_archived(&self, files: Vec<((TenantId, i16), Vec<ArchiveFile>)>) {
        for (year, files) in files {
            self.inner.archived.insert(year, Arc::new(files));
        }
    }
}

fn kind_of(error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable { .. } => Failure::Unavailable,
        StoreError::Timeout => Failure::Timeout,
        _ => Failure::Fatal,
    }
}

fn moving() -> StoreError {
    StoreError::Unavailable {
        detail: "the archive keeps changing".into(),
    }
}
