//! The journal of calls: in memory for the judge, and in a file for a person who looks for the
//! cause.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::history::Call;
use super::judge::Violation;
use super::money;

/// Bytes of the file at most; what comes later is judged but not written there.
const MAX_FILE: u64 = 4 << 30;

#[derive(Default)]
struct Kept {
    calls: Vec<Call>,
    violations: Vec<Violation>,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

/// The calls of a run.
#[derive(Default)]
pub(super) struct Journal {
    kept: Mutex<Kept>,
}

#[derive(Serialize)]
struct Line<'a> {
    call: &'a Call,
    invoices: &'a [String],
}

impl Journal {
    /// A journal that is also written to this file, a JSON object a line.
    pub(super) fn new(file: Option<&Path>) -> io::Result<Self> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self {
            kept: Mutex::new(Kept {
                file,
                ..Kept::default()
            }),
        })
    }

    fn kept<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down a call that is over, with the invoices that it was answered.
    pub(super) fn write(&self, call: Call, invoices: &[String]) {
        let line = serde_json::to_vec(&Line {
            call: &call,
            invoices,
        })
        .unwrap_or_default();
        self.kept(|kept| {
            let bytes = kept.bytes + line.len() as u64 + 1;
            if let Some(file) = kept.file.as_mut().filter(|_| bytes <= MAX_FILE) {
                kept.bytes = bytes;
                // A full disk must not end the run: the judge needs no file.
                let _unwritten = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
            }
            kept.calls.push(call);
        });
    }

    /// Adds an invoice's figures up.
    pub(super) fn arithmetic(&self, call: &str, invoice: &Value) {
        for fault in money::faults(invoice) {
            self.note(
                "sum_off",
                format!("{call}: invoice {}: {fault}", invoice["id"]),
            );
        }
    }

    /// Notes an invoice of another tenant.
    pub(super) fn stranger(&self, call: &str, invoice: &Value) {
        let text = format!(
            "{call} was shown {} of tenant {}",
            invoice["id"], invoice["tenant_id"]
        );
        self.note("foreign_row", text);
    }

    fn note(&self, kind: &'static str, text: String) {
        self.kept(|kept| kept.violations.push(Violation { kind, text }));
    }

    /// What was written down.
    pub(super) fn take(&self) -> (Vec<Call>, Vec<Violation>) {
        self.kept(|kept| {
            if let Some(file) = &mut kept.file {
                let _unwritten = file.flush();
            }
            (
                std::mem::take(&mut kept.calls),
                std::mem::take(&mut kept.violations),
            )
        })
    }
}
