use std::time::Duration;

use serde_json::json;

use crate::support::{TestApp, invoice, send};

#[tokio::test]
async fn probes_and_metrics_answer_without_credential() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    app.create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    let get = |path: &'static str| send(app.request(reqwest::Method::GET, path));
    assert_eq!(get("/healthz").await.is(200)["status"], "ok");
    assert_eq!(get("/readyz").await.is(200)["status"], "ok");
    let metrics = get("/metrics").await;
    let text = String::from_utf8(metrics.body.clone()).unwrap();
    let counted =
        "sheaf_http_requests_total{route=\"/v1/invoices\",method=\"POST\",status=\"201\"} ";
    assert!(text.contains(counted), "{text}");
    assert!(text.contains("sheaf_http_request_duration_seconds_bucket{route=\"/v1/invoices\",method=\"POST\",le=\"0.001\"}"), "{text}");
    let cpu = text
        .lines()
        .find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    assert!(cpu.unwrap().parse::<f64>().unwrap() > 0.0, "{text}");
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    assert!(get("/docs/").await.status == 200);
    assert_eq!(get("/openapi.json").await.is(200)["openapi"], "3.1.0");
}

#[tokio::test]
async fn request_ids_and_traces_are_taken_or_made() {
    let app = TestApp::start().await;
    let get = || app.request(reqwest::Method::GET, "/v1/invoices");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let taken = send(
        get()
            .header("x-request-id", "mine-1")
            .header("traceparent", trace),
    )
    .await;
    taken.is_problem(401, "missing_credential");
    assert_eq!(taken.header("x-request-id"), "mine-1");
    assert!(
        taken
            .header("traceparent")
            .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    );
    let (one, two) = (send(get()).await, send(get()).await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    assert_ne!(one.header("traceparent"), two.header("traceparent"));
}

#[tokio::test]
async fn shutdown_lets_a_running_upload_end() {
    let mut app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (sender, body) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, |mut body| async {
        body.recv().await.map(|item| (item, body))
    });
    let upload = app.upload(
        "/v1/invoices/bulk",
        &tenant.key,
        reqwest::Body::wrap_stream(body),
    );
    let upload = tokio::spawn(send(upload));
    sender
        .send(Ok(format!("{}\n", invoice(json!({})))))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let addr = app.addr;
    let stopping = tokio::spawn(async move { app.stop().await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        tokio::net::TcpStream::connect(addr).await.is_err(),
        "no new connections"
    );
    sender
        .send(Ok(format!("{}\n", invoice(json!({})))))
        .await
        .unwrap();
    drop(sender);
    assert_eq!(upload.await.unwrap().is(200)["created"], 2);
    stopping.await.unwrap();
}
