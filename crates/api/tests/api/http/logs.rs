//! What an operator finds in the log of a request that failed.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sheaf_store::{Route, SPANS};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{TestApp, invoice, send};

/// Lines of a log, as JSON.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// All that is logged on this thread, which is all of a test's app, while the guard lives.
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            // As `sheaf serve` has it: spans are for traces.
            .with_env_filter(format!("info,{SPANS}=off"))
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The line that says why a request failed.
    fn cause_of(&self, request_id: &str) -> Value {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut causes = lines.filter(|line: &Value| {
            line["request_id"] == request_id && line["target"] != "sheaf::access"
        });
        causes
            .next()
            .unwrap_or_else(|| panic!("nothing of {request_id}: {text}"))
    }
}

/// A door to the database that can be shut.
struct Door {
    port: u16,
    open: JoinHandle<()>,
}

impl Door {
    /// Before what this URL leads to; the URL that leads through it.
    async fn before(url: &str) -> (Self, String) {
        let of_database: tokio_postgres::Config = url.parse().unwrap();
        let database = of_database.get_ports()[0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = tokio::spawn(async move {
            // Those who came through are thrown out with the door.
            let mut inside = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                inside.spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", database)).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        let through = url.replacen(&format!(":{database}"), &format!(":{port}"), 1);
        assert_ne!(through, url, "a URL with its port");
        (Self { port, open }, through)
    }

    async fn shut(self) {
        self.open.abort();
        let _aborted = self.open.await;
    }
}

#[tokio::test]
async fn a_503_of_a_dead_node_is_found_by_its_request_and_its_node() {
    let url = sheaf_local::test_env().api_database_url;
    let (door, through) = Door::before(&url).await;
    let app = TestApp::start_over(
        |store| {
            // One node for everything.
            store.cluster.route = Route::Coordinator;
            store.cluster.database_url = through;
            store.cluster.acquire_timeout = Duration::from_secs(1);
        },
        |config| config.web.key_ttl = Duration::from_secs(600),
    )
    .await;
    let tenant = app.tenant().await;
    app.read("/v1/profile", &tenant.key)
        .await
        .is_problem(404, "profile_not_found");
    let document = invoice(json!({}));
    let made = app.create("/v1/invoices", &tenant.key, &document).await;
    let made = made.is(201);
    let node = format!("127.0.0.1:{}", door.port);
    door.shut().await;
    let (log, _guard) = Log::begin();
    let invoice_path = format!("/v1/invoices/{}", made["id"].as_str().unwrap());
    let requests = [
        (Method::GET, invoice_path.as_str(), Value::Null),
        (Method::POST, "/v1/invoices", invoice(json!({}))),
        (Method::GET, "/v1/invoices", Value::Null),
        (Method::PUT, "/v1/profile", json!({"name": "S"})),
        (Method::GET, "/readyz", Value::Null),
    ];
    for round in ["first", "again"] {
        for (at, (method, path, body)) in requests.iter().enumerate() {
            let id = format!("{round}-{at}");
            let mut request = app.request(method.clone(), path).bearer_auth(&tenant.key);
            request = request.header("x-request-id", &id);
            if !body.is_null() {
                request = request.header("idempotency-key", &id).json(body);
            }
            let answer = send(request).await;
            assert_eq!(answer.status, 503, "{method} {path}: {answer}");
            let cause = log.cause_of(&id);
            assert_eq!(cause["level"], "WARN", "{cause}");
            assert_eq!(cause["code"], answer.json()["code"], "{cause}");
            if *path != "/readyz" {
                assert_eq!(cause["owner"], node.as_str(), "{cause}");
                assert_eq!(cause["tenant"], tenant.id.to_string(), "{cause}");
            }
            // One that was lost in the middle of a statement may not know; one that is not reached
            // does.
            if round == "again" {
                assert_eq!(cause["node"], node.as_str(), "{cause}");
            }
        }
    }
}
