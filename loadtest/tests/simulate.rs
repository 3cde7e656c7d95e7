//! A tiny history against a server that keeps its own books, with and without faults.
#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use chrono::{Months, NaiveDate, Utc};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sheaf_loadtest::capacity::command::CommandError;
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::simulate::month::{By, Figures, Tiered};
use sheaf_loadtest::simulate::timeline::Outline;
use sheaf_loadtest::simulate::{Outside, Settings, Simulation, Told, report, simulate};
use sheaf_model::invoice::input::{Body as _, Context, PaymentBody, TenantRef};
use sheaf_model::{Invoice, InvoiceInput, Period, Status};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What the server does wrong when it archives.
#[derive(Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// One of each run is gone.
    Loses,
    /// One of each run stays hot as well.
    Doubles,
    /// Nothing moves.
    Idles,
}

/// By tenant and id.
type Tier = BTreeMap<(Uuid, Uuid), Invoice>;

#[derive(Default)]
struct Books {
    hot: Tier,
    cold: Tier,
    payments: u64,
}

#[derive(Clone, Default)]
struct Sheaf(Arc<Mutex<Books>>, Fault);

impl Sheaf {
    /// Serves on a thread of its own, which ends with the process.
    fn start(fault: Fault) -> (Self, Server) {
        let sheaf = Self(Arc::default(), fault);
        let (told, address) = std::sync::mpsc::channel();
        let served = sheaf.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let served = served.clone();
                    let service = service_fn(move |request| answer(served.clone(), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        let server = Server::parse(&format!("http://{}", address.recv().unwrap())).unwrap();
        (sheaf, server)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }
}

async fn answer(
    sheaf: Sheaf,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    // A tenant's key is its id.
    let key = head.headers["authorization"]
        .to_str()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap();
    let tenant = Uuid::parse_str(key).unwrap_or_default();
    let path: Vec<&str> = head
        .uri
        .path()
        .trim_start_matches("/v1/")
        .split('/')
        .collect();
    let query = head.uri.query().unwrap_or_default();
    let mut books = sheaf.books();
    let (status, answer) = match (head.method.as_str(), path.as_slice()) {
        ("POST", ["tenants"]) => (201, json!({"id": Uuid::new_v4()})),
        ("POST", ["tenants", id, "api-keys"]) => (201, json!({"api_key": id})),
        ("POST", ["platform", "invoices", "bulk"]) => (200, books.upload(&body)),
        ("POST", ["invoices", id, "payments"]) => (201, books.pay(tenant, id, &body)),
        ("GET", ["invoices"]) => (200, books.list(tenant, query)),
        ("GET", ["archive", "files"]) => (200, books.files(tenant)),
        ("GET", ["invoices", id]) => {
            let key = (tenant, Uuid::parse_str(id).unwrap());
            match books.hot.get(&key).or_else(|| books.cold.get(&key)) {
                Some(invoice) => (200, told(invoice)),
                None => (404, json!({"code": "invoice_not_found"})),
            }
        }
        other => unreachable!("{other:?}"),
    };
    let response = Response::builder().status(status);
    Ok(response.body(Full::from(answer.to_string())).unwrap())
}

fn told(invoice: &Invoice) -> Value {
    serde_json::from_slice(&invoice.render()).unwrap()
}

impl Books {
    fn upload(&mut self, lines: &[u8]) -> Value {
        let mut created = 0;
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let input = InvoiceInput::parse(line).unwrap();
            let Some(TenantRef::Id(tenant_id)) = input.tenant_ref().unwrap() else {
                unreachable!()
            };
            let now = Utc::now();
            let invoice = input.into_invoice(&Context { tenant_id, now }).unwrap();
            created += u64::from(
                self.hot
                    .insert((tenant_id.0, invoice.id), invoice)
                    .is_none(),
            );
        }
        json!({"created": created})
    }

    fn pay(&mut self, tenant: Uuid, id: &str, body: &[u8]) -> Value {
        let key = (tenant, Uuid::parse_str(id).unwrap());
        let payment = PaymentBody::parse(body).unwrap().check(Utc::now()).unwrap();
        let invoice = self.hot.get_mut(&key).unwrap();
        invoice.pay(payment, Utc::now()).unwrap();
        assert_eq!(invoice.status, Status::Paid);
        self.payments += 1;
        told(invoice)
    }

    fn list(&self, tenant: Uuid, query: &str) -> Value {
        let of = |name: &str| {
            let values = query.split('&').filter_map(|pair| pair.split_once('='));
            values
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
                .next()
        };
        assert!(of("tier").is_none_or(|tier| tier == "hot"));
        let limit: usize = of("limit").unwrap().parse().unwrap();
        let from: usize = of("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let all = self.hot.iter().filter(|((owner, _), _)| *owner == tenant);
        let data: Vec<Value> = all
            .skip(from)
            .take(limit)
            .map(|(_, invoice)| told(invoice))
            .collect();
        let next = (data.len() == limit).then(|| (from + limit).to_string());
        json!({"data": data, "has_more": next.is_some(), "next_cursor": next})
    }

    fn files(&self, tenant: Uuid) -> Value {
        let invoices = self
            .cold
            .keys()
            .filter(|(owner, _)| *owner == tenant)
            .count();
        json!({"data": [{"invoices": invoices}], "has_more": false, "next_cursor": null})
    }
}

impl Outside for Sheaf {
    /// As `sheaf tier run --as-of`.
    fn tier(&mut self, day: NaiveDate) -> Result<Option<Tiered>, CommandError> {
        let fault = self.1;
        let books = &mut *self.books();
        let horizon = Period::of_date(day.checked_sub_months(Months::new(12)).unwrap());
        let old = |(_, id): &(Uuid, Uuid)| Period::of(*id) < horizon;
        let takes = |(key, invoice): &(&(Uuid, Uuid), &Invoice)| {
            old(key) && invoice.status == Status::Paid && fault != Fault::Idles
        };
        let taken: Vec<(Uuid, Uuid)> = books
            .hot
            .iter()
            .filter(takes)
            .map(|(key, _)| *key)
            .collect();
        for key in &taken {
            let invoice = books.hot.remove(key).unwrap();
            books.cold.insert(*key, invoice);
        }
        if let Some(first) = taken.first() {
            match fault {
                Fault::Loses => drop(books.cold.remove(first)),
                Fault::Doubles => drop(books.hot.insert(*first, books.cold[first].clone())),
                Fault::None | Fault::Idles => {}
            }
        }
        Ok(Some(Tiered {
            invoices: taken.len() as u64,
            bytes: taken.len() as u64 * 100,
            skipped_unsettled: books.hot.keys().filter(|key| old(key)).count() as u64,
            years_dropped: Vec::new(),
            seconds: 0.01 + taken.len() as f64 / 1e4,
        }))
    }

    fn probe(&mut self) -> Result<Figures, CommandError> {
        let books = self.books();
        let figure = |name: &str, value: usize| (name.to_owned(), value as f64);
        Ok(Figures::from([
            figure("hot_bytes", books.hot.len() * 1_000),
            figure("hot_invoices", books.hot.len()),
            figure("archived_invoices", books.cold.len()),
        ]))
    }
}

/// Three tenants; 25 invoices a month, 20 of which are paid later.
fn settings(server: Server, years: u32) -> Settings {
    Settings {
        server,
        admin_key: "admin".to_owned(),
        outline: Outline {
            seed: 3,
            first_year: 2019,
            years,
            invoices: u64::from(years) * 300,
            tenants: 3,
            zipf: 1.0,
            paid_later: 20,
            hot_months: 12,
        },
        reads: 0,
        rate: 1_000.0,
        warmup: Duration::from_millis(1),
        connections: 4,
        sample: 200,
        flat: Some(1.5),
    }
}

fn run(fault: Fault, years: u32, reads: u32) -> (Sheaf, Simulation) {
    let (mut sheaf, server) = Sheaf::start(fault);
    let mut months = 0;
    let mut tell = |told: Told<'_>| months += u32::from(matches!(told, Told::Month(_)));
    let settings = Settings {
        reads,
        ..settings(server, years)
    };
    let found = simulate(&settings, &mut sheaf, &mut tell).unwrap();
    assert_eq!(months, years * 12);
    (sheaf, found)
}

#[test]
fn two_years_are_sent_paid_archived_and_found_again() {
    let (sheaf, found) = run(Fault::None, 2, 20);
    assert!(found.check.holds(), "{:?}", found.check);
    assert_eq!(found.check.first_wrong, None);
    let books = sheaf.books();
    assert_eq!(books.hot.len() + books.cold.len(), 600);
    // Nothing moves in the first year, then each month what is old and settled.
    let taken = |month: usize| found.months[month].tier.clone().unwrap_or_default();
    assert!((0..12).all(|month| taken(month).invoices == 0));
    assert!((12..24).all(|month| taken(month).invoices > 15));
    assert!((12..24).any(|month| taken(month).skipped_unsettled > 0));
    assert!(
        books
            .cold
            .values()
            .all(|invoice| invoice.status == Status::Paid)
    );
    let paid: u64 = found.months.iter().map(|month| month.pay.count()).sum();
    assert!(
        paid == books.payments && (380..480).contains(&paid),
        "{paid}"
    );
    let cold = found
        .months
        .iter()
        .map(|month| month.reads.get("get_cold").map_or(0, |cold| cold.ok));
    let cold: Vec<u64> = cold.collect();
    assert!(
        cold[..13].iter().all(|count| *count == 0) && cold[13..].iter().sum::<u64>() > 20,
        "{cold:?}"
    );
    // Two years have nothing to compare.
    assert_eq!((found.verdict.years, found.verdict.is_flat()), (None, None));
    let (text, page) = (
        report::markdown(&found, By::Quarter),
        report::html(&found, By::Quarter),
    );
    assert!(
        text.contains("| 2020 Q4 | 600 |") && text.contains("hot_bytes"),
        "{text}"
    );
    assert!(text.contains("Nothing lost or doubled") && page.contains("<svg"));
}

#[test]
fn a_third_year_is_compared_with_the_second() {
    let (_, found) = run(Fault::None, 3, 0);
    assert_eq!(found.verdict.years, Some((2020, 2021)));
    // Times are those of a stub on a machine that does other things as well.
    assert!(found.verdict.is_flat().is_some());
    let hot = found
        .verdict
        .trends
        .iter()
        .find(|trend| trend.figure == "hot_bytes");
    assert!(
        hot.is_some_and(|hot| (0.95..1.05).contains(&hot.ratio) && hot.flat == Some(true)),
        "{hot:?}"
    );
}

#[test]
fn what_is_lost_doubled_or_left_behind_is_told() {
    let wrong = |fault| {
        let found = run(fault, 2, 0).1;
        let wrong = found
            .check
            .findings
            .iter()
            .filter(|finding| !finding.holds());
        let wrong: Vec<String> = wrong.map(|finding| finding.what.clone()).collect();
        assert!(report::markdown(&found, By::Year).contains("NOT CONSISTENT"));
        (
            wrong.join("; "),
            found.check.first_wrong.unwrap_or_default(),
        )
    };
    let (what, _) = wrong(Fault::Loses);
    assert!(
        what.contains("hot and archived, of all sent") && what.contains("catalog"),
        "{what}"
    );
    let (what, first) = wrong(Fault::Doubles);
    assert!(what.contains("hot and archived, of all sent"), "{what}");
    assert!(first.contains("should be archived"), "{first}");
    let (what, first) = wrong(Fault::Idles);
    assert!(what.contains("of what was old and settled"), "{what}");
    assert!(first.contains("should be archived"), "{first}");
}

#[test]
fn impossible_settings_are_refused() {
    let (mut sheaf, server) = Sheaf::start(Fault::None);
    let mut settings = settings(server, 1);
    settings.rate = 0.0;
    let mut tell = |_: Told<'_>| {};
    let error = simulate(&settings, &mut sheaf, &mut tell).unwrap_err();
    assert!(
        error.to_string().starts_with("the rate of reads"),
        "{error}"
    );
    settings.rate = 1.0;
    settings.outline.invoices = 11;
    let error = simulate(&settings, &mut sheaf, &mut tell).unwrap_err();
    assert!(
        error.to_string().contains("at least one invoice a month"),
        "{error}"
    );
}
