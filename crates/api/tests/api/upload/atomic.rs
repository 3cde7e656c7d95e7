use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, TestApp, gzip, invoice, ndjson, send, unique};

const ATOMIC: &str = "/v1/invoices/bulk?atomic=true";

#[tokio::test]
async fn all_lines_land() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let lines: Vec<Value> = (0..3_000)
        .map(|n| {
            invoice(json!({"external_id": format!("e-{n}"),
        "issue_date": format!("20{:02}-06-01", 10 + n % 5)}))
        })
        .collect();
    let upload = || send(app.upload(ATOMIC, &tenant.key, ndjson(&lines)));
    assert_eq!(upload().await.is(200)["created"], 3_000);
    let again = upload().await.is(200);
    assert_eq!(
        (&again["created"], &again["duplicates"]),
        (&json!(0), &json!(3_000))
    );
    assert_eq!(app.all_invoices(&tenant).await.len(), 3_000);
}

#[tokio::test]
async fn one_bad_line_stops_all() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let mut lines: Vec<Value> = (0..600)
        .map(|n| invoice(json!({"number": format!("n-{n}")})))
        .collect();
    lines[550]["currency"] = json!("XYZ");
    let problem = send(app.upload(ATOMIC, &tenant.key, ndjson(&lines)))
        .await
        .is_problem(422, "bulk_rejected");
    assert_eq!(
        (
            &problem["received"],
            &problem["created"],
            &problem["rejected"]
        ),
        (&json!(600), &json!(0), &json!(1))
    );
    assert_eq!(
        (
            &problem["line_errors"][0]["line"],
            &problem["line_errors"][0]["code"]
        ),
        (&json!(551), &json!("unknown_currency"))
    );
    // What only the store can see: the number of the last line is taken by the first.
    lines[550] = invoice(json!({}));
    lines[599]["number"] = json!("n-0");
    let problem = send(app.upload(ATOMIC, &tenant.key, ndjson(&lines)))
        .await
        .is_problem(422, "bulk_rejected");
    assert_eq!(
        (&problem["created"], &problem["line_errors"][0]["code"]),
        (&json!(0), &json!("duplicate_number"))
    );
    assert_eq!(problem["line_errors"][0]["line"], 600);
    assert!(app.all_invoices(&tenant).await.is_empty());
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let lines: Vec<Value> = (0..600).map(|_| invoice(json!({}))).collect();
    let packed = gzip(ndjson(&lines).as_bytes());
    let request = app.upload(ATOMIC, &tenant.key, packed[..packed.len() - 10].to_vec());
    let problem = send(request.header("content-encoding", "gzip"))
        .await
        .is_problem(400, "truncated_gzip");
    assert_eq!(problem["created"], 0);
    assert!(app.all_invoices(&tenant).await.is_empty());
}

#[tokio::test]
async fn the_spool_is_bounded() {
    let app = TestApp::start_with(|config| config.bulk.spool_limit = 10_000).await;
    let tenant = app.tenant().await;
    let lines: Vec<Value> = (0..600).map(|_| invoice(json!({}))).collect();
    send(app.upload(ATOMIC, &tenant.key, ndjson(&lines)))
        .await
        .is_problem(413, "body_too_large");
    assert!(app.all_invoices(&tenant).await.is_empty());
}

#[tokio::test]
async fn tenants_are_made_only_when_all_is_good() {
    let app = TestApp::start().await;
    let (one, two) = (unique("new"), unique("new"));
    let path = "/v1/platform/invoices/bulk?atomic=true&create_tenants=true";
    let mut lines = vec![
        invoice(json!({"tenant_external_id": one})),
        invoice(json!({"tenant_external_id": two})),
        invoice(json!({"tenant_external_id": one, "currency": "XYZ"})),
    ];
    let made = |tenants: &Value| {
        tenants["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|t| t["external_id"] == one || t["external_id"] == two)
            .count()
    };
    send(app.upload(path, ADMIN_KEY, ndjson(&lines)))
        .await
        .is_problem(422, "bulk_rejected");
    assert_eq!(
        made(&app.read("/v1/tenants?limit=100", ADMIN_KEY).await.is(200)),
        0
    );
    lines.truncate(2);
    assert_eq!(
        send(app.upload(path, ADMIN_KEY, ndjson(&lines)))
            .await
            .is(200)["created"],
        2
    );
    assert_eq!(
        made(&app.read("/v1/tenants?limit=100", ADMIN_KEY).await.is(200)),
        2
    );
}
