//! What one tenant may take of what all share: uploads, the disk under atomic ones, places for
//! documents.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{ADMIN_KEY, Answer, TestApp, gzip, invoice, ndjson, send};

const BULK: &str = "/v1/invoices/bulk";
const ATOMIC: &str = "/v1/invoices/bulk?atomic=true";

/// An upload whose client has sent its first line and takes its time.
struct Open {
    more: mpsc::UnboundedSender<Result<String, std::io::Error>>,
    answer: JoinHandle<Answer>,
}

impl Open {
    fn begin(app: &TestApp, path: &str, key: &str) -> Self {
        let (more, mut parts) = mpsc::unbounded_channel();
        let parts = futures_util::stream::poll_fn(move |cx| parts.poll_recv(cx));
        let request = app.upload(path, key, reqwest::Body::wrap_stream(parts.boxed()));
        let answer = tokio::spawn(send(request));
        let open = Self { more, answer };
        open.send(&invoice(json!({})).to_string());
        open
    }

    fn send(&self, line: &str) {
        self.more.send(Ok(format!("{line}\n"))).unwrap();
    }

    async fn end(self) -> Answer {
        drop(self.more);
        self.answer.await.unwrap()
    }
}

/// Uploads of `key` that have taken all there is, and how `who` is refused then. Whoever comes
/// first has the place: begun anew where that was not one of these.
async fn fill(
    app: &TestApp,
    path: &str,
    (key, count): (&str, usize),
    (who, status): (&str, u16),
) -> (Vec<Open>, Answer) {
    for _ in 0..60 {
        let open: Vec<Open> = (0..count).map(|_| Open::begin(app, path, key)).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answer = send(app.upload(path, who, ndjson(&[invoice(json!({}))]))).await;
        if answer.status == status && open.iter().all(|open| !open.answer.is_finished()) {
            return (open, answer);
        }
        for open in open {
            open.answer.abort();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("never {status}");
}

/// Sends a small upload until it is answered as expected: what others hold or give back shows after
/// a moment.
async fn until(app: &TestApp, path: &str, key: &str, status: u16) -> Answer {
    for _ in 0..600 {
        let answer = send(app.upload(path, key, ndjson(&[invoice(json!({}))]))).await;
        if answer.status == status {
            return answer;
        }
        assert!(
            [200, 429, 503].contains(&answer.status.as_u16()),
            "{answer}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {status}");
}

#[tokio::test]
async fn one_tenants_uploads_leave_room_for_others() {
    for path in [BULK, ATOMIC] {
        let app = TestApp::start_with(|config| {
            let bulk = &mut config.bulk;
            let (each, all) = if path == ATOMIC {
                (
                    &mut bulk.atomic_uploads_per_tenant,
                    &mut bulk.atomic_uploads,
                )
            } else {
                (&mut bulk.uploads_per_tenant, &mut bulk.uploads)
            };
            (*each, *all) = (2, 3);
        })
        .await;
        let (one, two, three) = (app.tenant().await, app.tenant().await, app.tenant().await);
        let (open, refused) = fill(&app, path, (&one.key, 2), (&one.key, 429)).await;
        refused.is_problem(429, "too_many_uploads");
        assert_eq!(refused.header("retry-after"), "1");
        // Creates are none of this, and others go on.
        app.create("/v1/invoices", &one.key, &invoice(json!({})))
            .await
            .is(201);
        until(&app, path, &two.key, 200).await;
        let (last, refused) = fill(&app, path, (&two.key, 1), (&three.key, 503)).await;
        refused.is_problem(503, "busy");
        assert_eq!(refused.header("retry-after"), "1");
        for open in last {
            assert_eq!(open.end().await.is(200)["created"], 1);
        }
        until(&app, path, &three.key, 200).await;
        for open in open {
            assert_eq!(open.end().await.is(200)["created"], 1);
        }
        until(&app, path, &one.key, 200).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_back_what_it_held() {
    let line = invoice(json!({"metadata": {"filler": "x".repeat(4_000)}})).to_string();
    for path in [BULK, ATOMIC] {
        let app = TestApp::start_with(|config| {
            config.bulk.batch_lines = 1;
            config.bulk.spool_limit_per_tenant = 10_000;
            config.bulk.uploads_per_tenant = 1;
            config.bulk.atomic_uploads_per_tenant = 1;
        })
        .await;
        let tenant = app.tenant().await;
        for _ in 0..3 {
            let key = tenant.key.as_str();
            let (open, refused) = fill(&app, path, (key, 1), (key, 429)).await;
            refused.is_problem(429, "too_many_uploads");
            open[0].send(&line);
            tokio::time::sleep(Duration::from_millis(100)).await;
            // Its connection closes in the middle of the body.
            open[0].answer.abort();
            until(&app, path, &tenant.key, 200).await;
            // The disk as well: two such lines are all that it may have.
            let body = format!("{line}\n{line}\n");
            send(app.upload(ATOMIC, &tenant.key, body)).await.is(200);
        }
    }
}

#[tokio::test]
async fn what_atomic_uploads_hold_of_the_disk_is_bounded() {
    let line = invoice(json!({"metadata": {"filler": "x".repeat(4_000)}})).to_string();
    let app = TestApp::start_with(|config| {
        config.bulk.batch_lines = 1;
        config.bulk.spool_limit_per_tenant = 60_000;
        config.bulk.spool_limit_total = 100_000;
    })
    .await;
    let (one, two) = (app.tenant().await, app.tenant().await);
    let lines = |count: usize| format!("{line}\n").repeat(count);
    let upload = |key: &str, count: usize| send(app.upload(ATOMIC, key, lines(count)));
    // It would not fit alone: no use in coming again.
    upload(&one.key, 20).await.is_problem(413, "body_too_large");
    // What is held shows in what others may have. Whoever comes first holds it: begun anew where
    // that was not this one.
    let mut holding = None;
    for _ in 0..60 {
        let open = Open::begin(&app, ATOMIC, &one.key);
        for _ in 0..11 {
            open.send(&line);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = upload(&two.key, 13).await;
        if answer.status == 503 && !open.answer.is_finished() {
            answer.is_problem(503, "busy");
            holding = Some(open);
            break;
        }
        open.answer.abort();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let open = holding.expect("never refused");
    // What would not fit alone is told so, whoever holds what: 503 would mean to come again.
    upload(&two.key, 20).await.is_problem(413, "body_too_large");
    upload(&two.key, 30).await.is_problem(413, "body_too_large");
    upload(&two.key, 5).await.is(200);
    let refused = upload(&one.key, 5).await;
    refused.is_problem(429, "upload_space_exceeded");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(open.end().await.is(200)["created"], 12);
    upload(&one.key, 10).await.is(200);
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_large_one_is_refused() {
    let app = TestApp::start_with(|config| {
        config.bulk.max_compression = 50;
        config.bulk.compression_from = 100_000;
    })
    .await;
    let tenant = app.tenant().await;
    let same = invoice(json!({})).to_string();
    let packed = |lines: String| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    for (path, key) in [
        (BULK, tenant.key.as_str()),
        (ATOMIC, tenant.key.as_str()),
        ("/v1/platform/invoices/bulk", ADMIN_KEY),
    ] {
        let bomb = packed(format!("{same}\n").repeat(20_000));
        let request = app.upload(path, key, bomb);
        let answer = send(request.header("content-encoding", "gzip")).await;
        let problem = answer.is_problem(413, "compression_ratio_exceeded");
        // Long before it is all unpacked.
        assert!(problem["received"].as_u64().unwrap() < 10_000, "{problem}");
    }
    // What is small is let through however well it packs, and so is what packs as documents do.
    let small = packed(format!("{same}\n").repeat(200));
    let request = app.upload(ATOMIC, &tenant.key, small);
    let summary = send(request.header("content-encoding", "gzip"))
        .await
        .is(200);
    assert_eq!(summary["created"], 200);
    let usual: String = (0..2_000)
        .map(|n| {
            let random = uuid::Uuid::new_v4();
            let metadata = json!({"a": random, "b": uuid::Uuid::new_v4(), "n": n});
            format!("{}\n", invoice(json!({"metadata": metadata})))
        })
        .collect();
    let request = app.upload(ATOMIC, &tenant.key, gzip(usual.as_bytes()));
    let summary = send(request.header("content-encoding", "gzip"))
        .await
        .is(200);
    assert_eq!(summary["created"], 2_000);
}
