//! Ids of lines that name neither an id nor an external id, in uploads with an idempotency key:
//! sent again with the same key, a line gets the same id, and is found instead of stored twice.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sha2::{Digest as _, Sha256};
use sheaf_model::{TenantId, id};
use uuid::Uuid;

/// What the ids of one upload derive from.
#[derive(Clone, Debug)]
pub(super) struct LineIds {
    /// Over whose key it is, the key, and when it was first used; the line's number follows.
    prefix: Sha256,
    first_used: DateTime<Utc>,
}

impl LineIds {
    pub(super) fn new((owner, key, first_used): (TenantId, &str, DateTime<Utc>)) -> Self {
        // A key holds visible characters only: the zero ends it. Its first use is part of it: a key
        // that comes again when it is long forgotten is of another upload, whose lines must not be
        // taken for those of the first.
        let prefix = Sha256::new()
            .chain_update(owner.0.as_bytes())
            .chain_update(key)
            .chain_update([0])
            .chain_update(first_used.timestamp_micros().to_be_bytes());
        Self { prefix, first_used }
    }

    /// The id of the line with this number.
    pub(super) fn of(&self, line: u64, issue_date: Option<NaiveDate>) -> Uuid {
        let digest = self.prefix.clone().chain_update(line.to_be_bytes());
        let mut bits = [0; 10];
        bits.copy_from_slice(&digest.finalize()[..10]);
        id::derived_id(self.time(issue_date), bits)
    }

    /// When the id says that the invoice is from. A line that is sent again the next year must be
    /// looked for in the year in which it was stored, so this is never the time at which it came
    /// in.
    pub(super) fn time(&self, issue_date: Option<NaiveDate>) -> DateTime<Utc> {
        match issue_date {
            Some(date) if date < self.first_used.date_naive() => {
                date.and_time(NaiveTime::MIN).and_utc()
            }
            _ => self.first_used,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::TimeZone as _;

    use super::*;

    fn ids(owner: u128, key: &str) -> LineIds {
        let first_used = Utc.with_ymd_and_hms(2026, 12, 31, 23, 59, 59).unwrap();
        LineIds::new((TenantId(Uuid::from_u128(owner)), key, first_used))
    }

    #[test]
    fn a_line_has_one_id_whoever_else_uses_the_key() {
        let line = ids(1, "k").of(7, None);
        assert_eq!(line, ids(1, "k").of(7, None));
        for other in [
            ids(2, "k").of(7, None),
            ids(1, "k1").of(7, None),
            ids(1, "k").of(8, None),
        ] {
            assert_ne!(line, other);
        }
        let later = Utc.with_ymd_and_hms(2027, 1, 8, 0, 0, 0).unwrap();
        let again = LineIds::new((TenantId(Uuid::from_u128(1)), "k", later));
        let dated = "2021-03-05".parse().ok();
        assert_ne!(again.of(7, dated), ids(1, "k").of(7, dated));
        assert_eq!(line.get_version_num(), 7);
    }

    #[test]
    fn its_time_is_its_date_or_the_first_use_of_the_key() {
        let ids = ids(1, "k");
        let at = |date: &str| id::timestamp_of(ids.of(1, Some(date.parse().unwrap())));
        assert_eq!(at("2021-03-05").to_rfc3339(), "2021-03-05T00:00:00+00:00");
        assert_eq!(at("2026-12-31"), ids.first_used);
        // Sent without a date, and again on New Year's Day, when the missing date means another
        // day.
        assert_eq!(at("2027-01-01"), ids.first_used);
        assert_eq!(id::timestamp_of(ids.of(1, None)), ids.first_used);
    }
}
