//! Progress on stderr: a bar in a terminal, else a line now and then.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::terminal::output;

const LINE_EVERY: Duration = Duration::from_secs(10);
const FIRST_LINE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of an upload.
    Bytes,
    /// Bytes of a download.
    Received,
    /// Invoices of a tiering run.
    Invoices,
    /// Objects that are looked at.
    Objects,
}

/// A piece of work under way.
pub(crate) struct Bar {
    bar: ProgressBar,
    unit: Unit,
    /// When the last line was printed; `None` in a terminal, which draws.
    line: Option<Mutex<Instant>>,
}

impl Bar {
    /// Begins; `total` is known of files only.
    pub(crate) fn new(unit: Unit, total: Option<u64>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::no_length()
        } else {
            ProgressBar::hidden()
        };
        if let Some(total) = total {
            bar.set_length(total);
        }
        let template = match (unit, total) {
            (Unit::Bytes | Unit::Received, Some(_)) => {
                "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}"
            }
            (Unit::Bytes | Unit::Received, None) => "{spinner} {bytes}, {bytes_per_sec} {msg}",
            (Unit::Invoices, _) => "{spinner} {human_pos} invoices, {per_sec} {msg}",
            (Unit::Objects, _) => "{spinner} {human_pos} objects {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if terminal {
            bar.enable_steady_tick(TICK);
        }
        Self {
            bar,
            unit,
            line: (!terminal).then(|| Mutex::new(Instant::now())),
        }
    }

    /// So much more is done.
    pub(crate) fn add(&self, by: u64) {
        self.bar.inc(by);
        self.line_when_due();
    }

    fn line_when_due(&self) {
        let Some(line) = &self.line else { return };
        let mut last = line.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let what = self.bar.message();
            let at = match what.as_str() {
                "" => String::new(),
                what => format!(", at {what}"),
            };
            output::note(&format!("{}{at}", self.said()));
        }
    }

    /// What is being done now.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.line_when_due();
    }

    /// Clears the line for what is printed next.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn said(&self) -> String {
        let done = self.bar.position();
        match (self.unit, self.bar.length()) {
            (Unit::Bytes, Some(total)) => {
                format!("sent {} of {}", HumanBytes(done), HumanBytes(total))
            }
            (Unit::Bytes, None) => format!("sent {}", HumanBytes(done)),
            (Unit::Received, Some(total)) => {
                format!("received {} of {}", HumanBytes(done), HumanBytes(total))
            }
            (Unit::Received, None) => format!("received {}", HumanBytes(done)),
            (Unit::Invoices, _) => format!("{} invoices so far", HumanCount(done)),
            (Unit::Objects, _) => format!("{} objects so far", HumanCount(done)),
        }
    }
}

/// Work of which nothing can be counted: a spinner with the time in a terminal, else a line for
/// each step that begins after the first second.
pub(crate) struct Waiting {
    bar: ProgressBar,
    began: Instant,
    terminal: bool,
}

impl Waiting {
    /// Begins with a step.
    pub(crate) fn new(what: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = match terminal {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        if terminal {
            bar.enable_steady_tick(TICK);
        }
        Self {
            bar,
            began: Instant::now(),
            terminal,
        }
    }

    /// Another step begins.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if !self.terminal && self.began.elapsed() >= FIRST_LINE {
            output::note(what);
        }
    }
}

/// What is printed next finds the line clear, also after an error.
impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl sheaf_archive::Progress for Bar {
    fn begin(&self, what: &str) {
        self.say(what);
    }

    fn advance(&self, by: u64) {
        self.add(by);
    }
}
