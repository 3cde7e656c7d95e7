//! One archived file, read row by row: a row group in memory, of which some rows are decoded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sheaf_model::Invoice;
use sheaf_store::ArchiveFile;
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::footer::Footer;
use crate::file::row_group::{Batches, RowGroupData};
use crate::object::cache::Objects;

/// Rows that are decoded at once.
const ROWS: usize = 256;

/// When invoices were recalled last.
pub(super) type Recalls = HashMap<Uuid, DateTime<Utc>>;

/// A file being read, ascending by id.
pub(super) struct Cursor {
    pub(super) file: ArchiveFile,
    footer: Arc<Footer>,
    /// The row group after the one that is being read.
    row_group: usize,
    batches: Option<Batches>,
    ready: VecDeque<Invoice>,
    /// The last row that was decoded.
    last: Option<Uuid>,
}

impl Cursor {
    pub(super) async fn open(objects: &Objects, file: ArchiveFile) -> Result<Self, ArchiveError> {
        let footer = objects.footer(&file).await?;
        Ok(Self {
            file,
            footer,
            row_group: 0,
            batches: None,
            ready: VecDeque::new(),
            last: None,
        })
    }

    /// The id of the first row after `after` that no recall has put out of date; none at the end of
    /// the file.
    pub(super) async fn peek(
        &mut self,
        objects: &Objects,
        after: Uuid,
        recalls: &Recalls,
    ) -> Result<Option<Uuid>, ArchiveError> {
        loop {
            while let Some(first) = self.ready.front() {
                let id = first.id;
                let masked = || {
                    let recalled_at = recalls.get(&id).copied();
                    recalled_at.is_some_and(|at| self.file.published_at <= Some(at))
                };
                if id > after && !masked() {
                    return Ok(Some(id));
                }
                self.ready.pop_front();
            }
            if !self.decode().await? && !self.fetch(objects, after).await? {
                return Ok(None);
            }
        }
    }

    /// The row that was peeked at.
    pub(super) fn take(&mut self) -> Option<Invoice> {
        self.ready.pop_front()
    }

    /// Decodes the next rows of the row group that is in memory; false when there is none.
    async fn decode(&mut self) -> Result<bool, ArchiveError> {
        let Some(mut batches) = self.batches.take() else {
            return Ok(false);
        };
        let decode = move || batches.next().map(|rows| (rows, batches));
        let (rows, batches) = tokio::task::spawn_blocking(decode).await??;
        for row in rows.into_iter().flatten() {
            if self.last.is_some_and(|last| last >= row.id) {
                let detail = format!("invoice {} is out of order", row.id);
                return Err(ArchiveError::corrupt(&self.file.object_key, detail));
            }
            self.last = Some(row.id);
            self.ready.push_back(row);
        }
        if !self.ready.is_empty() {
            self.batches = Some(batches);
        }
        Ok(!self.ready.is_empty())
    }

    /// Reads the next row group that may hold rows after `after`: one GET; false when there is
    /// none.
    async fn fetch(&mut self, objects: &Objects, after: Uuid) -> Result<bool, ArchiveError> {
        let mut left = (self.row_group..).zip(&self.footer.row_groups[self.row_group..]);
        let next = left.find(|(_, row_group)| row_group.max_id > after);
        let Some((at, row_group)) = next else {
            self.row_group = self.footer.row_groups.len();
            return Ok(false);
        };
        let bytes = objects.row_group(&self.footer, at).await?;
        let data = RowGroupData::new(Arc::clone(&self.footer), at, bytes, row_group.bytes.start);
        self.batches = Some(data.batches(ROWS)?);
        self.row_group = at + 1;
        Ok(true)
    }
}
