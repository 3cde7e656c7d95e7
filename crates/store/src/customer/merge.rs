//! Merging a duplicate into the customer that it duplicates.
//!
//! The first transaction marks the duplicate, so that nothing new refers to it, and takes its first
//! hot invoices along; further ones take the rest, some hundreds at a time. Whatever ends it in
//! between leaves a marked duplicate whose invoices lists and balances of the survivor show all the
//! same; the same request again goes on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use sheaf_model::{Code, TenantId, id};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::change::replaced;
use super::{Cause, CustomerError, CustomerRecord};
use super::{Failed, record, refuse_erased};
use crate::idempotency::key::{CreateOutcome, IdemKey, Replay};
use crate::invoice::encode::event_row;
use crate::{Store, StoreError, idempotency, sql};
use sheaf_cluster::Error;
use sheaf_cluster::rows::CopyBuffer;

/// Customers that can be merged into one: lists of its invoices look for all of them.
pub const MAX_MERGED: i64 = 50;
/// Invoices of one transaction.
const CHUNK: i64 = 500;
/// A request goes on with further chunks for this long.
const BUDGET: Duration = Duration::from_secs(20);

/// How far a merge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The duplicate, inactive now.
    pub customer: CustomerRecord,
    /// Hot invoices that the request took to the survivor.
    pub invoices: u64,
    /// Whether none are left; else the same request is to be sent again.
    pub complete: bool,
}

/// A merge to be done.
struct Merge<'a> {
    tenant: TenantId,
    duplicate: Uuid,
    survivor: Uuid,
    cause: &'a Cause,
    idem: Option<&'a IdemKey>,
}

enum Step {
    Moved(Merged),
    Answered(CreateOutcome<Merged>),
}

impl Store {
    /// Merges a customer into another of the same tenant. Doing it again takes along what has come
    /// in since. `answer` renders the body that a replay will give again; only a merge that is
    /// complete is replayed.
    ///
    /// # Errors
    /// Conflicts `customer_merged` (into another one), `merge_chain`, `customer_inactive` (the
    /// survivor), `customer_erased` (the duplicate, whose invoices its erasure must go on to find)
    /// and `too_many_merges` beyond [`MAX_MERGED`].
    pub async fn merge_customer(
        &self,
        tenant: TenantId,
        duplicate: Uuid,
        survivor: Uuid,
        cause: &Cause,
        idem: Option<&IdemKey>,
        answer: impl Fn(&Merged) -> Vec<u8> + Send + Sync,
    ) -> Result<CreateOutcome<Merged>, CustomerError> {
        let merge = Merge {
            tenant,
            duplicate,
            survivor,
            cause,
            idem,
        };
        // The partitions of both are there, since their own events are: an id that nobody has makes
        // none.
        let started = Instant::now();
        let mut moved = 0;
        loop {
            let step = self
                .again(|| self.merge_step(&merge, moved, &answer))
                .await?;
            match step {
                Step::Answered(outcome) => return Ok(outcome),
                Step::Moved(merged) => {
                    if merged.complete || started.elapsed() >= BUDGET {
                        return Ok(CreateOutcome::Created(merged));
                    }
                    moved = merged.invoices;
                }
            }
        }
    }

    /// One transaction: checks, the mark where it is not set yet, and the next invoices.
    async fn merge_step(
        &self,
        merge: &Merge<'_>,
        moved: u64,
        answer: &(impl Fn(&Merged) -> Vec<u8> + Sync),
    ) -> Result<Step, Failed> {
        let Merge { tenant, cause, .. } = *merge;
        let mut conn = self.lend(tenant).await?;
        let tx = conn.transaction().await?;
        if let Some(replay) = idempotency::claim(&tx, tenant, merge.idem, cause.at).await? {
            return Ok(Step::Answered(CreateOutcome::Replay(replay)));
        }
        let (mut duplicate, survivor) = merge.lock(&tx).await?;
        if duplicate.merged_into.is_none() {
            merge.check(&tx, &survivor).await?;
            refuse_erased(&tx, &duplicate).await?;
            duplicate = merge.mark(&tx, duplicate).await?;
        }
        let taken = merge.take_invoices(&tx, &survivor).await?;
        let merged = Merged {
            customer: duplicate,
            invoices: moved + taken.unsigned_abs(),
            complete: taken < CHUNK,
        };
        if merged.complete {
            let answer = Replay {
                status: 200,
                location: None,
                body: answer(&merged),
            };
            idempotency::answer(&tx, tenant, merge.idem, &answer).await?;
        } else {
            // The same request goes on, here or sent again.
            idempotency::release(&tx, tenant, merge.idem).await?;
        }
        tx.commit().await.map_err(Failed::of_commit)?;
        self.forget_customer(tenant, &merged.customer);
        Ok(Step::Moved(merged))
    }
}

impl Merge<'_> {
    /// The duplicate and the survivor, locked.
    async fn lock(&self, tx: &Transaction<'_>) -> Result<(CustomerRecord, CustomerRecord), Failed> {
        let both = vec![self.duplicate, self.survivor];
        let rows = tx
            .query(sql::CUSTOMER_LOCK, &[&self.tenant.0, &both])
            .await?;
        let mut found: Vec<CustomerRecord> = rows.iter().map(record).collect();
        let mut take = |id: Uuid| {
            let at = found.iter().position(|record| record.id == id)?;
            Some(found.swap_remove(at))
        };
        let duplicate = take(self.duplicate).ok_or(CustomerError::NotFound)?;
        if self.duplicate == self.survivor {
            let detail = "a customer cannot be merged into itself";
            return Err(CustomerError::conflict(Code::MergeChain, detail).into());
        }
        let survivor = take(self.survivor).ok_or(CustomerError::SurvivorNotFound)?;
        match duplicate.merged_into {
            Some(into) if into != self.survivor => {
                let detail = format!("the customer was merged into {into}");
                Err(CustomerError::conflict(Code::CustomerMerged, detail).into())
            }
            _ => Ok((duplicate, survivor)),
        }
    }

    /// Whether a merge may begin.
    async fn check(&self, tx: &Transaction<'_>, survivor: &CustomerRecord) -> Result<(), Failed> {
        let refuse = |code, detail: String| Err(CustomerError::conflict(code, detail).into());
        if let Some(into) = survivor.merged_into {
            return refuse(
                Code::MergeChain,
                format!("the survivor was itself merged into {into}: merge into that one"),
            );
        }
        if !survivor.fields.active {
            return refuse(
                Code::CustomerInactive,
                "the survivor is not active".to_owned(),
            );
        }
        let merged = async |into: Uuid| {
            tx.query(sql::CUSTOMER_MERGED, &[&self.tenant.0, &into, &MAX_MERGED])
                .await
        };
        if let Some(row) = merged(self.duplicate).await?.first() {
            let id: Uuid = row.get(0);
            return refuse(
                Code::MergeChain,
                format!("{id} was merged into this customer, which must survive"),
            );
        }
        let merged = merged(self.survivor).await?.len();
        if i64::try_from(merged).unwrap_or(i64::MAX) >= MAX_MERGED {
            return refuse(
                Code::TooManyMerges,
                format!("at most {MAX_MERGED} customers can be merged into one"),
            );
        }
        Ok(())
    }

    /// Marks the duplicate and tells of it, in the histories of both.
    async fn mark(
        &self,
        tx: &Transaction<'_>,
        old: CustomerRecord,
    ) -> Result<CustomerRecord, Failed> {
        let at = self.cause.at;
        let params: [&(dyn ToSql + Sync); 4] =
            [&self.tenant.0, &self.duplicate, &self.survivor, &at];
        if tx.execute(sql::CUSTOMER_SET_MERGED, &params).await? != 1 {
            return Err(Failed::Raced);
        }
        let version = old.version + 1;
        let none: Option<Uuid> = None;
        let data = replaced("merged_into", &none, &self.survivor, version)?;
        let data = if old.fields.active {
            data.and("active", &true, &false)?
        } else {
            data
        };
        let from = serde_json::json!({"merged_from": self.duplicate});
        let (cause, tenant) = (self.cause, self.tenant);
        cause
            .tell(tx, tenant, self.duplicate, "customer.merged", &data)
            .await?;
        cause
            .tell(tx, tenant, self.survivor, "customer.merged", &from)
            .await?;
        let mut marked = CustomerRecord {
            merged_into: Some(self.survivor),
            version,
            modified_at: at,
            ..old
        };
        marked.fields.active = false;
        Ok(marked)
    }

    /// Takes the next hot invoices to the survivor, at most [`CHUNK`]. Each gets a version and an
    /// event: tiering must notice, and so must readers.
    async fn take_invoices(
        &self,
        tx: &Transaction<'_>,
        survivor: &CustomerRecord,
    ) -> Result<i64, Failed> {
        let tenant = self.tenant.0;
        let rows = tx
            .query(
                sql::CUSTOMER_LOCK_INVOICES,
                &[&tenant, &self.duplicate, &CHUNK],
            )
            .await?;
        let invoices: Vec<(Uuid, i64)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
        let c = &survivor.fields.customer;
        // Ids carry their time, so a year's are neighbours.
        for of_year in invoices.chunk_by(|a, b| id::year_of(a.0) == id::year_of(b.0)) {
            let year = id::year_of(of_year[0].0);
            let ids: Vec<Uuid> = of_year.iter().map(|(id, _)| *id).collect();
            let params: [&(dyn ToSql + Sync); 11] = [
                &tenant,
                &year,
                &ids,
                &self.survivor,
                &c.external_id,
                &c.name,
                &c.email,
                &c.tax_id,
                &c.address,
                &c.country,
                &self.cause.at,
            ];
            let updated = tx.execute(sql::CUSTOMER_MOVE_INVOICES, &params).await?;
            if updated != u64::try_from(ids.len()).unwrap_or(u64::MAX) {
                return Err(Failed::Raced);
            }
        }
        if !invoices.is_empty() {
            self.tell(tx, &invoices).await?;
        }
        Ok(i64::try_from(invoices.len()).unwrap_or(i64::MAX))
    }

    /// The events of invoices that were taken along.
    async fn tell(&self, tx: &Transaction<'_>, invoices: &[(Uuid, i64)]) -> Result<(), Failed> {
        let at = self.cause.at;
        let mut events = CopyBuffer::with_capacity(invoices.len() * 320);
        for (invoice, version) in invoices {
            let data = replaced("customer_id", &self.duplicate, &self.survivor, version + 1)?;
            let data = serde_json::json!(data).to_string();
            let by = (self.tenant, &self.cause.origin);
            event_row(&mut events, by, *invoice, "invoice.updated", &data, at);
        }
        let sink = tx.copy_in::<_, Bytes>(sql::EVENT_COPY).await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(events.stream()).await?;
        let stored = sink.finish().await?;
        if stored == events.rows() {
            return Ok(());
        }
        let detail = format!("COPY stored {stored} of {} events", events.rows());
        Err(StoreError::from(Error::Corrupt(detail)).into())
    }
}
