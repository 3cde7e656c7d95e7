//! Every route of the OpenAPI document with no credential, a wrong one, another tenant's and a
//! revoked one, and with each role. A route without a case here fails the test.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use sheaf_api::openapi;
use sheaf_web::role_table;
use uuid::Uuid;

use crate::support::{ADMIN_KEY, Tenant, TestApp, invoice, send};

/// Who may call a route, and what another tenant's key gets.
#[derive(Clone, Copy, Debug)]
enum Access {
    /// Anybody.
    Open,
    /// The admin key alone.
    Admin,
    /// A tenant's key whose role may do the action; the path names a resource, which another tenant
    /// does not see.
    Resource(&'static str, &'static str),
    /// A tenant's key whose role may do the action; the answer is about the caller, whoever that
    /// is. Naming another tenant is refused.
    Own(&'static str),
}

impl Access {
    /// What the role table calls it.
    fn action(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Admin => None,
            Self::Resource(action, _) | Self::Own(action) => Some(action),
        }
    }
}

const INVOICE_WRITE: Access = Access::Resource("write", "invoice_not_found");
const MONEY: Access = Access::Resource("money", "invoice_not_found");
const CUSTOMER: Access = Access::Resource("read", "customer_not_found");
const CUSTOMER_WRITE: Access = Access::Resource("customers", "customer_not_found");
const CASES: &[(&str, &str, Access)] = &[
    ("GET", "/healthz", Access::Open),
    ("GET", "/readyz", Access::Open),
    ("GET", "/v1/tenants", Access::Admin),
    ("POST", "/v1/tenants", Access::Admin),
    ("GET", "/v1/tenants/{id}", Access::Admin),
    ("GET", "/v1/tenants/{id}/api-keys", Access::Admin),
    ("POST", "/v1/tenants/{id}/api-keys", Access::Admin),
    (
        "DELETE",
        "/v1/tenants/{id}/api-keys/{key_id}",
        Access::Admin,
    ),
    (
        "POST",
        "/v1/tenants/{id}/api-keys/{key_id}/rotate",
        Access::Admin,
    ),
    ("POST", "/v1/platform/invoices/bulk", Access::Admin),
    ("GET", "/v1/api-keys", Access::Own("keys")),
    ("POST", "/v1/api-keys", Access::Own("keys")),
    (
        "DELETE",
        "/v1/api-keys/{key_id}",
        Access::Resource("keys", "api_key_not_found"),
    ),
    (
        "POST",
        "/v1/api-keys/{key_id}/rotate",
        Access::Resource("keys", "api_key_not_found"),
    ),
    (
        "GET",
        "/v1/invoices/{id}",
        Access::Resource("read", "invoice_not_found"),
    ),
    (
        "GET",
        "/v1/invoices/{id}.pdf",
        Access::Resource("read", "invoice_not_found"),
    ),
    (
        "GET",
        "/v1/invoices/{id}.xml",
        Access::Resource("read", "invoice_not_found"),
    ),
    (
        "POST",
        "/v1/invoices/{id}/validate",
        Access::Resource("read", "invoice_not_found"),
    ),
    ("GET", "/v1/profile", Access::Own("read")),
    ("PUT", "/v1/profile", Access::Own("settings")),
    (
        "PUT",
        "/v1/customers/{id}/erasure",
        Access::Resource("privacy", "customer_not_found"),
    ),
    ("GET", "/v1/customers/{id}/erasure", CUSTOMER),
    ("GET", "/v1/archive/columns", Access::Own("read")),
    ("PUT", "/v1/archive/columns", Access::Own("settings")),
    ("GET", "/v1/retention", Access::Own("read")),
    ("PUT", "/v1/retention/{year}", Access::Own("privacy")),
    ("GET", "/v1/number-series", Access::Own("read")),
    ("PUT", "/v1/number-series/{series}", Access::Own("settings")),
    ("GET", "/v1/invoices", Access::Own("read")),
    ("POST", "/v1/invoices", Access::Own("write")),
    ("POST", "/v1/invoices/bulk", Access::Own("write")),
    ("GET", "/v1/archive/files", Access::Own("read")),
    ("POST", "/v1/archive/query", Access::Own("read")),
    ("GET", "/v1/archive/export", Access::Own("read")),
    ("PATCH", "/v1/invoices/{id}", INVOICE_WRITE),
    ("POST", "/v1/invoices/{id}/issue", INVOICE_WRITE),
    ("POST", "/v1/invoices/{id}/send", INVOICE_WRITE),
    ("POST", "/v1/invoices/{id}/recall", INVOICE_WRITE),
    ("POST", "/v1/invoices/{id}/cancel", MONEY),
    ("POST", "/v1/invoices/{id}/payments", MONEY),
    (
        "POST",
        "/v1/invoices/{id}/payments/{payment_id}/reverse",
        MONEY,
    ),
    ("POST", "/v1/invoices/{id}/refunds", MONEY),
    ("POST", "/v1/invoices/{id}/credit-notes", MONEY),
    ("POST", "/v1/invoices/{id}/apply", MONEY),
    (
        "GET",
        "/v1/invoices/{id}/events",
        Access::Resource("audit", "invoice_not_found"),
    ),
    ("GET", "/v1/events", Access::Own("audit")),
    ("GET", "/v1/customers", Access::Own("read")),
    ("POST", "/v1/customers", Access::Own("customers")),
    ("GET", "/v1/customers/{id}", CUSTOMER),
    ("PATCH", "/v1/customers/{id}", CUSTOMER_WRITE),
    ("DELETE", "/v1/customers/{id}", CUSTOMER_WRITE),
    ("POST", "/v1/customers/{id}/merge", CUSTOMER_WRITE),
    ("GET", "/v1/customers/{id}/invoices", CUSTOMER),
    ("GET", "/v1/customers/{id}/balance", CUSTOMER),
    ("GET", "/v1/reports/summary", Access::Own("read")),
    ("GET", "/v1/reports/aging", Access::Own("read")),
];

const ROLES: [&str; 3] = ["admin", "finance", "viewer"];

fn invoice_of(tenant: &Tenant) -> serde_json::Value {
    invoice(json!({"tenant_id": tenant.id}))
}

struct Walk {
    app: TestApp,
    owner: Tenant,
    other: Tenant,
    revoked: String,
    invoice: Uuid,
    customer: Uuid,
    /// A tenant whose every role tries every route, with an invoice and a key of each role.
    actor: Tenant,
    /// The actor's invoice and its customer.
    actor_ids: (Uuid, Uuid),
    roles: Vec<String>,
}

impl Walk {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let (owner, other) = (app.tenant().await, app.tenant().await);
        let (revoked, revoked_id) = app.api_key(owner.id, "admin").await;
        app.read("/v1/invoices", &revoked).await.is(200);
        app.revoke(owner.id, revoked_id).await;
        let made = app
            .create("/v1/invoices", &owner.key, &invoice(json!({})))
            .await
            .is(201);
        let ids = |made: &serde_json::Value| {
            let id = |name: &str| made[name].as_str().unwrap().parse().unwrap();
            (id("id"), id("customer_id"))
        };
        let (invoice, customer) = ids(&made);
        let actor = app.tenant().await;
        let made = app
            .create("/v1/invoices", &actor.key, &invoice_of(&actor))
            .await
            .is(201);
        let mut roles = Vec::new();
        for role in ROLES {
            roles.push(app.api_key(actor.id, role).await.0);
        }
        Self {
            app,
            owner,
            other,
            revoked,
            invoice,
            customer,
            actor,
            actor_ids: ids(&made),
            roles,
        }
    }

    /// A request that would succeed with the right credential of the owner.
    fn request(&self, method: &str, template: &str) -> RequestBuilder {
        self.request_of(
            method,
            template,
            &self.owner,
            (self.invoice, self.customer),
            self.owner.key_id,
        )
    }

    fn request_of(
        &self,
        method: &str,
        template: &str,
        tenant: &Tenant,
        (invoice, customer): (Uuid, Uuid),
        key_id: Uuid,
    ) -> RequestBuilder {
        let id = if template.contains("/tenants/") {
            tenant.id
        } else if template.contains("/customers/") {
            customer
        } else {
            invoice
        };
        let path = template
            .replace("{id}", &id.to_string())
            .replace("{key_id}", &key_id.to_string())
            .replace("{series}", "invoice")
            .replace("{year}", "2020")
            .replace("{payment_id}", &Uuid::now_v7().to_string());
        let request = self
            .app
            .request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let line = invoice_of(tenant);
        match (method, template) {
            ("POST", template) if template.ends_with("/bulk") => request
                .header("content-type", "application/x-ndjson")
                .body(line.to_string()),
            ("POST", "/v1/invoices") => request.json(&line),
            ("POST", template) if template.ends_with("/rotate") => request.json(&json!({})),
            ("POST", template) if template.ends_with("/merge") => {
                request.json(&json!({"into": self.invoice}))
            }
            ("POST", "/v1/archive/query") => {
                request.json(&json!({"sql": "select count(*) from invoices"}))
            }
            ("PATCH", "/v1/customers/{id}") => request.json(&json!({"name": "changed"})),
            ("PATCH", _) => request.json(&json!({"metadata": {"stolen": true}})),
            ("POST", template) if template.ends_with("/apply") => {
                request.json(&json!({"invoice_id": self.invoice}))
            }
            ("POST", template)
                if template.ends_with("/payments") || template.ends_with("/refunds") =>
            {
                request.json(&json!({"reference": "stolen", "amount": "1"}))
            }
            ("POST", template) if template.starts_with("/v1/invoices/{id}/") => request,
            ("PUT", "/v1/number-series/{series}") => {
                request.json(&json!({"prefix": "R{year}-", "padding": 4}))
            }
            ("PUT", "/v1/archive/columns") => request.json(&json!({"metadata_keys": ["project"]})),
            ("PUT", "/v1/retention/{year}") => request.json(&json!({"legal_hold": false})),
            ("PUT", template) if template.ends_with("/erasure") => request,
            ("POST" | "PUT", _) => request.json(&json!({"name": "x"})),
            _ => request,
        }
    }

    /// Each role gets what the table says.
    async fn check_roles(&self, method: &str, template: &str, action: &str) {
        let table = role_table();
        let (_, allowed) = table
            .iter()
            .find(|(name, _)| *name == action)
            .expect("an action of the table");
        for ((role, key), allowed) in ROLES.iter().zip(&self.roles).zip(allowed) {
            let (_, key_id) = self.app.api_key(self.actor.id, "viewer").await;
            let request = self.request_of(method, template, &self.actor, self.actor_ids, key_id);
            let answer = send(request.bearer_auth(key)).await;
            if *allowed {
                // The step before may have been the last that the state allows.
                assert!(
                    answer.status.is_success() || [404, 409, 422].contains(&answer.status.as_u16()),
                    "{role}: {method} {template}: {answer}"
                );
            } else {
                answer.is_problem(403, "forbidden_role");
            }
        }
    }

    async fn check(&self, method: &str, template: &str, access: Access) {
        let request = || self.request(method, template);
        if matches!(access, Access::Open) {
            assert!(
                send(request()).await.status.is_success(),
                "{method} {template}"
            );
            return;
        }
        send(request()).await.is_problem(401, "missing_credential");
        let wrong = format!("sheaf_00000000_{}", "A".repeat(43));
        for wrong in [wrong.as_str(), "nonsense", ""] {
            send(request().header("x-api-key", wrong))
                .await
                .is_problem(401, "invalid_credential");
        }
        send(request().header("authorization", "Basic eDp5"))
            .await
            .is_problem(401, "invalid_credential");
        send(request().bearer_auth(&self.revoked))
            .await
            .is_problem(401, "revoked_credential");
        let other = || request().bearer_auth(&self.other.key);
        match access {
            Access::Open => {}
            Access::Admin => {
                send(other()).await.is_problem(403, "admin_required");
                send(request().bearer_auth(&self.owner.key))
                    .await
                    .is_problem(403, "admin_required");
            }
            Access::Resource(_, code) => {
                send(other()).await.is_problem(404, code);
                send(request().bearer_auth(ADMIN_KEY))
                    .await
                    .is_problem(403, "tenant_credential_required");
            }
            Access::Own(_) => {
                let named = other().header("x-tenant-id", self.owner.id.to_string());
                send(named).await.is_problem(403, "tenant_mismatch");
                send(request().bearer_auth(ADMIN_KEY))
                    .await
                    .is_problem(403, "tenant_credential_required");
            }
        }
    }
}

#[tokio::test]
async fn every_route_refuses_wrong_credentials() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
        {
            routes += 1;
            let known = CASES.iter().any(|(m, p, _)| *m == method && p == path);
            assert!(known, "{method} {path} has no case in this walk");
        }
    }
    assert_eq!(routes, CASES.len(), "a case without a route");

    let walk = Walk::start().await;
    for (method, template, access) in CASES {
        walk.check(method, template, *access).await;
        if let Some(action) = access.action() {
            walk.check_roles(method, template, action).await;
        }
    }
    // Nothing of all that did anything.
    assert_eq!(walk.app.all_invoices(&walk.owner).await.len(), 1);
    assert!(walk.app.all_invoices(&walk.other).await.is_empty());
    let customers = walk.app.read("/v1/customers", &walk.owner.key).await;
    let customers = customers.is(200)["data"].clone();
    assert_eq!(customers[0]["id"], walk.customer.to_string());
    assert_eq!(customers[0]["name"], "Customer 1");
    let keys = walk
        .app
        .read(
            &format!("/v1/tenants/{}/api-keys", walk.owner.id),
            ADMIN_KEY,
        )
        .await
        .is(200);
    assert_eq!(keys["data"].as_array().unwrap().len(), 2);
}
