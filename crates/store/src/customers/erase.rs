//! Erasure of a customer's personal data in the hot tier, and the receipt of it.
//!
//! A request erases the record and writes the receipt, in one transaction. The record's history, invoices and theirs follow,
//! some hundreds at a time, each chunk counted in the receipt by its own transaction: whatever ends a pass in between, the
//! next one finds what is left. A pass changes events, which the API's login may not: it is the job of the tables' owner.
//! The archive's half is the archive crate's.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use serde::{Deserialize, Serialize};
use sheaf_model::{TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::scrub::{self, ERASED_NAME, scrub_events};
use super::{Cause, CustomerError, CustomerRecord, MAX_MERGED};
use super::{Failed, record, refuse_merged};
use crate::copy::CopyBuffer;
use crate::encode::event_row;
use crate::rows;
use crate::types::EventRow;
use crate::{Store, StoreError, sql};

/// Invoices of one transaction.
const CHUNK: i64 = 200;

/// A year whose documents retention keeps as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The year of the documents.
    pub year: i16,
    /// Until somebody lifts it.
    pub legal_hold: bool,
    /// The first day on which they may change.
    pub keep_until: Option<NaiveDate>,
}

/// Where the data still is, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The key of an object, or `idempotency_keys`.
    pub place: String,
    /// It goes at the first run after this.
    pub until: DateTime<Utc>,
}

/// An erasure and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureRecord {
    /// Whose data.
    pub customer_id: Uuid,
    /// The last request.
    pub requested_at: DateTime<Utc>,
    /// Who made it.
    pub requested_by: String,
    /// Hot invoices that were changed.
    pub hot_invoices: u64,
    /// Events of hot invoices that were changed.
    pub hot_events: u64,
    /// Archived files that the last pass searched.
    pub cold_files: u64,
    /// Files that were written anew.
    pub cold_files_rewritten: u64,
    /// Invoices that were changed in them.
    pub cold_invoices: u64,
    /// Years that hold data of the customer, and are not to be touched yet.
    pub held: Vec<Held>,
    /// What still holds data, and goes by itself.
    pub pending: Vec<Pending>,
    /// When both tiers were gone through for this request.
    pub passed_at: Option<DateTime<Utc>>,
    /// When nothing was left.
    pub completed_at: Option<DateTime<Utc>>,
}

/// What one pass over both tiers came to.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Archived files that were searched.
    pub files: u64,
    /// Those that were written anew.
    pub files_rewritten: u64,
    /// Invoices that were changed in them.
    pub invoices: u64,
    /// Years that were left alone.
    pub held: Vec<Held>,
    /// What goes by itself.
    pub pending: Vec<Pending>,
}

/// What one transaction is to look for.
struct Search<'a> {
    tenant: TenantId,
    /// Whose receipt counts it.
    receipt: Uuid,
    /// Whose data: the customer, or one that was merged into it.
    customer: Uuid,
    held: &'a [i16],
    cause: &'a Cause,
}

/// An invoice of a chunk: id, version, customer.
type Found = (Uuid, i64, Option<Uuid>);

impl Store {
    /// Asks for a customer's personal data to be erased. The record itself and those merged into it are erased at once, and
    /// nothing can be invoiced to them any more; histories and invoices follow by [`Store::erase_hot`] and the archive.
    /// Asking again starts another pass.
    ///
    /// # Errors
    /// [`CustomerError::NotFound`]; conflict `customer_merged`: the survivor is the one to ask for.
    pub async fn request_erasure(
        &self,
        tenant: TenantId,
        customer: Uuid,
        cause: &Cause,
    ) -> Result<ErasureRecord, CustomerError> {
        self.again(|| self.try_request_erasure(tenant, customer, cause))
            .await
    }

    async fn try_request_erasure(
        &self,
        tenant: TenantId,
        customer: Uuid,
        cause: &Cause,
    ) -> Result<ErasureRecord, Failed> {
        let mut conn = self.inner.cluster.owner(tenant).get().await?;
        let tx = conn.transaction().await?;
        let merged = tx
            .query(sql::CUSTOMER_MERGED, &[&tenant.0, &customer, &MAX_MERGED])
            .await?;
        let ids: Vec<Uuid> = merged
            .iter()
            .map(|row| row.get(0))
            .chain([customer])
            .collect();
        let rows = tx.query(sql::CUSTOMER_LOCK, &[&tenant.0, &ids]).await?;
        let records: Vec<CustomerRecord> = rows.iter().map(record).collect();
        let asked = records.iter().find(|record| record.id == customer);
        refuse_merged(asked.ok_or(CustomerError::NotFound)?)?;
        for old in &records {
            let is_done = scrub::is_erased(&old.fields.customer);
            if !is_done || old.fields.metadata.as_str() != "{}" {
                erase_record(&tx, old, cause).await?;
            }
        }
        let params: [&(dyn ToSql + Sync); 4] =
            [&tenant.0, &customer, &cause.at, &&*cause.origin.actor];
        tx.execute(sql::ERASURE_REQUEST, &params).await?;
        let row = tx
            .query_one(sql::ERASURE_GET, &[&tenant.0, &customer])
            .await?;
        let receipt = receipt(&row)?;
        tx.commit().await?;
        for old in &records {
            self.forget_customer(tenant, old);
        }
        Ok(receipt)
    }

    /// Erases the customer's data in its own history, in hot invoices and in theirs, but for those of the years `held`. Doing
    /// it again changes nothing. Takes the login of the tables' owner.
    ///
    /// # Errors
    /// When the database fails: what was done until then is counted, and the next pass does the rest.
    pub async fn erase_hot(
        &self,
        tenant: TenantId,
        customer: Uuid,
        held: &[i16],
        cause: &Cause,
    ) -> Result<(), CustomerError> {
        let mut persons = self.merged_customers(tenant, customer).await?;
        persons.push(customer);
        for person in persons {
            let conn = self.inner.cluster.owner(tenant).get().await?;
            let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &id::year_of(person), &person];
            conn.execute(sql::CUSTOMER_ERASE_HISTORY, &params)
                .await
                .map_err(StoreError::from)?;
            drop(conn);
            let search = Search {
                tenant,
                receipt: customer,
                customer: person,
                held,
                cause,
            };
            while self.again(|| self.erase_chunk(&search)).await? >= CHUNK {}
            let mut after = Some(Uuid::nil());
            while let Some(last) = after {
                after = self.again(|| self.erase_mentions(&search, last)).await?;
            }
        }
        Ok(())
    }

    /// The years of `years` in which the customer has hot invoices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hot_years_of(
        &self,
        tenant: TenantId,
        customer: Uuid,
        years: &[i16],
    ) -> Result<BTreeSet<i16>, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &customer, &years];
        let rows = conn.query(sql::CUSTOMER_HELD_YEARS, &params).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The receipt of a customer's erasure, if one was asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erasure(
        &self,
        tenant: TenantId,
        customer: Uuid,
    ) -> Result<Option<ErasureRecord>, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let row = conn
            .query_opt(sql::ERASURE_GET, &[&tenant.0, &customer])
            .await?;
        row.as_ref().map(receipt).transpose()
    }

    /// Erasures that are not complete, after a customer, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_erasures(
        &self,
        tenant: TenantId,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<ErasureRecord>, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &after, &limit];
        let rows = conn.query(sql::ERASURE_OPEN, &params).await?;
        rows.iter().map(receipt).collect()
    }

    /// Writes what a pass came to into the receipt, unless it was asked for again meanwhile. Complete when nothing is held or
    /// pending.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_erasure(
        &self,
        tenant: TenantId,
        erasure: &ErasureRecord,
        pass: &Pass,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let params: [&(dyn ToSql + Sync); 10] = [
            &tenant.0,
            &erasure.customer_id,
            &erasure.requested_at,
            &count(pass.files),
            &count(pass.files_rewritten),
            &count(pass.invoices),
            &Json(&pass.held),
            &Json(&pass.pending),
            &at,
            &(pass.held.is_empty() && pass.pending.is_empty()),
        ];
        let conn = self.inner.cluster.owner(tenant).get().await?;
        conn.execute(sql::ERASURE_PASS, &params).await?;
        Ok(())
    }

    /// The next invoices that show the customer. Returns how many.
    async fn erase_chunk(&self, search: &Search<'_>) -> Result<i64, Failed> {
        let mut conn = self.inner.cluster.owner(search.tenant).get().await?;
        let tx = conn.transaction().await?;
        let params: [&(dyn ToSql + Sync); 5] = [
            &search.tenant.0,
            &search.customer,
            &search.held,
            &ERASED_NAME,
            &CHUNK,
        ];
        let rows = tx.query(sql::CUSTOMER_LOCK_PERSONAL, &params).await?;
        let invoices: Vec<Found> = rows.iter().map(found).collect();
        let mut events = 0;
        for of_year in years(&invoices) {
            let (year, ids) = (id::year_of(of_year[0].0), ids(of_year));
            let params: [&(dyn ToSql + Sync); 5] = [
                &search.tenant.0,
                &year,
                &ids,
                &ERASED_NAME,
                &search.cause.at,
            ];
            let updated = tx.execute(sql::CUSTOMER_ERASE_INVOICES, &params).await?;
            if updated != ids.len() as u64 {
                return Err(Failed::Raced);
            }
            events += search.erase_events(&tx, of_year).await?.1;
        }
        search.count(&tx, &invoices, events).await?;
        tx.commit().await?;
        Ok(i64::try_from(invoices.len()).unwrap_or(i64::MAX))
    }

    /// The next invoices whose histories may tell of a time when they were this customer's. Returns the last one.
    async fn erase_mentions(
        &self,
        search: &Search<'_>,
        after: Uuid,
    ) -> Result<Option<Uuid>, Failed> {
        let mut conn = self.inner.cluster.owner(search.tenant).get().await?;
        let tx = conn.transaction().await?;
        let away = serde_json::json!({"changes": {"customer_id": {"old": search.customer}}});
        let params: [&(dyn ToSql + Sync); 5] = [
            &search.tenant.0,
            &away.to_string(),
            &after,
            &search.held,
            &CHUNK,
        ];
        let rows = tx.query(sql::EVENT_NAMING, &params).await?;
        let subjects: Vec<Found> = rows.iter().map(|row| (row.get(0), 0, None)).collect();
        let (mut changed, mut events) = (Vec::new(), 0);
        for of_year in years(&subjects) {
            let (year, ids) = (id::year_of(of_year[0].0), ids(of_year));
            let params: [&(dyn ToSql + Sync); 3] = [&search.tenant.0, &year, &ids];
            let rows = tx.query(sql::INVOICE_LOCK_OWNERS, &params).await?;
            let owners: Vec<Found> = rows.iter().map(found).collect();
            let (touched, erased) = search.erase_events(&tx, &owners).await?;
            if touched.is_empty() {
                continue;
            }
            let params: [&(dyn ToSql + Sync); 4] =
                [&search.tenant.0, &year, &touched, &search.cause.at];
            tx.execute(sql::INVOICE_TOUCH, &params).await?;
            changed.extend(owners.into_iter().filter(|(id, ..)| touched.contains(id)));
            events += erased;
        }
        search.count(&tx, &changed, events).await?;
        tx.commit().await?;
        let is_full = subjects.len() as u64 >= CHUNK.unsigned_abs();
        Ok(subjects.last().filter(|_| is_full).map(|(id, ..)| *id))
    }
}

impl Search<'_> {
    /// Takes the data out of the histories of some invoices of one year. Returns whose were changed, and how many events.
    async fn erase_events(
        &self,
        tx: &Transaction<'_>,
        invoices: &[Found],
    ) -> Result<(Vec<Uuid>, i64), Failed> {
        let Some(year) = invoices.first().map(|(id, ..)| id::year_of(*id)) else {
            return Ok((Vec::new(), 0));
        };
        let params: [&(dyn ToSql + Sync); 3] = [&self.tenant.0, &year, &ids(invoices)];
        let rows = tx.query(sql::EVENT_GET, &params).await?;
        let subject = |row: &Row| row.get::<_, Uuid>(1);
        let (mut touched, mut erased) = (Vec::new(), 0);
        for history in rows.chunk_by(|a, b| subject(a) == subject(b)) {
            let of = subject(&history[0]);
            let owner = invoices.iter().find(|(id, ..)| *id == of);
            let mut events: Vec<EventRow> = history.iter().map(rows::event).collect();
            let before: Vec<String> = events.iter().map(|event| event.data.clone()).collect();
            if !scrub_events(
                &mut events,
                owner.and_then(|(.., owner)| *owner),
                self.customer,
            ) {
                continue;
            }
            for (event, _) in events.iter().zip(before).filter(|(e, was)| e.data != *was) {
                let params: [&(dyn ToSql + Sync); 5] =
                    [&self.tenant.0, &year, &of, &event.id, &event.data];
                erased += i64::try_from(tx.execute(sql::EVENT_ERASE, &params).await?).unwrap_or(0);
            }
            touched.push(of);
        }
        Ok((touched, erased))
    }

    /// Tells of the invoices that were changed, and counts them in the receipt.
    async fn count(
        &self,
        tx: &Transaction<'_>,
        invoices: &[Found],
        events: i64,
    ) -> Result<(), Failed> {
        if invoices.is_empty() {
            return Ok(());
        }
        let mut told = CopyBuffer::with_capacity(invoices.len() * 200);
        for (invoice, version, _) in invoices {
            let (by, data) = (
                (self.tenant, &self.cause.origin),
                scrub::told_data(version + 1),
            );
            event_row(
                &mut told,
                by,
                *invoice,
                scrub::EVENT_TYPE,
                &data,
                self.cause.at,
            );
        }
        let sink = tx.copy_in::<_, Bytes>(sql::EVENT_COPY).await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(told.stream()).await?;
        sink.finish().await?;
        let count = i64::try_from(invoices.len()).unwrap_or(i64::MAX);
        let params: [&(dyn ToSql + Sync); 4] = [&self.tenant.0, &self.receipt, &count, &events];
        tx.execute(sql::ERASURE_ADD_HOT, &params).await?;
        Ok(())
    }
}

async fn erase_record(
    tx: &Transaction<'_>,
    old: &CustomerRecord,
    cause: &Cause,
) -> Result<(), Failed> {
    let tenant = old.tenant_id;
    let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &old.id, &ERASED_NAME, &cause.at];
    tx.execute(sql::CUSTOMER_ERASE, &params).await?;
    let data = serde_json::json!({"version": old.version + 1});
    cause
        .tell(tx, tenant, old.id, "customer.erased", &data)
        .await
}

fn found(row: &Row) -> Found {
    (row.get(0), row.get(1), row.get(2))
}

fn ids(invoices: &[Found]) -> Vec<Uuid> {
    invoices.iter().map(|(id, ..)| *id).collect()
}

/// Ids carry their time, so a year's are neighbours.
fn years(invoices: &[Found]) -> impl Iterator<Item = &[Found]> {
    invoices.chunk_by(|a, b| id::year_of(a.0) == id::year_of(b.0))
}

fn receipt(row: &Row) -> Result<ErasureRecord, StoreError> {
    let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
    let corrupt = |e: tokio_postgres::Error| StoreError::Corrupt(format!("erasure: {e}"));
    Ok(ErasureRecord {
        customer_id: row.get(0),
        requested_at: row.get(1),
        requested_by: row.get(2),
        hot_invoices: count(3),
        hot_events: count(4),
        cold_files: count(5),
        cold_files_rewritten: count(6),
        cold_invoices: count(7),
        held: row.try_get::<_, Json<Vec<Held>>>(8).map_err(corrupt)?.0,
        pending: row.try_get::<_, Json<Vec<Pending>>>(9).map_err(corrupt)?.0,
        passed_at: row.get(10),
        completed_at: row.get(11),
    })
}
