//! Traces by OpenTelemetry, where `OTEL_EXPORTER_OTLP_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says where they go.
//!
//! Spans go to the collector in batches, from a thread of their own and through a bounded queue: a
//! collector that is slow or away costs spans, and no request waits for it. All other settings are
//! those of OpenTelemetry (`OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_SERVICE_NAME`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::counter;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Config, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample, SpanData,
    SpanExporter,
};
use sheaf_store::SPANS;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, Result};

/// Where the collector is.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// What the service is called unless a setting says otherwise.
const SERVICE: &str = "sheaf";
/// For the last spans, at the end of the process.
const LAST: Duration = Duration::from_secs(5);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What makes spans, if they are to go anywhere.
pub(crate) fn tracer() -> Result<Option<SdkTracer>> {
    let is_set = |name| std::env::var(name).is_ok_and(|value: String| !value.is_empty());
    if !ENDPOINTS.into_iter().any(is_set)
        || std::env::var("OTEL_SDK_DISABLED").is_ok_and(|off| off == "true")
    {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .map_err(|error| Error::new(format!("traces cannot be sent: {error}")))?;
    let named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]
        .into_iter()
        .any(is_set);
    let mut resource = Resource::builder();
    if !named {
        resource = resource.with_service_name(SERVICE);
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_sampler(WithLinks(Config::default().sampler))
        .with_resource(resource.with_attribute(version).build())
        .with_batch_exporter(Told::new(exporter))
        .build();
    let tracer = provider.tracer(SERVICE);
    let _first = PROVIDER.set(provider);
    Ok(Some(tracer))
}

/// The layer that makes traces of our spans, and of nothing else.
pub(crate) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    OpenTelemetryLayer::new(tracer)
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO))
}

/// Sends the last spans, and ends it. Blocks.
pub(crate) fn end() {
    if let Some(provider) = PROVIDER.get() {
        // Whoever does not get them in time goes without.
        let _sent = provider.shutdown_with_timeout(LAST);
    }
}

/// As the settings say; but a batch is sampled if one of the requests in it is. By itself it would
/// be, of few traces, hardly ever one that somebody looks for.
#[derive(Clone, Debug)]
struct WithLinks(Box<dyn ShouldSample>);

impl ShouldSample for WithLinks {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        if !is_root || links.is_empty() {
            return self
                .0
                .should_sample(parent, trace, name, kind, attributes, links);
        }
        let is_sampled = links.iter().any(|link| link.span_context.is_sampled());
        SamplingResult {
            decision: if is_sampled {
                SamplingDecision::RecordAndSample
            } else {
                SamplingDecision::Drop
            },
            attributes: Vec::new(),
            trace_state: Default::default(),
        }
    }
}

/// Counts what is sent and what is lost, and says once when the collector goes away, and once when
/// it is back.
#[derive(Debug)]
struct Told<E> {
    inner: E,
    is_away: AtomicBool,
}

impl<E> Told<E> {
    fn new(inner: E) -> Self {
        for outcome in ["sent", "lost"] {
            counter!("sheaf_trace_spans_total", "outcome" => outcome).increment(0);
        }
        Self {
            inner,
            is_away: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.inner.export(batch).await;
        let outcome = if sent.is_ok() { "sent" } else { "lost" };
        counter!("sheaf_trace_spans_total", "outcome" => outcome).increment(spans);
        let was_away = self.is_away.swap(sent.is_err(), Ordering::Relaxed);
        match (&sent, was_away) {
            (Err(error), false) => {
                tracing::warn!(%error, "the collector of traces does not take them; spans are lost \
                    until it does");
            }
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};
    use opentelemetry_sdk::trace::Sampler;

    use super::*;

    #[test]
    fn a_batch_is_sampled_with_any_of_its_requests() {
        let sampler = WithLinks(Box::new(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))));
        let link = |flags| {
            let of = SpanContext::new(
                TraceId::from(7_u128),
                SpanId::from(7_u64),
                flags,
                false,
                TraceState::default(),
            );
            Link::with_context(of)
        };
        let decided = |links: &[Link]| {
            let trace = TraceId::from(9_u128);
            let result =
                sampler.should_sample(None, trace, "batch", &SpanKind::Internal, &[], links);
            result.decision
        };
        let (yes, no) = (link(TraceFlags::SAMPLED), link(TraceFlags::default()));
        assert_eq!(
            decided(&[no.clone(), yes]),
            SamplingDecision::RecordAndSample
        );
        assert_eq!(decided(&[no]), SamplingDecision::Drop);
        assert_eq!(decided(&[]), SamplingDecision::Drop);
    }
}
