//! Point reads, coalesced: planning a statement costs a Citus node far more than one more row of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use sheaf_model::{Invoice, TenantId, id};
use uuid::Uuid;

use crate::node::{Node, NodeAddr};
use crate::queue::{self, Queue};
use crate::rows::{self, Key};
use crate::session::{BEGIN_READ, Session, in_order};
use crate::wanted::Wanted;
use crate::{Inner, Store, StoreError, sql};

/// Reads answered by one round of statements.
const MAX_READS: usize = 256;
/// Tenants and years of one round trip.
const MAX_STATEMENTS: usize = 32;
const ATTEMPTS: u32 = 4;

/// A read and where its answer goes.
pub(crate) type Job = queue::Job<Key, Option<Invoice>, StoreError>;

impl Store {
    /// Reads one invoice from the hot tier. `None`: not there; it may be cold.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the queue is full or the owner is away.
    pub async fn get_invoice(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<Invoice>, StoreError> {
        let busy = StoreError::Unavailable {
            detail: "the read queue is full".into(),
        };
        let work = (tenant, (tenant, id));
        self.submit(&self.inner.readers, work, serve, busy).await
    }
}

async fn serve(inner: Weak<Inner>, queue: Arc<Queue<Job>>) {
    while let Some(jobs) = queue.take(|taken, _| taken < MAX_READS).await {
        let Some(store) = inner.upgrade().map(|inner| Store { inner }) else {
            return;
        };
        metrics::histogram!("sheaf_read_batch")
            .record(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        let keys: BTreeSet<Key> = jobs.iter().map(|j| j.work).collect();
        respond(jobs, store.retry(|| read(&store, &keys)).await);
    }
}

fn respond(jobs: Vec<Job>, found: Result<HashMap<Key, Invoice>, StoreError>) {
    match found {
        Ok(found) => {
            for job in jobs {
                let _gone = job.reply.send(Ok(found.get(&job.work).cloned()));
            }
        }
        Err(error) => queue::fail(jobs.into_iter().map(|job| job.reply), error),
    }
}

/// Reads from the owners as they are now known: nearly always one, since the keys waited for it together.
async fn read(store: &Store, keys: &BTreeSet<Key>) -> Result<HashMap<Key, Invoice>, StoreError> {
    let mut owners: BTreeMap<NodeAddr, Vec<Key>> = BTreeMap::new();
    for key in keys {
        let addr = store.inner.cluster.shard_of(key.0).node.clone();
        owners.entry(addr).or_default().push(*key);
    }
    let found = owners.into_iter().map(|(addr, keys)| async move {
        read_from(&store.inner.cluster.node(&addr), &keys).await
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

impl Store {
    /// Runs something that may run twice again, while its node is away or it lost a deadlock against partition DDL.
    pub(crate) async fn retry<T, F>(&self, run: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match run().await {
                Err(StoreError::Unavailable { detail }) if attempt < ATTEMPTS => {
                    tracing::debug!(detail, attempt, "tried again");
                    tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
                    self.reroute().await;
                }
                result => return result,
            }
        }
    }
}

async fn read_from(node: &Node, keys: &[Key]) -> Result<HashMap<Key, Invoice>, StoreError> {
    // Keys are sorted, and ids carry their time: those of a tenant and year are neighbours.
    let of_year = |(tenant, id): &Key| (*tenant, id::year_of(*id));
    let wanted = keys.chunk_by(|a, b| of_year(a) == of_year(b)).map(|keys| {
        let (tenant, year) = of_year(&keys[0]);
        Wanted::new(tenant.0, year, keys.iter().map(|(_, id)| *id).collect())
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let session = Session::open(node).await?;
    let mut found = HashMap::with_capacity(keys.len());
    for wanted in wanted.chunks(MAX_STATEMENTS) {
        let invoices = whole(session.conn()?, wanted).await?;
        found.extend(invoices.into_iter().map(|i| ((i.tenant_id, i.id), i)));
    }
    session.release();
    Ok(found)
}

/// Reads whole invoices at one snapshot, so that a header never meets the lines of another version. The transaction
/// and all of its statements travel in one round trip.
async fn whole(conn: &Object, wanted: &[Wanted]) -> Result<Vec<Invoice>, StoreError> {
    let get = conn.prepare_cached(sql::INVOICE_GET).await?;
    let lines = conn.prepare_cached(sql::LINE_GET).await?;
    let payments = conn.prepare_cached(sql::PAYMENT_GET).await?;
    let read = async |wanted: &Wanted| {
        let params = wanted.params();
        tokio::try_join!(
            biased;
            conn.query(&get, &params),
            conn.query(&lines, &params),
            conn.query(&payments, &params),
        )
    };
    let ((), read, ()) = tokio::try_join!(
        biased;
        conn.batch_execute(BEGIN_READ),
        in_order(wanted.iter().map(read)),
        conn.batch_execute("commit"),
    )?;
    let mut invoices = Vec::new();
    for (headers, lines, payments) in read {
        invoices.extend(rows::assemble(&headers, &lines, &payments)?);
    }
    Ok(invoices)
}
