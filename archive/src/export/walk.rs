//! The walk over both tiers: ascending by id, each invoice once.
//!
//! An id never changes, and the walk goes up by id: whatever was given is never given again, and
//! what is still to come is in exactly one tier of any later snapshot. So no snapshot needs to
//! last. One is taken for a stretch of ids (a page of hot rows, or the rest of a month that has
//! none), read in a moment, and given back before the first row is sent: a client may take hours,
//! and PostgreSQL's cleaning never waits for it.

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
/// Recalls of one stretch.
const RECALLS: i64 = 2_000;
/// Files that may hold invoices of one month.
const MONTH_FILES: usize = 2_000;
/// Files that may overlap at one id: a row group of each is in memory.
const OPEN_FILES: usize = 64;

/// What one snapshot said of a stretch of ids of one month.
struct Stretch {
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

/// How far it is.
struct Position {
    store: Store,
    tenant: TenantId,
    tiers: ExportTiers,
    period: Period,
    last_period: Period,
    /// The last id that was given, or that a stretch covered; it is not below the first of
    /// `period`, which is no id.
    after: Uuid,
}

/// An export on its way.
pub(super) struct Walk {
    at: Position,
    objects: Arc<Objects>,
    stretch: Option<Stretch>,
    cursors: Vec<Cursor>,
}

impl Walk {
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
            stretch: None,
            cursors: Vec::new(),
        }
    }

    /// The next invoice; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Invoice>, ArchiveError> {
        match self.next_in_snapshot().await {
            // A file was replaced and collected since the catalog was read: it names the successor
            // by now.
            Err(ArchiveError::Storage(StorageError::NotFound { .. })) => {
                self.stretch = None;
                self.cursors.clear();
                self.next_in_snapshot().await
            }
            answer => answer,
        }
    }

    async fn next_in_snapshot(&mut self) -> Result<Option<Invoice>, ArchiveError> {
        loop {
            let stretch = match self.stretch.take() {
                Some(stretch) => stretch,
                None => match self.at.look().await? {
                    Some(stretch) => self.begin(stretch),
                    None => return Ok(None),
                },
            };
            let stretch = self.stretch.insert(stretch);
            let head = head(stretch, &mut self.cursors, &self.objects, self.at.after);
            let row = match head.await? {
                Some(Head::Hot) => stretch.hot.pop_front(),
                Some(Head::Cold(at)) => self.cursors[at].take(),
                None => None,
            };
            if let Some(row) = row {
                self.at.after = row.id;
                return Ok(Some(row));
            }
            if stretch.whole {
                self.at.period = stretch.period.next();
            }
            self.at.after = stretch.until;
            self.stretch = None;
        }
    }

    /// Goes on with the files that are open already.
    fn begin(&mut self, mut stretch: Stretch) -> Stretch {
        let (first, _) = stretch.period.id_bounds();
        (self.at.period, self.at.after) = (stretch.period, self.at.after.max(first));
        let key = |file: &ArchiveFile| file.object_key.clone();
        let listed = |cursor: &Cursor| stretch.files.iter().any(|f| key(f) == key(&cursor.file));
        self.cursors.retain(listed);
        let cursors = &self.cursors;
        let open = |file: &ArchiveFile| cursors.iter().any(|c| key(&c.file) == key(file));
        stretch.files.retain(|file| !open(file));
        stretch
    }
}

impl Position {
    /// The next stretch, by a snapshot of its own; none behind the last month.
    async fn look(&self) -> Result<Option<Stretch>, ArchiveError> {
        if self.period > self.last_period {
            return Ok(None);
        }
        let snapshot = self.store.tenant_snapshot(self.tenant).await?;
        let stretch = self.look_in(&snapshot).await?;
        snapshot.finish().await?;
        Ok(stretch)
    }

    async fn look_in(&self, snapshot: &TenantSnapshot) -> Result<Option<Stretch>, ArchiveError> {
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
        Ok(Some(Stretch {
            period,
            until,
            whole: until == before,
            recalls: recalls.into_iter().filter(|(id, _)| *id <= until).collect(),
            files: files.into(),
            hot: hot.filter(|invoice| invoice.id <= until).collect(),
        }))
    }
}

/// The smallest id of the stretch that is still to come. Files are opened when the walk comes to
/// them.
async fn head(
    stretch: &mut Stretch,
    cursors: &mut Vec<Cursor>,
    objects: &Objects,
    after: Uuid,
) -> Result<Option<Head>, ArchiveError> {
    let mut first = stretch.hot.front().map(|hot| (hot.id, Head::Hot));
    let mut at = 0;
    loop {
        while let Some(cursor) = cursors.get_mut(at) {
            let Some(id) = cursor.peek(objects, after, &stretch.recalls).await? else {
                // What has ended gives its place.
                cursors.remove(at);
                continue;
            };
            if id <= stretch.until && first.as_ref().is_none_or(|(other, _)| id < *other) {
                first = Some((id, Head::Cold(at)));
            }
            at += 1;
        }
        let earlier = |file: &ArchiveFile| {
            file.min_id <= stretch.until && first.as_ref().is_none_or(|(id, _)| file.min_id <= *id)
        };
        if !stretch.files.front().is_some_and(earlier) {
            return Ok(first.map(|(_, head)| head));
        }
        if let Some(file) = stretch.files.pop_front() {
            if cursors.len() >= OPEN_FILES {
                return Err(ArchiveError::TooManyFiles { limit: OPEN_FILES });
            }
            cursors.push(Cursor::open(objects, file).await?);
        }
    }
}
