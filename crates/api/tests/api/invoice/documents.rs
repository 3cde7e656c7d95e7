//! The profile, and invoices as PDF and e-invoice.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::archive::files::{paid, tier};
use crate::support::{Answer, Tenant, TestApp, invoice, send};

async fn put(app: &TestApp, key: &str, profile: &Value, if_match: Option<&str>) -> Answer {
    let mut request = app
        .request(Method::PUT, "/v1/profile")
        .bearer_auth(key)
        .json(profile);
    if let Some(version) = if_match {
        request = request.header("if-match", version);
    }
    send(request).await
}

/// The profile's events, once there are so many: the feed stays behind what is being written.
async fn trail(app: &TestApp, tenant: &Tenant, count: usize) -> Vec<Value> {
    for _ in 0..200 {
        let page = app.read("/v1/events", &tenant.key).await.is(200);
        let mut events = page["data"].as_array().unwrap().clone();
        events.retain(|event| event["event_type"] == "profile.updated");
        if events.len() >= count {
            return events;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the feed has fewer than {count} events");
}

fn seller() -> Value {
    json!({"name": "Lindgren & Söhne GmbH", "address_lines": ["Speicherstraße 14"],
        "city": "Hamburg", "postcode": "20457",
        "country": "DE", "vat_id": "DE123456788", "iban": "DE89 3704 0044 0532 0130 00",
            "language": "de"})
}

async fn made(app: &TestApp, tenant: &Tenant, members: Value) -> Uuid {
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(members))
        .await
        .is(201);
    made["id"].as_str().unwrap().parse().unwrap()
}

fn complete() -> Value {
    json!({"number": "R-1", "issue_date": "2026-10-01", "due_date": "2026-10-15",
        "customer": {"external_id": "k", "name": "Northwind <Traders>", "country": "FR"}})
}

#[tokio::test]
async fn a_profile_is_set_read_and_changed() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    app.read("/v1/profile", &tenant.key)
        .await
        .is_problem(404, "profile_not_found");

    let first = put(&app, &tenant.key, &seller(), Some("\"0\"")).await;
    assert_eq!(first.header("etag"), "\"1\"");
    assert_eq!(first.is(200)["iban"], "DE89370400440532013000");
    // The same again is no change; what was seen before the change no longer holds.
    let again = put(&app, &tenant.key, &seller(), Some("\"1\"")).await;
    assert_eq!(again.header("etag"), "\"1\"");
    let mut changed = seller();
    changed["language"] = json!("fr");
    put(&app, &tenant.key, &changed, Some("\"0\""))
        .await
        .is_problem(412, "version_mismatch");
    let second = put(&app, &tenant.key, &changed, None).await;
    assert_eq!(second.header("etag"), "\"2\"");
    let read = app.read("/v1/profile", &tenant.key).await;
    assert_eq!(read.header("etag"), "\"2\"");
    assert_eq!(read.is(200)["language"], "fr");

    // The trail has the changes, and nothing for what changed nothing.
    let events = trail(&app, &tenant, 2).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["data"]["old"], Value::Null);
    assert_eq!(events[1]["data"]["old"]["language"], "de");
    assert_eq!(events[1]["data"]["new"]["language"], "fr");

    // What is read can be sent back, and another tenant has none of it.
    put(&app, &tenant.key, &read.json(), None).await.is(200);
    let other = app.tenant().await;
    app.read("/v1/profile", &other.key)
        .await
        .is_problem(404, "profile_not_found");
    let (viewer, _) = app.api_key(tenant.id, "viewer").await;
    app.read("/v1/profile", &viewer).await.is(200);
    put(&app, &viewer, &changed, None)
        .await
        .is_problem(403, "forbidden_role");
}

#[tokio::test]
async fn two_first_profiles_at_once_are_two_versions() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (one, two) = (json!({"name": "One"}), json!({"name": "Two"}));
    let (one, two) = tokio::join!(
        put(&app, &tenant.key, &one, None),
        put(&app, &tenant.key, &two, None)
    );
    let mut tags = [one.header("etag"), two.header("etag")];
    tags.sort_unstable();
    assert_eq!(tags, ["\"1\"", "\"2\""]);
}

#[tokio::test]
async fn a_bad_profile_is_refused_by_field() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let bad = json!({"name": "x", "iban": "DE00", "country": "Germany"});
    let problem = put(&app, &tenant.key, &bad, None)
        .await
        .is_problem(422, "invalid_country");
    assert_eq!(problem["errors"][1]["code"], "invalid_iban");
    put(&app, &tenant.key, &json!({"name": "x", "logo": 1}), None)
        .await
        .is_problem(422, "unknown_field");
    put(&app, &tenant.key, &json!([]), None)
        .await
        .is_problem(422, "invalid_type");
}

#[tokio::test]
async fn an_invoice_is_a_pdf() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = made(&app, &tenant, complete()).await;
    let path = format!("/v1/invoices/{id}.pdf");
    // Without a profile as well.
    let bare = app.read(&path, &tenant.key).await;
    assert_eq!(
        (bare.status.as_u16(), bare.header("etag")),
        (200, "\"1-0\"")
    );
    put(&app, &tenant.key, &seller(), None).await.is(200);
    let pdf = app.read(&path, &tenant.key).await;
    assert_eq!(pdf.status.as_u16(), 200);
    assert_eq!(pdf.header("content-type"), "application/pdf");
    assert_eq!(pdf.header("sheaf-tier"), "hot");
    assert_eq!(pdf.header("etag"), "\"1-1\"");
    assert!(
        pdf.header("content-disposition")
            .contains(&format!("{id}.pdf"))
    );
    assert!(pdf.body.starts_with(b"%PDF-") && pdf.body != bare.body);
    let seen = app
        .get(&path, &tenant.key)
        .header("if-none-match", "\"1-1\"");
    let seen = send(seen).await;
    assert_eq!((seen.status.as_u16(), seen.body.len()), (304, 0));

    app.read(&format!("/v1/invoices/{}.pdf", Uuid::now_v7()), &tenant.key)
        .await
        .is_problem(404, "invoice_not_found");
    app.read("/v1/invoices/nonsense.pdf", &tenant.key)
        .await
        .is_problem(404, "invoice_not_found");
    app.read(&format!("/v1/invoices/{id}.doc"), &tenant.key)
        .await
        .is_problem(404, "invoice_not_found");
    let asked = format!("{path}?x=1");
    app.read(&asked, &tenant.key)
        .await
        .is_problem(400, "unknown_parameter");
}

#[tokio::test]
async fn an_invoice_is_an_e_invoice_once_nothing_is_missing() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = made(&app, &tenant, complete()).await;
    let path = format!("/v1/invoices/{id}.xml");
    let problem = app
        .read(&path, &tenant.key)
        .await
        .is_problem(422, "missing_field");
    let fields: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        ["profile.name", "profile.country", "profile.vat_id"]
    );
    put(&app, &tenant.key, &seller(), None).await.is(200);
    let xml = app.read(&path, &tenant.key).await;
    assert_eq!(xml.status.as_u16(), 200);
    assert_eq!(xml.header("content-type"), "application/xml");
    let text = String::from_utf8(xml.body).unwrap();
    assert!(text.contains("<cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID>"));
    assert!(text.contains("Northwind &lt;Traders&gt;"));

    let draft = made(&app, &tenant, json!({"status": "draft"})).await;
    app.read(&format!("/v1/invoices/{draft}.xml"), &tenant.key)
        .await
        .is_problem(422, "not_in_force");
}

#[tokio::test]
async fn a_credit_note_names_its_invoice() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant.key, &seller(), None).await.is(200);
    let id = made(&app, &tenant, complete()).await;
    let path = format!("/v1/invoices/{id}/credit-notes");
    let note = app.create(&path, &tenant.key, &json!({})).await.is(201);
    let path = format!("/v1/invoices/{}.xml", note["id"].as_str().unwrap());
    let xml = app.read(&path, &tenant.key).await;
    let text = String::from_utf8(xml.body.clone()).unwrap();
    assert_eq!(xml.status.as_u16(), 200, "{text}");
    let reference = text.split("<cac:InvoiceDocumentReference>").nth(1).unwrap();
    assert!(reference.trim_start().starts_with("<cbc:ID>R-1</cbc:ID>"));
}

#[tokio::test]
async fn a_cold_invoice_has_its_documents_as_well() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant.key, &seller(), None).await.is(200);
    let mut old = paid("A-1", "2023-03-05");
    old["customer"]["country"] = json!("GB");
    let made = app.create("/v1/invoices", &tenant.key, &old).await.is(201);
    let path = |ending: &str| format!("/v1/invoices/{}.{ending}", made["id"].as_str().unwrap());
    let mut before = Vec::new();
    for ending in ["pdf", "xml"] {
        before.push(app.read(&path(ending), &tenant.key).await);
    }
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    for (ending, before) in ["pdf", "xml"].into_iter().zip(before) {
        let after = app.read(&path(ending), &tenant.key).await;
        assert_eq!(after.status.as_u16(), 200);
        assert_eq!(
            (before.header("sheaf-tier"), after.header("sheaf-tier")),
            ("hot", "cold")
        );
        assert_eq!(before.body, after.body, "{ending}");
    }
}
