//! Year partitions, made when the first invoice of a year arrives and dropped when the last one has
//! left (docs/decisions/0020-new-years.md).

use std::collections::BTreeSet;
use std::time::Duration;

use sheaf_model::bounds::MIN_YEAR;
use tokio_postgres::{Client, Row};

pub(crate) mod drop;

use sheaf_cluster::ddl::BOUNDED_WAIT;
use sheaf_cluster::error::{Failure, classify, said};

use crate::schema::migrate;
use crate::{Store, StoreError, sql};

/// Serialises partition DDL over all processes.
const PARTITION_LOCK: i64 = 0x5368_6561_6602;
/// The tables that have a partition a year, in the order in which writers write them.
const TABLES: [&str; 4] = ["invoices", "invoice_lines", "payments", "events"];
const ATTEMPTS: u32 = 20;
/// Documents of years before this one share a partition, unless the first migration was told
/// otherwise.
pub const FIRST_OWN_YEAR: i16 = 2010;

/// Creates the year's partitions of all partitioned tables unless they exist.
pub(crate) async fn create(client: &mut Client, year: i16) -> Result<(), StoreError> {
    patiently(client, &Make::Year(year)).await
}

/// Makes one partition of all years before `first` that have none yet, once and for all.
pub(crate) async fn share_early(client: &mut Client, first: i16) -> Result<(), StoreError> {
    patiently(client, &Make::Early(first)).await
}

/// DDL on the partitioned tables.
enum Make {
    Year(i16),
    Early(i16),
}

/// Retried: on Citus partition DDL can deadlock with writes, and nobody should wait long behind it.
async fn patiently(client: &mut Client, make: &Make) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        match run(make, client).await {
            Err(error) if attempt < ATTEMPTS && worth_another(&error) => {
                tracing::info!(
                    error = said(&error),
                    attempt,
                    "partition DDL is tried again"
                );
                tokio::time::sleep(Duration::from_millis(50 * u64::from(attempt))).await;
                attempt += 1;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Whether DDL that failed is worth another attempt.
fn worth_another(error: &tokio_postgres::Error) -> bool {
    matches!(
        classify(error),
        Failure::Retry | Failure::Locked | Failure::Unique
    )
}

async fn run(make: &Make, client: &mut Client) -> Result<(), tokio_postgres::Error> {
    let tx = client.transaction().await?;
    tx.execute(sql::CLUSTER_ADVISORY_XACT_LOCK, &[&PARTITION_LOCK])
        .await?;
    tx.batch_execute(BOUNDED_WAIT).await?;
    match make {
        Make::Year(year) => {
            tx.execute(sql::PARTITION_MAKE, &[year]).await?;
        }
        Make::Early(first) => {
            let found = tx.query(sql::PARTITION_LIST, &[]).await?;
            for table in TABLES {
                if let Some(early) = early(table, *first, &found) {
                    tx.batch_execute(&early).await?;
                }
            }
        }
    }
    tx.commit().await
}

/// The statement that makes a table's partition of early years; none where no year is left for it.
fn early(table: &str, first: i16, found: &[Row]) -> Option<String> {
    let of_table = found.iter().filter(|row| row.get::<_, &str>(0) == table);
    let taken: BTreeSet<i16> = of_table.map(|row| row.get(1)).collect();
    let left = (MIN_YEAR..first).filter(|year| !taken.contains(year));
    let years = left.map(|y| y.to_string()).collect::<Vec<_>>().join(", ");
    let statement = sql::PARTITION_EARLY
        .replace("{table}", table)
        .replace("{years}", &years);
    (!years.is_empty()).then_some(statement)
}

impl Store {
    /// Makes sure that the partitions of these years exist. Years are remembered, so that this is
    /// free afterwards.
    pub(crate) async fn ensure_years(&self, years: &BTreeSet<i16>) -> Result<(), StoreError> {
        let known = &self.inner.years;
        if years.iter().all(|year| known.has(*year)) {
            return Ok(());
        }
        self.look_for_years().await?;
        for year in years.iter().filter(|year| !known.has(**year)) {
            let _one_at_a_time = known.making.lock().await;
            // Whoever had its turn before may have made the same.
            if !known.has(*year) {
                let mut client = migrate::connect(&self.inner.config.cluster.database_url).await?;
                create(&mut client, *year).await?;
                known.learn(*year);
            }
        }
        Ok(())
    }

    /// The same for one year, before its document goes into a queue: whoever needs the year waits
    /// for it, and nobody else does.
    pub(crate) async fn ensure_year(&self, year: i16) -> Result<(), StoreError> {
        if self.inner.years.has(year) {
            return Ok(());
        }
        self.ensure_years(&BTreeSet::from([year])).await
    }

    /// Learns which years there are.
    async fn look_for_years(&self) -> Result<(), StoreError> {
        let conn = self.inner.cluster.coordinator().get().await?;
        let list = conn.prepare_cached(sql::PARTITION_LIST).await?;
        let rows = conn.query(&list, &[]).await?;
        for of_year in rows.chunk_by(|a, b| a.get::<_, i16>(1) == b.get::<_, i16>(1)) {
            if of_year.len() == TABLES.len() {
                self.inner.years.learn(of_year[0].get(1));
            }
        }
        Ok(())
    }

    /// Forgets which partitions exist: one that was believed to be there is gone.
    pub(crate) fn forget_years(&self) {
        self.inner.years.forget();
    }
}
