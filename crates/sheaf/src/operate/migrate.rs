//! `sheaf migrate`.

use crate::cli::MigrateArgs;
use crate::error::Result;
use crate::terminal::bar::Waiting;
use crate::terminal::output;

/// Shards of the distributed tables, unless asked otherwise.
pub(crate) const DEFAULT_SHARDS: u32 = 32;

/// Migrates and prints what was done.
pub(crate) async fn run(args: &MigrateArgs) -> Result<()> {
    let waiting = Waiting::new("connecting");
    let migrated = sheaf_store::migrate_with(
        &args.database.database_url,
        args.shards,
        args.first_own_year,
        &|step| waiting.say(step),
    )
    .await?;
    drop(waiting);
    let mut told = serde_json::json!({
        "applied": migrated.applied,
        "schema_version": sheaf_store::known_version(),
        "citus": migrated.citus,
    });
    if let Some(numbers) = migrated.numbers {
        let duplicates = numbers.duplicated;
        told["numbers"] = serde_json::json!({
            "documents": numbers.documents,
            "entered": numbers.entered,
            "duplicates": duplicates,
        });
        output::note(
            "where invoices are archived already, run `sheaf numbers` as well: it enters their \
            numbers",
        );
        if duplicates > 0 {
            output::note(&format!(
                "{duplicates} numbers are on several documents, which is as it was; `sheaf \
                numbers` lists them"
            ));
        }
    }
    output::print(&told, args.output.output)
}
