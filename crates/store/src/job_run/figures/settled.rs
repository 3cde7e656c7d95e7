//! Which tenants have settled invoices that are due for tiering.
//!
//! Of a tenant with many unsettled old invoices the database looks at all of them to find out. So
//! this is a walk and a transaction of its own, which holds up none of the other figures, and it
//! takes a small part of the time: it begins again each minute where it takes no time, and each
//! hour where it does.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{Datelike, Months, NaiveDate, Utc};
use metrics::gauge;
use sheaf_model::bounds::MIN_YEAR;
use sheaf_model::{Period, TenantId};
use tokio::time::Instant;
use uuid::Uuid;

use super::{BEGIN, EVERY, MOST, PAGE, ROUND, earliest, in_time, midnight};
use crate::{Store, StoreError, sql};
use sheaf_cluster::transaction::Session;

/// A walk begins at the latest so long after the one before had ended,
const RARELY: Duration = Duration::from_secs(3600);
/// and not before so many times of what that one took have passed: half a percent.
const REST: u32 = 200;

/// What the tenants that were asked come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waiting {
    /// Tenants with settled invoices past the horizon, and the oldest month of these.
    tenants: u32,
    oldest: Option<NaiveDate>,
    /// Those whose node did not answer, or not in time.
    unread: u32,
}

impl Waiting {
    fn add(&mut self, oldest: Option<Option<Period>>) {
        match oldest {
            Some(Some(oldest)) => {
                self.tenants += 1;
                self.oldest = earliest(self.oldest, Some(oldest.first_day()));
            }
            Some(None) => {}
            None => self.unread += 1,
        }
    }

    /// With what the walk before has found: whom this one could not read may still be among them.
    fn or(mut self, before: Self) -> Self {
        if self.unread > 0 {
            self.tenants = self.tenants.max(before.tenants);
            self.oldest = earliest(self.oldest, before.oldest);
        }
        self
    }
}

/// A walk over all tenants, some of them a round.
#[derive(Default)]
pub(super) struct Walk {
    after: Option<Uuid>,
    sum: Waiting,
    /// For how long its rounds have worked.
    took: Duration,
    /// What the last one came to, and when the next one begins.
    last: Waiting,
    begins: Option<Instant>,
}

/// How long a walk waits after one that took so long.
fn pause(took: Duration) -> Duration {
    (took * REST).clamp(EVERY, RARELY)
}

/// The first month that stays hot.
fn horizon(as_of: NaiveDate, older_than_months: u32) -> Period {
    let horizon = as_of
        .checked_sub_months(Months::new(older_than_months))
        .filter(|day| day.year() >= i32::from(MIN_YEAR));
    // Further back than any invoice: nothing is due.
    let first = Period {
        year: MIN_YEAR,
        month: 1,
    };
    horizon.map_or(first, Period::of_date)
}

impl Store {
    /// One round, if it is time; what was found, where it came to the last tenant.
    pub(super) async fn tell_settled(
        &self,
        walk: &mut Walk,
        older_than_months: u32,
        unread: &AtomicU32,
    ) -> Result<(), StoreError> {
        if walk.begins.is_some_and(|begins| Instant::now() < begins) {
            return Ok(());
        }
        let horizon = horizon(Utc::now().date_naive(), older_than_months);
        let began = Instant::now();
        let ended = self.walk_settled(walk, horizon).await;
        walk.took += began.elapsed();
        if ended? {
            let found = std::mem::take(&mut walk.sum).or(walk.last);
            tell(&found, horizon.first_day());
            unread.store(found.unread, Ordering::Relaxed);
            *walk = Walk {
                last: found,
                begins: Some(Instant::now() + pause(walk.took)),
                ..Walk::default()
            };
        }
        Ok(())
    }

    /// Whether it came to the last tenant.
    async fn walk_settled(&self, walk: &mut Walk, horizon: Period) -> Result<bool, StoreError> {
        let ends = Instant::now() + ROUND;
        let mut left = MOST;
        while left > 0 {
            let page = self.all_tenants_page(walk.after, PAGE.min(left)).await?;
            if page.is_empty() {
                return Ok(true);
            }
            left -= page.len();
            for tenant in page {
                if Instant::now() >= ends {
                    return Ok(false);
                }
                let oldest = in_time(tenant.id, self.oldest_settled(tenant.id, horizon));
                walk.sum.add(oldest.await);
                walk.after = Some(tenant.id.0);
            }
        }
        Ok(false)
    }

    /// The month of the tenant's oldest settled invoice before the horizon.
    async fn oldest_settled(
        &self,
        tenant: TenantId,
        horizon: Period,
    ) -> Result<Option<Period>, StoreError> {
        let session = Session::open(&self.inner.cluster.owner(tenant)).await?;
        let conn = session.conn()?;
        let next = conn.prepare_cached(sql::TIERING_NEXT_SETTLED).await?;
        conn.batch_execute(BEGIN).await?;
        let (nil, end) = (Uuid::nil(), horizon.id_bounds().0);
        let row = conn.query_opt(&next, &[&tenant.0, &nil, &end]).await?;
        conn.batch_execute("commit").await?;
        session.release();
        Ok(row.map(|row| Period::of(row.get(0))))
    }
}

fn tell(found: &Waiting, horizon: NaiveDate) {
    gauge!("sheaf_tiering_waiting_tenants").set(found.tenants);
    gauge!("sheaf_tiering_horizon_timestamp_seconds").set(midnight(horizon));
    let oldest = found.oldest.unwrap_or(horizon);
    gauge!("sheaf_tiering_oldest_month_timestamp_seconds").set(midnight(oldest));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_takes_time_is_rare() {
        let seconds = Duration::from_secs;
        for (took, waits) in [(0, 60), (1, 200), (18, 3600), (600, 3600)] {
            assert_eq!(pause(seconds(took)), seconds(waits), "{took}");
        }
        assert_eq!(pause(Duration::from_millis(100)), EVERY);
    }

    #[test]
    fn who_was_not_read_may_still_wait() {
        let month = |year, month| Period { year, month };
        let mut before = Waiting::default();
        for oldest in [Some(month(2024, 3)), None, Some(month(2023, 11))] {
            before.add(Some(oldest));
        }
        let first = month(2023, 11).first_day();
        assert_eq!((before.tenants, before.unread), (2, 0));
        assert_eq!(before.oldest, Some(first));
        let mut now = Waiting::default();
        now.add(Some(Some(month(2024, 3))));
        assert_eq!(now.or(before), now);
        now.add(None);
        let both = now.or(before);
        assert_eq!((both.tenants, both.oldest), (2, Some(first)));
        assert_eq!(both.unread, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_round_before_its_time_asks_nobody() {
        let url = sheaf_local::test_env().database_url;
        crate::migrate(&url, 8).await.unwrap();
        let store = Store::connect(crate::StoreConfig::new(url)).await.unwrap();
        let (mut walk, unread) = (Walk::default(), AtomicU32::new(0));
        while walk.begins.is_none() {
            store.tell_settled(&mut walk, 12, &unread).await.unwrap();
        }
        // Not yet: nothing is asked, nobody is passed.
        let begins = walk.begins;
        store.tell_settled(&mut walk, 12, &unread).await.unwrap();
        assert_eq!(
            (walk.begins, walk.after, walk.took),
            (begins, None, Duration::ZERO)
        );
    }
}
