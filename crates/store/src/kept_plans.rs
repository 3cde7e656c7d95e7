//! When a connection ends because of the plans that it keeps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::sql::TABLE_SIZES;

/// A node's tables are looked at so often.
const LOOK: Duration = Duration::from_secs(30);
/// The connections that have to end do so within this time, one after the other: to open one and to plan its statements takes some
/// 0.2 s of CPU.
const END_SPREAD: Duration = Duration::from_mins(2);
/// Fewer rows are no reason to plan anew.
const FEW: i64 = 1_000;
/// A plan is kept for a table of up to so many times the rows. A wrong one was made when the mean tenant had up to two, so what it reads
/// in vain is bounded.
const GROWTH: i64 = 16;
/// A connection ends after this time in any case: what a backend caches grows with the tables that it has seen.
const MAX_AGE: Duration = Duration::from_hours(2);
/// Each gets up to so much less old.
const AGE_SPREAD: Duration = Duration::from_hours(1);

/// The plans that connections to one node keep.
///
/// Citus keeps a plan for the life of a connection, whatever statistics say later, also one that was made while a partition
/// was young (docs/decisions/0010-index-of-metadata.md). So the connections end that were opened before a table had become
/// sixteen times as large.
pub(crate) struct KeptPlans {
    started: Instant,
    /// Milliseconds after `started` from which on the tables are to be looked at.
    next_look: AtomicU64,
    sizes: Mutex<Sizes>,
}

struct Sizes {
    /// When a table was last found to have grown.
    grown: Instant,
    /// Rows then, or at the first look, by table; those with [`FEW`] at least.
    rows: Option<HashMap<u32, i64>>,
}

impl KeptPlans {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            next_look: AtomicU64::new(0),
            sizes: Mutex::new(Sizes {
                grown: now,
                rows: None,
            }),
        }
    }

    /// Whether a connection has to end that was opened at `created`. Looks at the tables over it when it is time to.
    pub(crate) async fn outlived(
        &self,
        client: &Client,
        created: Instant,
    ) -> Result<bool, tokio_postgres::Error> {
        let now = Instant::now();
        if self.is_due(now) {
            let tables = client.query(TABLE_SIZES, &[&FEW]).await?;
            self.looked(tables.iter().map(|t| (t.get(0), t.get(1))).collect(), now);
        }
        Ok(self.has_outlived(created, now))
    }

    /// True for one caller every [`LOOK`].
    fn is_due(&self, now: Instant) -> bool {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let now = ms(now.saturating_duration_since(self.started));
        let due = self.next_look.load(Ordering::Relaxed);
        let next = now.saturating_add(ms(LOOK));
        now >= due
            && self
                .next_look
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn looked(&self, rows: HashMap<u32, i64>, now: Instant) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = &sizes.rows else {
            // What is open was planned for these sizes.
            sizes.rows = Some(rows);
            return;
        };
        let grown = |(table, rows): (&u32, &i64)| {
            let before = before.get(table).copied();
            *rows >= before.unwrap_or(FEW / GROWTH).saturating_mul(GROWTH)
        };
        if rows.iter().any(grown) {
            *sizes = Sizes {
                grown: now,
                rows: Some(rows),
            };
        }
    }

    fn has_outlived(&self, created: Instant, now: Instant) -> bool {
        let grown = self
            .sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .grown;
        // The fraction of the second in which it was opened is as good as a random number.
        let opened = created.saturating_duration_since(self.started);
        let part = |whole: Duration| whole * opened.subsec_millis() / 1_000;
        let age = now.saturating_duration_since(created);
        age >= MAX_AGE - part(AGE_SPREAD) || (created < grown && now >= grown + part(END_SPREAD))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn connections_end_one_after_the_other_once_a_table_has_grown_sixteenfold() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let plans = KeptPlans::new(start);
        let open: Vec<Instant> = (0..1_000).map(at).collect();
        let ended = |now| open.iter().filter(|o| plans.has_outlived(**o, now)).count();
        for (now, rows, grown) in [
            (30_000, vec![(4, 1_000_000)], false),
            (60_000, vec![(1, 1_000), (2, 3_000)], true),
            (160_000, vec![(1, 15_999), (2, 3_000)], false),
            (260_000, vec![(1, 16_000), (2, 3_000)], true),
            (360_000, vec![(1, 16_000), (2, 47_999), (3, 900)], false),
            (460_000, vec![(1, 16_000), (2, 47_999), (3, 1_000)], true),
        ] {
            plans.looked(rows.into_iter().collect(), at(now));
            let before = plans.sizes.lock().unwrap().grown;
            assert_eq!(before == at(now), grown, "{now}");
        }
        assert_eq!(ended(at(460_000)), 1);
        assert_eq!(ended(at(520_000)), 501);
        assert_eq!(ended(at(580_000)), 1_000);
        // Opened since.
        assert!(!plans.has_outlived(at(470_000), at(1_000_000)));
        assert!(plans.has_outlived(at(470_000), at(470_000) + MAX_AGE));
    }

    #[test]
    fn one_connection_at_a_time_looks() {
        let start = Instant::now();
        let plans = KeptPlans::new(start);
        let due = [0, 1, 29_999, 30_000, 30_001, 60_000]
            .map(|ms| plans.is_due(start + Duration::from_millis(ms)));
        assert_eq!(due, [true, false, false, true, false, true]);
    }
}
