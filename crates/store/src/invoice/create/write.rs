//! Writing a batch of creates in one transaction on one node.
//!
//! The rows of a shard go straight into its tables, a statement a table, under Citus' own lock:
//! planning a statement on a distributed table costs more than the rows. All statements travel
//! together: a batch that has nothing to look up takes one round trip
//! (docs/decisions/0009-writes-into-shards.md).
//!
//! The answer of each create is its own: conflicts are found by looking before writing; what slips
//! in between makes the transaction fail, and the batch looks again (`sheaf_cluster::batch`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sheaf_model::{Period, TenantId, id};

use crate::batch::{Abort, Carried, Needs};
use crate::cold::file::ArchiveFile;
use crate::cold::file::ColdFiles;
use crate::cold::keys::are_of;
use crate::invoice::create::customer_ref::CustomerRef;
use crate::invoice::create::decide;
use crate::invoice::create::decide::{KnownCustomer, Outcome, Plan};
use crate::invoice::create::lookup;
use crate::invoice::create::lookup::{CustomerRow, Existing};
use crate::invoice::encode::{Batch, NewCustomer, PROFILE_OF_NOW};
use crate::invoice::new::NewInvoice;
use crate::invoice::number::{Claim, Locks, locks_of};
use crate::invoice::send::{Opening, write};
use crate::sql::statements::Table;
use crate::{Store, StoreError};
use sheaf_cluster::batch::Work;
use sheaf_cluster::batch::{Frame, Place};
use sheaf_cluster::routing::shard::Shard;

/// For how long a customer that was seen may still be named after another process has made it
/// inactive or merged it.
const CUSTOMER_TTL: Duration = Duration::from_secs(5);

/// What one attempt decided and wrote.
pub(crate) struct Written {
    pub(crate) outcomes: Vec<Outcome>,
    learned: Vec<CustomerRow>,
}

/// What a batch is checked against.
pub struct Known {
    pub(crate) refs: Vec<CustomerRef>,
    /// Keys of the archived files that the batch's keys could meet.
    pub(crate) cold: ColdFiles,
    /// Of each item, whether an earlier attempt may have committed it.
    pub(crate) uncertain: Vec<bool>,
}

impl Work for NewInvoice {
    type Context = Store;
    type Outcome = Outcome;
    type Known = Known;
    const KIND: &'static str = "creates";
    const SIZES: &'static str = "sheaf_flush_invoices";
    const MOST: usize = 256;
    const HEAVIEST: usize = 20_000;
    const ATTEMPTS: u32 = 6;

    fn tenant(&self) -> TenantId {
        self.invoice.tenant_id
    }

    fn weight(&self) -> usize {
        self.invoice.lines.len()
    }

    fn may_be_sent_again(&self) -> bool {
        self.idem.is_some() || self.id_from.may_exist() || self.invoice.external_id.is_some()
    }

    fn share_of(&self, needs: &Needs) -> Option<Needs> {
        let years = keyed_years_of(self).filter(|year| needs.years.contains(year));
        let share = Needs {
            years: years.collect(),
            ..Needs::default()
        };
        share.any()
    }

    async fn prepare(store: &Store, items: &[Self], _: &[Carried]) -> Result<(), StoreError> {
        store.ensure_years(&years_of(items)).await
    }

    fn known(store: &Store, items: &[Self], carried: &[Carried]) -> Result<Known, Abort> {
        let mut known = Known {
            refs: carried.iter().map(|carried| carried.own.customer).collect(),
            cold: ColdFiles::new(),
            uncertain: carried.iter().map(|carried| carried.uncertain).collect(),
        };
        let mut keys: BTreeMap<(TenantId, i16), Vec<_>> = BTreeMap::new();
        for (new, carried) in items.iter().zip(carried) {
            for year in keyed_years_of(new) {
                let of_year = keys.entry((new.invoice.tenant_id, year)).or_default();
                of_year.extend(carried.own.keys.iter().cloned());
            }
        }
        let mut needs: BTreeMap<TenantId, Needs> = BTreeMap::new();
        for ((tenant, year), carried) in keys {
            match store.keys_at_hand(tenant, year, &carried) {
                Some(files) => known.cold.extend(files),
                None => {
                    needs.entry(tenant).or_default().years.insert(year);
                }
            }
        }
        if needs.is_empty() {
            Ok(known)
        } else {
            Err(Abort::Needs(needs))
        }
    }

    async fn attempt(
        store: &Store,
        place: &Place<'_>,
        items: &mut [Self],
        known: &Known,
    ) -> Result<Vec<Outcome>, Abort> {
        let written = store.write_in(place, items, known).await?;
        Ok(store.learn(written))
    }
}

impl Store {
    /// Looks up, decides and writes, for the group commit and for atomic uploads alike.
    pub(crate) async fn write_in(
        &self,
        place: &Place<'_>,
        items: &mut [NewInvoice],
        known: &Known,
    ) -> Result<Written, Abort> {
        // Looked at once: what is not asked for now must still be known when the batch is planned.
        let customers = self.known_customers(items, &known.refs);
        let asked = lookup::questions(items, &known.refs, &customers, &known.uncertain);
        let nothing_to_ask = asked.is_empty();
        // An upload that is one transaction takes no locks of numbers before its end
        // (invoice/upload/mod.rs).
        let numbers = match place.frame {
            Frame::Own => {
                let invoices = items.iter().map(|new| &new.invoice);
                locks_of(&self.inner.cluster, invoices)
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
        let plan = decide::plan(
            items,
            &known.refs,
            &existing,
            &known.cold,
            &customers,
            &known.uncertain,
        );
        apply_customers(items, &known.refs, &plan);
        let profiles = if place.direct {
            None
        } else {
            Some(lookup::ask_profiles(place.conn, items).await?)
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
                place.commit().await
            } else {
                Ok(())
            }
        };
        let now = write(place, &batches, &keyed, open, end).await?;
        if !keyed.is_empty() {
            same_archive(now, &keyed, &known.cold)?;
            place.commit().await?;
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
        // Those that may be named. The others are looked at each time, as is who a merged one
        // means.
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

/// The years in which an item brings keys that must be unique: its id's, and its year of issue
/// where that is another.
fn keyed_years_of(new: &NewInvoice) -> impl Iterator<Item = i16> {
    let invoice = &new.invoice;
    let is_keyed =
        new.id_from.may_exist() || invoice.external_id.is_some() || invoice.number.is_some();
    let of_id = is_keyed.then(|| id::year_of(invoice.id));
    let of_issue = Claim::of(invoice).map(|claim| claim.year);
    of_id.into_iter().chain(of_issue)
}

/// Years in which the batch brings keys that must be unique, by tenant.
pub(crate) fn keyed_years(items: &[NewInvoice]) -> BTreeMap<TenantId, BTreeSet<i16>> {
    let mut years: BTreeMap<TenantId, BTreeSet<i16>> = BTreeMap::new();
    for new in items {
        for year in keyed_years_of(new) {
            let of_tenant = years.entry(new.invoice.tenant_id).or_default();
            of_tenant.insert(year);
        }
    }
    years
}

/// The archive may have published a file since its keys were checked; its rows then are no longer
/// hot, where a unique index would have caught them. `now` was read after the rows went in, so that
/// a handover either is seen here or still holds the rows that the unique index waits for.
pub(crate) fn same_archive(
    now: Vec<ArchiveFile>,
    keyed: &BTreeMap<TenantId, BTreeSet<i16>>,
    cold: &ColdFiles,
) -> Result<(), Abort> {
    if are_of(cold, &now) {
        return Ok(());
    }
    let mut of_year: BTreeMap<(TenantId, i16), Vec<ArchiveFile>> =
        pairs(keyed).map(|year| (year, Vec::new())).collect();
    for file in now {
        let year = (file.tenant_id, file.period.year);
        of_year.entry(year).or_default().push(file);
    }
    Err(Abort::Stale(of_year.into_iter().collect()))
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

/// The rows to write, by shard. `profiles` has the versions of the tenants' profiles where the rows
/// go by COPY, which cannot read them by itself.
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
