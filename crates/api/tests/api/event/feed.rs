//! `GET /v1/events`: every change, once, in order, with what it belongs to.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::invoice::money::{Desk, path, pay};
use crate::support::send;

#[tokio::test]
async fn the_feed_tells_every_change_once_in_order() {
    let desk = Desk::open().await;
    let writers = async {
        for _ in 0..10 {
            let made = join_all((0..5).map(|_| desk.make(json!({})))).await;
            join_all(
                made.iter()
                    .map(|made| desk.step(made, "payments", pay("1", "p"))),
            )
            .await;
        }
    };
    let reader = async {
        let (mut cursor, mut seen) = (String::new(), Vec::new());
        while seen.len() < 101 {
            let path = format!("/v1/events?limit=7{cursor}");
            let page = desk.app.read(&path, &desk.tenant.key).await.is(200);
            let events = page["data"].as_array().unwrap().iter();
            // The tenant's key was made as well.
            seen.extend(
                events
                    .filter(|e| e["event_type"] != "api_key.created")
                    .cloned(),
            );
            if let Some(next) = page["next_cursor"].as_str() {
                cursor = format!("&cursor={next}");
            }
            if page["data"].as_array().unwrap().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        seen
    };
    let ((), seen) = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        tokio::join!(writers, reader)
    })
    .await
    .expect("the feed is complete");
    let ids: BTreeSet<_> = seen
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    // 50 invoices, 50 payments, one customer.
    assert_eq!((ids.len(), seen.len()), (101, 101));
    let other = desk.app.tenant().await;
    let theirs = desk.app.read("/v1/events", &other.key).await.is(200);
    assert_eq!(theirs["data"], json!([]));
}

#[tokio::test]
async fn a_change_says_what_it_belongs_to() {
    let desk = Desk::open().await;
    let made = desk.make(json!({})).await;
    let request = desk
        .app
        .post(&format!("{}/payments", path(&made)), &desk.tenant.key)
        .json(&pay("1", "p"))
        .header("x-request-id", "req-9")
        .header("x-correlation-id", "order-1")
        .header("x-causation-id", "msg-7");
    send(request).await.is(201);
    let event = desk.events(&made).await.pop().unwrap();
    assert_eq!(
        (
            &event["request_id"],
            &event["correlation_id"],
            &event["causation_id"]
        ),
        (&json!("req-9"), &json!("order-1"), &json!("msg-7"))
    );
    // So do the changes of everything else.
    let key = &desk.tenant.key;
    let others = [
        (Method::POST, "/v1/customers", json!({"name": "Acme"}), 201),
        (Method::POST, "/v1/api-keys", json!({"name": "k"}), 201),
        (
            Method::PUT,
            "/v1/number-series/invoice",
            json!({"prefix": "R", "padding": 4}),
            200,
        ),
    ];
    for (method, path, body, status) in others {
        let request = desk.app.request(method, path).bearer_auth(key).json(&body);
        let answer = send(request.header("x-correlation-id", "order-2")).await;
        answer.is(status);
    }
    // The feed ends a little before now.
    let mut told = BTreeSet::new();
    for _ in 0..100 {
        let feed = desk.app.read("/v1/events?limit=100", key).await.is(200);
        told = (feed["data"].as_array().unwrap().iter())
            .filter(|event| event["correlation_id"] == "order-2")
            .map(|event| event["event_type"].as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>();
        if told.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(
        told,
        BTreeSet::from(
            [
                "api_key.created",
                "customer.created",
                "number_series.updated"
            ]
            .map(str::to_owned)
        )
    );
}
