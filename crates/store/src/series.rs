//! Invoice numbers: gapless series of a tenant, given at issue, in the transaction that issues.
//!
//! A series' rows stay locked until that commit, so that a number is used by a document or was never given. The row of
//! year 0 says what numbers look like; a prefix with `{year}` starts again every year, in a row of that year. Numbers that
//! imported documents brought along are skipped.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use deadpool_postgres::Object;
use sheaf_model::TenantId;
use tokio_postgres::types::ToSql;

use crate::flush::Abort;
use crate::shard::{Find, Shard, Statement};
use crate::types::{ArchiveFile, FileKeys};
use crate::{NewEvent, Store, StoreError, sql};

/// The series of invoices.
pub const INVOICE: &str = "invoice";
/// The series of credit notes.
pub const NOTE: &str = "credit_note";
/// What stands for the year in a prefix.
pub const YEAR: &str = "{year}";
const PADDING: i16 = 6;
/// Numbers that are looked up at once, at first and at most.
const WINDOW: (i64, i64) = (64, 16_384);
/// Numbers that are skipped in one transaction at most.
const MAX_SKIPPED: i64 = 5_000_000;

fn default_prefix(series: &str) -> &'static str {
    if series == NOTE {
        "CN-{year}-"
    } else {
        "INV-{year}-"
    }
}

/// What a batch needs of one series: how many numbers, for documents of which years.
#[derive(Default)]
pub(crate) struct Need {
    pub(crate) count: usize,
    /// Years of the ids of the documents: a number is unique in the year of its document.
    pub(crate) years: BTreeSet<i16>,
}

/// Tenant, series, and year of issue.
pub(crate) type SeriesKey = (TenantId, &'static str, i16);

/// Numbers reserved for a batch.
#[derive(Default)]
pub(crate) struct Numbers {
    series: BTreeMap<SeriesKey, Counter>,
}

struct Counter {
    shard: Arc<Shard>,
    /// The row that counts: the year, or 0.
    row: i16,
    prefix: String,
    padding: usize,
    next: i64,
    first: i64,
    /// Numbers up to here were looked up.
    known: i64,
    taken: HashSet<i64>,
}

impl Counter {
    fn text(&self, number: i64) -> String {
        format!("{}{number:0width$}", self.prefix, width = self.padding)
    }

    fn skip_taken(&mut self) {
        while self.taken.contains(&self.next) {
            self.next += 1;
        }
    }
}

impl Numbers {
    /// The next number of the series for a document issued on `day`; `None` when none was reserved.
    pub(crate) fn next(
        &self,
        tenant: TenantId,
        series: &'static str,
        day: NaiveDate,
    ) -> Result<Option<String>, StoreError> {
        let Some(counter) = self.series.get(&(tenant, series, year_of(day))) else {
            return Ok(None);
        };
        if counter.next > counter.known {
            return Err(StoreError::Unavailable {
                detail: "more numbers are needed than were reserved".into(),
            });
        }
        Ok(Some(counter.text(counter.next)))
    }

    /// The number that [`Numbers::next`] gave is used.
    pub(crate) fn take(&mut self, tenant: TenantId, series: &'static str, day: NaiveDate) {
        if let Some(counter) = self.series.get_mut(&(tenant, series, year_of(day))) {
            counter.next += 1;
            counter.skip_taken();
        }
    }

    /// Counters that have moved: their shard, tenant, series, row and next number.
    pub(crate) fn moved(
        &self,
    ) -> impl Iterator<Item = (&Arc<Shard>, TenantId, &'static str, i16, i64)> {
        self.series
            .iter()
            .filter(|(_, counter)| counter.next != counter.first)
            .map(|((tenant, series, _), c)| (&c.shard, *tenant, *series, c.row, c.next))
    }

    /// Locks the series and finds out which of the next numbers are free, in both tiers.
    pub(crate) async fn reserve(
        conn: &Object,
        needs: BTreeMap<SeriesKey, (Arc<Shard>, Need)>,
        cold: &[(ArchiveFile, Arc<FileKeys>)],
    ) -> Result<Self, Abort> {
        let mut numbers = Self::default();
        for (key, (shard, need)) in needs {
            let mut counter = lock(conn, &shard, key).await?;
            let mut window = WINDOW.0 + i64::try_from(need.count).unwrap_or(0);
            let wanted = i64::try_from(need.count).unwrap_or(i64::MAX);
            loop {
                look(conn, key.0, &need.years, &mut counter, window, cold).await?;
                counter.skip_taken();
                let taken_ahead = counter.taken.range_count(counter.next, counter.known);
                if counter.known - counter.next + 1 - taken_ahead >= wanted {
                    break;
                }
                if counter.known - counter.first > MAX_SKIPPED {
                    return Err(Abort::Store(StoreError::Conflict {
                        code: "number_series_exhausted",
                        detail: format!(
                            "millions of numbers after {} are taken: set the series' next number",
                            counter.text(counter.first)
                        ),
                    }));
                }
                window = (window * 4).min(WINDOW.1);
            }
            numbers.series.insert(key, counter);
        }
        Ok(numbers)
    }
}

trait RangeCount {
    fn range_count(&self, from: i64, to: i64) -> i64;
}

impl RangeCount for HashSet<i64> {
    fn range_count(&self, from: i64, to: i64) -> i64 {
        let count = self.iter().filter(|n| (from..=to).contains(*n)).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}

/// The year of a day of issue: 1970 to 2199.
pub(crate) fn year_of(day: NaiveDate) -> i16 {
    i16::try_from(day.year()).unwrap_or(i16::MAX)
}

async fn lock(conn: &Object, shard: &Arc<Shard>, key: SeriesKey) -> Result<Counter, Abort> {
    let (tenant, series, year) = key;
    let years: Vec<i16> = vec![0, year];
    let ensure = conn
        .prepare_cached(shard.statement(Statement::EnsureSeries))
        .await?;
    let lock = conn
        .prepare_cached(shard.statement(Statement::LockSeries))
        .await?;
    let prefix = default_prefix(series);
    let form: [&(dyn ToSql + Sync); 5] = [&tenant.0, &series, &years, &prefix, &PADDING];
    let (_, rows) = tokio::try_join!(
        biased;
        conn.execute(&ensure, &form),
        conn.query(&lock, &form[..3]),
    )?;
    let (Some(form), Some(of_year)) = (rows.first(), rows.last()) else {
        return Err(Abort::Store(StoreError::Corrupt(format!(
            "number series {series} has no row"
        ))));
    };
    let prefix: &str = form.get(1);
    let yearly = prefix.contains(YEAR);
    let row = if yearly { of_year } else { form };
    let next: i64 = row.get(3);
    Ok(Counter {
        shard: Arc::clone(shard),
        row: if yearly { year } else { 0 },
        prefix: prefix.replace(YEAR, &format!("{year:04}")),
        padding: usize::try_from(form.get::<_, i16>(2)).unwrap_or(0),
        next,
        first: next,
        known: next - 1,
        taken: HashSet::new(),
    })
}

/// Looks up the next `window` numbers.
async fn look(
    conn: &Object,
    tenant: TenantId,
    years: &BTreeSet<i16>,
    counter: &mut Counter,
    window: i64,
    cold: &[(ArchiveFile, Arc<FileKeys>)],
) -> Result<(), Abort> {
    let range = counter.known + 1..=counter.known + window;
    let candidates: Vec<(i64, String)> = range.map(|n| (n, counter.text(n))).collect();
    let texts: Vec<&str> = candidates.iter().map(|(_, text)| text.as_str()).collect();
    let find = conn
        .prepare_cached(Find::Numbers.on(Some(&counter.shard)))
        .await?;
    let mut found: HashSet<String> = HashSet::new();
    for year in years {
        let rows = conn.query(&find, &[&tenant.0, year, &texts]).await?;
        found.extend(rows.iter().map(|row| row.get::<_, String>(3)));
    }
    let in_archive = |text: &str| {
        cold.iter()
            .filter(|(file, _)| file.tenant_id == tenant && years.contains(&file.period.year))
            .any(|(_, keys)| keys.numbers.contains_key(text))
    };
    for (n, text) in &candidates {
        if found.contains(text) || in_archive(text) {
            counter.taken.insert(*n);
        }
    }
    counter.known += window;
    Ok(())
}

/// A series as its tenant set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberSeries {
    /// `invoice` or `credit_note`.
    pub series: String,
    /// The year that is counted; 0 when numbers run through the years, and for the form of the series.
    pub year: i16,
    /// Before the number; `{year}` is the year of issue.
    pub prefix: String,
    /// Digits at least.
    pub padding: i16,
    /// The next number.
    pub next: i64,
}

impl Store {
    /// The tenant's series, by name and year; the row of year 0 is the form. Series that nobody has used or set are
    /// given with their defaults.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn number_series(&self, tenant: TenantId) -> Result<Vec<NumberSeries>, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        let list = conn.prepare_cached(sql::NUMBER_SERIES_LIST).await?;
        let rows = conn.query(&list, &[&tenant.0]).await?;
        let mut found: Vec<NumberSeries> = rows
            .iter()
            .map(|row| NumberSeries {
                series: row.get(0),
                year: row.get(1),
                prefix: row.get(2),
                padding: row.get(3),
                next: row.get(4),
            })
            .collect();
        for series in [INVOICE, NOTE] {
            if !found.iter().any(|s| s.series == series && s.year == 0) {
                found.push(NumberSeries {
                    series: series.to_owned(),
                    year: 0,
                    prefix: default_prefix(series).to_owned(),
                    padding: PADDING,
                    next: 1,
                });
            }
        }
        found.sort_by(|a, b| (&a.series, a.year).cmp(&(&b.series, b.year)));
        Ok(found)
    }

    /// Sets rows of a series, all or none: its form and its counts, with the event that tells of it. `false` when a
    /// count would go back; nothing is changed then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_number_series(
        &self,
        tenant: TenantId,
        rows: &[NumberSeries],
        event: &NewEvent,
    ) -> Result<bool, StoreError> {
        self.ensure_years(&[event.year()].into()).await?;
        let mut conn = self.inner.cluster.owner(tenant).get().await?;
        let tx = conn.transaction().await?;
        for row in rows {
            let params: [&(dyn ToSql + Sync); 6] = [
                &tenant.0,
                &row.series,
                &row.year,
                &row.prefix,
                &row.padding,
                &row.next,
            ];
            if tx.execute(sql::NUMBER_SERIES_SET, &params).await? != 1 {
                return Ok(false);
            }
        }
        event.write_in(&tx, tenant).await?;
        tx.commit().await?;
        Ok(true)
    }
}
