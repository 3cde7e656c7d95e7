//! The role that the API works as: it may do what the API does, and cannot change an event.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use sheaf_cluster::Error;

use crate::{StoreError, sql};

const ROWS: &str = "select, insert, update, delete";

/// Makes the group role if it is missing, and grants it what the API needs. Running it again
/// changes nothing.
///
/// An owner that may not make roles goes on without: then the API has to connect as the owner, or
/// somebody else makes the role, and the next migration grants.
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
    if let Err(error) = client.batch_execute(sql::ROLE_SEE_ACTIVITY).await {
        if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Err(error.into());
        }
        tracing::warn!("this user may not grant pg_read_all_stats to sheaf_api, which it needs");
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

/// Refuses a login that does not see when the events of others are complete: it would pass them
/// over in the feed.
pub(crate) async fn check(client: &Client) -> Result<(), StoreError> {
    let sees: bool = client.query_one(sql::ROLE_SEES_ACTIVITY, &[]).await?.get(0);
    if sees {
        return Ok(());
    }
    Err(Error::Config(
        "this database user is neither the tables' owner nor a member of pg_read_all_stats, which \
         `sheaf migrate` \
         grants to sheaf_api: without it the feed could leave out events"
            .into(),
    )
    .into())
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
