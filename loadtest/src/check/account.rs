//! A tenant of the check, and the invoices that its clients work on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::money;
use crate::load::setup::Tenant;

/// Invoices of a tenant that clients go on working on.
const POOL: usize = 2_000;

/// An invoice as its clients know it.
#[derive(Clone, Debug)]
pub(super) struct KnownInvoice {
    pub(super) id: Uuid,
    pub(super) draft: bool,
    pub(super) due: Decimal,
    pub(super) payments: Vec<Uuid>,
    /// The customer whose personal data it has.
    pub(super) customer: Option<Uuid>,
}

#[derive(Default)]
struct Pool {
    invoices: VecDeque<KnownInvoice>,
    /// Customers by external id, once they are known.
    customers: BTreeMap<String, Option<Uuid>>,
    /// Those that were erased.
    erased: Vec<Uuid>,
    made: usize,
}

/// A tenant and what its clients share.
pub(super) struct Account {
    pub(super) tenant: Tenant,
    /// It has no old documents, and so no archive.
    pub(super) bystander: bool,
    pool: Mutex<Pool>,
}

impl Account {
    pub(super) fn new(tenant: Tenant, bystander: bool) -> Self {
        Self {
            tenant,
            bystander,
            pool: Mutex::default(),
        }
    }

    fn pool<T>(&self, work: impl FnOnce(&mut Pool) -> T) -> T {
        work(&mut self.pool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in an invoice as an answer showed it.
    pub(super) fn learn(&self, invoice: &Value) {
        let text = |value: &Value| value.as_str().and_then(|text| Uuid::parse_str(text).ok());
        let Some(id) = text(&invoice["id"]) else {
            return;
        };
        let payments = invoice["payments"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let payments = payments
            .iter()
            .filter(|payment| payment["kind"] == "payment");
        let known = KnownInvoice {
            id,
            draft: invoice["status"] == "draft",
            due: money::amount(invoice, "amount_due").unwrap_or_default(),
            payments: payments
                .filter_map(|payment| text(&payment["id"]))
                .collect(),
            customer: text(&invoice["customer_id"]),
        };
        self.pool(|pool| {
            if let Some(external) = invoice["customer"]["external_id"].as_str()
                && let Some(customer) = pool.customers.get_mut(external)
            {
                *customer = text(&invoice["customer_id"]);
            }
            match pool.invoices.iter_mut().find(|one| one.id == id) {
                Some(one) => *one = known,
                None => {
                    pool.invoices.push_back(known);
                    if pool.invoices.len() > POOL {
                        pool.invoices.pop_front();
                    }
                }
            }
        });
    }

    /// Any invoice, rather a young one.
    pub(super) fn some(
        &self,
        chance: &mut ChaCha8Rng,
        wanted: impl Fn(&KnownInvoice) -> bool,
    ) -> Option<KnownInvoice> {
        self.pool(|pool| {
            let fits: Vec<&KnownInvoice> = pool
                .invoices
                .iter()
                .rev()
                .filter(|one| wanted(one))
                .collect();
            let young = if chance.random_bool(0.7) {
                fits.len().min(30)
            } else {
                fits.len()
            };
            fits[..young].choose(chance).map(|one| (*one).clone())
        })
    }

    /// An invoice that has, or had, a person's name which is to be erased.
    pub(super) fn of_erased(&self, chance: &mut ChaCha8Rng) -> Option<KnownInvoice> {
        let erased = self.pool(|pool| pool.erased.clone());
        self.some(chance, |one| {
            one.customer.is_some_and(|id| erased.contains(&id))
        })
    }

    /// A customer with an id: external id and id. Nobody names it any more.
    pub(super) fn to_erase(&self) -> Option<(String, Uuid)> {
        self.pool(|pool| {
            let mut known = pool.customers.iter();
            let (name, id) = known.find_map(|(name, id)| Some((name.clone(), (*id)?)))?;
            pool.customers.remove(&name);
            pool.erased.push(id);
            Some((name, id))
        })
    }

    /// A customer's external id; a new one now and then.
    pub(super) fn customer(&self, chance: &mut ChaCha8Rng) -> String {
        self.pool(|pool| {
            let names: Vec<&String> = pool.customers.keys().collect();
            match names.choose(chance).filter(|_| names.len() >= 10) {
                Some(name) => (*name).clone(),
                None => {
                    pool.made += 1;
                    let name = format!("customer {}", pool.made);
                    pool.customers.insert(name.clone(), None);
                    name
                }
            }
        })
    }
}
