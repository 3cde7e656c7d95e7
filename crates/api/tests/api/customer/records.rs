use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::archive::files::tier;
use crate::support::{Answer, Tenant, TestApp, invoice, ndjson, send};

pub(crate) async fn made(app: &TestApp, tenant: &Tenant, document: Value) -> Value {
    let made = app.create("/v1/customers", &tenant.key, &document).await;
    made.is(201)
}

pub(crate) fn path(customer: &Value) -> String {
    format!("/v1/customers/{}", customer["id"].as_str().unwrap())
}

async fn patch(app: &TestApp, tenant: &Tenant, path: &str, patch: &Value) -> Answer {
    let request = app.request(Method::PATCH, path).bearer_auth(&tenant.key);
    send(request.json(patch)).await
}

async fn delete(app: &TestApp, tenant: &Tenant, path: &str) -> Answer {
    send(app.request(Method::DELETE, path).bearer_auth(&tenant.key)).await
}

#[tokio::test]
async fn a_customer_is_made_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let document = json!({"external_id": "c-1", "name": "Acme", "email": "a@acme.example",
        "tax_id": "DE1",
        "address": "Street 1", "country": "DE", "metadata": {"vat": {"rate": 0.10, "regime": "x"},
            "b": 1}});
    let made = app.create("/v1/customers", &tenant.key, &document).await;
    let record = made.is(201);
    assert_eq!(
        (made.header("location"), made.header("etag")),
        (path(&record).as_str(), "\"1\"")
    );
    for (field, value) in document.as_object().unwrap() {
        assert_eq!(&record[field], value, "{field}");
    }
    assert_eq!(
        (
            &record["active"],
            &record["merged_into"],
            &record["version"]
        ),
        (&json!(true), &json!(null), &json!(1))
    );
    let read = app.read(&path(&record), &tenant.key).await;
    assert_eq!(
        (read.status.as_u16(), &read.body),
        (200, &made.body),
        "byte for byte"
    );
    let known = app
        .get(&path(&record), &tenant.key)
        .header("if-none-match", "\"1\"");
    assert_eq!(send(known).await.status.as_u16(), 304);

    let change =
        json!({"email": null, "name": "Acme Ltd", "metadata": {"b": null, "vat": {"regime": "y"}}});
    let changed = patch(&app, &tenant, &path(&record), &change).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed = changed.is(200);
    assert_eq!(
        (&changed["email"], &changed["name"], &changed["tax_id"]),
        (&json!(null), &json!("Acme Ltd"), &json!("DE1"))
    );
    assert_eq!(
        changed["metadata"],
        json!({"vat": {"rate": 0.10, "regime": "y"}})
    );
    assert_ne!(changed["modified_at"], changed["created_at"]);
    assert_eq!(app.read(&path(&record), &tenant.key).await.is(200), changed);
    // A patch that changes nothing writes nothing.
    let same = patch(&app, &tenant, &path(&record), &json!({"country": "DE"})).await;
    assert_eq!(same.is(200), changed);

    assert_eq!(delete(&app, &tenant, &path(&record)).await.status, 204);
    app.read(&path(&record), &tenant.key)
        .await
        .is_problem(404, "customer_not_found");
    delete(&app, &tenant, &path(&record))
        .await
        .is_problem(404, "customer_not_found");
}

#[tokio::test]
async fn a_change_is_bound_to_the_version_that_was_read() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let record = made(&app, &tenant, json!({"name": "Acme"})).await;
    let at = path(&record);
    let change = |method: Method, tag: &str| {
        let request = app.request(method, &at).bearer_auth(&tenant.key);
        request
            .header("if-match", tag.to_owned())
            .json(&json!({"name": format!("by {tag}")}))
    };
    for stale in ["\"7\"", "W/\"1\""] {
        for method in [Method::PATCH, Method::DELETE] {
            let refused = send(change(method, stale)).await;
            refused.is_problem(412, "version_mismatch");
            assert_eq!(refused.header("etag"), "\"1\"");
        }
    }
    // Of twenty who have read the same version, one may change it.
    let all = (0..20).map(|_| send(change(Method::PATCH, "\"1\"")));
    let mut statuses: Vec<u16> = futures_util::future::join_all(all)
        .await
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[412; 19][..]));
    send(change(Method::PATCH, "\"9\", \"2\"")).await.is(200);
    send(change(Method::PATCH, "*")).await.is(200);
    assert_eq!(
        send(change(Method::DELETE, "\"4\"")).await.status.as_u16(),
        204
    );
}

#[tokio::test]
async fn changes_that_meet_are_all_kept() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let record = made(&app, &tenant, json!({"name": "Acme"})).await;
    let at = path(&record);
    let changes: Vec<Value> = (0..20)
        .map(|n| json!({"metadata": {format!("k{n}"): n}}))
        .collect();
    let all = changes.iter().map(|c| patch(&app, &tenant, &at, c));
    for answer in futures_util::future::join_all(all).await {
        answer.is(200);
    }
    let now = app.read(&at, &tenant.key).await.is(200);
    assert_eq!(now["metadata"].as_object().unwrap().len(), 20);
    assert_eq!(now["version"], 21);
}

#[tokio::test]
async fn a_create_is_replayed_and_an_external_id_is_taken_once() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let document = json!({"name": "Acme", "external_id": "c-1"});
    let create = || {
        let request = app.post("/v1/customers", &tenant.key);
        send(request.header("idempotency-key", "k-1").json(&document))
    };
    let answers = futures_util::future::join_all((0..10).map(|_| create())).await;
    let mut fresh = 0;
    for answer in &answers {
        assert_eq!(answer.is(201)["id"], answers[0].json()["id"]);
        assert_eq!(answer.header("etag"), "\"1\"");
        fresh += usize::from(!answer.headers.contains_key("idempotency-replayed"));
    }
    assert_eq!(fresh, 1);
    let other = app.post("/v1/customers", &tenant.key);
    send(
        other
            .header("idempotency-key", "k-1")
            .json(&json!({"name": "B"})),
    )
    .await
    .is_problem(422, "idempotency_key_reused");
    app.create("/v1/customers", &tenant.key, &document)
        .await
        .is_problem(409, "duplicate_external_id");
    let second = made(&app, &tenant, json!({"name": "B"})).await;
    patch(
        &app,
        &tenant,
        &path(&second),
        &json!({"external_id": "c-1"}),
    )
    .await
    .is_problem(409, "duplicate_external_id");
    // Keys are a tenant's own.
    made(&app, &app.tenant().await, document).await;
}

#[tokio::test]
async fn bad_customers_are_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let record = made(&app, &tenant, json!({"name": "Acme"})).await;
    for (document, code) in [
        (json!({"name": ""}), "string_empty"),
        (json!({"name": "a\0b"}), "string_has_nul"),
        (json!({"name": "x".repeat(301)}), "string_too_long"),
        (json!({"name": 7}), "invalid_type"),
        (json!({"name": "x", "id": record["id"]}), "unknown_field"),
        (json!({"name": "x", "active": "yes"}), "invalid_type"),
        (json!({"name": "x", "metadata": [1]}), "invalid_type"),
    ] {
        app.create("/v1/customers", &tenant.key, &document)
            .await
            .is_problem(422, code);
        patch(&app, &tenant, &path(&record), &document)
            .await
            .is_problem(422, code);
    }
    patch(&app, &tenant, &path(&record), &json!({"name": null}))
        .await
        .is_problem(422, "missing_field");
    let merge_patch = |media_type: &str| {
        let request = app
            .request(Method::PATCH, &path(&record))
            .bearer_auth(&tenant.key);
        send(request.header("content-type", media_type).body("{}"))
    };
    merge_patch("application/merge-patch+json").await.is(200);
    merge_patch("text/plain")
        .await
        .is_problem(415, "unsupported_media_type");
    for (query, code) in [
        ("actve=true", "unknown_parameter"),
        ("active=yes", "invalid_parameter"),
        ("cursor=x", "invalid_cursor"),
        ("limit=0", "limit_out_of_range"),
    ] {
        app.read(&format!("/v1/customers?{query}"), &tenant.key)
            .await
            .is_problem(400, code);
    }
}

#[tokio::test]
async fn the_list_is_newest_first_and_narrowed_by_each_filter() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for (n, members) in [
        (1, json!({"email": "One@Example.com"})),
        (2, json!({"tax_id": "T2", "active": false})),
        (3, json!({"email": "one@example.com", "tax_id": "T3"})),
    ] {
        let mut document = json!({"name": format!("C{n}"), "external_id": format!("c-{n}")});
        let members = members.as_object().unwrap().clone();
        document.as_object_mut().unwrap().extend(members);
        made(&app, &tenant, document).await;
    }
    let names = async |query: &str| {
        let path = format!("/v1/customers?{query}");
        let page = app.read(&path, &tenant.key);
        let page = page.await.is(200);
        let names = page["data"].as_array().unwrap().iter();
        let names: Vec<String> = names
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect();
        (names.join(" "), page["next_cursor"].clone())
    };
    for (query, expected) in [
        ("", "C3 C2 C1"),
        ("external_id=c-2", "C2"),
        ("tax_id=T3", "C3"),
        ("tax_id=t3", ""),
        ("email=ONE@example.com", "C3 C1"),
        ("active=true", "C3 C1"),
        ("active=false", "C2"),
        ("email=one@example.com&external_id=c-1&active=true", "C1"),
    ] {
        assert_eq!(names(query).await.0, expected, "{query}");
    }
    let (first, cursor) = names("limit=2&active=true").await;
    assert_eq!((first.as_str(), cursor), ("C3 C1", json!(null)));
    let (first, cursor) = names("limit=2").await;
    let cursor = cursor.as_str().unwrap();
    assert_eq!(
        (
            first.as_str(),
            names(&format!("limit=2&cursor={cursor}")).await.0.as_str()
        ),
        ("C3 C2", "C1")
    );
    let wrong = format!("/v1/customers?active=true&cursor={cursor}");
    app.read(&wrong, &tenant.key)
        .await
        .is_problem(400, "invalid_cursor");
    let other = app.tenant().await;
    let page = app.read("/v1/customers", &other.key).await.is(200);
    assert_eq!(page["data"], json!([]));
}

#[tokio::test]
async fn an_inactive_customer_is_on_no_new_invoice() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let record = made(&app, &tenant, json!({"name": "Acme", "external_id": "c-1"})).await;
    let by_id = || {
        let mut document = invoice(json!({"customer_id": record["id"]}));
        document.as_object_mut().unwrap().remove("customer");
        document
    };
    let create = async |document: &Value| app.create("/v1/invoices", &tenant.key, document).await;
    let made = create(&by_id()).await.is(201);
    assert_eq!(made["customer"]["name"], "Acme");
    create(&invoice(json!({}))).await.is(201);
    // What this process knows of the customer is forgotten with the change.
    for round in 0..2 {
        patch(&app, &tenant, &path(&record), &json!({"active": false}))
            .await
            .is(200);
        for document in [by_id(), invoice(json!({}))] {
            create(&document).await.is_problem(409, "customer_inactive");
        }
        let lines = ndjson(&[
            by_id(),
            invoice(json!({"customer": {"external_id": "c-2", "name": "Other"}})),
            invoice(json!({})),
        ]);
        let summary = send(app.upload("/v1/invoices/bulk", &tenant.key, lines)).await;
        let summary = summary.is(200);
        assert_eq!(
            (&summary["created"], &summary["rejected"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(summary["errors"][0]["code"], "customer_inactive");
        assert_eq!(summary["errors"][1]["line"], 3);
        patch(&app, &tenant, &path(&record), &json!({"active": true}))
            .await
            .is(200);
        create(&by_id()).await.is(201);
        create(&invoice(json!({}))).await.is(201);
        assert_eq!(app.all_invoices(&tenant).await.len(), 2 + 3 * (round + 1));
    }
}

#[tokio::test]
async fn a_customer_without_an_external_id_is_named_by_its_id() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let record = made(&app, &tenant, json!({"name": "Walk-in"})).await;
    let mut document = invoice(json!({"customer_id": record["id"], "number": "N-1"}));
    document.as_object_mut().unwrap().remove("customer");
    // Twice the same number at the same time: one of them is planned again after its batch has
    // failed.
    let both = (0..40).map(|_| app.create("/v1/invoices", &tenant.key, &document));
    let mut created = 0;
    for answer in futures_util::future::join_all(both).await {
        match answer.status.as_u16() {
            201 => {
                created += 1;
                assert_eq!(answer.json()["customer_id"], record["id"]);
            }
            _ => drop(answer.is_problem(409, "duplicate_number")),
        }
    }
    assert_eq!(created, 1);
    let customers = app.read("/v1/customers", &tenant.key).await.is(200);
    assert_eq!(customers["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_customer_that_invoices_refer_to_is_not_deleted() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let document = invoice(json!({}));
    let hot = app.create("/v1/invoices", &tenant.key, &document).await;
    let hot = hot.is(201);
    let at = format!("/v1/customers/{}", hot["customer_id"].as_str().unwrap());
    let problem = delete(&app, &tenant, &at)
        .await
        .is_problem(409, "customer_in_use");
    assert!(problem["detail"].as_str().unwrap().contains("active"));

    // Archived invoices are not looked through: any may refer to it.
    let unused = made(&app, &tenant, json!({"name": "Unused"})).await;
    let paid =
        json!([{"reference": "p", "amount": "26.98", "paid_on": "2024-02-02", "method": "card"}]);
    let old = invoice(json!({"issue_date": "2024-02-01", "payments": paid}));
    app.create("/v1/invoices", &tenant.key, &old).await.is(201);
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    delete(&app, &tenant, &path(&unused))
        .await
        .is_problem(409, "customer_in_use");
    // The list of a customer's invoices has both tiers.
    let list = app.read(&format!("{at}/invoices"), &tenant.key).await;
    assert_eq!(list.header("sheaf-tier"), "hot, cold");
    assert_eq!(list.is(200)["data"].as_array().unwrap().len(), 2);
    let cold = app
        .read(&format!("{at}/invoices?tier=cold&limit=1"), &tenant.key)
        .await;
    assert_eq!(cold.is(200)["data"].as_array().unwrap().len(), 1);
    let twice = format!("{at}/invoices?customer_id={}", Uuid::now_v7());
    app.read(&twice, &tenant.key)
        .await
        .is_problem(400, "invalid_parameter");
}
