//! Spans of traces (docs/monitoring.md). They have a target of their own, so that the log has
//! nothing to do with them: where no traces are collected, none is made.

use tracing::{Level, Span};

/// The target of all spans.
pub const SPANS: &str = "sheaf::span";

/// The span that the caller is in, where traces are collected.
pub fn current() -> Option<Span> {
    let collected = tracing::span_enabled!(target: SPANS, Level::INFO);
    collected.then(Span::current)
}
