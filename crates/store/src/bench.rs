//! The hot code that needs no database, for `benches/` and for tests of plans. Not part of the API.

use sheaf_model::TenantId;

use sheaf_cluster::connect::NodeAddr;
use sheaf_cluster::routing::hash;
use sheaf_cluster::routing::shard::Shard;

use crate::invoice::encode::Batch;
use crate::invoice::new::NewInvoice;
use crate::sql::statements::{Find, STATEMENTS, Table};

/// Encodes the rows of every table for a batch, as a flush does, and drops them. Returns the
/// invoices encoded.
#[must_use]
pub fn encode(batch: &[NewInvoice]) -> usize {
    let mut rows = Batch::new(batch.len());
    for new in batch {
        rows.push(new, Some(crate::invoice::encode::PROFILE_OF_NOW));
    }
    for table in Table::ALL {
        std::hint::black_box(rows.rows_of(table).columns());
    }
    batch.len()
}

/// The index of a tenant's shard, among shards given by their smallest hash values in ascending
/// order.
#[must_use]
pub fn route(min_hashes: &[i32], tenant: TenantId) -> usize {
    hash::shard_index(min_hashes, hash::uuid_hash(tenant.0), |min| *min)
}

/// The statements that look a batch's keys up, on tables whose names end so.
#[must_use]
pub fn finds(suffix: &str) -> Vec<String> {
    let shard = Shard::new(0, i32::MIN, NodeAddr::default(), true, &STATEMENTS, |_| {
        suffix.to_owned()
    });
    let texts = Find::ALL.map(|find| find.on(Some(&shard)).to_owned());
    texts.into()
}
