//! The log, on stderr.

use opentelemetry_sdk::trace::SdkTracer;
use sheaf_store::SPANS;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::error::{Error, Result};
use crate::serve::traces;
use crate::settings::LogFormat;
use crate::terminal::output;

/// The filter of a command, unless it has a setting of its own or SHEAF_LOG is set.
/// What AWS' library warns of comes in the error as well, and in words.
pub(crate) const QUIET: &str = "warn,aws_config=error";

/// Starts logging.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Error::new(format!("the log filter cannot be read: {error}")))?;
    let no_spans = format!("{SPANS}=off")
        .parse::<Directive>()
        .map_err(|error| Error::new(format!("the log filter cannot be read: {error}")))?;
    // Spans are for traces; the log is as it would be without.
    let filter = filter.add_directive(no_spans);
    if let Some(tracer) = traces::tracer()? {
        return start_traced(filter, format, tracer);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::coloured(&std::io::stderr()));
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| Error::new(format!("cannot start the log: {error}")))
}

/// The same log, beside traces.
fn start_traced(filter: EnvFilter, format: LogFormat, tracer: SdkTracer) -> Result<()> {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(output::coloured(&std::io::stderr()));
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .with(traces::layer(tracer))
        .try_init()
        .map_err(|error| Error::new(format!("cannot start the log: {error}")))
}

/// Starts logging with SHEAF_LOG, with what the file of settings says, or with `default`.
pub(crate) fn start_or(configured: Option<&str>, default: &str) -> Result<()> {
    let filter = std::env::var("SHEAF_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter = filter.as_deref().or(configured);
    start(filter.unwrap_or(default), LogFormat::Text)
}
