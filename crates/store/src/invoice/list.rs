//! Lists of hot invoices, newest first.

use futures_util::future::try_join_all;
use sheaf_model::{Invoice, Metadata, TenantId, id};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use crate::Page;
use crate::cold::recall::Jsonb;
use crate::invoice::decode;
use crate::invoice::filter::ListFilter;
use crate::invoice::ids::Wanted;
use crate::{Store, StoreError, sql};

/// Lines of one page, at most: invoices can have 10,000 lines each, and a page must stay a page.
pub const MAX_PAGE_LINES: i64 = 20_000;
/// Bytes of one page's headers, lines and payments, at most, but for its first invoice: a line may
/// have some kilobytes.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// Lines and payments that are read before their bytes are looked at.
const STEP: i64 = 2_000;

impl Store {
    /// Hot invoices of a tenant with ids below `before`, newest first, whole. A page ends early
    /// where its invoices together have more than [`MAX_PAGE_LINES`] lines, or are long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_invoices(
        &self,
        tenant: TenantId,
        filter: &ListFilter,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Invoice>, StoreError> {
        self.retry(|| self.try_list(tenant, filter, before, limit))
            .await
    }

    async fn try_list(
        &self,
        tenant: TenantId,
        filter: &ListFilter,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Invoice>, StoreError> {
        let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let query = sql::INVOICE_LIST.replace("{metadata}", &conditions(filter));
        let wanted = filter.metadata.iter();
        let wanted: Vec<_> = wanted.map(|(k, v)| Metadata::wanted(k, v)).collect();
        // As text, which PostgreSQL reads as `numeric`: no number goes through a float. The string
        // twice where the value is nothing else.
        let forms: Vec<(Jsonb<'_>, Jsonb<'_>)> = wanted
            .iter()
            .map(|(text, scalar)| {
                let scalar = scalar.as_ref().unwrap_or(text);
                (Jsonb(text.as_str()), Jsonb(scalar.as_str()))
            })
            .collect();
        let (status, kind) = (
            filter.status.map(|s| s.as_str()),
            filter.kind.map(|k| k.as_str()),
        );
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &tenant.0,
            &before,
            &one_more,
            &status,
            &kind,
            &filter.customer_id,
            &filter.number,
            &filter.external_id,
            &filter.issued_from,
            &filter.issued_to,
        ];
        for (text, scalar) in &forms {
            params.push(text);
            params.push(scalar);
        }
        if let Some(day) = &filter.overdue_on {
            params.push(day);
        }

        let mut conn = self.lend(tenant).await?;
        // How common a value is decides whether the index of metadata (or of customers) or the
        // newest invoices lead to a page. A kept plan does not look at values; one that is made for
        // this page does (docs/decisions/0010-index-of-metadata.md).
        let looked_up = filter.customer_id.is_some() || filter.overdue_on.is_some();
        let list = if forms.is_empty() && !looked_up {
            conn.prepare_cached(&query).await?
        } else {
            conn.prepare(&query).await?
        };
        let of_lines = conn.prepare_cached(sql::LINE_GET).await?;
        let of_payments = conn.prepare_cached(sql::PAYMENT_GET).await?;
        let tx = conn
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let mut headers = tx.query(&list, &params).await?;
        let mut has_more = decode::cut(&mut headers, limit, MAX_PAGE_LINES);
        let mut bytes: usize = headers.iter().map(Row::raw_size_bytes).sum();
        let (mut lines, mut payments) = (Vec::new(), Vec::new());
        let mut read = 0;
        while read < headers.len() {
            let step = step(&headers[read..]);
            let ids: Vec<Uuid> = step.iter().map(|r| decode::key(r).1).collect();
            // Ids carry their time, so a year's are neighbours.
            let of_years = ids.chunk_by(|a, b| id::year_of(*a) == id::year_of(*b));
            let children = try_join_all(of_years.map(|ids| {
                let (tx, lines, payments) = (&tx, &of_lines, &of_payments);
                let wanted = Wanted::new(tenant.0, id::year_of(ids[0]), ids.to_vec());
                async move {
                    let params = wanted.params();
                    tokio::try_join!(tx.query(lines, &params), tx.query(payments, &params))
                }
            }))
            .await?;
            read += ids.len();
            for (of_lines, of_payments) in children {
                let all = of_lines.iter().chain(&of_payments);
                bytes += all.map(Row::raw_size_bytes).sum::<usize>();
                lines.extend(of_lines);
                payments.extend(of_payments);
            }
            if bytes > MAX_PAGE_BYTES && read < headers.len() {
                headers.truncate(read);
                has_more = true;
            }
        }
        tx.commit().await?;
        Ok(Page {
            items: decode::assemble(&headers, &lines, &payments)?,
            has_more,
        })
    }
}

/// The next headers whose lines and payments are read together: all of them, where they are few.
fn step(headers: &[Row]) -> &[Row] {
    let mut rows = 0_i64;
    let fits = headers.iter().take_while(|header| {
        let first = rows == 0;
        let (lines, payments) = decode::counts(header);
        rows += 1 + i64::from(lines) + i64::from(payments);
        first || rows <= STEP
    });
    &headers[..fits.count()]
}

/// What the placeholder of the list's statement takes.
fn conditions(filter: &ListFilter) -> String {
    let keys = filter.metadata.len();
    let mut conditions: String = (0..keys)
        .map(|k| {
            format!(
                "  and (metadata @> ${} or metadata @> ${})\n",
                11 + 2 * k,
                12 + 2 * k
            )
        })
        .collect();
    if filter.overdue_on.is_some() {
        conditions.push_str(&format!(
            "  and kind = 'invoice' and status in ('issued', 'partially_paid') and due_date < \
             ${}\n",
            11 + 2 * keys
        ));
    }
    conditions
}
