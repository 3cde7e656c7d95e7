//! One platform upload against psql's `\copy` of the same rows into the same, emptied tables.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::Utc;
use hyper::{Method, StatusCode};
use sheaf_benches::report::Pair;
use sheaf_loadtest::load::generate::{Form, Generator, Shape};
use sheaf_loadtest::load::http::{Connection, Server, file};

use crate::peer::TABLES;
use crate::{Bench, Failure, TENANTS};

/// The most memory that the API may take, MiB.
const RSS_BOUND: f64 = 300.0;

pub(crate) async fn compare(bench: &Bench) -> Result<Vec<Pair>, Failure> {
    let upload = generate(bench)?;
    let copy = bench.dir.join("copy.sql");
    fs::write(&copy, script(&bench.dir, "from"))?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        bench.database.reset().await?;
        ours.push(ingest(bench, &upload).await?);
        if round == 1 {
            let export = bench.dir.join("export.sql");
            fs::write(&export, script(&bench.dir, "to"))?;
            bench.database.psql(&export).await?;
        }
        bench.database.reset().await?;
        let start = Instant::now();
        bench.database.psql(&copy).await?;
        peer.push(rate(bench.upload, start));
        check(bench).await?;
        eprintln!(
            "compare: ingest, round {round}: ours {:.0}, \\copy {:.0} invoices/s",
            last(&ours),
            last(&peer)
        );
    }
    Ok(vec![
        Pair::of("bulk_ingest", "invoices/s", &ours, &peer, "psql \\copy"),
        Pair::bound(
            "bulk_ingest_rss_mib",
            "MiB",
            &[bench.serve.peak_mib()?],
            RSS_BOUND,
        ),
    ])
}

/// Leaves the rows of one upload in the tables.
pub(crate) async fn fill(bench: &Bench) -> Result<(), Failure> {
    bench.database.reset().await?;
    ingest(bench, &generate(bench)?).await?;
    bench.database.analyze().await
}

/// Writes the file to upload, unless this run has it already.
pub(crate) fn generate(bench: &Bench) -> Result<PathBuf, Failure> {
    let path = bench.dir.join("upload.ndjson");
    if path.is_file() {
        return Ok(path);
    }
    let mut generator = Generator::new(Shape::import(1, TENANTS, Utc::now().date_naive(), 1))?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut line = Vec::new();
    for _ in 0..bench.upload {
        line.clear();
        generator.write(Form::Platform, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()?;
    Ok(path)
}

/// Invoices per second of one upload over HTTP, as one client sees it.
pub(crate) async fn ingest(bench: &Bench, upload: &Path) -> Result<f64, Failure> {
    let mut connection = Connection::open(&Server::parse(bench.serve.url())?).await?;
    let start = Instant::now();
    let body = file(upload).await?;
    let (path, key) = ("/v1/platform/invoices/bulk", &bench.admin_key);
    let (status, summary) = connection
        .json(Method::POST, path, key, "application/x-ndjson", body)
        .await?;
    let rate = rate(bench.upload, start);
    if status != StatusCode::OK || summary["created"] != bench.upload {
        return Err(format!("the upload answered {status}: {summary}").into());
    }
    check(bench).await?;
    Ok(rate)
}

/// Whoever wrote them: all rows are there.
async fn check(bench: &Bench) -> Result<(), Failure> {
    let found = bench.database.count("invoices").await?;
    if found == u64::from(bench.upload) {
        Ok(())
    } else {
        Err(format!("{found} invoices are in the tables, not {}", bench.upload).into())
    }
}

/// A psql script that copies all tables from or to their files.
fn script(dir: &Path, direction: &str) -> String {
    let mut script = String::new();
    for table in TABLES {
        // Writing into a string does not fail.
        let _ = writeln!(
            script,
            "\\copy {table} {direction} '{}/{table}.csv' csv",
            dir.display()
        );
    }
    // A distributed table is exported by a query; the file is the same.
    if direction == "to" {
        for table in TABLES {
            script = script.replace(
                &format!("\\copy {table} "),
                &format!("\\copy (select * from {table}) "),
            );
        }
    }
    script
}

#[allow(clippy::float_arithmetic)]
fn rate(invoices: u32, start: Instant) -> f64 {
    f64::from(invoices) / start.elapsed().as_secs_f64()
}

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}
