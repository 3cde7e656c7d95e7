//! Which invoices a statement reads by their ids.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Ids of one tenant and year, as `invoice/get`, `line/get` and `payment/get` take them. One year a
/// statement: with a list of years the planner gives up the id as an index condition and reads all
/// that the tenant has.
///
/// The bounds say nothing new, but they are what a plan goes by that does not look ids up one by
/// one: one made while a partition was new and without statistics, and kept by Citus for as long as
/// the connection lives. Without them it reads all that the tenant has of the year. They compare
/// rows, `(id, year) >= ($4, $2)`: a range of one column counts as 0.5% of the rows to the planner,
/// which would read what lies between ids that are far apart
/// (docs/decisions/0010-index-of-metadata.md).
pub(crate) struct Wanted {
    tenant: Uuid,
    year: i16,
    ids: Vec<Uuid>,
    first: Uuid,
    last: Uuid,
}

impl Wanted {
    pub(crate) fn new(tenant: Uuid, year: i16, ids: Vec<Uuid>) -> Self {
        Self {
            tenant,
            year,
            first: ids.iter().min().copied().unwrap_or_default(),
            last: ids.iter().max().copied().unwrap_or_default(),
            ids,
        }
    }

    pub(crate) fn params(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.tenant, &self.year, &self.ids, &self.first, &self.last]
    }
}
