//! The all-or-nothing upload: validated and spooled to disk first, then written in one transaction.
//!
//! Two passes, because a transaction must not stay open while a client is slow, and because tenants
//! are made only when every line is good.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;
use sheaf_model::Period;
use sheaf_model::id::year_of;
use sheaf_store::AtomicUpload;
use sheaf_web::error::BodyError;

use super::lease::Lease;
use super::lines::{End, LineReader, Numbered};
use super::options::Owner;
use super::parse::Parser;
use super::quota::Held;
use super::stream::Chunk;
use super::summary::Summary;
use crate::config::BulkConfig;
use crate::error::ApiError;
use crate::state::Shared;

/// Runs the upload: everything lands, or nothing.
pub(super) async fn run(
    app: &Shared,
    owner: Owner,
    mut parser: Parser,
    mut reader: LineReader,
    (mut held, lease): (Held, Option<Lease>),
) -> Result<Vec<u8>, ApiError> {
    let config = &app.bulk;
    let mut summary = Summary::new(config.max_errors);
    let mut years = BTreeSet::new();
    let mut keep = Keep {
        held: &mut held,
        summary: &mut summary,
        years: &mut years,
    };
    let checked = check_all(config, &mut parser, &mut reader, &mut keep).await;
    let spool = match checked {
        Ok(spool) => spool,
        Err(cause) if summary.received == 0 => return Err(cause),
        Err(cause) => return Err(stopped(cause, summary)),
    };
    if summary.rejected > 0 {
        return Err(ApiError::BulkRejected(summary.members()));
    }
    let fingerprint = reader.into_source().fingerprint();
    let written = write_all(app, owner, parser, spool, &years, &mut summary).await;
    let upload = match written {
        Ok(upload) => upload,
        Err(cause) => return Err(stopped(cause, summary)),
    };
    if summary.rejected > 0 {
        upload.rollback();
        summary.created = 0;
        return Err(ApiError::BulkRejected(summary.members()));
    }
    // The answer commits with the lines: whoever sends the upload again finds both, or neither.
    let body = summary.to_json()?;
    let kept = lease
        .as_ref()
        .map(|lease| lease.answer(fingerprint.unwrap_or_default(), &body));
    if let Err(cause) = upload.commit(kept).await {
        return Err(stopped(cause.into(), summary));
    }
    summary.record();
    if let Some(lease) = lease {
        lease.finished();
    }
    Ok(body)
}

fn stopped(cause: ApiError, mut summary: Summary) -> ApiError {
    summary.created = 0;
    summary.duplicates = 0;
    ApiError::BulkStopped {
        cause: Box::new(cause),
        members: summary.members(),
    }
}

/// What the first pass finds out and keeps.
struct Keep<'a> {
    held: &'a mut Held,
    summary: &'a mut Summary,
    years: &'a mut BTreeSet<i16>,
}

/// First pass: validates every line and keeps it. Once a line was rejected, the rest is validated
/// only.
async fn check_all(
    config: &BulkConfig,
    parser: &mut Parser,
    reader: &mut LineReader,
    keep: &mut Keep<'_>,
) -> Result<Spool, ApiError> {
    let Keep {
        held,
        summary,
        years,
    } = keep;
    let dir = config.spool_dir.clone();
    let mut spool = tokio::task::spawn_blocking(move || Spool::create(dir.as_deref())).await??;
    loop {
        let batch = reader.next_batch().await;
        if reader.bytes() > config.spool_limit {
            return Err(BodyError::TooLarge(config.spool_limit).into());
        }
        summary.received += batch.lines.len() as u64;
        if summary.rejected == 0 {
            let lines = batch.lines.clone();
            held.spool(Spool::bytes_of(&lines))?;
            spool = tokio::task::spawn_blocking(move || spool.append(&lines)).await??;
        }
        let parsed = parser.parse(batch.lines).await?;
        for error in parsed.errors {
            summary.reject(error);
        }
        for ready in &parsed.ready {
            // Those of the invoice, and of a customer that it may make.
            years.insert(year_of(ready.new.invoice.id));
            years.insert(Period::of_date(ready.new.at.date_naive()).year);
        }
        match batch.end {
            End::Full => {}
            End::Done => return Ok(spool),
            End::Failed(error) => return Err(error.into()),
        }
    }
}

/// Second pass: writes what was kept, all but the commit. Rejections are left in the summary; with
/// any, nothing may stay.
async fn write_all(
    app: &Shared,
    owner: Owner,
    mut parser: Parser,
    spool: Spool,
    years: &BTreeSet<i16>,
    summary: &mut Summary,
) -> Result<AtomicUpload, ApiError> {
    parser.tenants.create_left().await?;
    let tenant = match owner {
        Owner::Tenant(tenant) => Some(tenant),
        Owner::Platform => None,
    };
    let mut upload = app.store.begin_atomic(tenant, years).await?;
    write_lines(&app.bulk, &mut parser, spool, &mut upload, summary).await?;
    Ok(upload)
}

async fn write_lines(
    config: &BulkConfig,
    parser: &mut Parser,
    spool: Spool,
    upload: &mut AtomicUpload,
    summary: &mut Summary,
) -> Result<(), ApiError> {
    let mut stored = tokio::task::spawn_blocking(move || spool.rewind()).await??;
    let mut chunk = Chunk::default();
    let batch_lines = config.batch_lines;
    let batch_bytes = config.batch_bytes;
    loop {
        let (lines, rest) =
            tokio::task::spawn_blocking(move || stored.batch(batch_lines, batch_bytes)).await??;
        stored = rest;
        let ended = lines.is_empty();
        let parsed = parser.parse(lines).await?;
        // A line was good before; it can still go bad when its tenant was too many.
        for error in parsed.errors {
            summary.reject(error);
        }
        for ready in parsed.ready {
            chunk.push(ready);
        }
        if (ended && !chunk.is_empty()) || chunk.is_full(config) {
            let (numbers, invoices) = std::mem::take(&mut chunk).into_parts();
            let outcomes = upload.write(invoices).await?;
            for (line, outcome) in numbers.into_iter().zip(outcomes) {
                summary.count(line, outcome);
            }
        }
        if ended || summary.rejected > 0 {
            return Ok(());
        }
    }
}

/// Lines on disk: number, length, bytes. The file has no name and goes with its handle.
struct Spool(BufWriter<File>);

impl Spool {
    fn create(dir: Option<&Path>) -> io::Result<Self> {
        let file = dir.map_or_else(tempfile::tempfile, tempfile::tempfile_in)?;
        Ok(Self(BufWriter::with_capacity(256 << 10, file)))
    }

    /// What the lines come to on the disk.
    fn bytes_of(lines: &[Numbered]) -> u64 {
        let texts = lines.iter().filter_map(|line| line.text.as_ref());
        texts.map(|text| text.len() as u64 + 16).sum()
    }

    fn append(mut self, lines: &[Numbered]) -> io::Result<Self> {
        for line in lines {
            let Some(text) = &line.text else { continue };
            self.0.write_all(&line.number.to_le_bytes())?;
            self.0.write_all(&(text.len() as u64).to_le_bytes())?;
            self.0.write_all(text)?;
        }
        Ok(self)
    }

    fn rewind(self) -> io::Result<Stored> {
        let mut file = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Stored(BufReader::with_capacity(256 << 10, file)))
    }
}

/// A spool being read back.
struct Stored(BufReader<File>);

impl Stored {
    /// The next lines; none at the end.
    fn batch(mut self, max_lines: usize, max_bytes: usize) -> io::Result<(Vec<Numbered>, Self)> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < max_lines && bytes < max_bytes {
            let mut number = [0; 8];
            match self.0.read_exact(&mut number) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let mut length = [0; 8];
            self.0.read_exact(&mut length)?;
            let mut text =
                vec![0; usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?];
            self.0.read_exact(&mut text)?;
            bytes += text.len();
            lines.push(Numbered {
                number: u64::from_le_bytes(number),
                text: Some(Bytes::from(text)),
            });
        }
        Ok((lines, self))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_spool_gives_back_its_lines_in_batches() {
        let line = |number, text: &'static str| Numbered {
            number,
            text: Some(Bytes::from_static(text.as_bytes())),
        };
        let lines = [line(1, "one"), line(3, "three"), line(4, "four")];
        let stored = Spool::create(None)
            .unwrap()
            .append(&lines)
            .unwrap()
            .rewind()
            .unwrap();
        let (first, stored) = stored.batch(2, 1000).unwrap();
        let (second, stored) = stored.batch(2, 1000).unwrap();
        assert_eq!(
            (first.as_slice(), second.as_slice()),
            (&lines[..2], &lines[2..])
        );
        assert!(stored.batch(2, 1000).unwrap().0.is_empty());
    }
}
