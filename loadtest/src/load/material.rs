//! What a run works on: tenants, some invoices that exist, archived ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::load::generate::{Form, Generator, Shape, Skew};
use crate::load::http::{AnyBody, Connection, HttpError, Server, whole};
use crate::load::mix::{Mix, Operation};
use crate::load::setup::Tenant;

/// Invoices that are made before a run, so that there is something to read, pay and duplicate from
/// its start.
const PRIMED: usize = 200;
/// Tenants that are asked for archived invoices.
const ASKED: usize = 200;
/// Threads of one worker at most.
pub const MAX_THREADS: usize = 64;

/// An invoice that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Index of its tenant.
    pub tenant: u32,
    /// Its id.
    pub id: Uuid,
    /// A decimal.
    pub amount_due: String,
    /// The document that made it, with its `external_id`; empty when it has none.
    pub body: Vec<u8>,
}

/// What the threads of a run share.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The largest first.
    pub tenants: Vec<Tenant>,
    /// Invoices that exist.
    pub known: Vec<Known>,
    /// Archived invoices: tenant, id.
    pub cold: Vec<(u32, Uuid)>,
    /// Threads that were given theirs to pay, a bit each: the next run of the same material finds
    /// them paid.
    pub(crate) given: Arc<AtomicU64>,
}

impl Material {
    /// Makes a few invoices for the tenants, and looks for archived ones if the mix reads some.
    ///
    /// # Errors
    /// As [`Connection::exchange`]; [`HttpError::Answer`] when the server refuses, or has no
    /// archived invoices though the mix reads some.
    pub async fn gather(
        server: &Server,
        tenants: Vec<Tenant>,
        mix: &Mix,
    ) -> Result<Self, HttpError> {
        let mut material = Self {
            tenants,
            ..Self::default()
        };
        if !mix.needs_tenants() {
            return Ok(material);
        }
        if material.tenants.is_empty() {
            return Err(HttpError::Answer("the mix needs tenants".to_owned()));
        }
        let mut connection = Connection::open(server).await?;
        material.prime(&mut connection, mix).await?;
        if mix.has(Operation::GetCold) {
            material.find_cold(&mut connection).await?;
        }
        Ok(material)
    }

    /// The part of the known invoices that this thread may pay: none from the second run on.
    pub(crate) fn payable(&self, thread: u64) -> VecDeque<Known> {
        let bit = 1_u64 << (thread % 64);
        if self.given.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return VecDeque::new();
        }
        let mine = |(index, known): (usize, &Known)| {
            let owner = (index % MAX_THREADS) as u64;
            (owner == thread && !known.amount_due.is_empty()).then(|| known.clone())
        };
        self.known.iter().enumerate().filter_map(mine).collect()
    }

    async fn prime(
        &mut self,
        connection: &mut Connection<AnyBody>,
        mix: &Mix,
    ) -> Result<(), HttpError> {
        let tenants = u32::try_from(self.tenants.len()).unwrap_or(u32::MAX);
        let shape = Shape {
            skew: if mix.zipf > 0.0 {
                Skew::Zipf(mix.zipf)
            } else {
                Skew::Uniform
            },
            lines_mean: mix.lines_mean,
            lines_sigma: mix.lines_sigma,
            customers: mix.customers,
            ..Shape::single(1, tenants)
        };
        let wrong = |error: crate::load::generate::ShapeError| HttpError::Answer(error.to_string());
        let mut generator = Generator::new(shape).map_err(wrong)?;
        let run = Uuid::new_v4();
        for n in 0..PRIMED {
            let mut plain = Vec::new();
            let tenant = generator.write(Form::Tenant, &mut plain);
            let mut body = format!("{{\"external_id\":\"primed-{run}-{n}\",").into_bytes();
            body.extend_from_slice(&plain[1..]);
            let key = &self.tenants[tenant as usize].api_key;
            let (status, answer) = connection
                .json(
                    Method::POST,
                    "/v1/invoices",
                    key,
                    "application/json",
                    whole(body.clone()),
                )
                .await?;
            if status != StatusCode::CREATED {
                let refused = format!("POST /v1/invoices answered {status}: {answer}");
                return Err(HttpError::Answer(refused));
            }
            let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
            let id = Uuid::parse_str(text("id"));
            self.known.push(Known {
                tenant,
                id: id.map_err(|error| HttpError::Answer(error.to_string()))?,
                amount_due: text("amount_due").to_owned(),
                body,
            });
        }
        Ok(())
    }

    async fn find_cold(&mut self, connection: &mut Connection<AnyBody>) -> Result<(), HttpError> {
        for (index, tenant) in (0_u32..).zip(self.tenants.iter().take(ASKED)) {
            let path = "/v1/invoices?tier=cold&limit=100";
            let (status, page) = connection
                .json(
                    Method::GET,
                    path,
                    &tenant.api_key,
                    "application/json",
                    whole(""),
                )
                .await?;
            if status != StatusCode::OK {
                return Err(HttpError::Answer(format!(
                    "GET {path} answered {status}: {page}"
                )));
            }
            let found = page.get("data").and_then(Value::as_array);
            for invoice in found.into_iter().flatten() {
                let id = invoice.get("id").and_then(Value::as_str);
                let id = id.and_then(|id| Uuid::parse_str(id).ok());
                self.cold.extend(id.map(|id| (index, id)));
            }
        }
        if self.cold.is_empty() {
            let none = "the mix reads archived invoices, but these tenants have none: upload old, \
                paid invoices, then \
                        `sheaf tier run`, and name the tenants with --keys";
            return Err(HttpError::Answer(none.to_owned()));
        }
        Ok(())
    }
}
