//! Migrations: the schema everywhere, distribution where Citus is present.

use chrono::Datelike;
use tokio_postgres::{Client, Config};

use crate::schema::partition;
use crate::schema::partition::FIRST_OWN_YEAR;
use crate::schema::role;
use crate::{EnteredNumbers, Store, StoreConfig, StoreError, sql};
use sheaf_cluster::Error;
use sheaf_cluster::connect::{self, To};
use sheaf_cluster::ddl;
use sheaf_cluster::ddl::Patient;
use sheaf_cluster::error::said;

mod embedded {
    refinery::embed_migrations!("../../sql/migrations");
}

/// Any number that no other application of the database uses.
const MIGRATION_LOCK: i64 = 0x5368_6561_6601;
/// Whoever applies the first migration finds no document.
const FIRST: i32 = 1;
/// Tenants that are read at once.
const TENANT_PAGE: usize = 500;

/// What a migration run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Versions applied now.
    pub applied: Vec<i32>,
    /// Whether the Citus extension is there and the tables are distributed.
    pub citus: bool,
    /// What was entered of documents that older binaries have written; none where there was nothing
    /// to enter.
    pub numbers: Option<EnteredNumbers>,
}

/// The newest schema version that this binary knows.
#[must_use]
pub fn known_version() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(|m| m.version())
        .max()
        .unwrap_or(0)
}

/// Brings the database to this binary's schema, and distributes its tables over `shard_count`
/// shards where Citus is present; makes the role `sheaf_api`, which may do what the API does. Safe
/// to run from several processes at once; running it again changes nothing.
///
/// # Errors
/// [`StoreError::SchemaTooNew`] where a newer binary has been here.
pub async fn migrate(database_url: &str, shard_count: u32) -> Result<Migrated, StoreError> {
    migrate_from(database_url, shard_count, FIRST_OWN_YEAR).await
}

/// As [`migrate`]; the first run decides that documents of years before `first_own_year` share a
/// partition.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_from(
    database_url: &str,
    shard_count: u32,
    first_own_year: i16,
) -> Result<Migrated, StoreError> {
    migrate_with(database_url, shard_count, first_own_year, &|_| {}).await
}

/// As [`migrate_from`]; `told` hears what is being done.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_with(
    database_url: &str,
    shard_count: u32,
    first_own_year: i16,
    told: &(dyn Fn(&str) + Send + Sync),
) -> Result<Migrated, StoreError> {
    told("waiting for the lock of migrations");
    let mut client = connect(database_url).await?;
    client
        .execute(sql::CLUSTER_ADVISORY_LOCK, &[&MIGRATION_LOCK])
        .await?;
    let found = found_version(&client).await?;
    if found.known_to_us()? == Known::Newer {
        // A newer binary has expanded the schema, and has done all that this one would.
        let citus = connect::has_citus(&client).await?;
        return Ok(Migrated {
            applied: Vec::new(),
            citus,
            numbers: None,
        });
    }
    told("applying migrations");
    let report = embedded::migrations::runner()
        .run_async(&mut Patient(&mut client))
        .await
        .map_err(|error| failed(&error))?;
    let applied: Vec<i32> = report
        .applied_migrations()
        .iter()
        .map(|m| m.version())
        .collect();
    let citus = connect::has_citus(&client).await?;
    if citus {
        told("distributing the tables");
        distribute(&mut client, shard_count).await?;
    }
    told("granting rights and making the partitions of this year and the next");
    // Not in the migration itself: rows that are there before Citus distributes the table leave a
    // copy behind.
    client.batch_execute(sql::PROFILE_KEEP_VERSIONS).await?;
    client.batch_execute(sql::PARTITION_FUNCTION).await?;
    role::prepare(&client, citus).await?;
    partition::share_early(&mut client, first_own_year).await?;
    // Nobody should wait for DDL at New Year.
    let year = chrono::Utc::now().year();
    for year in [year, year + 1] {
        partition::create(&mut client, i16::try_from(year).unwrap_or(i16::MAX)).await?;
    }
    let numbers = if applied.contains(&FIRST) || numbers_are_entered(&client).await? {
        None
    } else {
        told("entering the numbers of stored documents");
        Some(enter_numbers(database_url).await?)
    };
    // By itself, not by what this run has applied: the one that made the table may have been cut
    // short behind that.
    client.batch_execute(sql::NUMBER_CLAIM_ENTERED).await?;
    // The lock goes with the session.
    Ok(Migrated {
        applied,
        citus,
        numbers,
    })
}

/// Whether a run has entered all numbers before.
async fn numbers_are_entered(client: &Client) -> Result<bool, StoreError> {
    let row = client.query_one(sql::NUMBER_CLAIM_IS_ENTERED, &[]).await?;
    Ok(row.get(0))
}

/// Enters the numbers of hot documents that were issued in another year than that of their ids,
/// once: nobody else writes between the migration and the start of this binary.
async fn enter_numbers(database_url: &str) -> Result<EnteredNumbers, StoreError> {
    let store = Store::connect(StoreConfig::new(database_url)).await?;
    let entered = async {
        let (mut all, mut after) = (EnteredNumbers::default(), None);
        loop {
            let page = store.all_tenants_page(after, TENANT_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = Some(last.id.0);
            for tenant in page {
                all.add(store.enter_numbers(tenant.id).await?);
                all.note(store.duplicate_numbers(tenant.id).await?);
            }
        }
    };
    let entered: Result<_, StoreError> = entered.await;
    store.close().await;
    entered.map_err(|error| {
        Error::Config(format!(
            "the schema is as it should be, but the numbers of stored documents were not all \
             entered; run \
             `sheaf numbers`, which goes on with it: {error}"
        ))
        .into()
    })
}

fn failed(error: &refinery::Error) -> StoreError {
    let advice = if ddl::was_locked_out(error) {
        ". A transaction holds a lock that the migration needs, and did not end: run it again \
         when that one has ended"
    } else {
        ""
    };
    Error::Config(format!("a migration failed: {}{advice}", why(error))).into()
}

/// What the migrations' runner says, and what the database said, which is behind that.
fn why(error: &refinery::Error) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(database) = inner.downcast_ref::<tokio_postgres::Error>() {
            return format!("{error}: {}", said(database));
        }
        cause = inner.source();
    }
    error.to_string()
}

/// The version of a database's schema, if this binary fits it.
pub(crate) async fn found(client: &Client) -> Result<i32, StoreError> {
    let version = found_version(client).await?;
    version.fits()?;
    Ok(version.newest)
}

/// Refuses a database that this binary does not fit. One that a newer binary has only expanded
/// fits.
pub(crate) async fn check_version(client: &Client) -> Result<(), StoreError> {
    found_version(client).await?.fits()
}

/// Refuses a database with Citus in which some tables lie on the coordinator alone: it had no Citus
/// when they were made, or their migration was cut short. The schema's version tells neither.
pub(crate) async fn check_distributed(client: &Client) -> Result<(), StoreError> {
    if !connect::has_citus(client).await? {
        return Ok(());
    }
    let row = client
        .query_one(sql::CLUSTER_UNDISTRIBUTED, &[&tables()])
        .await?;
    match row.get::<_, Option<&str>>(0) {
        None => Ok(()),
        Some(tables) => Err(Error::Config(format!(
            "Citus is installed, but does not know these tables: {tables}; run `sheaf migrate`, \
             which distributes them"
        ))
        .into()),
    }
}

/// The schema of a database.
struct Version {
    newest: i32,
    /// The newest migration that a binary must know to live with it (`sql/README.md`).
    binding: i32,
}

#[derive(PartialEq, Eq)]
enum Known {
    Older,
    Same,
    /// By expand steps only.
    Newer,
}

impl Version {
    fn fits(&self) -> Result<(), StoreError> {
        match self.known_to_us()? {
            Known::Older => Err(StoreError::SchemaTooOld {
                found: self.newest,
                known: known_version(),
            }),
            Known::Same | Known::Newer => Ok(()),
        }
    }

    fn known_to_us(&self) -> Result<Known, StoreError> {
        let known = known_version();
        if self.binding > known {
            return Err(StoreError::SchemaTooNew {
                found: self.binding,
                known,
            });
        }
        Ok(match self.newest.cmp(&known) {
            std::cmp::Ordering::Less => Known::Older,
            std::cmp::Ordering::Equal => Known::Same,
            std::cmp::Ordering::Greater => Known::Newer,
        })
    }
}

async fn found_version(client: &Client) -> Result<Version, StoreError> {
    let exists: bool = client
        .query_one(sql::CLUSTER_HAS_HISTORY, &[])
        .await?
        .get(0);
    if !exists {
        return Ok(Version {
            newest: 0,
            binding: 0,
        });
    }
    let row = client.query_one(sql::CLUSTER_SCHEMA_VERSION, &[]).await?;
    Ok(Version {
        newest: row.get(0),
        binding: row.get(1),
    })
}

/// All tables that Citus has to know.
pub(crate) fn tables() -> Vec<&'static str> {
    let all = sql::REFERENCE_TABLES.split_whitespace();
    all.chain(sql::DISTRIBUTED_TABLES.split_whitespace())
        .collect()
}

async fn distribute(client: &mut Client, shard_count: u32) -> Result<(), StoreError> {
    let shard_count =
        i32::try_from(shard_count).map_err(|_| Error::Config("too many shards".into()))?;
    let mut ddl = Patient(client);
    for table in sql::REFERENCE_TABLES.split_whitespace() {
        ddl.run(sql::CITUS_REFERENCE, &[&table]).await?;
    }
    ddl.run(sql::CITUS_HOLD_SHARDS, &[]).await?;
    // The first table makes the colocation group, the others join it.
    let mut tables = sql::DISTRIBUTED_TABLES.split_whitespace();
    let Some(first) = tables.next() else {
        return Ok(());
    };
    ddl.run(sql::CITUS_DISTRIBUTE, &[&first, &shard_count])
        .await?;
    for table in tables {
        ddl.run(sql::CITUS_COLOCATE, &[&table, &first]).await?;
    }
    Ok(())
}

/// A connection of its own: migrations and session locks must not come from a pool.
pub(crate) async fn connect(database_url: &str) -> Result<Client, StoreError> {
    let database = connect::parse_url(database_url)?;
    let (client, _) = database
        .connect(To::Url, &Config::new())
        .await
        .map_err(Error::from)?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use sheaf_cluster::ddl::script::statements;

    use super::embedded;

    #[test]
    fn every_migration_is_its_statements() {
        let number = |sql: &str| statements(sql).len();
        let runner = embedded::migrations::runner();
        let migrations = runner.get_migrations().iter().filter_map(|m| m.sql());
        let migrations: Vec<&str> = migrations.collect();
        assert!(migrations.len() >= 11);
        for sql in &migrations {
            assert!(number(sql) > 0, "{sql}");
            for statement in statements(sql) {
                assert_eq!(statements(statement), [statement]);
            }
        }
        assert!(migrations.iter().any(|sql| number(sql) > 3));
    }
}
