//! Tiering against psql's `\copy (select ...) to` of the same rows, and what a row costs in either
//! tier.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use chrono::{Days, Utc};
use hyper::{Method, StatusCode};
use serde_json::Value;
use sheaf_benches::report::Pair;
use sheaf_loadtest::load::generate::{Form, Generator, Shape};
use sheaf_loadtest::load::http::{Connection, Server, file};
use sheaf_local::LocalEnv;
use tokio::process::Command;
use uuid::Uuid;

use crate::{Bench, Failure};

/// Tenants of a round: units of some thousand invoices, as a platform's larger tenants have them.
const TENANTS: u32 = 2;
/// What moves.
const MOVED: [&str; 4] = ["invoices", "invoice_lines", "payments", "events"];
/// Real invoices, where the checkout has them.
const REAL: &str = "../shared/data/online-retail.ndjson.gz";

/// The tier runs of one binary on one cluster.
pub(crate) struct Tier<'a> {
    pub(crate) sheaf: &'a Path,
    pub(crate) env: &'a LocalEnv,
}

impl Tier<'_> {
    /// Moves all that is settled, and answers the summary.
    async fn run(&self) -> Result<Value, Failure> {
        self.sheaf(&["tier", "run", "--older-than", "0m"]).await
    }

    /// Puts small files together, and answers the summary.
    async fn compact(&self) -> Result<Value, Failure> {
        self.sheaf(&["archive", "compact"]).await
    }

    async fn sheaf(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let env = self.env;
        let output = Command::new(self.sheaf)
            .args(arguments)
            .env("SHEAF_DATABASE_URL", env.database_url())
            .env("SHEAF_S3_ENDPOINT", env.s3_endpoint())
            .env("SHEAF_S3_BUCKET", env.bucket())
            .env("SHEAF_S3_REGION", env.region())
            .env("AWS_ACCESS_KEY_ID", env.access_key())
            .env("AWS_SECRET_ACCESS_KEY", env.secret_key())
            .env("SHEAF_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout)?);
        }
        Err(format!(
            "sheaf {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
        .into())
    }
}

pub(crate) async fn compare(bench: &Bench, tier: Tier<'_>) -> Result<Vec<Pair>, Failure> {
    let copy = bench.dir.join("tiering.sql");
    fs::write(&copy, script(&bench.dir))?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        fill(bench, round).await?;
        let start = Instant::now();
        bench.database.psql(&copy).await?;
        peer.push(rate(u64::from(bench.upload), start));
        ours.push(step(bench, &tier).await?);
        eprintln!(
            "compare: tiering, round {round}: ours {:.0}, \\copy to {:.0} invoices/s",
            last(&ours),
            last(&peer)
        );
    }
    let to = "psql \\copy (select ...) to";
    let mut pairs = vec![Pair::of("tiering", "invoices/s", &ours, &peer, to)];
    match size(bench, &tier).await? {
        Some(pair) => pairs.push(pair),
        None => eprintln!("compare: archive_size: left out, {REAL} is not there"),
    }
    Ok(pairs)
}

/// Leaves the settled invoices of a round in the tables, and nothing else.
pub(crate) async fn fill(bench: &Bench, round: u8) -> Result<(), Failure> {
    bench.database.reset().await?;
    upload(bench, &generate(bench, round)?).await?;
    settle(bench).await
}

/// Invoices a second that move from the tables to the archive.
pub(crate) async fn step(bench: &Bench, tier: &Tier<'_>) -> Result<f64, Failure> {
    let start = Instant::now();
    let summary = tier.run().await?;
    let rate = rate(u64::from(bench.upload), start);
    let moved = summary["invoices"].as_u64().unwrap_or(0);
    if moved != u64::from(bench.upload) {
        return Err(format!("tiering moved {moved} of {}: {summary}", bench.upload).into());
    }
    eprintln!("compare: tiering: {} objects", summary["parts"]);
    Ok(rate)
}

/// The settled ones of the real invoices, in PostgreSQL with their indexes, and in objects. Once:
/// sizes do not vary.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn size(bench: &Bench, tier: &Tier<'_>) -> Result<Option<Pair>, Failure> {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(REAL);
    if !real.is_file() {
        return Ok(None);
    }
    bench.database.reset().await?;
    let plain = Command::new("gzip").arg("-dc").arg(&real).output().await?;
    let settled = bench.dir.join("real.ndjson");
    let mut out = BufWriter::new(File::create(&settled)?);
    let mut count = 0_u64;
    for line in plain.stdout.split(|byte| *byte == b'\n') {
        let is_paid = serde_json::from_slice::<Value>(line)
            .is_ok_and(|invoice| invoice["payments"].is_array());
        if is_paid {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            count += 1;
        }
    }
    out.flush()?;
    drop(out);
    // Once in and out, so that what an empty table and its partitions take is not counted.
    upload(bench, &settled).await?;
    bench.database.reset().await?;
    let empty = bench.database.bytes(&MOVED).await?;
    upload(bench, &settled).await?;
    let hot = bench.database.bytes(&MOVED).await?.saturating_sub(empty);
    let summary = tier.run().await?;
    let moved = &summary["invoices"];
    let compacted = tier.compact().await?;
    let bytes = |summary: &Value, name: &str| summary[name].as_u64().unwrap_or(0);
    let cold = (bytes(&summary, "bytes") + bytes(&compacted, "bytes_after"))
        .saturating_sub(bytes(&compacted, "bytes_before"));
    if moved.as_u64() != Some(count) || cold == 0 {
        return Err(format!("tiering moved {moved} of {count}: {summary}").into());
    }
    let per_mib = |bytes: u64| count as f64 / (bytes as f64 / f64::from(1 << 20));
    Ok(Some(Pair::of(
        "archive_size",
        "invoices/MiB",
        &[per_mib(cold)],
        &[per_mib(hot)],
        "the same rows with indexes in PostgreSQL",
    )))
}

/// Nothing is owed on any of them, whatever was generated.
async fn settle(bench: &Bench) -> Result<(), Failure> {
    let settle = "update invoices set status = 'paid', amount_due = 0, amount_paid = total \
                  where status not in ('paid', 'cancelled')";
    bench.database.client.batch_execute(settle).await?;
    bench.database.analyze().await
}

/// A year that has ended, for tenants of the round's own: nothing of it is in the archive.
fn generate(bench: &Bench, round: u8) -> Result<PathBuf, Failure> {
    let path = bench.dir.join("tiering.ndjson");
    let last = Utc::now().date_naive() - Days::new(62);
    let mut generator = Generator::new(Shape::import(u64::from(round), TENANTS, last, 1))?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut line, run) = (Vec::new(), Uuid::now_v7().simple().to_string());
    for _ in 0..bench.upload {
        line.clear();
        generator.write(Form::Platform, &mut line);
        let text = std::str::from_utf8(&line)?;
        let own = format!("\"tenant_external_id\":\"{run}-");
        out.write_all(
            text.replacen("\"tenant_external_id\":\"", &own, 1)
                .as_bytes(),
        )?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(path)
}

async fn upload(bench: &Bench, invoices: &Path) -> Result<(), Failure> {
    let mut connection = Connection::open(&Server::parse(bench.serve.url())?).await?;
    let path = "/v1/platform/invoices/bulk?create_tenants=true";
    let (status, summary) = connection
        .json(
            Method::POST,
            path,
            &bench.admin_key,
            "application/x-ndjson",
            file(invoices).await?,
        )
        .await?;
    if status == StatusCode::OK && summary["created"] == summary["received"] {
        return Ok(());
    }
    Err(format!("the upload answered {status}: {summary}").into())
}

fn script(dir: &Path) -> String {
    let mut script = String::new();
    for table in MOVED {
        // Writing into a string does not fail.
        let _ = writeln!(
            script,
            "\\copy (select * from {table}) to '{}/tiering-{table}.csv' csv",
            dir.display()
        );
    }
    script
}

#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
fn rate(invoices: u64, start: Instant) -> f64 {
    invoices as f64 / start.elapsed().as_secs_f64()
}

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}
