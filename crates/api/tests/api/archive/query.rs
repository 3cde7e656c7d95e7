//! SQL over the archive, over HTTP.

use serde_json::{Value, json};

use crate::archive::files::{paid, tier};
use crate::support::{Tenant, TestApp, send};

async fn query(app: &TestApp, key: &str, body: Value) -> crate::support::Answer {
    let request = app.request(reqwest::Method::POST, "/v1/archive/query");
    send(request.bearer_auth(key).json(&body)).await
}

/// Three archived invoices of 26.98 each, and a hot one.
async fn archived(app: &TestApp) -> Tenant {
    let tenant = app.tenant().await;
    for (number, date) in [
        ("Q-1", "2023-03-05"),
        ("Q-2", "2023-04-06"),
        ("Q-3", "2024-08-01"),
        ("Q-4", "2026-11-01"),
    ] {
        app.create("/v1/invoices", &tenant.key, &paid(number, date))
            .await
            .is(201);
    }
    assert_eq!(tier(app, &tenant).await.invoices, 3);
    tenant
}

#[tokio::test]
async fn a_query_answers_in_three_formats() {
    let app = TestApp::start().await;
    let tenant = archived(&app).await;
    let sql = "select year, count(*) as n, sum(total) as total from invoices group by 1 order by 1";
    let json = query(&app, &tenant.key, json!({"sql": sql})).await;
    let body = json.is(200);
    assert_eq!(
        body["rows"],
        json!([[2023, 2, "53.9600"], [2024, 1, "26.9800"]])
    );
    assert_eq!(body["columns"][2]["name"], "total");
    assert_eq!(body["tier"], "cold");
    assert_eq!(body["stats"]["files_total"], 3);
    assert_eq!(json.header("sheaf-tier"), "cold");
    let freshness = json.header("sheaf-freshness").to_owned();
    assert!(
        freshness.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
        "{freshness}"
    );

    let csv = query(&app, &tenant.key, json!({"sql": sql, "format": "csv"})).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        csv.body,
        "year,n,total\r\n2023,2,53.9600\r\n2024,1,26.9800\r\n".as_bytes()
    );
    let odd = "select '' as empty, null as nothing, 'a,b' as text, now() is null as clock";
    let odd = query(&app, &tenant.key, json!({"sql": odd, "format": "csv"})).await;
    assert_eq!(
        odd.body,
        "empty,nothing,text,clock\r\n\"\",,\"a,b\",false\r\n".as_bytes()
    );
    let request = app.request(reqwest::Method::POST, "/v1/archive/query");
    let accepted = request
        .bearer_auth(&tenant.key)
        .header("accept", "application/vnd.apache.arrow.stream")
        .json(&json!({"sql": sql}));
    let arrow = send(accepted).await;
    assert_eq!(
        arrow.header("content-type"),
        "application/vnd.apache.arrow.stream"
    );
    // A stream's first message is marked as such.
    assert_eq!(arrow.body[..4], [0xff; 4]);

    let both = json!({"sql": "select count(*), sum(total) from invoices", "tier": "all"});
    let both = query(&app, &tenant.key, both).await;
    assert_eq!(both.is(200)["rows"], json!([[4, "107.9200"]]));
    assert_eq!(both.header("sheaf-tier"), "hot, cold");
}

#[tokio::test]
async fn another_tenant_sees_nothing_and_a_bad_query_is_a_problem() {
    let app = TestApp::start().await;
    let tenant = archived(&app).await;
    let other = app.tenant().await;
    let (viewer, _) = app.api_key(tenant.id, "viewer").await;
    let all = json!({"sql": "select id from invoices", "tier": "all"});
    assert_eq!(
        query(&app, &other.key, all.clone()).await.is(200)["rows"],
        json!([])
    );
    let seen = query(&app, &viewer, all).await;
    assert_eq!(seen.is(200)["rows"].as_array().unwrap().len(), 4);
    for (body, status, code) in [
        (json!({"sql": "selekt"}), 400, "invalid_sql"),
        (json!({"sql": "select * from tenants"}), 400, "invalid_sql"),
        (json!({"sql": "delete from invoices"}), 422, "not_read_only"),
        (json!({"sql": "select 1; select 2"}), 422, "not_read_only"),
        (json!({"sql": "select 1/0"}), 422, "query_failed"),
        (
            json!({"sql": "select 9223372036854775807 + 1"}),
            422,
            "query_failed",
        ),
        (
            json!({"sql": format!("select {}1", "1+".repeat(3_000))}),
            422,
            "query_too_complex",
        ),
        (
            json!({"sql": "select id from invoices", "max_rows": 2}),
            422,
            "too_many_rows",
        ),
        (json!({}), 422, "missing_field"),
        (
            json!({"sql": "select 1", "tenant_id": tenant.id}),
            422,
            "unknown_field",
        ),
        (
            json!({"sql": "select 1", "format": "xml"}),
            422,
            "invalid_type",
        ),
        (
            json!({"sql": "select 1", "tier": "hot"}),
            422,
            "invalid_type",
        ),
    ] {
        let answer = query(&app, &tenant.key, body.clone()).await;
        answer.is_problem(status, code);
    }
}

#[tokio::test]
async fn declared_keys_of_metadata_are_columns_at_once() {
    let app = TestApp::start().await;
    let (tenant, other) = (archived(&app).await, app.tenant().await);
    let path = "/v1/archive/columns";
    let declare = async |key: &str, version: Option<&str>, body: &Value| {
        let mut request = app.request(reqwest::Method::PUT, path);
        if let Some(version) = version {
            request = request.header("if-match", version);
        }
        send(request.bearer_auth(key).json(body)).await
    };
    let none = app.read(path, &tenant.key).await;
    assert_eq!(
        (&none.is(200)["metadata_keys"], &none.is(200)["version"]),
        (&json!([]), &json!(0))
    );

    let keys = json!({"metadata_keys": ["project", "costCenter"]});
    let set = declare(&tenant.key, Some("\"0\""), &keys).await;
    assert_eq!(
        set.is(200)["columns"],
        json!(["meta_project", "meta_costCenter"])
    );
    assert_eq!(set.header("etag"), "\"1\"");
    assert_eq!(
        declare(&tenant.key, None, &keys).await.is(200)["version"],
        1
    );
    declare(&tenant.key, Some("\"0\""), &keys)
        .await
        .is_problem(412, "version_mismatch");
    assert_eq!(
        app.read(path, &other.key).await.is(200)["metadata_keys"],
        json!([])
    );

    let sql = "select count(meta_project), count(\"meta_costCenter\"), count(*) from invoices";
    let answer = query(&app, &tenant.key, json!({"sql": sql})).await;
    assert_eq!(answer.is(200)["rows"], json!([[0, 0, 3]]));
    let refused = query(&app, &other.key, json!({"sql": sql})).await;
    refused.is_problem(400, "invalid_sql");

    let many: Vec<String> = (0..17).map(|n| format!("k{n}")).collect();
    for (body, code) in [
        (json!({"metadata_keys": ["a b"]}), "invalid_metadata_key"),
        (json!({"metadata_keys": [""]}), "invalid_metadata_key"),
        (
            json!({"metadata_keys": ["x".repeat(51)]}),
            "invalid_metadata_key",
        ),
        (
            json!({"metadata_keys": ["A", "a"]}),
            "duplicate_metadata_key",
        ),
        (json!({"metadata_keys": many}), "too_many_metadata_keys"),
        (json!({"metadata_keys": "a"}), "invalid_type"),
        (json!({"metadata_keys": [], "x": 1}), "unknown_field"),
        (json!({}), "missing_field"),
    ] {
        declare(&tenant.key, None, &body)
            .await
            .is_problem(422, code);
    }
    let cleared = declare(&tenant.key, None, &json!({"metadata_keys": []})).await;
    assert_eq!(
        (&cleared.is(200)["columns"], &cleared.is(200)["version"]),
        (&json!([]), &json!(2))
    );
}
