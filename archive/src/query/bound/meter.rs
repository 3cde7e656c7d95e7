//! A node of a plan through which batches pass: it looks for the query's end, yields to the
//! runtime, cuts what is too large for the node above, and refuses a row that is too large for
//! anything.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
};
use futures_util::{Stream, StreamExt};

use super::held::{Held, Side};
use super::sizes;
use super::watch::Watch;

/// Bytes of a row, at most.
const ROW: u64 = 16 * 1024 * 1024;

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) rows: usize,
}

/// The node.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    input: Arc<dyn ExecutionPlan>,
    room: Room,
    watch: Arc<Watch>,
    held: Option<(Arc<Held>, Side)>,
    properties: Arc<PlanProperties>,
}

impl Meter {
    pub(crate) fn over(input: Arc<dyn ExecutionPlan>, room: Room, watch: &Arc<Watch>) -> Self {
        let properties = PlanProperties::clone(input.properties());
        let properties = properties.with_scheduling_type(SchedulingType::Cooperative);
        Self {
            input,
            room,
            watch: Arc::clone(watch),
            held: None,
            properties: Arc::new(properties),
        }
    }

    /// Counts what a window holds between this node and its other side.
    pub(crate) fn holding(mut self, held: Arc<Held>, side: Side) -> Self {
        self.held = Some((held, side));
        self
    }
}

impl DisplayAs for Meter {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl ExecutionPlan for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => {
                let meter = Self::over(input, self.room, &self.watch);
                let held = self.held.clone();
                Ok(Arc::new(Self { held, ..meter }))
            }
            _ => internal_err!("a meter has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        // Before the input, which may begin to fill it.
        if let Some((held, Side::In)) = &self.held {
            held.begin(partition, &context);
        }
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Metered {
            schema: self.schema(),
            input: make_cooperative(input),
            room: self.room,
            watch: Arc::clone(&self.watch),
            held: self.held.clone(),
            partition,
            ready: VecDeque::new(),
        }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        None
    }
}

struct Metered {
    schema: SchemaRef,
    input: SendableRecordBatchStream,
    room: Room,
    watch: Arc<Watch>,
    held: Option<(Arc<Held>, Side)>,
    partition: usize,
    ready: VecDeque<RecordBatch>,
}

impl Metered {
    /// The batch, or the pieces that it is cut into.
    fn cut(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if batch.num_rows() <= self.room.rows && sizes::bytes_of(&batch) <= self.room.bytes {
            return Ok(batch);
        }
        let rows = sizes::rows_of(&batch);
        if rows.iter().any(|bytes| *bytes > ROW) {
            return Err(sizes::too_large("a row is too large"));
        }
        let mut from = 0;
        for end in sizes::runs(&rows, self.room.bytes) {
            while from < end {
                let count = (end - from).min(self.room.rows.max(1));
                self.ready.push_back(batch.slice(from, count));
                from += count;
            }
        }
        Ok(self.ready.pop_front().unwrap_or(batch))
    }

    fn account(&self, batch: &RecordBatch) -> Result<()> {
        match &self.held {
            Some((held, Side::In)) => held.take(self.partition, batch),
            Some((held, Side::Out)) => held.give(self.partition, batch.num_rows()),
            None => Ok(()),
        }
    }
}

impl Stream for Metered {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Err(stop) = this.watch.check() {
            return Poll::Ready(Some(Err(stop.into())));
        }
        let next = match this.ready.pop_front() {
            Some(piece) => Ok(piece),
            None => match ready!(this.input.poll_next_unpin(context)) {
                Some(batch) => batch.and_then(|batch| this.cut(batch)),
                None => return Poll::Ready(None),
            },
        };
        let counted = next.and_then(|batch| this.account(&batch).map(|()| batch));
        Poll::Ready(Some(counted))
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some((held, Side::Out)) = &self.held {
            held.end(self.partition);
        }
    }
}

impl RecordBatchStream for Metered {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
