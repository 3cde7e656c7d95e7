//! The driver against a server that keeps its own books.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_arithmetic)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sheaf_loadtest::load::closed;
use sheaf_loadtest::load::closed::{Outcome, Plan, Prepared};
use sheaf_loadtest::load::generate::{Generator, Shape};
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::setup::Tenant;
use tokio::net::TcpListener;
use uuid::Uuid;

/// What the stub server did.
#[derive(Default)]
struct Books {
    requests: u64,
    created: HashSet<Uuid>,
    keys: HashSet<String>,
    refused: u64,
}

/// Creates; every tenth request is refused with 503, and after every hundredth the connection is
/// closed.
async fn start(delay: Duration) -> (Server, Arc<Mutex<Books>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let books = Arc::new(Mutex::new(Books::default()));
    let kept = Arc::clone(&books);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let books = Arc::clone(&kept);
            let service = service_fn(move |request| answer(Arc::clone(&books), delay, request));
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    (server, books)
}

async fn answer(
    books: Arc<Mutex<Books>>,
    delay: Duration,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(sheaf_model::InvoiceInput::parse(&body).is_ok());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut books = books.lock().unwrap();
    books.requests += 1;
    books
        .keys
        .insert(head.headers["authorization"].to_str().unwrap().to_owned());
    let mut response = Response::builder();
    if books.requests.is_multiple_of(100) {
        response = response.header("connection", "close");
    }
    if books.requests.is_multiple_of(10) {
        books.refused += 1;
        return Ok(response.status(503).body(Full::default()).unwrap());
    }
    let id = Uuid::now_v7();
    books.created.insert(id);
    let response = response
        .status(201)
        .header("location", format!("/v1/invoices/{id}"));
    Ok(response.body(Full::from("{}")).unwrap())
}

fn plan(server: Server, connections: usize) -> Plan {
    let tenant = |n| Tenant {
        id: Uuid::nil(),
        api_key: format!("key-{n}"),
    };
    let tenants: Vec<Tenant> = (0..4).map(tenant).collect();
    let mut generator = Generator::new(Shape::single(1, 4)).unwrap();
    Plan {
        server,
        connections,
        warmup: Duration::from_millis(100),
        duration: Duration::from_millis(500),
        rate: None,
        requests: Prepared::creates(&mut generator, &tenants, 50).unwrap(),
    }
}

#[tokio::test]
async fn every_answered_create_is_recorded_and_nothing_else() {
    let (server, books) = start(Duration::ZERO).await;
    let outcome = closed::run(plan(server, 8)).await.unwrap();
    let books = books.lock().unwrap();
    let recorded: HashSet<Uuid> = outcome.created.iter().map(|(_, id)| *id).collect();
    assert!(books.created.len() > 100, "{}", books.created.len());
    assert_eq!(recorded, books.created);
    assert_eq!(outcome.created.len(), recorded.len());
    assert_eq!(outcome.statuses.get(&503), Some(&books.refused));
    assert_eq!((outcome.broken, outcome.unanswered), (0, 0));
    let keys: HashSet<String> = (0..4).map(|n| format!("Bearer key-{n}")).collect();
    assert_eq!(books.keys, keys);
}

#[tokio::test]
async fn latencies_are_kept_by_class() {
    let (server, _) = start(Duration::from_millis(2)).await;
    let mut plan = plan(server, 8);
    Prepared::classify(&mut plan.requests, |tenant| u8::from(tenant > 0));
    let hot = plan.requests.iter().filter(|r| r.tenant == 0).count();
    assert!(hot > 0 && hot < plan.requests.len() / 2);
    let outcome = closed::run(plan).await.unwrap();
    let [hot, others] = [0, 1].map(|class| outcome.classes[&class]);
    assert_eq!(outcome.classes.len(), 2);
    assert!(hot.answers > 0 && others.answers > hot.answers);
    // Every measured answer is in one class; those of the warm-up and after the end are in none.
    let answers: u64 = outcome.statuses.values().sum();
    assert!(hot.answers + others.answers < answers);
    for class in [hot, others] {
        assert!(2.0 <= class.p50_ms && class.p50_ms <= class.p99_ms);
        assert!(class.p99_ms <= outcome.max_ms * 1.001, "{class:?}");
    }
}

/// The first of at most five runs that is as it should be: half a second on a busy machine may hold
/// anything, but what the loop itself does wrong is wrong in each of them.
async fn one_is(plan: impl Fn() -> Plan, right: impl Fn(&Outcome) -> bool) {
    let mut wrong = Vec::new();
    while wrong.len() < 5 {
        let outcome = closed::run(plan()).await.unwrap();
        if right(&outcome) {
            return;
        }
        wrong.push((outcome.rate, outcome.p50_ms, outcome.max_ms));
    }
    panic!("rate, median and longest: {wrong:?}");
}

#[tokio::test]
async fn a_closed_loop_waits_for_its_answers() {
    let (server, _) = start(Duration::from_millis(20)).await;
    // 4 connections with 20 ms each send 200 a second at most; nine of ten succeed.
    one_is(
        || plan(server.clone(), 4),
        |of| (90.0..=185.0).contains(&of.rate) && (20.0..40.0).contains(&of.p50_ms),
    )
    .await;
}

#[tokio::test]
async fn a_paced_run_counts_from_the_planned_time() {
    let (server, _) = start(Duration::from_millis(20)).await;
    let paced = |connections| Plan {
        rate: Some(100.0),
        ..plan(server.clone(), connections)
    };
    // One connection, a request planned every 10 ms, 20 ms each: the last ones are 250 ms late at
    // least.
    one_is(|| paced(1), |of| of.p50_ms > 120.0 && of.max_ms > 230.0).await;
    // Ten connections keep up, and the rate is the planned one.
    one_is(
        || paced(10),
        |of| (78.0..=102.0).contains(&of.rate) && of.p50_ms < 40.0,
    )
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = closed::run(plan(server, 2)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot connect to 127.0.0.1:"),
        "{error}"
    );
}
