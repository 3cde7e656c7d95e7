//! The merge of both tiers: ascending by id, each invoice once.
//!
//! An id never changes, and the merge goes up by id: an invoice that was returned is never returned
//! again, and one that is still to come is in exactly one tier of any later snapshot. So no
//! snapshot needs to last. One is taken for a range of ids (a page of hot rows, or the rest of a
//! month that has none), read in a moment, and ended before the first row is sent: a client may
//! take hours, and PostgreSQL's vacuum never waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use sheaf_model::{Invoice, Period, TenantId};
use sheaf_store::{ArchiveFile, Store, TenantSnapshot};
use uuid::Uuid;

use super::cold::{Cursor, Recalls};
use super::{ExportOptions, ExportTiers};
use crate::ArchiveError;
use crate::object::cache::Objects;
use crate::object::storage::StorageError;

/// Hot invoices that are read at once.
const HOT_PAGE: usize = 512;
/// Recalls of one range.
const RECALLS: i64 = 2_000;
/// Files that may hold invoices of one month.
const MONTH_FILES: usize = 2_000;
/// Files that may overlap at one id: a row group of each is in memory.
const OPEN_FILES: usize = 64;

/// What one snapshot holds of a range of ids of one month.
struct IdRange {
    period: Period,
    /// The last id that it covers.
    until: Uuid,
    /// It ends with the month.
    whole: bool,
    recalls: Recalls,
    /// Files that are not open yet, by their first id.
    files: VecDeque<ArchiveFile>,
    hot: VecDeque<Invoice>,
}

/// Where the next row is.
enum Head {
    Hot,
    Cold(usize),
}

/// The position of the export.
struct Position {
    store: Store,
    tenant: TenantId,
    tiers: ExportTiers,
    period: Period,
    last_period: Period,
    /// The last id that was returned, or that a range covered; it is not below the first of
    /// `period`, which is no id.
    after: Uuid,
}

/// The invoices of an export, read as they are asked for.
pub(super) struct Merge {
    at: Position,
    objects: Arc<Objects>,
    range: Option<IdRange>,
    cursors: Vec<Cursor>,
}

impl Merge {
    pub(super) fn new(
        store: Store,
        objects: Arc<Objects>,
        tenant: TenantId,
        options: &ExportOptions,
    ) -> Self {
        let january = Period {
            year: options.from,
            month: 1,
        };
        let (first, _) = january.id_bounds();
        let after = options.after.map_or(first, |after| after.max(first));
        let at = Position {
            store,
            tenant,
            tiers: options.tiers,
            period: Period::of(after),
            last_period: Period {
                year: options.to,
                month: 12,
            },
            after,
        };
        Self {
            at,
            objects,
            range: None,
            cursors: Vec::new(),
        }
    }

    /// The next invoice; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Invoice>, ArchiveError> {
        match self.next_in_snapshot().await {
            // A file was replaced and collected since the catalog was read: it names the successor
            // by now.
            Err(ArchiveError::Storage(StorageError::NotFound { .. })) => {
                self.range = None;
                self.cursors.clear();
                self.next_in_snapshot().await
            }
            answer => answer,
        }
    }

    async fn next_in_snapshot(&mut self) -> Result<Option<Invoice>, ArchiveError> {
        loop {
            let range = match self.range.take() {
                Some(range) => range,
                None => match self.at.look().await? {
                    Some(range) => self.begin(range),
                    None => return Ok(None),
                },
            };
            let range = self.range.insert(range);
            let head = head(range, &mut self.cursors, &self.objects, self.at.after);
            let row = match head.await? {
                Some(Head::Hot) => range.hot.pop_front(),
                Some(Head::Cold(at)) => self.cursors[at].take(),
                None => None,
            };
            if let Some(row) = row {
                self.at.after = row.id;
                return Ok(Some(row));
            }
            if range.whole {
                self.at.period = range.period.next();
            }
            self.at.after = range.until;
            self.range = None;
        }
    }

    /// Goes on with the files that are open already.
    fn begin(&mut self, mut range: IdRange) -> IdRange {
        let (first, _) = range.period.id_bounds();
        (self.at.period, self.at.after) = (range.period, self.at.after.max(first));
        let key = |file: &ArchiveFile| file.object_key.clone();
        let listed = |cursor: &Cursor| range.files.iter().any(|f| key(f) == key(&cursor.file));
        self.cursors.retain(listed);
        let cursors = &self.cursors;
        let open = |file: &ArchiveFile| cursors.iter().any(|c| key(&c.file) == key(file));
        range.files.retain(|file| !open(file));
        range
    }
}

impl Position {
    /// The next range, by a snapshot of its own; none behind the last month.
    async fn look(&self) -> Result<Option<IdRange>, ArchiveError> {
        if self.period > self.last_period {
            return Ok(None);
        }
        let snapshot = self.store.tenant_snapshot(self.tenant).await?;
        let range = self.look_in(&snapshot).await?;
        snapshot.finish().await?;
        Ok(range)
    }

    async fn look_in(&self, snapshot: &TenantSnapshot) -> Result<Option<IdRange>, ArchiveError> {
        let cold = match self.tiers {
            ExportTiers::Hot => None,
            ExportTiers::Cold | ExportTiers::All => {
                snapshot.next_files(self.period, MONTH_FILES).await?
            }
        };
        let hot = match self.tiers {
            ExportTiers::Cold => None,
            ExportTiers::Hot | ExportTiers::All => snapshot.next_hot_period(self.period).await?,
        };
        let months = cold.iter().map(|(month, _)| *month).chain(hot);
        let Some(period) = months.min() else {
            return Ok(None);
        };
        if period > self.last_period {
            return Ok(None);
        }
        let mut files = match cold.filter(|(month, _)| *month == period) {
            Some((_, files)) => files.ok_or(ArchiveError::TooManyFiles { limit: MONTH_FILES })?,
            None => Vec::new(),
        };
        // Neither bound is an id of the month: they are no UUIDv7.
        let (first, before) = period.id_bounds();
        let after = self.after.max(first);
        let mut until = before;
        let mut page = Vec::new();
        if hot == Some(period) {
            page = snapshot.hot_page(period, Some(after), HOT_PAGE).await?;
            until = page.last().map_or(before, |last| last.invoice.id);
        }
        files.retain(|f| f.max_id > after && f.min_id <= until);
        let mut recalls = Vec::new();
        if !files.is_empty() {
            recalls = snapshot.recalls_after(after, RECALLS).await?;
            let all = i64::try_from(recalls.len()).is_ok_and(|n| n < RECALLS);
            let last = recalls.last().map(|(id, _)| *id);
            until = last.filter(|_| !all).map_or(until, |last| until.min(last));
        }
        files.sort_unstable_by_key(|file| file.min_id);
        let hot = page.into_iter().map(|row| row.invoice);
        Ok(Some(IdRange {
            period,
            until,
            whole: until == before,
            recalls: recalls.into_iter().filter(|(id, _)| *id <= until).collect(),
            files: files.into(),
            hot: hot.filter(|invoice| invoice.id <= until).collect(),
        }))
    }
}

/// The smallest id of the range that is still to come. Files are opened when their first id is
/// reached.
async fn head(
    range: &mut IdRange,
    cursors: &mut Vec<Cursor>,
    objects: &Objects,
    after: Uuid,
) -> Result<Option<Head>, ArchiveError> {
    let mut first = range.hot.front().map(|hot| (hot.id, Head::Hot));
    let mut at = 0;
    loop {
        while let Some(cursor) = cursors.get_mut(at) {
            let Some(id) = cursor.peek(objects, after, &range.recalls).await? else {
                // A file that has ended is closed.
                cursors.remove(at);
                continue;
            };
            if id <= range.until && first.as_ref().is_none_or(|(other, _)| id < *other) {
                first = Some((id, Head::Cold(at)));
            }
            at += 1;
        }
        let earlier = |file: &ArchiveFile| {
            file.min_id <= range.until && first.as_ref().is_none_or(|(id, _)| file.min_id <= *id)
        };
        if !range.files.front().is_some_and(earlier) {
            return Ok(first.map(|(_, head)| head));
        }
        if let Some(file) = range.files.pop_front() {
            if cursors.len() >= OPEN_FILES {
                return Err(ArchiveError::TooManyFiles { limit: OPEN_FILES });
            }
            cursors.push(Cursor::open(objects, file).await?);
        }
    }
}
