//! Writing a batch of creates in one transaction on one shard.
//!
//! The answer of each create is its own: conflicts are found by looking before writing; what slips in between makes the
//! transaction fail, and the batch looks again. A batch that still fails is written one by one, so that only the
//! culprit does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use sheaf_model::{TenantId, id};
use uuid::Uuid;

use crate::copy::CopyBuffer;
use crate::encode::{Batch, NewCustomer};
use crate::error::{Failure, classify};
use crate::lookup::{self, CustomerRow};
use crate::plan::{self, CustomerRef, KnownCustomers, Outcome, Plan};
use crate::types::{ArchiveFile, FileKeys, NewInvoice};
use crate::{Store, StoreError, catalog, sql};

/// Attempts of a batch before it is taken apart, or given up.
const ATTEMPTS: u32 = 6;

/// Why an attempt ended without a commit.
pub(crate) enum Abort {
    Db(tokio_postgres::Error),
    Store(StoreError),
    /// The archive has published files that the batch was not checked against.
    ArchiveMoved(Vec<ArchiveFile>),
}

impl From<tokio_postgres::Error> for Abort {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Db(e)
    }
}

/// What one attempt decided and wrote.
pub(crate) struct Written {
    pub(crate) outcomes: Vec<Outcome>,
    learned: Vec<CustomerRow>,
}

impl Store {
    /// Writes the batch on the shard's owner. Outcomes come in the order of the items; items that were written carry
    /// the customer that they got.
    pub(crate) async fn write_batch(
        &self,
        shard: i64,
        items: &mut [NewInvoice],
    ) -> Result<Vec<Outcome>, StoreError> {
        let refs: Vec<CustomerRef> = items.iter().map(CustomerRef::of).collect();
        let mut uncertain = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.ensure_years(&items.iter().map(|n| id::year_of(n.invoice.id)).collect())
                .await?;
            let cold = self.cold_files(items).await?;
            let failure = match self.attempt(shard, items, &refs, &cold, uncertain).await {
                Ok(written) => return Ok(self.learn(written)),
                Err(Abort::ArchiveMoved(files)) if attempt < ATTEMPTS => {
                    self.remember_archived(items, files);
                    continue;
                }
                Err(Abort::ArchiveMoved(_)) => {
                    return Err(StoreError::Unavailable {
                        detail: "the archive catalog keeps changing".into(),
                    });
                }
                Err(Abort::Store(e @ StoreError::Unavailable { .. })) if attempt < ATTEMPTS => {
                    self.after_failure(Failure::Unavailable, attempt, &e).await;
                    continue;
                }
                Err(Abort::Store(e)) => return Err(e),
                Err(Abort::Db(e)) => e,
            };
            let kind = classify(&failure);
            let give_up = attempt >= ATTEMPTS || matches!(kind, Failure::Fatal | Failure::Timeout);
            if give_up && items.len() > 1 && kind != Failure::Unavailable {
                return self.one_by_one(shard, items).await;
            }
            if give_up {
                return Err(failure.into());
            }
            // A lost connection may have lost the answer to a commit.
            uncertain |= kind == Failure::Unavailable;
            self.after_failure(kind, attempt, &failure).await;
        }
    }

    async fn one_by_one(
        &self,
        shard: i64,
        items: &mut [NewInvoice],
    ) -> Result<Vec<Outcome>, StoreError> {
        metrics::counter!("sheaf_flush_fallback_total").increment(1);
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items.chunks_mut(1) {
            outcomes.extend(Box::pin(self.write_batch(shard, item)).await?);
        }
        Ok(outcomes)
    }

    async fn after_failure(
        &self,
        kind: Failure,
        attempt: u32,
        error: &(dyn std::error::Error + Sync),
    ) {
        metrics::counter!("sheaf_flush_retry_total").increment(1);
        tracing::debug!(%error, ?kind, attempt, "a batch is tried again");
        match kind {
            Failure::MissingPartition => self.forget_years().await,
            Failure::Unavailable => {
                tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
                if let Err(error) = self.inner.cluster.refresh_placement().await {
                    tracing::warn!(%error, "placements could not be read again");
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 2)).await,
        }
    }

    async fn attempt(
        &self,
        shard: i64,
        items: &mut [NewInvoice],
        refs: &[CustomerRef],
        cold: &[(ArchiveFile, Arc<FileKeys>)],
        uncertain: bool,
    ) -> Result<Written, Abort> {
        let node = self.inner.cluster.node_of_shard(shard);
        let mut conn = node.get().await.map_err(Abort::Store)?;
        let tx = conn.transaction().await?;
        let written = self.write_in(&tx, items, refs, cold, uncertain).await?;
        tx.commit().await?;
        Ok(written)
    }

    /// The body of a write transaction, for the group commit and for atomic uploads alike.
    pub(crate) async fn write_in(
        &self,
        tx: &Transaction<'_>,
        items: &mut [NewInvoice],
        refs: &[CustomerRef],
        cold: &[(ArchiveFile, Arc<FileKeys>)],
        uncertain: bool,
    ) -> Result<Written, Abort> {
        let known = |new: &NewInvoice| self.customer_known(new);
        let existing = lookup::existing(tx, items, known, uncertain).await?;
        let plan = plan::plan(items, refs, &existing, cold, self, uncertain);
        apply_customers(items, refs, &plan);
        let batch = encode(items, &plan);
        if batch.invoices.rows() > 0 {
            send(tx, sql::CUSTOMER_COPY, batch.customers).await?;
            send(tx, sql::INVOICE_COPY, batch.invoices).await?;
            send(tx, sql::LINE_COPY, batch.lines).await?;
            send(tx, sql::PAYMENT_COPY, batch.payments).await?;
            send(tx, sql::EVENT_COPY, batch.events).await?;
            send(tx, sql::IDEMPOTENCY_COPY, batch.idempotency).await?;
            check_archive(tx, items, cold).await?;
        }
        let learned = plan
            .new_customers
            .iter()
            .filter_map(|(tenant, id, index)| {
                items[*index]
                    .invoice
                    .customer
                    .clone()
                    .map(|customer| CustomerRow {
                        tenant: *tenant,
                        id: *id,
                        customer,
                    })
            })
            .chain(existing.customers)
            .collect();
        Ok(Written {
            outcomes: plan
                .outcomes
                .into_iter()
                .map(|o| o.unwrap_or(Outcome::Created))
                .collect(),
            learned,
        })
    }

    /// After the commit: customers are known from now on.
    pub(crate) fn learn(&self, written: Written) -> Vec<Outcome> {
        for row in written.learned {
            if let Some(external_id) = &row.customer.external_id {
                self.inner
                    .customers_by_key
                    .insert((row.tenant, external_id.as_str().into()), row.id);
            }
            self.inner
                .customers_by_id
                .insert((row.tenant, row.id), Arc::new(row));
        }
        written.outcomes
    }

    fn customer_known(&self, new: &NewInvoice) -> bool {
        let invoice = &new.invoice;
        match (&invoice.customer, invoice.customer_id) {
            (Some(c), _) => c
                .external_id
                .as_deref()
                .is_some_and(|e| self.by_external_id(invoice.tenant_id, e).is_some()),
            (None, Some(id)) => self.by_id(invoice.tenant_id, id).is_some(),
            (None, None) => true,
        }
    }

    /// The keys of every published file that the batch's keyed items could collide with.
    pub(crate) async fn cold_files(
        &self,
        items: &[NewInvoice],
    ) -> Result<Vec<(ArchiveFile, Arc<FileKeys>)>, StoreError> {
        let mut files = Vec::new();
        for (tenant, year) in keyed_years(items) {
            let Some(known) = self.inner.archived.get(&(tenant, year)) else {
                continue;
            };
            for file in known.iter() {
                let cold = self.inner.cold.get().ok_or_else(|| StoreError::Cold {
                    detail: "the catalog names archived files, but this process has no archive configured".into(),
                })?;
                files.push((file.clone(), cold.load(file).await?));
            }
        }
        Ok(files)
    }

    pub(crate) fn remember_archived(&self, items: &[NewInvoice], files: Vec<ArchiveFile>) {
        for (tenant, year) in keyed_years(items) {
            let of_year = files
                .iter()
                .filter(|f| f.tenant_id == tenant && f.period.year == year)
                .cloned()
                .collect();
            self.inner
                .archived
                .insert((tenant, year), Arc::new(of_year));
        }
    }
}

impl KnownCustomers for Store {
    fn by_external_id(&self, tenant: TenantId, external_id: &str) -> Option<Uuid> {
        self.inner
            .customers_by_key
            .get(&(tenant, external_id.into()))
    }

    fn by_id(&self, tenant: TenantId, id: Uuid) -> Option<Arc<CustomerRow>> {
        self.inner.customers_by_id.get(&(tenant, id))
    }
}

/// Tenants and years in which the batch brings keys that must be unique.
fn keyed_years(items: &[NewInvoice]) -> BTreeSet<(TenantId, i16)> {
    items
        .iter()
        .filter(|n| n.client_id || n.invoice.external_id.is_some() || n.invoice.number.is_some())
        .map(|n| (n.invoice.tenant_id, id::year_of(n.invoice.id)))
        .collect()
}

/// The archive may have published a file since its keys were checked; its rows then are no longer hot, where a unique
/// index would have caught them. Read after the rows went in, so that a handover either is seen here or
/// still holds the rows that the unique index waits for.
async fn check_archive(
    tx: &Transaction<'_>,
    items: &[NewInvoice],
    cold: &[(ArchiveFile, Arc<FileKeys>)],
) -> Result<(), Abort> {
    let keyed = keyed_years(items);
    if keyed.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = keyed
        .iter()
        .map(|(t, _)| t.0)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let years: Vec<i16> = keyed
        .iter()
        .map(|(_, y)| *y)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let statement = tx.prepare_cached(sql::ARCHIVE_FILE_OF_YEARS).await?;
    let mut now = Vec::new();
    for row in tx.query(&statement, &[&tenants, &years]).await? {
        let file = catalog::from_row(&row).map_err(Abort::Store)?;
        if keyed.contains(&(file.tenant_id, file.period.year)) {
            now.push(file);
        }
    }
    let same = now.len() == cold.len()
        && now
            .iter()
            .all(|f| cold.iter().any(|(c, _)| c.object_key == f.object_key));
    if same {
        Ok(())
    } else {
        Err(Abort::ArchiveMoved(now))
    }
}

fn apply_customers(items: &mut [NewInvoice], refs: &[CustomerRef], plan: &Plan) {
    for (index, resolved) in plan.customers.iter().enumerate() {
        if let Some(resolved) = resolved {
            let invoice = &mut items[index].invoice;
            invoice.customer_id = Some(resolved.id);
            if refs[index] == CustomerRef::ById {
                invoice.customer.clone_from(&resolved.snapshot);
            }
        }
    }
}

fn encode(items: &[NewInvoice], plan: &Plan) -> Batch {
    let mut batch = Batch::new(items.len());
    for (tenant, id, index) in &plan.new_customers {
        let by = &items[*index];
        if let Some(customer) = &by.invoice.customer {
            batch.push_customer(&NewCustomer {
                tenant: *tenant,
                id: *id,
                customer,
                by,
            });
        }
    }
    for (new, outcome) in items.iter().zip(&plan.outcomes) {
        if outcome.is_none() {
            batch.push(new);
        }
    }
    batch
}

/// One COPY; nothing at all for a table without rows.
async fn send(tx: &Transaction<'_>, copy: &str, rows: CopyBuffer) -> Result<(), Abort> {
    let expected = rows.rows();
    if expected == 0 {
        return Ok(());
    }
    let statement = tx.prepare_cached(copy).await?;
    let sink = tx.copy_in::<_, Bytes>(&statement).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(rows.finish()).await?;
    let stored = sink.finish().await?;
    if stored == expected {
        Ok(())
    } else {
        Err(Abort::Store(StoreError::Corrupt(format!(
            "COPY stored {stored} of {expected} rows"
        ))))
    }
}
