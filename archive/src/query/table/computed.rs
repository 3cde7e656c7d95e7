//! Columns of a table that a file does not have. Declared keys of `metadata` in files that were
//! written before they were declared are taken out of the JSON text, so that a declaration rewrites
//! nothing. The month is that of the whole file, or, in a file of a year, that of each id.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::PhysicalExpr;
use sheaf_model::Period;

use super::schema::MONTH;
use crate::file::metadata_columns;
use crate::file::metadata_columns::MetadataKeys;
use crate::file::schema::meta;
use crate::query::function::{json_text, month_of};

type Physical = Arc<dyn PhysicalExpr>;

/// Fits expressions over a table's columns to those that a file has.
#[derive(Debug)]
pub(crate) struct Computed(pub(crate) MetadataKeys);

impl PhysicalExprAdapterFactory for Computed {
    fn create(
        &self,
        logical: SchemaRef,
        physical: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let mut missing = HashMap::from([(MONTH.to_owned(), month(&physical, &logical)?)]);
        for key in self.0.iter() {
            let column = metadata_columns::column(key);
            if physical.index_of(&column).is_err() {
                missing.insert(column, member(key, &logical)?);
            }
        }
        let usual = DefaultPhysicalExprAdapterFactory.create(logical, physical)?;
        Ok(Arc::new(Adapter { missing, usual }))
    }
}

/// `json_text(metadata, key)`.
fn member(key: &str, schema: &SchemaRef) -> Result<Physical> {
    let key: Physical = Arc::new(Literal::new(ScalarValue::from(key)));
    let text = call(json_text(), vec![text("metadata", schema)?, key], schema)?;
    // As the table declares it.
    Ok(Arc::new(CastExpr::new(text, DataType::Utf8View, None)))
}

/// What the file says of itself, unless it is of a year.
fn month(file: &SchemaRef, schema: &SchemaRef) -> Result<Physical> {
    let period = file.metadata().get(meta::PERIOD);
    match period.and_then(|text| text.parse().ok()) {
        Some(Period { month, .. }) if month > 0 => {
            Ok(Arc::new(Literal::new(ScalarValue::from(i32::from(month)))))
        }
        _ => call(month_of(), vec![text("id", schema)?], schema),
    }
}

fn text(column: &str, schema: &SchemaRef) -> Result<Physical> {
    let column: Physical = Arc::new(Column::new_with_schema(column, schema)?);
    Ok(Arc::new(CastExpr::new(column, DataType::Utf8, None)))
}

fn call(
    function: Arc<ScalarUDF>,
    arguments: Vec<Physical>,
    schema: &SchemaRef,
) -> Result<Physical> {
    let options = Arc::new(ConfigOptions::default());
    let call = ScalarFunctionExpr::try_new(function, arguments, schema, options)?;
    Ok(Arc::new(call))
}

#[derive(Debug)]
struct Adapter {
    /// Values of the columns that the file lacks.
    missing: HashMap<String, Physical>,
    usual: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Physical) -> Result<Physical> {
        let told = expr.transform(|expr| {
            let column = expr.downcast_ref::<Column>();
            match column.and_then(|column| self.missing.get(column.name())) {
                Some(value) => Ok(Transformed::yes(Arc::clone(value))),
                None => Ok(Transformed::no(expr)),
            }
        })?;
        self.usual.rewrite(told.data)
    }
}
