//! Progress of moves on stderr: a bar in a terminal, else a line when something changed.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use sheaf_store::Move;

use crate::terminal::output;

const TICK: Duration = Duration::from_millis(120);

/// Moves under way.
pub(super) struct Progress {
    bar: ProgressBar,
    /// What was said last; `None` in a terminal, which draws.
    said: Option<Mutex<String>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::no_length()
        } else {
            ProgressBar::hidden()
        };
        if terminal {
            bar.enable_steady_tick(TICK);
        }
        let progress = Self {
            bar,
            said: (!terminal).then(|| Mutex::new(String::new())),
        };
        progress.style("{spinner} {elapsed} {msg}");
        progress
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    /// `tasks`: done and all, of a job.
    pub(super) fn show(&self, tasks: Option<(i64, i64)>, moves: &[Move]) {
        let unsigned = |number| u64::try_from(number).unwrap_or(0);
        if let Some((done, all)) = tasks {
            if self.bar.length().is_none() {
                self.style("{bar:30} {pos} of {len} moves, {elapsed} {msg}");
            }
            self.bar.set_length(unsigned(all));
            self.bar.set_position(unsigned(done));
        }
        let phases: Vec<String> = moves.iter().map(describe).collect();
        self.bar.set_message(phases.join(" | "));
        let Some(said) = &self.said else { return };
        // Bytes change all the time; a line is worth it for another phase or another move.
        let mut line = tasks.map_or_else(String::new, |(done, all)| {
            format!("{done} of {all} moves done; ")
        });
        for one in moves {
            line.push_str(&format!(
                "{} -> {} {}; ",
                one.from,
                one.to,
                one.phase.as_deref().unwrap_or_default()
            ));
        }
        let line = line.trim_end_matches("; ").to_owned();
        let mut last = said.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_empty() && *last != line {
            output::note(&line);
            *last = line;
        }
    }

    /// A remark above the bar.
    pub(super) fn note(&self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }

    /// Clears the line for what is printed next.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn describe(one: &Move) -> String {
    let bytes = |bytes| HumanBytes(u64::try_from(bytes).unwrap_or(0));
    format!(
        "{} -> {} {}, {} of {}",
        one.from,
        one.to,
        one.phase.as_deref().unwrap_or_default(),
        bytes(one.copied),
        bytes(one.bytes)
    )
}
