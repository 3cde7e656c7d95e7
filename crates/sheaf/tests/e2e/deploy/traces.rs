//! Traces: what a collector receives, and that one which is away changes nothing.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Done, Place, Up, wait_for};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Nothing is sent before the end then, but full batches.
const AT_THE_END: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "600000");

/// What a collector was sent.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Received {
    /// Spans with the name of their service.
    fn spans(&self) -> Vec<(String, Span)> {
        let requests = self.0.lock().unwrap();
        let of_resources = requests.iter().flat_map(|request| &request.resource_spans);
        let mut all = Vec::new();
        for of_resource in of_resources {
            let resource = of_resource.resource.as_ref().unwrap();
            let service = attribute(&resource.attributes, "service.name").unwrap();
            for span in of_resource
                .scope_spans
                .iter()
                .flat_map(|scope| &scope.spans)
            {
                all.push((service.clone(), span.clone()));
            }
        }
        all
    }

    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.spans().into_iter().map(|(_, span)| span);
        spans.filter(|span| span.name == name).collect()
    }
}

/// An attribute as text.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// Receives OTLP over HTTP until the test's end.
fn collector() -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let kept = received.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let service =
                    hyper::service::service_fn(move |request| receive(request, kept.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
    });
    (address, received)
}

async fn receive(
    request: Request<Incoming>,
    kept: Received,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let spans = ExportTraceServiceRequest::decode(body).unwrap();
    kept.0.lock().unwrap().push(spans);
    Ok(Response::new(Full::default()))
}

/// An HTTP request of our own: the `traceparent` of the answer is looked at.
fn send(
    up: &Up,
    method: reqwest::Method,
    path: &str,
    trace: Option<&str>,
    body: Option<Value>,
) -> (u16, String, Vec<u8>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", up.env["SHEAF_URL"]))
        .bearer_auth(&up.env["SHEAF_API_KEY"]);
    if let Some(trace) = trace {
        request = request.header("traceparent", trace);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    runtime.block_on(async {
        let answer = request.send().await.unwrap();
        let trace = answer.headers()["traceparent"].to_str().unwrap().to_owned();
        (
            answer.status().as_u16(),
            trace,
            answer.bytes().await.unwrap().to_vec(),
        )
    })
}

fn invoice(date: &str) -> Value {
    let line = json!({"description": "Mug", "quantity": "1", "unit_price": "2.50"});
    let payment = json!([{"reference": "p", "amount": "2.50", "paid_on": date, "method": "card"}]);
    json!({"currency": "GBP", "customer": {"external_id": "c", "name": "Ann"}, "lines": [line],
        "issue_date": date, "payments": payment})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_collector_sees_requests_their_batches_and_the_archive() {
    traced(0);
}

#[test]
fn citus_a_collector_sees_requests_their_batches_and_the_archive() {
    traced(2);
}

fn traced(workers: usize) {
    let (address, received) = collector();
    let endpoint = format!("http://{address}");
    let place = Place::new();
    let mut up = Up::start_with(&place, workers, &[(ENDPOINT, &endpoint), AT_THE_END]);
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let sent = format!("00-{trace}-{parent}-01");
    let (status, ours, made) = send(
        &up,
        reqwest::Method::POST,
        "/v1/invoices",
        Some(&sent),
        Some(invoice("2020-01-02")),
    );
    assert_eq!(status, 201);
    let id = serde_json::from_slice::<Value>(&made).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();

    // Tiering is a command of its own.
    let mut tier = up.command(&["tier", "run"]);
    let tiered = Done::of(
        tier.env(ENDPOINT, &endpoint)
            .env("OTEL_SERVICE_NAME", "sheaf-tier"),
    )
    .json();
    assert_eq!(tiered["invoices"], 1, "{tiered}");
    let parts: Vec<_> = received
        .spans()
        .into_iter()
        .filter(|(_, span)| span.name == "tiering part")
        .collect();
    let [(service, part)] = &parts[..] else {
        panic!("{parts:?}")
    };
    assert_eq!(service, "sheaf-tier");
    let of_part = |key: &str| attribute(&part.attributes, key).unwrap();
    assert_eq!(
        (of_part("period"), of_part("invoices"), of_part("outcome")),
        ("2020-01".into(), "1".into(), "moved".into())
    );

    let path = format!("/v1/invoices/{id}");
    let unsampled = format!("00-{}-{parent}-00", "5".repeat(32));
    assert_eq!(
        send(&up, reqwest::Method::GET, &path, Some(&unsampled), None).0,
        200
    );
    assert_eq!(send(&up, reqwest::Method::GET, &path, None, None).0, 200);
    assert_eq!(
        up.running.end(Signal::TERM).code(),
        Some(0),
        "{}",
        up.running.stderr()
    );

    // All of it was sent at the end: nothing is lost with the process.
    let create = received.named("POST /v1/invoices");
    let [create] = &create[..] else {
        panic!("{create:?}")
    };
    assert_eq!(
        (hex(&create.trace_id), hex(&create.parent_span_id)),
        (trace.into(), parent.into())
    );
    assert_eq!(ours, format!("00-{trace}-{}-01", hex(&create.span_id)));
    let of_create = |key: &str| attribute(&create.attributes, key);
    assert_eq!(
        of_create("http.response.status_code").as_deref(),
        Some("201")
    );
    assert_eq!(of_create("http.route").as_deref(), Some("/v1/invoices"));
    assert_eq!(
        of_create("sheaf.tenant_id").as_deref(),
        Some(&*up.env["SHEAF_TENANT_ID"])
    );
    assert!(of_create("sheaf.request_id").is_some());
    let batches = received.named("creates");
    let link = |batch: &Span| {
        batch
            .links
            .iter()
            .any(|link| (&link.trace_id, &link.span_id) == (&create.trace_id, &create.span_id))
    };
    let [batch] = &batches
        .iter()
        .filter(|batch| link(batch))
        .collect::<Vec<_>>()[..]
    else {
        panic!("{batches:?}")
    };
    assert!(batch.parent_span_id.is_empty() && hex(&batch.trace_id) != trace);
    assert_eq!(
        attribute(&batch.attributes, "members").as_deref(),
        Some("1")
    );
    assert!(attribute(&batch.attributes, "node").is_some());

    // What the client does not sample is not sent, and its batch neither.
    let reads = received.named("GET /v1/invoices/{id}");
    assert_eq!(reads.len(), 1, "{reads:?}");
    assert_eq!(received.named("reads").len(), 1);
    let cold = received.named("cold read");
    let of_read = cold
        .iter()
        .filter(|span| span.parent_span_id == reads[0].span_id)
        .collect::<Vec<_>>();
    let [of_read] = &of_read[..] else {
        panic!("{cold:?}")
    };
    assert_eq!(
        attribute(&of_read.attributes, "kind").as_deref(),
        Some("point")
    );
    let number = |key: &str| {
        attribute(&of_read.attributes, key)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(number("gets") >= 1 && number("bytes") > 100, "{of_read:?}");
    let services: Vec<_> = received
        .spans()
        .into_iter()
        .map(|(service, _)| service)
        .collect();
    assert!(
        services
            .iter()
            .all(|service| ["sheaf", "sheaf-tier"].contains(&service.as_str())),
        "{services:?}"
    );
}

#[test]
fn a_collector_that_is_away_changes_no_answer_and_no_log() {
    // One that refuses, and one that takes everything and never says a word.
    let refuses = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = refuses.local_addr().unwrap();
    drop(refuses);
    for address in [dead, silent.local_addr().unwrap()] {
        let place = Place::new();
        let endpoint = format!("http://{address}");
        let settings = [
            (ENDPOINT, &*endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ];
        let mut up = Up::start_with(&place, 0, &settings);
        let mut read = Vec::new();
        for n in 1..=9 {
            let date = format!("2026-01-0{n}");
            let (status, _, made) = send(
                &up,
                reqwest::Method::POST,
                "/v1/invoices",
                None,
                Some(invoice(&date)),
            );
            assert_eq!(status, 201);
            let made: Value = serde_json::from_slice(&made).unwrap();
            let path = format!("/v1/invoices/{}", made["id"].as_str().unwrap());
            let (status, _, body) = send(&up, reqwest::Method::GET, &path, None, None);
            assert_eq!(
                (status, serde_json::from_slice::<Value>(&body).unwrap()),
                (200, made)
            );
            read.push(path);
        }
        let lost = "the collector of traces does not take them";
        wait_for("the log to tell of it", || {
            up.running.stderr().contains(lost).then_some(())
        });
        for path in &read {
            assert_eq!(send(&up, reqwest::Method::GET, path, None, None).0, 200);
        }
        assert_eq!(
            up.running.end(Signal::TERM).code(),
            Some(0),
            "{}",
            up.running.stderr()
        );
        let log = up.running.stderr();
        assert_eq!(log.matches(lost).count(), 1, "{log}");
    }
}
