//! DDL that takes its locks or gives up, and tries again: whoever waits for an exclusive lock makes
//! everybody behind it wait (sql/README.md).

use std::time::{Duration, Instant};

use refinery::{AsyncMigrate, Migration};
use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

pub mod script;

use crate::error::said;
use crate::sql;

/// What bounds the wait of a transaction for its locks: whoever waits for an exclusive lock makes
/// everybody behind it wait.
pub const BOUNDED_WAIT: &str = sql::CLUSTER_PATIENCE;

/// A migration gives up after this long: somebody holds a lock who should be looked for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two attempts, so that those who wait behind them get by.
const PAUSE: Duration = Duration::from_millis(500);

/// The connection of migrations: each of its transactions is one attempt of several.
pub struct Patient<'a>(pub &'a mut Client);

impl Patient<'_> {
    /// One statement in a transaction of its own.
    pub async fn run(
        &mut self,
        statement: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let started = Instant::now();
        loop {
            match self.attempt(statement, params).await {
                Err(error) if is_in_the_way(&error) && started.elapsed() < PATIENCE => {
                    wait(&error).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(
        &mut self,
        statement: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let tx = self.0.transaction().await?;
        tx.batch_execute(sql::CLUSTER_PATIENCE).await?;
        let rows = tx.execute(statement, params).await?;
        tx.commit().await?;
        Ok(rows)
    }

    async fn attempt_all(&mut self, queries: &[&str]) -> Result<usize, Error> {
        let tx = self.0.transaction().await?;
        tx.batch_execute(sql::CLUSTER_PATIENCE).await?;
        tx.batch_execute(sql::CLUSTER_SEQUENTIAL).await?;
        for query in queries {
            for statement in script::statements(query) {
                tx.batch_execute(statement).await?;
            }
        }
        tx.commit().await?;
        Ok(queries.len())
    }
}

/// Whether somebody else's lock was the reason: the only one for which the same DDL is worth
/// another attempt.
fn is_in_the_way(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

/// Whether a migration failed because somebody held a lock all the time.
pub fn was_locked_out(error: &refinery::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<Error>().is_some_and(is_in_the_way) {
            return true;
        }
        source = error.source();
    }
    false
}

async fn wait(error: &Error) {
    tracing::info!(
        error = said(error),
        "a lock that DDL needs is taken; it is tried again"
    );
    tokio::time::sleep(PAUSE).await;
}

impl AsyncTransaction for Patient<'_> {
    type Error = Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Error> {
        let queries: Vec<&str> = queries.collect();
        let started = Instant::now();
        loop {
            match self.attempt_all(&queries).await {
                Err(error) if is_in_the_way(&error) && started.elapsed() < PATIENCE => {
                    wait(&error).await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl AsyncQuery<Vec<Migration>> for Patient<'_> {
    async fn query(&mut self, query: &str) -> Result<Vec<Migration>, Error> {
        AsyncQuery::query(self.0, query).await
    }
}

impl AsyncMigrate for Patient<'_> {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use tokio_postgres::NoTls;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn connect() -> Client {
        let url = sheaf_local::test_env().database_url;
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_migration_behind_a_long_transaction_keeps_no_writer_waiting() {
        let (mut migrating, reading, writing) = (connect().await, connect().await, connect().await);
        let table = format!("patience_{}", std::process::id());
        let make = format!("create table {table} (tenant_id integer, id integer)");
        writing.batch_execute(&make).await.unwrap();
        if sheaf_local::test_env().citus {
            // A single shard: whoever waits, waits for this one.
            let distribute = format!(
                "select create_distributed_table('{table}', 'tenant_id', shard_count => 1, \
                 colocate_with => 'none')"
            );
            writing.batch_execute(&distribute).await.unwrap();
        }
        let insert = format!("insert into {table} values (1, 1)");
        writing.batch_execute(&insert).await.unwrap();
        let read = format!("begin; select * from {table} where tenant_id = 1");
        reading.batch_execute(&read).await.unwrap();

        let alter = format!("alter table {table} add column more integer");
        let migration = tokio::spawn(async move {
            let ran = Patient(&mut migrating)
                .execute([alter.as_str()].into_iter())
                .await;
            ran.unwrap()
        });
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            let write = writing.batch_execute(&insert);
            // Behind a migration that waits they would wait for as long as the reader reads: until
            // the end of this test.
            let written = tokio::time::timeout(LONG, write).await;
            written
                .expect("writers wait for the migration, which waits for a reader")
                .unwrap();
        }
        assert!(!migration.is_finished(), "somebody reads");
        reading.batch_execute("commit").await.unwrap();
        let applied = tokio::time::timeout(LONG, migration).await;
        assert_eq!(applied.expect("it is tried again").unwrap(), 1);
        let more = format!("select more from {table} where tenant_id = 1");
        writing.query(&more, &[]).await.unwrap();
        writing
            .batch_execute(&format!("drop table {table}"))
            .await
            .unwrap();
    }
}
