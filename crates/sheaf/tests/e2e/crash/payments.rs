//! The server killed in the middle of payments, which are then all sent again with the same keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::api::{Api, Tenant};
use crate::process::{Place, Up, wait_for};

const INVOICES: usize = 20;
const PER_INVOICE: usize = 50;
const PAYMENTS: usize = INVOICES * PER_INVOICE;
/// Requests in flight.
const AT_ONCE: usize = 32;
/// Answers after which the server is killed.
const SOME: usize = 250;

#[test]
fn payments_are_recorded_once_whatever_dies() {
    killed_while_paying(0);
}

#[test]
fn citus_payments_are_recorded_once_whatever_dies() {
    killed_while_paying(2);
}

fn killed_while_paying(workers: usize) {
    let place = Place::new();
    let mut up = Up::start(&place, workers);
    let api = Api::new(&up.env);
    let tenants = api.make_tenants(2);
    let invoices: Vec<(usize, String)> = (0..INVOICES)
        .map(|n| {
            let body = json!({"currency": "EUR", "issue_date": "2026-11-01",
                "lines": [{"description": "x", "quantity": 1, "unit_price": PER_INVOICE * 2}]});
            let tenant = n % tenants.len();
            let made = api.post(&tenants[tenant].key, "/v1/invoices", &body);
            assert_eq!(made.status, 201);
            (tenant, made.json()["id"].as_str().unwrap().to_owned())
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let sender = Arc::new(Sender {
        http: Client::new(),
        url: up.env["SHEAF_URL"].clone(),
        tenants: tenants.clone(),
        invoices: invoices.clone(),
        answered: AtomicUsize::new(0),
    });
    let first = runtime.spawn(Arc::clone(&sender).send_all());
    wait_for("some payments", || {
        (sender.answered.load(Ordering::Relaxed) >= SOME).then_some(())
    });
    up.running.kill();
    let first = runtime.block_on(first).unwrap();
    let before = first.iter().filter(|status| **status == 201).count();
    assert!((SOME..PAYMENTS).contains(&before), "{before} were answered");

    let up = Up::start(&place, workers);
    let sender = Arc::new(Sender {
        http: Client::new(),
        url: up.env["SHEAF_URL"].clone(),
        tenants: tenants.clone(),
        invoices: invoices.clone(),
        answered: AtomicUsize::new(0),
    });
    let again = runtime.block_on(sender.send_all());
    assert_eq!(
        again.iter().filter(|status| **status == 201).count(),
        PAYMENTS,
        "{again:?}"
    );

    let api = Api::new(&up.env);
    for (tenant, id) in &invoices {
        let read = api
            .get(&tenants[*tenant].key, &format!("/v1/invoices/{id}"))
            .json();
        assert_eq!(read["status"], "paid", "{read}");
        let payments = read["payments"].as_array().unwrap();
        let references: BTreeSet<&str> = payments
            .iter()
            .map(|payment| payment["reference"].as_str().unwrap())
            .collect();
        assert_eq!(
            (payments.len(), references.len()),
            (PER_INVOICE, PER_INVOICE)
        );
        assert_eq!(read["version"], PER_INVOICE + 1);
    }
}

struct Sender {
    http: Client,
    url: String,
    tenants: Vec<Tenant>,
    invoices: Vec<(usize, String)>,
    answered: AtomicUsize,
}

impl Sender {
    /// Sends every payment, and tells what each was answered; 0 where there was no answer.
    async fn send_all(self: Arc<Self>) -> Vec<u16> {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = Vec::with_capacity(PAYMENTS);
        for n in 0..PAYMENTS {
            let (sender, slots) = (Arc::clone(&self), Arc::clone(&slots));
            tasks.push(tokio::spawn(async move {
                let _slot = slots.acquire().await.unwrap();
                sender.send(n).await
            }));
        }
        let mut statuses = Vec::with_capacity(PAYMENTS);
        for task in tasks {
            statuses.push(task.await.unwrap());
        }
        statuses
    }

    async fn send(&self, n: usize) -> u16 {
        let (tenant, id) = &self.invoices[n % self.invoices.len()];
        let body: Value = json!({"reference": format!("pay-{n}"), "amount": "2.00"});
        // What is busy or still running is asked again, as the README says.
        for _ in 0..50 {
            let request = self
                .http
                .post(format!("{}/v1/invoices/{id}/payments", self.url))
                .bearer_auth(&self.tenants[*tenant].key)
                .header("idempotency-key", format!("key-{n}"))
                .json(&body);
            let status = match request.send().await {
                Ok(answer) => answer.status().as_u16(),
                Err(_) => return 0,
            };
            if status != 503 && status != 409 {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        503
    }
}
