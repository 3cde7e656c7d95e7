//! Where an export that broke off goes on: after the last invoice that is whole in its file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};
use serde::Deserialize;
use uuid::Uuid;

use crate::cli::ExportFormat;
use crate::error::{Doing, Error, Result};

/// Bytes that are read at once, from the end backwards.
const BLOCK: u64 = 64 << 10;
/// A line is shorter than this: the server's own bound is 8 MiB.
const MAX_LINE: u64 = 16 << 20;

/// Where to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// The last invoice that stays.
    pub(super) after: Uuid,
    /// What stays of the file, in bytes.
    pub(super) length: u64,
}

/// Looks into the file; none when no invoice is whole. Blocks.
pub(super) fn point(path: &Path, format: ExportFormat) -> Result<Option<Point>> {
    let looked = match format {
        ExportFormat::Csv => of_records(path),
        ExportFormat::Ndjson | ExportFormat::Parquet => of_lines(path),
    };
    let alien = || Error::new(format!("{} is no export of this format", path.display()));
    looked
        .doing(|| format!("read {}", path.display()))?
        .ok_or_else(alien)
}

/// Found, or no export at all.
type Looked = std::io::Result<Option<Option<Point>>>;

fn of_lines(path: &Path) -> Looked {
    #[derive(Deserialize)]
    struct Line {
        id: Uuid,
    }
    let mut file = File::open(path)?;
    let total = file.metadata()?.len();
    let Some(end) = newline_before(&mut file, total)? else {
        // Not one line is whole: if it is an export, it has just begun.
        let mut start = [0; 1];
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.read(&mut start))?;
        let begun = read == 0 || (start == *b"{" && total < MAX_LINE);
        return Ok(begun.then_some(None));
    };
    let start = newline_before(&mut file, end)?.map_or(0, |at| at + 1);
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(end - start).read_to_end(&mut line)?;
    let line: Option<Line> = serde_json::from_slice(&line).ok();
    Ok(line.map(|Line { id: after }| {
        let length = end + 1;
        Some(Point { after, length })
    }))
}

/// The last newline before `end`.
fn newline_before(file: &mut File, end: u64) -> std::io::Result<Option<u64>> {
    let (mut until, floor) = (end, end.saturating_sub(MAX_LINE));
    while until > floor {
        let from = until.saturating_sub(BLOCK);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(until - from).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(from + at as u64));
        }
        until = from;
    }
    Ok(None)
}

/// Whether the last record is whole cannot be told from its end, which may be inside of quotes: it
/// is fetched again.
fn of_records(path: &Path) -> Looked {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::with_capacity(1 << 20, File::open(path)?));
    let mut record = ByteRecord::new();
    // Of the last two records: where each begins, and its first field.
    let mut last: [Option<(u64, Vec<u8>)>; 2] = [None, None];
    while reader
        .read_byte_record(&mut record)
        .map_err(std::io::Error::from)?
    {
        let at = record.position().map_or(0, csv::Position::byte);
        let first = record.get(0).unwrap_or_default().to_vec();
        if last[1].is_none() && !b"id".starts_with(&first) {
            return Ok(None);
        }
        last.rotate_left(1);
        last[1] = Some((at, first));
    }
    let [Some((_, before)), Some((at, _))] = last else {
        return Ok(Some(None));
    };
    if before == b"id" {
        return Ok(Some(None));
    }
    let Some(after) = Uuid::try_parse_ascii(&before).ok() else {
        return Ok(None);
    };
    let length = behind_terminator(path, at)?;
    Ok(Some(Some(Point { after, length })))
}

/// The reader begins a record behind the CR of the one before.
fn behind_terminator(path: &Path, at: u64) -> std::io::Result<u64> {
    let (mut file, mut byte) = (File::open(path)?, [0; 1]);
    file.seek(SeekFrom::Start(at))?;
    let newline = file.read(&mut byte)? == 1 && byte == *b"\n";
    Ok(at + u64::from(newline))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn look(content: &str, format: ExportFormat) -> Option<Option<Point>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        point(file.path(), format).ok()
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn lines_go_on_behind_the_last_whole_one_wherever_they_are_cut() {
        let lines = [1, 2, 3].map(|n| {
            format!(
                "{{\"id\":\"{}\",\"text\":\"{}\"}}\n",
                id(n),
                "x".repeat(40_000)
            )
        });
        let all = lines.concat();
        for cut in (0..=all.len()).step_by(997).chain([all.len()]) {
            let whole = (1..=3).rev().find(|n| lines[..*n].concat().len() <= cut);
            let expected = whole.map(|n| Point {
                after: id(n as u128),
                length: lines[..n].concat().len() as u64,
            });
            assert_eq!(
                look(&all[..cut], ExportFormat::Ndjson),
                Some(expected),
                "{cut}"
            );
        }
        assert_eq!(look("no export\n", ExportFormat::Ndjson), None);
        assert_eq!(look("no export", ExportFormat::Ndjson), None);
    }

    #[test]
    fn records_go_on_with_the_last_one_wherever_they_are_cut() {
        let record = |n| format!("{},\"a \"\"q\"\"\r\nb\",x\r\n", id(n));
        let parts = [
            "id,address,y\r\n".to_owned(),
            record(1),
            record(2),
            record(3),
        ];
        let all = parts.concat();
        for cut in 0..=all.len() {
            let Some(found) = look(&all[..cut], ExportFormat::Csv) else {
                assert!(cut > 0, "{cut}");
                unreachable!("an export at {cut}");
            };
            // What stays, with what comes behind it, is the whole again.
            let (kept, next) = match &found {
                None => (String::new(), 0),
                Some(point) => {
                    let kept = all[..usize::try_from(point.length).unwrap()].to_owned();
                    let next = (1..=3).find(|n| id(*n) == point.after).unwrap();
                    (kept, usize::try_from(next).unwrap() + 1)
                }
            };
            assert_eq!(kept + &parts[next..].concat(), all, "{cut}");
        }
        assert_eq!(look("number,id\r\n1,2\r\n", ExportFormat::Csv), None);
    }
}
