//! One tenant takes all it can of what all share: places, years, histories. Others go on.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::base::Subject;
use super::{NEIGHBOUR, PoisonError, Run, cut};
use crate::check::client::{Ask, Client, Told};
use crate::load::http::{AnyBody, Connection, Server};

/// Documents that are asked for at once, and lines of each.
const DOCUMENTS: usize = 120;
const DOCUMENT_LINES: usize = 100;
/// How long a document may take when many are made; what matters is that a neighbour's is not
/// refused.
const DOCUMENT: Duration = Duration::from_secs(60);
/// Uploads that are begun and not ended, and for how long.
const UPLOADS: usize = 64;
const HELD: Duration = Duration::from_secs(4);
/// Edits of one draft, and bytes of lines in each.
const EDITS: usize = 16;
const EDIT: usize = 3 << 19;
/// Bytes of a line's description, which may have 2,000.
const LINE: usize = 1_900;
/// Bytes of a page at most: a client must be able to hold one in memory.
const PAGE: usize = 16 << 20;
/// The first year that a document may have.
const FIRST_YEAR: i32 = 1970;
const YEARS: i32 = 50;
/// The pause between two creates of the neighbour.
const PACE: Duration = Duration::from_millis(50);

impl Run {
    /// Edits that are small when packed must not become a history that nobody can read.
    pub(super) async fn histories(&mut self) -> Result<(), PoisonError> {
        let draft = self.invoice(Subject::Draft).await?;
        let id = draft["id"].as_str().unwrap_or_default().to_owned();
        let key = self.key.clone();
        for edit in 0..EDITS {
            let line = |n: usize| {
                json!({"description": format!("{edit} {n} {}", "x".repeat(LINE)), "quantity": "1",
                    "unit_price": "1"})
            };
            // In turns, so that each tells the long ones: as what was, or as what is.
            let count = if edit % 2 == 0 { EDIT / LINE } else { 1 };
            let lines: Vec<Value> = (0..count).map(line).collect();
            let ask = Ask {
                body: gzip(&json!({"lines": lines}).to_string()),
                gzip: true,
                ..Ask::new(Method::PATCH, format!("/v1/invoices/{id}"), &key)
            };
            let told = self.client.send(&ask).await;
            self.report.cases += 1;
            self.judge(
                "long edits",
                false,
                &told,
                "a PATCH of up to 1.5 MiB of lines",
            );
        }
        for path in [
            format!("/v1/invoices/{id}/events?limit=100"),
            "/v1/events?limit=100".to_owned(),
        ] {
            let told = self.client.send(&Ask::new(Method::GET, path, &key)).await;
            if self.judge("long edits", false, &told, "the page of events")
                && told.body.len() > PAGE
            {
                let mib = told.body.len() >> 20;
                let text = format!("{EDITS} edits made a page of events of {mib} MiB");
                self.find("too_large", "long edits", text);
            }
        }
        self.report.fields += 1;
        self.probe("long edits").await;
        Ok(())
    }

    /// A document in each of many years, in one upload, beside a tenant that creates one after
    /// another.
    pub(super) async fn years(&mut self) {
        let (key, quiet) = (self.key.clone(), self.quiet.clone());
        let mut body = String::new();
        for year in (FIRST_YEAR..)
            .step_by(1)
            .take(usize::try_from(YEARS).unwrap_or(0))
        {
            let line = json!({"currency": "EUR", "issue_date": format!("{year}-05-05"),
                "status": "issued",
                "lines": [{"description": "x", "quantity": "1", "unit_price": "1"}]});
            body += &format!("{line}\n");
        }
        let upload = Ask {
            body: body.into(),
            content_type: "application/x-ndjson",
            ..Ask::new(Method::POST, "/v1/invoices/bulk", &key)
        };
        let mut hostile = Client::new(self.server.clone(), Instant::now(), DOCUMENT * 2);
        let mut client = Client::new(self.server.clone(), Instant::now(), NEIGHBOUR);
        let (ended, mut wrong) = (std::cell::Cell::new(false), None);
        let beside = async {
            while !ended.get() && wrong.is_none() {
                let told = client.send(&create(&quiet)).await;
                if told.status() != 201 {
                    wrong = Some(told);
                }
                tokio::time::sleep(PACE).await;
            }
        };
        let uploading = async {
            let told = hostile.send(&upload).await;
            ended.set(true);
            told
        };
        let (told, ()) = tokio::join!(uploading, beside);
        self.report.cases += 1;
        self.report.fields += 1;
        self.judge("many years", false, &told, "an upload of fifty years");
        if let Some(wrong) = wrong {
            let text = format!(
                "beside an upload of {YEARS} years a create of another tenant was answered {} {}",
                wrong.status(),
                cut(&wrong)
            );
            self.find("neighbour_hurt", "many years", text);
        }
        self.probe("many years").await;
    }

    /// Documents and uploads: one tenant asks for more than there are places.
    pub(super) async fn places(&mut self) -> Result<(), PoisonError> {
        let line = json!({"description": "Work", "quantity": "1", "unit_price": "1.00"});
        let body = json!({"currency": "EUR", "issue_date": "2026-01-05", "status": "issued",
            "lines": vec![line; DOCUMENT_LINES]});
        let (key, quiet) = (self.key.clone(), self.quiet.clone());
        let long = self.good(Method::POST, "/v1/invoices", &key, &body).await?;
        let path = format!(
            "/v1/invoices/{}.pdf",
            long["id"].as_str().unwrap_or_default()
        );
        let own = self.client.send(&create(&quiet)).await.json();
        let short = format!(
            "/v1/invoices/{}.pdf",
            own["id"].as_str().unwrap_or_default()
        );
        let send = |path: String, key: String, later: Duration| {
            let mut client = Client::new(self.server.clone(), Instant::now(), DOCUMENT);
            async move {
                tokio::time::sleep(later).await;
                client.send(&Ask::new(Method::GET, path, &key)).await
            }
        };
        let many = (0..DOCUMENTS).map(|_| send(path.clone(), key.clone(), Duration::ZERO));
        let (_, told) = tokio::join!(
            join_all(many),
            send(short, quiet.clone(), Duration::from_millis(500))
        );
        self.report.cases += DOCUMENTS;
        self.unhurt("documents", &told, 200);
        let held = (0..UPLOADS).map(|_| hold(&self.server, &key));
        let neighbour = async {
            tokio::time::sleep(HELD / 4).await;
            let mut client = Client::new(self.server.clone(), Instant::now(), NEIGHBOUR);
            let ask = Ask {
                body: create(&quiet).body,
                content_type: "application/x-ndjson",
                ..Ask::new(Method::POST, "/v1/invoices/bulk?atomic=true", &quiet)
            };
            client.send(&ask).await
        };
        let (held, told) = tokio::join!(join_all(held), neighbour);
        self.report.cases += UPLOADS;
        self.unhurt("uploads", &told, 200);
        if !held.contains(&Some(429)) && !held.contains(&Some(503)) {
            let text =
                format!("one tenant had {UPLOADS} atomic uploads open, and none was refused");
            self.find("unbounded", "uploads", text);
        }
        self.report.fields += 1;
        self.probe("places").await;
        Ok(())
    }

    fn unhurt(&mut self, what: &str, told: &Told, wanted: u16) {
        if told.status() != wanted {
            let text = format!(
                "beside many {what} of one tenant another's was answered {} {}",
                told.status(),
                cut(told)
            );
            self.find("neighbour_hurt", what, text);
        }
    }
}

fn create(key: &str) -> Ask<'_> {
    let invoice = json!({"currency": "EUR", "issue_date": "2026-01-05",
        "lines": [{"description": "x", "quantity": "1", "unit_price": "1"}]});
    Ask {
        body: invoice.to_string().into(),
        ..Ask::new(Method::POST, "/v1/invoices", key)
    }
}

fn gzip(text: &str) -> Bytes {
    let mut body = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes all that is written to it.
    let _infallible = body.write_all(text.as_bytes());
    body.finish().unwrap_or_default().into()
}

/// Begins an atomic upload and does not go on; the status, if it is answered all the same.
async fn hold(server: &Server, key: &str) -> Option<u16> {
    let begun = Bytes::from(
        create("")
            .body
            .iter()
            .copied()
            .chain([b'\n'])
            .collect::<Vec<u8>>(),
    );
    let frames = stream::once(std::future::ready(Ok(Frame::data(begun)))).chain(stream::pending());
    let body: AnyBody = BodyExt::boxed(StreamBody::new(frames));
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/invoices/bulk?atomic=true")
        .header(HOST, server.authority())
        .header(AUTHORIZATION, format!("Bearer {key}"))
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(body)
        .ok()?;
    let held = async {
        let mut connection = Connection::open(server).await.ok()?;
        let head = connection.exchange(request, |_| {}).await.ok()?;
        Some(head.status().as_u16())
    };
    tokio::time::timeout(HELD, held).await.ok().flatten()
}
