//! Which of a series' next numbers are taken, in both tiers.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use sheaf_model::TenantId;
use tokio_postgres::types::ToSql;

use super::reserve::{Counter, RowKey};
use crate::batch::{Abort, Needs};
use crate::cold::catalog;
use crate::cold::file::{ArchiveFile, FileKeys};
use crate::invoice::number;
use crate::invoice::number::ranges::number_parts;
use crate::sql;
use crate::sql::statements::Find;
use sheaf_cluster::transaction::in_order;

/// How far beyond the next numbers of a series that runs through the years its files are asked for.
const FAR: i64 = 1_000_000;
/// Files that are asked for at once.
const MAX_FILES: i64 = 128;

/// Keys of archived files.
#[derive(Clone, Copy)]
pub(crate) struct Archived<'a> {
    /// All files of the years in which numbers must be free.
    pub(crate) of_years: &'a [(ArchiveFile, Arc<FileKeys>)],
    /// Files of other years that may have numbers of series which run through them.
    pub(crate) more: &'a [(ArchiveFile, Arc<FileKeys>)],
}

impl<'a> Archived<'a> {
    pub(super) fn of(
        self,
        tenant: TenantId,
    ) -> impl Iterator<Item = (&'a ArchiveFile, &'a FileKeys)> {
        let all = self.of_years.iter().chain(self.more);
        all.filter(move |(file, _)| file.tenant_id == tenant)
            .map(|(file, keys)| (file, &**keys))
    }
}

/// Looks up the next numbers of each counter: those that it needs, and some more.
pub(super) async fn look(
    conn: &Object,
    counters: &mut [(&RowKey, &mut Counter)],
    ahead: i64,
    archived: Archived<'_>,
) -> Result<(), Abort> {
    let texts: Vec<Vec<String>> = counters
        .iter()
        .map(|(_, counter)| {
            let last = counter.known + counter.wanted + ahead;
            let next = counter.known + 1..=last;
            next.map(|number| counter.text(number)).collect()
        })
        .collect();
    let mut asked = Vec::with_capacity(counters.len());
    for ((key, counter), texts) in counters.iter().zip(&texts) {
        let (tenant, shard, years) = (key.0.0, &*counter.shard, &counter.years);
        let runs = counter.runs;
        asked.push(async move {
            let of_year = |year: &i16| number::find(conn, Some(shard), tenant, *year, texts);
            let of_all_years = async {
                if !runs {
                    return Ok(Vec::new());
                }
                let find = Find::NumbersOfAllYears.on(Some(shard));
                let find = conn.prepare_cached(find).await?;
                conn.query(&find, &[&tenant, texts]).await
            };
            let (of_years, of_all_years) =
                tokio::try_join!(try_join_all(years.iter().map(of_year)), of_all_years)?;
            let rows = of_years.iter().flatten().chain(&of_all_years);
            let found: HashSet<String> = rows.map(|row| row.get(3)).collect();
            Ok::<_, tokio_postgres::Error>(found)
        });
    }
    let found = in_order(asked).await?;
    // After the hot tier: what has left it meanwhile is in a file that is seen here.
    look_for_files(conn, counters, &texts, archived).await?;
    for (((key, counter), texts), found) in counters.iter_mut().zip(&texts).zip(found) {
        let files: Vec<&FileKeys> = archived
            .of(key.0)
            .filter(|(file, _)| counter.runs || counter.years.contains(&file.period.year))
            .map(|(_, keys)| keys)
            .collect();
        for text in texts {
            counter.known += 1;
            let in_file = |keys: &&FileKeys| keys.numbers.contains_key(text.as_str());
            if found.contains(text) || files.iter().any(in_file) {
                counter.taken.insert(counter.known);
            }
        }
        counter.skip_taken();
    }
    Ok(())
}

/// Asks for the keys of files that may have a number which a series that runs through the years
/// would give next. The catalog knows of each file's numbers; a series that has given all before it
/// meets no file here.
async fn look_for_files(
    conn: &Object,
    counters: &[(&RowKey, &mut Counter)],
    texts: &[Vec<String>],
    archived: Archived<'_>,
) -> Result<(), Abort> {
    let mut unknown: BTreeMap<String, ArchiveFile> = BTreeMap::new();
    for ((key, counter), texts) in counters.iter().zip(texts) {
        if !counter.runs {
            continue;
        }
        let mut ranges: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for (prefix, value) in texts.iter().filter_map(|text| number_parts(text)) {
            let range = ranges.entry(prefix).or_insert((value, value));
            *range = (range.0.min(value), range.1.max(value));
        }
        let known = archived.of(key.0).map(|(file, _)| &*file.object_key);
        let known: Vec<&str> = known.collect();
        let find = conn.prepare_cached(sql::ARCHIVE_FILE_WITH_NUMBERS).await?;
        for (prefix, (first, last)) in ranges {
            // Further files at once, lest each window that is full of numbers asks for some more.
            let far = last.saturating_add(FAR);
            let params: [&(dyn ToSql + Sync); 7] =
                [&key.0.0, &prefix, &first, &last, &far, &known, &MAX_FILES];
            let rows = conn.query(&find, &params).await?;
            // What has none of the numbers that are wanted now is no reason to wait.
            if rows.first().is_some_and(|row| row.get("due")) {
                for row in rows {
                    let file = catalog::from_row(&row).map_err(Abort::Failed)?;
                    unknown.insert(file.object_key.clone(), file);
                }
            }
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let mut needs: BTreeMap<TenantId, Needs> = BTreeMap::new();
    for file in unknown.into_values() {
        needs.entry(file.tenant_id).or_default().files.push(file);
    }
    Err(Abort::Needs(needs))
}
