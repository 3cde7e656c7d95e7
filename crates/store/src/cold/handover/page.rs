//! Pages of whole invoices with their events, in the order of the ids, at the snapshot of a
//! connection.

use std::collections::HashMap;

use deadpool_postgres::Object;
use sheaf_model::{Invoice, TenantId, id};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::cold::archive::ArchivedInvoice;
use crate::event::row::EventRow;
use crate::invoice::decode;
use crate::{MAX_PAGE_LINES, StoreError, sql};
use sheaf_cluster::Error;
use sheaf_cluster::rows::fetch::{Fetched, fetch, fetch_of};

/// Ids of one tenant's year, both ends excluded.
pub(crate) struct Span {
    pub(crate) tenant: TenantId,
    pub(crate) year: i16,
    pub(crate) after: Uuid,
    pub(crate) before: Uuid,
}

/// Neighbours by id.
pub(crate) struct Page {
    /// Those that were wanted, whole and with their events.
    pub(crate) invoices: Vec<ArchivedInvoice>,
    /// The last that was looked at; none at the end of the span.
    pub(crate) last: Option<Uuid>,
}

/// Bytes of each, of the headers, lines, payments and events on a page; one invoice may go beyond.
/// Ten thousand lines, or a long history, are some megabytes.
const PAGE_BYTES: usize = 8 << 20;

/// The first invoices of the span: up to `max_invoices`, of which those are given whose header
/// `is_wanted`. What belongs to the others is read with them and left, so wanted ones should be the
/// rule.
pub(crate) async fn read_page(
    conn: &Object,
    span: &Span,
    max_invoices: usize,
    is_wanted: impl Fn(&Row) -> bool,
) -> Result<Page, StoreError> {
    let limit = i64::try_from(max_invoices).unwrap_or(i64::MAX);
    let page = conn.prepare_cached(sql::INVOICE_READ_PERIOD).await?;
    let params: [&(dyn ToSql + Sync); 5] = [
        &span.tenant.0,
        &span.year,
        &span.after,
        &span.before,
        &limit,
    ];
    let mut headers = fetch(conn, &page, &params, PAGE_BYTES).await?.rows;
    decode::cut(&mut headers, max_invoices, MAX_PAGE_LINES);
    let mut last = headers.last().map(|header| decode::key(header).1);
    headers.retain(is_wanted);
    let (Some(to), false) = (last, headers.is_empty()) else {
        let invoices = Vec::new();
        return Ok(Page { invoices, last });
    };
    let mut children = Children::read(conn, span, (&headers, to), PAGE_BYTES).await?;
    if let Some(partial) = children.partial() {
        let whole = headers.partition_point(|header| decode::key(header).1 < partial);
        headers.truncate(whole.max(1));
        let to = headers.last().map_or(to, |header| decode::key(header).1);
        if whole == 0 {
            // More belongs to the first of them than a page has room for: it is a page of its own.
            children = Children::read(conn, span, (&headers, to), usize::MAX).await?;
        }
        last = Some(to);
    }
    Ok(Page {
        invoices: children.into_invoices(&headers, span.year)?,
        last,
    })
}

/// What belongs to the invoices of a span, each by invoice.
struct Children {
    lines: Fetched,
    payments: Fetched,
    events: Fetched,
}

impl Children {
    /// Of the invoices with these headers, the last of which is `to` or before it; as far as
    /// `bytes` go.
    async fn read(
        conn: &Object,
        span: &Span,
        of: (&[Row], Uuid),
        bytes: usize,
    ) -> Result<Self, StoreError> {
        let (lines, payments, events) = tokio::try_join!(
            children(conn, sql::LINE_BETWEEN, span, of, bytes),
            children(conn, sql::PAYMENT_BETWEEN, span, of, bytes),
            children(conn, sql::EVENT_BETWEEN, span, of, bytes),
        )?;
        Ok(Self {
            lines,
            payments,
            events,
        })
    }

    /// The first invoice that more may belong to than was read: all before it are whole.
    fn partial(&self) -> Option<Uuid> {
        let ends = [&self.lines, &self.payments, &self.events];
        let cut = ends.into_iter().filter(|fetched| fetched.cut);
        cut.filter_map(|fetched| fetched.rows.last().map(|row| decode::key(row).1))
            .min()
    }

    fn into_invoices(self, headers: &[Row], year: i16) -> Result<Vec<ArchivedInvoice>, StoreError> {
        let mut by_invoice: HashMap<Uuid, Vec<EventRow>> = HashMap::with_capacity(headers.len());
        for row in &self.events.rows {
            let events = by_invoice.entry(decode::key(row).1).or_default();
            events.push(decode::event(row));
        }
        let with_events = |invoice: Invoice| {
            let id = invoice.id;
            if id::year_of(id) != year {
                let detail = format!("invoice {id} lies in the partition of {year}");
                return Err(Error::Corrupt(detail).into());
            }
            let events = by_invoice.remove(&id).unwrap_or_default();
            Ok(ArchivedInvoice { invoice, events })
        };
        decode::assemble(headers, &self.lines.rows, &self.payments.rows)?
            .into_iter()
            .map(with_events)
            .collect()
    }
}

/// Rows of one table. Between invoices lie others, and, among events, those of customers: they are
/// passed over.
async fn children(
    conn: &Object,
    query: &str,
    span: &Span,
    (headers, to): (&[Row], Uuid),
    bytes: usize,
) -> Result<Fetched, StoreError> {
    let statement = conn.prepare_cached(query).await?;
    let params: [&(dyn ToSql + Sync); 4] = [&span.tenant.0, &span.year, &span.after, &to];
    // Both are in the order of the ids.
    let mut wanted = headers
        .iter()
        .map(|header| decode::key(header).1)
        .peekable();
    let is_wanted = move |row: &Row| {
        let id = decode::key(row).1;
        while wanted.next_if(|wanted| *wanted < id).is_some() {}
        wanted.peek() == Some(&id)
    };
    Ok(fetch_of(conn, &statement, &params, bytes, is_wanted).await?)
}
