//! Functions of our own: `json_text(json, key)`, since metadata and events are JSON text.

use std::hash::Hash;
use std::sync::Arc;

use crate::metadata::member;
use arrow::array::{Array, StringBuilder, cast::AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `json_text(json, key)`: the member of a JSON object as text, as PostgreSQL's `->>` gives it: a string without its quotes,
/// anything else as it is written. Null where there is no such member, it is null, or the text is no object.
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
