//! In which years a document's number is taken, and who has to wait for whom to find that out.
//!
//! A number is unique in the year of the document's id, by the index on invoices, and in its year
//! of issue. Where these differ, the document has a row in `number_claims`. No index knows of both:
//! so whoever writes such a row has the lock of the shard's numbers alone from before it looks
//! until its commit, and everybody else who brings numbers shares it
//! (docs/decisions/0007-keys-across-the-tiers.md).

pub(crate) mod enter;
pub(crate) mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate};
use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use sheaf_model::{Code, Invoice, TenantId, id};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};
use uuid::Uuid;

use crate::batch::moving;
use crate::cold::catalog;
use crate::cold::file::ArchiveFile;
use crate::cold::file::ColdFiles;
use crate::invoice::new::NewInvoice;
use crate::sql::statements::{Find, OnShard as _};
use crate::{Store, StoreError, sql};
use sheaf_cluster::routing::Cluster;
use sheaf_cluster::routing::hash;
use sheaf_cluster::routing::shard::Shard;

/// The locks of shards' numbers are this and the shard's own number.
const LOCKS: i64 = 0x4e75_6d62 << 32;
/// Parts of the hash space that have a lock where there are no shards.
const PART_BITS: u32 = 5;

/// The year of a day of issue: 1970 to 2199.
pub(crate) fn year_of(day: NaiveDate) -> i16 {
    i16::try_from(day.year()).unwrap_or(i16::MAX)
}

/// A number in a year of issue that is not the year of its document's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim<'a> {
    pub(crate) number: &'a str,
    pub(crate) year: i16,
}

impl<'a> Claim<'a> {
    /// What the invoice has to claim, if anything.
    pub(crate) fn of(invoice: &'a Invoice) -> Option<Self> {
        let number = invoice.number.as_deref()?;
        let year = year_of(invoice.issue_date?);
        (year != id::year_of(invoice.id)).then_some(Self { number, year })
    }
}

/// The years in which the invoice's number is taken: of its id, and of its issue.
pub(crate) fn years(invoice: &Invoice) -> impl Iterator<Item = i16> {
    let claimed = Claim::of(invoice).map(|claim| claim.year);
    std::iter::once(id::year_of(invoice.id)).chain(claimed)
}

/// Whether the edited invoice has a number, or a year for it, that it had not before.
pub(crate) fn differ(new: &Invoice, old: &Invoice) -> bool {
    new.number.is_some() && (new.number != old.number || Claim::of(new) != Claim::of(old))
}

/// Which locks of numbers a transaction takes, and which of them alone. Taken together and in one
/// order, before anything is inserted: two transactions never wait for one another.
#[derive(Debug, Default)]
pub(crate) struct Locks(BTreeMap<i64, bool>);

impl Locks {
    pub(crate) fn add(&mut self, key: i64, alone: bool) {
        *self.0.entry(key).or_default() |= alone;
    }

    /// The statement that takes them; none where there is nothing to take.
    pub(crate) async fn prepare(&self, conn: &Object) -> Result<Option<LockNumbers>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let statement = conn.prepare_cached(sql::CLUSTER_LOCK_NUMBERS).await?;
        let (keys, alone) = self.0.iter().unzip();
        Ok(Some(LockNumbers {
            statement,
            keys,
            alone,
        }))
    }

    /// Takes them.
    pub(crate) async fn take(&self, conn: &Object) -> Result<(), Error> {
        match self.prepare(conn).await? {
            Some(lock) => lock.send(conn).await,
            None => Ok(()),
        }
    }
}

/// Locks that are ready to be taken.
pub(crate) struct LockNumbers {
    statement: Statement,
    keys: Vec<i64>,
    alone: Vec<bool>,
}

impl LockNumbers {
    pub(crate) async fn send(&self, conn: &Object) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&self.keys, &self.alone];
        conn.query(&self.statement, &params).await.map(drop)
    }
}

/// The lock of the numbers of the tenant's shard. All writers agree on it: each holds the shard
/// that it names where it is; without shards, or where all go through the coordinator, it follows
/// from the tenant alone.
pub(crate) fn lock_of(cluster: &Cluster, tenant: TenantId) -> i64 {
    let own = if cluster.citus && cluster.is_direct() {
        cluster.shard_of(tenant).id
    } else {
        let hash = hash::uuid_hash(tenant.0).cast_unsigned();
        i64::from(hash >> (u32::BITS - PART_BITS))
    };
    LOCKS + (own & i64::from(u32::MAX))
}

/// The locks of what these invoices bring.
pub(crate) fn locks_of<'a>(
    cluster: &Cluster,
    invoices: impl Iterator<Item = &'a Invoice>,
) -> Locks {
    let mut locks = Locks::default();
    for invoice in invoices.filter(|invoice| invoice.number.is_some()) {
        let key = lock_of(cluster, invoice.tenant_id);
        locks.add(key, Claim::of(invoice).is_some());
    }
    locks
}

/// Looks which of `numbers` are taken in a year, by ids or by claims: rows of tenant, invoice, year
/// and number.
pub(crate) async fn find(
    conn: &Object,
    shard: Option<&Shard>,
    tenant: Uuid,
    year: i16,
    numbers: &[impl ToSql + Sync],
) -> Result<Vec<Row>, Error> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let params: [&(dyn ToSql + Sync); 3] = [&tenant, &year, &numbers];
    let one = |find: Find| async move {
        let statement = conn.prepare_cached(find.on(shard)).await?;
        conn.query(&statement, &params).await
    };
    // One statement knows both, but where Citus plans it: that is quick for single tables only.
    let finds = Find::of_numbers(shard);
    Ok(try_join_all(finds.iter().map(|find| one(*find)))
        .await?
        .concat())
}

/// The tenants that a long transaction has written numbers of, and the years in which any of them
/// is claimed.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    tenants: BTreeMap<TenantId, BTreeSet<i16>>,
    /// The archived files of these years, as they were when the first claim was checked against
    /// them.
    files: BTreeMap<(TenantId, i16), BTreeSet<String>>,
}

impl Numbered {
    /// Adds what was written; `cold` are the files that it was checked against.
    pub(crate) fn add(&mut self, chunk: &[NewInvoice], cold: &ColdFiles) {
        let invoices = chunk.iter().map(|new| &new.invoice);
        for invoice in invoices.filter(|invoice| invoice.number.is_some()) {
            let (tenant, years) = (
                invoice.tenant_id,
                self.tenants.entry(invoice.tenant_id).or_default(),
            );
            let Some(claim) = Claim::of(invoice) else {
                continue;
            };
            years.insert(claim.year);
            self.files.entry((tenant, claim.year)).or_insert_with(|| {
                let of_year =
                    |file: &ArchiveFile| file.tenant_id == tenant && file.period.year == claim.year;
                let files = cold.iter().map(|(file, _)| file);
                let files = files.filter(|file| of_year(file));
                files.map(|file| file.object_key.clone()).collect()
            });
        }
    }

    /// A claim was checked against hot rows and against files, chunk by chunk. A document of its
    /// number that came in hot since, and has left for the archive, is in neither.
    async fn same_files(&self, conn: &Object) -> Result<(), StoreError> {
        for (tenant, years) in &self.tenants {
            if years.is_empty() {
                continue;
            }
            let years: Vec<i16> = years.iter().copied().collect();
            let statement = conn.prepare_cached(sql::ARCHIVE_FILE_OF_YEARS).await?;
            let mut now: BTreeMap<i16, BTreeSet<String>> = BTreeMap::new();
            for row in conn.query(&statement, &[&tenant.0, &years]).await? {
                let file = catalog::from_row(&row)?;
                now.entry(file.period.year)
                    .or_default()
                    .insert(file.object_key);
            }
            for year in years {
                let then = self.files.get(&(*tenant, year));
                if then != Some(&now.remove(&year).unwrap_or_default()) {
                    return Err(moving());
                }
            }
        }
        Ok(())
    }
}

/// A number that two documents have in one year.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Collision {
    pub(crate) number: String,
    pub(crate) year: i16,
    /// Whose year of issue it is.
    pub(crate) claimed_by: Uuid,
    /// The year of whose id it is.
    pub(crate) other: Uuid,
}

/// The tenant's collisions within the hot tier, as this session sees them. `sql` is planned for its
/// parameters.
pub(crate) async fn collisions(
    conn: &Object,
    sql: &str,
    tenant: TenantId,
) -> Result<BTreeSet<Collision>, Error> {
    let rows = conn.query(sql, &[&tenant.0]).await?;
    let collision = |row: &Row| Collision {
        number: row.get(0),
        year: row.get(1),
        claimed_by: row.get(2),
        other: row.get(3),
    };
    Ok(rows.iter().map(collision).collect())
}

impl Store {
    /// The end of a transaction that took no locks when it looked, since it would have had them for
    /// too long: takes them, and looks whether a claim, its own or one that came in meanwhile,
    /// meets a number of another document. Nothing but the commit may follow.
    pub(crate) async fn settle_numbers(
        &self,
        conn: &Object,
        direct: bool,
        numbered: &Numbered,
    ) -> Result<(), StoreError> {
        if numbered.tenants.is_empty() {
            return Ok(());
        }
        let cluster = &self.inner.cluster;
        if direct || !cluster.is_direct() {
            let mut locks = Locks::default();
            for (tenant, claimed) in &numbered.tenants {
                locks.add(lock_of(cluster, *tenant), !claimed.is_empty());
            }
            locks.take(conn).await?;
        } else {
            self.lock_on_owners(conn, numbered).await?;
        }
        conn.batch_execute("set local plan_cache_mode = force_custom_plan")
            .await?;
        for tenant in numbered.tenants.keys() {
            let shard = cluster.shard_of(*tenant);
            let sql = if direct {
                shard.collisions()
            } else {
                sql::NUMBER_CLAIM_COLLISIONS
            };
            let seen = collisions(conn, sql, *tenant).await?;
            if seen.is_empty() {
                continue;
            }
            // What others see as well has nothing to do with what is not committed yet.
            let other = cluster.owner(*tenant).get().await?;
            let before = collisions(&other, sql::NUMBER_CLAIM_COLLISIONS, *tenant).await?;
            if let Some(new) = seen.difference(&before).next() {
                return Err(StoreError::Conflict {
                    code: Code::DuplicateNumber,
                    detail: format!(
                        "number {}: taken in {} by another document (one of {} and {}), while the \
                         upload was written",
                        new.number, new.year, new.claimed_by, new.other
                    ),
                });
            }
        }
        // After the hot rows: what leaves them is seen here.
        numbered.same_files(conn).await
    }

    /// On a session of the coordinator, which has written through Citus.
    async fn lock_on_owners(&self, conn: &Object, numbered: &Numbered) -> Result<(), StoreError> {
        let cluster = &self.inner.cluster;
        // The shards that were written into stay where they are now, and what they are.
        cluster.refresh_placement().await?;
        let mut locks: BTreeMap<i64, (TenantId, bool)> = BTreeMap::new();
        for (tenant, claimed) in &numbered.tenants {
            let lock = locks.entry(lock_of(cluster, *tenant));
            lock.or_insert((*tenant, false)).1 |= !claimed.is_empty();
        }
        let statement = conn.prepare_cached(sql::NUMBER_CLAIM_LOCK).await?;
        for (key, (tenant, alone)) in locks {
            conn.query(&statement, &[&tenant.0, &key, &alone]).await?;
        }
        Ok(())
    }
}
