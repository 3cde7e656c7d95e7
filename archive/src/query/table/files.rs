//! From the catalog to the files of a scan: those that the filters leave, without the rows that a
//! recall has put out of date.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray, StringViewArray};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::PhysicalExpr;
use parquet::arrow::arrow_reader::RowSelection;
use sheaf_model::{Period, TenantId};
use sheaf_store::ArchiveFile;
use uuid::Uuid;

use super::hot::HotTier;
use super::reader::{Readers, Source};
use super::schema::{MONTH, TENANT, YEAR};
use crate::ArchiveError;
use crate::file::metadata_columns::MetadataKeys;
use crate::file::row_group::RowGroupData;
use crate::query::error::QueryError;

/// All that one query may read: the tenant's files and hot rows of one snapshot.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) tenant: TenantId,
    /// Columns of `invoices` beside the usual ones.
    pub(crate) keys: MetadataKeys,
    /// By period and part.
    pub(crate) files: Vec<Arc<ArchiveFile>>,
    /// When each recalled invoice was recalled last, by id.
    pub(crate) recalls: Vec<(Uuid, DateTime<Utc>)>,
    /// With `tier=all`.
    pub(crate) hot: Option<Arc<HotTier>>,
    pub(crate) readers: Arc<Readers>,
}

/// What one scan reads.
pub(crate) struct Selection {
    pub(crate) files: Vec<PartitionedFile>,
    /// Rows of all of them, exactly.
    pub(crate) rows: usize,
}

/// What the catalog knows of a file, or of a period of the hot tier.
struct Bounds {
    period: Period,
    min_id: Uuid,
    max_id: Uuid,
}

impl Scope {
    /// The files that may hold rows for which `predicate` over `schema` is true.
    pub(crate) async fn select(
        &self,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        schema: &SchemaRef,
    ) -> Result<Selection, QueryError> {
        let cold = self.files.iter().map(|file| Bounds {
            period: file.period,
            min_id: file.min_id,
            max_id: file.max_id,
        });
        let kept = self.prune(cold.collect(), predicate, schema);
        let mut selection = Selection {
            files: Vec::new(),
            rows: 0,
        };
        for (file, _) in self.files.iter().zip(kept).filter(|(_, kept)| *kept) {
            self.add_cold(&mut selection, file).await?;
        }
        let Some(hot) = &self.hot else {
            return Ok(selection);
        };
        let periods = hot.periods().iter().map(|period| {
            let (min_id, max_id) = period.id_bounds();
            Bounds {
                period: *period,
                min_id,
                max_id,
            }
        });
        let kept = self.prune(periods.collect(), predicate, schema);
        for (period, _) in hot.periods().iter().zip(kept).filter(|(_, kept)| *kept) {
            self.add_hot(&mut selection, hot, *period).await?;
        }
        Ok(selection)
    }

    fn prune(
        &self,
        bounds: Vec<Bounds>,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        schema: &SchemaRef,
    ) -> Vec<bool> {
        let all = vec![true; bounds.len()];
        let Some(predicate) = predicate else {
            return all;
        };
        let catalog = Catalog {
            tenant: self.tenant,
            bounds,
        };
        // What cannot be used to leave files out leaves all of them in.
        PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .try_build(Arc::clone(predicate))
            .and_then(|pruning| pruning.prune(&catalog))
            .unwrap_or(all)
    }

    /// Values of [`super::schema::path_fields`].
    fn partition(&self, period: Period) -> Vec<ScalarValue> {
        vec![
            ScalarValue::Utf8(Some(self.tenant.to_string())),
            ScalarValue::Int32(Some(i32::from(period.year))),
        ]
    }

    async fn add_cold(
        &self,
        selection: &mut Selection,
        file: &Arc<ArchiveFile>,
    ) -> Result<(), QueryError> {
        // The catalog was asked for this tenant's files alone; this is the last chance to make
        // sure.
        if file.tenant_id != self.tenant {
            let detail = "belongs to another tenant";
            return Err(ArchiveError::corrupt(&file.object_key, detail).into());
        }
        let bytes = u64::try_from(file.bytes).unwrap_or(0);
        let mut rows = usize::try_from(file.invoices).unwrap_or(0);
        let mut part = PartitionedFile::new(file.object_key.clone(), bytes)
            .with_partition_values(self.partition(file.period))
            .with_extension(Source::Cold(Arc::clone(file)));
        let recalled = self.recalled_from(file);
        if !recalled.is_empty() {
            let (readers, file) = (Arc::clone(&self.readers), Arc::clone(file));
            let without = self.readers.away(without(readers, file, recalled));
            let (seen, selected) = without.await?;
            rows = seen;
            part = part.with_extension(ParquetRowSelection::new(selected));
        }
        let counters = &self.readers.counters;
        counters.files_planned.fetch_add(1, Ordering::Relaxed);
        counters.bytes_planned.fetch_add(bytes, Ordering::Relaxed);
        selection.rows = selection.rows.saturating_add(rows);
        selection.files.push(part);
        Ok(())
    }

    async fn add_hot(
        &self,
        selection: &mut Selection,
        hot: &Arc<HotTier>,
        period: Period,
    ) -> Result<(), QueryError> {
        let (hot, counters) = (Arc::clone(hot), Arc::clone(&self.readers.counters));
        let parts = self.readers.away(async move {
            let read = |rows| {
                let count = &counters.hot_invoices;
                count.fetch_add(rows as u64, Ordering::Relaxed);
            };
            hot.parts(period, read).await
        });
        for part in parts.await? {
            selection.rows = selection.rows.saturating_add(part.rows);
            selection.files.push(
                PartitionedFile::new(part.name.clone(), part.bytes)
                    .with_partition_values(self.partition(part.period))
                    .with_extension(Source::Hot(part)),
            );
        }
        Ok(())
    }

    /// Invoices whose copy in the file is out of date, if it has one, by id.
    fn recalled_from(&self, file: &ArchiveFile) -> Vec<Uuid> {
        let from = self.recalls.partition_point(|(id, _)| *id < file.min_id);
        let to = self.recalls.partition_point(|(id, _)| *id <= file.max_id);
        let within = self.recalls.get(from..to).unwrap_or_default();
        within
            .iter()
            .filter(|(_, at)| file.published_at.is_none_or(|published| published <= *at))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// The rows of the file but for those of `ids`, which ascend: how many, and which.
async fn without(
    readers: Arc<Readers>,
    file: Arc<ArchiveFile>,
    ids: Vec<Uuid>,
) -> Result<(usize, RowSelection), QueryError> {
    let Readers {
        objects, counters, ..
    } = readers.as_ref();
    counters.opened(&file.object_key);
    let count = |bytes| counters.request(bytes);
    let footer = objects.footer_counted(&file, count).await?;
    let (mut first, mut hidden) = (0, Vec::new());
    for (at, row_group) in footer.row_groups.iter().enumerate() {
        let from = ids.partition_point(|id| *id < row_group.min_id);
        let to = ids.partition_point(|id| *id <= row_group.max_id);
        let within: Vec<Uuid> = ids.get(from..to).unwrap_or_default().to_vec();
        if !within.is_empty() {
            let range = footer.column_range(at, &["id"])?;
            let base = range.start;
            let bytes = objects.chunks(&footer, at, range).await?;
            counters.request(bytes.len() as u64);
            let data = RowGroupData::new(Arc::clone(&footer), at, bytes, base);
            let found = tokio::task::spawn_blocking(move || data.positions(&within))
                .await
                .map_err(ArchiveError::from)??;
            hidden.extend(found.into_iter().map(|row| first + row));
        }
        first += row_group.rows;
    }
    let total = first;
    let mut shown = Vec::with_capacity(hidden.len() + 1);
    let mut next = 0;
    for row in &hidden {
        shown.push(next..*row);
        next = row + 1;
    }
    shown.push(next..total);
    shown.retain(|range| !range.is_empty());
    let selection = RowSelection::from_consecutive_ranges(shown.into_iter(), total);
    Ok((total - hidden.len(), selection))
}

/// The catalog as the engine's pruning reads it: one container a file.
struct Catalog {
    tenant: TenantId,
    bounds: Vec<Bounds>,
}

impl Catalog {
    fn of(&self, column: &Column, id: impl Fn(&Bounds) -> Uuid) -> Option<ArrayRef> {
        let bounds = self.bounds.iter();
        match column.name() {
            // As text, lower case: its order is that of the ids.
            "id" => {
                let ids = bounds.map(|bounds| Some(id(bounds).to_string()));
                Some(Arc::new(ids.collect::<StringViewArray>()))
            }
            TENANT => {
                let tenants = bounds.map(|_| Some(self.tenant.to_string()));
                Some(Arc::new(tenants.collect::<StringArray>()))
            }
            YEAR => {
                let years = bounds.map(|bounds| i32::from(bounds.period.year));
                Some(Arc::new(years.collect::<Int32Array>()))
            }
            MONTH => {
                let months = bounds.map(|bounds| match bounds.period.month {
                    0 => i32::from(Period::of(id(bounds)).month),
                    month => i32::from(month),
                });
                Some(Arc::new(months.collect::<Int32Array>()))
            }
            _ => None,
        }
    }
}

impl PruningStatistics for Catalog {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| bounds.min_id)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| bounds.max_id)
    }

    fn num_containers(&self) -> usize {
        self.bounds.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    // The set is the trait's; nothing here changes a value in it.
    #[allow(clippy::mutable_key_type)]
    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
