//! What this binary expects of a database, for `sheaf doctor`.

use futures_util::future::BoxFuture;
use sheaf_cluster::admin::inspect::{Asked, Expected, Inspector};
use tokio_postgres::Client;

use crate::StoreError;
use crate::schema::migrate;

/// Functions that the API calls.
const FUNCTIONS: [&str; 2] = ["sheaf_make_year(smallint)", "sheaf_hold_shards(bigint[])"];

/// What the database as a whole says, and whether this binary fits it.
pub type DatabaseFacts = sheaf_cluster::admin::inspect::DatabaseFacts<StoreError>;

/// Asks what the database as a whole says.
///
/// # Errors
/// No host lets us in.
pub async fn inspect(inspector: &Inspector, citus: bool) -> Asked<DatabaseFacts> {
    let expected = Expected {
        tables: &migrate::tables(),
        functions: &FUNCTIONS,
    };
    inspector.database(citus, expected, schema).await
}

fn schema(client: &Client) -> BoxFuture<'_, Result<i32, StoreError>> {
    Box::pin(migrate::found(client))
}
