//! Functions of our own: `json_text(json, key)`, since metadata and events are JSON text; and the
//! month of an id, which queries see as a column.

pub(crate) mod arithmetic;
pub(crate) mod bounded;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod extremes;
pub(crate) mod registry;
pub(crate) mod shift;

use std::hash::Hash;
use std::sync::Arc;

use crate::file::metadata_columns::member;
use arrow::array::{Array, Int32Array, StringBuilder, cast::AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use sheaf_model::Period;
use uuid::Uuid;

/// `json_text(json, key)`: the member of a JSON object as text, as PostgreSQL's `->>` gives it: a
/// string without its quotes, anything else as it is written. Null where there is no such member,
/// it is null, or the text is no object.
pub(super) fn json_text() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(JsonText {
        signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonText {
    signature: Signature,
}

impl ScalarUDFImpl for JsonText {
    fn name(&self) -> &'static str {
        "json_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = |at: usize| cast(&arrays[at], &DataType::Utf8);
        let (documents, keys) = (texts(0)?, texts(1)?);
        let (documents, keys) = (documents.as_string::<i32>(), keys.as_string::<i32>());
        let mut out = StringBuilder::with_capacity(documents.len(), documents.len() * 8);
        for (document, key) in documents.iter().zip(keys.iter()) {
            let found = document
                .zip(key)
                .and_then(|(document, key)| member(document, key));
            out.append_option(found);
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// The month, 1 to 12, that an id as text carries.
pub(super) fn month_of() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(MonthOf {
        signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MonthOf {
    signature: Signature,
}

impl ScalarUDFImpl for MonthOf {
    fn name(&self) -> &'static str {
        "month_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Int32, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let ids = cast(&arrays[0], &DataType::Utf8)?;
        let months = ids.as_string::<i32>().iter().map(|id| {
            let id = id.and_then(|id| Uuid::try_parse(id).ok());
            let id = id.ok_or_else(|| exec_datafusion_err!("an id of the archive is no UUID"))?;
            Ok(i32::from(Period::of(id).month))
        });
        let months = months.collect::<Result<Vec<i32>>>()?;
        Ok(ColumnarValue::Array(Arc::new(Int32Array::from(months))))
    }
}
