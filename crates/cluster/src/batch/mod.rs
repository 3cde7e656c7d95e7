//! What is done in groups: creates, changes and reads share transactions, and each member gets its
//! own answer (`run.rs`).

pub mod context;
mod place;
mod run;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

use sheaf_model::TenantId;

use crate::error::{Error, OfCluster};

pub use context::Context;
pub use place::{Frame, Hold, Place};
pub use run::{Lane, OwnLane, after_failure, moving, run};

/// Why an attempt ended without a commit.
pub enum Abort<C: Context> {
    /// The database said so.
    Db(tokio_postgres::Error),
    /// Another failure.
    Failed(C::Error),
    /// What the batch was checked against is not so any more.
    Stale(C::Stale),
    /// This tenant's work takes longer than others may wait for.
    Apart(TenantId),
    /// This has to be loaded first.
    Needs(BTreeMap<TenantId, C::Needs>),
    /// A panic.
    Bug(String),
}

impl<C: Context> From<tokio_postgres::Error> for Abort<C> {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Db(e)
    }
}

impl<C: Context> From<Error> for Abort<C> {
    fn from(e: Error) -> Self {
        Self::Failed(e.into())
    }
}

/// What a member brings along from earlier attempts, also from those of other batches.
pub struct Carried<C: Context> {
    /// When it was queued for the first time; none of what is in no queue.
    pub came: Option<Instant>,
    /// A commit that it was part of may have taken effect: the answer was lost.
    pub uncertain: bool,
    /// The span of its request, where traces are collected.
    pub span: Option<tracing::Span>,
    /// What the context knows of it.
    pub own: C::Carried,
}

impl<C: Context> Carried<C> {
    /// What a member is given along at first.
    #[must_use]
    pub fn new(own: C::Carried) -> Self {
        Self {
            came: None,
            uncertain: false,
            span: None,
            own,
        }
    }
}

impl<C: Context> Default for Carried<C> {
    fn default() -> Self {
        Self::new(C::Carried::default())
    }
}

/// Work that is done in groups.
pub trait Work: Sized + Send + Sync + 'static {
    /// What it runs on.
    type Context: Context;
    /// What comes of it.
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

    /// Whose it is.
    fn tenant(&self) -> TenantId;
    /// Rows beside its own, of which a batch holds [`Work::HEAVIEST`] at most.
    fn weight(&self) -> usize {
        0
    }
    /// Rows of one batch beside those of its members themselves, at most.
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
    /// Its share of what has to be loaded; none where it needs nothing of it.
    fn share_of(&self, _: &NeedsOf<Self>) -> Option<NeedsOf<Self>> {
        None
    }
    /// Makes ready what has to be there before an attempt begins.
    fn prepare(
        _: &Self::Context,
        _: &[Self],
        _: &[CarriedOf<Self>],
    ) -> impl Future<Output = Result<(), ErrorOf<Self>>> + Send {
        std::future::ready(Ok(()))
    }
    /// What an attempt is checked against, which is at hand.
    ///
    /// # Errors
    /// [`Abort::Needs`] where something has to be loaded first.
    fn known(
        context: &Self::Context,
        works: &[Self],
        carried: &[CarriedOf<Self>],
    ) -> Result<Self::Known, AbortOf<Self>>;
    /// One transaction, begun and ended. Outcomes come in the order of the works, which are sorted
    /// by shard.
    fn attempt(
        context: &Self::Context,
        place: &Place<'_>,
        works: &mut [Self],
        known: &Self::Known,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, AbortOf<Self>>> + Send;
}

/// Why an attempt at the work ended without a commit.
pub type AbortOf<W> = Abort<<W as Work>::Context>;
/// What the work brings along.
pub type CarriedOf<W> = Carried<<W as Work>::Context>;
/// Why the work was not done.
pub type ErrorOf<W> = <<W as Work>::Context as Context>::Error;
/// What the work has to have loaded.
pub type NeedsOf<W> = <<W as Work>::Context as Context>::Needs;
/// How the work leaves its batch.
pub type EndOf<W> = End<<W as Work>::Context, <W as Work>::Outcome>;

/// How a member leaves its batch.
pub enum End<C: Context, T> {
    /// Done, or given up.
    Done(Result<T, C::Error>),
    /// Not done yet: this has to be loaded first, by whoever waits for the answer.
    Needs(C::Needs),
    /// Not done: its tenant has a lane of its own now, where it may wait for rows that are locked,
    /// and take its time.
    Apart,
}

/// Where a member goes when its batch is through with it.
pub trait Ticket<W: Work>: Send {
    /// Takes the member, and how it ended.
    fn hand(self, work: W, carried: CarriedOf<W>, end: EndOf<W>);
}

/// Works that share a transaction, and where their answers go.
pub struct Batch<W: Work, T> {
    works: Vec<W>,
    carried: Vec<CarriedOf<W>>,
    tickets: Vec<T>,
}

impl<W: Work, T: Ticket<W>> Batch<W, T> {
    /// Members of one shard become neighbours, and those of one tenant among them; they keep their
    /// order.
    pub fn sorted(context: &W::Context, mut members: Vec<(W, CarriedOf<W>, T)>) -> Self {
        let cluster = context.cluster();
        members.sort_by_cached_key(|(work, ..)| {
            let tenant = work.tenant();
            (cluster.shard_of(tenant).id, tenant)
        });
        members.into_iter().collect()
    }

    fn len(&self) -> usize {
        self.works.len()
    }

    fn into_members(self) -> impl Iterator<Item = (W, CarriedOf<W>, T)> {
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
    fn release(&mut self, end: impl Fn(&W, &CarriedOf<W>) -> Option<EndOf<W>>) -> bool {
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
            return self.fail(&Error::Bug(detail).into());
        }
        for ((work, carried, ticket), outcome) in self.into_members().zip(outcomes) {
            ticket.hand(work, carried, End::Done(Ok(outcome)));
        }
    }

    fn fail(self, error: &ErrorOf<W>) {
        for (work, carried, ticket) in self.into_members() {
            let error = Doubt::of(&work, &carried).told(error.clone());
            ticket.hand(work, carried, End::Done(Err(error)));
        }
    }

    /// Notes that the last commit may have taken effect. Whoever would do it twice is told so and
    /// leaves.
    fn lose(&mut self, error: &ErrorOf<W>) {
        for carried in &mut self.carried {
            carried.uncertain = true;
        }
        self.release(|work, carried| {
            let told = || Doubt::of(work, carried).told(error.clone());
            (!work.finds_itself()).then(|| End::Done(Err(told())))
        });
    }
}

impl<W: Work, T> FromIterator<(W, CarriedOf<W>, T)> for Batch<W, T> {
    fn from_iter<I: IntoIterator<Item = (W, CarriedOf<W>, T)>>(members: I) -> Self {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing was done.
    No,
    /// Sending it again finds what was done.
    Repeatable,
    /// Sending it again may do it twice.
    Unrepeatable,
}

impl Doubt {
    /// What is known of a member.
    pub fn of<W: Work>(work: &W, carried: &CarriedOf<W>) -> Self {
        match (carried.uncertain, work.may_be_sent_again()) {
            (false, _) => Self::No,
            (true, true) => Self::Repeatable,
            (true, false) => Self::Unrepeatable,
        }
    }

    /// An error as its sender may act on it.
    pub fn told<E: OfCluster>(self, error: E) -> E {
        if self == Self::No {
            return error;
        }
        let detail = match error.of_cluster() {
            Some(Error::Unavailable { detail }) => detail.clone(),
            _ => error.to_string(),
        };
        let told = match self {
            Self::Unrepeatable => Error::OutcomeUnknown { detail },
            _ => Error::Unavailable { detail },
        };
        told.into()
    }
}
