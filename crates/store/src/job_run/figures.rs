//! Figures of the platform, gathered beside the requests: how the archive stands, what waits for
//! tiering, which erasures are open, how the jobs ended. One task of the process gathers them, at
//! most once a minute and within bounds.
//!
//! Each tenant is asked by itself, by its keys, and a round goes on where the one before stopped:
//! of many tenants, the figures are as old as the last walk over all of them. What waits for
//! tiering is a walk of its own (`settled`), which may take long.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use deadpool_postgres::Object;
use metrics::gauge;
use sheaf_model::TenantId;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::cluster::supervise::supervised;
use crate::cluster::transaction::{Session, in_order};
use crate::job_run::{Job, JobRun};
use crate::types::FileState;
use crate::{Store, StoreError, sql};

pub(crate) mod settled;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// A round begins no tenant after this.
const ROUND: Duration = Duration::from_secs(10);
/// Tenants of one round, at most, and those that are read at once.
const MOST: usize = 2_000;
const PAGE: usize = 500;
/// For one tenant, here and on its node.
const PATIENCE: Duration = Duration::from_secs(3);
const BEGIN: &str = "begin read only; set local statement_timeout = '2s'; set local max_parallel_workers_per_gather = 0";

/// States of files, as they are counted.
const STATES: [FileState; 4] = [
    FileState::Staged,
    FileState::Published,
    FileState::Superseded,
    FileState::Garbage,
];

/// Files of one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Files {
    count: i64,
    bytes: i64,
    /// Since when the oldest of them is in it.
    since: Option<DateTime<Utc>>,
}

/// What one tenant, or all of them together, come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    tenants: u32,
    /// Of these, those whose node did not answer.
    unread: u32,
    files: [Files; STATES.len()],
    open_erasures: i64,
    /// Since when the oldest of them is asked for.
    erasing_since: Option<DateTime<Utc>>,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.tenants += other.tenants;
        self.unread += other.unread;
        for (all, one) in self.files.iter_mut().zip(other.files) {
            all.count += one.count;
            all.bytes += one.bytes;
            all.since = earliest(all.since, one.since);
        }
        self.open_erasures += other.open_erasures;
        self.erasing_since = earliest(self.erasing_since, other.erasing_since);
    }
}

fn earliest<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// A walk over all tenants, some of them a round.
#[derive(Default)]
struct Walk {
    after: Option<Uuid>,
    sum: Figures,
}

impl Store {
    /// Keeps the metrics of pools, nodes, jobs and the archive up to date, for as long as the store
    /// lives. Once a process: these metrics have no label that would tell two stores apart.
    /// Invoices are due for tiering so many whole months after their date.
    pub fn watch_platform(&self, older_than_months: u32) {
        self.watch_nodes();
        let weak = self.downgrade();
        let watch = move || {
            let weak = weak.clone();
            async move {
                // Of the last walk over what waits for tiering: tenants that it could not read.
                let unread = AtomicU32::new(0);
                let figures = async {
                    let mut walk = Walk::default();
                    while let Some(store) = weak.upgrade() {
                        note(store.tell_figures(&mut walk, &unread).await);
                        drop(store);
                        tokio::time::sleep(EVERY).await;
                    }
                };
                let settled = async {
                    let mut walk = settled::Walk::default();
                    while let Some(store) = weak.upgrade() {
                        note(
                            store
                                .tell_settled(&mut walk, older_than_months, &unread)
                                .await,
                        );
                        drop(store);
                        tokio::time::sleep(EVERY).await;
                    }
                };
                tokio::join!(figures, settled);
            }
        };
        tokio::spawn(supervised("figures", watch));
    }

    async fn tell_figures(&self, walk: &mut Walk, unread: &AtomicU32) -> Result<(), StoreError> {
        // Whoever cannot read the one may still read the other.
        match self.job_runs().await {
            Ok(runs) => tell_jobs(&runs),
            Err(error) => tracing::warn!(%error, "how the jobs ended was not read"),
        }
        if let Some(mut figures) = self.walk(walk).await? {
            // Most of them are the same.
            figures.unread = figures.unread.max(unread.load(Ordering::Relaxed));
            tell(&figures, Utc::now());
        }
        Ok(())
    }

    /// One round; the figures of all tenants, where it came to the last of them.
    async fn walk(&self, walk: &mut Walk) -> Result<Option<Figures>, StoreError> {
        let ends = Instant::now() + ROUND;
        let mut left = MOST;
        while left > 0 {
            let page = self.all_tenants_page(walk.after, PAGE.min(left)).await?;
            if page.is_empty() {
                walk.after = None;
                return Ok(Some(std::mem::take(&mut walk.sum)));
            }
            left -= page.len();
            for tenant in page {
                if Instant::now() >= ends {
                    return Ok(None);
                }
                walk.sum.add(&self.figures_or_unread(tenant.id).await);
                walk.after = Some(tenant.id.0);
            }
        }
        Ok(None)
    }

    async fn figures_or_unread(&self, tenant: TenantId) -> Figures {
        let unread = Figures {
            tenants: 1,
            unread: 1,
            ..Figures::default()
        };
        in_time(tenant, self.figures(tenant))
            .await
            .unwrap_or(unread)
    }

    async fn figures(&self, tenant: TenantId) -> Result<Figures, StoreError> {
        let session = Session::open(&self.inner.cluster.owner(tenant)).await?;
        let conn = session.conn()?;
        let figures = read(conn, tenant).await?;
        conn.batch_execute("commit").await?;
        session.release();
        Ok(figures)
    }
}

fn note(round: Result<(), StoreError>) {
    if let Err(error) = round {
        tracing::warn!(%error, "the platform's figures were not read");
    }
}

/// What is read of one tenant; none where its node does not answer in time.
async fn in_time<T>(
    tenant: TenantId,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    let detail = match timeout(PATIENCE, read).await {
        Ok(Ok(read)) => return Some(read),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the node did not answer in time".to_owned(),
    };
    tracing::debug!(%tenant, detail, "a tenant's figures were not read");
    None
}

async fn read(conn: &Object, tenant: TenantId) -> Result<Figures, StoreError> {
    let (count, open) = (
        conn.prepare_cached(sql::ARCHIVE_FILE_COUNT).await?,
        conn.prepare_cached(sql::ERASURE_COUNT_OPEN).await?,
    );
    conn.batch_execute(BEGIN).await?;
    let of_tenant = [&tenant.0 as _];
    let asked = [
        conn.query(&count, &of_tenant),
        conn.query(&open, &of_tenant),
    ];
    let answers = in_order(asked).await?;
    let mut figures = Figures {
        tenants: 1,
        ..Figures::default()
    };
    let [files, erasures] = &answers[..] else {
        return Err(StoreError::Bug("two statements, other answers".into()));
    };
    for row in files {
        let state = row.get::<_, &str>(0).parse()?;
        let place = STATES.iter().position(|known| *known == state);
        if let Some(of_state) = place.and_then(|at| figures.files.get_mut(at)) {
            *of_state = Files {
                count: row.get(1),
                bytes: row.get(2),
                since: row.get(3),
            };
        }
    }
    if let Some(row) = erasures.first() {
        figures.open_erasures = row.get(0);
        figures.erasing_since = row.get(1);
    }
    Ok(figures)
}

/// Metrics are floating-point numbers; those of files, bytes and seconds are exact in them for
/// longer than anybody counts.
#[allow(clippy::cast_precision_loss)]
fn number(count: i64) -> f64 {
    count as f64
}

fn midnight(day: NaiveDate) -> f64 {
    number(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp())
}

fn tell(figures: &Figures, now: DateTime<Utc>) {
    let age = |since: Option<DateTime<Utc>>| {
        number(since.map_or(0, |since| (now - since).num_seconds().max(0)))
    };
    for (state, files) in STATES.iter().zip(figures.files) {
        let state = state.as_str();
        gauge!("sheaf_archive_files", "state" => state).set(number(files.count));
        gauge!("sheaf_archive_bytes", "state" => state).set(number(files.bytes));
        // A published file stays, and one that is garbage is of no age that matters.
        if matches!(state, "staged" | "superseded") {
            gauge!("sheaf_archive_oldest_age_seconds", "state" => state).set(age(files.since));
        }
    }
    gauge!("sheaf_erasures_open").set(number(figures.open_erasures));
    gauge!("sheaf_erasures_oldest_age_seconds").set(age(figures.erasing_since));
    gauge!("sheaf_tenants").set(figures.tenants);
    gauge!("sheaf_figures_unread_tenants").set(figures.unread);
    gauge!("sheaf_figures_timestamp_seconds").set(number(now.timestamp()));
}

/// Jobs that never ran, or never succeeded, are told by zeros: an alert has to see them.
fn tell_jobs(runs: &[JobRun]) {
    for job in Job::ALL {
        let job = job.as_str();
        let run = runs.iter().find(|run| run.job == job);
        let at = |at: Option<DateTime<Utc>>| number(at.map_or(0, |at| at.timestamp()));
        gauge!("sheaf_job_last_success_timestamp_seconds", "name" => job)
            .set(at(run.and_then(|run| run.succeeded_at)));
        gauge!("sheaf_job_last_end_timestamp_seconds", "name" => job)
            .set(at(run.map(|run| run.ended_at)));
        gauge!("sheaf_job_last_failures", "name" => job).set(number(
            run.map_or(0, |run| i64::try_from(run.failed).unwrap_or(i64::MAX)),
        ));
        gauge!("sheaf_job_last_duration_seconds", "name" => job)
            .set(run.map_or(0.0, |run| run.took.as_secs_f64()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tenants_add_up_and_the_oldest_counts() {
        let one = |count, since: i64| {
            let mut figures = Figures {
                tenants: 1,
                ..Figures::default()
            };
            figures.files[2] = Files {
                count,
                bytes: count * 10,
                since: DateTime::from_timestamp(since, 0),
            };
            figures
        };
        let mut all = Figures::default();
        all.add(&one(2, 500));
        all.add(&one(3, 400));
        all.add(&one(1, 900));
        all.add(&Figures {
            tenants: 1,
            unread: 1,
            ..Figures::default()
        });
        assert_eq!((all.tenants, all.unread), (4, 1));
        let superseded = all.files[2];
        assert_eq!((superseded.count, superseded.bytes), (6, 60));
        assert_eq!(superseded.since, DateTime::from_timestamp(400, 0));
        assert_eq!(all.files[0], Files::default());
    }
}
