//! Every function with every kind of argument, at its extremes: none panics, and none takes long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

use super::registry::FUNCTIONS;

/// Values of one kind.
fn kinds() -> Vec<ArrayRef> {
    let texts = |texts: &[&str]| {
        let all = texts.iter().map(|text| ScalarValue::from(*text));
        ScalarValue::iter_to_array(all.chain([ScalarValue::Utf8(None)])).unwrap()
    };
    let integers = [i64::MIN, -1, 0, 1, 3, 64, i64::MAX];
    let integers = || {
        integers
            .iter()
            .map(|n| ScalarValue::from(*n))
            .chain([ScalarValue::Int64(None)])
    };
    let integers = ScalarValue::iter_to_array(integers()).unwrap();
    let floats = [f64::MIN, -0.0, 0.5, f64::MAX, f64::NAN, f64::INFINITY];
    let floats = floats.iter().map(|n| ScalarValue::from(*n));
    let digits = 10_i128.pow(38) - 1;
    let decimals = [-digits, -1, 0, 25_000, digits];
    let decimals = decimals
        .iter()
        .map(|n| ScalarValue::Decimal128(Some(*n), 38, 4));
    let words = texts(&[
        "",
        "a",
        "year",
        "month",
        "week",
        "1 day",
        "%Y",
        "ß\u{130}\u{10ffff}",
        "2024-02-30",
        "-1",
        "99999999999999999999",
        "2024-01-01T00:00:00Z",
        "\u{0}",
        "Asia/Tokyo",
    ]);
    let interval = |months, days, nanos| {
        let value = arrow::datatypes::IntervalMonthDayNanoType::make_value(months, days, nanos);
        ScalarValue::IntervalMonthDayNano(Some(value))
    };
    let intervals = [
        interval(0, 0, 0),
        interval(1, 0, 0),
        interval(0, 0, 1),
        interval(0, 0, -1),
        interval(i32::MAX, i32::MAX, i64::MAX),
        interval(i32::MIN, i32::MIN, i64::MIN),
    ];
    let list = |of: &[Option<i64>]| {
        let of: Vec<_> = of.iter().map(|n| ScalarValue::Int64(*n)).collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&of, &DataType::Int64))
    };
    let lists = [
        list(&[]),
        list(&[Some(1), None, Some(i64::MAX)]),
        list(&[Some(i64::MIN)]),
    ];
    let moment = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
    vec![
        Arc::clone(&integers),
        ScalarValue::iter_to_array(floats).unwrap(),
        ScalarValue::iter_to_array(decimals).unwrap(),
        words,
        ScalarValue::iter_to_array(intervals).unwrap(),
        ScalarValue::iter_to_array(lists).unwrap(),
        cast(
            &cast(&integers, &DataType::Int32).unwrap(),
            &DataType::Date32,
        )
        .unwrap(),
        Arc::new(arrow::array::Date32Array::from(vec![i32::MIN, 0, i32::MAX])),
        cast(&integers, &moment(TimeUnit::Microsecond, Some("UTC"))).unwrap(),
        cast(&integers, &moment(TimeUnit::Nanosecond, None)).unwrap(),
        cast(&integers, &moment(TimeUnit::Second, None)).unwrap(),
        cast(&integers, &DataType::Duration(TimeUnit::Nanosecond)).unwrap(),
        cast(&integers, &DataType::Boolean).unwrap(),
        cast(&cast(&integers, &DataType::Int32).unwrap(), &DataType::Int8).unwrap(),
        arrow::array::new_null_array(&DataType::Null, 1),
        arrow::array::new_null_array(&DataType::Interval(IntervalUnit::MonthDayNano), 1),
    ]
}

/// Calls `function` with all of the arguments together; none where it does not take such arguments.
fn call(
    function: &Arc<ScalarUDF>,
    arguments: &[ArrayRef],
    constant: bool,
) -> Option<Result<(), String>> {
    let fields: Vec<FieldRef> = arguments
        .iter()
        .map(|array| Arc::new(Field::new("a", array.data_type().clone(), true)) as FieldRef)
        .collect();
    let fields = fields_with_udf(&fields, function.as_ref()).ok()?;
    let mut values = Vec::new();
    for (array, field) in arguments.iter().zip(&fields) {
        let array = cast(array, field.data_type()).ok()?;
        values.push(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0).ok()?),
            false => ColumnarValue::Array(array),
        });
    }
    let scalars: Vec<Option<&ScalarValue>> = values
        .iter()
        .map(|value| match value {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(_) => None,
        })
        .collect();
    let return_field = function.return_field_from_args(ReturnFieldArgs {
        arg_fields: &fields,
        scalar_arguments: &scalars,
    });
    let return_field = return_field.ok()?;
    let args = ScalarFunctionArgs {
        number_rows: arguments.first().map_or(1, |array| array.len()),
        args: values,
        arg_fields: fields,
        return_field,
        config_options: Arc::new(ConfigOptions::default()),
    };
    let told = catch_unwind(AssertUnwindSafe(|| function.invoke_with_args(args)));
    Some(match told {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(format!("PANIC {}", text.unwrap_or_default()))
        }
    })
}

/// All rows of the one beside all rows of the other ones.
fn product(arrays: &[ArrayRef]) -> Vec<ArrayRef> {
    let rows: usize = arrays.iter().map(|array| array.len()).product();
    let mut stride = rows;
    let mut out = Vec::new();
    for array in arrays {
        stride /= array.len().max(1);
        let at = (0..rows).map(|row| u32::try_from(row / stride.max(1) % array.len()).unwrap());
        out.push(take(array, &UInt32Array::from_iter_values(at), None).unwrap());
    }
    out
}

#[test]
fn no_function_panics_or_takes_long_whatever_it_is_given() {
    std::panic::set_hook(Box::new(|_| {}));
    let kinds = kinds();
    let mut bad = Vec::new();
    let mut calls = 0;
    for function in &FUNCTIONS.scalar {
        let mut sets: Vec<Vec<ArrayRef>> = vec![vec![]];
        for arity in 0..=3 {
            if arity > 0 {
                // The kinds that a third argument can have: numbers, texts and lists.
                let few = [0, 3, 5].map(|at| Arc::clone(&kinds[at]));
                let kinds = if arity < 3 { kinds.as_slice() } else { &few };
                sets = sets
                    .iter()
                    .flat_map(|set| {
                        kinds
                            .iter()
                            .map(|kind| [set.as_slice(), &[Arc::clone(kind)]].concat())
                    })
                    .collect();
            }
            for set in &sets {
                let began = Instant::now();
                let all = product(set);
                let told = call(function, &all, false);
                let Some(told) = told else { continue };
                calls += 1;
                let took = began.elapsed();
                let of: Vec<_> = set
                    .iter()
                    .map(|array| array.data_type().to_string())
                    .collect();
                if took > Duration::from_secs(3) {
                    bad.push(format!(
                        "{}({}) took {took:?}",
                        function.name(),
                        of.join(", ")
                    ));
                }
                // Row by row only where all of them together fail: each can fail on its own.
                if told.is_ok() && set.len() > 1 {
                    continue;
                }
                // Of three, some: the steps have no factor in common with the numbers of values.
                let step = if set.len() > 2 { 37 } else { 1 };
                for row in (0..all.first().map_or(0, |array| array.len())).step_by(step) {
                    let one: Vec<_> = all.iter().map(|array| array.slice(row, 1)).collect();
                    for constant in [false, true] {
                        if let Some(Err(text)) = call(function, &one, constant)
                            && text.starts_with("PANIC")
                            // What the client is told as a number out of range.
                            && !text.contains(" with overflow")
                        {
                            let values: Vec<_> = one
                                .iter()
                                .map(|array| {
                                    ScalarValue::try_from_array(array, 0).unwrap().to_string()
                                })
                                .collect();
                            bad.push(format!(
                                "{}({}) [{}]: {text}",
                                function.name(),
                                of.join(", "),
                                values.join(", ")
                            ));
                        }
                    }
                }
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(calls > 1_000, "{calls}");
    bad.sort();
    bad.dedup();
    assert!(
        bad.is_empty(),
        "{} of {calls}:\n{}",
        bad.len(),
        bad.join("\n")
    );
}
