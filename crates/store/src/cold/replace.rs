//! Files of the cold tier that take the place of others: the handover of a rewrite, and the recalls
//! that it settles.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use sheaf_model::TenantId;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::cold::file::ArchiveFile;
use crate::cold::handover::Publish;
use crate::cold::handover::publish_row;
use crate::cold::recall;
use crate::setting::retention;
use crate::{Store, StoreError, sql};
use sheaf_cluster::rows::now;

/// A published file that is to be replaced, as it was read.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The file.
    pub file: ArchiveFile,
    /// The invoices whose copy in it is out of date, in the order of their ids
    /// ([`Store::recalled_from`]).
    pub masked: Vec<Uuid>,
}

impl Store {
    /// In one transaction of the tenant's shard, `target` becomes the tier of what the files of one
    /// year held, and they are superseded. Without a target they held nothing that is not hot
    /// again. If a file is no longer published, or an invoice was recalled from one since it was
    /// read, nothing happens; nor where retention holds the year on the day `unless_held`, which is
    /// asked for when the documents change.
    ///
    /// # Errors
    /// When the database fails. The outcome of a failed commit is unknown; the catalog tells.
    pub async fn replace_files(
        &self,
        replaced: &[Replaced],
        target: Option<&ArchiveFile>,
        unless_held: Option<NaiveDate>,
    ) -> Result<Publish, StoreError> {
        let Some(Replaced { file: first, .. }) = replaced.first() else {
            return Ok(Publish::Changed);
        };
        let tenant = first.tenant_id;
        let files = || replaced.iter().map(|replaced| &replaced.file);
        let periods: BTreeSet<String> = files().map(|file| file.period.to_string()).collect();
        let wanted: BTreeSet<&str> = files().map(|file| file.object_key.as_str()).collect();
        let (periods, keys) = (Vec::from_iter(&periods), Vec::from_iter(&wanted));
        let mut conn = self.inner.cluster.owner(tenant).get().await?;
        let tx = conn.transaction().await?;
        if let Some(on) = unless_held
            && let Some(set) = retention::share(&tx, tenant, first.period.year).await?
            && set.holds(on)
        {
            return Ok(Publish::Held(set.held()));
        }
        // A recall holds its file as well: from here on there is none.
        let held = tx
            .query(sql::ARCHIVE_FILE_HOLD_ALL, &[&tenant.0, &periods, &keys])
            .await?;
        if held
            .iter()
            .map(|row| row.get(0))
            .collect::<BTreeSet<&str>>()
            != wanted
        {
            return Ok(Publish::Changed);
        }
        let at: DateTime<Utc> = now();
        for Replaced { file, masked } in replaced {
            if recall::masked(&*tx, file).await? != *masked {
                return Ok(Publish::Changed);
            }
            let period = file.period.to_string();
            let params: [&(dyn ToSql + Sync); 5] =
                [&tenant.0, &period, &file.part, &file.generation, &at];
            if tx.execute(sql::ARCHIVE_FILE_SUPERSEDE, &params).await? != 1 {
                return Ok(Publish::Changed);
            }
        }
        if let Some(target) = target
            && !publish_row(&tx, target).await?
        {
            return Ok(Publish::Changed);
        }
        tx.commit().await?;
        Ok(Publish::Done)
    }

    /// Whether any archived copy of the tenant may be out of date.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_recalls(&self, tenant: TenantId) -> Result<bool, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        Ok(conn
            .query_opt(sql::ARCHIVE_RECALL_ANY, &[&tenant.0])
            .await?
            .is_some())
    }

    /// Forgets the recalls that put no copy out of date any more: every file that could hold one is
    /// gone, superseded ones as well, so that no read that began on one can miss the recall.
    /// Returns how many. To be called under the tiering lock, when no file can be published
    /// meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_recalls(&self, tenant: TenantId) -> Result<u64, StoreError> {
        let conn = self.inner.cluster.owner(tenant).get().await?;
        Ok(conn
            .execute(sql::ARCHIVE_RECALL_FORGET, &[&tenant.0])
            .await?)
    }
}
