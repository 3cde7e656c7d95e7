//! The tables: a scan of the files that the catalog leaves, and for lines, payments and events the
//! lists unnested.

pub(crate) mod computed;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod hot;
pub(crate) mod reader;
pub(crate) mod schema;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, NullHandling, Statistics, UnnestOptions};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ScalarUDF, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::error::QueryError;
use crate::query::table::computed::Computed;
use crate::query::table::events::ParseEvents;
use crate::query::table::files::{Scope, Selection};
use crate::query::table::reader::Factory;
use crate::query::table::schema::{
    List, ListKind, Origin, Shape, file_schema, month_field, path_fields,
};

/// The one place that scans name. Nothing can be read there: readers get their bytes from the
/// archive.
pub(super) const NOWHERE: &str = "sheaf://archive";

/// A table of one query.
pub(super) struct Table {
    shape: Shape,
    scope: Arc<Scope>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.shape.name)
            .finish_non_exhaustive()
    }
}

type Physical = Arc<dyn PhysicalExpr>;

/// What is read of the files.
struct Scan<'a> {
    /// By their names in the file and the path.
    columns: &'a [&'a str],
    /// The fields of a list that are read, of all that it has.
    narrow: Option<(&'static str, Fields)>,
    /// Whether a list is unnested above.
    unnested: bool,
    filters: &'a [Expr],
    limit: Option<usize>,
}

impl Table {
    pub(super) fn new(shape: Shape, scope: Arc<Scope>) -> Self {
        Self { shape, scope }
    }

    fn origin(&self, name: &str) -> Option<Origin> {
        let at = self.shape.schema.index_of(name).ok()?;
        self.shape.origins.get(at).copied()
    }

    /// The name that a filter's column has in the scan: none for a field of the list.
    fn scanned(&self, column: &Column) -> Option<&str> {
        match self.origin(&column.name)? {
            Origin::Invoice(name) | Origin::Path(name) => Some(name),
            // Under the same name in both.
            Origin::Declared => self
                .shape
                .schema
                .field_with_name(&column.name)
                .ok()
                .map(|f| f.name().as_str()),
            Origin::Element(_) => None,
        }
    }

    fn is_of_invoice(&self, filter: &Expr) -> bool {
        !filter.is_volatile()
            && filter
                .column_refs()
                .into_iter()
                .all(|column| self.scanned(column).is_some())
    }

    /// The filters as one expression over the columns of the scan.
    fn predicate(
        &self,
        state: &dyn Session,
        filters: &[Expr],
        scanned: &SchemaRef,
    ) -> Result<Option<Physical>> {
        let usable = filters.iter().filter(|filter| self.is_of_invoice(filter));
        let renamed = usable.map(|filter| {
            let renamed = filter.clone().transform(|expr| match expr {
                Expr::Column(column) => match self.scanned(&column) {
                    Some(name) => Ok(Transformed::yes(Expr::Column(Column::from_name(name)))),
                    None => Ok(Transformed::no(Expr::Column(column))),
                },
                other => Ok(Transformed::no(other)),
            });
            renamed.map(|renamed| renamed.data)
        });
        let Some(all) = conjunction(renamed.collect::<Result<Vec<_>>>()?) else {
            return Ok(None);
        };
        let schema = DFSchema::try_from(Arc::clone(scanned))?;
        state.create_physical_expr(all, &schema).map(Some)
    }

    /// The rows of the files.
    async fn files(&self, state: &dyn Session, scan: Scan<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        let Scan {
            columns, filters, ..
        } = scan;
        let keys = &self.scope.keys;
        let of_file = file_schema(scan.narrow, keys);
        let fields = of_file.fields().iter().cloned().chain([month_field()]);
        let table = TableSchema::builder(Arc::new(Schema::new(fields.collect::<Fields>())))
            .with_table_partition_cols(path_fields())
            .build();
        let schema = Arc::clone(table.table_schema());
        let predicate = self.predicate(state, filters, &schema)?;
        let selected = self.scope.select(predicate.as_ref(), &schema).await;
        let selected = selected.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let projection = columns
            .iter()
            .map(|name| schema.index_of(name))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        if selected.files.is_empty() {
            let projected = Arc::new(schema.project(&projection)?);
            return Ok(Arc::new(EmptyExec::new(projected)));
        }
        let parquet = state.config_options().execution.parquet.clone();
        let options = datafusion::config::TableParquetOptions {
            global: parquet,
            ..Default::default()
        };
        let factory = Arc::new(Factory(Arc::clone(&self.scope.readers)));
        let mut source = ParquetSource::new(table)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(factory);
        // Filters of a plain scan reach it by the optimizer; through an unnested list they do not.
        if let Some(predicate) = predicate.filter(|_| scan.unnested) {
            source = source.with_predicate(predicate);
        }
        let statistics = statistics(&schema, &selected);
        let partitions = state.config().target_partitions();
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(NOWHERE)?, Arc::new(source))
            .with_file_groups(groups(selected, partitions))
            .with_statistics(statistics)
            .with_projection_indices(Some(projection))?
            .with_limit(scan.limit)
            .with_expr_adapter(Some(Arc::new(Computed(Arc::clone(keys)))))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The scan, its list unnested, with the columns `wanted` of the table.
    async fn unnested(
        &self,
        state: &dyn Session,
        list: &List,
        wanted: &[usize],
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let fields = &self.shape.schema.fields();
        // What is read of the invoice, and of an element: in the order of the table.
        let (mut parents, mut elements) = (Vec::new(), Vec::new());
        for at in wanted {
            match self.shape.origins[*at] {
                Origin::Invoice(name) | Origin::Path(name) => parents.push((*at, name)),
                Origin::Declared => parents.push((*at, fields[*at].name())),
                Origin::Element(element) => elements.push((Some(*at), element)),
            }
        }
        // An element that has none of the fields cannot be read, nor counted.
        if !elements.iter().any(|(_, element)| is_old(list, *element)) {
            elements.push((None, list.anchor));
        }
        elements.sort_by_key(|(_, element)| *element);
        let narrow: Fields = elements
            .iter()
            .map(|(_, element)| Arc::clone(&list.fields[*element]))
            .collect();
        let mut columns: Vec<&str> = parents.iter().map(|(_, name)| *name).collect();
        columns.push(list.column);
        let narrow_list = (list.column, narrow.clone());
        let scan = Scan {
            columns: &columns,
            narrow: (list.kind == ListKind::Structs).then_some(narrow_list),
            unnested: true,
            filters,
            limit: None,
        };
        let scan = self.files(state, scan).await?;
        // The invoice's columns get the table's names, and JSON text becomes a list.
        let mut renamed: Vec<(Physical, String)> = Vec::new();
        for (at, (column, name)) in parents.iter().enumerate() {
            let from: Physical = Arc::new(PhysicalColumn::new(name, at));
            renamed.push((from, fields[*column].name().clone()));
        }
        let column: Physical = Arc::new(PhysicalColumn::new(list.column, parents.len()));
        let column = match list.kind {
            ListKind::Structs => column,
            ListKind::Events => parsed(state, column, narrow, &scan.schema())?,
        };
        renamed.push((column, list.column.to_owned()));
        let renamed: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(renamed, scan)?);

        let parent_fields = parents.iter().map(|(at, _)| Arc::clone(&fields[*at]));
        let element_fields = elements.iter().map(|(at, element)| match at {
            Some(at) => Arc::clone(&fields[*at]),
            None => nameless(&list.fields[*element]),
        });
        let flat: Fields = parent_fields.chain(element_fields).collect();
        let flat = Arc::new(Schema::new(flat));
        let lists = vec![ListUnnest {
            index_in_input_schema: parents.len(),
            depth: 1,
        }];
        let options = UnnestOptions {
            null_handling: NullHandling::Drop,
            ..Default::default()
        };
        let rows = UnnestExec::new(
            renamed,
            lists,
            vec![parents.len()],
            Arc::clone(&flat),
            options,
        )?;
        let ordered = wanted.iter().map(|at| {
            let name = fields[*at].name();
            let column: Physical = Arc::new(PhysicalColumn::new_with_schema(name, &flat)?);
            Ok((column, name.clone()))
        });
        let ordered = ordered.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(ordered, Arc::new(rows))?))
    }
}

/// Whether every version of the schema has the field.
fn is_old(list: &List, element: usize) -> bool {
    list.kind == ListKind::Events || !list.fields[element].is_nullable() || element == list.anchor
}

/// A field that no query can ask for: no column of a table has such a name.
fn nameless(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_name("\u{0}"))
}

fn parsed(
    state: &dyn Session,
    column: Physical,
    fields: Fields,
    schema: &SchemaRef,
) -> Result<Physical> {
    let function = Arc::new(ScalarUDF::from(ParseEvents::new(fields)));
    let options = Arc::clone(state.config().options());
    let call = ScalarFunctionExpr::try_new(function, vec![column], schema, options)?;
    Ok(Arc::new(call))
}

/// Files in as many groups as there are threads, about equally large.
fn groups(selected: Selection, partitions: usize) -> Vec<FileGroup> {
    let mut groups: Vec<(u64, Vec<_>)> = vec![(0, Vec::new()); partitions.max(1)];
    for file in selected.files {
        if let Some(least) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            least.0 += file.object_meta.size.max(1);
            least.1.push(file);
        }
    }
    let full = groups.into_iter().filter(|(_, files)| !files.is_empty());
    full.map(|(_, files)| FileGroup::new(files)).collect()
}

/// How many rows there are is known exactly: the catalog counts them, less what recalls have put
/// out of date.
fn statistics(schema: &Schema, selected: &Selection) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(selected.rows);
    statistics
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize>;
        let wanted = match projection {
            Some(projection) => projection.as_slice(),
            None => {
                all = (0..self.shape.schema.fields().len()).collect();
                all.as_slice()
            }
        };
        if let Some(list) = &self.shape.list {
            return self.unnested(state, list, wanted, filters).await;
        }
        let columns: Vec<&str> = wanted
            .iter()
            .map(|at| self.shape.schema.field(*at).name().as_str())
            .collect();
        let scan = Scan {
            columns: &columns,
            narrow: None,
            unnested: false,
            filters,
            limit,
        };
        self.files(state, scan).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let inexact = |filter: &&Expr| match self.is_of_invoice(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(inexact).collect())
    }
}

/// All tables of a query, by name.
pub(super) fn tables(scope: &Arc<Scope>) -> HashMap<&'static str, Arc<Table>> {
    schema::shapes(&scope.keys)
        .into_iter()
        .map(|shape| (shape.name, Arc::new(Table::new(shape, Arc::clone(scope)))))
        .collect()
}

/// The query's own error, if the engine carries one.
pub(super) fn carried(error: DataFusionError) -> std::result::Result<QueryError, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(own) => Ok(*own),
            Err(inner) => Err(DataFusionError::External(inner)),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            carried(*inner)
        }
        other => Err(other),
    }
}
