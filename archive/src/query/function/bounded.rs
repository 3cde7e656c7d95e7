//! Functions within bounds. The engine computes a function for a whole batch at a time, and neither
//! looks at the clock meanwhile nor at what the result takes. Here a function is computed for so
//! many rows at a time as are soon done, a row that would become too large is refused before it is
//! made, and the query's end is looked for in between.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::exec_err;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::query::bound::{sizes, watch};

/// Bytes of arguments and result that are computed without a look at the clock: some milliseconds.
const RUN: u64 = 4 * 1024 * 1024;
/// Pairs of bytes that are compared without a look at the clock.
const PAIRS: u64 = 16 * 1024 * 1024;
/// Bytes of one value, at most.
pub(crate) const VALUE: u64 = 4 * 1024 * 1024;
/// Bytes of a constant, at most: it stands in every row of a batch.
const CONSTANT: u64 = 256 * 1024;

/// What a function costs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    /// As much as its arguments are large. The result is no larger than they are.
    Linear,
    /// The result can be larger: the most bytes, by the bytes of the arguments.
    Grows(fn(&[u64]) -> u64),
    /// Each byte of the first argument may be compared with each of the second: so many pairs at
    /// most, of one row.
    Pairs(u64),
}

/// A function within its bounds. In all else it is the function.
#[derive(Debug)]
pub(crate) struct Bounded {
    inner: Arc<ScalarUDF>,
    cost: Cost,
}

impl Bounded {
    pub(crate) fn wrap(inner: Arc<ScalarUDF>, cost: Cost) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { inner, cost }))
    }

    /// What a row costs whose arguments have so many bytes.
    fn row(&self, arguments: &[u64]) -> Result<u64> {
        let all = arguments
            .iter()
            .fold(0_u64, |all, one| all.saturating_add(*one));
        match self.cost {
            Cost::Linear => Ok(all),
            Cost::Grows(result) => {
                let result = result(arguments);
                if result > VALUE {
                    return Err(sizes::too_large("a text or list would be too large"));
                }
                Ok(all.saturating_add(result))
            }
            Cost::Pairs(limit) => {
                let text = |at: usize| arguments.get(at).copied().unwrap_or(1);
                let pairs = text(0).saturating_mul(text(1));
                if pairs > limit {
                    let name = self.inner.name();
                    return exec_err!("{name}: the texts are too long to be compared");
                }
                // As if the pairs were bytes.
                Ok(all.max(pairs / (PAIRS / RUN)))
            }
        }
    }

    /// Where the rows are cut.
    fn runs(&self, args: &ScalarFunctionArgs) -> Result<Vec<usize>> {
        let sizes: Vec<Sizes> = args.args.iter().map(Sizes::of).collect();
        let mut arguments = vec![0; sizes.len()];
        let rows = (0..args.number_rows).map(|row| {
            for (argument, sizes) in arguments.iter_mut().zip(&sizes) {
                *argument = sizes.at(row);
            }
            self.row(&arguments)
        });
        Ok(sizes::runs(&rows.collect::<Result<Vec<_>>>()?, RUN))
    }

    fn constant(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sizes: Vec<u64> = args.args.iter().map(|arg| Sizes::of(arg).at(0)).collect();
        self.row(&sizes)?;
        let result = self.inner.invoke_with_args(args)?;
        match &result {
            ColumnarValue::Scalar(value) if sizes::scalar(value) > CONSTANT => {
                Err(sizes::too_large("a constant would be too large"))
            }
            _ => Ok(result),
        }
    }
}

/// Bytes of an argument by row.
enum Sizes {
    Same(u64),
    Each(Vec<u64>),
}

impl Sizes {
    fn of(argument: &ColumnarValue) -> Self {
        match argument {
            ColumnarValue::Array(array) => Self::Each(sizes::rows(array.as_ref())),
            ColumnarValue::Scalar(value) => Self::Same(sizes::scalar(value)),
        }
    }

    fn at(&self, row: usize) -> u64 {
        let size = match self {
            Self::Same(size) => *size,
            Self::Each(sizes) => sizes.get(row).copied().unwrap_or(0),
        };
        size.saturating_sub(sizes::SLOT)
    }
}

fn slice(argument: &ColumnarValue, from: usize, rows: usize) -> ColumnarValue {
    match argument {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(from, rows)),
        same @ ColumnarValue::Scalar(_) => same.clone(),
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        watch::check(&args.config_options)?;
        let constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        if args.args.iter().all(constant) {
            return self.constant(args);
        }
        let ends = self.runs(&args)?;
        if ends.len() < 2 {
            return self.inner.invoke_with_args(args);
        }
        let (mut from, mut bytes) = (0, 0_u64);
        let mut parts = Vec::with_capacity(ends.len());
        for end in ends {
            watch::check(&args.config_options)?;
            let rows = end - from;
            let part = self.inner.invoke_with_args(ScalarFunctionArgs {
                args: args.args.iter().map(|arg| slice(arg, from, rows)).collect(),
                arg_fields: args.arg_fields.clone(),
                number_rows: rows,
                return_field: Arc::clone(&args.return_field),
                config_options: Arc::clone(&args.config_options),
            })?;
            let part = part.into_array(rows)?;
            bytes = bytes.saturating_add(sizes::bytes(part.as_ref()));
            if bytes > watch::batch(&args.config_options) {
                return Err(sizes::too_large("the texts of a batch would be too large"));
            }
            parts.push(part);
            from = end;
        }
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        let cost = self.cost;
        Some(ScalarUDF::new_from_impl(Self { inner, cost }))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn preimage(
        &self,
        args: &[Expr],
        value: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner.preimage(args, value, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
