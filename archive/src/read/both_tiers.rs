//! Both tiers as one.

use std::collections::{BTreeSet, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use sheaf_model::{Invoice, TenantId};
use sheaf_store::{EVENT_PAGE_BYTES, EventRow, ListFilter, Page, Store};
use uuid::Uuid;

use crate::ArchiveError;
use crate::read::point::ColdReader;

/// Recalled invoices that a page looks for at most, and at once.
const RECALLED: (usize, usize) = (256, 16);
/// Bytes of a page's invoices, at most: those of a page of either tier. A single invoice may go
/// beyond.
const MAX_PAGE_WEIGHT: usize = 16 << 20;

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
        // A recall between the two reads takes an invoice from the tier that was asked last to the
        // one asked first.
        Ok(self
            .store
            .get_invoice(tenant, id)
            .await?
            .map(|invoice| (invoice, Tier::Hot)))
    }

    /// Events of an invoice after one of them, oldest first, wherever it is; `None` when there is
    /// no such invoice. A page ends before its limit where its events are long.
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
            let page = self.hot(tenant, filter, before, limit).await?;
            hot_floor = page.floor;
            pages.push(page);
        }
        if tier != Some(Tier::Hot) {
            let page = self
                .cold
                .list(tenant, filter, before, hot_floor, limit)
                .await?;
            pages.push(Part::of(Tier::Cold, page.items, page.resume_before));
            if tier.is_none() {
                let recalled = not_seen(page.recalled, &pages, limit);
                let found = self.recalled_meanwhile(tenant, filter, &recalled, limit);
                let found = found.await?;
                pages.push(found);
            }
        }
        Ok(merge(pages, limit))
    }

    /// The hot tier's page. Of a customer that others were merged into, their lists are read first:
    /// an invoice that the merge takes along in between is then seen at least once.
    async fn hot(
        &self,
        tenant: TenantId,
        filter: &ListFilter,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Part, ArchiveError> {
        let mut all = Part::of(Tier::Hot, Vec::new(), None);
        let merged = filter.merged.iter().copied().map(Some);
        for customer_id in merged.chain([filter.customer_id]) {
            let of_one = ListFilter {
                customer_id,
                merged: Vec::new(),
                ..filter.clone()
            };
            let list = self.store.list_invoices(tenant, &of_one, before, limit);
            let page = list.await?;
            let last = page.items.last().map(|last| last.id);
            let floor = last.filter(|_| page.has_more);
            let page = merge(vec![all, Part::of(Tier::Hot, page.items, floor)], limit);
            all = Part {
                items: page.items,
                floor: page.next_before,
            };
        }
        Ok(all)
    }

    /// Of the invoices that the archive left out as recalled, those that the hot tier did not have
    /// either: recalled after it was read, if they still satisfy the filter.
    async fn recalled_meanwhile(
        &self,
        tenant: TenantId,
        filter: &ListFilter,
        recalled: &[Uuid],
        limit: usize,
    ) -> Result<Part, ArchiveError> {
        let (mut items, mut asked): (Vec<(Invoice, Tier)>, usize) = (Vec::new(), 0);
        let (most, at_once) = RECALLED;
        for ids in recalled[..recalled.len().min(most)].chunks(at_once) {
            let found = stream::iter(ids.to_vec()).map(|id| self.get(tenant, id));
            let found: Vec<_> = found.buffered(at_once).try_collect().await?;
            let matching = found.into_iter().flatten();
            items.extend(matching.filter(|(invoice, _)| filter.matches(invoice)));
            asked += ids.len();
            let weight: usize = items.iter().map(|(invoice, _)| invoice.weight()).sum();
            if items.len() >= limit || weight >= MAX_PAGE_WEIGHT {
                break;
            }
        }
        // What was not asked for is the next page's.
        let floor = (asked < recalled.len()).then(|| recalled[asked - 1]);
        Ok(Part { items, floor })
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
    items: Vec<(Invoice, Tier)>,
    /// All of the tier from here upwards is in `items`; none when that is all there is.
    floor: Option<Uuid>,
}

impl Part {
    fn of(tier: Tier, items: Vec<Invoice>, floor: Option<Uuid>) -> Self {
        let items = items.into_iter().map(|invoice| (invoice, tier)).collect();
        Self { items, floor }
    }
}

/// Below the highest floor, some tier may have an invoice that was not read.
fn floor(parts: &[Part]) -> Option<Uuid> {
    parts.iter().filter_map(|part| part.floor).max()
}

/// Those of the ids, newest first, that have a place on the page and are in none of its parts.
fn not_seen(mut ids: Vec<Uuid>, parts: &[Part], limit: usize) -> Vec<Uuid> {
    let items = parts.iter().flat_map(|part| &part.items);
    let seen: BTreeSet<Uuid> = items.map(|(invoice, _)| invoice.id).collect();
    let full = seen.iter().rev().nth(limit.saturating_sub(1)).copied();
    let floor = floor(parts).max(full);
    ids.retain(|id| floor.is_none_or(|floor| *id >= floor) && !seen.contains(id));
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids
}

/// Merges pages; of an id that is in several, the first page's invoice is taken.
fn merge(parts: Vec<Part>, limit: usize) -> MergedPage {
    let floor = floor(&parts);
    let mut seen = HashSet::new();
    let mut items: Vec<(Invoice, Tier)> = Vec::new();
    for part in parts {
        let whole = part
            .items
            .into_iter()
            .filter(|(invoice, _)| floor.is_none_or(|floor| invoice.id >= floor));
        items.extend(whole.filter(|(invoice, _)| seen.insert(invoice.id)));
    }
    items.sort_unstable_by_key(|(invoice, _)| std::cmp::Reverse(invoice.id));
    let mut weight = 0;
    let fits = items.iter().take(limit).take_while(|(invoice, _)| {
        let is_first = weight == 0;
        weight += invoice.weight();
        is_first || weight <= MAX_PAGE_WEIGHT
    });
    let fits = fits.count();
    let cut = items.len() > fits;
    items.truncate(fits);
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
