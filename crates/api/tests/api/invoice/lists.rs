use serde_json::{Value, json};

use crate::support::{Tenant, TestApp, invoice};

async fn listed(app: &TestApp, tenant: &Tenant, query: &str) -> Vec<String> {
    let page = app
        .read(&format!("/v1/invoices?{query}"), &tenant.key)
        .await
        .is(200);
    numbers(page["data"].as_array().unwrap())
}

fn numbers(invoices: &[Value]) -> Vec<String> {
    invoices
        .iter()
        .map(|invoice| invoice["number"].as_str().unwrap().to_owned())
        .collect()
}

/// Four invoices, one a month from July.
async fn sample(app: &TestApp) -> Tenant {
    let tenant = app.tenant().await;
    for (number, date, members) in [
        ("A-1", "2026-07-01", json!({"kind": "credit_note"})),
        (
            "A-2",
            "2026-08-01",
            json!({"external_id": "E-2", "metadata": {"shop": "north", "vip": true}}),
        ),
        (
            "A-3",
            "2026-09-01",
            json!({"metadata": {"shop": "north"}, "customer": {"external_id": "c-3",
                "name": "Three"}}),
        ),
        (
            "A-4",
            "2026-10-01",
            json!({"payments": [{"reference": "p", "amount": "26.98", "paid_on": "2026-10-02",
                "method": "card"}]}),
        ),
    ] {
        let mut document = invoice(members);
        document["number"] = number.into();
        document["issue_date"] = date.into();
        app.create("/v1/invoices", &tenant.key, &document)
            .await
            .is(201);
    }
    tenant
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_overlap() {
    let app = TestApp::start().await;
    let tenant = sample(&app).await;
    let first = app.read("/v1/invoices?limit=3", &tenant.key).await;
    assert_eq!(first.header("sheaf-tier"), "hot");
    let first = first.is(200);
    assert_eq!(
        numbers(first["data"].as_array().unwrap()),
        ["A-4", "A-3", "A-2"]
    );
    assert_eq!(first["has_more"], true);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app
        .read(
            &format!("/v1/invoices?limit=3&cursor={cursor}"),
            &tenant.key,
        )
        .await
        .is(200);
    assert_eq!(numbers(second["data"].as_array().unwrap()), ["A-1"]);
    assert_eq!(
        (&second["has_more"], &second["next_cursor"]),
        (&json!(false), &json!(null))
    );
}

#[tokio::test]
async fn an_item_of_a_list_is_the_whole_invoice() {
    let app = TestApp::start().await;
    let tenant = sample(&app).await;
    let page = app.read("/v1/invoices?number=A-2", &tenant.key).await;
    let document = page.is(200)["data"][0].clone();
    let one = app
        .read(
            &format!("/v1/invoices/{}", document["id"].as_str().unwrap()),
            &tenant.key,
        )
        .await;
    assert_eq!(one.is(200), document);
    let (page, one) = (
        String::from_utf8(page.body).unwrap(),
        String::from_utf8(one.body).unwrap(),
    );
    assert!(page.contains(&one), "the same bytes");
}

#[tokio::test]
async fn each_filter_narrows() {
    let app = TestApp::start().await;
    let tenant = sample(&app).await;
    let customer = app
        .read("/v1/invoices?number=A-3", &tenant.key)
        .await
        .is(200)["data"][0]["customer_id"]
        .clone();
    let by_customer = format!("customer_id={}", customer.as_str().unwrap());
    for (query, expected) in [
        ("status=paid", &["A-4"][..]),
        ("status=issued", &["A-3", "A-2", "A-1"]),
        ("kind=credit_note", &["A-1"]),
        ("number=A-2", &["A-2"]),
        ("external_id=E-2", &["A-2"]),
        (&by_customer, &["A-3"]),
        (
            "issued_from=2026-08-01&issued_to=2026-09-01",
            &["A-3", "A-2"],
        ),
        ("metadata.shop=north", &["A-3", "A-2"]),
        ("metadata.shop=north&metadata.vip=true", &["A-2"]),
        ("metadata.shop=south", &[]),
        ("tier=hot", &["A-4", "A-3", "A-2", "A-1"]),
        ("tier=cold", &[]),
        ("status=paid&kind=credit_note", &[]),
    ] {
        assert_eq!(listed(&app, &tenant, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn what_a_list_does_not_know_is_refused() {
    let app = TestApp::start().await;
    let tenant = sample(&app).await;
    let nine: String = (0..9).map(|i| format!("&metadata.k{i}=v")).collect();
    for (query, code) in [
        ("limit=0", "limit_out_of_range"),
        ("limit=1000", "limit_out_of_range"),
        ("limit=101", "limit_out_of_range"),
        ("limit=ten", "limit_out_of_range"),
        ("cursor=nonsense", "invalid_cursor"),
        ("cursor=", "invalid_cursor"),
        ("page=2", "unknown_parameter"),
        ("status=open", "invalid_parameter"),
        ("kind=receipt", "invalid_parameter"),
        ("customer_id=7", "invalid_parameter"),
        ("issued_from=2026-02-30", "invalid_parameter"),
        ("tier=warm", "invalid_parameter"),
        ("status=paid&status=draft", "invalid_parameter"),
        ("number=a%00b", "invalid_parameter"),
        (&nine[1..], "invalid_parameter"),
    ] {
        let problem = app
            .read(&format!("/v1/invoices?{query}"), &tenant.key)
            .await
            .is_problem(400, code);
        assert!(problem["errors"][0]["field"].is_string(), "{problem}");
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_tenant_and_filters() {
    let app = TestApp::start().await;
    let (tenant, other) = (sample(&app).await, sample(&app).await);
    let page = app
        .read("/v1/invoices?limit=1&status=issued", &tenant.key)
        .await
        .is(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let with = |filters: &str| format!("/v1/invoices?limit=2&cursor={cursor}{filters}");
    app.read(&with("&status=issued"), &tenant.key).await.is(200);
    app.read(&with(""), &tenant.key)
        .await
        .is_problem(400, "invalid_cursor");
    app.read(&with("&status=issued"), &other.key)
        .await
        .is_problem(400, "invalid_cursor");
}
