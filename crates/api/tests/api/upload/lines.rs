use serde_json::{Value, json};

use crate::support::{Tenant, TestApp, gzip, invoice, ndjson, send};

const BULK: &str = "/v1/invoices/bulk";

fn numbered(count: usize) -> Vec<Value> {
    (1..=count)
        .map(|n| invoice(json!({"external_id": format!("e-{n}"), "number": format!("n-{n}")})))
        .collect()
}

async fn upload(app: &TestApp, tenant: &Tenant, body: impl Into<reqwest::Body>) -> Value {
    send(app.upload(BULK, &tenant.key, body)).await.is(200)
}

fn counts(summary: &Value) -> [u64; 4] {
    ["received", "created", "duplicates", "rejected"].map(|name| summary[name].as_u64().unwrap())
}

#[tokio::test]
async fn an_upload_lands_and_again_is_all_duplicates() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let body = ndjson(&numbered(5_000));
    let first = upload(&app, &tenant, body.clone()).await;
    assert_eq!(
        (counts(&first), &first["errors"]),
        ([5_000, 5_000, 0, 0], &json!([]))
    );
    assert_eq!(
        counts(&upload(&app, &tenant, body.clone()).await),
        [5_000, 0, 5_000, 0]
    );
    let packed = app
        .upload(BULK, &tenant.key, gzip(body.as_bytes()))
        .header("content-encoding", "gzip");
    assert_eq!(counts(&send(packed).await.is(200)), [5_000, 0, 5_000, 0]);
    assert_eq!(app.all_invoices(&tenant).await.len(), 5_000);
}

#[tokio::test]
async fn good_lines_land_and_bad_ones_are_named() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let mut lines = numbered(6);
    lines[1]["lines"][0]["quantity"] = json!("0");
    lines[3]["number"] = json!("n-1");
    let mut body = ndjson(&lines[..3]);
    body.push_str("\n  \r\n{\"currency\":\n");
    body.push_str(&ndjson(&lines[3..]));
    // A last line without its newline counts: the body ended properly.
    let summary = upload(&app, &tenant, body.trim_end().to_owned()).await;
    assert_eq!(counts(&summary), [7, 4, 0, 3]);
    let errors = summary["errors"].as_array().unwrap();
    let named: Vec<(u64, &str)> = errors
        .iter()
        .map(|e| (e["line"].as_u64().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        named,
        [
            (2, "quantity_zero"),
            (6, "invalid_json"),
            (7, "duplicate_number")
        ]
    );
    assert!(
        errors[0]["detail"]
            .as_str()
            .unwrap()
            .starts_with("lines[0].quantity: "),
        "{errors:?}"
    );
    assert_eq!(
        errors[1]["detail"],
        "line 6 is not a JSON document of its own: it ends where a value is expected at \
         character 12"
    );
    assert_eq!(app.all_invoices(&tenant).await.len(), 4);
}

#[tokio::test]
async fn the_first_thousand_errors_are_named() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let summary = upload(&app, &tenant, "nonsense\n".repeat(2_500)).await;
    assert_eq!(counts(&summary), [2_500, 0, 0, 2_500]);
    let errors = summary["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["line"], &errors[999]["line"]),
        (1_000, &json!(1), &json!(1_000))
    );
}

#[tokio::test]
async fn a_line_that_is_too_long_is_rejected_by_number() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let good = numbered(2);
    let body = format!("{}\n{}\n{}\n", good[0], "x".repeat(3 << 20), good[1]);
    let summary = upload(&app, &tenant, body).await;
    assert_eq!(counts(&summary), [3, 2, 0, 1]);
    assert_eq!(
        (&summary["errors"][0]["line"], &summary["errors"][0]["code"]),
        (&json!(2), &json!("line_too_long"))
    );
}

#[tokio::test]
async fn an_empty_upload_is_told_apart_from_a_blank_one() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    send(app.upload(BULK, &tenant.key, ""))
        .await
        .is_problem(400, "missing_body");
    assert_eq!(counts(&upload(&app, &tenant, "\n\n").await), [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_line_may_name_its_own_tenant_only() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let lines = [
        invoice(json!({"tenant_id": tenant.id})),
        invoice(json!({"tenant_id": other.id})),
        invoice(json!({"tenant_external_id": "x"})),
    ];
    let summary = upload(&app, &tenant, ndjson(&lines)).await;
    assert_eq!(counts(&summary), [3, 1, 0, 2]);
    assert!(
        summary["errors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|error| error["code"] == "tenant_mismatch")
    );
    assert!(app.all_invoices(&other).await.is_empty());
}

#[tokio::test]
async fn an_old_year_gets_its_partition_on_the_way() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let lines = [
        invoice(json!({"issue_date": "1970-01-01"})),
        invoice(json!({"issue_date": "1999-12-31"})),
    ];
    assert_eq!(
        counts(&upload(&app, &tenant, ndjson(&lines)).await),
        [2, 2, 0, 0]
    );
    assert_eq!(app.all_invoices(&tenant).await.len(), 2);
}
