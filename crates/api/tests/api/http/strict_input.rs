//! One spelling of everything that has several: dates, times, numbers, ids, objects. What is out of
//! range is a mistake of the client with a code, whichever way it comes in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{ADMIN_KEY, Answer, Tenant, TestApp, invoice, send};

/// Dates beyond PostgreSQL's or ours, and spellings that are none.
const BAD_DATES: [&str; 12] = [
    "-9999-01-01",
    "-4713-01-01",
    "-262143-01-01",
    "%2B262142-12-31",
    "0000-01-01",
    "1969-12-31",
    "2200-01-01",
    "9999-12-31",
    "2026-1-5",
    "%202026-01-05",
    "2026-01-05%20",
    "2026-02-30",
];

#[tokio::test]
async fn dates_of_queries_are_strict_and_in_range() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    let customer = made["customer_id"].as_str().unwrap();
    let of_customer = format!("/v1/customers/{customer}/invoices?issued_to=");
    for path in [
        "/v1/invoices?issued_from=",
        "/v1/invoices?issued_to=",
        "/v1/invoices?tier=cold&issued_from=",
        of_customer.as_str(),
        "/v1/reports/summary?from=",
        "/v1/reports/summary?to=",
        "/v1/reports/aging?as_of=",
        "/v1/reports/aging?group=customer&as_of=",
    ] {
        for bad in BAD_DATES {
            app.read(&format!("{path}{bad}"), &tenant.key)
                .await
                .is_problem(400, "invalid_parameter");
        }
        for good in ["1970-01-01", "2199-12-31"] {
            app.read(&format!("{path}{good}"), &tenant.key)
                .await
                .is(200);
        }
    }
}

#[tokio::test]
async fn dates_and_times_of_bodies_are_strict_and_in_range() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let put = |path: &str, body: &Value| {
        send(
            app.request(Method::PUT, path)
                .bearer_auth(&tenant.key)
                .json(body),
        )
    };
    for (value, code) in [
        ("-4714-01-01", "invalid_date"),
        ("+262142-12-31", "invalid_date"),
        ("9999-12-31", "date_out_of_range"),
        ("1969-12-31", "date_out_of_range"),
        ("2030-1-5", "invalid_date"),
        (" 2030-01-05", "invalid_date"),
    ] {
        // Where structs are read, what is no date at all is of the wrong type.
        let of_struct = code.replace("invalid_date", "invalid_type");
        let problem = put("/v1/retention/2020", &json!({"keep_until": value}))
            .await
            .is_problem(422, &of_struct);
        assert_eq!(problem["errors"][0]["field"], "keep_until");
        let draft = invoice(json!({"status": "draft", "due_date": value}));
        app.create("/v1/invoices", &tenant.key, &draft)
            .await
            .is_problem(422, code);
    }
    put("/v1/retention/2020", &json!({"keep_until": "2199-12-31"}))
        .await
        .is(200);
    for year in ["1969", "2200", "+2020", "02020", "2020.0", "-1", "99999999"] {
        put(&format!("/v1/retention/{year}"), &json!({}))
            .await
            .is_problem(422, "date_out_of_range");
    }
    for (value, code) in [
        ("9999-12-31T00:00:00Z", "time_out_of_range"),
        ("+262142-12-31T00:00:00Z", "invalid_type"),
        ("2030-01-05 00:00:00Z", "invalid_type"),
        ("2030-1-5T00:00:00Z", "invalid_type"),
        ("2030-01-05", "invalid_type"),
    ] {
        let key = json!({"name": "k", "expires_at": value});
        let problem = app
            .create("/v1/api-keys", &tenant.key, &key)
            .await
            .is_problem(422, code);
        assert_eq!(problem["errors"][0]["field"], "expires_at");
        let rotate = format!("/v1/api-keys/{}/rotate", tenant.key_id);
        app.create(&rotate, &tenant.key, &json!({"expires_at": value}))
            .await
            .is_problem(422, code);
    }
}

#[tokio::test]
async fn numbers_and_texts_of_queries_are_strict() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for limit in ["+5", "%2B5", "05", "5.0", "%205", "1e1", "0x5", ""] {
        for path in [
            "/v1/invoices",
            "/v1/customers",
            "/v1/events",
            "/v1/archive/files",
        ] {
            app.read(&format!("{path}?limit={limit}"), &tenant.key)
                .await
                .is_problem(400, "limit_out_of_range");
        }
        app.read(&format!("/v1/tenants?limit={limit}"), ADMIN_KEY)
            .await
            .is_problem(400, "limit_out_of_range");
    }
    for query in [
        "number=%FF",
        "number=%C3",
        "number=%",
        "number=%zz",
        "external_id=a%80b",
        "metadata.k=%FF",
        "metadata.%FF=k",
        "customer_id=%7B0190163d-8694-739b-aea5-966c26f8ad90%7D",
        "customer_id=0190163d8694739baea5966c26f8ad90",
    ] {
        app.read(&format!("/v1/invoices?{query}"), &tenant.key)
            .await
            .is_problem(400, "invalid_parameter");
    }
    for query in [
        "from=%2B2020",
        "to=02020",
        "limit=%2B1",
        "after=x",
        "format=parquet&expires=%2B60",
    ] {
        app.read(&format!("/v1/archive/export?{query}"), &tenant.key)
            .await
            .is_problem(400, "invalid_parameter");
    }
    let number = invoice(json!({"number": "ä/1 +"}));
    app.create("/v1/invoices", &tenant.key, &number)
        .await
        .is(201);
    let found = app.read("/v1/invoices?number=%C3%a4%2F1+%2B", &tenant.key);
    assert_eq!(found.await.is(200)["data"].as_array().unwrap().len(), 1);
}

/// A cursor as the server makes them: anybody can, since it is no secret.
fn forged(list: &[&str], position: &[u8]) -> String {
    let mut scope = Sha256::new();
    for value in list {
        scope.update((value.len() as u64).to_be_bytes());
        scope.update(value);
    }
    scope.update(position);
    let bytes = [&[1], position, &scope.finalize()[..4]].concat();
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn cursors_of_anybodys_making_are_no_failures() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = tenant.id.to_string();
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    let read = async |path: &str, list: &[&str], position: &[u8]| -> Answer {
        let cursor = forged(list, position);
        let separator = if path.contains('?') { '&' } else { '?' };
        app.read(&format!("{path}{separator}cursor={cursor}"), &tenant.key)
            .await
    };
    for micros in [
        i64::MIN,
        -210_900_000_000_000_000,
        -1,
        i64::MAX,
        7_300_000_000_000_000,
    ] {
        let position = [&micros.to_be_bytes()[..], &[0xff; 16]].concat();
        read("/v1/events", &["events", &id], &position)
            .await
            .is_problem(400, "invalid_cursor");
    }
    let position = [&1_i64.to_be_bytes()[..], &[0xff; 16]].concat();
    read("/v1/events", &["events", &id], &position)
        .await
        .is(200);
    for position in [[0xff; 11], [0x80; 11]] {
        read("/v1/archive/files", &["archive-files", &id], &position)
            .await
            .is_problem(400, "invalid_cursor");
    }
    let invoice_id = made["id"].as_str().unwrap();
    let history = format!("/v1/invoices/{invoice_id}/events");
    for end in [[0; 16], [0xff; 16]] {
        read("/v1/invoices", &["invoices", &id, ""], &end)
            .await
            .is(200);
        read("/v1/invoices?tier=cold", &["invoices", &id, "cold"], &end)
            .await
            .is(200);
        read(&history, &["invoice-events", invoice_id], &end)
            .await
            .is(200);
        let customers = [
            "customers",
            &id,
            "CustomerFilter { external_id: None, tax_id: None, email: None, active: None }",
        ];
        read("/v1/customers", &customers, &end).await.is(200);
        let aging = [&end[..], b"GBP"].concat();
        let list = ["aging", &id, "2026-11-20"];
        read(
            "/v1/reports/aging?group=customer&as_of=2026-11-20",
            &list,
            &aging,
        )
        .await
        .is(200);
        let aging = [&end[..], &[0xff; 3]].concat();
        read(
            "/v1/reports/aging?group=customer&as_of=2026-11-20",
            &list,
            &aging,
        )
        .await
        .is_problem(400, "invalid_cursor");
    }
}

/// Bodies that are right, by route.
fn bodies(tenant: &Tenant, made: &Value) -> Vec<(Method, String, Value)> {
    let (id, customer) = (
        made["id"].as_str().unwrap(),
        made["customer_id"].as_str().unwrap(),
    );
    let step = |name: &str| format!("/v1/invoices/{id}/{name}");
    let line = json!([{"description": "d", "quantity": "1", "unit_price": "1"}]);
    let payment = json!({"reference": "r", "amount": "1"});
    let key = format!("/v1/api-keys/{}/rotate", tenant.key_id);
    vec![
        (
            Method::POST,
            "/v1/invoices".into(),
            invoice(json!({"payments": [
            {"reference": "r", "amount": "1", "paid_on": "2026-11-03", "method": "card"}]})),
        ),
        (
            Method::PATCH,
            format!("/v1/invoices/{id}"),
            json!({"metadata": {"a": 1}}),
        ),
        (
            Method::POST,
            step("issue"),
            json!({"due_date": "2026-12-31"}),
        ),
        (Method::POST, step("send"), json!({"channel": "email"})),
        (Method::POST, step("cancel"), json!({"reason": "r"})),
        (Method::POST, step("payments"), payment.clone()),
        (Method::POST, step("refunds"), payment),
        (Method::POST, step("credit-notes"), json!({"lines": line})),
        (Method::POST, step("apply"), json!({"invoice_id": id})),
        (Method::POST, step("recall"), json!({})),
        (Method::POST, step("validate"), json!({})),
        (
            Method::POST,
            step(&format!("payments/{id}/reverse")),
            json!({"reason": "r"}),
        ),
        (
            Method::POST,
            "/v1/customers".into(),
            json!({"name": "n", "metadata": {"a": 1}}),
        ),
        (
            Method::PATCH,
            format!("/v1/customers/{customer}"),
            json!({"name": "n"}),
        ),
        (
            Method::POST,
            format!("/v1/customers/{customer}/merge"),
            json!({"into": customer}),
        ),
        (
            Method::PUT,
            "/v1/profile".into(),
            json!({"name": "n", "address_lines": ["a"]}),
        ),
        (
            Method::PUT,
            "/v1/number-series/invoice".into(),
            json!({"prefix": "A", "padding": 4}),
        ),
        (
            Method::PUT,
            "/v1/retention/2020".into(),
            json!({"legal_hold": true, "keep_until": "2030-01-01"}),
        ),
        (
            Method::PUT,
            "/v1/archive/columns".into(),
            json!({"metadata_keys": ["a"]}),
        ),
        (
            Method::POST,
            "/v1/archive/query".into(),
            json!({"sql": "select 1", "format": "json", "tier": "cold", "max_rows": 1}),
        ),
        (Method::POST, "/v1/api-keys".into(), json!({"name": "n"})),
        (Method::POST, key, json!({"overlap_seconds": 1})),
        (Method::POST, "/v1/tenants".into(), json!({"name": "n"})),
        (
            Method::POST,
            format!("/v1/tenants/{}/api-keys", tenant.id),
            json!({"name": "n", "role": "viewer"}),
        ),
        (
            Method::POST,
            format!(
                "/v1/tenants/{}/api-keys/{}/rotate",
                tenant.id, tenant.key_id
            ),
            json!({}),
        ),
    ]
}

/// The document with each object in turn as the array of its members, in its own order and in the
/// schema's, which is what serde's derive takes for a struct. What is free-form stays.
fn arrays(document: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    if let Value::Object(members) = document {
        all.push(members.values().cloned().collect());
        all.push(json!([]));
        for (name, value) in members.iter().filter(|(name, _)| *name != "metadata") {
            for inner in arrays(value) {
                let mut outer = members.clone();
                outer.insert(name.clone(), inner);
                all.push(Value::Object(outer));
            }
        }
    }
    if let Value::Array(items) = document {
        for (at, item) in items.iter().enumerate() {
            for inner in arrays(item) {
                let mut outer = items.clone();
                outer[at] = inner;
                all.push(Value::Array(outer));
            }
        }
    }
    all
}

#[tokio::test]
async fn an_array_is_no_object_in_any_body() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    let documented = serde_json::to_value(sheaf_api::openapi()).unwrap();
    let bodies = bodies(&tenant, &made);
    let with_body = documented["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter(|operation| {
            let content = &operation["requestBody"]["content"];
            content.is_object() && content.get("application/x-ndjson").is_none()
        })
        .count();
    assert_eq!(
        bodies.len(),
        with_body,
        "a route with a body has no case here"
    );
    for (method, path, body) in bodies {
        let key = match path.starts_with("/v1/tenants") {
            true => ADMIN_KEY,
            false => &tenant.key,
        };
        let mut wrong = arrays(&body);
        // In the order of the struct's fields, which is not that of the alphabet.
        wrong.extend([
            json!([made["customer_id"]]),
            json!(["n", null, null]),
            json!([true, null]),
        ]);
        wrong.extend([
            json!(["A", 4, null, null]),
            json!([["a"]]),
            json!(["select 1", null, null, null]),
        ]);
        for wrong in wrong {
            let request = app.request(method.clone(), &path).bearer_auth(key);
            let answer = send(request.json(&wrong)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()["code"].as_str()),
                (422, Some("invalid_type")),
                "{method} {path} {wrong}: {answer}"
            );
        }
    }
    let upload = "[\"x\"]\n{\"currency\": \"EUR\", \"lines\": [[\"d\"]]}\n";
    let summary = send(app.upload("/v1/invoices/bulk", &tenant.key, upload))
        .await
        .is(200);
    assert_eq!(summary["rejected"], 2);
    assert_eq!(app.all_invoices(&tenant).await.len(), 1, "nothing was made");
}

/// An enum's name is a string; serde's derive takes an object as well.
#[tokio::test]
async fn a_name_is_no_object() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for (name, value) in [
        ("format", json!({"json": null})),
        ("tier", json!({"cold": null})),
    ] {
        let mut query = json!({"sql": "select 1"});
        query[name] = value;
        app.create("/v1/archive/query", &tenant.key, &query)
            .await
            .is_problem(422, "invalid_type");
    }
}
