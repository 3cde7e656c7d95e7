//! Compaction: small files of a year become one, so do the files of a month, and copies that a
//! recall has put out of date are left behind. Which files are worth it, the catalog alone says: a
//! run that finds nothing reads no object.

use std::collections::BTreeMap;
use std::time::Instant;

use metrics::counter;
use serde::Serialize;
use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, FileState, Job};

use crate::ArchiveError;
use crate::care::months::Files;
use crate::care::rewrite::{MAX_SOURCES, Outcome, rewrite};
use crate::file::writer::bounds;
use crate::run::failures::Failures;
use crate::run::progress::Step;
use crate::run::{LockedRun, Run, elapsed_ms, record};

/// A smaller file is put together with those of other months. Some 8 kB of a file are footer,
/// indexes and filters, whatever it holds: more than a twentieth of it.
const SMALL_FILE: i64 = 128 * 1024;
/// A file that outweighs all others of its set by this factor stays as it is, lest few late
/// invoices have it rewritten again and again.
const OUTWEIGHS: i64 = 4;
/// Files that become one whatever they weigh, from this number on.
const MANY: usize = 8;
/// One file is rewritten by itself when one in this number of its copies is out of date.
const MASKED_SHARE: i64 = 20;

/// The options of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompactOptions {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// Count only; change nothing.
    pub dry_run: bool,
}

/// The results of a run, or of a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CompactSummary {
    /// Tenants looked at.
    pub tenants: u64,
    /// Published files before.
    pub files: u64,
    /// Files that were replaced: superseded now, and gc's after its grace.
    pub replaced: u64,
    /// Files written in their place.
    pub written: u64,
    /// Invoices in them.
    pub invoices: u64,
    /// Copies left behind because a recall had put them out of date. Not counted by a dry run,
    /// which does not read.
    pub dropped: u64,
    /// Size of the files that were replaced.
    pub bytes_before: u64,
    /// Size of those in their place.
    pub bytes_after: u64,
    /// Files that stay for a later run, because they were recalled from twice while they were read.
    pub skipped_changed: u64,
    /// Files that could not be put together: the next run takes them again.
    #[serde(flatten)]
    pub failures: Failures,
    /// Whether this only counted.
    pub dry_run: bool,
    /// Milliseconds.
    pub elapsed_ms: u64,
}

/// A published file and how many of its copies are out of date.
#[derive(Debug, Clone)]
struct Candidate {
    file: ArchiveFile,
    masked: i64,
}

/// Which files of a year are to become one: sets of two or more, or one that is worth it alone.
/// Small ones go together whatever their month; larger ones stay by month, which readers of the
/// path can leave out.
fn choose(year: Vec<Candidate>) -> Vec<Vec<ArchiveFile>> {
    let mut pools: BTreeMap<Period, Vec<Candidate>> = BTreeMap::new();
    for candidate in year {
        let period = match candidate.file.period {
            month if candidate.file.bytes < SMALL_FILE => month.year(),
            period => period,
        };
        pools.entry(period).or_default().push(candidate);
    }
    pools.into_values().flat_map(sets_of).collect()
}

/// The sets of one pool.
fn sets_of(mut files: Vec<Candidate>) -> Vec<Vec<ArchiveFile>> {
    // By invoices, which add up exactly: what was left alone once is left alone again.
    files.sort_by_key(|c| (c.file.invoices, c.file.part));
    let (mut chosen, mut set) = (Vec::new(), Vec::new());
    for candidate in files {
        if !fits(&set, &candidate.file) {
            close(std::mem::take(&mut set), &mut chosen);
        }
        set.push(candidate);
    }
    close(set, &mut chosen);
    chosen
}

/// Whether a part has room for one file more.
fn fits(set: &[Candidate], file: &ArchiveFile) -> bool {
    let sum = |figure: fn(&ArchiveFile) -> i64| {
        let figures = set.iter().map(|c| &c.file).chain([file]).map(figure);
        u64::try_from(figures.sum::<i64>()).unwrap_or(u64::MAX)
    };
    set.len() < MAX_SOURCES
        && sum(|f| f.invoices) <= bounds::INVOICES as u64
        && sum(|f| f.lines) <= bounds::LINES
        && sum(|f| f.bytes) <= bounds::BYTES
}

fn close(mut set: Vec<Candidate>, chosen: &mut Vec<Vec<ArchiveFile>>) {
    let alone = |candidate: Candidate, chosen: &mut Vec<Vec<ArchiveFile>>| {
        if candidate.masked > 0 && candidate.masked * MASKED_SHARE >= candidate.file.invoices {
            chosen.push(vec![candidate.file]);
        }
    };
    while set.len() < MANY
        && let Some((largest, others)) = set.split_last()
    {
        let others: i64 = others.iter().map(|c| c.file.invoices).sum();
        if largest.file.invoices <= others * OUTWEIGHS {
            break;
        }
        if let Some(largest) = set.pop() {
            alone(largest, chosen);
        }
    }
    if !set.is_empty() {
        chosen.push(set.into_iter().map(|c| c.file).collect());
    }
}

pub(crate) async fn compact(
    run: Run<'_>,
    options: CompactOptions,
) -> Result<CompactSummary, ArchiveError> {
    let started = Instant::now();
    let locked = run.lock(options.tenant).await?;
    run.checkpoint.reached(Step::Locked).await;
    let mut compaction = Compaction {
        run: &locked,
        summary: CompactSummary {
            dry_run: options.dry_run,
            ..CompactSummary::default()
        },
    };
    let outcome = compaction.tenants(options.tenant).await;
    let mut summary = compaction.summary;
    locked.release();
    summary.elapsed_ms = elapsed_ms(started);
    let all_done = outcome.is_ok() && summary.failures.is_empty();
    let label = if all_done { "done" } else { "failed" };
    counter!("sheaf_compaction_runs_total", "outcome" => label).increment(1);
    if options.tenant.is_none() && !options.dry_run {
        let failed = |(): &()| summary.failures.failed;
        record::record(run.store, Job::Compact, started, &outcome, failed).await;
    }
    outcome.map(|()| summary)
}

/// One run, under the tiering lock.
struct Compaction<'a> {
    run: &'a LockedRun<'a>,
    summary: CompactSummary,
}

impl Compaction<'_> {
    async fn tenants(&mut self, only: Option<TenantId>) -> Result<(), ArchiveError> {
        for tenant in self.run.tenants(only).await? {
            self.summary.tenants += 1;
            self.run.progress.begin(&format!("tenant {tenant}"));
            if let Err(error) = self.tenant(tenant).await {
                self.summary.failures.note(tenant, None, error)?;
            }
        }
        Ok(())
    }

    async fn tenant(&mut self, tenant: TenantId) -> Result<(), ArchiveError> {
        let recalls = self.run.store.has_recalls(tenant).await?;
        let mut files = Files::new(self.run.store, tenant, &[FileState::Published]);
        loop {
            let year = files.next_year().await?;
            if year.is_empty() {
                return Ok(());
            }
            self.summary.files += year.len() as u64;
            for set in choose(self.candidates(year, recalls).await?) {
                let period = set[0].period.to_string();
                self.run.progress.begin(&format!("{tenant} {period}"));
                if let Err(error) = self.compact(set).await {
                    self.summary.failures.note(tenant, Some(period), error)?;
                }
            }
        }
    }

    async fn candidates(
        &self,
        year: Vec<ArchiveFile>,
        recalls: bool,
    ) -> Result<Vec<Candidate>, ArchiveError> {
        let mut candidates = Vec::with_capacity(year.len());
        for file in year {
            let masked = if recalls {
                self.run.store.recalled_from(&file).await?.len()
            } else {
                0
            };
            let masked = i64::try_from(masked).unwrap_or(i64::MAX).min(file.invoices);
            candidates.push(Candidate { file, masked });
        }
        Ok(candidates)
    }

    async fn compact(&mut self, set: Vec<ArchiveFile>) -> Result<(), ArchiveError> {
        let size = |file: &ArchiveFile| u64::try_from(file.bytes).unwrap_or(0);
        let (count, bytes) = (set.len() as u64, set.iter().map(size).sum::<u64>());
        let summary = &mut self.summary;
        if summary.dry_run {
            summary.replaced += count;
            summary.written += 1;
            summary.bytes_before += bytes;
            let invoices = set.iter().map(|file| file.invoices).sum::<i64>();
            summary.invoices += u64::try_from(invoices).unwrap_or(0);
            return Ok(());
        }
        for _ in 0..2 {
            if let Outcome::Done(done) = rewrite(self.run, &set, None).await? {
                summary.replaced += count;
                summary.written += u64::from(done.bytes > 0);
                summary.invoices += done.invoices;
                summary.dropped += done.dropped;
                summary.bytes_before += bytes;
                summary.bytes_after += done.bytes;
                counter!("sheaf_compaction_files_total").increment(count);
                counter!("sheaf_compaction_bytes_total").increment(done.bytes);
                return Ok(());
            }
        }
        summary.skipped_changed += count;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(part: i32, invoices: i64, masked: i64) -> Candidate {
        let file = ArchiveFile {
            tenant_id: TenantId(uuid::Uuid::nil()),
            period: "2024-03".parse().unwrap(),
            part,
            generation: 1,
            object_key: String::new(),
            state: FileState::Published,
            min_id: uuid::Uuid::nil(),
            max_id: uuid::Uuid::nil(),
            invoices,
            lines: invoices,
            payments: 0,
            events: 0,
            bytes: SMALL_FILE + invoices * 100,
            tail_offset: 0,
            sha256: None,
            sums: serde_json::json!({}),
            schema_version: 1,
            staged_at: Default::default(),
            published_at: None,
            superseded_at: None,
            tail_sha256: None,
            numbers: None,
        };
        Candidate { file, masked }
    }

    /// The invoices of the files of each set.
    fn sets(invoices: &[i64]) -> Vec<Vec<i64>> {
        let files = (0..).zip(invoices).map(|(part, n)| file(part, *n, 0));
        let chosen = choose(files.collect());
        chosen
            .iter()
            .map(|set| set.iter().map(|file| file.invoices).collect())
            .collect()
    }

    #[test]
    fn files_become_one_where_the_work_is_worth_it() {
        assert_eq!(sets(&[]), Vec::<Vec<i64>>::new());
        assert_eq!(sets(&[5]), Vec::<Vec<i64>>::new());
        assert_eq!(sets(&[5, 3]), [[3, 5]]);
        assert_eq!(sets(&[50_000, 10]), Vec::<Vec<i64>>::new());
        assert_eq!(sets(&[10, 50_000, 10]), [[10, 10]]);
        // Many become one whatever they weigh.
        assert_eq!(sets(&[1, 1, 1, 1, 1, 1, 1, 50_000])[0].len(), 8);
        // A part's bounds hold.
        assert_eq!(sets(&[60_000, 30_000, 30_000]), [[30_000, 30_000]]);
        assert_eq!(sets(&[100_000, 100_000]), Vec::<Vec<i64>>::new());
        let many = vec![10; MAX_SOURCES + 2];
        let lengths: Vec<usize> = sets(&many).iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_SOURCES, 2]);
    }

    #[test]
    fn small_files_go_together_whatever_their_month() {
        let of = |period: &str, invoices, bytes| {
            let mut candidate = file(0, invoices, 0);
            candidate.file.period = period.parse().unwrap();
            candidate.file.bytes = bytes;
            candidate
        };
        let periods = |files: Vec<Candidate>| -> Vec<Vec<String>> {
            let names = |set: &Vec<ArchiveFile>| set.iter().map(|f| f.period.to_string()).collect();
            choose(files).iter().map(names).collect()
        };
        let large = SMALL_FILE;
        assert_eq!(
            periods(vec![
                of("2024-01", 3, 100),
                of("2024-02", 900, large),
                of("2024-03", 5, 200),
                of("2024-04", 900, large),
                of("2024-04", 901, large),
            ]),
            [vec!["2024-01", "2024-03"], vec!["2024-04", "2024-04"]]
        );
        // A file of the year takes small ones in however large it is.
        assert_eq!(
            periods(vec![of("2024-00", 900, large), of("2024-03", 300, 100)]),
            [["2024-03", "2024-00"]]
        );
        assert!(periods(vec![of("2024-00", 900, large), of("2024-02", 900, large)]).is_empty());
    }

    #[test]
    fn what_was_left_alone_is_left_alone_again() {
        for files in [
            vec![1, 1, 9, 50],
            vec![2, 9, 50],
            vec![1, 1, 20, 60],
            vec![10, 50_000, 10],
            vec![60_000, 30_000, 30_000, 500],
        ] {
            let mut left = files.clone();
            for set in sets(&files) {
                for invoices in &set {
                    left.remove(left.iter().position(|n| n == invoices).unwrap());
                }
                left.push(set.iter().sum());
            }
            assert_eq!(sets(&left), Vec::<Vec<i64>>::new(), "{files:?} {left:?}");
        }
    }

    #[test]
    fn one_file_is_written_anew_when_one_copy_in_twenty_is_out_of_date() {
        assert!(choose(vec![file(0, 100, 4)]).is_empty());
        assert_eq!(choose(vec![file(0, 100, 5)]).len(), 1);
        assert_eq!(
            choose(vec![file(0, 50_000, 2_500), file(1, 10, 0)]).len(),
            1
        );
    }
}
