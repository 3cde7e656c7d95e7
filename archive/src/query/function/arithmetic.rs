//! Arithmetic that fails where its result does not fit. The engine's own goes on with what is left
//! of it: the largest integer and one more is the smallest. So additions, subtractions,
//! multiplications, shifts and signs of integers are functions of ours, and sums are taken of a
//! type that holds all of them, and cast back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Datum, cast::AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, internal_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::interval_arithmetic::{Interval, apply_operator};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, Projection,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, Window,
    WindowFrame, WindowFrameBound, WindowFunctionDefinition, cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::shift::{Way, shift};

/// Digits of the wider decimals.
const WIDE: u8 = 76;
/// Digits of the usual ones.
const USUAL: u8 = 38;
/// Digits that a sum may have more than what is summed up: rows.
const ROWS: u8 = 10;

/// Replaces the engine's arithmetic by one that fails out of range.
#[derive(Debug)]
pub(crate) struct Exact;

impl AnalyzerRule for Exact {
    fn name(&self) -> &'static str {
        "exact_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let exact = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let exact = expr.transform_up(|expr| exact(expr, &schema))?;
                Ok(exact.update_data(|expr| name.restore(expr)))
            })?
            .map_data(|plan| plan.recompute_schema())?
            .transform_data(|plan| sums(plan, &schema))
        });
        exact.map(|exact| exact.data)
    }
}

/// Whether the engine's arithmetic on such values can go beyond what they hold without a word.
fn wraps(op: Operator, left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::Duration(_), _) | (_, DataType::Duration(_)) => {
            matches!(left, DataType::Duration(_) | DataType::Interval(_))
                && matches!(right, DataType::Duration(_) | DataType::Interval(_))
        }
        (DataType::Interval(_), DataType::Interval(_)) => true,
        // Only their last digit can be one too many, and only where the type has all digits there
        // are.
        _ if left.is_decimal() && right.is_decimal() => {
            let types = BinaryTypeCoercer::new(left, &op, right).get_result_type();
            matches!(
                types,
                Ok(DataType::Decimal128(USUAL, _) | DataType::Decimal256(WIDE, _))
            )
        }
        _ => op != Operator::Divide && left.is_integer() && right.is_integer(),
    }
}

/// Rows that a frame reaches to one side, at most. The engine adds them to where a row stands, and
/// may go beyond what it counts with.
const REACH: u64 = 1 << 32;

fn check_reach(frame: &WindowFrame) -> Result<()> {
    use WindowFrameBound::{Following, Preceding};
    for bound in [&frame.start_bound, &frame.end_bound] {
        if let Preceding(ScalarValue::UInt64(Some(rows)))
        | Following(ScalarValue::UInt64(Some(rows))) = bound
            && *rows > REACH
        {
            return plan_err!("a window's frame reaches {REACH} rows at most");
        }
    }
    Ok(())
}

fn exact(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Expr::WindowFunction(window) = &expr {
        check_reach(&window.params.window_frame)?;
    }
    let (op, args) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(
                op,
                Operator::Plus
                    | Operator::Minus
                    | Operator::Multiply
                    | Operator::Divide
                    | Operator::BitwiseShiftLeft
                    | Operator::BitwiseShiftRight
            ) && wraps(op, &left.get_type(schema)?, &right.get_type(schema)?) =>
        {
            (Op::Binary(op), vec![*left, *right])
        }
        Expr::Negative(inner) if !inner.get_type(schema)?.is_floating() => {
            (Op::Negate, vec![*inner])
        }
        other => return Ok(Transformed::no(other)),
    };
    let func = Arc::new(ScalarUDF::new_from_impl(Arithmetic::new(op)));
    let call = ScalarFunction::new_udf(func, args);
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Binary(Operator),
    Negate,
}

/// No query can name it: it is never registered.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    op: Op,
    signature: Signature,
}

impl Arithmetic {
    fn new(op: Op) -> Self {
        let count = match op {
            Op::Binary(_) => 2,
            Op::Negate => 1,
        };
        let signature = Signature::any(count, Volatility::Immutable);
        Self { op, signature }
    }
}

/// Computes with what is constant once, and with what is not for each row.
fn apply(
    left: &ColumnarValue,
    right: &ColumnarValue,
    compute: impl Fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>,
) -> Result<ColumnarValue> {
    use ColumnarValue::{Array, Scalar};
    let array = match (left, right) {
        (Array(left), Array(right)) => compute(left, right)?,
        (Array(left), Scalar(right)) => compute(left, &right.to_scalar()?)?,
        (Scalar(left), Array(right)) => compute(&left.to_scalar()?, right)?,
        (Scalar(left), Scalar(right)) => {
            let one = compute(&left.to_scalar()?, &right.to_scalar()?)?;
            return Ok(Scalar(ScalarValue::try_from_array(&within(one)?, 0)?));
        }
    };
    Ok(Array(within(array)?))
}

fn shifted(way: Way, both: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(both)?;
    let [of, by] = arrays.as_slice() else {
        return internal_err!("a shift takes two arguments");
    };
    let result = shift(way, of, by)?;
    let constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
    if both.iter().all(constant) {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &result, 0,
        )?));
    }
    Ok(ColumnarValue::Array(result))
}

/// Decimals that have no more digits than their type.
fn within(array: ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Decimal128(digits @ USUAL, _) => {
            let decimals = array.as_primitive::<Decimal128Type>();
            decimals.validate_decimal_precision(*digits)?;
        }
        DataType::Decimal256(digits @ WIDE, _) => {
            let decimals = array.as_primitive::<Decimal256Type>();
            decimals.validate_decimal_precision(*digits)?;
        }
        _ => {}
    }
    Ok(array)
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &'static str {
        match self.op {
            Op::Binary(Operator::Plus) => "add",
            Op::Binary(Operator::Minus) => "subtract",
            Op::Binary(Operator::Multiply) => "multiply",
            Op::Binary(Operator::BitwiseShiftLeft) => "shift_left",
            Op::Binary(Operator::BitwiseShiftRight) => "shift_right",
            Op::Binary(_) => "divide",
            Op::Negate => "negate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        // As the engine names what this stands for.
        Ok(match (self.op, args) {
            (Op::Binary(op), [left, right]) => {
                format!("{} {op} {}", left.schema_name(), right.schema_name())
            }
            (_, args) => {
                let names: Vec<_> = args
                    .iter()
                    .map(|arg| arg.schema_name().to_string())
                    .collect();
                format!("(- {})", names.join(","))
            }
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.op, types) {
            (Op::Binary(op), [left, right]) => {
                BinaryTypeCoercer::new(left, &op, right).get_result_type()
            }
            (Op::Negate, [of]) => Ok(of.clone()),
            _ => internal_err!("{} takes other arguments", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone());
        let of = self.return_type(&types.collect::<Vec<_>>())?;
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), of, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.op, args.args.as_slice()) {
            (Op::Binary(Operator::BitwiseShiftLeft), both) => shifted(Way::Left, both),
            (Op::Binary(Operator::BitwiseShiftRight), both) => shifted(Way::Right, both),
            (Op::Binary(op), [left, right]) => apply(left, right, |left, right| match op {
                Operator::Plus => numeric::add(left, right),
                Operator::Minus => numeric::sub(left, right),
                Operator::Multiply => numeric::mul(left, right),
                _ => numeric::div(left, right),
            }),
            (Op::Negate, [ColumnarValue::Array(array)]) => {
                Ok(ColumnarValue::Array(numeric::neg(array.as_ref())?))
            }
            (Op::Negate, [ColumnarValue::Scalar(value)]) => {
                let negated = numeric::neg(value.to_array()?.as_ref())?;
                let negated = ScalarValue::try_from_array(&negated, 0)?;
                Ok(ColumnarValue::Scalar(negated))
            }
            _ => internal_err!("{} takes other arguments", self.name()),
        }
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        match (self.op, inputs) {
            (Op::Binary(op), [left, right]) => apply_operator(&op, left, right),
            (_, [inner]) => inner.arithmetic_negate(),
            _ => Interval::make_unbounded(&DataType::Null),
        }
    }
}

/// A sum of another type, and back.
struct Summed {
    expr: Expr,
    back: Vec<DataType>,
}

/// The types that a value goes through to be summed up, and back; none where its sum fits.
fn detour(name: &str, of: &DataType) -> Result<Option<(Vec<DataType>, Vec<DataType>)>> {
    let integer = DataType::Decimal128(20, 0);
    Ok(match of {
        DataType::Int64 | DataType::UInt64 if name == "sum" => {
            Some((vec![integer], vec![of.clone()]))
        }
        DataType::Duration(_) => Some((
            vec![DataType::Int64, integer],
            vec![DataType::Int64, of.clone()],
        )),
        DataType::Decimal128(digits, scale) if name == "sum" && digits + ROWS > USUAL => {
            let wide = DataType::Decimal256(digits + ROWS, *scale);
            Some((vec![wide], vec![DataType::Decimal128(USUAL, *scale)]))
        }
        DataType::Decimal256(digits, _) if digits + ROWS > WIDE => {
            return plan_err!("{name} of numbers of {digits} digits does not fit any type");
        }
        _ => None,
    })
}

fn through(expr: Expr, types: Vec<DataType>) -> Expr {
    types.into_iter().fold(expr, cast)
}

/// The aggregate or window function with what it is cast back to, if it is a sum that might not
/// fit.
fn summed(expr: &Expr, schema: &DFSchema) -> Result<Option<Summed>> {
    match expr {
        Expr::Alias(alias) => {
            let Some(summed) = summed(&alias.expr, schema)? else {
                return Ok(None);
            };
            let expr = summed
                .expr
                .alias_qualified(alias.relation.clone(), &alias.name);
            Ok(Some(Summed { expr, ..summed }))
        }
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let ("sum" | "avg", [of]) = (func.name(), params.args.as_slice()) else {
                return Ok(None);
            };
            let Some((there, back)) = detour(func.name(), &of.get_type(schema)?)? else {
                return Ok(None);
            };
            let mut function = AggregateFunction {
                func: Arc::clone(func),
                params: params.clone(),
            };
            function.params.args = vec![through(of.clone(), there)];
            let expr = Expr::AggregateFunction(function);
            Ok(Some(Summed { expr, back }))
        }
        Expr::WindowFunction(window) => {
            let WindowFunctionDefinition::AggregateUDF(func) = &window.fun else {
                return Ok(None);
            };
            let ("sum" | "avg", [of]) = (func.name(), window.params.args.as_slice()) else {
                return Ok(None);
            };
            let Some((there, back)) = detour(func.name(), &of.get_type(schema)?)? else {
                return Ok(None);
            };
            let mut window = window.clone();
            window.params.args = vec![through(of.clone(), there)];
            let expr = Expr::WindowFunction(window);
            Ok(Some(Summed { expr, back }))
        }
        _ => Ok(None),
    }
}

/// The plan with sums that fit, and a projection that casts them back.
fn sums(plan: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let exprs = match &plan {
        LogicalPlan::Aggregate(aggregate) => &aggregate.aggr_expr,
        LogicalPlan::Window(window) => &window.window_expr,
        _ => return Ok(Transformed::no(plan)),
    };
    let found = exprs.iter().map(|expr| summed(expr, schema));
    let found = found.collect::<Result<Vec<_>>>()?;
    if found.iter().all(Option::is_none) {
        return Ok(Transformed::no(plan));
    }
    let (mut changed, mut back) = (Vec::new(), Vec::new());
    for (expr, found) in exprs.iter().zip(found) {
        match found {
            Some(summed) => {
                changed.push(summed.expr);
                back.push(Some(summed.back));
            }
            None => {
                changed.push(expr.clone());
                back.push(None);
            }
        }
    }
    let old = Arc::clone(plan.schema());
    let node = match plan {
        LogicalPlan::Aggregate(aggregate) => LogicalPlan::Aggregate(Aggregate::try_new(
            aggregate.input,
            aggregate.group_expr,
            changed,
        )?),
        LogicalPlan::Window(window) => LogicalPlan::Window(Window::try_new(changed, window.input)?),
        other => return Ok(Transformed::no(other)),
    };
    let first = old.fields().len().saturating_sub(back.len());
    let columns = (0..old.fields().len()).map(|at| {
        let column = Expr::Column(Column::from(node.schema().qualified_field(at)));
        let types = at
            .checked_sub(first)
            .and_then(|at| back.get_mut(at)?.take());
        match types {
            Some(types) => {
                let (relation, field) = old.qualified_field(at);
                through(column, types).alias_qualified(relation.cloned(), field.name())
            }
            None => column,
        }
    });
    let columns = columns.collect();
    let projection = Projection::try_new(columns, Arc::new(node))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}
