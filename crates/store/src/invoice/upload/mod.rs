//! Bulk: chunks of an upload, written node by node; and uploads that land as a whole or not at all.

pub(crate) mod again;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::Object;
use futures_util::{StreamExt, stream};
use sheaf_model::{Code, TenantId, id};
use tokio::sync::{mpsc, oneshot};

use crate::batch::{Abort, Attachment, Carried, End, Needs, moving};
use crate::cold::file::ColdFiles;
use crate::idempotency::UploadAnswer;
use crate::invoice::create::carried;
use crate::invoice::create::customer_ref::CustomerRef;
use crate::invoice::create::decide::Outcome;
use crate::invoice::create::write::{Known, keyed_years, pairs};
use crate::invoice::new::{IdFrom, LineOutcome, NewInvoice};
use crate::invoice::number::Numbered;
use sheaf_cluster::Error;
use sheaf_cluster::batch::{Batch, Context as _, Doubt, Lane, Ticket, Work, run};
use sheaf_cluster::batch::{Frame, Place};
use sheaf_cluster::error::{Failure, classify, commit_failed, said};
use sheaf_cluster::node::lent::Use;
use sheaf_cluster::transaction::{BEGIN, Session};

use crate::tenant::PLATFORM;
use crate::{Store, StoreError};

/// Transactions of one chunk at the same time, and on one node.
const CONCURRENT: usize = 4;
const CONCURRENT_PER_NODE: i64 = 2;

/// How often a line may wait for what it needs of its tenant's archive, which may change meanwhile.
const LOADS: u32 = 8;

/// Uploads wait for locked rows themselves.
const NOT_APART: &str = "an upload was sent to another lane";

/// A line of a chunk, on its way.
type Member = (NewInvoice, Carried, Line);

/// What became of a chunk's lines so far.
#[derive(Default)]
struct Lines {
    done: Vec<(usize, Result<LineOutcome, StoreError>)>,
    /// Lines of uploads with a key whose ids exist.
    found: Vec<(usize, NewInvoice)>,
    /// Lines that wait for their tenant's archive.
    waiting: Vec<(Member, Needs)>,
}

/// A line's place in its chunk.
struct Line {
    index: usize,
    lines: Arc<Mutex<Lines>>,
}

impl Line {
    fn lines(lines: &Mutex<Lines>) -> std::sync::MutexGuard<'_, Lines> {
        lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<NewInvoice> for Line {
    fn hand(self, new: NewInvoice, carried: Carried, end: End<Outcome>) {
        let lines = Arc::clone(&self.lines);
        let mut lines = Self::lines(&lines);
        match end {
            End::Done(Ok(Outcome::DuplicateId)) if new.id_from == IdFrom::UploadLine => {
                lines.found.push((self.index, new));
            }
            End::Done(outcome) => {
                let outcome = outcome.map(|outcome| line_outcome(&new, outcome));
                lines.done.push((self.index, outcome));
            }
            End::Needs(needs) => lines.waiting.push(((new, carried, self), needs)),
            End::Apart => lines
                .done
                .push((self.index, Err(Error::Bug(NOT_APART.into()).into()))),
        }
    }
}

impl Store {
    /// Writes a chunk of an upload, a few transactions a node. Outcomes come in the order of the
    /// chunk.
    ///
    /// # Errors
    /// When the database fails for any line: what was written stays written, and all that can be
    /// written is; sending the chunk again finds it.
    pub async fn write_chunk(
        &self,
        chunk: Vec<NewInvoice>,
    ) -> Result<Vec<LineOutcome>, StoreError> {
        let total = chunk.len();
        let lines = Arc::new(Mutex::new(Lines::default()));
        let members = chunk.into_iter().enumerate().map(|(index, new)| {
            let (carried, lines) = (carried(&new), Arc::clone(&lines));
            (new, carried, Line { index, lines })
        });
        self.write_members(members.collect()).await;
        // Whoever waits for its tenant's archive waits beside the others.
        for _ in 0..LOADS {
            let waiting = std::mem::take(&mut Line::lines(&lines).waiting);
            if waiting.is_empty() {
                break;
            }
            self.write_loaded(waiting).await;
        }
        let Lines { done, found, .. } = std::mem::take(&mut *Line::lines(&lines));
        if done.len() + found.len() < total {
            return Err(moving());
        }
        let mut outcomes = vec![LineOutcome::Created; total];
        for (index, outcome) in done {
            outcomes[index] = outcome?;
        }
        for (index, outcome) in self.lines_again(found).await? {
            outcomes[index] = outcome;
        }
        Ok(outcomes)
    }

    async fn write_members(&self, members: Vec<Member>) {
        let owner = owner_of(members.iter().map(|(new, ..)| new));
        let mut parts: BTreeMap<_, Vec<Member>> = BTreeMap::new();
        for member in members {
            let shard = self.inner.cluster.shard_of(member.0.invoice.tenant_id);
            let part = (shard.node.clone(), shard.id / 2 % CONCURRENT_PER_NODE);
            parts.entry(part).or_default().push(member);
        }
        stream::iter(parts)
            .for_each_concurrent(CONCURRENT, |((node, _), part)| async move {
                let node = self.inner.cluster.node(&node);
                match node.leave(Use::Upload, owner).await {
                    Ok(_leave) => run(self, Batch::sorted(self, part), Lane::Upload).await,
                    Err(error) => fail(part, &error.into()),
                }
            })
            .await;
    }

    /// Loads what lines need of their tenants' archives, and writes them: each tenant for itself.
    async fn write_loaded(&self, waiting: Vec<(Member, Needs)>) {
        let mut tenants: BTreeMap<TenantId, (Vec<Member>, Needs)> = BTreeMap::new();
        for (member, needs) in waiting {
            let of_tenant = tenants.entry(member.0.tenant()).or_default();
            of_tenant.0.push(member);
            of_tenant.1.years.extend(needs.years);
        }
        stream::iter(tenants)
            .for_each_concurrent(CONCURRENT, |(tenant, (mut members, needs))| async move {
                let mut loaded = Attachment::default();
                if let Err(error) = self.load_archived(tenant, needs, &mut loaded).await {
                    return fail(members, &error);
                }
                for (_, carried, _) in &mut members {
                    carried.own.keys.clone_from(&loaded.keys);
                }
                self.write_members(members).await;
            })
            .await;
    }

    /// Begins an upload that lands as a whole. With one tenant it is a transaction of its owner
    /// node; with several it goes through the coordinator, where Citus commits in two phases: the
    /// only place that does. Partitions of `years` are made first, because DDL would wait for the
    /// transaction that it serves.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_atomic(
        &self,
        tenant: Option<TenantId>,
        years: &BTreeSet<i16>,
    ) -> Result<AtomicUpload, StoreError> {
        self.ensure_years(years).await?;
        let cluster = &self.inner.cluster;
        let (node, direct) = match tenant {
            Some(tenant) => (cluster.owner(tenant), cluster.is_direct()),
            None => (cluster.coordinator(), !cluster.citus),
        };
        let session = Session::open_long(&node, tenant.unwrap_or(PLATFORM)).await?;
        let (commands, queue) = mpsc::channel(1);
        tokio::spawn(transaction(self.clone(), session, direct, queue));
        Ok(AtomicUpload { commands })
    }
}

/// An open transaction of an atomic upload. Dropped without [`AtomicUpload::commit`], it leaves
/// nothing behind.
///
/// The transaction lives in a task of its own, which ends when this handle does.
pub struct AtomicUpload {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Write(
        Vec<NewInvoice>,
        oneshot::Sender<Result<Vec<LineOutcome>, StoreError>>,
    ),
    Commit(
        Option<UploadAnswer>,
        oneshot::Sender<Result<(), StoreError>>,
    ),
}

impl AtomicUpload {
    /// Writes the next chunk inside the upload's transaction. After an error nothing but dropping
    /// the upload is left.
    ///
    /// # Errors
    /// [`Error::Contended`] where a concurrent write got in between: the upload may be sent
    /// again.
    pub async fn write(&mut self, chunk: Vec<NewInvoice>) -> Result<Vec<LineOutcome>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Write(chunk, reply))
            .await
            .map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }

    /// Makes everything written visible, at once, and with it the answer that the upload's key then
    /// gives.
    ///
    /// # Errors
    /// When the commit failed. Where its answer was lost, [`Error::Unavailable`] if an answer
    /// was to be kept, since the upload finds it when it is sent again, and
    /// [`Error::OutcomeUnknown`] if not. [`StoreError::Conflict`] with `duplicate_number`
    /// where a document took a number of the upload while it was written;
    /// [`IdemConflict::Running`](crate::IdemConflict) where another request has run it meanwhile.
    pub async fn commit(self, kept: Option<UploadAnswer>) -> Result<(), StoreError> {
        let found_again = kept.is_some();
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Commit(kept, reply))
            .await
            .map_err(|_| lost())?;
        let committed = answer.await.unwrap_or_else(|_| {
            Err(Error::OutcomeUnknown {
                detail: "the upload's transaction ended without an answer".into(),
            }
            .into())
        });
        committed.map_err(|error| match error {
            StoreError::Cluster(Error::OutcomeUnknown { detail }) if found_again => {
                Error::Unavailable { detail }.into()
            }
            error => error,
        })
    }

    /// Gives everything up. Dropping the handle does the same.
    pub fn rollback(self) {}
}

/// Ends lines that could not be tried, or not again.
fn fail(members: Vec<Member>, error: &StoreError) {
    for (new, carried, line) in members {
        let error = Doubt::of(&new, &carried).told(error.clone());
        line.hand(new, carried, End::Done(Err(error)));
    }
}

/// Whose share an upload's chunk is written with: its tenant's, or the platform's.
fn owner_of<'a>(mut items: impl Iterator<Item = &'a NewInvoice>) -> TenantId {
    let first = items.next().map(|new| new.invoice.tenant_id);
    let one = first.filter(|first| items.all(|new| new.invoice.tenant_id == *first));
    one.unwrap_or(PLATFORM)
}

fn lost() -> StoreError {
    Error::Unavailable {
        detail: "the upload's transaction is gone".into(),
    }
    .into()
}

/// Runs an upload's transaction until its handle commits it or goes away.
async fn transaction(
    store: Store,
    session: Session,
    direct: bool,
    mut commands: mpsc::Receiver<Command>,
) {
    let Ok(conn) = session.conn() else { return };
    if let Err(error) = conn.batch_execute(BEGIN).await {
        return tracing::warn!(error = said(&error), "an atomic upload could not begin");
    }
    let mut numbered = Numbered::default();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Write(chunk, reply) => {
                let result = write_chunk_in(&store, conn, direct, chunk, &mut numbered).await;
                let failed = result.is_err();
                let _gone = reply.send(result);
                if failed {
                    return;
                }
            }
            Command::Commit(kept, reply) => {
                let committed = match store.settle_numbers(conn, direct, &numbered).await {
                    Ok(()) => commit(conn, kept).await,
                    Err(refused) => Err(refused),
                };
                if committed.is_ok() {
                    session.release();
                }
                let _gone = reply.send(committed);
                return;
            }
        }
    }
    session.rollback().await;
}

async fn commit(conn: &Object, kept: Option<UploadAnswer>) -> Result<(), StoreError> {
    if let Some(answer) = kept {
        answer.keep_in(conn).await?;
    }
    conn.batch_execute("commit").await.map_err(commit_failed)?;
    Ok(())
}

async fn write_chunk_in(
    store: &Store,
    conn: &Object,
    direct: bool,
    mut chunk: Vec<NewInvoice>,
    numbered: &mut Numbered,
) -> Result<Vec<LineOutcome>, StoreError> {
    let mut known = Known {
        refs: chunk.iter().map(CustomerRef::of).collect(),
        cold: ColdFiles::new(),
        uncertain: vec![false; chunk.len()],
    };
    let tenants = chunk.iter().map(|new| new.invoice.tenant_id);
    let shards: Vec<_> = tenants
        .map(|tenant| store.inner.cluster.shard_of(tenant))
        .collect();
    let place = Place {
        conn,
        frame: Frame::Open,
        shards: &shards,
        direct,
        committing: &AtomicBool::new(false),
        shard_locked: &AtomicBool::new(false),
        in_company: false,
    };
    // Years that the archive was not yet asked about show themselves as "moved"; the chunk is then
    // planned again.
    for _ in 0..4 {
        known.cold = ColdFiles::new();
        for (tenant, year) in pairs(&keyed_years(&chunk)) {
            known.cold.extend(store.load_keys(tenant, year).await?);
        }
        conn.batch_execute("savepoint chunk").await?;
        match store.write_in(&place, &mut chunk, &known).await {
            Ok(written) => {
                conn.batch_execute("release chunk").await?;
                numbered.add(&chunk, &known.cold);
                // Customers are not learned: they exist only if the upload commits.
                return Ok(chunk
                    .iter()
                    .zip(written.outcomes)
                    .map(|(n, o)| line_outcome(n, o))
                    .collect());
            }
            Err(Abort::Stale(files)) => {
                conn.batch_execute("rollback to chunk").await?;
                store.remember(files);
            }
            // Creates recall nothing, take no number of a series, and their keys are loaded.
            Err(Abort::Needs(_) | Abort::Apart(_)) => {
                conn.batch_execute("rollback to chunk").await?
            }
            Err(Abort::Bug(text)) => return Err(Error::Bug(text).into()),
            Err(Abort::Failed(e)) => return Err(e),
            Err(Abort::Db(e)) => {
                if classify(&e) == Failure::MissingPartition {
                    // Another process has dropped the year: the next attempt makes it anew.
                    store.forget_years();
                }
                return Err(match classify(&e) {
                    Failure::Unique | Failure::Locked | Failure::Retry => Error::Contended {
                        what: "documents of the upload",
                    }
                    .into(),
                    _ => Error::Unavailable { detail: said(&e) }.into(),
                });
            }
        }
    }
    Err(moving())
}

fn line_outcome(new: &NewInvoice, outcome: Outcome) -> LineOutcome {
    let rejected = |code, detail: String| LineOutcome::Rejected { code, detail };
    match outcome {
        Outcome::Created | Outcome::Replay(_) => LineOutcome::Created,
        Outcome::DuplicateExternalId(existing) => LineOutcome::Duplicate(existing),
        Outcome::DuplicateId => LineOutcome::Duplicate(new.invoice.id),
        Outcome::DuplicateNumber(existing) => rejected(
            Code::DuplicateNumber,
            format!(
                "number: taken by invoice {existing} of year {}",
                id::year_of(existing)
            ),
        ),
        Outcome::CustomerNotFound => rejected(
            Code::CustomerNotFound,
            "customer_id: no such customer".into(),
        ),
        Outcome::CustomerInactive => {
            rejected(Code::CustomerInactive, "customer: is not active".into())
        }
        // Lines have no key of their own.
        Outcome::Idempotency(conflict) => rejected(Code::IdempotencyConflict, conflict.to_string()),
    }
}
