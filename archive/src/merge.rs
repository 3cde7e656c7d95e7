//! Both tiers as one.

use std::collections::HashSet;

use sheaf_model::{Invoice, TenantId};
use sheaf_store::{EVENT_PAGE_BYTES, EventRow, ListFilter, Page, Store};
use uuid::Uuid;

use crate::ArchiveError;
use crate::read::ColdReader;

/// Where an invoice was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// PostgreSQL.
    Hot,
    /// Parquet.
    Cold,
}

impl Tier {
    /// As answered in `Sheaf-Tier`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
        }
    }
}

/// A page over both tiers.
#[derive(Clone, Debug, Default)]
pub struct MergedPage {
    /// Newest id first, no id twice.
    pub items: Vec<(Invoice, Tier)>,
    /// Whether older ones may follow; the page itself can be short of its limit, and even empty.
    pub has_more: bool,
    /// Ask for the next page before this id. Given when there is more.
    pub next_before: Option<Uuid>,
}

/// Reads invoices wherever they are. Cheap to clone.
#[derive(Clone)]
pub struct InvoiceReader {
    store: Store,
    cold: ColdReader,
}

impl InvoiceReader {
    pub(crate) fn new(store: Store, cold: ColdReader) -> Self {
        Self { store, cold }
    }

    /// The cold tier alone.
    pub fn cold(&self) -> &ColdReader {
        &self.cold
    }

    /// The invoice and its tier.
    ///
    /// # Errors
    /// A tier that had to be asked fails.
    pub async fn get(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<(Invoice, Tier)>, ArchiveError> {
        if let Some(invoice) = self.store.get_invoice(tenant, id).await? {
            return Ok(Some((invoice, Tier::Hot)));
        }
        if let Some(invoice) = self.cold.get(tenant, id).await? {
            return Ok(Some((invoice, Tier::Cold)));
        }
        // A recall between the two reads takes an invoice from the tier that was asked last to the one asked first.
        Ok(self
            .store
            .get_invoice(tenant, id)
            .await?
            .map(|invoice| (invoice, Tier::Hot)))
    }

    /// Events of an invoice after one of them, oldest first, wherever it is; `None` when there is no such invoice. A page ends
    /// before its limit where its events are long.
    ///
    /// # Errors
    /// A tier that had to be asked fails.
    pub async fn events(
        &self,
        tenant: TenantId,
        id: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Option<Page<EventRow>>, ArchiveError> {
        let hot = self.store.events_of(tenant, id, after, limit).await?;
        if !hot.items.is_empty() || self.store.get_invoice(tenant, id).await?.is_some() {
            return Ok(Some(hot));
        }
        if let Some(mut events) = self.cold.events(tenant, id).await? {
            events.retain(|event| after.is_none_or(|after| event.id > after));
            return Ok(Some(page_of(events, limit)));
        }
        // A recall between the reads has brought it back.
        let hot = self.store.events_of(tenant, id, after, limit).await?;
        Ok((!hot.items.is_empty()).then_some(hot))
    }

    /// Invoices below `before` that satisfy the filter, of one tier or of both in one order.
    ///
    /// # Errors
    /// A tier that had to be asked fails.
    pub async fn list(
        &self,
        tenant: TenantId,
        filter: &ListFilter,
        before: Option<Uuid>,
        limit: usize,
        tier: Option<Tier>,
    ) -> Result<MergedPage, ArchiveError> {
        let (mut pages, mut hot_floor) = (Vec::with_capacity(2), None);
        // Hot first: an invoice that moves in between is then seen at least once.
        if tier != Some(Tier::Cold) {
            let page = self
                .store
                .list_invoices(tenant, filter, before, limit)
                .await?;
            let floor = page
                .items
                .last()
                .map(|last| last.id)
                .filter(|_| page.has_more);
            hot_floor = floor;
            pages.push(Part {
                tier: Tier::Hot,
                items: page.items,
                floor,
            });
        }
        if tier != Some(Tier::Hot) {
            let page = self
                .cold
                .list(tenant, filter, before, hot_floor, limit)
                .await?;
            pages.push(Part {
                tier: Tier::Cold,
                items: page.items,
                floor: page.resume_before,
            });
        }
        Ok(merge(pages, limit))
    }
}

/// The first events, as many as a page has room for, but never none.
fn page_of(mut events: Vec<EventRow>, limit: usize) -> Page<EventRow> {
    let mut bytes = 0;
    let fits = events.iter().take(limit).take_while(|event| {
        let first = bytes == 0;
        bytes += event.weight();
        first || bytes <= EVENT_PAGE_BYTES
    });
    let fits = fits.count();
    let has_more = events.len() > fits;
    events.truncate(fits);
    Page {
        items: events,
        has_more,
    }
}

/// A page of one tier.
struct Part {
    tier: Tier,
    items: Vec<Invoice>,
    /// All of the tier from here upwards is in `items`; none when that is all there is.
    floor: Option<Uuid>,
}

/// Merges pages; of an id that is in several, the first page's invoice is taken.
fn merge(parts: Vec<Part>, limit: usize) -> MergedPage {
    // Below the highest floor, some tier may have an invoice that was not read.
    let floor = parts.iter().filter_map(|part| part.floor).max();
    let mut seen = HashSet::new();
    let mut items: Vec<(Invoice, Tier)> = Vec::new();
    for part in parts {
        let whole = part
            .items
            .into_iter()
            .filter(|invoice| floor.is_none_or(|floor| invoice.id >= floor));
        items.extend(
            whole
                .filter(|invoice| seen.insert(invoice.id))
                .map(|invoice| (invoice, part.tier)),
        );
    }
    items.sort_unstable_by_key(|(invoice, _)| std::cmp::Reverse(invoice.id));
    let cut = items.len() > limit;
    items.truncate(limit);
    let next_before = if cut {
        items.last().map(|(last, _)| last.id)
    } else {
        floor
    };
    MergedPage {
        items,
        has_more: next_before.is_some(),
        next_before,
    }
}
