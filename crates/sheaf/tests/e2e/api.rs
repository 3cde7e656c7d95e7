//! The HTTP API, seen from outside.

use std::collections::BTreeMap;

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::process::Env;

/// A client of one server.
pub struct Api {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
    admin_key: String,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub tier: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A tenant with a key of its own.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: String,
    pub key: String,
}

/// Sums of `total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub invoices: Decimal,
    pub credit_notes: Decimal,
}

impl Api {
    pub fn new(env: &Env) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            // Nothing drives idle connections between two calls, so that none are kept: the server
            // would have closed them.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
            url: env["SHEAF_URL"].clone(),
            admin_key: env["SHEAF_ADMIN_KEY"].clone(),
        }
    }

    fn send(&self, method: Method, key: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(key);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let tier = answer
                .headers()
                .get("sheaf-tier")
                .map(|tier| tier.to_str().unwrap().to_owned());
            let status = answer.status().as_u16();
            Answer {
                status,
                tier,
                body: answer.bytes().await.unwrap().to_vec(),
            }
        })
    }

    pub fn get(&self, key: &str, path: &str) -> Answer {
        self.send(Method::GET, key, path, None)
    }

    pub fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, key, path, Some(body))
    }

    /// All items of a list, page by page.
    pub fn list(&self, key: &str, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = self.get(key, &format!("{path}?limit=100{cursor}"));
            assert_eq!(answer.status, 200, "{}", answer.json());
            let page = answer.json();
            items.extend(page["data"].as_array().unwrap().iter().cloned());
            if page["has_more"] == false {
                return items;
            }
            cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap());
        }
    }

    /// A key for every tenant but the demo one, by the admin.
    pub fn tenants(&self) -> Vec<Tenant> {
        let tenants = self.list(&self.admin_key, "/v1/tenants");
        let tenants = tenants
            .iter()
            .filter(|tenant| tenant["external_id"] != "demo");
        tenants
            .map(|tenant| self.key_of(tenant["id"].as_str().unwrap()))
            .collect()
    }

    /// New tenants, by the admin.
    pub fn make_tenants(&self, count: usize) -> Vec<Tenant> {
        let make = |number| {
            let body = json!({"name": format!("tenant {number}")});
            let answer = self.post(&self.admin_key, "/v1/tenants", &body);
            assert_eq!(answer.status, 201, "{}", answer.json());
            self.key_of(answer.json()["id"].as_str().unwrap())
        };
        (0..count).map(make).collect()
    }

    fn key_of(&self, id: &str) -> Tenant {
        let body = json!({"name": "test", "role": "admin"});
        let answer = self.post(
            &self.admin_key,
            &format!("/v1/tenants/{id}/api-keys"),
            &body,
        );
        assert_eq!(answer.status, 201, "{}", answer.json());
        Tenant {
            id: id.to_owned(),
            key: answer.json()["api_key"].as_str().unwrap().to_owned(),
        }
    }

    /// All invoices of all these tenants, as lists give them.
    pub fn invoices(&self, tenants: &[Tenant]) -> Vec<Value> {
        tenants
            .iter()
            .flat_map(|tenant| self.list(&tenant.key, "/v1/invoices"))
            .collect()
    }

    /// Every invoice's own document by id, with its tier: what the lists name, each exactly once.
    pub fn bodies(&self, tenants: &[Tenant]) -> BTreeMap<String, Answer> {
        let mut bodies = BTreeMap::new();
        for tenant in tenants {
            for invoice in self.list(&tenant.key, "/v1/invoices") {
                let id = invoice["id"].as_str().unwrap().to_owned();
                let answer = self.get(&tenant.key, &format!("/v1/invoices/{id}"));
                assert_eq!(answer.status, 200, "{id}: {}", answer.json());
                assert_eq!(answer.json(), invoice, "list and document differ");
                assert!(bodies.insert(id, answer).is_none(), "listed twice");
            }
        }
        bodies
    }
}

/// Sums invoices by kind, exactly.
pub fn sums<'a>(invoices: impl IntoIterator<Item = &'a Value>) -> Sums {
    let mut sums = Sums::default();
    for invoice in invoices {
        assert_eq!(invoice["currency"], "GBP");
        let total: Decimal = invoice["total"].as_str().unwrap().parse().unwrap();
        match invoice["kind"].as_str().unwrap() {
            "invoice" => sums.invoices += total,
            "credit_note" => sums.credit_notes += total,
            other => panic!("kind {other}"),
        }
    }
    sums
}
