//! Numbers for a batch: its series' rows locked, and the next numbers looked up in both tiers.
//!
//! There is one counter for each row that counts, whatever the years of issue in the batch. Numbers
//! that imported documents brought along are skipped, and what another series has given: two series
//! may look alike.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use deadpool_postgres::Object;
use sheaf_model::{Code, Invoice, TenantId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::look::{Archived, look};
use super::{INVOICE, NOTE, PADDING, YEAR, default_prefix};
use crate::StoreError;
use crate::batch::Abort;
use crate::invoice::number;
use crate::invoice::number::{Claim, Locks, year_of};
use crate::sql::statements::{OnShard, Statement};
use sheaf_cluster::Error;
use sheaf_cluster::batch::Place;
use sheaf_cluster::routing::shard::Shard;
use sheaf_cluster::transaction::in_order;

/// All series, in the order in which their rows are locked.
const ALL: [&str; 2] = [NOTE, INVOICE];
/// Numbers that are looked up at once beyond those that are needed, at first; four times as many
/// each time that these are not enough, up to the second figure.
const AHEAD: (i64, i64) = (16, 16_384);
/// Numbers that are skipped in one transaction at most.
const MAX_SKIPPED: i64 = 5_000_000;
/// The same where other tenants' work waits for the transaction.
const MAX_SKIPPED_IN_COMPANY: i64 = 4_096;

/// What a batch needs of one series in one year of issue.
#[derive(Default)]
pub(crate) struct Need {
    /// How many numbers.
    pub(crate) count: usize,
    /// Years of issue, and of the ids of the documents: a number is unique in both.
    pub(crate) years: BTreeSet<i16>,
}

/// What the documents of one tenant need.
pub(crate) struct TenantNeeds {
    pub(crate) shard: Arc<Shard>,
    /// By series and year of issue.
    pub(crate) series: BTreeMap<(&'static str, i16), Need>,
    /// Numbers that documents bring with them into another year of issue than that of their ids:
    /// the year, the number.
    pub(crate) own: BTreeSet<(i16, String)>,
}

impl TenantNeeds {
    pub(crate) fn new(shard: &Arc<Shard>) -> Self {
        Self {
            shard: Arc::clone(shard),
            series: BTreeMap::new(),
            own: BTreeSet::new(),
        }
    }

    /// Years in which numbers must be free.
    pub(crate) fn years(&self) -> BTreeSet<i16> {
        let of_series = self.series.values().flat_map(|need| need.years.iter());
        let own = self.own.iter().map(|(year, _)| year);
        of_series.chain(own).copied().collect()
    }

    /// All numbers that the tenant's documents need.
    fn count(&self) -> usize {
        self.series.values().map(|need| need.count).sum()
    }
}

/// By tenant.
pub(crate) type Needs = BTreeMap<TenantId, TenantNeeds>;

/// Tenant, series, and the row that counts: the year of issue, or 0.
pub(super) type RowKey = (TenantId, &'static str, i16);

/// Numbers reserved for a batch.
#[derive(Default)]
pub(crate) struct Numbers {
    counters: BTreeMap<RowKey, Counter>,
    /// The row that counts for a tenant's series in a year of issue.
    rows: BTreeMap<RowKey, i16>,
    /// Who has a number that a document of the batch brings into a year of issue.
    taken: HashMap<(TenantId, i16, String), Uuid>,
    /// What documents of the batch have got, and what they have brought along.
    given: HashMap<(TenantId, String), Vec<(i16, Uuid)>>,
}

pub(super) struct Counter {
    pub(super) shard: Arc<Shard>,
    pub(super) prefix: String,
    pub(super) padding: usize,
    /// Numbers that it may have to give, with those that others may give before.
    pub(super) wanted: i64,
    /// Years in which they must be free; in all there are, where the series runs through the years.
    pub(super) years: BTreeSet<i16>,
    pub(super) runs: bool,
    pub(super) next: i64,
    pub(super) first: i64,
    /// Numbers up to here were looked up.
    pub(super) known: i64,
    pub(super) taken: HashSet<i64>,
}

impl Counter {
    pub(super) fn text(&self, number: i64) -> String {
        format!("{}{number:0width$}", self.prefix, width = self.padding)
    }

    pub(super) fn skip_taken(&mut self) {
        while self.taken.contains(&self.next) {
            self.next += 1;
        }
    }

    /// Whether enough numbers are known to be free.
    fn is_enough(&self) -> bool {
        let ahead = self.next..=self.known;
        let taken = self.taken.iter().filter(|n| ahead.contains(n)).count();
        let taken = i64::try_from(taken).unwrap_or(i64::MAX);
        self.known - self.next + 1 - taken >= self.wanted
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
        let Some((_, counter)) = self.counter(tenant, series, day) else {
            return Ok(None);
        };
        let (number, text) = self.candidate(tenant, counter);
        if number > counter.known {
            return Err(Error::Unavailable {
                detail: "more numbers are needed than were reserved".into(),
            }
            .into());
        }
        Ok(Some(text))
    }

    fn counter(
        &self,
        tenant: TenantId,
        series: &'static str,
        day: NaiveDate,
    ) -> Option<(RowKey, &Counter)> {
        let row = self.rows.get(&(tenant, series, year_of(day)))?;
        let key = (tenant, series, *row);
        Some((key, self.counters.get(&key)?))
    }

    /// The first number that is neither taken nor given.
    fn candidate(&self, tenant: TenantId, counter: &Counter) -> (i64, String) {
        let mut number = counter.next;
        loop {
            let text = counter.text(number);
            let key = (tenant, text);
            if !counter.taken.contains(&number) && !self.given.contains_key(&key) {
                return (number, key.1);
            }
            number += 1;
        }
    }

    /// The number that [`Numbers::next`] gave for `day` is the document's.
    pub(crate) fn take(&mut self, series: &'static str, day: NaiveDate, by: &Invoice) {
        let found = self.counter(by.tenant_id, series, day);
        let Some((key, number)) = found.map(|(key, counter)| {
            let (number, _) = self.candidate(by.tenant_id, counter);
            (key, number)
        }) else {
            return;
        };
        if let Some(counter) = self.counters.get_mut(&key) {
            counter.next = number + 1;
            counter.skip_taken();
        }
        self.enter(by);
    }

    /// The document has its number in these years, for the rest of the batch.
    fn enter(&mut self, by: &Invoice) {
        if let Some(number) = &by.number {
            let given = self.given.entry((by.tenant_id, number.clone()));
            let years = number::years(by).map(|year| (year, by.id));
            given.or_default().extend(years);
        }
    }

    /// Takes the number that the document brought into its year of issue, or says which document
    /// has it there.
    pub(crate) fn bring(&mut self, by: &Invoice) -> Result<(), Uuid> {
        if let Some(Claim { number, year }) = Claim::of(by) {
            let tenant = by.tenant_id;
            let stored = self.taken.get(&(tenant, year, number.to_owned())).copied();
            let given = self.given.get(&(tenant, number.to_owned()));
            let given = given.into_iter().flatten().filter(|given| given.0 == year);
            let mut others = stored.into_iter().chain(given.map(|given| given.1));
            if let Some(other) = others.find(|other| *other != by.id) {
                return Err(other);
            }
        }
        self.enter(by);
        Ok(())
    }

    /// Counters that have moved: their shard, tenant, series, row and next number.
    pub(crate) fn moved(
        &self,
    ) -> impl Iterator<Item = (&Arc<Shard>, TenantId, &'static str, i16, i64)> {
        self.counters
            .iter()
            .filter(|(_, counter)| counter.next != counter.first)
            .map(|((tenant, series, row), c)| (&c.shard, *tenant, *series, *row, c.next))
    }

    /// Takes the locks, and those of the series' rows, and finds out which of the next numbers are
    /// free, in both tiers. Two round trips, whatever the number of tenants and series.
    pub(crate) async fn reserve(
        place: &Place<'_>,
        locks: &Locks,
        needs: &Needs,
        archived: Archived<'_>,
    ) -> Result<Self, Abort> {
        let conn = place.conn;
        let mut numbers = Self::default();
        if needs.is_empty() {
            return Ok(numbers);
        }
        numbers.lock(conn, locks, needs).await?;
        numbers.look_for_own(conn, needs, archived).await?;
        let mut ahead = AHEAD.0;
        loop {
            let mut wanting: Vec<(&RowKey, &mut Counter)> = numbers
                .counters
                .iter_mut()
                .filter(|(_, counter)| !counter.is_enough())
                .collect();
            if wanting.is_empty() {
                return Ok(numbers);
            }
            for (key, counter) in &wanting {
                if place.in_company && counter.known - counter.first > MAX_SKIPPED_IN_COMPANY {
                    return Err(Abort::Apart(key.0));
                }
                if counter.known - counter.first > MAX_SKIPPED {
                    return Err(Abort::Failed(StoreError::Conflict {
                        code: Code::NumberSeriesExhausted,
                        detail: format!(
                            "millions of numbers after {} are taken: set the series' next number",
                            counter.text(counter.first)
                        ),
                    }));
                }
            }
            look(conn, &mut wanting, ahead, archived).await?;
            ahead = (ahead * 4).min(AHEAD.1);
        }
    }

    async fn lock(&mut self, conn: &Object, locks: &Locks, needs: &Needs) -> Result<(), Abort> {
        let lock = locks.prepare(conn).await?;
        let mut statements = Vec::with_capacity(needs.len());
        for (tenant, needs) in needs {
            if !needs.series.is_empty() {
                statements.push(LockRows::prepare(conn, *tenant, needs).await?);
            }
        }
        let lock = async {
            match &lock {
                Some(lock) => lock.send(conn).await,
                None => Ok(()),
            }
        };
        let rows = in_order(statements.iter().map(|of_tenant| of_tenant.send(conn)));
        let ((), rows) = tokio::try_join!(biased; lock, rows)?;
        for (of_tenant, rows) in statements.iter().zip(&rows) {
            let (tenant, needs) = (of_tenant.tenant, &needs[&of_tenant.tenant]);
            for ((series, year), need) in &needs.series {
                let (row, counter) = of_tenant.counter(series, *year, rows)?;
                let key = (tenant, *series, row);
                self.rows.insert((tenant, *series, *year), row);
                let counter = self.counters.entry(key).or_insert(Counter {
                    // Another series, or a document's own number, may be given in between.
                    wanted: i64::try_from(needs.count() + needs.own.len()).unwrap_or(i64::MAX),
                    ..counter
                });
                counter.years.extend(need.years.iter().copied());
            }
        }
        Ok(())
    }

    /// Looks who has the numbers that documents bring into a year of issue.
    async fn look_for_own(
        &mut self,
        conn: &Object,
        needs: &Needs,
        archived: Archived<'_>,
    ) -> Result<(), Abort> {
        for (tenant, needs) in needs {
            for (year, number) in &needs.own {
                let asked = [number.as_str()];
                let rows = number::find(conn, Some(&needs.shard), tenant.0, *year, &asked).await?;
                let cold = archived
                    .of(*tenant)
                    .filter(|(file, _)| file.period.year == *year)
                    .find_map(|(_, keys)| keys.numbers.get(number.as_str()));
                let hot = rows.first().map(|row| row.get(1));
                if let Some(by) = hot.or(cold.copied()) {
                    self.taken.insert((*tenant, *year, number.clone()), by);
                }
            }
        }
        Ok(())
    }
}

/// The statements that make and lock the rows of one tenant's series.
struct LockRows {
    statements: [tokio_postgres::Statement; 2],
    shard: Arc<Shard>,
    tenant: TenantId,
    series: Vec<&'static str>,
    years: Vec<i16>,
    prefixes: Vec<&'static str>,
    all_years: Vec<i16>,
}

impl LockRows {
    async fn prepare(
        conn: &Object,
        tenant: TenantId,
        needs: &TenantNeeds,
    ) -> Result<Self, tokio_postgres::Error> {
        let prepare = |statement| conn.prepare_cached(needs.shard.statement(statement));
        let mut rows: BTreeSet<(&'static str, i16)> = needs.series.keys().copied().collect();
        rows.extend(needs.series.keys().map(|(series, _)| (*series, 0)));
        let (series, years): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let all_years: BTreeSet<i16> = years.iter().copied().collect();
        Ok(Self {
            statements: [
                prepare(Statement::EnsureSeries).await?,
                prepare(Statement::LockSeries).await?,
            ],
            shard: Arc::clone(&needs.shard),
            tenant,
            prefixes: series.iter().map(|series| default_prefix(series)).collect(),
            series,
            years,
            all_years: all_years.into_iter().collect(),
        })
    }

    async fn send(&self, conn: &Object) -> Result<Vec<Row>, tokio_postgres::Error> {
        let [ensure, lock] = &self.statements;
        let all = &ALL[..];
        let ensured: [&(dyn ToSql + Sync); 5] = [
            &self.tenant.0,
            &self.series,
            &self.years,
            &self.prefixes,
            &PADDING,
        ];
        let locked: [&(dyn ToSql + Sync); 3] = [&self.tenant.0, &all, &self.all_years];
        let (_, rows) = tokio::try_join!(
            biased;
            conn.execute(ensure, &ensured),
            conn.query(lock, &locked),
        )?;
        Ok(rows)
    }

    /// The row that counts for a series in a year of issue, and where it stands.
    fn counter(&self, series: &str, year: i16, rows: &[Row]) -> Result<(i16, Counter), Abort> {
        let row = |year: i16| {
            let found = rows
                .iter()
                .find(|row| row.get::<_, &str>(0) == series && row.get::<_, i16>(1) == year);
            found.ok_or_else(|| {
                Abort::Failed(
                    Error::Corrupt(format!("number series {series} of year {year} has no row"))
                        .into(),
                )
            })
        };
        let form = row(0)?;
        let prefix: &str = form.get(2);
        let yearly = prefix.contains(YEAR);
        let counts = if yearly { year } else { 0 };
        let next: i64 = row(counts)?.get(4);
        let counter = Counter {
            shard: Arc::clone(&self.shard),
            prefix: prefix.replace(YEAR, &format!("{year:04}")),
            padding: usize::try_from(form.get::<_, i16>(3)).unwrap_or(0),
            wanted: 0,
            years: BTreeSet::new(),
            runs: !yearly,
            next,
            first: next,
            known: next - 1,
            taken: HashSet::new(),
        };
        Ok((counts, counter))
    }
}
