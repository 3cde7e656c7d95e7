//! `sheaf migrate`.

use crate::cli::MigrateArgs;
use crate::error::Result;
use crate::output;

/// Shards of the distributed tables, unless asked otherwise.
pub(crate) const DEFAULT_SHARDS: u32 = 32;

/// Migrates and prints what was done.
pub(crate) async fn run(args: &MigrateArgs) -> Result<()> {
    let migrated = sheaf_store::migrate(&args.database.database_url, args.shards).await?;
    output::json(&serde_json::json!({
        "applied": migrated.applied,
        "schema_version": sheaf_store::known_version(),
        "citus": migrated.citus,
    }))
}
