//! The span of a request, where traces are collected: it goes on with the trace that the client
//! sent (W3C Trace Context), and the batches that the request takes part in are linked to it.

use axum::http::{HeaderMap, Method};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use sheaf_store::SPANS;
use tracing::Span;
use tracing::field::{Empty, display};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::auth::caller::Caller;
use crate::observe::request_id::{sent_trace, traceparent};

/// Probes come every few seconds, and their traces say nothing.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Begins a request's span, with the `traceparent` that it is answered with.
pub(crate) fn begin(
    method: &Method,
    route: &str,
    request_id: &str,
    headers: &HeaderMap,
) -> (Span, String) {
    if PROBES.contains(&route) {
        return (Span::none(), traceparent(headers));
    }
    let span = tracing::info_span!(
        target: SPANS,
        parent: None,
        "request",
        otel.kind = "server",
        otel.name = Empty,
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        sheaf.request_id = request_id,
        sheaf.tenant_id = Empty,
    );
    if span.is_disabled() {
        return (span, traceparent(headers));
    }
    span.record("otel.name", display(format_args!("{method} {route}")));
    if let Some(parent) = sent_trace(headers).and_then(parent) {
        // It has not begun: that it has a parent already cannot be.
        let _set = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    let ours = span.context();
    let ours = ours.span().span_context().clone();
    let flags = ours.trace_flags().to_u8();
    let trace = format!("00-{}-{}-{flags:02x}", ours.trace_id(), ours.span_id());
    (span, trace)
}

/// Enters what became of the request.
pub(crate) fn end(span: &Span, status: u16, caller: &Caller) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "error");
    }
    if let Some(auth) = caller.auth.get() {
        span.record("sheaf.tenant_id", display(auth.tenant_id));
    }
}

fn parent((trace, span, flags): (&str, &str, &str)) -> Option<SpanContext> {
    Some(SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    ))
}
