//! One hostile tenant sends everything at once, as fast as it can; nine quiet ones must hardly
//! notice.
//!
//! Rounds alternate: quiet tenants alone, then the same beside the hostile one. What counts is the
//! ratio of the p99 of their answers, and that none of them fails.
// Latencies are measurements, not money.
#![allow(clippy::float_arithmetic)]

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::check::client::{Ask, Client};
use crate::load::http::{HttpError, Server};
use crate::load::setup;
use crate::load::setup::Tenant;

/// Quiet tenants.
const QUIET: u32 = 9;
/// The pause between two requests of a quiet tenant.
const PACE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// Tenants are made for the run.
    pub admin_key: String,
    /// Rounds, each with and without the hostile tenant.
    pub rounds: u32,
    /// Length of a half of a round.
    pub duration: Duration,
    /// Connections of the hostile tenant.
    pub connections: usize,
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// p99 of the quiet tenants' answers in milliseconds, alone, by round.
    pub alone: Vec<f64>,
    /// The same, beside the hostile tenant.
    pub beside: Vec<f64>,
    /// Median of the rounds' ratios.
    pub ratio: f64,
    /// Answers to quiet tenants that were no success: status and code.
    pub failed: Vec<String>,
    /// Requests of the hostile tenant that were answered.
    pub hostile: u64,
}

/// Measures.
///
/// # Errors
/// The tenants could not be made.
pub async fn neighbours(settings: Settings) -> Result<Report, HttpError> {
    let prefix = format!("neighbours-{}-", Uuid::new_v4());
    let count = QUIET + 1;
    let mut quiet = setup::tenants(&settings.server, &settings.admin_key, count, &prefix).await?;
    let hostile = quiet
        .pop()
        .ok_or_else(|| HttpError::Answer("no tenant was made".to_owned()))?;
    let (mut alone, mut beside, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let sent = Arc::new(AtomicU64::new(0));
    for _ in 0..settings.rounds {
        let (p99, wrong) = all_quiet(&settings, &quiet).await;
        alone.push(p99);
        failed.extend(wrong);
        let stop = Arc::new(AtomicBool::new(false));
        let attack = (0..settings.connections).map(|number| {
            let client = Client::new(settings.server.clone(), Instant::now(), PATIENCE);
            tokio::spawn(attack(
                client,
                hostile.clone(),
                number,
                Arc::clone(&stop),
                Arc::clone(&sent),
            ))
        });
        let attack: Vec<_> = attack.collect();
        let (p99, wrong) = all_quiet(&settings, &quiet).await;
        beside.push(p99);
        failed.extend(wrong);
        stop.store(true, Ordering::Relaxed);
        join_all(attack).await;
    }
    let mut ratios: Vec<f64> = alone
        .iter()
        .zip(&beside)
        .map(|(alone, beside)| beside / alone.max(0.1))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
    let hostile = sent.load(Ordering::Relaxed);
    Ok(Report {
        alone,
        beside,
        ratio,
        failed,
        hostile,
    })
}

async fn all_quiet(settings: &Settings, tenants: &[Tenant]) -> (f64, Vec<String>) {
    let until = Instant::now() + settings.duration;
    let all = tenants.iter().map(|tenant| {
        let client = Client::new(settings.server.clone(), Instant::now(), PATIENCE);
        quiet(client, tenant, until)
    });
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    for (took, wrong) in join_all(all).await {
        times.extend(took);
        failed.extend(wrong);
    }
    times.sort_unstable();
    let at = times.len().saturating_mul(99) / 100;
    let p99 = times
        .get(at.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default();
    (p99.as_secs_f64() * 1000.0, failed)
}

fn invoice() -> Value {
    json!({"currency": "EUR", "issue_date": "2026-01-05", "metadata": {"plan": "pro"},
        "lines": [{"description": "x", "quantity": "1", "unit_price": "10"}]})
}

/// Creates, pays and reads in turn.
async fn quiet(
    mut client: Client,
    tenant: &Tenant,
    until: Instant,
) -> (Vec<Duration>, Vec<String>) {
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    let mut id = String::new();
    let mut next = Instant::now();
    for step in (0..3_u8).cycle() {
        if Instant::now() >= until {
            return (times, failed);
        }
        let (method, path, body) = match step {
            0 => (
                Method::POST,
                "/v1/invoices".to_owned(),
                invoice().to_string(),
            ),
            1 => {
                let body = json!({"reference": "p", "amount": "10"}).to_string();
                (Method::POST, format!("/v1/invoices/{id}/payments"), body)
            }
            _ => (Method::GET, format!("/v1/invoices/{id}"), String::new()),
        };
        let ask = Ask {
            body: body.into(),
            ..Ask::new(method, path, &tenant.api_key)
        };
        let begun = Instant::now();
        let told = client.send(&ask).await;
        times.push(begun.elapsed());
        if !(200..300).contains(&told.status()) {
            failed.push(format!("{} {}", told.status(), told.attempt.answer.code));
        } else if step == 0 {
            id = told.json()["id"].as_str().unwrap_or_default().to_owned();
        }
        next += PACE;
        tokio::time::sleep_until(next.into()).await;
    }
    (times, failed)
}

/// Lines of an upload, compressed as far as they go.
fn gzip(lines: usize) -> Bytes {
    let mut body = GzEncoder::new(Vec::new(), Compression::best());
    let line = invoice().to_string() + "\n";
    for _ in 0..lines {
        // Memory takes all that is written to it.
        let _infallible = body.write_all(line.as_bytes());
    }
    body.finish().unwrap_or_default().into()
}

/// One of the hostile tenant's connections: each does one thing again and again.
async fn attack(
    mut client: Client,
    tenant: Tenant,
    number: usize,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
) {
    let key = tenant.api_key.as_str();
    let made = client
        .send(&Ask {
            body: invoice().to_string().into(),
            ..Ask::new(Method::POST, "/v1/invoices", key)
        })
        .await;
    let id = made.json()["id"].as_str().unwrap_or_default().to_owned();
    let wide: Vec<Value> = (0..2_000).map(|_| invoice()["lines"][0].clone()).collect();
    let mut large = invoice();
    large["lines"] = json!(wide);
    let sql = "with a as (select 1 as x), b as (select * from a, a a2), c as (select * from b, b \
        b2 limit 1000000) \
        select count(*), sum(total), count(distinct id) from invoices, (select 1 from c)";
    let post = |path: &str, body: String| Ask {
        body: body.into(),
        ..Ask::new(Method::POST, path, key)
    };
    let ask = match number % 12 {
        0 => Ask {
            content_type: "application/x-ndjson",
            gzip: true,
            body: gzip(20_000),
            ..Ask::new(Method::POST, "/v1/invoices/bulk", key)
        },
        1 => Ask {
            content_type: "application/x-ndjson",
            gzip: true,
            body: gzip(20_000),
            ..Ask::new(Method::POST, "/v1/invoices/bulk?atomic=true", key)
        },
        2 => Ask::new(Method::GET, "/v1/invoices?limit=100", key),
        3 => Ask::new(Method::GET, "/v1/events?limit=100", key),
        4 => Ask::new(Method::GET, "/v1/reports/aging", key),
        5 => Ask::new(Method::GET, "/v1/reports/summary", key),
        6 => post(
            "/v1/archive/query",
            json!({"sql": sql, "tier": "all"}).to_string(),
        ),
        7 => Ask::new(Method::GET, "/v1/archive/export?format=ndjson", key),
        8 => Ask::new(Method::GET, format!("/v1/invoices/{id}.pdf"), key),
        9 => post("/v1/invoices", large.to_string()),
        10 => post(
            &format!("/v1/invoices/{id}/payments"),
            json!({"reference": "r", "amount": "0.01"}).to_string(),
        ),
        _ => post("/v1/invoices", invoice().to_string()),
    };
    while !stop.load(Ordering::Relaxed) {
        let told = client.send(&ask).await;
        sent.fetch_add(1, Ordering::Relaxed);
        if matches!(told.status(), 429 | 503 | 0) {
            // Hostile, but not so that its own machine is all that is measured.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
