//! The objects of some years as a list: what a reader of Parquet needs to read them as one table.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, Store};
use uuid::Uuid;

use super::ExportError;
use crate::ArchiveError;
use crate::object::storage::{ColdStorage, MAX_URL_AGE};

/// Files of a manifest.
const MAX_FILES: usize = 10_000;
/// Files of a tenant, of which a manifest is made.
const MAX_CATALOG: usize = 50_000;
/// Copies of a manifest that are out of date.
const MAX_MASKED: usize = 100_000;

/// Life of a manifest's URLs unless somebody says otherwise.
pub const DEFAULT_URL_AGE: Duration = Duration::from_hours(1);

/// The archived files of some years, as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// The owner of all rows.
    pub tenant_id: TenantId,
    /// The first year.
    pub from: i16,
    /// The last year.
    pub to: i16,
    /// The moment of the snapshot: files that were published later are not in it.
    pub as_of: DateTime<Utc>,
    /// When the URLs stop to work.
    pub expires_at: DateTime<Utc>,
    /// Rows of the files, with those that are out of date.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// By period and part.
    pub files: Vec<ManifestFile>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ManifestFile {
    /// Key inside the bucket; below a directory, a path of the Hive layout.
    pub object_key: String,
    /// Opens the object until the manifest's `expires_at`; none where the storage has no URLs.
    pub url: Option<String>,
    /// `YYYY-MM`.
    pub period: String,
    /// Size.
    pub bytes: i64,
    /// SHA-256 of the object, hexadecimal.
    pub sha256: Option<String>,
    /// Rows.
    pub invoices: i64,
    /// Lines of all rows.
    pub lines: i64,
    /// Payments of all rows.
    pub payments: i64,
    /// Sums of `total` by currency and kind.
    pub sums: Value,
    /// Columns were added with each version; a reader merges them by name.
    pub schema_version: i32,
    /// Smallest id.
    pub min_id: Uuid,
    /// Largest id.
    pub max_id: Uuid,
    /// When it became the tier of its rows.
    pub published_at: Option<DateTime<Utc>>,
    /// Recalled invoices whose row in this file, if it has one, is out of date: they are hot again,
    /// or in a later file.
    pub masked: Vec<Masked>,
}

/// A row that is out of date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Masked {
    /// The invoice.
    pub id: Uuid,
    /// When it was recalled.
    pub recalled_at: DateTime<Utc>,
}

pub(crate) async fn manifest(
    store: &Store,
    storage: &dyn ColdStorage,
    tenant: TenantId,
    years: RangeInclusive<i16>,
    expires: Duration,
) -> Result<Manifest, ExportError> {
    let expires = expires.min(MAX_URL_AGE);
    let (files, recalls, as_of) = read(store, tenant, &years).await?;
    // Before the first is signed: none stops to work earlier.
    let expires_at = Utc::now() + expires;
    let mut manifest = Manifest {
        tenant_id: tenant,
        from: *years.start(),
        to: *years.end(),
        as_of,
        expires_at,
        rows: 0,
        bytes: 0,
        files: Vec::with_capacity(files.len()),
    };
    let mut masked_rows = 0;
    for file in files {
        let masked = masked_in(&file, &recalls);
        masked_rows += masked.len();
        if masked_rows > MAX_MASKED {
            return Err(too_large("rows that are out of date", MAX_MASKED));
        }
        let url = storage.presign(&file.object_key, expires).await;
        let url = url.map_err(ArchiveError::from)?;
        manifest.rows += u64::try_from(file.invoices).unwrap_or(0);
        manifest.bytes += u64::try_from(file.bytes).unwrap_or(0);
        manifest.files.push(describe(file, url, masked));
    }
    Ok(manifest)
}

type Read = (Vec<ArchiveFile>, Vec<(Uuid, DateTime<Utc>)>, DateTime<Utc>);

/// Catalog and recalls of one snapshot, which is given back at once.
async fn read(
    store: &Store,
    tenant: TenantId,
    years: &RangeInclusive<i16>,
) -> Result<Read, ExportError> {
    let failed = |error| ExportError::Archive(ArchiveError::Store(error));
    let snapshot = store.tenant_snapshot(tenant).await.map_err(failed)?;
    let files = snapshot.files(MAX_CATALOG).await.map_err(failed)?;
    let mut files = files.ok_or(ArchiveError::TooManyFiles { limit: MAX_CATALOG })?;
    files.retain(|file| years.contains(&file.period.year));
    if files.len() > MAX_FILES {
        return Err(too_large("files", MAX_FILES));
    }
    let recalls = match files.is_empty() {
        true => Some(Vec::new()),
        false => snapshot.recalls(1_000_000).await.map_err(failed)?,
    };
    let recalls = recalls.ok_or_else(|| too_large("recalls", 1_000_000))?;
    let as_of = snapshot.taken_at();
    snapshot.finish().await.map_err(failed)?;
    Ok((files, recalls, as_of))
}

fn too_large(what: &'static str, limit: usize) -> ExportError {
    ExportError::TooLarge { what, limit }
}

/// The file's rows that are out of date. `recalls` ascend by id; not each of them is in the file,
/// but none that is is missing.
fn masked_in(file: &ArchiveFile, recalls: &[(Uuid, DateTime<Utc>)]) -> Vec<Masked> {
    let first = recalls.partition_point(|(id, _)| *id < file.min_id);
    recalls[first..]
        .iter()
        .take_while(|(id, _)| *id <= file.max_id)
        .filter(|(_, at)| file.published_at <= Some(*at))
        .map(|(id, at)| Masked {
            id: *id,
            recalled_at: *at,
        })
        .collect()
}

fn describe(file: ArchiveFile, url: Option<String>, masked: Vec<Masked>) -> ManifestFile {
    let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
    ManifestFile {
        url,
        period: file.period.to_string(),
        bytes: file.bytes,
        sha256: file.sha256.map(hex),
        invoices: file.invoices,
        lines: file.lines,
        payments: file.payments,
        sums: file.sums,
        schema_version: file.schema_version,
        min_id: file.min_id,
        max_id: file.max_id,
        published_at: file.published_at,
        masked,
        object_key: file.object_key,
    }
}
