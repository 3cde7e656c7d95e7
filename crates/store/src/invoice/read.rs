//! Point reads, coalesced: planning a statement costs a Citus node far more than one more row of
//! it.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::time::Duration;

use deadpool_postgres::Object;
use sheaf_model::{Invoice, TenantId, id};
use uuid::Uuid;

use crate::batch::{Abort, Carried};
use crate::invoice::decode;
use crate::invoice::decode::Key;
use crate::invoice::ids::Wanted;
use crate::{Store, StoreError, sql};
use sheaf_cluster::Error;
use sheaf_cluster::batch::Place;
use sheaf_cluster::batch::Work;
use sheaf_cluster::fair_queue::{Job, Queued, Queues, Refused, submit};
use sheaf_cluster::transaction::{BEGIN_READ, in_order};

/// Tenants and years of one round trip.
const MAX_STATEMENTS: usize = 32;
const ATTEMPTS: u32 = 4;

/// A point read: it waits in a queue, as work does.
#[derive(Clone, Copy)]
pub(crate) struct PointRead(pub(crate) Key);

impl Queued for PointRead {
    fn queues(store: &Store) -> &Queues<Job<Self>> {
        &store.inner.readers
    }
}

impl Store {
    /// Reads one invoice from the hot tier. `None`: not there; it may be cold.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the queue is full or the owner is away.
    pub async fn get_invoice(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<Invoice>, StoreError> {
        match submit(self, PointRead((tenant, id)), Carried::default()).await {
            Ok((_, found)) => Ok(found),
            Err(Refused::Busy) => Err(Error::Unavailable {
                detail: "the read queue is full".into(),
            }
            .into()),
            Err(Refused::Failed(error)) => Err(error),
        }
    }
}

impl Work for PointRead {
    type Context = Store;
    type Outcome = Option<Invoice>;
    type Known = ();
    const KIND: &'static str = "reads";
    const SIZES: &'static str = "sheaf_read_batch";
    const MOST: usize = 256;
    const ATTEMPTS: u32 = ATTEMPTS;

    fn tenant(&self) -> TenantId {
        self.0.0
    }

    fn known(_: &Store, _: &[Self], _: &[Carried]) -> Result<(), Abort> {
        Ok(())
    }

    async fn attempt(
        _: &Store,
        place: &Place<'_>,
        reads: &mut [Self],
        (): &(),
    ) -> Result<Vec<Option<Invoice>>, Abort> {
        let wanted: BTreeSet<Key> = reads.iter().map(|read| read.0).collect();
        let found = read(place.conn, wanted).await?;
        Ok(reads
            .iter()
            .map(|read| found.get(&read.0).cloned())
            .collect())
    }
}

impl Store {
    /// Runs something that may run twice again, while its node is away or it lost a deadlock
    /// against partition DDL; also where it may have been done.
    pub(crate) async fn retry<T, F>(&self, run: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let (mut attempt, mut is_unknown) = (0, false);
        loop {
            attempt += 1;
            let result = run().await;
            is_unknown |= matches!(
                result,
                Err(StoreError::Cluster(Error::OutcomeUnknown { .. }))
            );
            match result {
                Err(StoreError::Cluster(
                    Error::Unavailable { detail } | Error::OutcomeUnknown { detail },
                )) if attempt < ATTEMPTS => {
                    tracing::debug!(detail, attempt, "tried again");
                    tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
                    self.inner.cluster.reroute().await;
                }
                // Later attempts did not get as far as to see what an earlier one did.
                Err(StoreError::Cluster(Error::Unavailable { detail })) if is_unknown => {
                    return Err(Error::OutcomeUnknown { detail }.into());
                }
                result => return result,
            }
        }
    }
}

/// All of them, each at a snapshot that its neighbours share.
async fn read(conn: &Object, keys: BTreeSet<Key>) -> Result<HashMap<Key, Invoice>, Abort> {
    let keys: Vec<Key> = keys.into_iter().collect();
    // Keys are sorted, and ids carry their time: those of a tenant and year are neighbours.
    let of_year = |(tenant, id): &Key| (*tenant, id::year_of(*id));
    let wanted = keys.chunk_by(|a, b| of_year(a) == of_year(b)).map(|keys| {
        let (tenant, year) = of_year(&keys[0]);
        Wanted::new(tenant.0, year, keys.iter().map(|(_, id)| *id).collect())
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let mut found = HashMap::with_capacity(keys.len());
    for wanted in wanted.chunks(MAX_STATEMENTS) {
        let invoices = whole(conn, wanted).await?;
        found.extend(invoices.into_iter().map(|i| ((i.tenant_id, i.id), i)));
    }
    Ok(found)
}

/// Reads whole invoices at one snapshot, so that a header never meets the lines of another version.
/// The transaction and all of its statements travel in one round trip.
async fn whole(conn: &Object, wanted: &[Wanted]) -> Result<Vec<Invoice>, Abort> {
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
        let read = decode::assemble(&headers, &lines, &payments);
        invoices.extend(read.map_err(Abort::Failed)?);
    }
    Ok(invoices)
}
