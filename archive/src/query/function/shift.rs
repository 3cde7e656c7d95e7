//! Shifts of integers that fail where their result does not fit. The engine's own take the count
//! modulo the type's bits, so that `1 << 64` would be 1, and lose what goes beyond the type.

use std::sync::Arc;

use arrow::array::downcast_integer;
use arrow::array::{Array, ArrayRef, Int64Array, PrimitiveArray, cast::AsArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type};
use arrow::error::ArrowError;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Left,
    Right,
}

/// Shifts each integer by its count.
pub(crate) fn shift(way: Way, of: &ArrayRef, by: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let by = cast_with_options(by, &DataType::Int64, &exact)?;
    let by = by.as_primitive::<Int64Type>();
    macro_rules! shifted {
        ($type:ty) => {
            Arc::new(shifted::<$type>(way, of.as_primitive(), by)?)
        };
    }
    Ok(downcast_integer! {
        of.data_type() => (shifted),
        other => return Err(ArrowError::ComputeError(format!("{other} cannot be shifted"))),
    })
}

fn shifted<T: ArrowPrimitiveType>(
    way: Way,
    of: &PrimitiveArray<T>,
    by: &Int64Array,
) -> Result<PrimitiveArray<T>, ArrowError>
where
    T::Native: Into<i128> + TryFrom<i128>,
{
    let bits = i64::try_from(size_of::<T::Native>() * 8).unwrap_or(i64::MAX);
    try_binary(of, by, |value: T::Native, count| {
        // At most 64 bits by at most 63.
        let count = u32::try_from(count).ok().filter(|_| count < bits);
        let count = count.ok_or_else(|| {
            ArrowError::ComputeError(format!("a shift is by 0 to {} bits", bits - 1))
        })?;
        let value: i128 = value.into();
        let value = match way {
            Way::Left => value << count,
            Way::Right => value >> count,
        };
        T::Native::try_from(value).map_err(|_| {
            ArrowError::ArithmeticOverflow(format!("{value} does not fit {}", T::DATA_TYPE))
        })
    })
}
