//! `sheaf tier`.

use std::process::ExitCode;

use chrono::Utc;
use sheaf_archive::RunOptions;

use crate::cli::TierRunArgs;
use crate::error::Result;
use crate::operate::pause;
use crate::terminal::bar::{Bar, Unit};
use crate::terminal::output;

/// Runs tiering once and prints what it did.
pub(crate) async fn run(args: &TierRunArgs) -> Result<ExitCode> {
    let (store, archive) = args.cold.connect_for(args.tenant).await?;
    let archive = pause::hooked(archive)?;
    let options = RunOptions {
        as_of: args.as_of.unwrap_or_else(|| Utc::now().date_naive()),
        older_than_months: args.older_than,
        tenant: args.tenant,
        dry_run: args.dry_run,
    };
    let bar = Bar::new(Unit::Invoices, None);
    let outcome = archive.tiering().run(options, &bar).await;
    bar.finish();
    store.close().await;
    let summary = outcome?;
    output::summary(&summary, &summary.failures, args.output.output)
}
