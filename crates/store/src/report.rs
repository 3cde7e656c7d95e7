//! Reports from the hot tier, by currency; nothing is converted.
//!
//! What is hot is the last year and whatever is still owed, however old; archived invoices are
//! settled and owe nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Days, NaiveDate, Utc};
use deadpool_postgres::{Object, Transaction};
use sheaf_model::{Currency, Decimal, Kind, Status, TenantId};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use sheaf_cluster::Error;

use crate::Page;
use crate::{Store, StoreError, sql};

/// "The last days", today included.
const RECENT_DAYS: u64 = 30;
/// A summary answers again for this long. It reads all that a tenant has.
const SUMMARY_TTL: Duration = Duration::from_secs(5);
/// Reports that read all of a tenant run at the same time, in this process; one a tenant.
pub(crate) const CONCURRENT: u64 = 2;
/// Summaries that are remembered.
pub(crate) const CACHED: usize = 1_000;

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Documents, or payments.
    pub count: i64,
    /// In one currency.
    pub amount: Decimal,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.amount += other.amount;
    }
}

/// What is narrowed down, and from which day it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SummaryFilter {
    /// The day on which it is asked, UTC.
    pub today: NaiveDate,
    /// First day of issue.
    pub from: Option<NaiveDate>,
    /// Last day of issue.
    pub to: Option<NaiveDate>,
}

/// Invoices of one currency, kind and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusTotal {
    /// ISO 4217.
    pub currency: Currency,
    /// Invoices or credit notes.
    pub kind: Kind,
    /// As stored.
    pub status: Status,
    /// How many.
    pub count: i64,
    /// Sum of their totals.
    pub total: Decimal,
    /// Sum of what was paid on them.
    pub paid: Decimal,
    /// Sum of what is owed on them.
    pub due: Decimal,
}

/// Sums of one currency and kind.
pub type KindSum = (Currency, Kind, Sum);

/// Totals of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When it was read.
    pub read_at: DateTime<Utc>,
    /// By currency, kind and status.
    pub totals: Vec<StatusTotal>,
    /// Invoices past their due date on which something is owed.
    pub overdue: Vec<(Currency, Sum)>,
    /// Neither drafts nor cancelled, of the last 30 days.
    pub issued: Vec<KindSum>,
    /// Money that moved in the last 30 days: not what was set off.
    pub paid: Vec<KindSum>,
}

/// What is owed in one currency, by days past due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aging {
    /// Whose; none for all customers together, and for invoices that name none.
    pub customer_id: Option<Uuid>,
    /// ISO 4217.
    pub currency: Currency,
    /// Open invoices.
    pub invoices: i64,
    /// Not yet due, or without a due date; then 1-30, 31-60, 61-90 and more days past due.
    pub buckets: [Decimal; 5],
    /// What credit notes still have to give.
    pub credit: Decimal,
}

impl Aging {
    /// All buckets less the credit.
    #[must_use]
    pub fn total(&self) -> Decimal {
        self.buckets.iter().sum::<Decimal>() - self.credit
    }
}

/// A customer's account in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// ISO 4217.
    pub currency: Currency,
    /// Sum of the invoices issued and not withdrawn.
    pub invoiced: Decimal,
    /// What was paid on them.
    pub paid: Decimal,
    /// What is owed on them.
    pub due: Decimal,
    /// The part of it that is past its due date.
    pub overdue: Decimal,
    /// What credit notes still have to give.
    pub credit: Decimal,
}

/// Where a page of [`Store::aging_by_customer`] ended: customers in the order of their ids, then
/// nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgingCursor {
    /// The last row's customer; none for nobody.
    pub customer_id: Option<Uuid>,
    /// The last row's currency.
    pub currency: Currency,
}

pub(crate) type CachedSummary = (Instant, Arc<Summary>);

impl Store {
    /// Counts and amounts by status and currency, read at most some seconds ago.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Busy`] while too many reports run.
    pub async fn summary(
        &self,
        tenant: TenantId,
        filter: SummaryFilter,
    ) -> Result<Arc<Summary>, StoreError> {
        let (cache, key) = (&self.inner.summaries, (tenant, filter));
        cache.remove_if(&key, |(read, _)| read.elapsed() >= SUMMARY_TTL);
        // Those who ask for the same one wait for the first of them.
        let guard = match cache.get_value_or_guard_async(&key).await {
            Ok((_, summary)) => return Ok(summary),
            Err(guard) => guard,
        };
        let wait = self.inner.config.cluster.acquire_timeout;
        let turn = self.inner.reports.wait(tenant, wait).await;
        let _turn = turn.map_err(Error::Busy)?;
        let summary = Arc::new(self.retry(|| self.read_summary(tenant, filter)).await?);
        // Fails only where the entry was taken out meanwhile; the next caller reads again.
        let _kept = guard.insert((Instant::now(), Arc::clone(&summary)));
        Ok(summary)
    }

    async fn read_summary(
        &self,
        tenant: TenantId,
        filter: SummaryFilter,
    ) -> Result<Summary, StoreError> {
        let SummaryFilter { today, from, to } = filter;
        let recent = today
            .checked_sub_days(Days::new(RECENT_DAYS - 1))
            .unwrap_or(today);
        let mut conn = self.lend(tenant).await?;
        let tx = begin(&mut conn).await?;
        let params: [&(dyn ToSql + Sync); 5] = [&tenant.0, &today, &recent, &from, &to];
        let rows = tx.query(sql::REPORT_SUMMARY, &params).await?;
        let params: [&(dyn ToSql + Sync); 5] = [&tenant.0, &recent, &today, &from, &to];
        let paid = tx.query(sql::REPORT_PAID, &params).await?;
        tx.commit().await?;
        let mut summary = Summary {
            read_at: sheaf_cluster::rows::now(),
            totals: Vec::with_capacity(rows.len()),
            overdue: Vec::new(),
            issued: Vec::new(),
            paid: paid.iter().map(paid_sum).collect::<Result<_, _>>()?,
        };
        for row in &rows {
            summary.take(row)?;
        }
        summary.sort();
        Ok(summary)
    }

    /// What is owed now, by currency and days past due on `as_of`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aging(
        &self,
        tenant: TenantId,
        as_of: NaiveDate,
    ) -> Result<Vec<Aging>, StoreError> {
        self.retry(|| async move {
            let mut conn = self.lend(tenant).await?;
            let tx = begin(&mut conn).await?;
            let rows = tx.query(sql::REPORT_AGING, &[&tenant.0, &as_of]).await?;
            tx.commit().await?;
            rows.iter().map(|row| aging(row, None, 0)).collect()
        })
        .await
    }

    /// The same by customer and currency.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aging_by_customer(
        &self,
        tenant: TenantId,
        as_of: NaiveDate,
        after: Option<&AgingCursor>,
        limit: usize,
    ) -> Result<Page<Aging>, StoreError> {
        self.retry(|| self.try_aging(tenant, as_of, after, limit))
            .await
    }

    async fn try_aging(
        &self,
        tenant: TenantId,
        as_of: NaiveDate,
        after: Option<&AgingCursor>,
        limit: usize,
    ) -> Result<Page<Aging>, StoreError> {
        let wanted = limit.saturating_add(1);
        let mut conn = self.lend(tenant).await?;
        let tx = begin(&mut conn).await?;
        let mut rows = Vec::new();
        let mut nobody_after = "";
        match after {
            Some(AgingCursor {
                customer_id: None,
                currency,
            }) => nobody_after = currency.code(),
            after => {
                let (customer, currency) = after.map_or((Uuid::nil(), ""), |after| {
                    (after.customer_id.unwrap_or_default(), after.currency.code())
                });
                let limit = bounded(wanted);
                let params: [&(dyn ToSql + Sync); 5] =
                    [&tenant.0, &as_of, &customer, &currency, &limit];
                rows = tx.query(sql::REPORT_AGING_CUSTOMERS, &params).await?;
            }
        }
        if rows.len() < wanted {
            let limit = bounded(wanted - rows.len());
            let params: [&(dyn ToSql + Sync); 4] = [&tenant.0, &as_of, &nobody_after, &limit];
            rows.extend(tx.query(sql::REPORT_AGING_NOBODY, &params).await?);
        }
        tx.commit().await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let items = rows.iter().map(|row| aging(row, row.get(0), 1));
        Ok(Page {
            items: items.collect::<Result<_, _>>()?,
            has_more,
        })
    }

    /// The account of these customers together, by currency.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn balance(
        &self,
        tenant: TenantId,
        customers: &[Uuid],
        today: NaiveDate,
    ) -> Result<Vec<Balance>, StoreError> {
        self.retry(|| async move {
            let mut conn = self.lend(tenant).await?;
            let tx = begin(&mut conn).await?;
            let params: [&(dyn ToSql + Sync); 3] = [&tenant.0, &customers, &today];
            let rows = tx.query(sql::REPORT_BALANCE, &params).await?;
            tx.commit().await?;
            rows.iter().map(balance).collect()
        })
        .await
    }
}

/// One snapshot, with the settings of a report. Statements in it are planned for their parameters:
/// they run seldom.
async fn begin(conn: &mut Object) -> Result<Transaction<'_>, StoreError> {
    let tx = conn
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    tx.batch_execute(sql::REPORT_SETTINGS).await?;
    Ok(tx)
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Summary {
    fn take(&mut self, row: &Row) -> Result<(), StoreError> {
        let (currency, kind) = (currency(row, 0)?, kind(row, 1)?);
        let status: Status = row
            .get::<_, &str>(2)
            .parse()
            .map_err(|_| Error::Corrupt("invoice status".into()))?;
        self.totals.push(StatusTotal {
            currency,
            kind,
            status,
            count: row.get(3),
            total: row.get(4),
            paid: row.get(5),
            due: row.get(6),
        });
        if kind == Kind::Invoice && matches!(status, Status::Issued | Status::PartiallyPaid) {
            add(&mut self.overdue, currency, sum(row, 7));
        }
        if !matches!(status, Status::Draft | Status::Cancelled) {
            let of = |(c, k, _): &KindSum| (*c, *k) == (currency, kind);
            let recent = sum(row, 9);
            match self.issued.iter_mut().find(|entry| of(entry)) {
                Some((_, _, total)) => total.add(recent),
                None => self.issued.push((currency, kind, recent)),
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.totals
            .sort_by_key(|t| (t.currency, t.kind.as_str(), t.status.as_str()));
        self.overdue.retain(|(_, sum)| sum.count > 0);
        self.overdue.sort_by_key(|(currency, _)| *currency);
        self.issued.retain(|(.., sum)| sum.count > 0);
        for sums in [&mut self.issued, &mut self.paid] {
            sums.sort_by_key(|(currency, kind, _)| (*currency, kind.as_str()));
        }
    }
}

fn add(sums: &mut Vec<(Currency, Sum)>, currency: Currency, sum: Sum) {
    match sums.iter_mut().find(|(c, _)| *c == currency) {
        Some((_, total)) => total.add(sum),
        None => sums.push((currency, sum)),
    }
}

/// A count, and the amount beside it.
fn sum(row: &Row, at: usize) -> Sum {
    Sum {
        count: row.get(at),
        amount: row.get(at + 1),
    }
}

fn paid_sum(row: &Row) -> Result<KindSum, StoreError> {
    Ok((currency(row, 0)?, kind(row, 1)?, sum(row, 2)))
}

fn aging(row: &Row, customer_id: Option<Uuid>, at: usize) -> Result<Aging, StoreError> {
    Ok(Aging {
        customer_id,
        currency: currency(row, at)?,
        buckets: [1, 2, 3, 4, 5].map(|n| row.get(at + n)),
        credit: row.get(at + 6),
        invoices: row.get(at + 7),
    })
}

fn balance(row: &Row) -> Result<Balance, StoreError> {
    Ok(Balance {
        currency: currency(row, 0)?,
        invoiced: row.get(1),
        paid: row.get(2),
        due: row.get(3),
        overdue: row.get(4),
        credit: row.get(5),
    })
}

fn currency(row: &Row, at: usize) -> Result<Currency, StoreError> {
    let code: &str = row.get(at);
    Currency::parse(code).map_err(|_| Error::Corrupt(format!("currency {code:?}")).into())
}

fn kind(row: &Row, at: usize) -> Result<Kind, StoreError> {
    let text: &str = row.get(at);
    text.parse()
        .map_err(|_| Error::Corrupt(format!("kind {text:?}")).into())
}
