//! Lists of archived invoices, newest id first, over files whose ranges of ids may overlap.
//!
//! A heap holds what was not read yet, each entry under the largest id that it can give: files,
//! then row groups of opened files, then invoices of fetched row groups. Whatever is on top is
//! next.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use sheaf_model::{Invoice, TenantId};
use sheaf_store::{ArchiveFile, ListFilter};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::footer::Footer;
use crate::file::row_group::{RowGroupData, customers};
use crate::object::purpose::ReadKind;
use crate::read::point::ColdReader;

/// Invoices of a page, at most.
pub const MAX_LIMIT: usize = 100;
/// Lines of a page, at most; a single invoice may go beyond.
pub const MAX_PAGE_LINES: usize = 20_000;
/// Bytes of a page's invoices, at most; a single invoice may go beyond.
const MAX_PAGE_WEIGHT: usize = 8 << 20;
/// Row groups that one page may fetch.
pub const MAX_PAGE_GROUPS: usize = 64;
/// Bytes of row groups that one page may fetch.
pub const MAX_PAGE_BYTES: u64 = 64 * 1024 * 1024;
/// Row groups that a page opens at the very most, when they all overlap.
const MAX_OVERLAP: usize = 4_096;
/// Files that are asked of the catalog first, and at most.
const CATALOG_PAGE: (usize, usize) = (64, 1_000);
/// Rows, and lines, that are decoded at once.
const CHUNK: (usize, u64) = (32, 8_192);

/// A page of archived invoices.
#[derive(Debug, Clone, Default)]
pub struct ColdPage {
    /// Newest id first.
    pub items: Vec<Invoice>,
    /// Whether older ones may follow. The page can be short of its limit and yet have more: its
    /// work is bounded.
    pub has_more: bool,
    /// Ask for the next page before this id: everything from it upwards was seen. Given when there
    /// is more.
    pub resume_before: Option<Uuid>,
    /// Invoices that are not in `items` because they were recalled, though their archived copy
    /// satisfies the filter. In no order, and some may lie below `resume_before`.
    pub recalled: Vec<Uuid>,
}

/// What was not read yet, under the largest id that it can give.
struct Entry {
    bound: Uuid,
    what: What,
}

enum What {
    File(Box<ArchiveFile>),
    RowGroup(Arc<Footer>, usize, Arc<HashSet<Uuid>>),
    Rows(Box<Cursor>),
    /// The catalog has more files from here on.
    Catalog,
}

impl Entry {
    /// At one bound, rows come first: they are nearest to an answer.
    fn rank(&self) -> (Uuid, u8) {
        let order = match self.what {
            What::Rows(_) => 3,
            What::RowGroup(..) => 2,
            What::File(_) => 1,
            What::Catalog => 0,
        };
        (self.bound, order)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A fetched row group, read from its end.
struct Cursor {
    data: RowGroupData,
    /// Invoices whose copy here is out of date.
    recalled: Arc<HashSet<Uuid>>,
    /// Rows that were not decoded yet, ascending.
    candidates: Vec<usize>,
    /// Decoded invoices, ascending.
    ready: Vec<Invoice>,
    /// Recalled ones that satisfy the filter, until they are reported.
    left_out: Vec<Uuid>,
}

impl Cursor {
    fn open(
        data: RowGroupData,
        recalled: Arc<HashSet<Uuid>>,
        before: Option<Uuid>,
        filter: &ListFilter,
    ) -> Result<Self, ArchiveError> {
        let candidates = data.candidates(before, filter)?;
        let mut cursor = Self {
            data,
            recalled,
            candidates,
            ready: Vec::new(),
            left_out: Vec::new(),
        };
        cursor.fill(filter)?;
        Ok(cursor)
    }

    /// Decodes until something is ready or nothing is left.
    fn fill(&mut self, filter: &ListFilter) -> Result<(), ArchiveError> {
        let row_group = &self.data.footer.row_groups[self.data.row_group];
        let lines_per_row = row_group.lines / (row_group.rows as u64).max(1) + 1;
        let chunk = usize::try_from(CHUNK.1 / lines_per_row)
            .unwrap_or(CHUNK.0)
            .clamp(1, CHUNK.0);
        while self.ready.is_empty() && !self.candidates.is_empty() {
            let numbers = self
                .candidates
                .split_off(self.candidates.len().saturating_sub(chunk));
            self.ready = self.data.rows(&numbers, |rows, row| rows.invoice(row))?;
            self.ready.retain(|invoice| {
                let matches = filter.matches(invoice);
                let is_recalled = matches && self.recalled.contains(&invoice.id);
                if is_recalled {
                    self.left_out.push(invoice.id);
                }
                matches && !is_recalled
            });
        }
        Ok(())
    }

    fn bound(&self) -> Option<Uuid> {
        self.ready.last().map(|invoice| invoice.id)
    }
}

/// One page in the making.
struct Listing<'a> {
    reader: &'a ColdReader,
    tenant: TenantId,
    filter: Arc<ListFilter>,
    before: Option<Uuid>,
    floor: Option<Uuid>,
    /// What is opened from here on gives ids below this only.
    ceiling: Option<Uuid>,
    heap: BinaryHeap<Entry>,
    known: HashSet<String>,
    catalog_limit: usize,
    row_groups: usize,
    bytes: u64,
    recalled: Vec<Uuid>,
}

/// The id after `id`: what to ask `before` so that `id` is still included.
fn successor(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

impl ColdReader {
    /// Archived invoices below `before` that satisfy the filter. `limit` is at most [`MAX_LIMIT`].
    /// Nothing below `floor` is wanted: where the hot tier has filled a page, no file is opened for
    /// what comes behind it.
    ///
    /// # Errors
    /// The catalog or the storage fails, or an object is damaged.
    pub async fn list(
        &self,
        tenant: TenantId,
        filter: &ListFilter,
        before: Option<Uuid>,
        floor: Option<Uuid>,
        limit: usize,
    ) -> Result<ColdPage, ArchiveError> {
        let mut listing = Listing {
            reader: self,
            tenant,
            filter: Arc::new(filter.clone()),
            before,
            floor,
            ceiling: before,
            heap: BinaryHeap::new(),
            known: HashSet::new(),
            catalog_limit: CATALOG_PAGE.0,
            row_groups: 0,
            bytes: 0,
            recalled: Vec::new(),
        };
        let page = async {
            listing.more_files(before).await?;
            let mut page = listing.page(limit.clamp(1, MAX_LIMIT)).await?;
            page.recalled = listing.recalled;
            Ok(page)
        };
        ReadKind::List.scope(page).await
    }
}

/// A page that ends at its bound, or where nothing is left.
fn ended(items: Vec<Invoice>, resume_before: Option<Uuid>) -> ColdPage {
    ColdPage {
        items,
        has_more: resume_before.is_some(),
        resume_before,
        recalled: Vec::new(),
    }
}

impl Listing<'_> {
    async fn page(&mut self, limit: usize) -> Result<ColdPage, ArchiveError> {
        let mut items: Vec<Invoice> = Vec::new();
        let (mut lines, mut weight) = (0, 0);
        while let Some(entry) = self.heap.pop() {
            let bound = entry.bound;
            if let Some(floor) = self.floor.filter(|floor| bound < *floor) {
                return Ok(ended(items, Some(floor)));
            }
            if !matches!(entry.what, What::Rows(_)) && self.is_exhausted(bound)? {
                // Whatever was not read has ids up to `bound`.
                return Ok(ended(items, Some(successor(bound))));
            }
            match entry.what {
                What::File(file) => self.open_file(&file).await?,
                What::RowGroup(footer, row_group, recalled) => {
                    self.open_group(footer, row_group, recalled).await?;
                }
                What::Catalog => {
                    // A file that took the place of others meanwhile has their ids as well, down
                    // from any.
                    let below = self.below(bound);
                    self.ceiling = Some(below);
                    self.more_files(Some(below)).await?;
                }
                What::Rows(mut cursor) => {
                    let Some(invoice) = cursor.ready.pop() else {
                        continue;
                    };
                    let of_one = (invoice.lines.len(), invoice.weight());
                    let full =
                        lines + of_one.0 > MAX_PAGE_LINES || weight + of_one.1 > MAX_PAGE_WEIGHT;
                    if items.len() >= limit || (full && !items.is_empty()) {
                        let resume_before = items.last().map(|last| last.id);
                        return Ok(ended(items, resume_before));
                    }
                    (lines, weight) = (lines + of_one.0, weight + of_one.1);
                    // A recalled and re-archived invoice can be in two files for a moment.
                    if items.last().is_none_or(|last| last.id != invoice.id) {
                        items.push(invoice);
                    }
                    self.advance(cursor).await?;
                }
            }
        }
        Ok(ended(items, None))
    }

    /// Whether the page has done its share of work, given that everything above `bound` was read.
    /// Not before it got ahead: where very many row groups overlap at `before`, all of them must be
    /// opened for the first step.
    fn is_exhausted(&self, bound: Uuid) -> Result<bool, ArchiveError> {
        if self.row_groups >= MAX_OVERLAP {
            return Err(ArchiveError::TooManyFiles { limit: MAX_OVERLAP });
        }
        let spent = self.row_groups >= MAX_PAGE_GROUPS || self.bytes >= MAX_PAGE_BYTES;
        Ok(spent && self.before.is_none_or(|before| successor(bound) < before))
    }

    /// The exclusive bound that includes `bound`, but nothing that the page was not asked for.
    fn below(&self, bound: Uuid) -> Uuid {
        let next = successor(bound);
        self.before.map_or(next, |before| before.min(next))
    }

    /// Puts something under the largest id that it can give.
    fn push(&mut self, bound: Uuid, what: What) {
        let most = self
            .ceiling
            .map(|ceiling| Uuid::from_u128(ceiling.as_u128().saturating_sub(1)));
        let bound = most.map_or(bound, |most| bound.min(most));
        self.heap.push(Entry { bound, what });
    }

    /// Puts a cursor back under its next invoice.
    async fn advance(&mut self, mut cursor: Box<Cursor>) -> Result<(), ArchiveError> {
        if cursor.ready.is_empty() && !cursor.candidates.is_empty() {
            let filter = self.filter.clone();
            cursor = tokio::task::spawn_blocking(move || cursor.fill(&filter).map(|()| cursor))
                .await??;
        }
        self.recalled.append(&mut cursor.left_out);
        if let Some(bound) = cursor.bound() {
            self.heap.push(Entry {
                bound,
                what: What::Rows(cursor),
            });
        }
        Ok(())
    }

    /// Takes in the next files of the catalog, and remembers when there are more.
    async fn more_files(&mut self, before: Option<Uuid>) -> Result<(), ArchiveError> {
        loop {
            let files = self
                .reader
                .store
                .archive_files_before(self.tenant, before, self.catalog_limit)
                .await?;
            let full = files.len() >= self.catalog_limit;
            let last = files.last().map(|file| file.max_id);
            let mut new = 0;
            for file in files {
                if self.known.insert(file.object_key.clone()) {
                    new += 1;
                    self.push(file.max_id, What::File(Box::new(file)));
                }
            }
            let Some(last) = last.filter(|_| full) else {
                return Ok(());
            };
            if new > 0 {
                self.heap.push(Entry {
                    bound: last,
                    what: What::Catalog,
                });
                return Ok(());
            }
            // All of them overlap here and are known: look further at once.
            if self.catalog_limit >= CATALOG_PAGE.1 {
                return Err(ArchiveError::TooManyFiles {
                    limit: CATALOG_PAGE.1,
                });
            }
            self.catalog_limit = (self.catalog_limit * 4).min(CATALOG_PAGE.1);
        }
    }

    async fn open_file(&mut self, file: &ArchiveFile) -> Result<(), ArchiveError> {
        let footer = self.reader.objects.footer(file).await?;
        let recalled = self.reader.store.recalled_from(file).await?;
        let recalled = Arc::new(HashSet::from_iter(recalled));
        for (at, row_group) in footer.row_groups.iter().enumerate() {
            if self
                .ceiling
                .is_none_or(|ceiling| row_group.min_id < ceiling)
            {
                let what = What::RowGroup(footer.clone(), at, Arc::clone(&recalled));
                self.push(row_group.max_id, what);
            }
        }
        Ok(())
    }

    async fn open_group(
        &mut self,
        footer: Arc<Footer>,
        row_group: usize,
        recalled: Arc<HashSet<Uuid>>,
    ) -> Result<(), ArchiveError> {
        if !self.may_match(&footer, row_group).await? {
            return Ok(());
        }
        let range = footer.row_groups[row_group].bytes.clone();
        self.row_groups += 1;
        self.bytes += range.end - range.start;
        let bytes = self.reader.objects.row_group(&footer, row_group).await?;
        let data = RowGroupData::new(footer, row_group, bytes, range.start);
        let (before, filter) = (self.ceiling, self.filter.clone());
        let mut cursor =
            tokio::task::spawn_blocking(move || Cursor::open(data, recalled, before, &filter))
                .await??;
        self.recalled.append(&mut cursor.left_out);
        if let Some(bound) = cursor.bound() {
            self.heap.push(Entry {
                bound,
                what: What::Rows(Box::new(cursor)),
            });
        }
        Ok(())
    }

    /// What Bloom filters say to the filter's equalities.
    async fn may_match(&mut self, footer: &Footer, row_group: usize) -> Result<bool, ArchiveError> {
        let one = |value: &Option<String>| value.clone().into_iter().collect::<Vec<_>>();
        let wanted = [
            ("external_id", one(&self.filter.external_id)),
            ("number", one(&self.filter.number)),
            ("customer_id", customers(&self.filter)),
        ];
        for (column, values) in wanted {
            let mut may_match = values.is_empty();
            for value in values {
                // A look at a filter is work as well, though far less than the row group.
                self.bytes += BLOOM_COST;
                let objects = &self.reader.objects;
                may_match = objects.may_hold(footer, row_group, column, &value).await?;
                if may_match {
                    break;
                }
            }
            if !may_match {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What looking at one Bloom filter counts against [`MAX_PAGE_BYTES`]: 1,024 of them a page.
const BLOOM_COST: u64 = 64 * 1024;
