use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, TestApp, invoice, ndjson, send, unique};

const BULK: &str = "/v1/platform/invoices/bulk";

async fn upload(app: &TestApp, query: &str, lines: &[Value]) -> Value {
    send(app.upload(&format!("{BULK}{query}"), ADMIN_KEY, ndjson(lines)))
        .await
        .is(200)
}

#[tokio::test]
async fn each_line_lands_with_the_tenant_that_it_names() {
    let app = TestApp::start().await;
    let (one, two) = (app.tenant().await, app.tenant().await);
    let external_id = unique("tenant");
    let named = json!({"name": "Named", "external_id": external_id});
    let named = app.create("/v1/tenants", ADMIN_KEY, &named).await.is(201);
    let lines = [
        invoice(json!({"tenant_id": one.id})),
        invoice(json!({"tenant_id": two.id})),
        invoice(json!({"tenant_external_id": external_id})),
        invoice(json!({"tenant_id": two.id})),
        invoice(json!({})),
        invoice(json!({"tenant_external_id": unique("nobody")})),
        invoice(json!({"tenant_id": uuid::Uuid::now_v7()})),
        invoice(json!({"tenant_id": one.id, "tenant_external_id": external_id})),
    ];
    let summary = upload(&app, "", &lines).await;
    assert_eq!(
        (&summary["created"], &summary["rejected"]),
        (&json!(4), &json!(4))
    );
    let codes: Vec<&str> = summary["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "missing_tenant",
            "unknown_tenant",
            "unknown_tenant",
            "tenant_ambiguous"
        ]
    );
    let (key, key_id) = app
        .api_key(named["id"].as_str().unwrap().parse().unwrap(), "viewer")
        .await;
    let named = crate::support::Tenant {
        id: named["id"].as_str().unwrap().parse().unwrap(),
        key,
        key_id,
    };
    for (tenant, count) in [(&one, 1), (&two, 2), (&named, 1)] {
        assert_eq!(app.all_invoices(tenant).await.len(), count);
    }
}

#[tokio::test]
async fn unknown_tenants_are_made_when_asked_for() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..3).map(|_| unique("new")).collect();
    let lines: Vec<Value> = (0..30)
        .map(|n| {
            invoice(json!({"tenant_external_id": names[n % 3], "external_id": format!("e-{n}")}))
        })
        .collect();
    let first = upload(&app, "?create_tenants=true", &lines).await;
    assert_eq!(
        (&first["created"], &first["errors"]),
        (&json!(30), &json!([]))
    );
    let again = upload(&app, "?create_tenants=true", &lines).await;
    assert_eq!(
        (&again["created"], &again["duplicates"]),
        (&json!(0), &json!(30))
    );
    let tenants = app.read("/v1/tenants?limit=100", ADMIN_KEY).await.is(200);
    let made = tenants["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| names.iter().any(|n| t["external_id"] == *n));
    assert_eq!(made.count(), 3);
}
