//! What keeps an invoice from being exported, told before anybody asks for the document.

use reqwest::Method;
use serde_json::{Value, json};

use crate::archive::files::{paid, tier};
use crate::support::{Tenant, TestApp, invoice, send};

fn seller() -> Value {
    json!({"name": "Lindgren GmbH", "country": "DE", "vat_id": "DE123456788"})
}

async fn put(app: &TestApp, tenant: &Tenant, profile: &Value) {
    let request = app.request(Method::PUT, "/v1/profile");
    let request = request.bearer_auth(&tenant.key).json(profile);
    send(request).await.is(200);
}

fn at(document: &Value) -> String {
    format!("/v1/invoices/{}", document["id"].as_str().unwrap())
}

async fn made(app: &TestApp, tenant: &Tenant, members: Value) -> Value {
    let document = invoice(members);
    let made = app.create("/v1/invoices", &tenant.key, &document).await;
    made.is(201)
}

/// The answer, and its findings as `format field code`.
async fn validated(app: &TestApp, tenant: &Tenant, document: &Value) -> (Value, Vec<String>) {
    let path = format!("{}/validate", at(document));
    let answer = app.create(&path, &tenant.key, &json!({})).await.is(200);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            assert!(!text(finding, "detail").is_empty());
            ["format", "field", "code"]
                .map(|name| text(finding, name))
                .join(" ")
        });
    let findings = findings.collect();
    (answer, findings)
}

/// What the answer says is what the document's own route does.
async fn agrees(app: &TestApp, tenant: &Tenant, document: &Value, answer: &Value) {
    for (format, ending) in [("pdf", "pdf"), ("ubl", "xml")] {
        let path = format!("{}.{ending}", at(document));
        let read = app.read(&path, &tenant.key).await;
        let can = answer["exportable"][format].as_bool().unwrap();
        assert_eq!(read.status == 200, can, "{format} of {answer}: {read}");
        if !can {
            let codes = |errors: &Value| {
                let errors = errors.as_array().unwrap().clone();
                let mut codes: Vec<_> = errors.into_iter().collect();
                codes.retain(|e| e.get("format").is_none_or(|f| f == format));
                let all = codes
                    .iter()
                    .map(|e| (e["field"].clone(), e["code"].clone()));
                all.collect::<Vec<_>>()
            };
            assert_eq!(codes(&read.json()["errors"]), codes(&answer["findings"]));
        }
    }
}

#[tokio::test]
async fn all_that_is_missing_is_named_and_nothing_when_nothing_is() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let issued = made(&app, &tenant, json!({"number": "R-1", "currency": "BGN"})).await;
    let (answer, findings) = validated(&app, &tenant, &issued).await;
    assert_eq!(
        findings,
        [
            "ubl profile.name missing_field",
            "ubl profile.country missing_field",
            "ubl customer.country missing_field",
            "ubl profile.vat_id missing_field",
            "ubl currency currency_not_listed",
        ]
    );
    assert_eq!(answer["exportable"], json!({"pdf": true, "ubl": false}));
    assert_eq!(
        (&answer["invoice_id"], &answer["version"], &answer["status"]),
        (&issued["id"], &json!(1), &json!("issued"))
    );
    agrees(&app, &tenant, &issued, &answer).await;
    put(&app, &tenant, &seller()).await;
    // Nobody says when to pay: release 1.3.16 of the rules does not ask.
    let good =
        json!({"number": "R-2", "customer": {"external_id": "k", "name": "K", "country": "FR"}});
    let good = made(&app, &tenant, good).await;
    let (answer, findings) = validated(&app, &tenant, &good).await;
    assert_eq!((findings.len(), &answer["findings"]), (0, &json!([])));
    agrees(&app, &tenant, &good, &answer).await;
    // It is a read: no version, no event, no need of a body.
    let path = format!("{}/validate", at(&good));
    let (viewer, _) = app.api_key(tenant.id, "viewer").await;
    let bare = send(app.post(&path, &viewer)).await;
    assert_eq!((bare.is(200), bare.header("sheaf-tier")), (answer, "hot"));
    assert_eq!(app.read(&at(&good), &tenant.key).await.is(200), good);
    app.create(&path, &tenant.key, &json!({"format": "ubl"}))
        .await
        .is_problem(422, "unknown_field");
}

#[tokio::test]
async fn a_draft_is_looked_at_as_if_it_were_issued() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant, &seller()).await;
    let draft = json!({"status": "draft", "issue_date": null});
    let draft = made(&app, &tenant, draft).await;
    let (answer, findings) = validated(&app, &tenant, &draft).await;
    assert_eq!(findings, ["ubl customer.country missing_field"]);
    assert_eq!(answer["status"], "draft");
    let patch = json!({"customer": {"country": "FR"}});
    let request = app.request(Method::PATCH, &at(&draft));
    send(request.bearer_auth(&tenant.key).json(&patch))
        .await
        .is(200);
    assert_eq!(validated(&app, &tenant, &draft).await.1, [""; 0]);
    let issue = format!("{}/issue", at(&draft));
    app.create(&issue, &tenant.key, &json!({})).await.is(200);
    let (answer, _) = validated(&app, &tenant, &draft).await;
    agrees(&app, &tenant, &draft, &answer).await;
    let cancel = format!("{}/cancel", at(&draft));
    app.create(&cancel, &tenant.key, &json!({})).await.is(200);
    let (answer, findings) = validated(&app, &tenant, &draft).await;
    assert_eq!(findings, ["ubl status not_in_force"]);
    agrees(&app, &tenant, &draft, &answer).await;
}

#[tokio::test]
async fn a_document_is_too_long_for_pages_only() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant, &seller()).await;
    let lines = vec![json!({"description": "x", "quantity": 1, "unit_price": "1"}); 2_001];
    let long = json!({"number": "L", "lines": lines, "customer": {"external_id": "k", "name": "K",
        "country": "FR"}});
    let long = made(&app, &tenant, long).await;
    let (answer, findings) = validated(&app, &tenant, &long).await;
    assert_eq!(findings, ["pdf lines too_many_lines"]);
    assert_eq!(answer["exportable"], json!({"pdf": false, "ubl": true}));
    agrees(&app, &tenant, &long, &answer).await;
}

#[tokio::test]
async fn an_archived_invoice_stays_where_it_is() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let old = paid("A-1", "2023-03-05");
    let old = app.create("/v1/invoices", &tenant.key, &old).await.is(201);
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    let answer = send(app.post(&format!("{}/validate", at(&old)), &tenant.key)).await;
    assert_eq!(answer.header("sheaf-tier"), "cold");
    agrees(&app, &tenant, &old, &answer.is(200)).await;
    let read = app.read(&at(&old), &tenant.key).await;
    assert_eq!(read.header("sheaf-tier"), "cold");
}
