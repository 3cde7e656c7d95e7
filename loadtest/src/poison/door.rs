//! What anybody can ask for without a credential, and how many wrong ones they may try.

use std::time::Duration;

use hyper::{Method, Request};

use super::{PoisonError, Run, cut};
use crate::check::client::{Ask, Client};
use crate::load::http::{AnyBody, Connection, HttpError, whole};

/// Wrong credentials that are sent, as quickly as they are answered.
const GUESSES: usize = 1_000;
/// Connections that guess.
const GUESSERS: usize = 8;
/// Methods that every counter of requests must tell apart.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const PATIENCE: Duration = Duration::from_secs(15);

impl Run {
    /// Tries the front door.
    pub(super) async fn door(&mut self) -> Result<(), PoisonError> {
        let told = self
            .client
            .send(&Ask::new(Method::GET, "/metrics", ""))
            .await;
        if told.status() == 200 {
            let text = "anybody is told figures of all tenants, on the port of the API".to_owned();
            self.find("open", "/metrics", text);
        }
        self.headers().await?;
        // Who has been known goes on when strangers are stopped.
        self.probe("the front door").await;
        self.guesses().await;
        self.metered().await?;
        self.probe("wrong credentials").await;
        self.report.fields += 1;
        Ok(())
    }

    /// A page that runs scripts says which, and what it is.
    async fn headers(&mut self) -> Result<(), PoisonError> {
        let failed = |error: HttpError| PoisonError(format!("/docs: {error}"));
        let mut connection: Connection<AnyBody> =
            Connection::open(&self.server).await.map_err(failed)?;
        let request = Request::builder()
            .uri("/docs")
            .header("host", self.server.authority());
        let request = request.body(whole(""));
        let request =
            request.map_err(|error| PoisonError(format!("/docs is no request: {error}")))?;
        let head = connection.exchange(request, |_| {}).await.map_err(failed)?;
        for name in ["content-security-policy", "x-content-type-options"] {
            if head.status() == 200 && !head.headers().contains_key(name) {
                self.find("open", "/docs", format!("the page has no {name}"));
            }
        }
        Ok(())
    }

    /// A guesser of keys is stopped, and a client that has one is not.
    async fn guesses(&mut self) {
        let guess = |number: usize| {
            let server = self.server.clone();
            async move {
                let mut client = Client::new(server, std::time::Instant::now(), PATIENCE);
                for guess in 0..GUESSES / GUESSERS {
                    let key = format!("shf_guess{number}x{guess}");
                    let told = client
                        .send(&Ask::new(Method::GET, "/v1/invoices", &key))
                        .await;
                    if told.status() == 429 {
                        return true;
                    }
                }
                false
            }
        };
        let refused = futures_util::future::join_all((0..GUESSERS).map(guess)).await;
        self.report.cases += GUESSES;
        if !refused.contains(&true) {
            let text = format!("{GUESSES} wrong keys of one address were all looked at");
            self.find("unbounded", "credentials", text);
        }
    }

    /// Changes are counted under their own names.
    async fn metered(&mut self) -> Result<(), PoisonError> {
        let key = self.key.clone();
        let retention = serde_json::json!({"legal_hold": false});
        self.good(Method::PUT, "/v1/retention/2024", &key, &retention)
            .await?;
        let draft = self.invoice(super::base::Subject::Draft).await?;
        let id = draft["id"].as_str().unwrap_or_default();
        let note = serde_json::json!({"metadata": {"a": 1}});
        self.good(Method::PATCH, &format!("/v1/invoices/{id}"), &key, &note)
            .await?;
        let mut answers = Vec::new();
        for server in self.metrics.iter().chain([&self.server]) {
            let mut client = Client::new(server.clone(), std::time::Instant::now(), PATIENCE);
            answers.push(client.send(&Ask::new(Method::GET, "/metrics", "")).await);
        }
        let Some(told) = answers.into_iter().find(|told| told.status() == 200) else {
            // They have a listener of their own, which was not named.
            return Ok(());
        };
        let text = String::from_utf8_lossy(&told.body).into_owned();
        let requests: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("sheaf_http_requests_total{"))
            .collect();
        if requests.is_empty() {
            let text = format!("requests are not counted: {}", cut(&told));
            self.find("not_told", "metrics", text);
        }
        let routes = requests.iter().filter(|line| {
            line.contains("route=\"/v1/retention") || line.contains("route=\"/v1/invoices/{id}\"")
        });
        for line in routes {
            if !METHODS
                .iter()
                .any(|method| line.contains(&format!("method=\"{method}\"")))
            {
                self.find("not_told", "metrics", format!("of which method: {line}"));
            }
        }
        Ok(())
    }
}
