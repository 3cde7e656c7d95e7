//! Who may get a document: the same rules wherever a customer is named, or a document is given to
//! one.

use reqwest::Method;
use serde_json::{Value, json};

use crate::archive::files::{paid, tier};
use crate::customer::records::{made, path};
use crate::support::{Answer, Tenant, TestApp, events, invoice, ndjson, send};

fn at(document: &Value) -> String {
    format!("/v1/invoices/{}", document["id"].as_str().unwrap())
}

async fn patch(app: &TestApp, tenant: &Tenant, path: &str, patch: Value) -> Answer {
    let request = app.request(Method::PATCH, path).bearer_auth(&tenant.key);
    send(request.json(&patch)).await
}

async fn create(app: &TestApp, tenant: &Tenant, members: Value) -> Value {
    let document = invoice(members);
    app.create("/v1/invoices", &tenant.key, &document)
        .await
        .is(201)
}

async fn merge(app: &TestApp, tenant: &Tenant, duplicate: &Value, survivor: &Value) -> Answer {
    let at = format!("{}/merge", path(duplicate));
    app.create(&at, &tenant.key, &json!({"into": survivor["id"]}))
        .await
}

async fn erase(app: &TestApp, tenant: &Tenant, customer: &Value) {
    let at = format!("{}/erasure", path(customer));
    let request = app.request(Method::PUT, &at).bearer_auth(&tenant.key);
    send(request).await.is(202);
}

/// A tenant's customers of each kind that new documents may not name, by what a client can name
/// them.
async fn unnameable(app: &TestApp, tenant: &Tenant) -> Vec<(&'static str, Value)> {
    let idle = json!({"name": "Idle", "external_id": "idle", "active": false});
    let idle = made(app, tenant, idle).await;
    let merged = made(app, tenant, json!({"name": "Merged", "external_id": "m"})).await;
    let survivor = json!({"name": "Away", "external_id": "away"});
    let survivor = made(app, tenant, survivor).await;
    merge(app, tenant, &merged, &survivor).await.is(200);
    patch(app, tenant, &path(&survivor), json!({"active": false}))
        .await
        .is(200);
    let erased = made(app, tenant, json!({"name": "E", "external_id": "e"})).await;
    erase(app, tenant, &erased).await;
    vec![
        (
            "inactive, by key",
            json!({"customer": {"external_id": "idle", "name": "Idle"}}),
        ),
        ("inactive, by id", json!({"customer_id": idle["id"]})),
        (
            "merged into an inactive one",
            json!({"customer": {"external_id": "m", "name": "M"}}),
        ),
        ("merged, by id", json!({"customer_id": merged["id"]})),
        ("erased, by id", json!({"customer_id": erased["id"]})),
    ]
}

/// An invoice that names a customer in the place of the usual one.
fn naming(name: &Value, members: Value) -> Value {
    let mut document = invoice(members);
    document.as_object_mut().unwrap().remove("customer");
    document
        .as_object_mut()
        .unwrap()
        .extend(name.as_object().unwrap().clone());
    document
}

#[tokio::test]
async fn whoever_a_create_refuses_no_other_path_names() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let draft = create(&app, &tenant, json!({"status": "draft"})).await;
    for (who, name) in unnameable(&app, &tenant).await {
        let document = naming(&name, json!({}));
        let create = app.create("/v1/invoices", &tenant.key, &document).await;
        create.is_problem(409, "customer_inactive");
        let edit = patch(&app, &tenant, &at(&draft), name.clone()).await;
        assert_eq!(edit.status, 409, "{who}: {edit}");
        edit.is_problem(409, "customer_inactive");
        let upload = app.upload("/v1/invoices/bulk", &tenant.key, ndjson(&[document]));
        let upload = send(upload).await.is(200);
        assert_eq!(upload["errors"][0]["code"], "customer_inactive", "{who}");
    }
    let nobody = json!({"customer_id": "018f0000-0000-7000-8000-000000000000"});
    patch(&app, &tenant, &at(&draft), nobody)
        .await
        .is_problem(422, "customer_not_found");
    assert_eq!(app.read(&at(&draft), &tenant.key).await.is(200), draft);
}

#[tokio::test]
async fn an_edit_finds_the_survivor_and_its_event_names_it() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let duplicate = made(&app, &tenant, json!({"name": "D", "external_id": "d"})).await;
    let survivor = made(&app, &tenant, json!({"name": "S", "external_id": "s"})).await;
    merge(&app, &tenant, &duplicate, &survivor).await.is(200);
    let draft = create(&app, &tenant, json!({"status": "draft"})).await;
    let before = draft["customer_id"].clone();
    let new = json!({"external_id": "new", "name": "New"});
    for (name, id) in [
        (
            json!({"customer": {"external_id": "d", "name": "D"}}),
            Some(&survivor["id"]),
        ),
        (json!({"customer_id": before}), Some(&before)),
        (json!({"customer": new}), None),
    ] {
        let edited = patch(&app, &tenant, &at(&draft), name).await.is(200);
        assert!(edited["customer_id"].is_string());
        assert!(id.is_none_or(|id| *id == edited["customer_id"]), "{edited}");
        let told = events(tenant.id, "invoice.updated").await;
        let changes = &told.last().unwrap().data["changes"];
        assert_eq!(changes["customer_id"]["new"], edited["customer_id"]);
        assert_eq!(
            changes["customer"]["new"]["name"],
            edited["customer"]["name"]
        );
    }
    let away = patch(&app, &tenant, &at(&draft), json!({"customer": null})).await;
    assert_eq!(away.is(200)["customer_id"], Value::Null);
    let told = events(tenant.id, "invoice.updated").await;
    assert_eq!(
        told.last().unwrap().data["changes"]["customer_id"]["new"],
        Value::Null
    );
}

#[tokio::test]
async fn an_edit_of_something_else_leaves_the_customer_as_it_is() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    // Without a key: such a customer can be named by its id alone.
    let customer = made(&app, &tenant, json!({"name": "Keyless"})).await;
    let name = json!({"customer_id": customer["id"]});
    let document = naming(&name, json!({"status": "draft"}));
    let draft = app.create("/v1/invoices", &tenant.key, &document).await;
    let draft = draft.is(201);
    patch(
        &app,
        &tenant,
        &path(&customer),
        json!({"name": "Other", "active": false}),
    )
    .await
    .is(200);
    let edited = patch(
        &app,
        &tenant,
        &at(&draft),
        json!({"due_date": "2027-01-05"}),
    )
    .await;
    let edited = edited.is(200);
    assert_eq!(
        (&edited["customer"], &edited["customer_id"]),
        (&draft["customer"], &draft["customer_id"])
    );
}

#[tokio::test]
async fn a_draft_is_not_issued_to_whom_nothing_new_may_name() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let customer = made(&app, &tenant, json!({"name": "C", "external_id": "c-1"})).await;
    let draft = create(&app, &tenant, json!({"status": "draft"})).await;
    let issue = format!("{}/issue", at(&draft));
    let issued = async || app.create(&issue, &tenant.key, &json!({})).await;
    let active = async |active: bool| {
        let active = json!({"active": active});
        patch(&app, &tenant, &path(&customer), active).await.is(200);
    };
    active(false).await;
    issued().await.is_problem(409, "customer_inactive");
    active(true).await;
    let first = issued().await.is(200);
    assert_eq!(
        first["number"], "INV-2026-000001",
        "the refusal took no number"
    );
    issued().await.is_problem(409, "already_issued");

    // Erased, together with the draft that still shows the name.
    let draft = create(&app, &tenant, json!({"status": "draft"})).await;
    erase(&app, &tenant, &customer).await;
    let issue = format!("{}/issue", at(&draft));
    app.create(&issue, &tenant.key, &json!({}))
        .await
        .is_problem(409, "customer_inactive");
    // One that names nobody can be issued.
    patch(&app, &tenant, &at(&draft), json!({"customer": null}))
        .await
        .is(200);
    let second = app.create(&issue, &tenant.key, &json!({})).await.is(200);
    assert_eq!(second["number"], "INV-2026-000002");
}

#[tokio::test]
async fn an_erased_record_stays_erased() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let customer = made(&app, &tenant, json!({"name": "Ada", "external_id": "ada"})).await;
    let other = made(&app, &tenant, json!({"name": "Bea", "external_id": "bea"})).await;
    erase(&app, &tenant, &customer).await;
    for change in [
        json!({"active": true}),
        json!({"name": "Ada"}),
        json!({"metadata": {"name": "Ada"}}),
    ] {
        patch(&app, &tenant, &path(&customer), change)
            .await
            .is_problem(409, "customer_erased");
    }
    // Its invoices would be another's, where the erasure does not look.
    merge(&app, &tenant, &customer, &other)
        .await
        .is_problem(409, "customer_erased");
    merge(&app, &tenant, &other, &customer)
        .await
        .is_problem(409, "customer_inactive");
    let read = app.read(&path(&customer), &tenant.key).await.is(200);
    assert_eq!(
        (&read["name"], &read["active"]),
        (&json!("[erased]"), &json!(false))
    );
    // The name is free, and another person's from now on.
    let again = made(&app, &tenant, json!({"name": "Ada", "external_id": "ada"})).await;
    assert_ne!(again["id"], customer["id"]);
}

#[tokio::test]
async fn what_was_issued_can_be_corrected_whoever_the_customer_is_by_now() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let duplicate = made(
        &app,
        &tenant,
        json!({"name": "D", "external_id": "c-1", "country": "FR"}),
    );
    let duplicate = duplicate.await;
    let survivor = made(&app, &tenant, json!({"name": "S", "external_id": "s"})).await;
    let old = paid("A-1", "2023-03-05");
    let archived = app.create("/v1/invoices", &tenant.key, &old).await.is(201);
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    merge(&app, &tenant, &duplicate, &survivor).await.is(200);
    let note = json!({"lines": [{"description": "back", "quantity": 1, "unit_price": "1"}]});
    let credit = async |of: &Value| {
        let at = format!("{}/credit-notes", at(of));
        app.create(&at, &tenant.key, &note).await.is(201)
    };
    // An archived invoice has the customer that it had; the note is the survivor's, and so is the
    // invoice from then on.
    let made_of_it = credit(&archived).await;
    assert_eq!(made_of_it["customer_id"], survivor["id"]);
    assert_eq!(made_of_it["customer"]["name"], "Customer 1");
    let read = app.read(&at(&archived), &tenant.key).await.is(200);
    assert_eq!(read["customer_id"], survivor["id"]);
    let open = create(
        &app,
        &tenant,
        json!({"customer": {"external_id": "s", "name": "S"}}),
    )
    .await;
    patch(&app, &tenant, &path(&survivor), json!({"active": false}))
        .await
        .is(200);
    assert_eq!(credit(&open).await["customer"]["name"], "S");
    erase(&app, &tenant, &survivor).await;
    let hidden = credit(&open).await;
    assert_eq!(
        (
            &hidden["customer"]["name"],
            &hidden["customer"]["external_id"]
        ),
        (&json!("[erased]"), &Value::Null)
    );
    assert_eq!(hidden["customer_id"], survivor["id"]);
}

#[tokio::test]
async fn a_document_comes_back_under_the_rules_of_a_new_one() {
    let app = TestApp::start().await;
    let (tenant, copy) = (app.tenant().await, app.tenant().await);
    let document = paid("B-1", "2023-03-05");
    app.create("/v1/invoices", &tenant.key, &document)
        .await
        .is(201);
    assert_eq!(tier(&app, &tenant).await.invoices, 1);
    let export = app.read("/v1/archive/export?from=2023&to=2023", &tenant.key);
    let export = export.await;
    assert_eq!(export.status, 200, "{export}");
    let idle = json!({"name": "Idle", "external_id": "c-1", "active": false});
    let idle = made(&app, &copy, idle).await;
    let restore = async || {
        let body = export.body.clone();
        let upload = app.upload("/v1/invoices/bulk?restore=true", &copy.key, body);
        send(upload).await.is(200)
    };
    let refused = restore().await;
    assert_eq!(
        refused["errors"][0]["code"], "customer_inactive",
        "{refused}"
    );
    patch(&app, &copy, &path(&idle), json!({"active": true}))
        .await
        .is(200);
    assert_eq!(restore().await["created"], 1);
    let back = app.all_invoices(&copy).await;
    assert_eq!(back[0]["customer_id"], idle["id"]);
}
