//! Histories that somebody makes as long as can be: pages of them stay pages, and they end.

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Tenant, TestApp, gzip, invoice, send};

/// Bytes of one page, and of one event beyond it.
const PAGE: usize = (1 << 20) + (128 << 10);

async fn patch(app: &TestApp, tenant: &Tenant, id: &str, body: &Value) -> Answer {
    let request = app
        .request(Method::PATCH, &format!("/v1/invoices/{id}"))
        .bearer_auth(&tenant.key)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    send(request.body(gzip(body.to_string().as_bytes()))).await
}

async fn made(app: &TestApp, tenant: &Tenant) -> String {
    let made = app
        .create("/v1/invoices", &tenant.key, &invoice(json!({})))
        .await
        .is(201);
    made["id"].as_str().unwrap().to_owned()
}

/// All events of a list, by its cursor; each page is within its bytes.
async fn all(app: &TestApp, tenant: &Tenant, path: &str) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app
            .read(&format!("{path}?limit=100{cursor}"), &tenant.key)
            .await;
        assert!(page.body.len() < PAGE, "{} bytes", page.body.len());
        let page = page.is(200);
        events.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            return events;
        }
        cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap());
    }
}

/// 64 KiB of metadata, of which some members are other ones each time.
fn metadata(n: usize) -> Value {
    json!({"metadata": {"n": n, "long": "x".repeat(40_000),
        "changing": format!("{n}").repeat(2_000)}})
}

#[tokio::test]
async fn pages_of_long_events_have_as_many_bytes_as_any() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = made(&app, &tenant).await;
    for n in 0..120 {
        let answer = patch(&app, &tenant, &id, &metadata(n % 10)).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    // Events as an earlier version wrote them: as long as the metadata, twice.
    let client = crate::support::raw().await;
    let changed = client
        .execute(
            "update events set data = data || jsonb_build_object('was', repeat('y', 100000))
             where tenant_id = $1 and event_type = 'invoice.updated'",
            &[&tenant.id],
        )
        .await
        .unwrap();
    assert_eq!(changed, 120);
    let history = all(&app, &tenant, &format!("/v1/invoices/{id}/events")).await;
    let versions: Vec<u64> = history
        .iter()
        .map(|event| event["data"]["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (1..=121).collect::<Vec<_>>());
    // The feed comes half a second later, in the same pages.
    for _ in 0..100 {
        let feed = all(&app, &tenant, "/v1/events").await;
        let of_invoice = feed
            .iter()
            .filter(|event| event["subject_id"] == id.as_str());
        if of_invoice.count() == 121 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the feed is not complete");
}

#[tokio::test]
async fn an_event_tells_what_changed_in_few_bytes() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = made(&app, &tenant).await;
    patch(&app, &tenant, &id, &metadata(1)).await.is(200);
    let exact = r#"{"metadata": {"n": 123456789012345678901.10}}"#;
    let request = app
        .request(Method::PATCH, &format!("/v1/invoices/{id}"))
        .bearer_auth(&tenant.key)
        .header("content-type", "application/json");
    send(request.body(exact)).await.is(200);
    let history = app
        .read(&format!("/v1/invoices/{id}/events"), &tenant.key)
        .await;
    let text = String::from_utf8(history.body.clone()).unwrap();
    assert!(text.contains("123456789012345678901.10"), "{text}");
    let told = &history.is(200)["data"][2]["data"]["changes"]["metadata"];
    assert_eq!(told["whole"], false);
    assert_eq!(told["members"]["n"]["old"], 1);
    assert_eq!(told["members"].as_object().unwrap().len(), 1);
    assert_eq!(told["members_left_out"], 0);
    assert_ne!(told["old"]["sha256"], told["new"]["sha256"]);
    assert!(text.len() < 20_000, "{}", text.len());
    // Lines of a draft: long ones by count and digest.
    let line = |n: usize| {
        json!({"description": format!("{n} ").repeat(500), "quantity": 1,
        "unit_price": 1})
    };
    let lines = |n: usize| -> Value { (0..n).map(line).collect() };
    let draft = invoice(json!({"status": "draft", "lines": lines(100)}));
    let draft = app
        .create("/v1/invoices", &tenant.key, &draft)
        .await
        .is(201);
    let id = draft["id"].as_str().unwrap();
    patch(&app, &tenant, id, &json!({"lines": lines(99)}))
        .await
        .is(200);
    let history = app
        .read(&format!("/v1/invoices/{id}/events"), &tenant.key)
        .await
        .is(200);
    let told = &history["data"][1]["data"]["changes"]["lines"];
    assert_eq!(
        (&told["old"]["count"], &told["new"]["count"]),
        (&json!(100), &json!(99))
    );
    assert_eq!(told["whole"], false);
    assert_eq!(told["new"]["sha256"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn a_history_ends_for_edits_and_goes_on_for_money() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let id = made(&app, &tenant).await;
    let (app, tenant, id) = (&app, &tenant, id.as_str());
    // Short enough to be whole, as long as that goes.
    let edits = |n: usize| {
        let text = format!("{n:05}").repeat(1_600);
        async move { patch(app, tenant, id, &json!({"metadata": {"text": text}})).await }
    };
    let mut answers = futures_util::stream::iter(0..1_500)
        .map(edits)
        .buffer_unordered(8);
    let (mut taken, mut refused) = (0, None);
    while let Some(answer) = answers.next().await {
        if answer.status == 200 {
            taken += 1;
        } else {
            refused = Some(answer);
            break;
        }
    }
    drop(answers);
    let refused = refused.expect("a history that ends");
    refused.is_problem(409, "history_full");
    assert!((200..600).contains(&taken), "{taken}");
    let step = |name: &str| format!("/v1/invoices/{id}/{name}");
    app.create(&step("send"), &tenant.key, &json!({}))
        .await
        .is_problem(409, "history_full");
    let payment = json!({"reference": "p", "amount": "1.00"});
    app.create(&step("payments"), &tenant.key, &payment)
        .await
        .is(201);
    app.create(
        &step("credit-notes"),
        &tenant.key,
        &json!({"lines":
        [{"description": "d", "quantity": "1", "unit_price": "1"}]}),
    )
    .await
    .is(201);
    let bytes: usize = all(app, tenant, &step("events"))
        .await
        .iter()
        .map(|event| event["data"].to_string().len())
        .sum();
    assert!(((4 << 20)..(5 << 20)).contains(&bytes), "{bytes}");
    // Another invoice of the same tenant has a history of its own.
    let other = made(app, tenant).await;
    patch(app, tenant, &other, &json!({"metadata": {"a": 1}}))
        .await
        .is(200);
}
