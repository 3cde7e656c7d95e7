//! Declared keys of `metadata` in files that were written before they were declared: the values are taken out of the JSON
//! text, so that a declaration rewrites nothing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::PhysicalExpr;

use super::functions::json_text;
use crate::metadata::{self, MetadataKeys};

type Physical = Arc<dyn PhysicalExpr>;

/// Fits expressions over a table's columns to those that a file has.
#[derive(Debug)]
pub(super) struct DeclaredKeys(pub(super) MetadataKeys);

impl PhysicalExprAdapterFactory for DeclaredKeys {
    fn create(
        &self,
        logical: SchemaRef,
        physical: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let mut missing = HashMap::new();
        for key in self.0.iter() {
            let column = metadata::column(key);
            if physical.index_of(&column).is_err() {
                missing.insert(column, value(key, &logical)?);
            }
        }
        let usual = DefaultPhysicalExprAdapterFactory.create(logical, physical)?;
        Ok(Arc::new(Adapter { missing, usual }))
    }
}

/// `json_text(metadata, key)`.
fn value(key: &str, schema: &SchemaRef) -> Result<Physical> {
    let document: Physical = Arc::new(Column::new_with_schema("metadata", schema)?);
    let document: Physical = Arc::new(CastExpr::new(document, DataType::Utf8, None));
    let key: Physical = Arc::new(Literal::new(ScalarValue::from(key)));
    let (arguments, options) = (vec![document, key], Arc::new(ConfigOptions::default()));
    let text: Physical = Arc::new(ScalarFunctionExpr::try_new(
        json_text(),
        arguments,
        schema,
        options,
    )?);
    // As the table declares it.
    Ok(Arc::new(CastExpr::new(text, DataType::Utf8View, None)))
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
