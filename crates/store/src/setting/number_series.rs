//! Invoice numbers: gapless series of a tenant, given at issue, in the transaction that issues.
//!
//! A series' rows stay locked until that commit, so that a number is used by a document or was
//! never given. The row of year 0 says what numbers look like; a prefix with `{year}` starts again
//! every year, in a row of that year.

pub(crate) mod look;
pub(crate) mod reserve;

use sheaf_model::TenantId;
use tokio_postgres::types::ToSql;

pub(crate) use look::Archived;
pub(crate) use reserve::{Needs, Numbers, TenantNeeds};

use crate::{NewEvent, Store, StoreError, sql};
use sheaf_cluster::error::commit_failed;

/// The series of invoices.
pub const INVOICE: &str = "invoice";
/// The series of credit notes.
pub const NOTE: &str = "credit_note";
/// What stands for the year in a prefix.
pub const YEAR: &str = "{year}";
const PADDING: i16 = 6;

fn default_prefix(series: &str) -> &'static str {
    if series == NOTE {
        "CN-{year}-"
    } else {
        "INV-{year}-"
    }
}

/// A series as its tenant set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberSeries {
    /// `invoice` or `credit_note`.
    pub series: String,
    /// The year that is counted; 0 when numbers run through the years, and for the form of the
    /// series.
    pub year: i16,
    /// Before the number; `{year}` is the year of issue.
    pub prefix: String,
    /// Digits at least.
    pub padding: i16,
    /// The next number.
    pub next: i64,
}

impl Store {
    /// The tenant's series, by name and year; the row of year 0 is the form. Series that nobody has
    /// used or set are given with their defaults.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn number_series(&self, tenant: TenantId) -> Result<Vec<NumberSeries>, StoreError> {
        let conn = self.lend(tenant).await?;
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

    /// Sets rows of a series, all or none: its form and its counts, with the event that tells of
    /// it. `false` when a count would go back; nothing is changed then.
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
        let mut conn = self.lend(tenant).await?;
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
        tx.commit().await.map_err(commit_failed)?;
        Ok(true)
    }
}
