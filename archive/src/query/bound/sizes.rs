//! How large values are, whoever else has a part in the memory that holds them: a text that a
//! thousand rows share is a thousand texts as soon as anything is computed of it.

use arrow::array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

/// What a value takes beside its text, and what one of a fixed width takes.
pub(crate) const SLOT: u64 = 16;

/// Bytes of each row of an array.
pub(crate) fn rows(array: &dyn Array) -> Vec<u64> {
    let mut out = vec![0; array.len()];
    add_rows(array, &mut out);
    out
}

/// Bytes of each row of a batch.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<u64> {
    let mut out = vec![0; batch.num_rows()];
    for column in batch.columns() {
        add_rows(column.as_ref(), &mut out);
    }
    out
}

/// Bytes of a batch.
pub(crate) fn bytes_of(batch: &RecordBatch) -> u64 {
    let columns = batch.columns().iter();
    columns.fold(0, |all, column| all.saturating_add(bytes(column.as_ref())))
}

/// Bytes of an array.
pub(crate) fn bytes(array: &dyn Array) -> u64 {
    let slots = SLOT.saturating_mul(length(array.len()));
    let within = match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => between(array.as_string::<i64>().value_offsets()),
        DataType::Binary => between(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => between(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            within(list.values(), list.value_offsets())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            within(list.values(), list.value_offsets())
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|column| bytes(column.as_ref())).sum()
        }
        _ => other(array),
    };
    slots.saturating_add(within)
}

/// What kinds have that no table and hardly a function makes: what they hold in memory.
fn other(array: &dyn Array) -> u64 {
    if array.data_type().is_primitive() || *array.data_type() == DataType::Boolean {
        return 0;
    }
    length(array.get_array_memory_size())
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn place<O: Copy + TryInto<u64>>(offset: O) -> u64 {
    offset.try_into().unwrap_or(0)
}

fn between<O: Copy + TryInto<u64>>(offsets: &[O]) -> u64 {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => place(*last).saturating_sub(place(*first)),
        _ => 0,
    }
}

fn within<O: Copy + TryInto<u64>>(values: &ArrayRef, offsets: &[O]) -> u64 {
    let first = offsets.first().map_or(0, |first| place(*first));
    let count = between(offsets);
    let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    if first == 0 && at(count) == values.len() {
        return bytes(values.as_ref());
    }
    match at(first).checked_add(at(count)) {
        Some(end) if end <= values.len() => bytes(values.slice(at(first), at(count)).as_ref()),
        _ => 0,
    }
}

fn add_rows(array: &dyn Array, out: &mut [u64]) {
    for size in out.iter_mut() {
        *size = size.saturating_add(SLOT);
    }
    let add = |out: &mut [u64], sizes: &mut dyn Iterator<Item = u64>| {
        for (size, more) in out.iter_mut().zip(sizes) {
            *size = size.saturating_add(more);
        }
    };
    let pairs = |offsets: &[i32]| -> Vec<u64> { offsets.windows(2).map(between).collect() };
    let large = |offsets: &[i64]| -> Vec<u64> { offsets.windows(2).map(between).collect() };
    match array.data_type() {
        DataType::Utf8 => {
            let sizes = pairs(array.as_string::<i32>().value_offsets());
            add(out, &mut sizes.into_iter());
        }
        DataType::LargeUtf8 => {
            let sizes = large(array.as_string::<i64>().value_offsets());
            add(out, &mut sizes.into_iter());
        }
        DataType::Binary => {
            let sizes = pairs(array.as_binary::<i32>().value_offsets());
            add(out, &mut sizes.into_iter());
        }
        DataType::LargeBinary => {
            let sizes = large(array.as_binary::<i64>().value_offsets());
            add(out, &mut sizes.into_iter());
        }
        DataType::Utf8View => {
            add(out, &mut array.as_string_view().lengths().map(u64::from));
        }
        DataType::BinaryView => {
            add(out, &mut array.as_binary_view().lengths().map(u64::from));
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            add_elements(list.values(), list.value_offsets(), out);
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            add_elements(list.values(), list.value_offsets(), out);
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                add_rows(column.as_ref(), out);
            }
        }
        _ => {
            let each = other(array) / length(out.len().max(1));
            out.iter_mut()
                .for_each(|size| *size = size.saturating_add(each));
        }
    }
}

fn add_elements<O: Copy + TryInto<u64>>(values: &ArrayRef, offsets: &[O], out: &mut [u64]) {
    let each = rows(values.as_ref());
    let at = |offset: O| usize::try_from(place(offset)).unwrap_or(usize::MAX);
    for (size, pair) in out.iter_mut().zip(offsets.windows(2)) {
        let elements = each.get(at(pair[0])..at(pair[1])).unwrap_or_default();
        let all = elements
            .iter()
            .fold(0_u64, |all, one| all.saturating_add(*one));
        *size = size.saturating_add(all);
    }
}

/// Bytes of a constant.
pub(crate) fn scalar(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            SLOT.saturating_add(text.as_ref().map_or(0, |text| length(text.len())))
        }
        other if other.data_type().is_primitive() => SLOT,
        other => match other.to_array() {
            Ok(array) => bytes(array.as_ref()),
            Err(_) => SLOT,
        },
    }
}

/// Cuts rows into runs of at most `limit` bytes each, and at least one row: their ends.
pub(crate) fn runs(sizes: &[u64], limit: u64) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut run = 0_u64;
    for (at, size) in sizes.iter().enumerate() {
        run = run.saturating_add(*size);
        if run > limit && at > ends.last().copied().unwrap_or(0) {
            ends.push(at);
            run = *size;
        }
    }
    if ends.last().copied().unwrap_or(0) < sizes.len() {
        ends.push(sizes.len());
    }
    ends
}

/// Why a value or a batch was not made.
pub(crate) fn too_large(what: &str) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::ResourcesExhausted(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn sizes_are_those_of_the_values() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), None, Some("cde")]));
        assert_eq!(rows(texts.as_ref()), [18, 16, 19]);
        assert_eq!(bytes(texts.as_ref()), 53);
        assert_eq!(bytes(texts.slice(2, 1).as_ref()), 19);
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(40); 3]));
        assert_eq!(rows(views.as_ref()), [56, 56, 56]);
        assert_eq!(bytes(views.as_ref()), 168);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!(bytes(numbers.as_ref()), 32);
        let lists = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![Some(3)])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        assert_eq!(rows(lists.as_ref()), [48, 16, 32]);
        assert_eq!(bytes(lists.as_ref()), 96);
        assert_eq!(bytes(lists.slice(1, 2).as_ref()), 48);
    }

    #[test]
    fn runs_hold_what_they_may_and_at_least_a_row() {
        assert_eq!(runs(&[1, 2, 3, 4], 5), [2, 3, 4]);
        assert_eq!(runs(&[9, 9], 5), [1, 2]);
        assert_eq!(runs(&[1, 1], 5), [2]);
        assert!(runs(&[], 5).is_empty());
    }
}
