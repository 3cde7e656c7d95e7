//! Writing a batch of creates in one transaction on one node.
//!
//! The rows of a shard go straight into its tables, a statement a table, under Citus' own lock: planning a statement on a
//! distributed table costs more than the rows. All statements travel together: a batch that has nothing to look up takes
//! one round trip (docs/decisions/0009-writes-into-shards.md).
//!
//! The answer of each create is its own: conflicts are found by looking before writing; what slips in between makes the
//! transaction fail, and the batch looks again. A batch that still fails is written one by one, so that only the
//! culprit does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sheaf_model::{Period, TenantId, id};
use uuid::Uuid;

use crate::encode::{Batch, NewCustomer, PROFILE_OF_NOW};
use crate::error::{Failure, classify};
use crate::lookup::{self, CustomerRow, Existing};
use crate::numbers::{Claim, Locks};
use crate::plan::{self, CustomerRef, KnownCustomer, Outcome, Plan};
use crate::send::{Frame, Opening, Place, write};
use crate::session::Session;
use crate::shard::{Shard, Table};
use crate::types::{ArchiveFile, FileKeys, NewInvoice};
use crate::{Store, StoreError};

/// Attempts of a batch before it is taken apart, or given up.
const ATTEMPTS: u32 = 6;
/// For how long a customer that was seen may still be named after another process has made it inactive or merged it.
const CUSTOMER_TTL: Duration = Duration::from_secs(5);

/// Why an attempt ended without a commit.
pub(crate) enum Abort {
    Db(tokio_postgres::Error),
    Store(StoreError),
    /// The archive has published files that the batch was not checked against.
    ArchiveMoved(Vec<ArchiveFile>),
    /// These invoices are not hot: they have to be looked for, or read again, in the archive.
    Cold(Vec<(TenantId, Uuid)>),
    /// These files may have the next numbers of a series that runs through the years: their keys have to be loaded.
    Numbers(Vec<ArchiveFile>),
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

/// What a batch is checked against.
pub(crate) struct Known {
    pub(crate) refs: Vec<CustomerRef>,
    /// Keys of the archived files that the batch's keys could meet.
    pub(crate) cold: Vec<(ArchiveFile, Arc<FileKeys>)>,
    /// An earlier attempt may have committed.
    pub(crate) uncertain: bool,
}

impl Store {
    /// Writes the batch on the node that owns its shards; items of one shard should be neighbours. Outcomes come in the
    /// order of the items; items that were written carry the customer that they got.
    pub(crate) async fn write_batch(
        &self,
        items: &mut [NewInvoice],
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut known = Known {
            refs: items.iter().map(CustomerRef::of).collect(),
            cold: Vec::new(),
            uncertain: false,
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let shards = self.inner.cluster.shards_of(items);
            if shards.windows(2).any(|two| two[0].node != two[1].node) {
                return self.apart(items, |a, b| a.node == b.node).await;
            }
            self.ensure_years(&years_of(items)).await?;
            known.cold = self.cold_files(items).await?;
            let failure = match self.attempt(&shards, items, &known).await {
                Ok(written) => return Ok(self.learn(written)),
                Err(Abort::ArchiveMoved(files)) if attempt < ATTEMPTS => {
                    self.remember_archived(items, files);
                    continue;
                }
                Err(Abort::ArchiveMoved(_) | Abort::Cold(_) | Abort::Numbers(_)) => {
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
            if kind == Failure::Locked && shards.windows(2).any(|two| two[0].id != two[1].id) {
                // One shard is being moved: the others need not wait for it.
                return self.apart(items, |a, b| a.id == b.id).await;
            }
            let give_up = attempt >= ATTEMPTS || matches!(kind, Failure::Fatal | Failure::Timeout);
            if give_up && items.len() > 1 && kind != Failure::Unavailable {
                return self.one_by_one(items).await;
            }
            if give_up {
                return Err(failure.into());
            }
            // A lost connection may have lost the answer to a commit.
            known.uncertain |= kind == Failure::Unavailable;
            self.after_failure(kind, attempt, &failure).await;
        }
    }

    /// Writes runs of neighbours side by side, each in a transaction of its own. A run that fails fails the batch only
    /// after the others have ended.
    async fn apart(
        &self,
        items: &mut [NewInvoice],
        together: impl Fn(&Shard, &Shard) -> bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        let shard = |n: &NewInvoice| self.inner.cluster.shard_of(n.invoice.tenant_id);
        let runs = items.chunk_by_mut(|a, b| together(&shard(a), &shard(b)));
        let written = try_join_all(runs.map(|run| Box::pin(self.write_batch(run)))).await?;
        Ok(written.concat())
    }

    async fn one_by_one(&self, items: &mut [NewInvoice]) -> Result<Vec<Outcome>, StoreError> {
        metrics::counter!("sheaf_flush_fallback_total").increment(1);
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items.chunks_mut(1) {
            outcomes.extend(Box::pin(self.write_batch(item)).await?);
        }
        Ok(outcomes)
    }

    pub(crate) async fn after_failure(
        &self,
        kind: Failure,
        attempt: u32,
        error: &(dyn std::error::Error + Sync),
    ) {
        metrics::counter!("sheaf_flush_retry_total").increment(1);
        tracing::debug!(%error, ?kind, attempt, "a batch is tried again");
        if kind == Failure::MissingPartition {
            self.forget_years();
        }
        match kind {
            Failure::Unavailable => tokio::time::sleep(Duration::from_millis(20 << attempt)).await,
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

    async fn attempt(
        &self,
        shards: &[Arc<Shard>],
        items: &mut [NewInvoice],
        known: &Known,
    ) -> Result<Written, Abort> {
        let Some(first) = shards.first() else {
            return Ok(Written {
                outcomes: Vec::new(),
                learned: Vec::new(),
            });
        };
        let node = self.inner.cluster.node(&first.node);
        let session = Session::open(&node).await.map_err(Abort::Store)?;
        let conn = session.conn().map_err(Abort::Store)?;
        let place = Place {
            conn,
            frame: Frame::Own,
            shards,
            direct: self.inner.cluster.is_direct(),
        };
        match self.write_in(&place, items, known).await {
            Ok(written) => {
                session.release();
                Ok(written)
            }
            Err(abort) => {
                session.rollback().await;
                Err(abort)
            }
        }
    }

    /// Looks up, decides and writes, for the group commit and for atomic uploads alike.
    pub(crate) async fn write_in(
        &self,
        place: &Place<'_>,
        items: &mut [NewInvoice],
        known: &Known,
    ) -> Result<Written, Abort> {
        let (conn, frame) = (place.conn, place.frame);
        // Looked at once: what is not asked for now must still be known when the batch is planned.
        let customers = self.known_customers(items, &known.refs);
        let asked = lookup::questions(items, &known.refs, &customers, known.uncertain);
        let nothing_to_ask = asked.is_empty();
        // An upload that is one transaction takes no locks of numbers before its end (bulk.rs).
        let numbers = match frame {
            Frame::Own => {
                let invoices = items.iter().map(|new| &new.invoice);
                self.inner.cluster.number_locks(invoices)
            }
            Frame::Open => Locks::default(),
        };
        let opening = Opening::prepare(place, self.is_citus(), &numbers).await?;
        let existing = if nothing_to_ask {
            Existing::default()
        } else {
            let ((), existing) = tokio::try_join!(
                biased;
                opening.send(place),
                lookup::ask_all(place, items, asked),
            )?;
            existing
        };
        let plan = plan::plan(
            items,
            &known.refs,
            &existing,
            &known.cold,
            &customers,
            known.uncertain,
        );
        apply_customers(items, &known.refs, &plan);
        let profiles = if place.direct {
            None
        } else {
            Some(lookup::ask_profiles(conn, items).await?)
        };
        let batches = encode(items, place.shards, &plan, profiles.as_ref());
        // Nothing goes in, so nothing can collide.
        let keyed = if batches.is_empty() {
            BTreeMap::new()
        } else {
            keyed_years(items)
        };
        let open = async {
            if nothing_to_ask {
                opening.send(place).await
            } else {
                Ok(())
            }
        };
        let end = async {
            // What the archive says decides whether to commit.
            if keyed.is_empty() {
                frame.run(conn, "commit").await
            } else {
                Ok(())
            }
        };
        let now = write(place, &batches, &keyed, open, end).await?;
        if !keyed.is_empty() {
            same_archive(now, &known.cold)?;
            frame.run(conn, "commit").await?;
        }
        let learned = learned(items, &plan, existing);
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
        let now = Instant::now();
        // Those that may be named. The others are looked at each time, as is who a merged one means.
        for row in written.learned.into_iter().filter(|row| row.active) {
            if let Some(external_id) = &row.customer.external_id {
                self.inner
                    .customers_by_key
                    .insert((row.tenant, external_id.as_str().into()), (row.id, now));
            }
            self.inner
                .customers_by_id
                .insert((row.tenant, row.id), (Arc::new(row), now));
        }
        written.outcomes
    }

    /// The customers of the items that are known from earlier batches, and were seen lately.
    fn known_customers(
        &self,
        items: &[NewInvoice],
        refs: &[CustomerRef],
    ) -> Vec<Option<KnownCustomer>> {
        let (by_key, by_id) = (&self.inner.customers_by_key, &self.inner.customers_by_id);
        let known = |new: &NewInvoice, named: &CustomerRef| {
            let (tenant, invoice) = (new.invoice.tenant_id, &new.invoice);
            match named {
                CustomerRef::None => None,
                CustomerRef::ById => by_id
                    .get(&(tenant, invoice.customer_id?))
                    .filter(|(_, seen)| seen.elapsed() < CUSTOMER_TTL)
                    .map(|(row, _)| KnownCustomer::ById(row)),
                CustomerRef::ByExternalId => by_key
                    .get(&(
                        tenant,
                        invoice.customer.as_ref()?.external_id.as_deref()?.into(),
                    ))
                    .filter(|(_, seen)| seen.elapsed() < CUSTOMER_TTL)
                    .map(|(id, _)| KnownCustomer::ByExternalId(id)),
            }
        };
        items.iter().zip(refs).map(|(n, r)| known(n, r)).collect()
    }

    /// The keys of every published file that the batch's keyed items could collide with.
    pub(crate) async fn cold_files(
        &self,
        items: &[NewInvoice],
    ) -> Result<Vec<(ArchiveFile, Arc<FileKeys>)>, StoreError> {
        let mut files = Vec::new();
        for (tenant, year) in pairs(&keyed_years(items)) {
            files.extend(self.cold_files_of(tenant, year).await?);
        }
        Ok(files)
    }

    /// The keys of the files that the tenant is known to have in a year.
    pub(crate) async fn cold_files_of(
        &self,
        tenant: TenantId,
        year: i16,
    ) -> Result<Vec<(ArchiveFile, Arc<FileKeys>)>, StoreError> {
        let mut files = Vec::new();
        let known = self.inner.archived.get(&(tenant, year));
        for file in known.iter().flat_map(|files| files.iter()) {
            files.push((file.clone(), self.keys_of(file).await?));
        }
        Ok(files)
    }

    /// The keys of a published file.
    pub(crate) async fn keys_of(&self, file: &ArchiveFile) -> Result<Arc<FileKeys>, StoreError> {
        let cold = self.inner.cold.get().ok_or_else(|| StoreError::Cold {
            detail: "the catalog names archived files, but this process has no archive configured"
                .into(),
        })?;
        cold.load(file).await
    }

    pub(crate) fn remember_archived(&self, items: &[NewInvoice], files: Vec<ArchiveFile>) {
        for (tenant, year) in pairs(&keyed_years(items)) {
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

/// Years that a batch writes into: its invoices', and those of the customers that it may make.
fn years_of(items: &[NewInvoice]) -> BTreeSet<i16> {
    let years = items.iter().map(|n| id::year_of(n.invoice.id));
    years
        .chain(
            items
                .iter()
                .map(|n| Period::of_date(n.at.date_naive()).year),
        )
        .collect()
}

/// Years in which the batch brings keys that must be unique, by tenant.
fn keyed_years(items: &[NewInvoice]) -> BTreeMap<TenantId, BTreeSet<i16>> {
    let mut years: BTreeMap<TenantId, BTreeSet<i16>> = BTreeMap::new();
    for n in items {
        if n.client_id || n.invoice.external_id.is_some() || n.invoice.number.is_some() {
            let of_tenant = years.entry(n.invoice.tenant_id).or_default();
            of_tenant.insert(id::year_of(n.invoice.id));
            of_tenant.extend(Claim::of(&n.invoice).map(|claim| claim.year));
        }
    }
    years
}

/// The archive may have published a file since its keys were checked; its rows then are no longer hot, where a unique
/// index would have caught them. `now` was read after the rows went in, so that a handover either is seen here or
/// still holds the rows that the unique index waits for.
pub(crate) fn same_archive(
    now: Vec<ArchiveFile>,
    cold: &[(ArchiveFile, Arc<FileKeys>)],
) -> Result<(), Abort> {
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

pub(crate) fn pairs(
    years: &BTreeMap<TenantId, BTreeSet<i16>>,
) -> impl Iterator<Item = (TenantId, i16)> {
    years
        .iter()
        .flat_map(|(tenant, years)| years.iter().map(|year| (*tenant, *year)))
}

/// Customers to remember after the commit.
fn learned(items: &[NewInvoice], plan: &Plan, existing: Existing) -> Vec<CustomerRow> {
    let made = plan.new_customers.iter().filter_map(|(tenant, id, index)| {
        Some(CustomerRow {
            tenant: *tenant,
            id: *id,
            customer: items[*index].invoice.customer.clone()?,
            active: true,
            merged_into: None,
        })
    });
    made.chain(existing.customers).collect()
}

/// The rows to write, by shard. `profiles` has the versions of the tenants' profiles where the rows go by COPY, which
/// cannot read them by itself.
fn encode(
    items: &[NewInvoice],
    shards: &[Arc<Shard>],
    plan: &Plan,
    profiles: Option<&BTreeMap<TenantId, i64>>,
) -> Vec<(Arc<Shard>, Batch)> {
    let mut batches: BTreeMap<i64, (Arc<Shard>, Batch)> = BTreeMap::new();
    for shard in shards {
        let new = || (Arc::clone(shard), Batch::new(items.len() / 4 + 1));
        batches.entry(shard.id).or_insert_with(new);
    }
    for (_, id, index) in &plan.new_customers {
        let by = &items[*index];
        if let Some(customer) = &by.invoice.customer
            && let Some((_, batch)) = batches.get_mut(&shards[*index].id)
        {
            batch.push_customer(&NewCustomer {
                id: *id,
                customer,
                by,
            });
        }
    }
    for ((new, outcome), shard) in items.iter().zip(&plan.outcomes).zip(shards) {
        if outcome.is_none()
            && let Some((_, batch)) = batches.get_mut(&shard.id)
        {
            let profile = match profiles {
                None => Some(PROFILE_OF_NOW),
                Some(known) => known.get(&new.invoice.tenant_id).copied(),
            };
            batch.push(new, profile);
        }
    }
    batches.retain(|_, (_, batch)| batch.rows_of(Table::Invoices).rows() > 0);
    batches.into_values().collect()
}
