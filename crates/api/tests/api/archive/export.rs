//! Exports over HTTP, and their way back through bulk ingestion.

use std::io::Read as _;

use serde_json::{Value, json};
use sheaf_archive::S3Config;
use sheaf_archive::object::s3::S3Storage;
use sheaf_archive::object::storage::ColdStorage;

use crate::archive::files::{paid, tier};
use crate::support::{Answer, Tenant, TestApp, invoice, ndjson, send};

const BULK: &str = "/v1/invoices/bulk";
const RESTORE: &str = "/v1/invoices/bulk?restore=true";

pub(crate) async fn export(app: &TestApp, key: &str, query: &str) -> Answer {
    let answer = app.read(&format!("/v1/archive/export?{query}"), key).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer
}

pub(crate) fn documents(answer: &Answer) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn make(app: &TestApp, tenant: &Tenant, path: &str, document: &Value) -> Value {
    app.create(path, &tenant.key, document).await.is(201)
}

/// Everything that the life of an invoice can bring, in both tiers: payments, a reversal, refunds,
/// credit notes set off and paid out, discounts, drafts, a cancelled one, three currencies, one
/// that was recalled, and one of many lines.
async fn fill(app: &TestApp, tenant: &Tenant) {
    let line = |price: &str| {
        json!([{"description": "d \"q\"\n\u{1F4E6}", "quantity": "3", "unit_price": price,
        "tax_rate": "0.19", "discount_percent": "12.5"}, {"description": "e", "quantity": "-1",
            "unit_price": "1"}])
    };
    for (number, date) in [
        ("R-1", "2022-03-05"),
        ("R-2", "2022-03-06"),
        ("R-3", "2023-08-01"),
    ] {
        make(app, tenant, "/v1/invoices", &paid(number, date)).await;
    }
    for (currency, price) in [("EUR", "33.333333"), ("JPY", "1234"), ("BHD", "1.2345")] {
        let mut document = invoice(
            json!({"currency": currency, "lines": line(price), "issue_date": "2022-05-05",
            "due_date": "2022-06-05", "discount_percent": "3",
                "external_id": format!("x {currency}"),
            "metadata": {"n": 1.50, "big": 123456789012345678901234567890.5,
                "deep": [{"a": null}]}}),
        );
        document["customer"]["address"] = json!("Street 1\nTown");
        let made = make(app, tenant, "/v1/invoices", &document).await;
        let at = format!("/v1/invoices/{}", made["id"].as_str().unwrap());
        let pay = |reference: &str| json!({"reference": reference, "amount": "1"});
        let payment = app
            .create(&format!("{at}/payments"), &tenant.key, &pay("p-1"))
            .await;
        assert!(payment.status.is_success(), "{payment}");
        let reverse = format!(
            "{at}/payments/{}/reverse",
            payment.json()["id"].as_str().unwrap()
        );
        assert!(
            app.create(&reverse, &tenant.key, &json!({}))
                .await
                .status
                .is_success()
        );
        let note = json!({"lines": [{"description": "back", "quantity": 1, "unit_price": "1",
            "tax_rate": "0.19"}]});
        make(app, tenant, &format!("{at}/credit-notes"), &note).await;
        let due = app.read(&at, &tenant.key).await.is(200)["amount_due"].clone();
        let rest = json!({"reference": "p-2", "amount": due});
        assert!(
            app.create(&format!("{at}/payments"), &tenant.key, &rest)
                .await
                .status
                .is_success()
        );
        // A credit note on what is paid already is paid out.
        let made = make(app, tenant, &format!("{at}/credit-notes"), &note).await;
        let at = made["id"].as_str().unwrap();
        let refund = app
            .create(
                &format!("/v1/invoices/{at}/refunds"),
                &tenant.key,
                &pay("out"),
            )
            .await;
        assert!(refund.status.is_success(), "{refund}");
    }
    make(
        app,
        tenant,
        "/v1/invoices",
        &invoice(json!({"status": "draft", "issue_date": null, "customer": null})),
    )
    .await;
    let made = make(
        app,
        tenant,
        "/v1/invoices",
        &invoice(json!({"number": "gone"})),
    )
    .await;
    let cancel = format!("/v1/invoices/{}/cancel", made["id"].as_str().unwrap());
    assert!(
        app.create(&cancel, &tenant.key, &json!({}))
            .await
            .status
            .is_success()
    );
    // Short as it is sent, long as it is told: more than a usual line of an upload.
    let lines = vec![json!({"description": "x", "quantity": 1, "unit_price": 1}); 8_000];
    make(
        app,
        tenant,
        "/v1/invoices",
        &invoice(json!({"lines": lines, "issue_date": "2024-02-02"})),
    )
    .await;
    assert!(tier(app, tenant).await.invoices >= 3);
    let cold = app
        .read("/v1/invoices?tier=cold&number=R-2", &tenant.key)
        .await
        .is(200);
    let recall = format!(
        "/v1/invoices/{}/recall",
        cold["data"][0]["id"].as_str().unwrap()
    );
    assert!(
        app.create(&recall, &tenant.key, &json!({}))
            .await
            .status
            .is_success()
    );
}

fn without_owner(mut documents: Vec<Value>) -> Vec<Value> {
    for document in &mut documents {
        let members = document.as_object_mut().unwrap();
        members.remove("tenant_id");
        members.remove("customer_id");
    }
    documents
}

#[tokio::test]
async fn an_export_comes_back_through_bulk_ingestion_as_it_was() {
    let app = TestApp::start().await;
    let (tenant, copy) = (app.tenant().await, app.tenant().await);
    fill(&app, &tenant).await;
    let out = export(&app, &tenant.key, "").await;
    let sent = documents(&out);
    assert_eq!(sent.len(), 15, "{sent:#?}");
    for document in &sent {
        let read = app
            .read(
                &format!("/v1/invoices/{}", document["id"].as_str().unwrap()),
                &tenant.key,
            )
            .await;
        assert_eq!(&read.is(200), document, "as it is read by its id");
    }
    // Into its own tenant, every line is a duplicate.
    let again = send(app.upload(RESTORE, &tenant.key, out.body.clone()))
        .await
        .is(200);
    assert_eq!(
        (&again["duplicates"], &again["rejected"]),
        (&json!(15), &json!(0)),
        "{again}"
    );

    // Whose documents they are is not overlooked by accident, and the one long line is too long for
    // an usual upload.
    let strict = send(app.upload(BULK, &copy.key, out.body.clone()))
        .await
        .is(200);
    assert_eq!(
        (&strict["created"], &strict["rejected"]),
        (&json!(0), &json!(15)),
        "{strict}"
    );
    let codes: Vec<&str> = strict["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["code"].as_str().unwrap())
        .collect();
    assert!(
        codes.contains(&"tenant_mismatch") && codes.contains(&"line_too_long"),
        "{strict}"
    );

    let atomic = format!("{RESTORE}&atomic=true");
    let made = send(app.upload(&atomic, &copy.key, out.body.clone()))
        .await
        .is(200);
    assert_eq!(made["created"], 15, "{made}");
    let back = export(&app, &copy.key, "").await;
    assert_eq!(without_owner(documents(&back)), without_owner(sent.clone()));
    let text = |answer: &Answer, tenant: &Tenant| {
        let text = String::from_utf8(answer.body.clone()).unwrap();
        let ids: Vec<Value> = documents(answer)
            .into_iter()
            .map(|d| d["customer_id"].clone())
            .collect();
        let ids = ids
            .into_iter()
            .filter_map(|id| id.as_str().map(str::to_owned));
        ids.fold(text.replace(&tenant.id.to_string(), "owner"), |text, id| {
            text.replace(&id, "customer")
        })
    };
    assert_eq!(text(&back, &copy), text(&out, &tenant), "byte for byte");

    // What came back lives on, in both tiers.
    assert!(tier(&app, &copy).await.invoices >= 3);
    let cold = export(&app, &copy.key, "").await;
    assert_eq!(cold.body, back.body);
    let created = crate::support::events(copy.id, "invoice.created").await;
    assert!(!created.is_empty() && created.iter().all(|event| event.data["total"].is_string()));
}

#[tokio::test]
async fn a_document_that_was_tampered_with_is_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    make(&app, &tenant, "/v1/invoices", &paid("T-1", "2024-03-05")).await;
    let other = app.tenant().await;
    let document = documents(&export(&app, &tenant.key, "").await).remove(0);
    let with = |name: &str, value: Value| {
        let mut changed = document.clone();
        changed[name] = value;
        changed
    };
    let lines = [
        with("amount_due", json!("1.00")),
        with("status", json!("issued")),
        with("version", json!(0)),
        with("created_at", json!("2199-01-01T00:00:00Z")),
        with("surprise", json!(1)),
        with("id", Value::Null),
    ];
    let answer = send(app.upload(RESTORE, &other.key, ndjson(&lines)))
        .await
        .is(200);
    let codes: Vec<&str> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["code"].as_str().unwrap())
        .collect();
    let expected = [
        "inconsistent_document",
        "inconsistent_document",
        "invalid_version",
        "time_out_of_range",
        "unknown_field",
        "missing_field",
    ];
    assert_eq!(codes, expected, "{answer}");
    // A single create makes new documents only, and a new one has no version.
    let single = app.create("/v1/invoices", &tenant.key, &document).await;
    single.is_problem(422, "unknown_field");
    // A new document of another tenant stays refused where exports are taken.
    let new = invoice(json!({"tenant_id": tenant.id}));
    let answer = send(app.upload(RESTORE, &other.key, ndjson(&[new])))
        .await
        .is(200);
    assert_eq!(answer["errors"][0]["code"], "tenant_mismatch", "{answer}");
    assert!(app.all_invoices(&other).await.is_empty());
    // What is kept may be anything that can be. Its history begins now: readers of the feed have
    // passed its old times.
    let old = with("created_at", json!("2020-01-01T00:00:00.000000Z"));
    let answer = send(app.upload(RESTORE, &other.key, ndjson(&[old])))
        .await
        .is(200);
    assert_eq!(answer["created"], 1, "{answer}");
    assert_eq!(
        app.all_invoices(&other).await[0]["created_at"],
        "2020-01-01T00:00:00.000000Z"
    );
    // The feed stays behind what is being written.
    for _ in 0..200 {
        let feed = app.read("/v1/events?limit=100", &other.key).await.is(200);
        let mut told = feed["data"].as_array().unwrap().iter();
        let created = told.find(|event| event["event_type"] == "invoice.created");
        if let Some(created) = created {
            let at = created["created_at"].as_str().unwrap();
            assert!(at.starts_with("2026-"), "{feed}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the feed does not tell of the import");
}

#[tokio::test]
async fn a_platform_upload_puts_each_document_back_where_it_was() {
    let app = TestApp::start().await;
    let (one, two) = (app.tenant().await, app.tenant().await);
    let mut body = Vec::new();
    for tenant in [&one, &two] {
        make(&app, tenant, "/v1/invoices", &paid("P-1", "2024-03-05")).await;
        body.extend(export(&app, &tenant.key, "").await.body);
    }
    let path = "/v1/platform/invoices/bulk?restore=true";
    let upload = app.upload(path, crate::support::ADMIN_KEY, body);
    let answer = send(upload).await.is(200);
    assert_eq!(
        (&answer["duplicates"], &answer["rejected"]),
        (&json!(2), &json!(0)),
        "{answer}"
    );
}

#[tokio::test]
async fn formats_headers_and_bad_requests() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    for (number, date) in [
        ("F-1", "2022-03-05"),
        ("F-2", "2023-03-06"),
        ("F-3", "2026-11-01"),
    ] {
        make(&app, &tenant, "/v1/invoices", &paid(number, date)).await;
    }
    tier(&app, &tenant).await;
    let plain = export(&app, &tenant.key, "from=2022&to=2026").await;
    assert_eq!(plain.header("content-type"), "application/x-ndjson");
    assert_eq!(plain.header("sheaf-tier"), "hot, cold");
    assert_eq!(
        plain.header("content-disposition"),
        "attachment; filename=\"invoices-2022-2026.ndjson\""
    );
    let numbers: Vec<Value> = documents(&plain)
        .into_iter()
        .map(|d| d["number"].clone())
        .collect();
    assert_eq!(numbers, ["F-1", "F-2", "F-3"]);
    let packed = app
        .get("/v1/archive/export?from=2022&to=2026", &tenant.key)
        .header("accept-encoding", "gzip");
    let packed = send(packed).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_slice())
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);

    let csv = export(&app, &tenant.key, "format=csv&tier=cold&limit=1").await;
    assert_eq!(
        csv.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    assert_eq!(csv.header("sheaf-tier"), "cold");
    let text = String::from_utf8(csv.body).unwrap();
    assert!(
        text.starts_with("id,external_id,number,") && text.lines().count() == 2,
        "{text}"
    );

    let manifest = export(&app, &tenant.key, "format=parquet&from=2023&expires=60")
        .await
        .json();
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(
        (files.len(), &files[0]["period"], &manifest["rows"]),
        (1, &json!("2023-03"), &json!(1))
    );
    let object = reqwest::get(files[0]["url"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(
        object.bytes().await.unwrap().len() as u64,
        files[0]["bytes"].as_u64().unwrap()
    );

    assert!(export(&app, &other.key, "").await.body.is_empty());
    let nothing = export(&app, &other.key, "format=parquet").await.json();
    assert_eq!(nothing["files"], json!([]));
    for (query, code) in [
        ("format=xml", "invalid_parameter"),
        ("from=2024&to=2023", "invalid_parameter"),
        ("format=parquet&expires=99999", "invalid_parameter"),
        ("after=x", "invalid_parameter"),
        ("year=2024", "unknown_parameter"),
    ] {
        app.read(&format!("/v1/archive/export?{query}"), &tenant.key)
            .await
            .is_problem(400, code);
    }
}

#[tokio::test]
async fn an_export_that_fails_on_its_way_is_broken_off() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    // Hot rows of more than a chunk, then a month whose object is gone.
    let open: Vec<Value> = (0..600)
        .map(|n| invoice(json!({"number": format!("H-{n}"), "issue_date": "2022-01-05"})))
        .collect();
    send(app.upload(BULK, &tenant.key, ndjson(&open)))
        .await
        .is(200);
    make(&app, &tenant, "/v1/invoices", &paid("C-1", "2023-03-05")).await;
    tier(&app, &tenant).await;
    let file = app
        .archive
        .ls(sheaf_model::TenantId(tenant.id))
        .await
        .unwrap()
        .remove(0);
    let env = sheaf_local::test_env();
    let s3 = S3Config {
        endpoint: Some(env.s3_endpoint),
        bucket: env.s3_bucket,
        region: env.s3_region,
        credentials: None,
        keeping: sheaf_archive::Keeping::default(),
    };
    S3Storage::connect(&s3)
        .await
        .delete(&file.object_key)
        .await
        .unwrap();
    for encoding in ["identity", "gzip"] {
        let request = app
            .get("/v1/archive/export", &tenant.key)
            .header("accept-encoding", encoding);
        let mut answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = Vec::new();
        let error = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(error.is_some(), "{encoding}: it must not look like an end");
    }
    // What fails before the first line has a status.
    app.read("/v1/archive/export?from=2023&to=2023", &tenant.key)
        .await
        .is_problem(503, "archive_unavailable");
}
