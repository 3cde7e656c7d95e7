//! Bytes into numbered lines, and lines into batches.

use bytes::{Buf as _, Bytes, BytesMut};
use sheaf_web::error::BodyError;

use super::source::Source;
use crate::config::BulkConfig;

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// From 1; blank lines count.
    pub(super) number: u64,
    /// `None` when the line was too long to keep.
    pub(super) text: Option<Bytes>,
}

/// How a batch ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is full; another follows.
    Full,
    /// The upload ended.
    Done,
    /// The upload broke off. The lines of the batch are complete ones.
    Failed(BodyError),
}

/// Lines to be parsed in one go.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lines: Vec<Numbered>,
    pub(super) end: End,
}

/// What some editors put in front of UTF-8.
const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";

fn mark_in(bytes: &[u8]) -> usize {
    match bytes.starts_with(&BYTE_ORDER_MARK) {
        true => BYTE_ORDER_MARK.len(),
        false => 0,
    }
}

/// Cuts the stream at newlines. Holds one line of bounded length and one frame.
struct Splitter {
    buffer: BytesMut,
    /// Bytes of the buffer without a newline.
    scanned: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
    limit: usize,
    number: u64,
}

impl Splitter {
    fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            skipping: false,
            limit,
            number: 0,
        }
    }

    /// The next complete line that is not blank.
    fn next(&mut self) -> Option<Numbered> {
        loop {
            let Some(found) = self.buffer[self.scanned..]
                .iter()
                .position(|byte| *byte == b'\n')
            else {
                self.scanned = self.buffer.len();
                if self.scanned > self.limit + self.mark() {
                    self.buffer.clear();
                    self.scanned = 0;
                    self.skipping = true;
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.scanned + found + 1);
            line.truncate(line.len() - 1);
            self.scanned = 0;
            if let Some(line) = self.end_line(line.freeze()) {
                return Some(line);
            }
        }
    }

    /// What stands after the last newline, once the upload ended properly.
    fn rest(&mut self) -> Option<Numbered> {
        let line = self.buffer.split().freeze();
        self.scanned = 0;
        if line.is_empty() && !self.skipping {
            None
        } else {
            self.end_line(line)
        }
    }

    /// The length of the mark that the buffer begins with, which does not count as the line's.
    fn mark(&self) -> usize {
        match self.number {
            0 => mark_in(&self.buffer),
            _ => 0,
        }
    }

    fn end_line(&mut self, mut line: Bytes) -> Option<Numbered> {
        self.number += 1;
        let number = self.number;
        if number == 1 {
            line.advance(mark_in(&line));
        }
        if std::mem::take(&mut self.skipping) || line.len() > self.limit {
            return Some(Numbered { number, text: None });
        }
        let blank = line.trim_ascii().is_empty();
        (!blank).then_some(Numbered {
            number,
            text: Some(line),
        })
    }
}

/// Reads batches of lines.
pub(super) struct LineReader {
    source: Source,
    splitter: Splitter,
    batch_lines: usize,
    batch_bytes: usize,
    bytes: u64,
}

impl LineReader {
    pub(super) fn new(source: Source, config: &BulkConfig, line_limit: usize) -> Self {
        Self {
            source,
            splitter: Splitter::new(line_limit),
            batch_lines: config.batch_lines,
            batch_bytes: config.batch_bytes,
            bytes: 0,
        }
    }

    /// The source, for its fingerprint.
    pub(super) fn into_source(self) -> Source {
        self.source
    }

    /// Decoded bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next lines, up to the bounds of a batch.
    pub(super) async fn next_batch(&mut self) -> Batch {
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(line) = self.splitter.next() {
                bytes += line.text.as_ref().map_or(0, Bytes::len);
                lines.push(line);
                if lines.len() >= self.batch_lines || bytes >= self.batch_bytes {
                    return Batch {
                        lines,
                        end: End::Full,
                    };
                }
            }
            match self.source.next().await {
                Ok(Some(read)) => {
                    self.bytes += read.len() as u64;
                    self.splitter.buffer.extend_from_slice(&read);
                }
                Ok(None) => {
                    lines.extend(self.splitter.rest());
                    return Batch {
                        lines,
                        end: End::Done,
                    };
                }
                Err(error) => {
                    return Batch {
                        lines,
                        end: End::Failed(error),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(frames: &[&str], limit: usize) -> Vec<(u64, Option<String>)> {
        let mut splitter = Splitter::new(limit);
        let mut lines = Vec::new();
        for frame in frames {
            splitter.buffer.extend_from_slice(frame.as_bytes());
            while let Some(line) = splitter.next() {
                lines.push(line);
            }
            assert!(
                splitter.buffer.len() <= limit + splitter.mark(),
                "no more than a line is kept"
            );
        }
        lines.extend(splitter.rest());
        let text = |line: Bytes| String::from_utf8_lossy(&line).into_owned();
        lines
            .into_iter()
            .map(|line| (line.number, line.text.map(text)))
            .collect()
    }

    fn line(number: u64, text: &str) -> (u64, Option<String>) {
        (number, Some(text.to_owned()))
    }

    #[test]
    fn lines_do_not_depend_on_frames() {
        let expected = [line(1, "one"), line(4, "two"), line(5, "last")];
        assert_eq!(split(&["one\n\n  \r\ntwo\nlast"], 10), expected);
        assert_eq!(
            split(&["o", "ne", "\n", "\n  \r", "\nt", "wo\nla", "st"], 10),
            expected
        );
        assert_eq!(split(&["one\n\n\ntwo\nlast\n"], 10), expected);
    }

    #[test]
    fn a_byte_order_mark_at_the_beginning_is_no_part_of_the_line() {
        let expected = [line(1, "one"), line(2, "\u{feff}two")];
        assert_eq!(split(&["\u{feff}one\n\u{feff}two"], 10), expected);
        assert_eq!(split(&["\u{feff}\n"], 10), []);
        for frames in [&["\u{feff}12345\n"][..], &["\u{feff}123", "45", "\n"]] {
            assert_eq!(split(frames, 5), [line(1, "12345")]);
        }
        assert_eq!(split(&["\u{feff}123", "456", "\n"], 5), [(1, None)]);
    }

    #[test]
    fn a_long_line_is_skipped_to_its_end() {
        assert_eq!(
            split(&["12345\n123456\n1\n"], 5),
            [line(1, "12345"), (2, None), line(3, "1")]
        );
        assert_eq!(
            split(&["123", "456", "789", "0\nok\n"], 5),
            [(1, None), line(2, "ok")]
        );
        assert_eq!(
            split(&["ok\n123", "456", "7"], 5),
            [line(1, "ok"), (2, None)]
        );
    }
}
