//! The audit trail: the events of an invoice, and the feed of all events of a tenant.

use chrono::{DateTime, TimeDelta, Utc};
use sheaf_model::{TenantId, id};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::Page;
use crate::event::row::EventRow;
use crate::invoice::decode;
use crate::{Route, Store, StoreError, sql};
use sheaf_cluster::rows::fetch::fetch;

/// Bytes of the events on one page, but never less than one event.
pub const EVENT_PAGE_BYTES: usize = 1 << 20;
/// What the feed stays behind where another node's clock gives the times, and its transactions
/// cannot be seen.
const BLIND: TimeDelta = TimeDelta::seconds(60);

/// An event of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEvent {
    /// The invoice or customer that changed.
    pub subject_id: Uuid,
    /// The event.
    pub event: EventRow,
    /// Its place in the feed.
    pub position: FeedPosition,
}

/// A place in the feed: after the event with this time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPosition {
    /// When the owner wrote it, in microseconds since 1970.
    pub micros: i64,
    /// The event's id.
    pub id: Uuid,
}

impl Store {
    /// Events of a hot invoice or of a customer after one of them, in the order of their ids. A
    /// page ends before its limit where its events are long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(
        &self,
        tenant: TenantId,
        subject: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<EventRow>, StoreError> {
        let read = || async {
            let conn = self.lend(tenant).await?;
            let page = conn.prepare_cached(sql::EVENT_PAGE).await?;
            let (year, after) = (id::year_of(subject), after.unwrap_or_default());
            let more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
            let params: [&(dyn ToSql + Sync); 5] = [&tenant.0, &year, &subject, &after, &more];
            let page = fetch(&conn, &page, &params, EVENT_PAGE_BYTES).await?;
            let events = page.rows.iter().map(decode::event).collect::<Vec<_>>();
            Ok((events, page.cut))
        };
        let (mut items, cut) = self.retry(read).await?;
        let has_more = cut || items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, has_more })
    }

    /// Events after a place in the feed, in the order in which their node wrote them. An event is
    /// told only when no transaction is open that could still bring an earlier one: whoever goes on
    /// from the last event told misses none, however late it commits. Events of archived invoices
    /// have left the feed. A page ends before its limit where its events are long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feed(
        &self,
        tenant: TenantId,
        after: Option<FeedPosition>,
        limit: usize,
    ) -> Result<Page<FeedEvent>, StoreError> {
        let after = after.unwrap_or(FeedPosition {
            micros: 0,
            id: Uuid::nil(),
        });
        let since = DateTime::from_timestamp_micros(after.micros).unwrap_or_default();
        let read = || async {
            let conn = self.lend(tenant).await?;
            let horizon = conn.prepare_cached(sql::EVENT_HORIZON).await?;
            let feed = conn.prepare_cached(sql::EVENT_FEED).await?;
            // First the horizon, then a snapshot that is later: what was open before it has ended
            // or is beyond it.
            let mut until: DateTime<Utc> = conn.query_one(&horizon, &[]).await?.get(0);
            if self.is_citus() && self.inner.config.cluster.route == Route::Coordinator {
                until -= BLIND;
            }
            let limit = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
            let params: [&(dyn ToSql + Sync); 5] = [&tenant.0, &since, &after.id, &until, &limit];
            Ok(fetch(&conn, &feed, &params, EVENT_PAGE_BYTES).await?)
        };
        let page = self.retry(read).await?;
        let mut items: Vec<FeedEvent> = page
            .rows
            .iter()
            .map(|row| {
                let event = decode::event(row);
                let recorded_at: DateTime<Utc> = row.get(10);
                FeedEvent {
                    subject_id: row.get(1),
                    position: FeedPosition {
                        micros: recorded_at.timestamp_micros(),
                        id: event.id,
                    },
                    event,
                }
            })
            .collect();
        let has_more = page.cut || items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, has_more })
    }
}
