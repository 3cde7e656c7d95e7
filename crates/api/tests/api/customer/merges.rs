use serde_json::{Value, json};

use crate::archive::files::tier;
use crate::customer::records::{made, path};
use crate::support::{Answer, Tenant, TestApp, invoice, send};

async fn merge(app: &TestApp, tenant: &Tenant, duplicate: &Value, survivor: &Value) -> Answer {
    let at = format!("{}/merge", path(duplicate));
    app.create(&at, &tenant.key, &json!({"into": survivor["id"]}))
        .await
}

async fn bill(app: &TestApp, tenant: &Tenant, external_id: &str, members: Value) -> Value {
    let mut document = invoice(members);
    document["customer"] = json!({"external_id": external_id, "name": external_id});
    let made = app.create("/v1/invoices", &tenant.key, &document).await;
    made.is(201)
}

async fn ids(app: &TestApp, tenant: &Tenant, customer: &Value, query: &str) -> Vec<String> {
    let at = format!("{}/invoices?limit=2{query}", path(customer));
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.read(&format!("{at}{cursor}"), &tenant.key).await;
        let page = page.is(200);
        let data = page["data"].as_array().unwrap();
        ids.extend(data.iter().map(|i| i["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

async fn two(app: &TestApp, tenant: &Tenant) -> (Value, Value) {
    let duplicate = json!({"name": "Dup", "external_id": "dup"});
    let survivor = json!({"name": "Survivor", "external_id": "sur", "country": "DE"});
    (
        made(app, tenant, duplicate).await,
        made(app, tenant, survivor).await,
    )
}

#[tokio::test]
async fn a_duplicates_invoices_go_to_the_survivor() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (duplicate, survivor) = two(&app, &tenant).await;
    let mut issued = Vec::new();
    for day in 1..=3 {
        let date = format!("2026-10-{day:02}");
        issued.push(bill(&app, &tenant, "dup", json!({"issue_date": date})).await);
        issued.push(bill(&app, &tenant, "sur", json!({"issue_date": date})).await);
    }
    let draft = bill(&app, &tenant, "dup", json!({"status": "draft"})).await;
    let paid =
        json!([{"reference": "p", "amount": "26.98", "paid_on": "2024-02-02", "method": "card"}]);
    let old = json!({"issue_date": "2024-02-01", "payments": paid});
    let archived = bill(&app, &tenant, "dup", old).await;
    assert_eq!(tier(&app, &tenant).await.invoices, 1);

    let merged = merge(&app, &tenant, &duplicate, &survivor).await.is(200);
    assert_eq!(
        (&merged["invoices_moved"], &merged["complete"]),
        (&json!(4), &json!(true))
    );
    let record = &merged["customer"];
    assert_eq!(
        (
            &record["merged_into"],
            &record["active"],
            &record["version"]
        ),
        (&survivor["id"], &json!(false), &json!(2))
    );
    assert_eq!(
        &app.read(&path(&duplicate), &tenant.key).await.is(200),
        record
    );
    let read = async |invoice: &Value| {
        let at = format!("/v1/invoices/{}", invoice["id"].as_str().unwrap());
        app.read(&at, &tenant.key).await.is(200)
    };
    for before in &issued {
        let after = read(before).await;
        assert_eq!(after["customer_id"], survivor["id"]);
        assert_eq!(after["customer"], before["customer"], "as it was issued");
        let was_duplicates = before["customer_id"] == duplicate["id"];
        assert_eq!(after["version"], if was_duplicates { 2 } else { 1 });
    }
    let after = read(&draft).await;
    assert_eq!(
        (&after["customer_id"], &after["customer"]["name"]),
        (&survivor["id"], &json!("Survivor"))
    );
    // What is archived keeps its customer, and is the survivor's all the same.
    assert_eq!(read(&archived).await["customer_id"], duplicate["id"]);
    let mut all: Vec<String> = [&issued[..], &[draft, archived]]
        .concat()
        .iter()
        .map(|i| i["id"].as_str().unwrap().to_owned())
        .collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(ids(&app, &tenant, &survivor, "").await, all);
    assert_eq!(ids(&app, &tenant, &survivor, "&tier=cold").await.len(), 1);
    let balance = app
        .read(&format!("{}/balance", path(&survivor)), &tenant.key)
        .await
        .is(200);
    assert_eq!(balance["balances"][0]["due"], "161.88", "six of 26.98");
}

#[tokio::test]
async fn a_merged_customer_leads_to_its_survivor() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (duplicate, survivor) = two(&app, &tenant).await;
    bill(&app, &tenant, "dup", json!({})).await;
    let at = format!("{}/merge", path(&duplicate));
    let body = json!({"into": survivor["id"]});
    let with_key = || {
        let request = app.post(&at, &tenant.key).header("idempotency-key", "m-1");
        send(request.json(&body))
    };
    let first = with_key().await;
    assert_eq!(first.is(200)["invoices_moved"], 1);
    let again = with_key().await;
    assert_eq!(
        (&again.body, again.header("idempotency-replayed")),
        (&first.body, "true")
    );
    // Without the key as well, the second time changes nothing.
    let again = merge(&app, &tenant, &duplicate, &survivor).await.is(200);
    assert_eq!(
        (&again["invoices_moved"], &again["customer"]),
        (&json!(0), &first.json()["customer"])
    );
    for _ in 0..2 {
        let later = bill(&app, &tenant, "dup", json!({})).await;
        assert_eq!(later["customer_id"], survivor["id"]);
    }
    let mut document = invoice(json!({"customer_id": duplicate["id"]}));
    document.as_object_mut().unwrap().remove("customer");
    app.create("/v1/invoices", &tenant.key, &document)
        .await
        .is_problem(409, "customer_inactive");
    let patch = async |customer: &Value, patch: Value| {
        let request = app.request(reqwest::Method::PATCH, &path(customer));
        send(request.bearer_auth(&tenant.key).json(&patch)).await
    };
    patch(&duplicate, json!({"active": true}))
        .await
        .is_problem(409, "customer_merged");
    for customer in [&duplicate, &survivor] {
        let request = app.request(reqwest::Method::DELETE, &path(customer));
        send(request.bearer_auth(&tenant.key))
            .await
            .is_problem(409, "customer_in_use");
    }
    // An inactive survivor is as good as inactive itself.
    patch(&survivor, json!({"active": false})).await.is(200);
    let mut document = invoice(json!({}));
    document["customer"] = json!({"external_id": "dup", "name": "Dup"});
    app.create("/v1/invoices", &tenant.key, &document)
        .await
        .is_problem(409, "customer_inactive");
}

#[tokio::test]
async fn merges_make_no_chains_and_no_circles() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (a, b) = two(&app, &tenant).await;
    let c = made(&app, &tenant, json!({"name": "C"})).await;
    let idle = made(&app, &tenant, json!({"name": "D", "active": false})).await;
    let theirs = made(&app, &app.tenant().await, json!({"name": "Theirs"})).await;
    merge(&app, &tenant, &a, &a)
        .await
        .is_problem(409, "merge_chain");
    merge(&app, &tenant, &a, &idle)
        .await
        .is_problem(409, "customer_inactive");
    merge(&app, &tenant, &a, &theirs)
        .await
        .is_problem(422, "customer_not_found");
    merge(&app, &tenant, &theirs, &a)
        .await
        .is_problem(404, "customer_not_found");
    app.create(&format!("{}/merge", path(&a)), &tenant.key, &json!({}))
        .await
        .is_problem(422, "missing_field");
    merge(&app, &tenant, &a, &b).await.is(200);
    for (duplicate, survivor, code) in [
        (&a, &c, "customer_merged"),
        (&b, &a, "merge_chain"),
        (&b, &c, "merge_chain"),
        (&c, &a, "merge_chain"),
    ] {
        merge(&app, &tenant, duplicate, survivor)
            .await
            .is_problem(409, code);
    }
    merge(&app, &tenant, &c, &b).await.is(200);

    // Two that are merged into one another at the same time: one merge is done.
    let (x, y) = (
        made(&app, &tenant, json!({"name": "X"})).await,
        made(&app, &tenant, json!({"name": "Y"})).await,
    );
    let (one, other) = tokio::join!(merge(&app, &tenant, &x, &y), merge(&app, &tenant, &y, &x));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn a_merge_of_many_goes_on_in_chunks() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let (duplicate, survivor) = two(&app, &tenant).await;
    let line = |n: usize| {
        let date = format!("{}-05-{:02}", 2025 + n % 2, 1 + n % 28);
        let mut document = invoice(json!({"issue_date": date}));
        document["customer"] = json!({"external_id": "dup", "name": "Dup"});
        document
    };
    let lines: Vec<Value> = (0..1_100).map(line).collect();
    let upload = app.upload(
        "/v1/invoices/bulk",
        &tenant.key,
        crate::support::ndjson(&lines),
    );
    assert_eq!(send(upload).await.is(200)["created"], 1_100);
    let merged = merge(&app, &tenant, &duplicate, &survivor).await.is(200);
    assert_eq!(
        (&merged["invoices_moved"], &merged["complete"]),
        (&json!(1_100), &json!(true))
    );
    let all = app.all_invoices(&tenant).await;
    assert_eq!(all.len(), 1_100);
    for invoice in all {
        assert_eq!(
            (&invoice["customer_id"], &invoice["version"]),
            (&survivor["id"], &json!(2))
        );
    }
}
