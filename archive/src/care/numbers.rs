//! Numbers over both tiers: enters for older releases what they did not, and finds those that
//! several documents have.

use std::collections::BTreeMap;

use serde::Serialize;
use sheaf_model::TenantId;
use sheaf_store::{
    ArchiveFile, ColdKeys, DuplicateNumber, EnteredNumbers, FileState, NumberRanges,
    NumberedDocument,
};
use uuid::Uuid;

use crate::ArchiveError;
use crate::care::months::Files;
use crate::file::row_group::RowGroupData;
use crate::file::schema::NUMBER_COLUMNS;
use crate::object::purpose::ReadKind;
use crate::read::taken_keys::ArchivedKeys;
use crate::run::Run;
use crate::run::failures::Failures;

/// Rows of `number_claims` that are read at once.
const PAGE: i64 = 1_000;

/// The results of the check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NumbersReport {
    /// Tenants read.
    pub tenants: u64,
    /// Published files read.
    pub files: u64,
    /// Documents with a number in them and in the hot tier.
    pub documents: u64,
    /// Documents whose number was not yet entered for their year of issue.
    pub entered: u64,
    /// Numbers that several documents have.
    pub duplicated: u64,
    /// The first 1,000 of them.
    pub duplicates: Vec<DuplicateNumber>,
    /// Tenants and files that could not be read: the next run takes them again.
    #[serde(flatten)]
    pub failures: Failures,
}

/// What a pass needs.
pub(crate) struct Numbers<'a> {
    pub(crate) run: Run<'a>,
    pub(crate) keys: &'a ArchivedKeys,
}

impl Numbers<'_> {
    /// Reads the numbers of a tenant, or of all.
    pub(crate) async fn run(&self, only: Option<TenantId>) -> Result<NumbersReport, ArchiveError> {
        let (mut report, mut all) = (NumbersReport::default(), EnteredNumbers::default());
        for tenant in self.run.tenants(only).await? {
            report.tenants += 1;
            self.run.progress.begin(&format!("tenant {tenant}"));
            if let Err(error) = self.tenant(tenant, &mut report, &mut all).await {
                report.failures.note(tenant, None, error)?;
            }
        }
        report.documents = all.documents;
        report.entered = all.entered;
        report.duplicated = all.duplicated;
        report.duplicates = all.duplicates;
        Ok(report)
    }

    async fn tenant(
        &self,
        tenant: TenantId,
        report: &mut NumbersReport,
        all: &mut EnteredNumbers,
    ) -> Result<(), ArchiveError> {
        all.add(self.run.store.enter_numbers(tenant).await?);
        let mut files = Files::new(self.run.store, tenant, &[FileState::Published]);
        for file in files.all().await? {
            report.files += 1;
            let read = ReadKind::Keys.scope(self.file(&file, all)).await;
            if let Err(error) = read {
                let what = Some(file.object_key.clone());
                report.failures.note(tenant, what, error)?;
            }
            self.run.progress.advance(1);
        }
        all.note(self.run.store.duplicate_numbers(tenant).await?);
        ReadKind::Keys
            .scope(self.archived_duplicates(tenant, all))
            .await
    }

    /// Enters the numbers of a file that no row has.
    async fn file(&self, file: &ArchiveFile, all: &mut EnteredNumbers) -> Result<(), ArchiveError> {
        let footer = self.run.objects.footer(file).await?;
        let mut ranges = NumberRanges::default();
        for row_group in 0..footer.row_groups.len() {
            let range = footer.column_range(row_group, &NUMBER_COLUMNS)?;
            let base = range.start;
            let bytes = self.run.objects.chunks(&footer, row_group, range).await?;
            let data = RowGroupData::new(footer.clone(), row_group, bytes, base);
            let (documents, with_these) = tokio::task::spawn_blocking(move || {
                let mut documents: Vec<NumberedDocument> = Vec::new();
                data.numbers(|id, number, issue_date| {
                    let number = number.map(str::to_owned);
                    if let Some(number) = &number {
                        ranges.add(number);
                    }
                    if let (Some(number), Some(issue_date)) = (number, issue_date) {
                        documents.push(NumberedDocument {
                            id,
                            number,
                            issue_date,
                        });
                    }
                })
                .map(|()| (documents, ranges))
            })
            .await??;
            ranges = with_these;
            let entered = self
                .run
                .store
                .enter_archived_numbers(file.tenant_id, &documents)
                .await?;
            all.add(entered);
        }
        Ok(self.run.store.describe_numbers(file, &ranges).await?)
    }

    /// Documents that were issued into a year in which an archived one has their number by its id.
    async fn archived_duplicates(
        &self,
        tenant_id: TenantId,
        all: &mut EnteredNumbers,
    ) -> Result<(), ArchiveError> {
        let mut after = (String::new(), i16::MIN);
        loop {
            let page = self
                .run
                .store
                .claimed_numbers(tenant_id, (&after.0, after.1), PAGE)
                .await?;
            let Some((number, year, _)) = page.last() else {
                return Ok(());
            };
            after = (number.clone(), *year);
            let mut by_year: BTreeMap<i16, Vec<(String, Uuid)>> = BTreeMap::new();
            for (number, year, by) in page {
                by_year.entry(year).or_default().push((number, by));
            }
            for (year, claims) in by_year {
                for file in self
                    .run
                    .store
                    .archive_files_of_year(tenant_id, year)
                    .await?
                {
                    let keys = self.keys.load(&file).await?;
                    all.note(claims.iter().filter_map(|(number, by)| {
                        let other = keys.numbers.get(number.as_str())?;
                        (other != by).then(|| DuplicateNumber {
                            tenant_id,
                            number: number.clone(),
                            year: Some(year),
                            invoice_ids: vec![*by, *other],
                        })
                    }));
                }
            }
        }
    }
}
