//! After a field: what was taken goes on, and another tenant does not notice.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::{NEIGHBOUR, Run, cut};
use crate::check::client::{Ask, Client};

/// Probes of neighbours that may fail in a row before the run ends: nothing answers any more.
const GIVE_UP: usize = 3;
/// Requests that fail, and payments of a neighbour, that are sent at once.
const TOGETHER: usize = 6;

impl Run {
    /// What was taken can be read, changed and shown.
    pub(super) async fn follow_up(&mut self, name: &str, taken: &Value) {
        let Some(id) = taken["id"].as_str().filter(|_| taken["lines"].is_array()) else {
            return;
        };
        let key = self.key.clone();
        let pay =
            |n: u32| json!({"reference": format!("follow-{n}"), "amount": "0.01"}).to_string();
        let steps = [
            (Method::GET, "", String::new()),
            (Method::GET, "/events", String::new()),
            (Method::GET, ".pdf", String::new()),
            (Method::GET, ".xml", String::new()),
            (Method::POST, "/payments", pay(1)),
            (Method::POST, "/payments", pay(2)),
            (Method::PATCH, "", r#"{"metadata":{"a":1}}"#.to_owned()),
            (Method::POST, "/issue", "{}".to_owned()),
        ];
        for (method, step, body) in steps {
            let path = format!("/v1/invoices/{id}{step}");
            let text = format!("afterwards {method} {step} {body}");
            let ask = Ask {
                body: body.into(),
                ..Ask::new(method, path, &key)
            };
            let told = self.client.send(&ask).await;
            let is_good = self.judge(name, false, &told, &text);
            if !is_good && told.status() >= 500 {
                self.beside(name, &ask).await;
            }
        }
    }

    /// What fails is sent many times at once, beside payments of another tenant, which are none of
    /// its business.
    async fn beside(&mut self, name: &str, failing: &Ask<'_>) {
        let quiet = self.quiet.clone();
        let invoice = json!({"currency": "EUR", "issue_date": "2026-01-05",
            "lines": [{"description": "x", "quantity": "1", "unit_price": "100"}]});
        let ask = Ask {
            body: invoice.to_string().into(),
            ..Ask::new(Method::POST, "/v1/invoices", &quiet)
        };
        let made = self.neighbour.send(&ask).await;
        let id = made.json()["id"].as_str().unwrap_or_default().to_owned();
        let pay = |n: usize| {
            let body = json!({"reference": format!("beside-{n}"), "amount": "1"});
            Ask {
                body: body.to_string().into(),
                ..Ask::new(Method::POST, format!("/v1/invoices/{id}/payments"), &quiet)
            }
        };
        let asks = (0..TOGETHER).flat_map(|n| [failing.clone(), pay(n)]);
        let sent = asks.map(|ask| {
            let mut client = Client::new(self.server.clone(), Instant::now(), NEIGHBOUR);
            async move { client.send(&ask).await }
        });
        let told = join_all(sent).await;
        self.report.cases += TOGETHER;
        if let Some(hurt) = told
            .iter()
            .skip(1)
            .step_by(2)
            .find(|one| one.status() != 201)
        {
            let text = format!(
                "beside {} {}, which fails, a payment of another tenant was answered {} {}",
                failing.method,
                failing.path,
                hurt.status(),
                cut(hurt)
            );
            self.find("neighbour_hurt", name, text);
        }
    }

    /// Another tenant creates, pays and reads; the poisoner's own lists are answered; the server is
    /// ready.
    pub(super) async fn probe(&mut self, name: &str) {
        let (quiet, own) = (self.quiet.clone(), self.key.clone());
        for path in [
            "/v1/invoices?limit=100",
            "/v1/events?limit=100",
            "/v1/reports/aging",
        ] {
            let told = self.client.send(&Ask::new(Method::GET, path, &own)).await;
            self.judge(&format!("{name}, then {path}"), false, &told, "");
        }
        let invoice = json!({"currency": "EUR", "issue_date": "2026-01-05",
            "lines": [{"description": "x", "quantity": "1", "unit_price": "1"}]});
        let mut wrong = None;
        let body = Bytes::from(invoice.to_string());
        let made = self
            .neighbour
            .send(&Ask {
                body,
                ..Ask::new(Method::POST, "/v1/invoices", &quiet)
            })
            .await;
        let id = made.json()["id"].as_str().unwrap_or_default().to_owned();
        let pay = Bytes::from(json!({"reference": "p", "amount": "1"}).to_string());
        let path = format!("/v1/invoices/{id}/payments");
        let paid = self
            .neighbour
            .send(&Ask {
                body: pay,
                ..Ask::new(Method::POST, path, &quiet)
            })
            .await;
        let read = self
            .neighbour
            .send(&Ask::new(Method::GET, format!("/v1/invoices/{id}"), &quiet))
            .await;
        let ready = self
            .neighbour
            .send(&Ask::new(Method::GET, "/readyz", ""))
            .await;
        let steps = [
            ("create", made, 201),
            ("payment", paid, 201),
            ("read", read, 200),
            ("/readyz", ready, 200),
        ];
        for (step, told, wanted) in steps {
            if told.status() != wanted && wrong.is_none() {
                wrong = Some(format!(
                    "a {step} was answered {} {}",
                    told.status(),
                    cut(&told)
                ));
            }
        }
        match wrong {
            None => self.failed_probes = 0,
            Some(text) => {
                self.failed_probes += 1;
                self.report.gave_up = self.failed_probes >= GIVE_UP;
                self.find("neighbour_hurt", name, text);
            }
        }
    }
}
