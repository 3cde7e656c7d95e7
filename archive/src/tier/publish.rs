//! The publication of a file: stage, upload, verify, hand over. Tiering publishes hot rows by it,
//! and rewriting the rows of other files.
//!
//! Whatever dies on the way leaves a staged row, or an object that nothing refers to: gc collects
//! both, and every reader goes on with what was there before.

use chrono::NaiveDate;
use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, Publish, Replaced};

use crate::ArchiveError;
use crate::file::schema::SCHEMA_VERSION;
use crate::file::writer::EncodedPart;
use crate::object::key;
use crate::object::purpose::ReadKind;
use crate::object::storage::StorageError;
use crate::run::LockedRun;
use crate::run::progress::Step;
use crate::tier::read_back::verify_written;

/// What a published file takes the place of.
pub(crate) enum Handover<'a> {
    /// The hot rows that it was made of, which must still be the same.
    Hot(&'a EncodedPart),
    /// Other files, less their copies that are out of date. Nothing is published where no row is
    /// left.
    Files {
        part: Option<&'a EncodedPart>,
        replaced: &'a [Replaced],
        /// The day for which retention is asked, where the documents are changed: a hold that is
        /// set before the handover has committed counts.
        unless_held: Option<NaiveDate>,
    },
}

impl<'a> Handover<'a> {
    fn part(&self) -> Option<&'a EncodedPart> {
        match *self {
            Self::Hot(part) => Some(part),
            Self::Files { part, .. } => part,
        }
    }
}

/// A file that the catalog knows of, and nobody reads yet.
pub(crate) struct Staged<'a> {
    run: &'a LockedRun<'a>,
    file: ArchiveFile,
    purpose: ReadKind,
}

impl<'a> Staged<'a> {
    /// Step 1: the row of the catalog comes before the object, so that whatever is left behind is
    /// known. `part` is the number of a part of which this is the next generation.
    pub(crate) async fn begin(
        run: &'a LockedRun<'a>,
        (tenant, period): (TenantId, Period),
        part: Option<i32>,
        purpose: ReadKind,
    ) -> Result<Self, ArchiveError> {
        let key = |part, generation| key::object_key(tenant, period, part, generation);
        let file = run
            .store
            .stage_file(tenant, period, SCHEMA_VERSION, part, key)
            .await?;
        run.checkpoint.reached(Step::Staged).await;
        Ok(Self { run, file, purpose })
    }

    /// Steps 3 to 5, after step 2 has written the part to the local disk. What is not published is
    /// garbage; after an error the file stays staged, and gc collects it.
    pub(crate) async fn publish(mut self, handover: Handover<'_>) -> Result<Publish, ArchiveError> {
        let run = self.run;
        run.checkpoint.reached(Step::Encoded).await;
        let part = handover.part();
        if let Some(part) = part {
            let purpose = self.purpose;
            purpose.scope(self.upload(part)).await?;
            run.checkpoint.reached(Step::Uploaded).await;
            let check = verify_written(run.storage, &self.file, part);
            self.purpose.scope(check).await?;
            run.checkpoint.reached(Step::Verified).await;
            part.describe(&mut self.file);
        }
        run.checkpoint.reached(Step::BeforeHandover).await;
        run.check_lock().await?;
        let published = match handover {
            Handover::Hot(part) => run.store.publish_file(&self.file, &part.ids).await?,
            Handover::Files {
                replaced,
                unless_held,
                ..
            } => {
                let target = part.is_some().then_some(&self.file);
                run.store
                    .replace_files(replaced, target, unless_held)
                    .await?
            }
        };
        let is_done = matches!(published, Publish::Done);
        if is_done {
            run.checkpoint.reached(Step::AfterHandover).await;
        }
        if !is_done || part.is_none() {
            self.discard().await?;
        }
        Ok(published)
    }

    /// Marks the file as garbage.
    pub(crate) async fn discard(self) -> Result<(), ArchiveError> {
        self.run.store.mark_garbage(&self.file).await?;
        Ok(())
    }

    /// Writes the object under a key that was never used.
    async fn upload(&self, part: &EncodedPart) -> Result<(), ArchiveError> {
        let (key, storage) = (&self.file.object_key, self.run.storage);
        match storage.put_if_absent(key, &part.path, part.sha256).await {
            // A retry of our own upload whose first answer was lost looks the same as an object of
            // somebody else. Reading it back tells them apart.
            Ok(()) | Err(StorageError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
