//! How the jobs over all tenants ended the last time (`job_runs`): whoever watches asks the API's
//! processes, since the jobs' own have exited.

pub(crate) mod figures;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

use crate::{Store, StoreError, sql};
use sheaf_cluster::node::lent::Lent;
use sheaf_cluster::rows::now;

/// A job that visits all tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// `sheaf tier run`, or tiering inside of `sheaf serve`.
    Tier,
    /// `sheaf archive compact`.
    Compact,
    /// `sheaf archive gc`.
    Gc,
    /// `sheaf archive verify`.
    Verify,
    /// `sheaf archive erase`.
    Erase,
}

impl Job {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Tier,
        Self::Compact,
        Self::Gc,
        Self::Verify,
        Self::Erase,
    ];

    /// As the table and the metrics call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tier => "tier",
            Self::Compact => "compact",
            Self::Gc => "gc",
            Self::Verify => "verify",
            Self::Erase => "erase",
        }
    }
}

/// The last run of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// Its name; one that this binary does not know is a newer one's.
    pub job: String,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How long it took.
    pub took: Duration,
    /// What failed, and what was found to be wrong.
    pub failed: u64,
    /// When a run ended in which nothing failed.
    pub succeeded_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Keeps how a run over all tenants ended, now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_job_run(
        &self,
        job: Job,
        took: Duration,
        failed: u64,
    ) -> Result<(), StoreError> {
        let whole = |count: u128| i64::try_from(count).unwrap_or(i64::MAX);
        let (name, at) = (job.as_str(), now());
        let (took, failed) = (whole(took.as_millis()), whole(failed.into()));
        let params: [&(dyn ToSql + Sync); 4] = [&name, &at, &took, &failed];
        let conn = self.inner.cluster.coordinator().get().await?;
        conn.execute(sql::JOB_RUN_RECORD, &params).await?;
        Ok(())
    }

    /// The last run of each job that has ever run over all tenants.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_runs(&self) -> Result<Vec<JobRun>, StoreError> {
        let read = |conn: Lent| async move {
            let list = conn.prepare_cached(sql::JOB_RUN_LIST).await?;
            Ok::<_, StoreError>(Some(conn.query(&list, &[]).await?))
        };
        let rows = self.inner.cluster.read_anywhere(read).await?;
        let whole = |count: i64| u64::try_from(count).unwrap_or(0);
        let run = |row: &tokio_postgres::Row| JobRun {
            job: row.get(0),
            ended_at: row.get(1),
            took: Duration::from_millis(whole(row.get(2))),
            failed: whole(row.get(3)),
            succeeded_at: row.get(4),
        };
        Ok(rows.iter().flatten().map(run).collect())
    }
}
