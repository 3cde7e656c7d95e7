//! One part of one unit: the protocol itself, steps 1 to 5 of "Tiering" in `docs/ARCHITECTURE.md`.

use std::sync::Arc;

use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, ArchivedInvoice, Publish, SPANS, Store, TieringLock};
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::schema::SCHEMA_VERSION;
use crate::file::totals::Totals;
use crate::file::writer::{EncodedPart, PartWriter, bounds};
use crate::object::key;
use crate::object::purpose::ReadKind;
use crate::object::storage::{ColdStorage, StorageError};
use crate::run::progress::{Checkpoint, Progress, Step};
use crate::tier::read_back::verify_written;

/// Invoices of a page of the snapshot: at first, and at most.
const PAGE: (usize, usize) = (64, 1_000);
/// Lines that a page should have, which holds memory down where invoices are long.
const PAGE_LINES: usize = 20_000;

/// How many invoices the page after `page` should have.
fn next_page_size(page: &[ArchivedInvoice]) -> usize {
    let lines: usize = page.iter().map(|row| row.invoice.lines.len()).sum();
    let per_invoice = lines / page.len().max(1) + 1;
    (PAGE_LINES / per_invoice).clamp(1, PAGE.1)
}

/// The ids of one period of one tenant, from one on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) tenant: TenantId,
    pub(crate) period: Period,
    /// First id, inclusive.
    pub(crate) from: Uuid,
}

impl Stretch {
    /// The id before the first.
    fn after(self) -> Option<Uuid> {
        self.from.as_u128().checked_sub(1).map(Uuid::from_u128)
    }
}

/// What became of a part.
#[derive(Debug)]
pub(crate) enum PartOutcome {
    /// Its invoices are cold now.
    Moved {
        totals: Totals,
        bytes: u64,
        last: Uuid,
    },
    /// Something changed while it was written; its invoices are hot, the object is garbage.
    Changed { last: Uuid, invoices: u64 },
    /// Nothing in the stretch is settled (any more).
    Nothing,
}

/// What the protocol needs.
pub(crate) struct Protocol<'a> {
    pub(crate) store: &'a Store,
    pub(crate) storage: &'a Arc<dyn ColdStorage>,
    pub(crate) lock: &'a TieringLock,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    pub(crate) progress: &'a dyn Progress,
}

impl Protocol<'_> {
    /// Moves the first part of a stretch.
    pub(crate) async fn move_part(&self, stretch: Stretch) -> Result<PartOutcome, ArchiveError> {
        let Stretch { tenant, period, .. } = stretch;
        let span = tracing::info_span!(
            target: SPANS, "tiering part", sheaf.tenant_id = %tenant, %period, outcome = Empty, invoices = Empty,
            bytes = Empty, otel.status_code = Empty
        );
        let moved = Box::pin(self.begin_part(stretch))
            .instrument(span.clone())
            .await;
        match &moved {
            Ok(PartOutcome::Moved { totals, bytes, .. }) => {
                span.record("outcome", "moved");
                span.record("invoices", totals.invoices);
                span.record("bytes", bytes);
            }
            Ok(PartOutcome::Changed { invoices, .. }) => {
                span.record("outcome", "changed");
                span.record("invoices", invoices);
            }
            Ok(PartOutcome::Nothing) => {
                span.record("outcome", "nothing");
            }
            Err(_) => {
                span.record("otel.status_code", "error");
            }
        }
        moved
    }

    async fn begin_part(&self, stretch: Stretch) -> Result<PartOutcome, ArchiveError> {
        let Stretch { tenant, period, .. } = stretch;
        // 1. Intent first: whatever is left behind from here on, the catalog knows of it.
        let key = |part, generation| key::object_key(tenant, period, part, generation);
        let mut file = self
            .store
            .stage_file(tenant, period, SCHEMA_VERSION, None, key)
            .await?;
        self.checkpoint.reached(Step::Staged).await;
        let outcome = self.fill_and_hand_over(stretch, &mut file).await;
        // A failure before the handover leaves nothing that could be read. What cannot be cleaned
        // up now, gc will.
        if matches!(
            outcome,
            Ok(PartOutcome::Changed { .. } | PartOutcome::Nothing)
        ) {
            self.store.mark_garbage(&file).await?;
        }
        outcome
    }

    async fn fill_and_hand_over(
        &self,
        stretch: Stretch,
        file: &mut ArchiveFile,
    ) -> Result<PartOutcome, ArchiveError> {
        // 2. One snapshot, ordered by id, into Parquet.
        let Some(part) = self.encode(stretch).await? else {
            return Ok(PartOutcome::Nothing);
        };
        self.checkpoint.reached(Step::Encoded).await;
        let Some((max_id, _)) = part.ids.last().copied() else {
            return Ok(PartOutcome::Nothing);
        };
        // 3. Under a key that was never used.
        match self
            .storage
            .put_if_absent(&file.object_key, &part.path, part.sha256)
            .await
        {
            // A retry of our own upload whose first answer was lost looks the same. The next step
            // tells them apart.
            Ok(()) | Err(StorageError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.checkpoint.reached(Step::Uploaded).await;
        // 4. Verified before deleted.
        let check = verify_written(self.storage.as_ref(), file, &part);
        ReadKind::Tiering.scope(check).await?;
        self.checkpoint.reached(Step::Verified).await;
        // 5. The handover.
        part.describe(file);
        self.checkpoint.reached(Step::BeforeHandover).await;
        if !self.lock.still_held().await {
            return Err(ArchiveError::LockLost);
        }
        match self.store.publish_file(file, &part.ids).await? {
            Publish::Done => {
                self.checkpoint.reached(Step::AfterHandover).await;
                Ok(PartOutcome::Moved {
                    totals: part.totals,
                    bytes: part.bytes,
                    last: max_id,
                })
            }
            // A move changes no document: nothing holds it.
            Publish::Changed | Publish::Held(_) => Ok(PartOutcome::Changed {
                last: max_id,
                invoices: part.totals.invoices,
            }),
        }
    }

    async fn encode(&self, stretch: Stretch) -> Result<Option<EncodedPart>, ArchiveError> {
        let Stretch { tenant, period, .. } = stretch;
        let keys = self.store.metadata_columns(tenant).await?.keys;
        let begin = move || PartWriter::new(tenant, period, keys);
        let mut writer = tokio::task::spawn_blocking(begin).await??;
        let progress = self.progress;
        let mut snapshot = self
            .store
            .snapshot_reader(tenant, period, stretch.after())
            .await?;
        let mut size = PAGE.0;
        while !writer.is_full() {
            let room = bounds::INVOICES.saturating_sub(writer.rows()).min(size);
            let page = snapshot.next_page(room).await?;
            if page.is_empty() {
                break;
            }
            progress.advance(page.len() as u64);
            size = next_page_size(&page);
            writer = tokio::task::spawn_blocking(move || push(writer, &page)).await??;
        }
        snapshot.finish().await?;
        self.checkpoint.reached(Step::Read).await;
        if writer.rows() == 0 {
            return Ok(None);
        }
        tokio::task::spawn_blocking(move || writer.finish())
            .await?
            .map(Some)
    }

    /// What a run would move of a stretch, in one part or several.
    pub(crate) async fn count(&self, stretch: Stretch) -> Result<Totals, ArchiveError> {
        let mut totals = Totals::default();
        let mut snapshot = self
            .store
            .snapshot_reader(stretch.tenant, stretch.period, stretch.after())
            .await?;
        let mut size = PAGE.0;
        loop {
            let page = snapshot.next_page(size).await?;
            if page.is_empty() {
                break;
            }
            size = next_page_size(&page);
            self.progress.advance(page.len() as u64);
            if !page.iter().all(|row| totals.add(row)) {
                return Err(ArchiveError::Encode(
                    "the sum of totals is out of range".to_owned(),
                ));
            }
        }
        snapshot.finish().await?;
        Ok(totals)
    }
}

fn push(mut writer: PartWriter, page: &[ArchivedInvoice]) -> Result<PartWriter, ArchiveError> {
    writer.push(page)?;
    Ok(writer)
}
