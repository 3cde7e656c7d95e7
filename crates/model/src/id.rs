//! UUIDv7 ids (RFC 9562, section 5.7): the timestamp says in which year and month an invoice lives.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant, Version};

use crate::Code;
use crate::{FieldError, bounds};

/// A tenant: the shard key of every distributed table. A type of its own, so that no other UUID can
/// stand for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub Uuid);

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TenantId {
    type Err = NotATenantId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self).map_err(|_| NotATenantId)
    }
}

/// A text that is no tenant's id. The parser's own words are about formats that nobody has asked
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATenantId;

impl fmt::Display for NotATenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tenant's id is a UUID, such as 0199f2a0-0000-7000-8000-000000000000")
    }
}

impl std::error::Error for NotATenantId {}

/// A month, read from an invoice's id. It never changes, and says which partition and archive files
/// an invoice is in. Month 0 stands for a whole year: that of an archive file in which the months
/// of a small tenant are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    /// 1970 to 2199.
    pub year: i16,
    /// 1 to 12; 0 is the whole year.
    pub month: u8,
}

impl Period {
    /// The month that `id` carries.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        Self::of_date(timestamp_of(id).date_naive())
    }

    /// The month of `date`. Years beyond an `i16` saturate; no id and no invoice carries one.
    #[must_use]
    pub fn of_date(date: NaiveDate) -> Self {
        Self {
            year: year_of_date(date),
            month: u8::try_from(date.month()).unwrap_or(1),
        }
    }

    /// The whole year.
    #[must_use]
    pub const fn whole_year(year: i16) -> Self {
        Self { year, month: 0 }
    }

    /// The year that the month is of; itself, if it is one.
    #[must_use]
    pub const fn year(self) -> Self {
        Self::whole_year(self.year)
    }

    /// Whether `id` is of the month, or of the year.
    #[must_use]
    pub fn covers(self, id: Uuid) -> bool {
        let month = Self::of(id);
        self == month || self == month.year()
    }

    /// The first day.
    #[must_use]
    pub fn first_day(self) -> NaiveDate {
        let month = u32::from(self.month.clamp(1, 12));
        NaiveDate::from_ymd_opt(i32::from(self.year), month, 1).unwrap_or(NaiveDate::MIN)
    }

    /// The month after this one, or the year.
    #[must_use]
    pub fn next(self) -> Self {
        if self.month == 0 {
            Self::whole_year(self.year.saturating_add(1))
        } else if self.month >= 12 {
            Self {
                year: self.year.saturating_add(1),
                month: 1,
            }
        } else {
            Self {
                year: self.year,
                month: self.month + 1,
            }
        }
    }

    /// The ids of it: from the first, inclusive, to the second, exclusive, in the order of UUIDs.
    #[must_use]
    pub fn id_bounds(self) -> (Uuid, Uuid) {
        (
            first_id_at(self.first_day()),
            first_id_at(self.next().first_day()),
        )
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A text that is not a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a period is a month from 1970-01 to 2199-12, written YYYY-MM, or a year, written YYYY-00")]
pub struct NotAPeriod;

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let (year, month) = text.split_once('-').ok_or(NotAPeriod)?;
        let digits = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(year, 4) || !digits(month, 2) {
            return Err(NotAPeriod);
        }
        let period = Self {
            year: year.parse().map_err(|_| NotAPeriod)?,
            month: month.parse().map_err(|_| NotAPeriod)?,
        };
        let known =
            (bounds::MIN_YEAR..=bounds::MAX_YEAR).contains(&period.year) && period.month <= 12;
        known.then_some(period).ok_or(NotAPeriod)
    }
}

/// The year that `id` carries: the partition key.
#[must_use]
pub fn year_of(id: Uuid) -> i16 {
    year_of_date(timestamp_of(id).date_naive())
}

fn year_of_date(date: NaiveDate) -> i16 {
    i16::try_from(date.year()).unwrap_or(if date.year() < 0 { i16::MIN } else { i16::MAX })
}

/// The time that `id` carries, in milliseconds: its first 48 bits, whatever its version says.
#[must_use]
pub fn timestamp_of(id: Uuid) -> DateTime<Utc> {
    let millis = i64::try_from(id.as_u128() >> TIME_SHIFT).unwrap_or(0);
    // 48 bits of milliseconds end in the year 10889, which chrono can hold.
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

const TIME_SHIFT: u32 = 80;
const VERSION_7: u128 = 0x7 << 76;
const VARIANT_RFC: u128 = 0b10 << 62;
const RAND_B_BITS: u32 = 62;
const RAND_B: u128 = (1 << RAND_B_BITS) - 1;
const RAND_A: u128 = 0xfff;

/// The smallest UUID at or after 00:00 UTC of `day`.
fn first_id_at(day: NaiveDate) -> Uuid {
    Uuid::from_u128(
        u128::from(millis_at(day.and_time(chrono::NaiveTime::MIN).and_utc())) << TIME_SHIFT,
    )
}

/// Milliseconds since 1970, within the 48 bits that an id has for them.
fn millis_at(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis())
        .unwrap_or(0)
        .min((1 << 48) - 1)
}

/// An id from its millisecond and its 74 free bits (`rand_a` and `rand_b` of the RFC).
fn assemble(millis: u64, tail: u128) -> Uuid {
    let rand_a = (tail >> RAND_B_BITS) & RAND_A;
    Uuid::from_u128(
        (u128::from(millis) << TIME_SHIFT)
            | VERSION_7
            | (rand_a << 64)
            | VARIANT_RFC
            | (tail & RAND_B),
    )
}

/// 74 random bits: a v4 id has its random bits where a v7 id has `rand_a` and `rand_b`.
fn random_tail() -> u128 {
    let random = Uuid::new_v4().as_u128();
    (((random >> 64) & RAND_A) << RAND_B_BITS) | (random & RAND_B)
}

thread_local! {
    /// Millisecond and free bits of the last id that [`new_id`] made on this thread.
    static LAST: Cell<(u64, u128)> = const { Cell::new((0, 0)) };
}

/// A new id at the millisecond of `now`.
///
/// Ids made on one thread for the same millisecond, one after the other, ascend (RFC 9562, section
/// 6.2, method 2): payments of one invoice keep their order. Across threads only the millisecond
/// orders.
#[must_use]
pub fn new_id(now: DateTime<Utc>) -> Uuid {
    let millis = millis_at(now);
    let random = random_tail();
    let (last_millis, last_tail) = LAST.get();
    let tail = if millis == last_millis && last_tail > 0 {
        // Steps of at most 2^32 over at least 2^73: no process makes 2^41 ids in a millisecond.
        last_tail + 1 + (random & u128::from(u32::MAX))
    } else {
        random >> 1
    };
    LAST.set((millis, tail));
    assemble(millis, tail)
}

/// An id whose order is that of `at` to the microsecond, on every machine: `rand_a` holds the
/// fraction of the millisecond (RFC 9562, section 6.2, method 3).
#[must_use]
pub fn precise_id(at: DateTime<Utc>) -> Uuid {
    let micros = u128::from(at.timestamp_subsec_micros() % 1_000);
    let fraction = micros * 4_096 / 1_000;
    let random = Uuid::new_v4().as_u128() & RAND_B;
    assemble(millis_at(at), (fraction << RAND_B_BITS) | random)
}

/// The smallest id of version 7 after `id`.
#[must_use]
pub fn after(id: Uuid) -> Uuid {
    let bits = id.as_u128();
    let tail = (((bits >> 64) & RAND_A) << RAND_B_BITS) | (bits & RAND_B);
    let millis = u64::try_from(bits >> TIME_SHIFT).unwrap_or(0);
    if tail >> (RAND_B_BITS + 12) == 0 && tail + 1 < 1 << (RAND_B_BITS + 12) {
        assemble(millis, tail + 1)
    } else {
        assemble(millis + 1, 0)
    }
}

/// An id for an imported invoice: `date` at 00:00 UTC, and randomness.
#[must_use]
pub fn id_for_date(date: NaiveDate) -> Uuid {
    assemble(
        millis_at(date.and_time(chrono::NaiveTime::MIN).and_utc()),
        random_tail(),
    )
}

/// The id of something that is found again when it is sent again: its time, and the first 74 of the
/// given bits.
#[must_use]
pub fn derived_id(at: DateTime<Utc>, bits: [u8; 10]) -> Uuid {
    let mut wide = [0; 16];
    wide[6..].copy_from_slice(&bits);
    assemble(millis_at(at), u128::from_be_bytes(wide) >> 6)
}

/// Checks an id that a client chose.
///
/// # Errors
/// `id_not_v7` when it is no UUIDv7; `id_in_future` when its time is more than 5 minutes after
/// `now`, or after 2199.
pub fn check_client_id(id: Uuid, now: DateTime<Utc>) -> Result<(), FieldError> {
    if id.get_version() != Some(Version::SortRand) || id.get_variant() != Variant::RFC4122 {
        return Err(FieldError::new(
            "id",
            Code::IdNotV7,
            "the id must be a UUID of version 7",
        ));
    }
    let latest = now + TimeDelta::seconds(bounds::MAX_CLOCK_SKEW_SECONDS);
    if timestamp_of(id) > latest || year_of(id) > bounds::MAX_YEAR {
        return Err(FieldError::new(
            "id",
            Code::IdInFuture,
            "the time in the id lies in the future",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
