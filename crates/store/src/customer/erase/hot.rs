//! The hot tier's half of an erasure, some hundreds of invoices a transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::NaiveDate;
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use sheaf_model::{TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::scrub::{self, ERASED_NAME, scrub_events};
use super::super::{Cause, CustomerError, Failed};
use super::Held;
use crate::event::row::EventRow;
use crate::invoice::decode;
use crate::invoice::encode::event_row;
use crate::setting::retention;
use crate::{Store, StoreError, sql};
use sheaf_cluster::rows::CopyBuffer;
use sheaf_cluster::rows::now;

/// Invoices of one transaction.
const CHUNK: i64 = 200;

/// What one transaction is to look for.
struct Search<'a> {
    tenant: TenantId,
    /// Whose receipt counts it.
    receipt: Uuid,
    /// Whose data: the customer, or one that was merged into it.
    customer: Uuid,
    held: &'a [i16],
    /// The day that decides what retention holds.
    on: NaiveDate,
    cause: &'a Cause,
}

/// What became of some invoices.
enum Chunk<T> {
    Done(T),
    /// Years of theirs are held, which was not known: nothing was changed.
    Held(Vec<Held>),
}

/// An invoice of a chunk: id, version, customer.
type Found = (Uuid, i64, Option<Uuid>);

impl Store {
    /// Erases the customer's data in its own history, in hot invoices and in theirs, but for those
    /// of years that retention holds `on` that day. `held` are those that are known; what the
    /// transactions find beyond is added, since a hold that is set while this runs counts from the
    /// moment that it is answered. Doing it again changes nothing. Takes the login of the tables'
    /// owner.
    ///
    /// # Errors
    /// When the database fails: what was done until then is counted, and the next pass does the
    /// rest.
    pub async fn erase_hot(
        &self,
        tenant: TenantId,
        customer: Uuid,
        held: &mut BTreeMap<i16, Held>,
        on: NaiveDate,
        cause: &Cause,
    ) -> Result<(), CustomerError> {
        let mut persons = self.merged_customers(tenant, customer).await?;
        persons.push(customer);
        for person in persons {
            let conn = self
                .inner
                .cluster
                .owner(tenant)
                .get()
                .await
                .map_err(StoreError::from)?;
            let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &id::year_of(person), &person];
            conn.execute(sql::CUSTOMER_ERASE_HISTORY, &params)
                .await
                .map_err(StoreError::from)?;
            drop(conn);
            let mut after = None;
            loop {
                let years: Vec<i16> = held.keys().copied().collect();
                let search = Search {
                    tenant,
                    receipt: customer,
                    customer: person,
                    held: &years,
                    on,
                    cause,
                };
                match self.erase_next(&search, &mut after).await? {
                    Chunk::Done(true) => {}
                    Chunk::Done(false) => break,
                    Chunk::Held(found) => held.extend(found.into_iter().map(|h| (h.year, h))),
                }
            }
        }
        Ok(())
    }

    /// One transaction: invoices first, then, from `after` on, those whose histories tell of it.
    /// False at the end.
    async fn erase_next(
        &self,
        search: &Search<'_>,
        after: &mut Option<Uuid>,
    ) -> Result<Chunk<bool>, CustomerError> {
        let Some(last) = *after else {
            return Ok(match self.again(|| self.erase_chunk(search)).await? {
                Chunk::Done(found) => {
                    *after = (found < CHUNK).then(Uuid::nil);
                    Chunk::Done(true)
                }
                Chunk::Held(held) => Chunk::Held(held),
            });
        };
        Ok(
            match self.again(|| self.erase_mentions(search, last)).await? {
                Chunk::Done(next) => {
                    *after = next;
                    Chunk::Done(next.is_some())
                }
                Chunk::Held(held) => Chunk::Held(held),
            },
        )
    }

    /// The next invoices that show the customer. Returns how many.
    async fn erase_chunk(&self, search: &Search<'_>) -> Result<Chunk<i64>, Failed> {
        let mut conn = self
            .inner
            .cluster
            .owner(search.tenant)
            .get()
            .await
            .map_err(StoreError::from)?;
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
        let held = search.held_now(&tx, &invoices).await?;
        if !held.is_empty() {
            return Ok(Chunk::Held(held));
        }
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
        tx.commit().await.map_err(Failed::of_commit)?;
        Ok(Chunk::Done(
            i64::try_from(invoices.len()).unwrap_or(i64::MAX),
        ))
    }

    /// The next invoices whose histories may tell of a time when they were this customer's. Returns
    /// the last one.
    async fn erase_mentions(
        &self,
        search: &Search<'_>,
        after: Uuid,
    ) -> Result<Chunk<Option<Uuid>>, Failed> {
        let mut conn = self
            .inner
            .cluster
            .owner(search.tenant)
            .get()
            .await
            .map_err(StoreError::from)?;
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
        let held = search.held_now(&tx, &subjects).await?;
        if !held.is_empty() {
            return Ok(Chunk::Held(held));
        }
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
        tx.commit().await.map_err(Failed::of_commit)?;
        let is_full = subjects.len() as u64 >= CHUNK.unsigned_abs();
        let next = subjects.last().filter(|_| is_full).map(|(id, ..)| *id);
        Ok(Chunk::Done(next))
    }
}

impl Search<'_> {
    /// Which years of these invoices are held, as this transaction has to know it.
    async fn held_now(
        &self,
        tx: &Transaction<'_>,
        invoices: &[Found],
    ) -> Result<Vec<Held>, Failed> {
        let mut held = Vec::new();
        for of_year in years(invoices) {
            let set = retention::share(tx, self.tenant, id::year_of(of_year[0].0)).await?;
            held.extend(set.filter(|set| set.holds(self.on)).map(|set| set.held()));
        }
        Ok(held)
    }

    /// Takes the data out of the histories of some invoices of one year. Returns whose were
    /// changed, and how many events.
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
            let mut events: Vec<EventRow> = history.iter().map(decode::event).collect();
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
        // After the invoices were locked: what was answered about them before was answered earlier.
        let at = now();
        let params: [&(dyn ToSql + Sync); 5] =
            [&self.tenant.0, &self.receipt, &count, &events, &at];
        tx.execute(sql::ERASURE_ADD_HOT, &params).await?;
        Ok(())
    }
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
