//! How large a plan is, and can become. The planner puts the expression of a column in its place
//! wherever it moves a condition below it, and writes some expressions out twice: `x between 1 and
//! 2` becomes two comparisons of `x`. What that could make of a plan is computed before; what it
//! has made of it, after each step.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, InList, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    Distinct, Expr, JoinType, LogicalPlan, Operator, WindowFunctionDefinition,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::query::bound::watch;
use crate::query::bound::watch::Stop;
use crate::query::function::registry;

/// Parts of one expression with all that its columns stand for, at most.
const MAX_EXPANDED: u64 = 20_000;
/// Parts of all conditions of a plan, likewise.
const MAX_EXPANDED_TOTAL: u64 = 100_000;
/// Nodes of a plan while it is made, at most.
const MAX_NODES: usize = 2_000;
/// Parts of its expressions, at most.
const MAX_PARTS: usize = 200_000;
/// Bytes of a pattern of LIKE, at most.
const MAX_PATTERN: usize = 1_000;
/// Wildcards of a pattern of LIKE, at most.
const MAX_WILDCARDS: usize = 32;

/// Window functions of a plan, at most: each order of theirs is a sort.
const MAX_WINDOWS: usize = 64;
/// Expressions by which one of them may divide and sort its rows.
const MAX_WINDOW_KEYS: usize = 32;
/// Expressions that rows may be sorted by, at once.
const MAX_SORT_KEYS: usize = 128;
/// Expressions that rows may be grouped by, at once.
const MAX_GROUP_KEYS: usize = 256;

/// Refuses a plan of which the planner could make one that is too large.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    columns(plan, &mut Tally::default())?;
    // Simple ones would become patterns.
    walk(plan, &no_regular_expression)
}

/// Looks at all expressions of a plan.
fn walk(plan: &LogicalPlan, look: &dyn Fn(&Expr) -> Result<()>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|root| {
            root.apply(|expr| {
                look(expr)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// What is counted over a whole plan.
#[derive(Default)]
struct Tally {
    parts: u64,
    windows: usize,
}

impl Tally {
    /// Refuses a node by which rows would be sorted or grouped in too many ways: the planner
    /// compares each with each.
    fn keys(&mut self, plan: &LogicalPlan) -> Result<()> {
        let fits = match plan {
            LogicalPlan::Sort(sort) => sort.expr.len() <= MAX_SORT_KEYS,
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.group_expr.len() <= MAX_GROUP_KEYS
                    && aggregate
                        .aggr_expr
                        .iter()
                        .all(|expr| match expr.clone().unalias() {
                            Expr::AggregateFunction(function) => {
                                function.params.order_by.len() <= MAX_SORT_KEYS
                            }
                            _ => true,
                        })
            }
            LogicalPlan::Window(window) => {
                self.windows += window.window_expr.len();
                self.windows <= MAX_WINDOWS
                    && window
                        .window_expr
                        .iter()
                        .all(|expr| match expr.clone().unalias() {
                            Expr::WindowFunction(window) => {
                                let params = &window.params;
                                params.partition_by.len() + params.order_by.len() <= MAX_WINDOW_KEYS
                            }
                            _ => true,
                        })
            }
            _ => true,
        };
        match fits {
            true => Ok(()),
            false => Err(Stop::Complex("it sorts or groups in too many ways").into()),
        }
    }
}

/// Parts of an expression, where each column stands for so many as `of` says.
type Of<'a> = &'a dyn Fn(&Column) -> u64;

/// Parts that the columns of a plan stand for.
fn columns(plan: &LogicalPlan, tally: &mut Tally) -> Result<Vec<u64>> {
    tally.keys(plan)?;
    let inputs = plan.inputs();
    let mut below = Vec::with_capacity(inputs.len());
    for input in &inputs {
        below.push(columns(input, tally)?);
    }
    let of = |column: &Column| {
        let found = inputs.iter().zip(&below).find_map(|(input, sizes)| {
            let at = input.schema().maybe_index_of_column(column)?;
            sizes.get(at).copied()
        });
        found.unwrap_or(1)
    };
    let mut sizes = Vec::new();
    for expr in plan.expressions() {
        let size = parts(&expr, &of, tally)?;
        if size > MAX_EXPANDED {
            return Err(Stop::Complex("an expression stands for too much").into());
        }
        sizes.push(size);
    }
    if !matches!(plan, LogicalPlan::Projection(_)) {
        let all = sizes
            .iter()
            .fold(0_u64, |all, one| all.saturating_add(*one));
        tally.parts = tally.parts.saturating_add(all);
        if tally.parts > MAX_EXPANDED_TOTAL {
            return Err(Stop::Complex("its expressions stand for too much").into());
        }
    }
    let width = plan.schema().fields().len();
    Ok(match plan {
        LogicalPlan::Projection(_) => sizes,
        // Conditions on groups move below; those on aggregates do not.
        LogicalPlan::Aggregate(aggregate) => {
            sizes.resize(aggregate.group_expr.len().min(width), 1);
            sizes.resize(width, 1);
            sizes
        }
        LogicalPlan::Join(join) => match (below.as_mut_slice(), join.join_type) {
            (
                [left, right],
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full,
            ) => {
                left.append(right);
                std::mem::take(left)
            }
            ([left, _], JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark) => {
                left.resize(width, 1);
                std::mem::take(left)
            }
            ([_, right], _) => {
                right.resize(width, 1);
                std::mem::take(right)
            }
            _ => widest(&below, width),
        },
        LogicalPlan::Window(_) => match below.as_mut_slice() {
            [input] => {
                input.resize(width, 1);
                std::mem::take(input)
            }
            _ => widest(&below, width),
        },
        LogicalPlan::Distinct(Distinct::On(_)) => widest(&[sizes], width),
        _ => match below.as_mut_slice() {
            [input] if input.len() == width => std::mem::take(input),
            _ => widest(&below, width),
        },
    })
}

/// Each column may stand for as much as any below.
fn widest(below: &[Vec<u64>], width: usize) -> Vec<u64> {
    let most = below.iter().flatten().copied().max().unwrap_or(1);
    vec![most; width]
}

/// Parts of an expression once the planner has written it out.
fn parts(expr: &Expr, of: Of<'_>, tally: &mut Tally) -> Result<u64> {
    let mut all = |exprs: &mut dyn Iterator<Item = &Expr>| -> Result<u64> {
        let mut sum = 0_u64;
        for expr in exprs {
            sum = sum.saturating_add(parts(expr, of, tally)?);
        }
        Ok(sum)
    };
    let size = match expr {
        Expr::Column(column) => return Ok(of(column)),
        Expr::Between(between) => {
            let twice = all(&mut std::iter::once(between.expr.as_ref()))?.saturating_mul(2);
            let ends = [between.low.as_ref(), between.high.as_ref()];
            twice.saturating_add(all(&mut ends.into_iter())?)
        }
        Expr::Case(case) => return written_out(case, &mut all),
        Expr::InList(InList { expr, list, .. }) => {
            // Each value of a short list, or of any list where the expression is a function of a
            // moment, is a comparison.
            let once = all(&mut std::iter::once(expr.as_ref()))?;
            let times = match (expr.as_ref(), list.len()) {
                (_, 0..4) | (Expr::ScalarFunction(_), _) => 2 * list.len() as u64,
                _ => 1,
            };
            once.saturating_mul(times.max(1))
                .saturating_add(all(&mut list.iter())?)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let twice = matches!(
                func.name(),
                "coalesce" | "nvl" | "nvl2" | "nullif" | "date_part" | "date_trunc" | "floor"
            );
            let once = all(&mut args.iter())?;
            once.saturating_mul(1 + u64::from(twice))
        }
        Expr::ScalarSubquery(subquery) => {
            let inner = columns(&subquery.subquery, tally)?;
            inner.first().copied().unwrap_or(1)
        }
        Expr::InSubquery(within) => {
            columns(&within.subquery.subquery, tally)?;
            parts(&within.expr, of, tally)?
        }
        Expr::Exists(exists) => {
            columns(&exists.subquery.subquery, tally)?;
            1
        }
        Expr::SetComparison(comparison) => {
            columns(&comparison.subquery.subquery, tally)?;
            parts(&comparison.expr, of, tally)?
        }
        other => {
            let mut sum = 0_u64;
            other.apply_children(|child| {
                sum = sum.saturating_add(parts(child, of, tally)?);
                Ok(TreeNodeRecursion::Continue)
            })?;
            sum
        }
    };
    Ok(size.saturating_add(1))
}

/// A choice between conditions can become a disjunction in which each of them stands again for all
/// that come after it.
fn written_out(
    case: &Case,
    all: &mut dyn FnMut(&mut dyn Iterator<Item = &Expr>) -> Result<u64>,
) -> Result<u64> {
    let whens = case.when_then_expr.len();
    let constant = |then: &Expr| matches!(then, Expr::Literal(ScalarValue::Boolean(_), _));
    let times = match case.when_then_expr.iter().all(|(_, then)| constant(then)) {
        true => whens as u64 + 1,
        false if whens < 3 => 3,
        false => 1,
    };
    let conditions = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
    let conditions = all(&mut conditions.chain(case.expr.as_deref()))?;
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    let results = all(&mut results.chain(case.else_expr.as_deref()))?;
    Ok(conditions
        .saturating_mul(times)
        .saturating_add(results)
        .saturating_add(1))
}

/// A step between those of the planner: it ends where the query has to, and refuses a plan that has
/// grown too large, and what there is no bound for.
#[derive(Debug)]
struct Bound;

impl OptimizerRule for Bound {
    fn name(&self) -> &'static str {
        "bound"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        watch::check(&config.options())?;
        let (mut nodes, mut count) = (0, 0);
        plan.apply_with_subqueries(|node| {
            nodes += 1;
            node.apply_expressions(|root| {
                root.apply(|_| {
                    count += 1;
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            if nodes > MAX_NODES || count > MAX_PARTS {
                return Err(Stop::Complex("its plan is too large").into());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Transformed::no(plan))
    }
}

/// What is left of a plan when it has been made: no pattern that is not known, no function that has
/// no bound.
#[derive(Debug)]
struct Allowed;

impl OptimizerRule for Allowed {
    fn name(&self) -> &'static str {
        "allowed"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        walk(&plan, &allowed)?;
        Ok(Transformed::no(plan))
    }
}

fn no_regular_expression(expr: &Expr) -> Result<()> {
    match expr {
        Expr::SimilarTo(_) => plan_err!("there are no regular expressions"),
        Expr::BinaryExpr(binary)
            if matches!(
                binary.op,
                Operator::RegexMatch
                    | Operator::RegexIMatch
                    | Operator::RegexNotMatch
                    | Operator::RegexNotIMatch
            ) =>
        {
            plan_err!("there are no regular expressions")
        }
        _ => Ok(()),
    }
}

fn allowed(expr: &Expr) -> Result<()> {
    match expr {
        Expr::Like(like) => pattern(&like.pattern),
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::LikeMatch
            | Operator::ILikeMatch
            | Operator::NotLikeMatch
            | Operator::NotILikeMatch => pattern(&binary.right),
            _ => no_regular_expression(expr),
        },
        Expr::SimilarTo(_) => no_regular_expression(expr),
        Expr::AggregateFunction(function) => centroids(function.func.name(), &function.params.args),
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, params } = window.as_ref();
            match fun {
                WindowFunctionDefinition::AggregateUDF(function)
                    if params.distinct || !registry::may_be_window(function.name()) =>
                {
                    plan_err!("{} cannot be used with OVER", function.name())
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The most that the engine is to keep of an approximation, which it makes room for at once: by its
/// own default it is 100.
const MAX_CENTROIDS: u64 = 10_000;

/// Refuses an approximation that is asked to be finer than that.
fn centroids(name: &str, args: &[Expr]) -> Result<()> {
    if !name.starts_with("approx_percentile_cont") {
        return Ok(());
    }
    for arg in args.iter().skip(2) {
        let few = match arg {
            Expr::Literal(value, _) => match value.cast_to(&DataType::UInt64) {
                Ok(ScalarValue::UInt64(Some(count))) => count <= MAX_CENTROIDS,
                _ => false,
            },
            // A weight, of which there is one for each row.
            Expr::Column(_) => true,
            _ => false,
        };
        if !few {
            return plan_err!("{name} takes {MAX_CENTROIDS} centroids at most");
        }
    }
    Ok(())
}

/// A pattern is compiled for each batch, and one that is not constant for each row.
fn pattern(pattern: &Expr) -> Result<()> {
    let text = match pattern {
        Expr::Literal(value, _) => value.try_as_str().flatten().unwrap_or_default(),
        _ => return plan_err!("the pattern of LIKE must be a constant"),
    };
    let wildcards = text
        .bytes()
        .filter(|byte| matches!(byte, b'%' | b'_'))
        .count();
    if text.len() > MAX_PATTERN || wildcards > MAX_WILDCARDS {
        return plan_err!(
            "a pattern of LIKE may have {MAX_PATTERN} bytes and {MAX_WILDCARDS} wildcards"
        );
    }
    Ok(())
}

/// The planner's steps, with a bound after each.
pub(crate) fn bounded(
    rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let bound: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(Bound);
    let mut all = vec![Arc::clone(&bound)];
    for rule in rules {
        all.extend([rule, Arc::clone(&bound)]);
    }
    all.push(Arc::new(Allowed));
    all
}
