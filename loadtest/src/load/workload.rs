//! The requests of a run: what is sent next, and what is learnt from the answers.
// Shares are statistics, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;

use chrono::Utc;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Zipf};
use uuid::Uuid;

use crate::load::generate::{Form, Generator, Shape, ShapeError, Skew};
use crate::load::material::{Known, Material};
use crate::load::mix::{Mix, Operation};
use crate::load::wire::Head;

/// Bodies made beforehand; they are sent in turns.
const BODIES: usize = 4_000;
/// Uploads made beforehand.
const UPLOADS: usize = 16;
/// Invoices, and creates to repeat, that are remembered.
const REMEMBERED: usize = 10_000;

/// Tenants by size, as reports tell them apart. The first tenants are the largest.
pub const CLASSES: [&str; 3] = ["largest 1%", "next 9%", "other 90%"];

/// The class of the tenant with this index, an index into [`CLASSES`].
#[must_use]
pub fn class_of(tenant: u32, tenants: usize) -> usize {
    let largest = (tenants / 100).max(1);
    let next = (tenants / 10).max(largest + 1);
    let tenant = tenant as usize;
    usize::from(tenant >= largest) + usize::from(tenant >= next)
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it is.
    pub operation: Operation,
    /// Index of its tenant.
    pub tenant: u32,
    /// Invoices that it creates if it succeeds.
    pub invoices: u32,
    /// Whether another operation was drawn that had nothing to work on.
    pub instead: bool,
    body: usize,
    key: u128,
}

/// One thread's requests.
pub struct Workload {
    material: Arc<Material>,
    mix: Mix,
    rng: ChaCha8Rng,
    /// Of this run: the same seed draws the same requests, but no run may be answered with what
    /// another one did.
    salt: u128,
    /// Sums of the weights up to each operation.
    sums: Vec<(f64, Operation)>,
    zipf: Option<Zipf<f64>>,
    bodies: Vec<(u32, Vec<u8>)>,
    uploads: Vec<Vec<u8>>,
    next_body: usize,
    hot: VecDeque<(u32, Uuid)>,
    payable: VecDeque<Known>,
    /// Creates that succeeded: tenant, body, key.
    done: VecDeque<(u32, usize, u128)>,
    host: String,
}

impl Workload {
    /// The requests of thread `thread`. `host` is `host:port`.
    ///
    /// # Errors
    /// [`ShapeError`] when the mix's invoices are out of bounds.
    pub fn new(
        material: Arc<Material>,
        mix: &Mix,
        host: &str,
        (seed, thread): (u64, u64),
    ) -> Result<Self, ShapeError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(thread);
        let tenants = u32::try_from(material.tenants.len()).unwrap_or(u32::MAX);
        let mut sum = 0.0;
        let mut sums = Vec::new();
        for (operation, weight) in &mix.operations {
            sum += weight;
            sums.push((sum, *operation));
        }
        let zipf = (mix.zipf > 0.0 && tenants > 0)
            .then(|| Zipf::new(f64::from(tenants), mix.zipf).map_err(|_| ShapeError::Zipf))
            .transpose()?;
        let mut made = Self {
            rng,
            salt: Uuid::new_v4().as_u128(),
            sums,
            zipf,
            bodies: Vec::new(),
            uploads: Vec::new(),
            next_body: 0,
            hot: material
                .known
                .iter()
                .map(|known| (known.tenant, known.id))
                .collect(),
            payable: material.payable(thread),
            done: VecDeque::new(),
            host: host.to_owned(),
            mix: mix.clone(),
            material,
        };
        if tenants > 0 {
            made.prepare(seed.wrapping_add(thread), tenants)?;
        }
        Ok(made)
    }

    /// An idempotency key that nobody has used.
    fn new_key(&mut self) -> u128 {
        let drawn = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        drawn ^ self.salt
    }

    fn prepare(&mut self, seed: u64, tenants: u32) -> Result<(), ShapeError> {
        let mut generator = Generator::new(Shape {
            seed,
            tenants,
            skew: if self.mix.zipf > 0.0 {
                Skew::Zipf(self.mix.zipf)
            } else {
                Skew::Uniform
            },
            lines_mean: self.mix.lines_mean,
            lines_sigma: self.mix.lines_sigma,
            customers: self.mix.customers,
            history: None,
        })?;
        for _ in 0..BODIES {
            let mut body = Vec::new();
            let tenant = generator.write(Form::Tenant, &mut body);
            self.bodies.push((tenant, body));
        }
        if self.mix.has(Operation::Bulk) {
            for _ in 0..UPLOADS {
                let mut upload = Vec::new();
                for _ in 0..self.mix.bulk_lines {
                    generator.write(Form::Tenant, &mut upload);
                    upload.push(b'\n');
                }
                self.uploads.push(upload);
            }
        }
        Ok(())
    }

    /// Writes the next request into `out`, which it empties first.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Sent {
        out.clear();
        let drawn = self.draw();
        if let Some(sent) = self.write(drawn, out) {
            return sent;
        }
        // Nothing to read, pay or repeat yet: a create takes its place, which makes something.
        out.clear();
        let instead = if self.bodies.is_empty() {
            Operation::Ping
        } else {
            Operation::Create
        };
        let mut sent = self.write(instead, out).unwrap_or(Sent {
            operation: Operation::Ping,
            tenant: 0,
            invoices: 0,
            instead: true,
            body: 0,
            key: 0,
        });
        sent.instead = true;
        sent
    }

    fn draw(&mut self) -> Operation {
        let sum = self.sums.last().map_or(1.0, |(sum, _)| *sum);
        let at = self.rng.random_range(0.0..sum);
        let drawn = self.sums.iter().find(|(sum, _)| at < *sum);
        drawn.map_or(Operation::Ping, |(_, operation)| *operation)
    }

    fn write(&mut self, operation: Operation, out: &mut Vec<u8>) -> Option<Sent> {
        let mut sent = Sent {
            operation,
            tenant: 0,
            invoices: 0,
            instead: false,
            body: 0,
            key: 0,
        };
        match operation {
            Operation::Ping => self.get(None, format_args!("/healthz"), out),
            Operation::Create => {
                sent.body = self.next_body % self.bodies.len().max(1);
                self.next_body += 1;
                sent.key = self.new_key();
                sent.invoices = 1;
                let (tenant, body) = self.bodies.get(sent.body)?;
                sent.tenant = *tenant;
                self.post(&sent, "/v1/invoices", JSON, body, out);
            }
            Operation::Retry => {
                (sent.tenant, sent.body, sent.key) = self.pick_done()?;
                let body = &self.bodies.get(sent.body)?.1;
                self.post(&sent, "/v1/invoices", JSON, body, out);
            }
            Operation::Duplicate => {
                let pick = self.rng.random_range(0..self.material.known.len().max(1));
                sent.key = self.new_key();
                let known = self.material.known.get(pick)?;
                sent.tenant = known.tenant;
                self.post(&sent, "/v1/invoices", JSON, &known.body, out);
            }
            Operation::Bulk => {
                sent.tenant = self.pick_tenant();
                sent.invoices = self.mix.bulk_lines;
                sent.key = self.new_key();
                let upload = self.uploads.get(self.next_body % UPLOADS)?;
                self.next_body += 1;
                self.post(&sent, "/v1/invoices/bulk", NDJSON, upload, out);
            }
            Operation::Pay => {
                let known = self.payable.pop_front()?;
                sent.tenant = known.tenant;
                sent.key = self.new_key();
                let reference = Uuid::from_u128(sent.key);
                let today = Utc::now().date_naive();
                let amount = &known.amount_due;
                let body = format!(
                    "{{\"reference\":\"{reference}\",\"amount\":\"{amount}\",\"paid_on\":\"{today}\
                    \",\"method\":\"bank_transfer\"}}"
                );
                let path = format!("/v1/invoices/{}/payments", known.id);
                self.post(&sent, &path, JSON, body.as_bytes(), out);
            }
            Operation::GetHot => {
                let pick = self.rng.random_range(0..self.hot.len().max(1));
                let (tenant, id) = *self.hot.get(pick)?;
                sent.tenant = tenant;
                self.get(Some(tenant), format_args!("/v1/invoices/{id}"), out);
            }
            Operation::GetCold => {
                let pick = self.rng.random_range(0..self.material.cold.len().max(1));
                let (tenant, id) = *self.material.cold.get(pick)?;
                sent.tenant = tenant;
                self.get(Some(tenant), format_args!("/v1/invoices/{id}"), out);
            }
            Operation::List => {
                sent.tenant = self.pick_tenant();
                self.get(
                    Some(sent.tenant),
                    format_args!("/v1/invoices?limit=20"),
                    out,
                );
            }
        }
        Some(sent)
    }

    fn pick_tenant(&mut self) -> u32 {
        let tenants = u32::try_from(self.material.tenants.len())
            .unwrap_or(u32::MAX)
            .max(1);
        match self.zipf {
            None => self.rng.random_range(0..tenants),
            Some(zipf) => {
                // Ranks are whole numbers from 1 to the number of tenants.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let rank = zipf.sample(&mut self.rng) as u32;
                rank.clamp(1, tenants) - 1
            }
        }
    }

    fn pick_done(&mut self) -> Option<(u32, usize, u128)> {
        let pick = self.rng.random_range(0..self.done.len().max(1));
        self.done.get(pick).copied()
    }

    fn credential(&self, tenant: u32) -> &str {
        let tenant = self.material.tenants.get(tenant as usize);
        tenant.map_or("", |tenant| tenant.api_key.as_str())
    }

    fn get(&self, tenant: Option<u32>, path: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
        // Writing into memory does not fail.
        let _ = write!(out, "GET {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        if let Some(tenant) = tenant {
            let _ = write!(out, "authorization: Bearer {}\r\n", self.credential(tenant));
        }
        out.extend_from_slice(b"\r\n");
    }

    fn post(&self, sent: &Sent, path: &str, media: &str, body: &[u8], out: &mut Vec<u8>) {
        let key = Uuid::from_u128(sent.key);
        let credential = self.credential(sent.tenant);
        let _ = write!(
            out,
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer \
            {credential}\r\nidempotency-key: {key}\r\n\
             content-type: {media}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        out.extend_from_slice(body);
    }

    /// Takes note of a right answer: what was created can be read, paid and repeated.
    pub fn learn(&mut self, sent: &Sent, head: &Head, body: &[u8]) {
        if sent.operation != Operation::Create {
            return;
        }
        let Some(id) = head.id else { return };
        if self.mix.has(Operation::GetHot) {
            bounded(&mut self.hot, (sent.tenant, id));
        }
        if self.mix.has(Operation::Retry) {
            bounded(&mut self.done, (sent.tenant, sent.body, sent.key));
        }
        if self.mix.has(Operation::Pay)
            && let Some(amount_due) = member(body, "amount_due").or_else(|| member(body, "total"))
        {
            let known = Known {
                tenant: sent.tenant,
                id,
                amount_due: amount_due.to_owned(),
                body: Vec::new(),
            };
            bounded(&mut self.payable, known);
        }
    }
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

fn bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// The text of a member, found without reading the document: of no use but for documents whose form
/// is known.
pub(crate) fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(body).ok()?;
    let start = text.find(&format!("\"{name}\":\""))? + name.len() + 4;
    let rest = &text[start..];
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::load::setup::Tenant;

    /// A sweep runs the same material again and again: a create that is answered by an earlier
    /// step's costs nothing, and an invoice is paid once.
    #[test]
    fn runs_of_one_seed_draw_the_same_and_share_no_key_and_no_payment() {
        let tenants = vec![Tenant {
            id: Uuid::nil(),
            api_key: "sheaf_key".into(),
        }];
        let known = (0..40).map(|n| Known {
            tenant: 0,
            id: Uuid::from_u128(n),
            amount_due: "1.00".into(),
            body: b"{}".to_vec(),
        });
        let material = Arc::new(Material {
            tenants,
            known: known.collect(),
            ..Material::default()
        });
        let mix = Mix::parse("create=50,pay=10,duplicate=20,get_hot=20").unwrap();
        let run = || {
            let mut workload = Workload::new(Arc::clone(&material), &mix, "h:1", (7, 0)).unwrap();
            let mut out = Vec::new();
            let sent: Vec<Sent> = (0..200).map(|_| workload.next(&mut out)).collect();
            sent
        };
        let (first, second) = (run(), run());
        let keys = |sent: &[Sent]| -> Vec<u128> {
            let keys = sent.iter().map(|sent| sent.key);
            keys.filter(|key| *key != 0).collect()
        };
        let (ours, theirs) = (keys(&first), keys(&second));
        assert!(ours.len() > 100 && theirs.iter().all(|key| !ours.contains(key)));
        let paid = |sent: &[Sent]| {
            sent.iter()
                .filter(|s| s.operation == Operation::Pay)
                .count()
        };
        // Of the forty, the first thread's one; the second run finds none, and makes invoices
        // instead.
        assert_eq!((paid(&first), paid(&second)), (1, 0));
        let bodies = |sent: &[Sent]| -> Vec<usize> {
            let creates = sent
                .iter()
                .filter(|s| s.operation == Operation::Create && !s.instead);
            creates.map(|sent| sent.body).collect()
        };
        assert_eq!(bodies(&first).len(), bodies(&second).len());
    }
}
