//! `sheaf archive export`, through the HTTP API.

use std::path::Path;
use std::time::Duration;

use reqwest::Response;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::cli::{ExportArgs, ExportFormat, ExportTier};
use crate::client::{Client, reason};
use crate::error::{Doing, Error, Result};
use crate::terminal::bar::{Bar, Unit};
use crate::terminal::output;

pub(crate) mod objects;
pub(crate) mod resume;

use resume::Point;

/// A server that says nothing for so long has gone.
const SILENCE: Duration = Duration::from_mins(2);

/// Exports to a file, a directory, or stdout.
pub(crate) async fn run(args: &ExportArgs) -> Result<()> {
    check(args)?;
    let client = Client::new(&args.api.url, args.api.api_key()?)?;
    match (args.format, &args.download) {
        (ExportFormat::Parquet, Some(dir)) => {
            objects::download(&client, &path(args, None), dir).await
        }
        (ExportFormat::Parquet, None) => {
            let manifest = client.get(&path(args, None)).await?;
            let manifest = manifest.map_err(|problem| Error::new(problem.to_string()))?;
            match &args.out {
                None => output::json(&manifest),
                Some(out) => tokio::fs::write(out, manifest.to_string())
                    .await
                    .doing(|| format!("write {}", out.display())),
            }
        }
        _ => lines(&client, args).await,
    }
}

fn check(args: &ExportArgs) -> Result<()> {
    let wrong = match args.format {
        ExportFormat::Parquet if args.tier.is_some() => "--format parquet is of the cold tier",
        ExportFormat::Parquet if args.resume && args.download.is_none() => {
            "a manifest is not resumed; --download is, by itself"
        }
        ExportFormat::Parquet => return Ok(()),
        _ if args.download.is_some() => "--download goes with --format parquet",
        _ if args.resume && args.out.is_none() => "--resume needs the file that --out names",
        _ => return Ok(()),
    };
    Err(Error::new(wrong))
}

fn path(args: &ExportArgs, point: Option<&Point>) -> String {
    let format = match args.format {
        ExportFormat::Ndjson => "ndjson",
        ExportFormat::Csv => "csv",
        ExportFormat::Parquet => "parquet",
    };
    let mut path = format!("v1/archive/export?format={format}");
    let years = [("from", args.from), ("to", args.to)];
    for (name, year) in years.into_iter().filter_map(|(n, y)| Some((n, y?))) {
        path.push_str(&format!("&{name}={year}"));
    }
    if let Some(tier) = args.tier {
        path.push_str(match tier {
            ExportTier::All => "&tier=all",
            ExportTier::Hot => "&tier=hot",
            ExportTier::Cold => "&tier=cold",
        });
    }
    if let Some(point) = point {
        path.push_str(&format!("&after={}", point.after));
    }
    path
}

async fn lines(client: &Client, args: &ExportArgs) -> Result<()> {
    let Some(out) = &args.out else {
        let answer = client.get_streamed(&path(args, None)).await?;
        return copy(answer, args.format, &mut tokio::io::stdout()).await;
    };
    let doing = || format!("write {}", out.display());
    let (mut file, point) = open(out, args).await?;
    let answer = client.get_streamed(&path(args, point.as_ref())).await?;
    let copied = copy(answer, args.format, &mut file).await;
    // What has come is kept, whatever happened to the rest.
    file.sync_all().await.doing(doing)?;
    copied.map_err(|error| {
        Error::new(format!(
            "{error}; what came is in {}: --resume goes on from there",
            out.display()
        ))
    })
}

/// The file, and where an export that broke off goes on.
async fn open(out: &Path, args: &ExportArgs) -> Result<(File, Option<Point>)> {
    let doing = || format!("open {}", out.display());
    let exists = tokio::fs::try_exists(out).await.doing(doing)?;
    if !exists {
        let file = File::create_new(out).await.doing(doing)?;
        return Ok((file, None));
    }
    if !args.resume {
        let sentence = format!(
            "{} is there already; --resume goes on with an export that broke off",
            out.display()
        );
        return Err(Error::new(sentence));
    }
    let (path, format) = (out.to_owned(), args.format);
    let point = tokio::task::spawn_blocking(move || resume::point(&path, format))
        .await
        .map_err(|error| Error::new(error.to_string()))??;
    let mut file = OpenOptions::new()
        .write(true)
        .open(out)
        .await
        .doing(doing)?;
    let length = point.as_ref().map_or(0, |point| point.length);
    file.set_len(length).await.doing(doing)?;
    tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::End(0))
        .await
        .doing(doing)?;
    if let Some(point) = &point {
        output::note(&format!("goes on after invoice {}", point.after));
    }
    Ok((file, point))
}

/// Copies as it comes; a broken answer is an error after what came of it.
async fn copy(
    mut answer: Response,
    format: ExportFormat,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    let unit = match format {
        ExportFormat::Ndjson => Unit::Invoices,
        ExportFormat::Csv | ExportFormat::Parquet => Unit::Received,
    };
    let bar = Bar::new(unit, None);
    let copied = async {
        while let Some(chunk) = next(&mut answer).await? {
            to.write_all(&chunk)
                .await
                .doing(|| "write the export".to_owned())?;
            let done = match unit {
                Unit::Invoices => chunk.iter().filter(|byte| **byte == b'\n').count(),
                _ => chunk.len(),
            };
            bar.add(done as u64);
        }
        Ok(())
    };
    let copied = copied.await;
    bar.finish();
    to.flush().await.doing(|| "write the export".to_owned())?;
    copied
}

/// The next bytes of an answer that may take long.
async fn next(answer: &mut Response) -> Result<Option<tokio_util::bytes::Bytes>> {
    match timeout(SILENCE, answer.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => {
            let reason = reason(&error);
            Err(Error::new(format!(
                "the server's answer broke off: {reason}"
            )))
        }
        Err(_) => Err(Error::new("the server says nothing any more")),
    }
}
