//! Every route of the OpenAPI document with no credential, a wrong one, another tenant's and a revoked one. A route
//! without a case here fails the test.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use sheaf_api::openapi;
use uuid::Uuid;

use crate::support::{ADMIN_KEY, Tenant, TestApp, invoice, send};

/// Who may call a route, and what another tenant's key gets.
#[derive(Clone, Copy, Debug)]
enum Access {
    /// Anybody.
    Open,
    /// The admin key alone.
    Admin,
    /// A tenant's key; the path names a resource, which another tenant does not see.
    Resource(&'static str),
    /// A tenant's key; the answer is about the caller, whoever that is. Naming another tenant is refused.
    Own,
}

const CASES: [(&str, &str, Access); 19] = [
    ("GET", "/healthz", Access::Open),
    ("GET", "/readyz", Access::Open),
    ("GET", "/metrics", Access::Open),
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
    ("POST", "/v1/platform/invoices/bulk", Access::Admin),
    (
        "GET",
        "/v1/invoices/{id}",
        Access::Resource("invoice_not_found"),
    ),
    (
        "GET",
        "/v1/invoices/{id}.pdf",
        Access::Resource("invoice_not_found"),
    ),
    (
        "GET",
        "/v1/invoices/{id}.xml",
        Access::Resource("invoice_not_found"),
    ),
    ("GET", "/v1/profile", Access::Own),
    ("PUT", "/v1/profile", Access::Own),
    ("GET", "/v1/invoices", Access::Own),
    ("POST", "/v1/invoices", Access::Own),
    ("POST", "/v1/invoices/bulk", Access::Own),
    ("GET", "/v1/archive/files", Access::Own),
];

struct Walk {
    app: TestApp,
    owner: Tenant,
    other: Tenant,
    revoked: String,
    invoice: Uuid,
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
        let invoice = made["id"].as_str().unwrap().parse().unwrap();
        Self {
            app,
            owner,
            other,
            revoked,
            invoice,
        }
    }

    /// A request that would succeed with the right credential.
    fn request(&self, method: &str, template: &str) -> RequestBuilder {
        let id = if template.contains("/tenants/") {
            self.owner.id
        } else {
            self.invoice
        };
        let path = template
            .replace("{id}", &id.to_string())
            .replace("{key_id}", &self.owner.key_id.to_string());
        let request = self
            .app
            .request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let line = invoice(json!({"tenant_id": self.owner.id}));
        match (method, template) {
            ("POST", template) if template.ends_with("/bulk") => request
                .header("content-type", "application/x-ndjson")
                .body(line.to_string()),
            ("POST", "/v1/invoices") => request.json(&line),
            ("POST" | "PUT", _) => request.json(&json!({"name": "x"})),
            _ => request,
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
            Access::Resource(code) => {
                send(other()).await.is_problem(404, code);
                send(request().bearer_auth(ADMIN_KEY))
                    .await
                    .is_problem(403, "tenant_credential_required");
            }
            Access::Own => {
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
        walk.check(method, template, access).await;
    }
    // Nothing of all that did anything.
    assert_eq!(walk.app.all_invoices(&walk.owner).await.len(), 1);
    assert!(walk.app.all_invoices(&walk.other).await.is_empty());
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
