//! Year partitions, made when the first invoice of a year arrives and dropped when the last one has left.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Failure, classify};
use crate::{Store, StoreError, migrate, sql};

/// Serialises partition DDL over all processes.
const PARTITION_LOCK: i64 = 0x5368_6561_6602;
/// DDL waits this long for its lock, so that writers queue behind it no longer.
const LOCK_TIMEOUT_MS: u32 = 2_000;
const ATTEMPTS: u32 = 20;

/// Creates the year's partitions of all partitioned tables unless they exist. Retried: on Citus partition DDL can
/// deadlock with writes.
pub(crate) async fn create(client: &mut Client, year: i16) -> Result<(), StoreError> {
    for attempt in 1.. {
        match run(year, client).await {
            Err(e) if busy(&e, attempt).await => {}
            result => return Ok(result?),
        }
    }
    Ok(())
}

/// Whether DDL that failed is worth another attempt; waits before it.
async fn busy(error: &tokio_postgres::Error, attempt: u32) -> bool {
    let again = attempt < ATTEMPTS
        && matches!(
            classify(error),
            Failure::Retry | Failure::Locked | Failure::Unique
        );
    if again {
        tracing::info!(%error, attempt, "partition DDL is tried again");
        tokio::time::sleep(Duration::from_millis(50 * u64::from(attempt))).await;
    }
    again
}

async fn run(year: i16, client: &mut Client) -> Result<(), tokio_postgres::Error> {
    let tx = client.transaction().await?;
    tx.execute(sql::CLUSTER_ADVISORY_XACT_LOCK, &[&PARTITION_LOCK])
        .await?;
    tx.batch_execute(&format!("set local lock_timeout = {LOCK_TIMEOUT_MS}"))
        .await?;
    tx.execute(sql::PARTITION_MAKE, &[&year]).await?;
    tx.commit().await
}

/// The function by which the API makes years without owning the tables.
pub(crate) fn function() -> String {
    sql::PARTITION_FUNCTION.replace("{ddl}", sql::PARTITION_CREATE)
}

impl Store {
    /// Makes sure that the partitions of these years exist. Years are remembered, so that this is free afterwards.
    pub(crate) async fn ensure_years(&self, years: &BTreeSet<i16>) -> Result<(), StoreError> {
        let missing: Vec<i16> = {
            let known = self.inner.years.lock().await;
            years
                .iter()
                .copied()
                .filter(|y| !known.contains(y))
                .collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        // One DDL session at a time in this process as well: holding the lock keeps later flushes from piling up.
        let mut known = self.inner.years.lock().await;
        if known.is_empty() {
            let conn = self.inner.cluster.coordinator().get().await?;
            known.extend(
                conn.query(sql::PARTITION_LIST, &[])
                    .await?
                    .iter()
                    .map(|r| r.get::<_, i16>(0)),
            );
        }
        for year in missing {
            if !known.contains(&year) {
                let mut client = migrate::connect(&self.inner.config.database_url).await?;
                create(&mut client, year).await?;
                known.insert(year);
            }
        }
        Ok(())
    }

    /// Forgets which partitions exist: one that was believed to be there is gone.
    pub(crate) async fn forget_years(&self) {
        self.inner.years.lock().await.clear();
    }

    /// Drops the partitions of years before `before_year` that hold nothing anywhere. Returns the years dropped.
    ///
    /// Emptiness is checked under the lock that the drop needs, so a write that comes in between finds the partition
    /// gone, makes it anew and loses nothing.
    ///
    /// # Errors
    /// When the database fails; a partition that is busy is left for the next run.
    pub async fn drop_empty_years(&self, before_year: i16) -> Result<Vec<i16>, StoreError> {
        let mut client = migrate::connect(&self.inner.config.database_url).await?;
        let years: Vec<i16> = client
            .query(sql::PARTITION_LIST, &[])
            .await?
            .iter()
            .map(|r| r.get(0))
            .collect();
        let mut dropped = Vec::new();
        for year in years.into_iter().filter(|y| *y < before_year) {
            let empty = sql::PARTITION_EMPTY.replace("{year}", &year.to_string());
            if !client.query_one(&empty, &[]).await?.get::<_, bool>(0) {
                continue;
            }
            for attempt in 1.. {
                match drop_year(&mut client, year).await {
                    Ok(true) => dropped.push(year),
                    Ok(false) => {}
                    Err(error) if busy(&error, attempt).await => continue,
                    Err(error) => {
                        tracing::warn!(year, %error, "an empty year could not be dropped now")
                    }
                }
                break;
            }
        }
        if !dropped.is_empty() {
            self.forget_years().await;
        }
        Ok(dropped)
    }
}

async fn drop_year(client: &mut Client, year: i16) -> Result<bool, tokio_postgres::Error> {
    let fill = |sql: &str| sql.replace("{year}", &year.to_string());
    let tx = client.transaction().await?;
    tx.execute(sql::CLUSTER_ADVISORY_XACT_LOCK, &[&PARTITION_LOCK])
        .await?;
    tx.batch_execute(&format!("set local lock_timeout = {LOCK_TIMEOUT_MS}"))
        .await?;
    tx.batch_execute(&fill(sql::PARTITION_LOCK)).await?;
    if !tx
        .query_one(&fill(sql::PARTITION_EMPTY), &[])
        .await?
        .get::<_, bool>(0)
    {
        return Ok(false);
    }
    tx.batch_execute(&fill(sql::PARTITION_DROP)).await?;
    tx.commit().await?;
    Ok(true)
}
