//! What is sorted stays sorted until it is sent.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

/// Takes the round robin out that the engine puts between the sort of an answer and what it still
/// computes of its rows (a cast of the output is enough), as soon as there are more than a batch:
/// the threads' streams are then gathered as they come, in no order. `require_top_ordering_helper`
/// in `datafusion-physical-optimizer` asks for the order at the sort, not at the top.
#[derive(Debug)]
pub(crate) struct KeepOrder;

impl PhysicalOptimizerRule for KeepOrder {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(in_order(&plan)?.unwrap_or(plan))
    }

    fn name(&self) -> &'static str {
        "keep_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The plan without round robins above its sort; `None` for one that does not lead to a sort.
fn in_order(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if plan.is::<SortExec>() || plan.is::<SortPreservingMergeExec>() {
        return Ok(Some(Arc::clone(plan)));
    }
    let [child] = plan.children()[..] else {
        return Ok(None);
    };
    let Some(child) = in_order(child)? else {
        return Ok(None);
    };
    let scattered = plan
        .downcast_ref::<RepartitionExec>()
        .is_some_and(|r| matches!(r.partitioning(), Partitioning::RoundRobinBatch(_)));
    if scattered {
        return Ok(Some(child));
    }
    replace_children_if_necessary(Arc::clone(plan), vec![child]).map(Some)
}
