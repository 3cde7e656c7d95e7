//! Where a plan gets its meters, and how much they let through. What the engine's operators hold is
//! counted by its memory pool; what an expression makes of a batch is not. So a batch is cut before
//! an expression that makes texts or lists of it, into pieces as small as there are such
//! expressions, and as there are constants that are written out for each row.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{CaseExpr, Column, Literal};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::held::{Held, Side};
use super::meter::{Meter, Room};
use super::sizes;
use super::watch::{Stop, Watch};

/// Bytes that the expressions of one node may make of a batch, about.
const MADE: u64 = 32 * 1024 * 1024;
/// Bytes of a batch where nothing is made of it.
const PASSED: u64 = 8 * 1024 * 1024;
/// Bytes of a batch of the answer.
const ANSWERED: u64 = 1024 * 1024;
/// Rows of a batch that nothing cuts.
const ROWS: usize = 8192;
/// Bytes of constants that are written out for each row where no meter is: in scans and in the
/// conditions of joins.
const CONSTANTS: u64 = 16 * 1024;
/// Nodes of a plan, at most.
const NODES: usize = 4_000;

/// Puts meters into a plan.
pub(crate) fn metered(
    plan: Arc<dyn ExecutionPlan>,
    watch: &Arc<Watch>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (mut nodes, mut made) = (0_usize, 0_u64);
    let plan = plan.transform_up(|node| {
        nodes += 1;
        if nodes > NODES {
            return Err(Stop::Complex("its plan is too large").into());
        }
        let texts = Texts::of(node.as_ref())?;
        made = made.saturating_add(texts.made);
        let node = inputs(node, &texts, watch)?;
        let node = outputs(node, &texts, watch)?;
        Ok(Transformed::yes(node))
    })?;
    watch.share(made);
    let answered = Room {
        bytes: ANSWERED,
        rows: ROWS,
    };
    Ok(Arc::new(Meter::over(plan.data, answered, watch)))
}

const PLAIN: Room = Room {
    bytes: PASSED,
    rows: ROWS,
};

/// Cuts what a node reads, if it makes something of it.
fn inputs(
    node: Arc<dyn ExecutionPlan>,
    texts: &Texts,
    watch: &Arc<Watch>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let window = windows(node.as_ref());
    let [child] = node.children()[..] else {
        return Ok(node);
    };
    let mut meter = match texts.room() {
        Some(room) => Meter::over(Arc::clone(child), room, watch),
        None if window.is_some() => Meter::over(Arc::clone(child), PLAIN, watch),
        None => return Ok(node),
    };
    let Some(held) = window else {
        return replace_children_if_necessary(node, vec![Arc::new(meter)]);
    };
    meter = meter.holding(Arc::clone(&held), Side::In);
    let node = replace_children_if_necessary(node, vec![Arc::new(meter)])?;
    Ok(Arc::new(
        Meter::over(node, PLAIN, watch).holding(held, Side::Out),
    ))
}

fn windows(node: &dyn ExecutionPlan) -> Option<Arc<Held>> {
    if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        return Some(Held::of(window.window_expr()));
    }
    let window = node.downcast_ref::<BoundedWindowAggExec>()?;
    Some(Held::of(window.window_expr()))
}

/// Cuts what a node answers, if it can be more than it has read: the engine itself yields at its
/// leaves only, which a large join has read long before it ends.
fn outputs(
    node: Arc<dyn ExecutionPlan>,
    texts: &Texts,
    watch: &Arc<Watch>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let unmetered =
        node.children().is_empty() || node.is::<HashJoinExec>() || node.is::<NestedLoopJoinExec>();
    if unmetered && texts.constants > CONSTANTS {
        return Err(Stop::Complex("its constants are too large").into());
    }
    if node.children().len() != 1 || node.is::<UnnestExec>() {
        return Ok(Arc::new(Meter::over(node, PLAIN, watch)));
    }
    Ok(node)
}

/// What the expressions of a node make.
#[derive(Clone, Copy, Debug, Default)]
struct Texts {
    /// Texts and lists, for each row.
    made: u64,
    /// Bytes of constants that are written out for each row.
    constants: u64,
    expressions: u64,
}

impl Texts {
    fn of(node: &dyn ExecutionPlan) -> Result<Self> {
        let mut texts = Self::default();
        let input = node.children().first().map(|child| child.schema());
        let schema = input.unwrap_or_else(|| node.schema());
        node.apply_expressions(&mut |root| {
            if let Some(literal) = root.downcast_ref::<Literal>() {
                texts.constant(literal);
            }
            root.apply(|expr| {
                texts.add(expr, &schema);
                Ok(TreeNodeRecursion::Continue)
            })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(texts)
    }

    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>, schema: &arrow::datatypes::Schema) {
        self.expressions += 1;
        if expr.is::<Column>() || expr.is::<Literal>() {
            return;
        }
        // A type that is not known is that of a condition over both sides of a join.
        let fixed = expr
            .data_type(schema)
            .is_ok_and(|of| of.is_primitive() || of == DataType::Boolean);
        if !fixed {
            self.made += 1;
        }
        let Some(case) = expr.downcast_ref::<CaseExpr>() else {
            return;
        };
        let branches = case.when_then_expr().iter().map(|(_, then)| then);
        for branch in branches.chain(case.else_expr()) {
            if let Some(literal) = branch.downcast_ref::<Literal>() {
                self.constant(literal);
            }
        }
    }

    fn constant(&mut self, literal: &Literal) {
        self.constants = self
            .constants
            .saturating_add(sizes::scalar(literal.value()));
    }

    /// The room of the batches that the node reads; none where nothing has to be cut for it.
    fn room(&self) -> Option<Room> {
        if self.made == 0 && self.constants <= CONSTANTS && self.expressions < 256 {
            return None;
        }
        let row = self
            .constants
            .saturating_add(self.expressions.saturating_mul(sizes::SLOT));
        let rows = usize::try_from(MADE / row.max(1)).unwrap_or(ROWS);
        Some(Room {
            bytes: (MADE / self.made.saturating_add(1)).min(PASSED),
            rows: rows.clamp(1, ROWS),
        })
    }
}
