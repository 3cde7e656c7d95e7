//! What a window holds: the engine counts nothing of it. A window of a whole partition keeps all of
//! its rows, and makes its results at once; a text that is the result of each row is written out as
//! often as there are rows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_plan::PhysicalExpr;

use super::sizes;

/// On which side of a window rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What it reads.
    In,
    /// What it has answered.
    Out,
}

/// How long a result of a window can be.
#[derive(Clone, Copy, Debug)]
enum Longest {
    /// As the longest value of this column.
    Column(usize),
    /// So long.
    Constant(u64),
    /// As the longest row.
    Row,
}

/// The rows that a window holds, by partition of the plan.
#[derive(Debug)]
pub(crate) struct Held {
    results: Vec<Longest>,
    partitions: Mutex<HashMap<usize, Rows>>,
}

#[derive(Debug)]
struct Rows {
    reservation: MemoryReservation,
    /// Batches, by rows and bytes.
    batches: VecDeque<(usize, u64)>,
    rows: u64,
    bytes: u64,
    /// The longest value of each result so far.
    longest: Vec<u64>,
}

impl Held {
    pub(crate) fn of(windows: &[Arc<dyn WindowExpr>]) -> Arc<Self> {
        let mut results = Vec::new();
        for window in windows {
            let fixed = |field: &arrow::datatypes::FieldRef| {
                let of = field.data_type();
                of.is_primitive() || *of == arrow::datatypes::DataType::Boolean
            };
            if window.field().is_ok_and(|field| fixed(&field)) {
                continue;
            }
            results.extend(window.expressions().iter().map(result));
        }
        Arc::new(Self {
            results,
            partitions: Mutex::default(),
        })
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<usize, Rows>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is held of the partition.
    pub(crate) fn begin(&self, partition: usize, context: &TaskContext) {
        let reservation = MemoryConsumer::new("window").register(context.memory_pool());
        let rows = Rows {
            reservation,
            batches: VecDeque::new(),
            rows: 0,
            bytes: 0,
            longest: vec![0; self.results.len()],
        };
        self.partitions().insert(partition, rows);
    }

    /// The window has ended.
    pub(crate) fn end(&self, partition: usize) {
        self.partitions().remove(&partition);
    }

    /// The window is given a batch.
    pub(crate) fn take(&self, partition: usize, batch: &RecordBatch) -> Result<()> {
        let mut all = self.partitions();
        let Some(rows) = all.get_mut(&partition) else {
            return Ok(());
        };
        for (longest, result) in rows.longest.iter_mut().zip(&self.results) {
            let sizes = match result {
                Longest::Constant(bytes) => {
                    *longest = *bytes;
                    continue;
                }
                Longest::Column(at) => sizes::rows(batch.column(*at).as_ref()),
                Longest::Row => sizes::rows_of(batch),
            };
            *longest = sizes.into_iter().fold(*longest, u64::max);
        }
        let bytes = sizes::bytes_of(batch);
        rows.batches.push_back((batch.num_rows(), bytes));
        rows.rows += batch.num_rows() as u64;
        rows.bytes = rows.bytes.saturating_add(bytes);
        rows.reserve()
    }

    /// The window has answered this number of rows.
    pub(crate) fn give(&self, partition: usize, mut answered: usize) -> Result<()> {
        let mut all = self.partitions();
        let Some(rows) = all.get_mut(&partition) else {
            return Ok(());
        };
        rows.rows = rows.rows.saturating_sub(answered as u64);
        while let Some((first, bytes)) = rows.batches.front_mut() {
            if *first > answered {
                *first -= answered;
                break;
            }
            answered -= *first;
            rows.bytes = rows.bytes.saturating_sub(*bytes);
            rows.batches.pop_front();
        }
        rows.reserve()
    }
}

impl Rows {
    fn reserve(&self) -> Result<()> {
        let each = self
            .longest
            .iter()
            .fold(0_u64, |all, one| all.saturating_add(*one));
        let all = self.bytes.saturating_add(self.rows.saturating_mul(each));
        self.reservation
            .try_resize(usize::try_from(all).unwrap_or(usize::MAX))
    }
}

fn result(argument: &Arc<dyn PhysicalExpr>) -> Longest {
    if let Some(column) = argument.downcast_ref::<Column>() {
        return Longest::Column(column.index());
    }
    match argument.downcast_ref::<Literal>() {
        Some(literal) => Longest::Constant(sizes::scalar(literal.value())),
        None => Longest::Row,
    }
}
