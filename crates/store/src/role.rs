//! The role that the API works as: it may do what the API does, and cannot change an event.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::{StoreError, sql};

const ROWS: &str = "select, insert, update, delete";

/// Makes the group role if it is missing, and grants it what the API needs. Running it again changes nothing.
///
/// An owner that may not make roles goes on without: then the API has to connect as the owner, or somebody else makes
/// the role, and the next migration grants.
pub(crate) async fn prepare(client: &Client, citus: bool) -> Result<(), StoreError> {
    let exists: bool = client.query_one(sql::ROLE_EXISTS, &[]).await?.get(0);
    if !exists && let Err(error) = client.batch_execute(sql::ROLE_CREATE).await {
        match error.code() {
            // Another database of the same server was quicker.
            Some(&SqlState::DUPLICATE_OBJECT | &SqlState::UNIQUE_VIOLATION) => {}
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                tracing::warn!("the role sheaf_api is missing, and this user may not make roles");
                return Ok(());
            }
            _ => return Err(error.into()),
        }
    }
    let tables = sql::REFERENCE_TABLES
        .split_whitespace()
        .chain(sql::DISTRIBUTED_TABLES.split_whitespace());
    for table in tables {
        let privileges = match table {
            "events" => "select, insert",
            _ => ROWS,
        };
        grant(client, privileges, table).await?;
    }
    client.batch_execute(sql::ROLE_KEEP_EVENTS).await?;
    // Which version the schema has.
    grant(client, "select", "refinery_schema_history").await?;
    grant_function(client, "sheaf_make_year(smallint)").await?;
    if citus {
        grant_function(client, "sheaf_hold_shards(bigint[])").await?;
    }
    Ok(())
}

async fn grant(client: &Client, privileges: &str, table: &str) -> Result<(), StoreError> {
    let statement = sql::ROLE_GRANT
        .replace("{privileges}", privileges)
        .replace("{table}", table);
    Ok(client.batch_execute(&statement).await?)
}

async fn grant_function(client: &Client, function: &str) -> Result<(), StoreError> {
    let statements = sql::ROLE_GRANT_FUNCTION.replace("{function}", function);
    Ok(client.batch_execute(&statements).await?)
}
