//! An issued document shows the profile that it was issued with, whatever becomes of that, in both
//! tiers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::archive::files::tier;
use crate::support::{ADMIN_KEY, Answer, Tenant, TestApp, invoice, ndjson, send};

async fn put(app: &TestApp, tenant: &Tenant, name: &str) {
    let profile = json!({"name": name, "country": "DE", "vat_id": "DE123456788",
        "payment_terms": name,
        "iban": "DE89370400440532013000",
            "zero_rate_category": if name.ends_with('1') { "Z" } else { "G" }});
    let request = app.request(Method::PUT, "/v1/profile");
    send(request.bearer_auth(&tenant.key).json(&profile))
        .await
        .is(200);
}

fn document(number: &str, members: Value) -> Value {
    let mut document = invoice(json!({"number": number, "issue_date": "2026-10-01",
        "customer": {"external_id": "k", "name": "K", "country": "FR"}}));
    let members = members.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(members);
    document
}

fn at(document: &Value) -> String {
    format!("/v1/invoices/{}", document["id"].as_str().unwrap())
}

async fn made(app: &TestApp, tenant: &Tenant, document: &Value) -> Value {
    let made = app.create("/v1/invoices", &tenant.key, document).await;
    made.is(201)
}

async fn forms(app: &TestApp, tenant: &Tenant, document: &Value) -> [Answer; 2] {
    let read = async |ending: &str| {
        let read = app
            .read(&format!("{}.{ending}", at(document)), &tenant.key)
            .await;
        assert_eq!(read.status, 200, "{ending}: {read}");
        read
    };
    [read("pdf").await, read("xml").await]
}

/// The seller on the e-invoice, and the profile's version in the ETag.
async fn seller(app: &TestApp, tenant: &Tenant, document: &Value) -> (String, String) {
    let [_, xml] = forms(app, tenant, document).await;
    let text = String::from_utf8(xml.body.clone()).unwrap();
    let name = text.split("<cbc:RegistrationName>").nth(1).unwrap();
    let name = name.split('<').next().unwrap().to_owned();
    let etag = xml.header("etag").trim_matches('"').to_owned();
    (name, etag.split_once('-').unwrap().1.to_owned())
}

fn paid() -> Value {
    json!([{"reference": "p", "amount": "26.98", "paid_on": "2023-03-05", "method": "card"}])
}

#[tokio::test]
async fn what_was_issued_keeps_its_seller_through_both_tiers() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant, "Seller 1").await;
    let hot = made(&app, &tenant, &document("H-1", json!({}))).await;
    let old = json!({"issue_date": "2023-03-05", "payments": paid()});
    let old = made(&app, &tenant, &document("C-1", old)).await;
    let before = [
        forms(&app, &tenant, &hot).await,
        forms(&app, &tenant, &old).await,
    ];
    put(&app, &tenant, "Seller 2").await;
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    let same = async |document: &Value, before: &[Answer; 2], tier: &str| {
        for (now, before) in forms(&app, &tenant, document).await.iter().zip(before) {
            assert_eq!(now.body, before.body);
            assert_eq!(
                (now.header("etag"), now.header("sheaf-tier")),
                ("\"1-1\"", tier)
            );
        }
    };
    same(&hot, &before[0], "hot").await;
    same(&old, &before[1], "cold").await;
    let recall = format!("{}/recall", at(&old));
    app.create(&recall, &tenant.key, &json!({})).await.is(200);
    same(&old, &before[1], "hot").await;
    // A credit note freezes its own, and is made of an invoice that keeps its.
    let note = format!("{}/credit-notes", at(&old));
    let lines = json!({"lines": [{"description": "back", "quantity": 1, "unit_price": "1"}]});
    let note = app.create(&note, &tenant.key, &lines).await.is(201);
    let two = ("Seller 2".to_owned(), "2".to_owned());
    assert_eq!(seller(&app, &tenant, &note).await, two);
    assert_eq!(seller(&app, &tenant, &old).await.0, "Seller 1");
    put(&app, &tenant, "Seller 3").await;
    assert_eq!(seller(&app, &tenant, &note).await, two);
    let read = app.read(&at(&hot), &tenant.key).await;
    assert!(
        !String::from_utf8(read.body)
            .unwrap()
            .contains("profile_version")
    );
}

#[tokio::test]
async fn a_draft_shows_today_and_is_issued_with_it() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant, "Seller 1").await;
    let draft = made(&app, &tenant, &document("D-1", json!({"status": "draft"}))).await;
    let gone = made(&app, &tenant, &document("D-2", json!({"status": "draft"}))).await;
    put(&app, &tenant, "Seller 2").await;
    let pdf = async |document: &Value| {
        let pdf = app
            .read(&format!("{}.pdf", at(document)), &tenant.key)
            .await;
        pdf.header("etag").to_owned()
    };
    assert_eq!(pdf(&draft).await, "\"1-2\"");
    for (document, step) in [(&draft, "issue"), (&gone, "cancel")] {
        let step = format!("{}/{step}", at(document));
        app.create(&step, &tenant.key, &json!({})).await.is(200);
    }
    put(&app, &tenant, "Seller 3").await;
    assert_eq!(
        seller(&app, &tenant, &draft).await,
        ("Seller 2".into(), "2".into())
    );
    assert_eq!(pdf(&gone).await, "\"2-2\"");
}

/// Documents of a time without a profile show the first.
#[tokio::test]
async fn without_a_profile_the_first_one_is_shown() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let early = made(&app, &tenant, &document("E-1", json!({}))).await;
    for name in ["Seller 1", "Seller 2"] {
        put(&app, &tenant, name).await;
    }
    assert_eq!(
        seller(&app, &tenant, &early).await,
        ("Seller 1".into(), "1".into())
    );
}

#[tokio::test]
async fn uploads_freeze_the_profile_of_their_time() {
    let app = TestApp::start().await;
    let (tenant, other, bare) = (app.tenant().await, app.tenant().await, app.tenant().await);
    for name in ["Seller 1", "Seller 2"] {
        put(&app, &tenant, name).await;
    }
    put(&app, &other, "Other 1").await;
    let lines = |n: usize| ndjson(&[document(&format!("U-{n}"), json!({}))]);
    for (n, query) in ["", "?atomic=true"].into_iter().enumerate() {
        let path = format!("/v1/invoices/bulk{query}");
        let upload = send(app.upload(&path, &tenant.key, lines(n))).await;
        assert_eq!(upload.is(200)["created"], 1, "{query}");
    }
    for (n, query) in ["", "?atomic=true"].into_iter().enumerate() {
        let of = |tenant: &Tenant| document(&format!("P-{n}"), json!({"tenant_id": tenant.id}));
        let body = ndjson(&[of(&tenant), of(&other), of(&bare)]);
        let path = format!("/v1/platform/invoices/bulk{query}");
        let upload = send(app.upload(&path, ADMIN_KEY, body)).await;
        assert_eq!(upload.is(200)["created"], 3, "{query}");
    }
    for tenant in [&tenant, &other] {
        put(&app, tenant, "Later").await;
    }
    for (tenant, count, frozen) in [
        (&tenant, 4, ("Seller 2", "2")),
        (&other, 2, ("Other 1", "1")),
    ] {
        let all = app.all_invoices(tenant).await;
        assert_eq!(all.len(), count);
        for document in all {
            let (name, version) = seller(&app, tenant, &document).await;
            assert_eq!((name.as_str(), version.as_str()), frozen);
        }
    }
    assert_eq!(app.all_invoices(&bare).await.len(), 2);
}

/// A document carries no seller of its own: what comes back is issued with the profile of the
/// tenant that takes it.
#[tokio::test]
async fn a_restored_document_shows_the_profile_of_whoever_restores_it() {
    let app = TestApp::start().await;
    let (tenant, copy) = (app.tenant().await, app.tenant().await);
    put(&app, &tenant, "Seller 1").await;
    made(&app, &tenant, &document("X-1", json!({}))).await;
    let export = app.read("/v1/archive/export?from=2026&to=2026", &tenant.key);
    let export = export.await;
    for name in ["Copy 1", "Copy 2"] {
        put(&app, &copy, name).await;
    }
    let restore = app.upload("/v1/invoices/bulk?restore=true", &copy.key, export.body);
    assert_eq!(send(restore).await.is(200)["created"], 1);
    put(&app, &copy, "Copy 3").await;
    let back = app.all_invoices(&copy).await;
    assert_eq!(
        seller(&app, &copy, &back[0]).await,
        ("Copy 2".into(), "2".into())
    );
}

/// Each of many documents has a version that was the tenant's while it was made, and none is half
/// of two.
#[tokio::test]
async fn documents_made_while_the_profile_changes_have_one_of_its_versions() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    put(&app, &tenant, "Seller 0").await;
    let change = async {
        for n in 1..=5 {
            put(&app, &tenant, &format!("Seller {n}")).await;
        }
    };
    let create = async {
        let mut all = Vec::new();
        for n in 0..20 {
            all.push(made(&app, &tenant, &document(&format!("R-{n}"), json!({}))).await);
        }
        all
    };
    let ((), all) = tokio::join!(change, create);
    let mut last = 0;
    for document in &all {
        let (name, version) = seller(&app, &tenant, document).await;
        let version: i64 = version.parse().unwrap();
        assert_eq!(name, format!("Seller {}", version - 1));
        assert!(
            version >= last,
            "a later document is issued with a later profile"
        );
        last = version;
    }
}
