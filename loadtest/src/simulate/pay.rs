//! Payments of the simulated years: the day in them is the simulated one.

use std::time::Instant;

use futures_util::future::try_join_all;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::upload::Writer;
use super::{Settings, SimulateError};
use crate::load::generate::minor;
use crate::load::http::{AnyBody, Connection, HttpError, Server, whole};
use crate::result::record::Latencies;

/// Connections that pay side by side, each one payment at a time.
const CONNECTIONS: usize = 8;

struct Payment<'a> {
    path: String,
    api_key: &'a str,
    body: String,
}

/// Pays these invoices in full. Latencies count from when each payment was sent: this is a closed
/// loop.
pub(super) async fn pay(
    settings: &Settings,
    writer: &mut Writer<'_>,
    numbers: &[u64],
) -> Result<Latencies, SimulateError> {
    let mut payments = Vec::with_capacity(numbers.len());
    for number in numbers {
        let entry = writer.timeline.entry(*number);
        let (amount, paid_on) = (minor(writer.total(&entry)), entry.paid_on);
        let reference = format!("P-{number:09}");
        // No idempotency key: keys are kept for a week of real time, which would look like growth
        // of the hot tier. The reference alone keeps a payment from being made twice.
        let body = json!({"reference": reference, "amount": amount, "paid_on": paid_on,
            "method": "bank_transfer"});
        payments.push(Payment {
            path: format!("/v1/invoices/{}/payments", entry.id),
            api_key: &writer.tenant(&entry).api_key,
            body: body.to_string(),
        });
    }
    let share = payments.len().div_ceil(CONNECTIONS).max(1);
    let shares = payments
        .chunks(share)
        .map(|some| one_connection(&settings.server, some));
    let mut all = Latencies::default();
    for latencies in try_join_all(shares).await? {
        all.add(&latencies);
    }
    Ok(all)
}

async fn one_connection(
    server: &Server,
    payments: &[Payment<'_>],
) -> Result<Latencies, SimulateError> {
    let mut connection: Connection<AnyBody> = Connection::open(server).await?;
    let mut latencies = Latencies::default();
    for payment in payments {
        if !connection.is_open() {
            connection = Connection::open(server).await?;
        }
        let (path, body) = (&payment.path, whole(payment.body.clone()));
        let begun = Instant::now();
        let answered = connection.json(
            Method::POST,
            path,
            payment.api_key,
            "application/json",
            body,
        );
        let (status, answer) = answered.await.map_err(|error| named(path, error))?;
        latencies.record(begun.elapsed());
        if status != StatusCode::CREATED {
            let what = format!("POST {path} answered {status}");
            return Err(SimulateError::Refused(what, answer.to_string()));
        }
    }
    Ok(latencies)
}

fn named(path: &str, error: HttpError) -> SimulateError {
    SimulateError::Refused(format!("POST {path}"), error.to_string())
}
