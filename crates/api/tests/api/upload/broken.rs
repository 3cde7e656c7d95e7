//! Uploads that do not end: whole invoices stay, sending them again creates the rest.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Tenant, TestApp, gzip, invoice, ndjson, send};

const BULK: &str = "/v1/invoices/bulk";

fn lines(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| invoice(json!({"external_id": format!("e-{n}")})))
        .collect()
}

async fn sending_again_creates_the_rest(
    app: &TestApp,
    tenant: &Tenant,
    all: &[Value],
    landed: usize,
) {
    let summary = send(app.upload(BULK, &tenant.key, ndjson(all)))
        .await
        .is(200);
    assert_eq!(
        (&summary["created"], &summary["duplicates"]),
        (&json!(all.len() - landed), &json!(landed))
    );
    let found = app.all_invoices(tenant).await;
    assert_eq!(found.len(), all.len());
    assert!(found.iter().all(is_whole));
}

fn is_whole(invoice: &Value) -> bool {
    invoice["lines"].as_array().unwrap().len() == 2
}

#[tokio::test]
async fn a_truncated_gzip_lands_its_complete_lines() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all = lines(4_000);
    let packed = gzip(ndjson(&all).as_bytes());
    let half = packed[..packed.len() / 2].to_vec();
    let request = app
        .upload(BULK, &tenant.key, half)
        .header("content-encoding", "gzip");
    let problem = send(request).await.is_problem(400, "truncated_gzip");
    let landed = app.all_invoices(&tenant).await.len();
    assert_eq!(
        (&problem["received"], &problem["created"]),
        (&json!(landed), &json!(landed))
    );
    assert!(landed > 0 && landed < all.len(), "{landed}");
    sending_again_creates_the_rest(&app, &tenant, &all, landed).await;
}

#[tokio::test]
async fn garbage_instead_of_gzip_is_named() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let request = app
        .upload(BULK, &tenant.key, ndjson(&lines(3)))
        .header("content-encoding", "gzip");
    send(request).await.is_problem(400, "invalid_gzip");
    assert!(app.all_invoices(&tenant).await.is_empty());
}

#[tokio::test]
async fn a_connection_cut_in_mid_line_leaves_whole_invoices() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all = lines(5_000);
    let body = ndjson(&all);
    let cut = body.len() / 2 + 7;
    assert_ne!(body.as_bytes()[cut], b'\n');
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = format!(
        "POST {BULK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: \
        application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        tenant.key,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..cut]).await.unwrap();
    drop(stream);
    // How much of it lands, and when, is the server's matter: it may still be writing when all is
    // sent again.
    let summary = send(app.upload(BULK, &tenant.key, body)).await.is(200);
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("created") + count("duplicates"), all.len() as u64);
    assert_eq!(count("rejected"), 0);
    let found = app.all_invoices(&tenant).await;
    assert_eq!(found.len(), all.len());
    assert!(found.iter().all(is_whole));
}

#[tokio::test]
async fn a_client_that_stops_sending_is_given_up() {
    let app =
        TestApp::start_with(|config| config.bulk.idle_timeout = Duration::from_millis(300)).await;
    let tenant = app.tenant().await;
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(ndjson(&lines(3)))]);
    let body = reqwest::Body::wrap_stream(first.chain(futures_util::stream::pending()));
    let problem = send(app.upload(BULK, &tenant.key, body))
        .await
        .is_problem(408, "request_timeout");
    assert_eq!(problem["created"], 3);
    assert_eq!(app.all_invoices(&tenant).await.len(), 3);
}

#[tokio::test]
async fn a_failed_upload_gives_its_idempotency_key_back() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all = lines(3);
    let packed = gzip(ndjson(&all).as_bytes());
    let upload = |body: Vec<u8>| {
        let request = app
            .upload(BULK, &tenant.key, body)
            .header("content-encoding", "gzip");
        send(request.header("idempotency-key", "one"))
    };
    upload(packed[..packed.len() - 4].to_vec())
        .await
        .is_problem(400, "truncated_gzip");
    for _ in 0..50 {
        let answer = upload(packed.clone()).await;
        if answer.status != 409 {
            answer.is(200);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the key stayed taken");
}
