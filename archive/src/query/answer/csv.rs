//! CSV as RFC 4180 has it: lines end with CR LF, and a field is quoted where it has to be. What is
//! null is an empty field; a text that is empty is a quoted one, so that the two differ.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

const END: &str = "\r\n";

/// The line with the columns' names.
pub(crate) fn header(schema: &Schema) -> String {
    let mut out = String::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(&mut out, field.name());
    }
    out.push_str(END);
    out
}

/// The lines of a batch that has no nested values.
pub(crate) fn lines(batch: &RecordBatch) -> Result<String, ArrowError> {
    const PLAIN: FormatOptions<'static> = FormatOptions::new();
    let columns = batch.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &PLAIN));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let nulls: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| column.logical_nulls())
        .collect();
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        for (at, (column, nulls)) in columns.iter().zip(&nulls).enumerate() {
            if at > 0 {
                out.push(',');
            }
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            push(&mut out, &column.value(row).try_to_string()?);
        }
        out.push_str(END);
    }
    Ok(out)
}

/// A field, quoted where it has to be.
fn push(out: &mut String, value: &str) {
    let special = |byte: u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
    if !value.is_empty() && !value.bytes().any(special) {
        return out.push_str(value);
    }
    out.push('"');
    for (at, part) in value.split('"').enumerate() {
        if at > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, NullArray, StringViewArray};

    use super::*;

    #[test]
    fn what_is_null_is_nothing_and_what_is_empty_is_quoted() {
        let texts = vec![
            Some("a"),
            Some(""),
            None,
            Some("a,b"),
            Some("say \"so\""),
            Some("two\r\nlines"),
            Some(" edge "),
        ];
        let numbers = Int64Array::from(vec![Some(1), None, Some(3), None, None, None, None]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("name, of all", Arc::new(StringViewArray::from(texts))),
            ("n", Arc::new(numbers)),
            ("none", Arc::new(NullArray::new(7))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(header(&batch.schema()), "\"name, of all\",n,none\r\n");
        let want = [
            "a,1,",
            "\"\",,",
            ",3,",
            "\"a,b\",,",
            "\"say \"\"so\"\"\",,",
            "\"two\r\nlines\",,",
            " edge ,,",
        ];
        assert_eq!(
            lines(&batch).unwrap(),
            want.map(|line| format!("{line}\r\n")).concat()
        );
    }
}
