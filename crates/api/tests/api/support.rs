//! An app on a random port, and short ways to talk to it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeZone, Utc};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sheaf_api::{ApiConfig, App};
use sheaf_archive::{Archive, S3Config};
use sheaf_store::{Store, StoreConfig};
use sheaf_web::{Clock, Metrics};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const ADMIN_KEY: &str = "the-admin-key-of-the-tests";
const SHARDS: u32 = 8;

/// A running API over the shared test cluster.
pub(crate) struct TestApp {
    pub(crate) addr: std::net::SocketAddr,
    /// Where its metrics are read.
    pub(crate) metrics: std::net::SocketAddr,
    /// As the tables' owner.
    pub(crate) archive: Archive,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

/// A tenant of one test, with a key of each kind that the test asked for.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) key: String,
    pub(crate) key_id: Uuid,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self}"))
            .to_str()
            .unwrap()
    }

    /// Asserts a problem with all its standard members.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!(
            (self.status.as_u16(), body["code"].as_str()),
            (status, Some(code)),
            "{self}"
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["type"], format!("urn:sheaf:problem:{code}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert!(
            !body["title"].as_str().unwrap().is_empty()
                && !body["detail"].as_str().unwrap().is_empty()
        );
        body
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self}");
        self.json()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// When the tests' apps start; their clock goes on from here.
pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap()
}

/// A clock that starts at [`now`] and ticks: the store tells apart writes of different
/// microseconds.
fn clock() -> Clock {
    let started = std::time::Instant::now();
    Clock::from_fn(move || now() + started.elapsed())
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings than the defaults.
    pub(crate) async fn start_with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::start_over(|_| {}, change).await
    }

    /// The same, over a store with other settings than the defaults.
    pub(crate) async fn start_over(
        change_store: impl FnOnce(&mut StoreConfig),
        change: impl FnOnce(&mut ApiConfig),
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let env = sheaf_local::test_env();
        sheaf_store::migrate(&env.database_url, SHARDS)
            .await
            .expect("migrations");
        let settings = |url: String| {
            let mut settings = StoreConfig::new(url);
            settings.cluster.max_connections_per_node = 8;
            settings
        };
        let mut of_api = settings(env.api_database_url);
        change_store(&mut of_api);
        let store = Store::connect(of_api).await.expect("store");
        let owner = Store::connect(settings(env.database_url))
            .await
            .expect("store");
        let s3 = S3Config {
            endpoint: Some(env.s3_endpoint),
            bucket: env.s3_bucket,
            region: env.s3_region,
            credentials: None,
            keeping: sheaf_archive::Keeping::default(),
        };
        let archive = Archive::connect(store.clone(), s3.clone())
            .await
            .expect("archive");
        // Tiering works as the owner: it takes events out, which the API may not.
        let of_owner = Archive::connect(owner, s3).await.expect("archive");
        let mut config = ApiConfig::new(ADMIN_KEY);
        change(&mut config);
        let metrics = Metrics::install().expect("metrics");
        let of_metrics = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics_addr = of_metrics.local_addr().unwrap();
        // Ends with the test's runtime.
        let told = sheaf_web::serve_metrics(of_metrics, metrics.clone(), std::future::pending());
        drop(tokio::spawn(told));
        let app = Arc::new(App::new(store, &archive, config, metrics, clock()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let server = tokio::spawn(sheaf_api::serve(listener, app, shutdown));
        Self {
            addr,
            metrics: metrics_addr,
            archive: of_owner,
            client: Client::new(),
            stop: Some(stop),
            server: Some(server),
        }
    }

    /// Stops the server and waits until it has drained.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.server.take().unwrap().await.unwrap().unwrap();
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.addr))
    }

    /// The text of the metrics.
    pub(crate) async fn metrics_text(&self) -> String {
        let url = format!("http://{}/metrics", self.metrics);
        let answer = send(self.client.get(url)).await;
        assert_eq!(answer.status, 200, "{answer}");
        String::from_utf8(answer.body).unwrap()
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth(key)
    }

    pub(crate) fn post(&self, path: &str, key: &str) -> RequestBuilder {
        self.request(Method::POST, path).bearer_auth(key)
    }

    /// POSTs a JSON document.
    pub(crate) async fn create(&self, path: &str, key: &str, document: &Value) -> Answer {
        send(self.post(path, key).json(document)).await
    }

    /// GETs.
    pub(crate) async fn read(&self, path: &str, key: &str) -> Answer {
        send(self.get(path, key)).await
    }

    /// Makes a tenant with an admin key of its own.
    pub(crate) async fn tenant(&self) -> Tenant {
        let tenant = self
            .create("/v1/tenants", ADMIN_KEY, &json!({"name": "Test"}))
            .await
            .is(201);
        let id = tenant["id"].as_str().unwrap().parse().unwrap();
        let (key, key_id) = self.api_key(id, "admin").await;
        Tenant { id, key, key_id }
    }

    /// Makes an API key: the key and its id.
    pub(crate) async fn api_key(&self, tenant: Uuid, role: &str) -> (String, Uuid) {
        let path = format!("/v1/tenants/{tenant}/api-keys");
        let key = self
            .create(&path, ADMIN_KEY, &json!({"name": "test", "role": role}))
            .await
            .is(201);
        (
            key["api_key"].as_str().unwrap().to_owned(),
            key["id"].as_str().unwrap().parse().unwrap(),
        )
    }

    pub(crate) async fn revoke(&self, tenant: Uuid, key: Uuid) {
        let path = format!("/v1/tenants/{tenant}/api-keys/{key}");
        let answer = send(self.request(Method::DELETE, &path).bearer_auth(ADMIN_KEY)).await;
        assert_eq!(answer.status, 204, "{answer}");
    }

    /// All invoices of a tenant, through its list.
    pub(crate) async fn all_invoices(&self, tenant: &Tenant) -> Vec<Value> {
        let mut invoices = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .read(&format!("/v1/invoices?limit=100{cursor}"), &tenant.key)
                .await
                .is(200);
            invoices.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return invoices,
            }
        }
    }

    /// Uploads NDJSON.
    pub(crate) fn upload(
        &self,
        path: &str,
        key: &str,
        body: impl Into<reqwest::Body>,
    ) -> RequestBuilder {
        self.post(path, key)
            .header("content-type", "application/x-ndjson")
            .body(body)
    }
}

/// A connection beside the API, to look at the tables.
pub(crate) async fn raw() -> tokio_postgres::Client {
    let url = sheaf_local::test_env().database_url;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) subject: Uuid,
    pub(crate) year: i16,
    pub(crate) actor: String,
    pub(crate) request_id: Option<String>,
    pub(crate) data: Value,
}

/// A tenant's events of one type, oldest first.
pub(crate) async fn events(tenant: Uuid, event_type: &str) -> Vec<Event> {
    let rows = raw()
        .await
        .query(
            "select subject_id, year, actor, request_id, data from events
             where tenant_id = $1 and event_type = $2 order by id",
            &[&tenant, &event_type],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| Event {
            subject: row.get(0),
            year: row.get(1),
            actor: row.get(2),
            request_id: row.get(3),
            data: row.get(4),
        })
        .collect()
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.bytes().await.expect("a whole answer").to_vec(),
    }
}

/// A valid invoice with these members on top.
pub(crate) fn invoice(members: Value) -> Value {
    let mut document = json!({
        "currency": "GBP",
        "issue_date": "2026-11-02",
        "customer": {"external_id": "c-1", "name": "Customer 1"},
        "lines": [
            {"description": "Widget", "quantity": "2", "unit_price": "9.99", "tax_rate": "0.2"},
            {"description": "Postage", "quantity": 1, "unit_price": 3},
        ],
    });
    let (Value::Object(target), Value::Object(members)) = (&mut document, members) else {
        panic!("objects only")
    };
    target.extend(members);
    document
}

/// Documents as NDJSON.
pub(crate) fn ndjson(documents: &[Value]) -> String {
    documents
        .iter()
        .map(|document| format!("{document}\n"))
        .collect()
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A text that no other test uses.
pub(crate) fn unique(start: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{start}-{}-{}",
        Uuid::now_v7().simple(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
