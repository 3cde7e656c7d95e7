//! Every field of every operation at its extremes, sent by one tenant, while others must not
//! notice.
//!
//! Requests are made from the server's own OpenAPI document: a good one for each operation, then
//! each field and parameter at each extreme of its kind. What a restore takes is made from an
//! invoice as it was answered. An answer may be anything but a hang or a server's error; what the
//! contract refuses must be refused. After each field another tenant creates, pays and reads, and
//! the server must be ready. A request that fails is also sent many times beside its payments.
//!
//! What no single field shows is tried before: the document itself, the front door, SQL over the
//! archive, and one tenant that takes all it can of what all share.

pub mod neighbours;

mod base;
mod cases;
mod document;
mod door;
mod greed;
mod others;
mod restore;
mod sql;
mod values;

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::check::client::{Ask, Client, Told};
use crate::load::http::Server;
use base::Subject;
use cases::{Case, Field, Operation};

/// How long an answer to a bad request may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long an answer to a neighbour may take.
const NEIGHBOUR: Duration = Duration::from_secs(5);
/// Violations of one field that are kept.
const KEPT: usize = 3;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// Where it tells its metrics, if not on its own port.
    pub metrics: Option<Server>,
    /// Tenants are made for the run.
    pub admin_key: String,
    /// Only operations whose name has this in it; `document`, `door`, `sql`, `histories`, `years`,
    /// `places` and `restore` are names too.
    pub only: Option<String>,
    /// Which of their fields.
    pub share: Share,
}

/// Each `every`-th field, from the one at `from` on: a shorter run. Runs with all `from` below
/// `every` try all fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// 1 is all; 0 counts as 1.
    pub every: usize,
    /// Counts from 0.
    pub from: usize,
}

impl Share {
    /// Every field.
    pub const ALL: Self = Self { every: 1, from: 0 };

    fn has(self, field: usize) -> bool {
        let every = self.every.max(1);
        field % every == self.from % every
    }
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PoisonError(String);

/// Something that one request did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `server_error`, `hang`, `taken` (refused by the contract, yet taken), `refused` (the other
    /// way round), `wrong`, `too_large`, `open` (to anybody), `unbounded`, `not_told`,
    /// `neighbour_hurt`.
    pub kind: &'static str,
    /// Operation and field.
    pub field: String,
    /// The request and its answer, cut.
    pub text: String,
}

/// What a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Requests at an extreme.
    pub cases: usize,
    /// Fields and parameters.
    pub fields: usize,
    /// The run ended early: neighbours had no answers any more.
    pub gave_up: bool,
    /// All that was found.
    pub findings: Vec<Finding>,
}

struct Run {
    server: Server,
    metrics: Option<Server>,
    client: Client,
    neighbour: Client,
    admin: String,
    tenant: Uuid,
    key: String,
    quiet: String,
    unique: u64,
    share: Share,
    /// Fields so far, tried or not.
    met: usize,
    failed_probes: usize,
    report: Report,
}

/// Sends every extreme, and tells what was wrong with the answers.
///
/// # Errors
/// The server does not answer good requests, or its document has an operation without a good
/// request here.
pub async fn poison(settings: Settings) -> Result<Report, PoisonError> {
    let open = |patience| Client::new(settings.server.clone(), Instant::now(), patience);
    let mut run = Run {
        server: settings.server.clone(),
        metrics: settings.metrics.clone(),
        client: open(PATIENCE),
        neighbour: open(NEIGHBOUR),
        admin: settings.admin_key.clone(),
        tenant: Uuid::nil(),
        key: String::new(),
        quiet: String::new(),
        unique: 0,
        share: settings.share,
        met: 0,
        failed_probes: 0,
        report: Report::default(),
    };
    (run.tenant, run.key) = run.tenant().await?;
    run.quiet = run.tenant().await?.1;
    let document = run
        .client
        .send(&Ask::new(Method::GET, "/openapi.json", ""))
        .await;
    let document = document.json();
    let operations = cases::operations(&document).map_err(PoisonError)?;
    let wanted = |name: &str| {
        settings
            .only
            .as_deref()
            .is_none_or(|only| name.contains(only))
    };
    if wanted("document") {
        for fault in document::faults(&document) {
            run.find("invalid", "/openapi.json", fault);
        }
    }
    if wanted("door") {
        run.door().await?;
    }
    if wanted("sql") {
        run.sql().await;
    }
    if wanted("histories") {
        run.histories().await?;
    }
    if wanted("years") {
        run.years().await;
    }
    if wanted("places") {
        run.places().await?;
    }
    if wanted("uploadInvoices") {
        run.marked().await;
    }
    for operation in operations.iter().filter(|one| wanted(&one.id)) {
        for field in operation.fields() {
            if !run.is_due() {
                continue;
            }
            run.field(operation, &field).await?;
            if run.report.gave_up {
                return Ok(run.report);
            }
        }
    }
    if wanted("restore") {
        run.restores(&operations).await?;
    }
    Ok(run.report)
}

impl Run {
    /// Whether the next field is one of the share.
    fn is_due(&mut self) -> bool {
        self.met += 1;
        self.share.has(self.met - 1)
    }

    async fn good(
        &mut self,
        method: Method,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Value, PoisonError> {
        let body = Bytes::from(body.to_string());
        let told = self
            .client
            .send(&Ask {
                body,
                ..Ask::new(method, path, key)
            })
            .await;
        if !(200..300).contains(&told.status()) {
            return Err(PoisonError(format!(
                "{path} answered {} to a good request: {}",
                told.status(),
                cut(&told)
            )));
        }
        Ok(told.json())
    }

    async fn tenant(&mut self) -> Result<(Uuid, String), PoisonError> {
        let admin = self.admin.clone();
        let name = format!("poison {}", Uuid::new_v4());
        let tenant = self
            .good(Method::POST, "/v1/tenants", &admin, &json!({"name": name}))
            .await?;
        let id = tenant["id"]
            .as_str()
            .and_then(|id| Uuid::parse_str(id).ok())
            .unwrap_or_default();
        let path = format!("/v1/tenants/{id}/api-keys");
        let key = self
            .good(
                Method::POST,
                &path,
                &admin,
                &json!({"name": "k", "role": "admin"}),
            )
            .await?;
        Ok((id, key["api_key"].as_str().unwrap_or_default().to_owned()))
    }

    /// A fresh document for one case.
    async fn invoice(&mut self, subject: Subject) -> Result<Value, PoisonError> {
        let key = self.key.clone();
        let line = json!({"description": "Work", "quantity": "1", "unit_price": "100.00",
            "tax_rate": "0.19"});
        let mut body = json!({"currency": "EUR", "lines": [line], "status": "draft",
            "metadata": {"plan": "pro"}});
        if subject != Subject::Draft {
            body["status"] = json!("issued");
            body["issue_date"] = json!("2026-01-05");
        }
        if subject == Subject::Paid {
            body["payments"] = json!([{"reference": "first", "amount": "119.00",
                "paid_on": "2026-01-06", "method": "card"}]);
        }
        if subject == Subject::CreditNote {
            body["kind"] = json!("credit_note");
        }
        self.good(Method::POST, "/v1/invoices", &key, &body).await
    }

    async fn field(&mut self, operation: &Operation, field: &Field) -> Result<(), PoisonError> {
        let name = format!("{} {}", operation.id, field.name);
        let before = self.report.findings.len();
        for case in &field.cases {
            let told = self.one(operation, case).await?;
            self.judge(
                &name,
                case.refused,
                &told,
                case.body.as_deref().unwrap_or(&case.query),
            );
            if told.status() < 300 && told.status() >= 200 && operation.method != "GET" {
                self.follow_up(&name, &told.json()).await;
            }
        }
        self.report.findings.truncate(before + KEPT);
        self.report.fields += 1;
        self.probe(&name).await;
        Ok(())
    }

    async fn one(&mut self, operation: &Operation, case: &Case) -> Result<Told, PoisonError> {
        let mut path = operation.path.clone();
        if let Some((name, value)) = &case.path {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let mut body = case.body.clone().unwrap_or_default();
        self.unique += 1;
        body = body.replace("{unique}", &format!("u-{}", self.unique));
        if body.contains("{issued}") {
            let id = self.invoice(Subject::Issued).await?["id"].to_string();
            body = body.replace("\"{issued}\"", &id);
        }
        if body.contains("{customer}") {
            let id = self.customer().await?.to_string();
            body = body.replace("\"{customer}\"", &id);
        }
        if path.contains('{') {
            let subject = operation.base.subject;
            let (id, payment) = match subject {
                Subject::Customer => (self.customer().await?, Value::Null),
                Subject::Tenant => (json!(self.tenant), Value::Null),
                Subject::None => (json!(Uuid::now_v7()), Value::Null),
                _ => {
                    let invoice = self.invoice(subject).await?;
                    (invoice["id"].clone(), invoice["payments"][0]["id"].clone())
                }
            };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            path = path
                .replace("{id}", &text(&id))
                .replace("{payment_id}", &text(&payment));
            path = path.replace("{key_id}", &Uuid::now_v7().to_string());
            path = path
                .replace("{series}", "invoice")
                .replace("{year}", "2024");
        }
        let credential = if operation.base.admin {
            self.admin.clone()
        } else {
            self.key.clone()
        };
        let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or(Method::GET);
        let content_type = if operation.ndjson {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let path = format!("{path}{}", case.query);
        let ask = Ask {
            body: body.into(),
            content_type,
            ..Ask::new(method, path, &credential)
        };
        self.report.cases += 1;
        Ok(self.client.send(&ask).await)
    }

    async fn customer(&mut self) -> Result<Value, PoisonError> {
        let key = self.key.clone();
        Ok(self
            .good(Method::POST, "/v1/customers", &key, &json!({"name": "N"}))
            .await?["id"]
            .clone())
    }

    /// Whether the answer is one that this request may get; if not, it is a finding.
    fn judge(&mut self, name: &str, refused: bool, told: &Told, request: &str) -> bool {
        let answer = &told.attempt.answer;
        let kind = match answer.status {
            0 if answer.code == "timeout" => "hang",
            // The server may close a connection whose request it does not read to its end.
            0 => "server_error",
            501 => return true,
            500.. => "server_error",
            200..=299 if refused && !rejected(told) => "taken",
            _ => return true,
        };
        let request: String = request.chars().take(300).collect();
        let text = format!("{request} was answered {} {}", answer.status, cut(told));
        self.find(kind, name, text);
        false
    }

    fn find(&mut self, kind: &'static str, field: &str, text: String) {
        self.report.findings.push(Finding {
            kind,
            field: field.to_owned(),
            text,
        });
    }

    /// A file that begins with a byte order mark, as editors and spreadsheets write it.
    async fn marked(&mut self) {
        let line = json!({"currency": "EUR", "lines": [{"description": "x", "quantity": "1",
            "unit_price": "1"}]});
        let key = self.key.clone();
        let ask = Ask {
            body: format!("\u{feff}{line}\n").into(),
            content_type: "application/x-ndjson",
            ..Ask::new(Method::POST, "/v1/invoices/bulk", &key)
        };
        let told = self.client.send(&ask).await;
        self.report.cases += 1;
        let name = "uploadInvoices, a byte order mark";
        if self.judge(name, false, &told, "") && told.json()["created"] != 1 {
            self.find("refused", name, cut(&told));
        }
    }
}

/// Lines of an upload are refused one by one, in an answer that is good as a whole.
fn rejected(told: &Told) -> bool {
    told.json()["rejected"]
        .as_u64()
        .is_some_and(|rejected| rejected > 0)
}

fn cut(told: &Told) -> String {
    let text = if told.body.is_empty() {
        told.attempt.answer.code.clone()
    } else {
        String::from_utf8_lossy(&told.body).into_owned()
    };
    text.chars().take(200).collect()
}
