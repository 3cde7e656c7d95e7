//! Erasure of a customer's personal data in the hot tier, and the receipt of it.
//!
//! A request erases the record and writes the receipt, in one transaction. The record's history,
//! invoices and theirs follow, some hundreds at a time, each chunk counted in the receipt by its
//! own transaction: whatever ends a pass in between, the next one finds what is left. A pass
//! changes events, which the API's login may not: it is the job of the tables' owner. The archive's
//! half is the archive crate's.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use deadpool_postgres::Transaction;
use serde::{Deserialize, Serialize};
use sheaf_model::{TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

pub(crate) mod hot;

use super::scrub::{self, ERASED_NAME};
use super::{Cause, CustomerError, CustomerRecord, MAX_MERGED};
use super::{Failed, record, refuse_merged};
use crate::error::said;
use crate::tenant::now;
use crate::{Store, StoreError, sql};

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
    /// When a pass changed something last: answers that were kept until then may tell the data.
    pub changed_at: Option<DateTime<Utc>>,
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

impl Store {
    /// Asks for a customer's personal data to be erased. The record itself and those merged into it
    /// are erased at once, and nothing can be invoiced to them any more; histories and invoices
    /// follow by [`Store::erase_hot`] and the archive. Asking again starts another pass. Of a
    /// customer that was deleted, histories and invoices are all there is: another process may have
    /// let one in after it, and its own history still tells the name.
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
        let mut conn = self.lend(tenant).await?;
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
        match records.iter().find(|record| record.id == customer) {
            Some(asked) => refuse_merged(asked)?,
            None if left_traces(&tx, tenant, customer).await? => {}
            None => return Err(CustomerError::NotFound.into()),
        }
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
        tx.commit().await.map_err(Failed::of_commit)?;
        for old in &records {
            self.forget_customer(tenant, old);
        }
        Ok(receipt)
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
        let conn = self.lend(tenant).await?;
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

    /// Writes what a pass came to into the receipt, unless it was asked for again meanwhile.
    /// Complete when nothing is held or pending.
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
        let params: [&(dyn ToSql + Sync); 11] = [
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
            &now(),
        ];
        let conn = self.inner.cluster.owner(tenant).get().await?;
        conn.execute(sql::ERASURE_PASS, &params).await?;
        Ok(())
    }
}

/// Whether a customer without a record was one: its history says that it was deleted, an invoice
/// names it, or its erasure was asked for before. After the record was looked for, so that a
/// deletion that commits meanwhile is seen.
async fn left_traces(
    tx: &Transaction<'_>,
    tenant: TenantId,
    customer: Uuid,
) -> Result<bool, Failed> {
    let of_customer: [&(dyn ToSql + Sync); 2] = [&tenant.0, &customer];
    if tx
        .query_opt(sql::ERASURE_GET, &of_customer)
        .await?
        .is_some()
    {
        return Ok(true);
    }
    let of_year: [&(dyn ToSql + Sync); 3] = [&tenant.0, &id::year_of(customer), &customer];
    if tx
        .query_opt(sql::CUSTOMER_DELETED, &of_year)
        .await?
        .is_some()
    {
        return Ok(true);
    }
    let invoice = tx
        .query_opt(sql::CUSTOMER_ANY_INVOICE, &of_customer)
        .await?;
    Ok(invoice.is_some())
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

fn receipt(row: &Row) -> Result<ErasureRecord, StoreError> {
    let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
    let corrupt = |e: tokio_postgres::Error| StoreError::Corrupt(format!("erasure: {}", said(&e)));
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
        changed_at: row.get(12),
    })
}
