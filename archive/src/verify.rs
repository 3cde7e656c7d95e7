//! Compares catalog and storage: every published object is read whole, and every object must be named by the catalog.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, FileState, Store};

use crate::ArchiveError;
use crate::check::{Contents, Expected, read_back};
use crate::layout;
use crate::progress::Progress;
use crate::storage::{ColdStorage, ObjectInfo, StorageError};
use crate::tiering::TENANT_PAGE;

/// Problems that a report lists; further ones are counted.
const MAX_PROBLEMS: usize = 1_000;
/// Catalog rows that are read at once.
pub(crate) const FILE_PAGE: usize = 500;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `missing`, `mismatch` or `orphan`.
    pub kind: &'static str,
    /// The object.
    pub object_key: String,
    /// What is wrong.
    pub detail: String,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Published files read.
    pub files: u64,
    /// Their invoices.
    pub invoices: u64,
    /// Their size.
    pub bytes: u64,
    /// Published files without an object.
    pub missing: u64,
    /// Published files whose object does not hold what the catalog says.
    pub mismatches: u64,
    /// Objects that no catalog row names.
    pub orphans: u64,
    /// Catalog rows that are staged, superseded or garbage: at work, or left for gc.
    pub unpublished: u64,
    /// The first 1,000 of them.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is missing, mismatched or orphaned.
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.mismatches == 0 && self.orphans == 0
    }

    fn note(&mut self, kind: &'static str, object_key: &str, detail: String) {
        match kind {
            "missing" => self.missing += 1,
            "mismatch" => self.mismatches += 1,
            _ => self.orphans += 1,
        }
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                kind,
                object_key: object_key.to_owned(),
                detail,
            });
        }
    }
}

/// All states of a catalog row.
pub(crate) const ANY_STATE: [FileState; 4] = [
    FileState::Staged,
    FileState::Published,
    FileState::Superseded,
    FileState::Garbage,
];

/// All catalog rows of a tenant in `states`.
pub(crate) async fn files_of(
    store: &Store,
    tenant: TenantId,
    states: &[FileState],
) -> Result<Vec<ArchiveFile>, ArchiveError> {
    let mut files: Vec<ArchiveFile> = Vec::new();
    loop {
        let after = files
            .last()
            .map(|file| (file.period, file.part, file.generation));
        let page = store
            .archive_files(tenant, states, after, FILE_PAGE)
            .await?;
        let done = page.len() < FILE_PAGE;
        files.extend(page);
        if done {
            return Ok(files);
        }
    }
}

/// The given tenant, or all of them.
pub(crate) async fn tenants(
    store: &Store,
    only: Option<TenantId>,
) -> Result<Vec<TenantId>, ArchiveError> {
    if let Some(tenant) = only {
        return Ok(vec![tenant]);
    }
    let mut tenants: Vec<TenantId> = Vec::new();
    loop {
        let page = store
            .all_tenants_page(tenants.last().map(|last| last.0), TENANT_PAGE)
            .await?;
        if page.is_empty() {
            return Ok(tenants);
        }
        tenants.extend(page.into_iter().map(|tenant| tenant.id));
    }
}

/// All objects below `prefix`. An object is listed before the catalog is asked, and its row
/// is older than the object: what is under way is no orphan.
pub(crate) async fn objects_below(
    storage: &dyn ColdStorage,
    prefix: &str,
) -> Result<Vec<ObjectInfo>, ArchiveError> {
    let (mut objects, mut from) = (Vec::new(), None);
    loop {
        let page = storage.list(prefix, from.as_deref()).await?;
        objects.extend(page.objects);
        from = page.next;
        if from.is_none() {
            return Ok(objects);
        }
    }
}

/// Runs `verify`.
pub(crate) async fn verify(
    store: &Store,
    storage: &Arc<dyn ColdStorage>,
    only: Option<TenantId>,
    progress: &dyn Progress,
) -> Result<VerifyReport, ArchiveError> {
    let mut report = VerifyReport::default();
    let tenants = tenants(store, only).await?;
    for tenant in &tenants {
        let objects = objects_below(storage.as_ref(), &layout::tenant_prefix(*tenant)).await?;
        let files = files_of(store, *tenant, &ANY_STATE).await?;
        let known: HashSet<&str> = files.iter().map(|file| file.object_key.as_str()).collect();
        for orphan in objects
            .iter()
            .filter(|object| !known.contains(object.key.as_str()))
        {
            report.note("orphan", &orphan.key, "no catalog row names it".to_owned());
        }
        for file in &files {
            if file.state != FileState::Published {
                report.unpublished += 1;
                continue;
            }
            progress.begin(&file.object_key);
            verify_file(storage, file, &mut report).await?;
            progress.advance(1);
        }
    }
    if only.is_none() {
        foreign_objects(storage, &tenants, &mut report).await?;
    }
    Ok(report)
}

/// Objects under the layout's root that belong to no tenant at all.
async fn foreign_objects(
    storage: &Arc<dyn ColdStorage>,
    tenants: &[TenantId],
    report: &mut VerifyReport,
) -> Result<(), ArchiveError> {
    let tenants: HashSet<TenantId> = tenants.iter().copied().collect();
    let mut from = None;
    loop {
        let page = storage.list(layout::ROOT, from.as_deref()).await?;
        for object in page.objects {
            if layout::tenant_of_key(&object.key).is_none_or(|tenant| !tenants.contains(&tenant)) {
                report.note("orphan", &object.key, "its tenant is unknown".to_owned());
            }
        }
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}

async fn verify_file(
    storage: &Arc<dyn ColdStorage>,
    file: &ArchiveFile,
    report: &mut VerifyReport,
) -> Result<(), ArchiveError> {
    report.files += 1;
    let (Some(sha256), Ok(bytes)) = (file.sha256, u64::try_from(file.bytes)) else {
        report.note(
            "mismatch",
            &file.object_key,
            "the catalog has no figures of it".to_owned(),
        );
        return Ok(());
    };
    let expected = Expected {
        object_key: file.object_key.clone(),
        tenant: file.tenant_id,
        period: file.period,
        bytes,
        sha256,
    };
    match read_back(storage.as_ref(), expected).await {
        Ok(contents) => {
            report.invoices += contents.totals.invoices;
            report.bytes += bytes;
            if let Some(difference) = difference(&contents, file) {
                report.note("mismatch", &file.object_key, difference);
            }
        }
        Err(ArchiveError::Storage(StorageError::NotFound { .. })) => {
            report.note("missing", &file.object_key, "no such object".to_owned());
        }
        Err(error @ (ArchiveError::Corrupt { .. } | ArchiveError::SchemaTooNew { .. })) => {
            report.note("mismatch", &file.object_key, error.to_string());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// How the contents differ from the catalog's figures.
fn difference(contents: &Contents, file: &ArchiveFile) -> Option<String> {
    let totals = &contents.totals;
    let counts = [
        ("invoices", totals.invoices, file.invoices),
        ("lines", totals.lines, file.lines),
        ("payments", totals.payments, file.payments),
        ("events", totals.events, file.events),
    ];
    let different = counts
        .into_iter()
        .find(|(_, found, wanted)| i64::try_from(*found) != Ok(*wanted));
    if let Some((what, found, wanted)) = different {
        return Some(format!("{found} {what}, the catalog says {wanted}"));
    }
    let sums = totals.sums_json();
    if sums != file.sums {
        return Some(format!("sums {sums}, the catalog says {}", file.sums));
    }
    let ends = (
        contents.ids.first().map(|(id, _)| *id),
        contents.ids.last().map(|(id, _)| *id),
    );
    (ends != (Some(file.min_id), Some(file.max_id)))
        .then(|| "the first or last id differs".to_owned())
}
