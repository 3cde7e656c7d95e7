//! Compares catalog and storage: every published object is read whole, and every object must be
//! named by the catalog.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::time::Instant;

use serde::Serialize;
use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, FileState, Job};

use crate::ArchiveError;
use crate::care::months::Months;
use crate::object::key;
use crate::object::purpose::ReadKind;
use crate::object::storage::StorageError;
use crate::run::failures::Failures;
use crate::run::{Run, record};
use crate::tier::read_back::{Contents, Expected, Pace, read_back};

/// Problems that a report lists; further ones are counted.
const MAX_PROBLEMS: usize = 1_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `missing`, `truncated`, `mismatch` or `orphan`.
    pub kind: &'static str,
    /// The object.
    pub object_key: String,
    /// What is wrong.
    pub detail: String,
}

/// The results of verify.
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
    /// Published files whose object has another size than the catalog says.
    pub truncated: u64,
    /// Published files whose object does not hold what the catalog says.
    pub mismatches: u64,
    /// Objects that no catalog row names.
    pub orphans: u64,
    /// Catalog rows that are staged, superseded or garbage: at work, or left for gc.
    pub unpublished: u64,
    /// The first 1,000 of them.
    pub problems: Vec<Problem>,
    /// Objects that could not be read, and tenants that could not be gone through: nothing is known
    /// of them.
    #[serde(flatten)]
    pub failures: Failures,
}

impl VerifyReport {
    /// Whether nothing is missing, truncated, mismatched or orphaned, of what could be read.
    pub fn is_clean(&self) -> bool {
        self.wrong() == 0
    }

    fn wrong(&self) -> u64 {
        self.missing + self.truncated + self.mismatches + self.orphans
    }

    fn note(&mut self, kind: &'static str, object_key: &str, detail: String) {
        match kind {
            "missing" => self.missing += 1,
            "truncated" => self.truncated += 1,
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

/// The options of verify.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// Only tenants after this one: tenants are read in the order of their ids, so this goes on
    /// where a run was stopped.
    pub after: Option<TenantId>,
    /// Bytes a second that are read from the storage, at most; as fast as can be without.
    pub rate: Option<NonZeroU64>,
}

/// Runs `verify`.
pub(crate) async fn verify(
    run: Run<'_>,
    options: VerifyOptions,
) -> Result<VerifyReport, ArchiveError> {
    let started = Instant::now();
    let verification = Verification {
        run,
        pace: options.rate.map(Pace::new),
        report: VerifyReport::default(),
    };
    let outcome = Box::pin(verification.tenants(options)).await;
    if options.tenant.is_none() && options.after.is_none() {
        let failed = |report: &VerifyReport| report.failures.failed + report.wrong();
        record::record(run.store, Job::Verify, started, &outcome, failed).await;
    }
    outcome
}

struct Verification<'a> {
    run: Run<'a>,
    pace: Option<Pace>,
    report: VerifyReport,
}

impl Verification<'_> {
    async fn tenants(mut self, options: VerifyOptions) -> Result<VerifyReport, ArchiveError> {
        let tenants = self.run.tenants(options.tenant).await?;
        for tenant in &tenants {
            if options.after.is_none_or(|after| tenant.0 > after.0)
                && let Err(error) = self.tenant(*tenant).await
            {
                self.report.failures.note(*tenant, None, error)?;
            }
        }
        if options.tenant.is_none()
            && let Err(error) = self.foreign_objects(&tenants).await
        {
            let what = "objects of no tenant".to_owned();
            self.report.failures.note(None, Some(what), error)?;
        }
        Ok(self.report)
    }

    async fn tenant(&mut self, tenant: TenantId) -> Result<(), ArchiveError> {
        let mut months = Months::new(self.run.store, self.run.storage, tenant);
        while let Some(month) = months.next().await? {
            for object in month.orphans() {
                if months.is_orphan(&object.key).await? {
                    let detail = "no catalog row names it".to_owned();
                    self.report.note("orphan", &object.key, detail);
                }
            }
            for file in &month.files {
                if file.state != FileState::Published {
                    self.report.unpublished += 1;
                    continue;
                }
                self.run.progress.begin(&file.object_key);
                let object = month.objects.iter().find(|o| o.key == file.object_key);
                if let Err(error) = self.file(file, object.map(|object| object.bytes)).await {
                    let what = Some(file.object_key.clone());
                    self.report.failures.note(tenant, what, error)?;
                }
                self.run.progress.advance(1);
            }
        }
        Ok(())
    }

    /// `listed`: the object's size by the listing, if it is there.
    async fn file(&mut self, file: &ArchiveFile, listed: Option<u64>) -> Result<(), ArchiveError> {
        self.report.files += 1;
        let Some((kind, detail)) = self.problem(file, listed).await? else {
            return Ok(());
        };
        // A file that was replaced while it was read may be gone already, and is nobody's tier.
        let now = self
            .run
            .store
            .archive_files(
                file.tenant_id,
                &[FileState::Published],
                Some((file.period, file.part, file.generation - 1)),
                1,
            )
            .await?;
        if now
            .first()
            .is_some_and(|now| now.object_key == file.object_key)
        {
            self.report.note(kind, &file.object_key, detail);
        }
        Ok(())
    }

    /// What is wrong with a file, by kind and detail.
    async fn problem(
        &mut self,
        file: &ArchiveFile,
        listed: Option<u64>,
    ) -> Result<Option<(&'static str, String)>, ArchiveError> {
        let Some(expected) = Expected::of(file) else {
            let detail = "the catalog has no figures of it".to_owned();
            return Ok(Some(("mismatch", detail)));
        };
        let bytes = expected.bytes;
        // The listing may be older than the file.
        let size = match listed {
            Some(size) => Ok(size),
            None => self
                .run
                .storage
                .head(&file.object_key)
                .await
                .map(|o| o.bytes),
        };
        match size {
            Ok(size) if size != bytes => {
                let detail = format!("{size} bytes, the catalog says {bytes}");
                return Ok(Some(("truncated", detail)));
            }
            Err(StorageError::NotFound { .. }) => {
                return Ok(Some(("missing", "no such object".to_owned())));
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let read = read_back(self.run.storage, expected, self.pace.as_mut());
        match ReadKind::Verify.scope(read).await {
            Ok(contents) => {
                self.report.invoices += contents.totals.invoices;
                self.report.bytes += bytes;
                Ok(difference(&contents, file).map(|detail| ("mismatch", detail)))
            }
            Err(ArchiveError::Storage(StorageError::NotFound { .. })) => {
                Ok(Some(("missing", "no such object".to_owned())))
            }
            Err(error @ (ArchiveError::Corrupt { .. } | ArchiveError::SchemaTooNew { .. })) => {
                Ok(Some(("mismatch", error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// Objects under the layout's root that belong to no tenant at all.
    async fn foreign_objects(&mut self, tenants: &[TenantId]) -> Result<(), ArchiveError> {
        let tenants: HashSet<TenantId> = tenants.iter().copied().collect();
        let mut from = None;
        loop {
            let page = self.run.storage.list(key::ROOT, from.as_deref()).await?;
            for object in page.objects {
                let tenant = key::tenant_of_key(&object.key);
                if tenant.is_none_or(|tenant| !tenants.contains(&tenant)) {
                    let detail = "its tenant is unknown".to_owned();
                    self.report.note("orphan", &object.key, detail);
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }
}

/// How the contents differ from the catalog's figures.
fn difference(contents: &Contents, file: &ArchiveFile) -> Option<String> {
    if let Some(difference) = contents.totals.differs_from(file) {
        return Some(difference);
    }
    let ends = (
        contents.ids.first().map(|(id, _)| *id),
        contents.ids.last().map(|(id, _)| *id),
    );
    (ends != (Some(file.min_id), Some(file.max_id)))
        .then(|| "the first or last id differs".to_owned())
}
