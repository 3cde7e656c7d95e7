//! Uploads that are sent again with the same idempotency key: each line is stored once, whatever
//! ended the first attempt.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::archive::files::{paid, tier};
use crate::support::{
    ADMIN_KEY, Answer, Tenant, TestApp, gzip, invoice, ndjson, raw, send, unique,
};

const BULK: &str = "/v1/invoices/bulk";
const ATOMIC: &str = "/v1/invoices/bulk?atomic=true";
const PLATFORM: &str = "/v1/platform/invoices/bulk";
const KEY: &str = "idempotency-key";

/// Sends `lines` in a gzip stream that breaks off behind them: they land, and the upload has no
/// answer.
async fn broken(app: &TestApp, (path, who): (&str, &str), key: &str, lines: &[Value]) -> Value {
    let mut packed = gzip(ndjson(lines).as_bytes());
    let rest = gzip(b"half a line");
    packed.extend_from_slice(&rest[..rest.len() - 9]);
    let request = app.upload(path, who, packed).header(KEY, key);
    send(request.header("content-encoding", "gzip"))
        .await
        .is_problem(400, "truncated_gzip")
}

/// Sends the upload until its key is free.
async fn upload(app: &TestApp, (path, who): (&str, &str), key: &str, body: String) -> Answer {
    for _ in 0..600 {
        let request = app.upload(path, who, body.clone()).header(KEY, key);
        let answer = send(request).await;
        if answer.status != 409 {
            return answer;
        }
        answer.is_problem(409, "idempotency_in_progress");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the key stayed taken");
}

fn counts(summary: &Value) -> (u64, u64, u64) {
    let count = |name: &str| summary[name].as_u64().unwrap();
    (count("created"), count("duplicates"), count("rejected"))
}

/// Lines without an id and an external id: some issued, some drafts, some of years ago.
fn lines(count: usize) -> Vec<Value> {
    let line = |n: usize| match n % 4 {
        0 => invoice(json!({"metadata": {"n": n}})),
        1 => invoice(json!({"issue_date": null, "status": "draft", "discount_percent": "10"})),
        2 => paid(&format!("N-{n}"), "2022-05-06"),
        _ => invoice(json!({"issue_date": null, "status": "issued", "discount": "1"})),
    };
    (0..count)
        .map(|n| {
            let mut line = line(n);
            if line["issue_date"].is_null() {
                line.as_object_mut().unwrap().remove("issue_date");
            }
            line
        })
        .collect()
}

#[tokio::test]
async fn a_broken_upload_is_sent_again_and_no_line_is_stored_twice() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all = lines(9);
    let to = (BULK, tenant.key.as_str());
    for landed in [3, 6] {
        let problem = broken(&app, to, "up-1", &all[..landed]).await;
        assert_eq!(counts(&problem), (3, landed as u64 - 3, 0), "{problem}");
    }
    let summary = upload(&app, to, "up-1", ndjson(&all)).await;
    assert_eq!(counts(&summary.is(200)), (3, 6, 0));
    let again = upload(&app, to, "up-1", ndjson(&all)).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.body, summary.body);
    assert_eq!(app.all_invoices(&tenant).await.len(), 9);
    // Another key is another upload; the key of another tenant as well.
    let summary = upload(&app, to, "up-2", ndjson(&all[..2])).await.is(200);
    assert_eq!(counts(&summary), (2, 0, 0));
    let other = app.tenant().await;
    let summary = upload(&app, (BULK, &other.key), "up-1", ndjson(&all)).await;
    assert_eq!(counts(&summary.is(200)), (9, 0, 0));
}

#[tokio::test]
async fn a_client_that_leaves_sends_again_and_no_line_is_stored_twice() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let body = ndjson(&lines(3_000));
    let cut = body.len() * 3 / 4;
    let parts = [
        Ok(body[..cut].to_owned()),
        Err(io::Error::other("the client leaves")),
    ];
    let parts = futures_util::stream::iter(parts).then(async |part| {
        if part.is_err() {
            // Some of it is stored by now, some is on its way.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        part
    });
    let request = app.upload(BULK, &tenant.key, reqwest::Body::wrap_stream(parts));
    assert!(request.header(KEY, "up-1").send().await.is_err());
    let answer = upload(&app, (BULK, &tenant.key), "up-1", body).await;
    let (created, duplicates, rejected) = counts(&answer.is(200));
    assert_eq!((created + duplicates, rejected), (3_000, 0), "{answer}");
    assert_eq!(app.all_invoices(&tenant).await.len(), 3_000);
}

#[tokio::test]
async fn another_upload_with_the_key_of_a_broken_one_is_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all = lines(5);
    let to = (BULK, tenant.key.as_str());
    broken(&app, to, "up-1", &all[..3]).await;
    // Other options, or another route: seen before the body is read.
    let options = format!("{BULK}?atomic=true");
    upload(&app, (&options, &tenant.key), "up-1", ndjson(&all))
        .await
        .is_problem(422, "idempotency_key_reused");
    let create = app.post("/v1/invoices", &tenant.key).header(KEY, "up-1");
    send(create.json(&all[0]))
        .await
        .is_problem(422, "idempotency_key_reused");
    // Other lines: the first of them that meets a stored one.
    let mut other = all.clone();
    other[1]["lines"][0]["quantity"] = json!("7");
    let problem = upload(&app, to, "up-1", ndjson(&other)).await;
    let problem = problem.is_problem(422, "idempotency_key_reused");
    assert_eq!(
        (
            &problem["line_errors"][0]["line"],
            &problem["line_errors"][0]["code"]
        ),
        (&json!(2), &json!("idempotency_key_reused"))
    );
    assert_eq!(
        counts(&problem),
        (0, 0, 1),
        "found before anything was written"
    );
    // The right one goes on.
    let summary = upload(&app, to, "up-1", ndjson(&all)).await.is(200);
    assert_eq!(counts(&summary).2, 0, "{summary}");
    upload(&app, to, "up-1", ndjson(&other))
        .await
        .is_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn another_upload_is_known_by_what_its_lines_ids_do_not_tell() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let to = (BULK, tenant.key.as_str());
    let first: Vec<Value> = (0..6)
        .map(|n| {
            let number = format!("W-{n}");
            invoice(json!({"number": number, "issue_date": "2026-03-05", "due_date": "2026-04-05"}))
        })
        .collect();
    broken(&app, to, "up-1", &first[..4]).await;
    // None of these has the id of a stored line, or says the same of what is compared.
    let changes = [
        json!({"issue_date": "2026-03-06"}),
        json!({"due_date": "2026-05-05"}),
        json!({"external_id": "of-its-own"}),
        json!({"tax_rounding": "line"}),
        json!({"customer": {"name": "Ada", "email": "ada@example.com"}}),
        json!({"number": "W-100"}),
    ];
    for change in changes {
        for at in [0, 3] {
            let mut other = first.clone();
            let members = other[at].as_object_mut().unwrap();
            members.extend(change.as_object().unwrap().clone());
            let problem = upload(&app, to, "up-1", ndjson(&other)).await;
            let problem = problem.is_problem(422, "idempotency_key_reused");
            assert_eq!(counts(&problem), (0, 0, 1), "{problem}");
            assert_eq!(problem["line_errors"][0]["line"], at + 1);
        }
    }
    // One that ends before the first one did, and one with a line between.
    upload(&app, to, "up-1", ndjson(&first[..3]))
        .await
        .is_problem(422, "idempotency_key_reused");
    let blank = format!("\n{}", ndjson(&first));
    upload(&app, to, "up-1", blank)
        .await
        .is_problem(422, "idempotency_key_reused");
    assert_eq!(app.all_invoices(&tenant).await.len(), 4);
    let summary = upload(&app, to, "up-1", ndjson(&first)).await.is(200);
    assert_eq!(counts(&summary), (2, 4, 0));
}

#[tokio::test]
async fn a_line_is_found_again_in_either_tier() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all: Vec<Value> = (0..6)
        .map(|n| paid(&format!("T-{n}"), "2023-03-05"))
        .map(|mut line| {
            line.as_object_mut().unwrap().remove("number");
            line
        })
        .collect();
    let to = (BULK, tenant.key.as_str());
    let problem = broken(&app, to, "up-1", &all[..4]).await;
    assert_eq!(counts(&problem), (4, 0, 0));
    // The tests' clock stands in the past, and what is old is forgotten: the run must not take the
    // key for that.
    let db = raw().await;
    let until = async |time: &str| {
        let lock =
            format!("update idempotency_keys set locked_until = {time} where tenant_id = $1");
        db.execute(&lock, &[&tenant.id]).await.unwrap();
    };
    until("now() + interval '1 hour'").await;
    assert_eq!(tier(&app, &tenant).await.invoices, 4);
    until("'1970-01-01'").await;
    let problem = broken(&app, to, "up-1", &all[..5]).await;
    assert_eq!(counts(&problem), (1, 4, 0), "archived");
    let cold = app
        .read("/v1/invoices?tier=cold", &tenant.key)
        .await
        .is(200);
    let id = cold["data"][0]["id"].as_str().unwrap();
    let recall = format!("/v1/invoices/{id}/recall");
    app.create(&recall, &tenant.key, &json!({})).await.is(200);
    let summary = upload(&app, to, "up-1", ndjson(&all)).await.is(200);
    assert_eq!(counts(&summary), (1, 5, 0), "archived and recalled");
    assert_eq!(app.all_invoices(&tenant).await.len(), 6);
}

#[tokio::test]
async fn a_line_that_was_changed_since_is_found_again() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let all = lines(2);
    let to = (BULK, tenant.key.as_str());
    broken(&app, to, "up-1", &all).await;
    let drafts = app.read("/v1/invoices?status=draft", &tenant.key).await;
    let draft = drafts.is(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let patch = app.request(reqwest::Method::PATCH, &format!("/v1/invoices/{draft}"));
    let patch = patch.bearer_auth(&tenant.key);
    send(patch.json(&json!({"metadata": {"seen": true}})))
        .await
        .is(200);
    let issued = app.read("/v1/invoices?status=issued", &tenant.key).await;
    let issued = issued.is(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let pay =
        json!({"reference": "p", "amount": "1.00", "paid_on": "2026-11-19", "method": "card"});
    let path = format!("/v1/invoices/{issued}/payments");
    app.create(&path, &tenant.key, &pay).await.is(201);
    // What was issued tells still that it came from another line.
    let mut other = all.clone();
    other[0]["lines"][0]["quantity"] = json!("7");
    upload(&app, to, "up-1", ndjson(&other))
        .await
        .is_problem(422, "idempotency_key_reused");
    let summary = upload(&app, to, "up-1", ndjson(&all)).await.is(200);
    assert_eq!(counts(&summary), (0, 2, 0));
}

#[tokio::test]
async fn a_key_that_was_forgotten_is_another_uploads() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for path in [BULK, ATOMIC] {
        let to = (path, tenant.key.as_str());
        let dated = json!({"issue_date": "2026-05-05"});
        let [first, second] = [1, 2].map(|count| ndjson(&vec![invoice(dated.clone()); count]));
        upload(&app, to, path, first).await.is(200);
        let forget = "delete from idempotency_keys where tenant_id = $1";
        raw().await.execute(forget, &[&tenant.id]).await.unwrap();
        let summary = upload(&app, to, path, second).await.is(200);
        assert_eq!(counts(&summary), (2, 0, 0), "{path}");
    }
    assert_eq!(app.all_invoices(&tenant).await.len(), 6);
}

#[tokio::test]
async fn a_platform_upload_is_sent_again_and_no_line_is_stored_twice() {
    let app = TestApp::start().await;
    let (one, two) = (app.tenant().await, app.tenant().await);
    let key = unique("platform");
    let of = |tenant: &Tenant, n: usize| {
        let mut line = lines(4).swap_remove(n % 4);
        line["tenant_id"] = json!(tenant.id);
        line
    };
    let all: Vec<Value> = (0..8)
        .map(|n| of(if n % 2 == 0 { &one } else { &two }, n / 2))
        .collect();
    let to = (PLATFORM, ADMIN_KEY);
    let problem = broken(&app, to, &key, &all[..5]).await;
    assert_eq!(counts(&problem), (5, 0, 0));
    // The tenant's own upload with the same key is none of the platform's.
    let own: Vec<Value> = lines(4);
    let summary = upload(&app, (BULK, &one.key), &key, ndjson(&own[..2])).await;
    assert_eq!(counts(&summary.is(200)), (2, 0, 0));
    let summary = upload(&app, to, &key, ndjson(&all)).await.is(200);
    assert_eq!(counts(&summary), (3, 5, 0));
    assert_eq!(app.all_invoices(&one).await.len(), 4 + 2);
    assert_eq!(app.all_invoices(&two).await.len(), 4);
}

/// Leaves at some moment of each upload, many times: the answer is there exactly when the lines
/// are.
#[tokio::test]
async fn a_client_that_leaves_an_atomic_upload_finds_all_of_it_or_nothing() {
    let app = TestApp::start().await;
    let tenants = [app.tenant().await, app.tenant().await];
    let lines: Vec<Value> = (0..6)
        .map(|n| invoice(json!({"metadata": {"n": n}})))
        .collect();
    let mut platform: Vec<Value> = lines.clone();
    for (n, line) in platform.iter_mut().enumerate() {
        line["tenant_id"] = json!(tenants[n % 2].id);
    }
    let platform_atomic = format!("{PLATFORM}?atomic=true");
    let uploads = [
        (ATOMIC, tenants[0].key.as_str(), ndjson(&lines)),
        (platform_atomic.as_str(), ADMIN_KEY, ndjson(&platform)),
    ];
    let mut stored = 0;
    for (path, who, body) in &uploads {
        // How long one takes decides when the others are left.
        let started = std::time::Instant::now();
        upload(&app, (path, who), &unique("timed"), body.clone())
            .await
            .is(200);
        let usual = started.elapsed();
        stored += 6;
        for step in 0..10_u32 {
            let key = unique("left");
            let request = app.upload(path, who, body.clone()).header(KEY, &key);
            let leaves = usual * (step + 1) / 8;
            // Dropped, the request closes its connection.
            let _left = tokio::time::timeout(leaves, send(request)).await;
            let answer = upload(&app, (path, who), &key, body.clone()).await;
            assert_eq!(counts(&answer.is(200)), (6, 0, 0), "left after {leaves:?}");
            stored += 6;
        }
    }
    let found: usize = {
        let (one, two) = (&tenants[0], &tenants[1]);
        app.all_invoices(one).await.len() + app.all_invoices(two).await.len()
    };
    assert_eq!(found, stored);
}

#[tokio::test]
async fn a_refused_atomic_upload_leaves_its_key_free() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let mut all: Vec<Value> = (0..3).map(|_| invoice(json!({}))).collect();
    let good = all.clone();
    all[1]["currency"] = json!("XYZ");
    let to = (ATOMIC, tenant.key.as_str());
    upload(&app, to, "up-1", ndjson(&all))
        .await
        .is_problem(422, "bulk_rejected");
    let summary = upload(&app, to, "up-1", ndjson(&good)).await.is(200);
    assert_eq!(counts(&summary), (3, 0, 0));
}

#[tokio::test]
async fn ids_of_lines_derive_from_the_key_and_the_lines_number() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let named = Uuid::now_v7().to_string();
    // The clock of the test stands before today's.
    let named = format!("019a{}", &named[4..]);
    let all = [
        invoice(json!({"issue_date": "2021-03-05"})),
        invoice(json!({"external_id": "e-1"})),
        invoice(json!({"id": named})),
    ];
    let body = format!("\u{feff}\n\n{}", ndjson(&all));
    let to = (BULK, tenant.key.as_str());
    let summary = upload(&app, to, "up-1", body).await.is(200);
    assert_eq!(counts(&summary), (3, 0, 0), "{summary}");
    let found = app.all_invoices(&tenant).await;
    let first_used =
        "select (extract(epoch from created_at) * 1000000)::bigint from idempotency_keys
                      where tenant_id = $1 and key = 'up-1'";
    let first_used = raw().await.query_one(first_used, &[&tenant.id]).await;
    let first_used: i64 = first_used.unwrap().get(0);
    let derived = {
        use sha2::{Digest as _, Sha256};
        let digest = Sha256::new()
            .chain_update(tenant.id.as_bytes())
            .chain_update("up-1\0")
            .chain_update(first_used.to_be_bytes())
            .chain_update(3_u64.to_be_bytes())
            .finalize();
        let tail = digest[..10]
            .iter()
            .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte))
            >> 6;
        // 2021-03-05 00:00 UTC, in milliseconds; version 7, the variant, and the bits around them.
        let bits = 1_614_902_400_000_u128 << 80
            | 0x7 << 76
            | (tail >> 62) << 64
            | 0b10 << 62
            | (tail & ((1 << 62) - 1));
        Uuid::from_u128(bits).to_string()
    };
    let ids: Vec<&str> = found.iter().map(|i| i["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&derived.as_str()), "{derived} in {ids:?}");
    assert!(ids.contains(&named.as_str()), "{ids:?}");
}
