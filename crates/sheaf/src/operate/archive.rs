//! `sheaf archive`: the cold tier by hand.

use std::io::IsTerminal;
use std::process::ExitCode;

use chrono::Utc;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use sheaf_archive::{Archive, CompactOptions, ErasureOptions, VerifyOptions};
use sheaf_model::TenantId;
use sheaf_store::{ArchiveFile, Store};

use crate::cli::{ArchiveArgs, CompactArgs, EraseArgs, GcArgs, Output, VerifyArgs};
use crate::error::{Error, Result};
use crate::operate::pause;
use crate::terminal::bar::{Bar, Unit};
use crate::terminal::output;

/// Tenants that are read at once.
const TENANT_PAGE: usize = 500;

/// Lists the published files, tenant by tenant, by period and part.
pub(crate) async fn ls(args: &ArchiveArgs) -> Result<ExitCode> {
    let (store, archive) = args.connect().await?;
    let table = match args.output.output {
        Some(format) => format == Output::Table,
        None => std::io::stdout().is_terminal(),
    };
    if table {
        output::line(&row([
            "tenant",
            "period",
            "part",
            "gen",
            "invoices",
            "lines",
            "size",
            "published",
        ]))?;
    }
    let outcome = match args.tenant {
        Some(tenant) => list_tenant(&archive, tenant, table)
            .await
            .map(|()| ExitCode::SUCCESS),
        None => list_all(&store, &archive, table).await,
    };
    store.close().await;
    outcome
}

/// A tenant whose node is away keeps nobody from seeing the others.
async fn list_all(store: &Store, archive: &Archive, table: bool) -> Result<ExitCode> {
    let (mut after, mut code) = (None, ExitCode::SUCCESS);
    loop {
        let page = store.all_tenants_page(after, TENANT_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(code);
        };
        after = Some(last.id.0);
        for tenant in page {
            match list_tenant(archive, tenant.id, table).await {
                Err(error @ (Error::Store(_) | Error::Archive(_))) => {
                    output::note(&format!("tenant {}: {error}", tenant.id));
                    code = ExitCode::FAILURE;
                }
                listed => listed?,
            }
        }
    }
}

async fn list_tenant(archive: &Archive, tenant: TenantId, table: bool) -> Result<()> {
    for file in archive.ls(tenant).await? {
        if table {
            output::line(&table_row(&file))?;
        } else {
            output::json(&document(&file))?;
        }
    }
    Ok(())
}

fn document(file: &ArchiveFile) -> Value {
    json!({
        "tenant_id": file.tenant_id,
        "period": file.period.to_string(),
        "part": file.part,
        "generation": file.generation,
        "object_key": file.object_key,
        "min_id": file.min_id,
        "max_id": file.max_id,
        "invoices": file.invoices,
        "lines": file.lines,
        "payments": file.payments,
        "events": file.events,
        "bytes": file.bytes,
        "sha256": file.sha256.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "sums": file.sums,
        "schema_version": file.schema_version,
        "published_at": file.published_at,
    })
}

fn table_row(file: &ArchiveFile) -> String {
    let count = |count: i64| HumanCount(u64::try_from(count).unwrap_or(0)).to_string();
    let published = file
        .published_at
        .map_or_else(String::new, |at| at.format("%F %T").to_string());
    row([
        &file.tenant_id.to_string(),
        &file.period.to_string(),
        &file.part.to_string(),
        &file.generation.to_string(),
        &count(file.invoices),
        &count(file.lines),
        &HumanBytes(u64::try_from(file.bytes).unwrap_or(0)).to_string(),
        &published,
    ])
}

fn row(
    [
        tenant,
        period,
        part,
        generation,
        invoices,
        lines,
        size,
        published,
    ]: [&str; 8],
) -> String {
    format!(
        "{tenant:<36}  {period:<7}  {part:>4}  {generation:>3}  {invoices:>9}  {lines:>10}  {size:>11}  {published}"
    )
}

/// Compares catalog and objects.
pub(crate) async fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let (store, archive) = args.archive.connect().await?;
    let bar = Bar::new(Unit::Objects, None);
    let options = VerifyOptions {
        tenant: args.archive.tenant,
        after: args.after,
        rate: args.rate,
    };
    let outcome = archive.verify_with(options, &bar).await;
    bar.finish();
    store.close().await;
    let report = outcome?;
    let code = output::summary(&report, &report.failures, args.archive.output.output)?;
    if report.is_clean() {
        return Ok(code);
    }
    output::note(&format!(
        "the archive has problems: {} missing, {} truncated, {} mismatched, {} orphaned",
        report.missing, report.truncated, report.mismatches, report.orphans
    ));
    Ok(ExitCode::FAILURE)
}

/// Enters numbers that older releases did not, and lists those that are double.
pub(crate) async fn numbers(args: &ArchiveArgs) -> Result<ExitCode> {
    let (store, archive) = args.connect().await?;
    let bar = Bar::new(Unit::Objects, None);
    let outcome = archive.check_numbers(args.tenant, &bar).await;
    bar.finish();
    store.close().await;
    let report = outcome?;
    let code = output::summary(&report, &report.failures, args.output.output)?;
    if report.duplicated == 0 {
        return Ok(code);
    }
    output::note(&format!(
        "{} numbers are on several documents",
        report.duplicated
    ));
    Ok(ExitCode::FAILURE)
}

/// Makes few files of many.
pub(crate) async fn compact(args: &CompactArgs) -> Result<ExitCode> {
    let (store, archive) = args.archive.connect().await?;
    let archive = pause::hooked(archive)?;
    let bar = Bar::new(Unit::Invoices, None);
    let options = CompactOptions {
        tenant: args.archive.tenant,
        dry_run: args.dry_run,
    };
    let outcome = archive.compact(options, &bar).await;
    bar.finish();
    store.close().await;
    let summary = outcome?;
    output::summary(&summary, &summary.failures, args.archive.output.output)
}

/// Goes on with erasures.
pub(crate) async fn erase(args: &EraseArgs) -> Result<ExitCode> {
    let (store, archive) = args.archive.connect().await?;
    let archive = pause::hooked(archive)?;
    let bar = Bar::new(Unit::Invoices, None);
    let options = ErasureOptions {
        tenant: args.archive.tenant,
        grace: args.grace,
        clock_skew: args.clock_skew,
        as_of: Utc::now(),
    };
    let outcome = archive.run_erasures(options, &bar).await;
    bar.finish();
    store.close().await;
    let summary = outcome?;
    output::summary(&summary, &summary.failures, args.archive.output.output)
}

/// Collects garbage.
pub(crate) async fn gc(args: &GcArgs) -> Result<ExitCode> {
    let (store, archive) = args.archive.connect().await?;
    let archive = pause::hooked(archive)?;
    let bar = Bar::new(Unit::Objects, None);
    let outcome = archive
        .gc_with(args.archive.tenant, args.grace, args.dry_run, &bar)
        .await;
    bar.finish();
    store.close().await;
    let summary = outcome?;
    output::summary(&summary, &summary.failures, args.archive.output.output)
}
