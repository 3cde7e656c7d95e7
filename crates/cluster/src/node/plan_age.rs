//! When a connection ends because of the plans that it keeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::sql::CLUSTER_ROWS;

/// A node's rows are counted so often.
const LOOK: Duration = Duration::from_secs(30);
/// The connections that have to end do so within this time, one after the other: to open one and to
/// plan its statements takes some 0.2 s of CPU.
const END_SPREAD: Duration = Duration::from_mins(2);
/// Plans are kept until a node has so many times the rows.
const GROWTH: i64 = 4;
/// Fewer rows are no reason to plan anew.
const FEW: i64 = 1_000;
/// A connection ends after this time in any case: what a backend caches grows with the tables that
/// it has seen.
const MAX_AGE: Duration = Duration::from_hours(2);
/// Each gets up to so much less old.
const AGE_SPREAD: Duration = Duration::from_hours(1);

/// The plans that connections to one node keep.
///
/// Citus keeps a plan for the life of a connection, whatever statistics say later, also one that
/// was made while a partition was young (docs/decisions/0010-index-of-metadata.md). So the
/// connections end that were opened before the node had come to four times the rows. Of all its
/// tables together: table by table there is always one that has grown.
pub(crate) struct KeptPlans {
    started: Instant,
    /// Milliseconds after `started` from which on the rows are to be counted.
    next_look: AtomicU64,
    size: Mutex<Size>,
}

struct Size {
    /// When the node was last found to have grown.
    grown: Instant,
    /// Rows then, or at the first look.
    rows: Option<i64>,
}

impl KeptPlans {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            next_look: AtomicU64::new(0),
            size: Mutex::new(Size {
                grown: now,
                rows: None,
            }),
        }
    }

    /// Whether a connection has to end that was opened at `created`. Counts the rows over it when
    /// it is time to.
    pub(crate) async fn outlived(
        &self,
        client: &Client,
        created: Instant,
    ) -> Result<bool, tokio_postgres::Error> {
        let now = Instant::now();
        if self.is_due(now) {
            let rows = client.query_one(CLUSTER_ROWS, &[]).await?.get(0);
            self.looked(rows, now);
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

    fn looked(&self, rows: i64, now: Instant) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        match size.rows {
            // What is open was planned for these.
            None => size.rows = Some(rows),
            Some(before) if rows > before.saturating_mul(GROWTH).max(FEW) => {
                *size = Size {
                    grown: now,
                    rows: Some(rows),
                };
            }
            Some(_) => {}
        }
    }

    fn has_outlived(&self, created: Instant, now: Instant) -> bool {
        let grown = self
            .size
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
    fn connections_end_one_after_the_other_once_the_node_has_grown_fourfold() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let plans = KeptPlans::new(start);
        let open: Vec<Instant> = (0..1_000).map(at).collect();
        let ended = |now| open.iter().filter(|o| plans.has_outlived(**o, now)).count();
        for (now, rows, grown) in [
            // The first look.
            (30_000, 1_000, false),
            (60_000, 4_000, false),
            (160_000, 4_001, true),
            (260_000, 400, false),
            (360_000, 16_004, false),
            (460_000, 16_005, true),
        ] {
            plans.looked(rows, at(now));
            let before = plans.size.lock().unwrap().grown;
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
    fn a_few_rows_more_on_a_new_node_end_no_connection() {
        let start = Instant::now();
        let plans = KeptPlans::new(start);
        for (second, rows, grown) in [(30, 0, false), (60, 1_000, false), (90, 1_001, true)] {
            let now = start + Duration::from_secs(second);
            plans.looked(rows, now);
            assert_eq!(plans.has_outlived(start, now + END_SPREAD), grown, "{rows}");
        }
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
