//! Answers that are kept for calls with a key, and that name somebody: they must forget whom an
//! erasure erases.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use uuid::Uuid;

use super::account::Account;
use super::client::{Ask, Client};
use super::documents;
use super::history::Call;
use super::judge::Violation;
use super::stored::Stored;

/// Calls that are sent again in the end, the last ones.
const MOST: usize = 2_000;

/// What is sent again.
pub(super) struct Again {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) key: String,
    pub(super) body: Bytes,
}

/// A person on an invoice.
struct Named {
    invoice: Uuid,
    customer: Uuid,
    name: String,
}

impl Named {
    fn on(text: &str) -> Option<Self> {
        let invoice: Value = serde_json::from_str(text).ok()?;
        let id = |name: &str| Uuid::parse_str(invoice[name].as_str()?).ok();
        let external = invoice["customer"]["external_id"].as_str()?;
        Some(Self {
            invoice: id("id")?,
            customer: id("customer_id")?,
            name: documents::person(external),
        })
    }
}

struct Kept {
    tenant: usize,
    call: String,
    again: Again,
    named: Vec<Named>,
}

/// The calls of a run whose answers named somebody.
#[derive(Default)]
pub(super) struct KeptAnswers(Mutex<VecDeque<Kept>>);

impl KeptAnswers {
    /// Takes in a call that was done, and the invoices that it was answered.
    pub(super) fn keep(&self, call: &Call, again: Again, texts: &[String]) {
        let named: Vec<Named> = texts.iter().filter_map(|text| Named::on(text)).collect();
        if named.is_empty() {
            return;
        }
        let (tenant, call) = (call.tenant, call.name.clone());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(Kept {
            tenant,
            call,
            again,
            named,
        });
        if all.len() > MOST {
            all.pop_front();
        }
    }

    /// Sends again what named those whose erasure is complete: no answer may name them still.
    pub(super) async fn judge(
        &self,
        client: &mut Client,
        accounts: &[Account],
        stored: &[Stored],
    ) -> Vec<Violation> {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Vec::new();
        for one in kept {
            let receipts = &stored[one.tenant].receipts;
            let is_erased =
                |customer: &Uuid| receipts.get(customer).is_some_and(|it| it == "complete");
            let named = one.named.iter();
            let erased: Vec<_> = named.filter(|one| is_erased(&one.customer)).collect();
            if erased.is_empty() {
                continue;
            }
            let ask = Ask {
                content_type: one.again.content_type,
                key: Some(&one.again.key),
                body: one.again.body.clone(),
                ..Ask::new(
                    one.again.method.clone(),
                    one.again.path.clone(),
                    &accounts[one.tenant].tenant.api_key,
                )
            };
            let told = client.send(&ask).await;
            for named in erased {
                // Where the answer is not kept any more, the call makes another invoice.
                let id = named.invoice.to_string();
                let name = format!("\"{}\"", named.name);
                let mut invoices = told.invoices.iter();
                if invoices.any(|text| text.contains(&id) && text.contains(&name)) {
                    found.push(Violation {
                        kind: "erased_name_left",
                        text: format!("{}: its kept answer still names {name}", one.call),
                    });
                }
            }
        }
        found
    }
}
