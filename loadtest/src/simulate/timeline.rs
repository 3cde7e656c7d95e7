//! The simulated years, as a pure function: who sends which invoice when, when it is paid, and when
//! it is archived.
//!
//! Nothing of it is kept in memory. An invoice is a number; everything else about it is drawn from
//! a stream of random numbers of its own, and its id carries the number. So what a server answers
//! years later can be checked against what was sent, at the price of drawing it again.

use chrono::{Datelike as _, Days, NaiveDate};
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Zipf};
use sheaf_model::{Period, bounds};
use uuid::Uuid;

use crate::load::setup::MAX_TENANTS;

/// Years at most: those that ids carry.
const MAX_YEARS: u32 = 230;
/// Invoices at most: an id has 40 bits for the number.
const MAX_INVOICES: u64 = 1 << 40;
/// Apart from the streams that make the documents.
const SALT: u64 = 0x5348_4541_465f_5349;
/// Of 100 invoices that are paid later: one month later, one or two months later. The others take 3
/// to 18.
const PAID_NEXT: u32 = 60;
const PAID_SOON: u32 = 95;
/// Months that the slowest payers take.
const SLOW: std::ops::RangeInclusive<u32> = 3..=18;
/// Draws of an invoice that shall be hot (or archived) before there is none.
const TRIES: u32 = 200;

/// How much happens when.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Outline {
    /// The same seed makes the same years.
    pub seed: u64,
    /// They begin on 1 January of this year, 1970 to 2199.
    pub first_year: i16,
    /// How many there are, from 1.
    pub years: u32,
    /// Invoices over all years, the same number each month: at least one a month.
    pub invoices: u64,
    /// Tenants, from 1 to 100,000.
    pub tenants: u32,
    /// The n-th tenant has a share of n^-zipf of the invoices; above 0, at most 10.
    pub zipf: f64,
    /// Invoices of each month that are uploaded open and paid one by one in later months. The
    /// others are uploaded when they are paid.
    pub paid_later: u64,
    /// Months that tiering leaves hot, the one under way not counted.
    pub hot_months: u32,
}

/// Why there are no such years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// Outside of what ids carry.
    #[error("the years lie between 1970 and 2199, and there is at least one")]
    Years,
    /// Too few or too many.
    #[error("there is at least one invoice a month, and fewer than 2^40 in all")]
    Invoices,
    /// Too few or too many.
    #[error(
        "there are from 1 to 100,000 tenants; the exponent of Zipf's law is above 0 and at most 10"
    )]
    Tenants,
    /// None.
    #[error("at least 1 month stays hot")]
    HotMonths,
}

/// One invoice of the simulated years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 0, in the order of months.
    pub number: u64,
    /// Index of the tenant; the first are the largest.
    pub tenant: u32,
    /// Month of issue, from 0.
    pub month: u32,
    /// A UUIDv7 of the day of issue.
    pub id: Uuid,
    /// A day of that month.
    pub issued: NaiveDate,
    /// The day on which it is paid.
    pub paid_on: NaiveDate,
    /// The month of that day, which may lie beyond the last.
    pub paid_month: u32,
    /// Whether it is paid when it is uploaded; else it is paid through the API in `paid_month`.
    pub paid_at_once: bool,
    /// 3 of 100.
    pub credit_note: bool,
}

/// The simulated years. Months count from 0.
#[derive(Clone, Debug)]
pub struct Timeline {
    outline: Outline,
    zipf: Zipf<f64>,
    rng: ChaCha8Rng,
}

impl Timeline {
    /// The years of this outline.
    ///
    /// # Errors
    /// [`OutlineError`] names the bound that the outline breaks.
    pub fn new(outline: Outline) -> Result<Self, OutlineError> {
        let years = i64::from(bounds::MIN_YEAR)..=i64::from(bounds::MAX_YEAR);
        let first = i64::from(outline.first_year);
        let last = first + i64::from(outline.years) - 1;
        if !(1..=MAX_YEARS).contains(&outline.years)
            || !years.contains(&first)
            || !years.contains(&last)
        {
            return Err(OutlineError::Years);
        }
        if outline.invoices < u64::from(outline.years) * 12 || outline.invoices >= MAX_INVOICES {
            return Err(OutlineError::Invoices);
        }
        let exponent = outline.zipf > 0.0 && outline.zipf <= 10.0;
        if !(1..=MAX_TENANTS).contains(&outline.tenants) || !exponent {
            return Err(OutlineError::Tenants);
        }
        if outline.hot_months == 0 {
            return Err(OutlineError::HotMonths);
        }
        let zipf = Zipf::new(f64::from(outline.tenants), outline.zipf);
        Ok(Self {
            zipf: zipf.map_err(|_| OutlineError::Tenants)?,
            rng: ChaCha8Rng::seed_from_u64(outline.seed ^ SALT),
            outline,
        })
    }

    /// What the years were made of.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// How many months there are.
    #[must_use]
    pub fn months(&self) -> u32 {
        self.outline.years * 12
    }

    /// The calendar month; also of months beyond the last.
    #[must_use]
    pub fn period(&self, month: u32) -> Period {
        let years = i16::try_from(month / 12).unwrap_or(i16::MAX);
        Period {
            year: self.outline.first_year.saturating_add(years),
            month: u8::try_from(month % 12 + 1).unwrap_or(1),
        }
    }

    /// The day on which the month is over: the simulated day of its tiering run.
    #[must_use]
    pub fn day_after(&self, month: u32) -> NaiveDate {
        self.period(month).next().first_day()
    }

    /// Invoices before this month; those of a month are the numbers from this to the next month's.
    #[must_use]
    pub fn before(&self, month: u32) -> u64 {
        // Below 2^40 times below 2^12.
        self.outline.invoices * u64::from(month.min(self.months())) / u64::from(self.months())
    }

    fn month_of(&self, number: u64) -> u32 {
        let about = number * u64::from(self.months()) / self.outline.invoices;
        let mut month = u32::try_from(about)
            .unwrap_or(u32::MAX)
            .min(self.months() - 1);
        // Rounded down twice, it may be one month early.
        while month + 1 < self.months() && self.before(month + 1) <= number {
            month += 1;
        }
        month
    }

    /// The invoice of this number, which is below [`Outline::invoices`].
    #[must_use]
    pub fn entry(&self, number: u64) -> Entry {
        let mut rng = self.rng.clone();
        rng.set_stream(number);
        rng.set_word_pos(0);
        let month = self.month_of(number);
        let (first, end) = (self.period(month).first_day(), self.day_after(month));
        let days = u64::try_from((end - first).num_days()).unwrap_or(28);
        let day = rng.random_range(0..days);
        let issued = first + Days::new(day);
        let in_month = self.before(month + 1) - self.before(month);
        let paid_at_once = rng.random_range(0..in_month) >= self.outline.paid_later;
        let (paid_on, paid_month) = if paid_at_once {
            (issued + Days::new(rng.random_range(0..days - day)), month)
        } else {
            let paid_month = month + delay(&mut rng);
            let day = Days::new(rng.random_range(0..28));
            (self.period(paid_month).first_day() + day, paid_month)
        };
        Entry {
            number,
            tenant: self.tenant(&mut rng),
            month,
            id: id(number, issued, &mut rng),
            issued,
            paid_on,
            paid_month,
            paid_at_once,
            // A credit note has no payments, but refunds, which an upload does not tell apart.
            credit_note: rng.random_ratio(3, 100) && paid_at_once,
        }
    }

    fn tenant(&self, rng: &mut ChaCha8Rng) -> u32 {
        // Ranks are whole numbers from 1 to the number of tenants.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = self.zipf.sample(rng) as u32;
        rank.clamp(1, self.outline.tenants) - 1
    }

    /// The invoice of this id; `None` when it is none of these years.
    #[must_use]
    pub fn find(&self, id: Uuid) -> Option<Entry> {
        let number = u64::try_from(id.as_u128() & u128::from(MAX_INVOICES - 1)).ok()?;
        (number < self.outline.invoices)
            .then(|| self.entry(number))
            .filter(|entry| entry.id == id)
    }

    /// The month after which tiering takes the invoice: when it is both old and settled.
    #[must_use]
    pub fn archived_after(&self, entry: &Entry) -> u32 {
        entry.paid_month.max(entry.month + self.outline.hot_months)
    }

    /// An invoice that is hot during `month`.
    pub fn any_hot(&self, month: u32, rng: &mut ChaCha8Rng) -> Option<Entry> {
        let from = self.before(month.saturating_sub(self.outline.hot_months));
        let range = from..self.before(month + 1);
        self.any(range, rng, |entry| self.archived_after(entry) >= month)
    }

    /// An invoice that is archived during `month`.
    pub fn any_cold(&self, month: u32, rng: &mut ChaCha8Rng) -> Option<Entry> {
        let range = 0..self.before(month.checked_sub(self.outline.hot_months)?);
        self.any(range, rng, |entry| self.archived_after(entry) < month)
    }

    fn any(
        &self,
        range: std::ops::Range<u64>,
        rng: &mut ChaCha8Rng,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        if range.is_empty() {
            return None;
        }
        let draws = (0..TRIES).map(|_| self.entry(rng.random_range(range.clone())));
        draws.into_iter().find(wanted)
    }

    /// The year of a month, as a report names it.
    #[must_use]
    pub fn year(&self, month: u32) -> i32 {
        self.period(month).first_day().year()
    }
}

/// Months until a late payment comes.
fn delay(rng: &mut ChaCha8Rng) -> u32 {
    match rng.random_range(0..100) {
        0..PAID_NEXT => 1,
        PAID_NEXT..PAID_SOON => 2,
        _ => rng.random_range(SLOW),
    }
}

/// A UUIDv7 of some time of the day, whose last 40 bits are the number.
fn id(number: u64, issued: NaiveDate, rng: &mut ChaCha8Rng) -> Uuid {
    let midnight = issued.and_time(chrono::NaiveTime::MIN).and_utc();
    let millis = u64::try_from(midnight.timestamp_millis()).unwrap_or(0);
    let millis = millis + rng.random_range(0..86_400_000);
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
    tail[5..].copy_from_slice(&number.to_be_bytes()[3..]);
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

#[cfg(test)]
mod tests;
