use std::time::Duration;

use serde_json::json;

use crate::support::{TestApp, invoice, raw, send};

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(40);

#[tokio::test]
async fn probes_answer_without_credential_and_metrics_elsewhere() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    app.create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    let get = |path: &'static str| send(app.request(reqwest::Method::GET, path));
    assert_eq!(get("/healthz").await.is(200)["status"], "ok");
    assert_eq!(get("/readyz").await.is(200)["status"], "ok");
    get("/metrics").await.is_problem(404, "route_not_found");
    let text = app.metrics_text().await;
    for other in ["/", "/healthz", "/v1/invoices", "/openapi.json"] {
        let url = format!("http://{}{other}", app.metrics);
        assert_eq!(reqwest::get(url).await.unwrap().status(), 404, "{other}");
    }
    let counted =
        "sheaf_http_requests_total{route=\"/v1/invoices\",method=\"POST\",status=\"201\"} ";
    assert!(text.contains(counted), "{text}");
    let bucket = "sheaf_http_request_duration_seconds_bucket{\
        route=\"/v1/invoices\",method=\"POST\",le=\"0.001\"}";
    assert!(text.contains(bucket), "{text}");
    let cpu = text
        .lines()
        .find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    assert!(cpu.unwrap().parse::<f64>().unwrap() > 0.0, "{text}");
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    // Names in _total are counters, and no others.
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in types.filter_map(|of| of.split_once(' ')) {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
    }
    assert_eq!(get("/openapi.json").await.is(200)["openapi"], "3.1.0");
}

#[tokio::test]
async fn each_method_is_metered_by_its_name() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    let path = format!("/v1/invoices/{}", made["id"].as_str().unwrap());
    let patch = app.request(reqwest::Method::PATCH, &path);
    let patch = patch.bearer_auth(&tenant.key);
    send(patch.json(&json!({"metadata": {"a": 1}})))
        .await
        .is(200);
    let put = app.request(reqwest::Method::PUT, "/v1/retention/2020");
    let put = put.bearer_auth(&tenant.key);
    send(put.json(&json!({"legal_hold": false}))).await.is(200);
    let text = app.metrics_text().await;
    for counted in [
        "{route=\"/v1/invoices/{id}\",method=\"PATCH\",status=\"200\"} ",
        "{route=\"/v1/retention/{year}\",method=\"PUT\",status=\"200\"} ",
    ] {
        let line = format!("sheaf_http_requests_total{counted}");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn pages_say_what_they_may_load_and_answers_what_they_are() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let get = |path: &str| send(app.request(reqwest::Method::GET, path));
    for page in [
        "/docs/",
        "/docs/swagger-initializer.js",
        "/docs/swagger-ui.css",
    ] {
        let page = get(page).await;
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("script-src 'self' 'unsafe"), "{policy}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
    }
    // The page works under its policy: no script stands in it.
    let page = String::from_utf8(get("/docs/").await.body).unwrap();
    let inline = page
        .split("<script")
        .skip(1)
        .filter(|tag| !tag.trim_start().starts_with("src="));
    assert_eq!(inline.count(), 0, "{page}");
    for answer in [
        get("/healthz").await,
        get("/nowhere").await,
        get("/v1/invoices").await,
        app.read("/v1/invoices", &tenant.key).await,
        app.read("/v1/archive/export?format=csv", &tenant.key).await,
    ] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_stands_still_is_told_by_readyz_and_a_metric() {
    let stall = |store: &mut sheaf_store::StoreConfig| {
        store.flushes_per_node = 1;
        store.queue_stall = Duration::from_millis(100);
    };
    let app = std::sync::Arc::new(TestApp::start_over(stall, |_| {}).await);
    let readyz = || send(app.request(reqwest::Method::GET, "/readyz"));
    readyz().await.is(200);
    // Until the first payment leaves the lane, the second waits behind it: for a second, in which
    // nobody may look on a busy machine.
    for _ in 0..20 {
        let tenant = app.tenant().await;
        let body = invoice(json!({}));
        let made = app.create("/v1/invoices", &tenant.key, &body).await.is(201);
        let id = made["id"].as_str().unwrap().to_owned();
        let db = raw().await;
        db.batch_execute("begin").await.unwrap();
        let lock = "select 1 from invoices where tenant_id = $1 and id::text = $2 for update";
        db.query_one(lock, &[&tenant.id, &id]).await.unwrap();
        let pay = |reference: &'static str| {
            let (app, key) = (app.clone(), tenant.key.clone());
            let path = format!("/v1/invoices/{id}/payments");
            let body = json!({"reference": reference, "amount": "1.00", "paid_on": "2026-11-19",
                "method": "card"});
            tokio::spawn(async move { app.create(&path, &key, &body).await })
        };
        let first = pay("first");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let second = pay("second");
        let stalled = async {
            loop {
                let answer = readyz().await;
                if answer.status != 200 {
                    return answer.is_problem(503, "not_ready");
                }
            }
        };
        let problem = tokio::time::timeout(Duration::from_secs(2), stalled).await;
        // The first two have left for a lane of their own by now, and the third waits behind them
        // there.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let third = pay("third");
        let told = async {
            loop {
                let text = app.metrics_text().await;
                let gauge = "sheaf_queue_oldest_seconds{queue=\"changes\",node=";
                let nodes = text.lines().filter(|line| line.starts_with(gauge));
                let of_node = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>();
                let oldest = nodes.map(|line| of_node(line).unwrap()).fold(0.0, f64::max);
                if oldest >= 1.0 {
                    return oldest;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let oldest = tokio::time::timeout(LONG, told).await.unwrap();
        assert!(oldest < 60.0, "{oldest}");
        // It waits for its own tenant's lock alone.
        readyz().await.is(200);
        drop(db);
        for paid in [first, second, third] {
            paid.await.unwrap().is(201);
        }
        if let Ok(problem) = problem {
            assert_eq!(problem["detail"], "the queue of changes does not move");
            return;
        }
    }
    panic!("nobody noticed");
}

/// What a bug of ours makes of a document must not be the last thing that a queue does.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_request() {
    let app = TestApp::start().await;
    let (poisoned, other) = (app.tenant().await, app.tenant().await);
    let make = async |key: &str| {
        let body = invoice(json!({}));
        let made = app.create("/v1/invoices", key, &body).await.is(201);
        let id = made["id"].as_str().unwrap().to_owned();
        (format!("/v1/invoices/{id}"), id)
    };
    let (path, id) = make(&poisoned.key).await;
    let (good, _) = make(&other.key).await;
    let spoil = "update invoices set total = 'NaN' where tenant_id = $1 and id::text = $2";
    let db = raw().await;
    db.execute(spoil, &[&poisoned.id, &id]).await.unwrap();
    // More than there are workers.
    for n in 0..6 {
        let body = json!({"reference": format!("p{n}"), "amount": "1.00", "paid_on": "2026-11-19",
            "method": "card"});
        let payments = format!("{path}/payments");
        let answer = app.create(&payments, &poisoned.key, &body).await;
        answer.is_problem(500, "internal_error");
        let answer = app.read(&path, &poisoned.key).await;
        answer.is_problem(500, "internal_error");
        let payments = format!("{good}/payments");
        app.create(&payments, &other.key, &body).await.is(201);
        app.read(&good, &other.key).await.is(200);
    }
    let text = app.metrics_text().await;
    for task in ["changes", "reads"] {
        let counter = format!("sheaf_panics_total{{task=\"{task}\"}} ");
        let caught = text.lines().find_map(|line| line.strip_prefix(&counter));
        assert!(caught.unwrap().parse::<u64>().unwrap() >= 6, "{text}");
    }
}
