//! Dropping the partitions of years that hold nothing any more.
//!
//! Writes go straight into shards (docs/decisions/0009-writes-into-shards.md), which neither LOCK
//! TABLE on a distributed table nor a look that somebody took before reaches. So each table is
//! detached first, which waits for its writers on every shard and shuts the others out; looked at
//! then, in the same transaction; and detached for good only if nothing is in it. What is detached
//! nobody can write into, so that dropping it, which takes longest, is in nobody's way.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use tokio_postgres::Client;

use sheaf_cluster::ddl::BOUNDED_WAIT;

use super::{PARTITION_LOCK, TABLES, worth_another};
use crate::schema::migrate;
use crate::{Store, StoreError, sql};
use sheaf_cluster::error::said;

/// A year that is in use now is left for the next run: each attempt may keep writers waiting.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

impl Store {
    /// Drops the partitions of those years that hold nothing anywhere. Returns the years dropped. A
    /// write that comes in between finds the partition gone, makes it anew and loses nothing.
    ///
    /// # Errors
    /// When the database fails; a partition that is busy is left for the next run.
    pub async fn drop_empty_years(&self, years: Range<i16>) -> Result<Vec<i16>, StoreError> {
        let mut client = migrate::connect(&self.inner.config.cluster.database_url).await?;
        let tables = client.query(sql::PARTITION_TABLES, &[]).await?;
        let candidates: BTreeSet<i16> = tables.iter().map(|row| row.get(0)).collect();
        let mut dropped = Vec::new();
        for year in candidates.into_iter().filter(|year| years.contains(year)) {
            // Nobody makes the year while it is dropped: what is dropped by its name must be what
            // was detached.
            let lock: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&PARTITION_LOCK];
            client.execute(sql::CLUSTER_ADVISORY_LOCK, &lock).await?;
            let outcome = drop_year(&mut client, year).await;
            client.execute(sql::CLUSTER_ADVISORY_UNLOCK, &lock).await?;
            match outcome {
                Ok(true) => dropped.push(year),
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    year,
                    error = said(&error),
                    "a year could not be dropped now"
                ),
            }
        }
        // Also where one has stayed: some of its tables may be gone.
        self.forget_years();
        Ok(dropped)
    }
}

/// A year's table and whether it is attached.
struct Part {
    of: &'static str,
    attached: bool,
}

impl Part {
    fn fill(&self, sql: &str, year: i16) -> String {
        sql.replace("{table}", self.of)
            .replace("{year}", &year.to_string())
    }
}

/// Drops a year if it is empty. Under the lock of all partition DDL.
async fn drop_year(client: &mut Client, year: i16) -> Result<bool, tokio_postgres::Error> {
    let mut parts = parts(client, year).await?;
    // A look first, which costs nobody anything. It decides nothing.
    for part in &parts {
        let empty = part.fill(sql::PARTITION_EMPTY, year);
        if !client.query_one(&empty, &[]).await?.get::<_, bool>(0) {
            if !part.attached {
                tracing::warn!(
                    year,
                    table = part.of,
                    "a detached year holds rows and stays"
                );
            }
            return Ok(false);
        }
    }
    let mut whole = true;
    for part in parts.iter_mut().filter(|part| part.attached) {
        // Writers come by the invoice: without its table nobody gets to the others.
        if !detach_patiently(client, part, year).await? {
            whole = false;
            break;
        }
        part.attached = false;
    }
    for part in parts.iter().filter(|part| !part.attached) {
        client
            .batch_execute(&part.fill(sql::PARTITION_DROP, year))
            .await?;
    }
    Ok(whole)
}

/// The year's tables, in the order in which writers write them.
async fn parts(client: &Client, year: i16) -> Result<Vec<Part>, tokio_postgres::Error> {
    let rows = client.query(sql::PARTITION_TABLES, &[]).await?;
    let of_year = rows.iter().filter(|row| row.get::<_, i16>(0) == year);
    let found: Vec<(&str, bool)> = of_year.map(|row| (row.get(1), row.get(2))).collect();
    let part = |of: &'static str| {
        let attached = found.iter().find(|(table, _)| *table == of)?.1;
        Some(Part { of, attached })
    };
    Ok(TABLES.into_iter().filter_map(part).collect())
}

/// [`detach`], tried again where somebody holds a lock.
async fn detach_patiently(
    client: &mut Client,
    part: &Part,
    year: i16,
) -> Result<bool, tokio_postgres::Error> {
    let mut attempt = 1;
    loop {
        match detach(client, part, year).await {
            Err(error) if attempt < ATTEMPTS && worth_another(&error) => {
                tracing::info!(
                    error = said(&error),
                    year,
                    attempt,
                    "detaching a year is tried again"
                );
                tokio::time::sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Detaches one table of the year if it is empty once nobody can write into it.
async fn detach(
    client: &mut Client,
    part: &Part,
    year: i16,
) -> Result<bool, tokio_postgres::Error> {
    let tx = client.transaction().await?;
    tx.batch_execute(BOUNDED_WAIT).await?;
    tx.batch_execute(&part.fill(sql::PARTITION_DETACH, year))
        .await?;
    let empty = part.fill(sql::PARTITION_EMPTY, year);
    if !tx.query_one(&empty, &[]).await?.get::<_, bool>(0) {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}
