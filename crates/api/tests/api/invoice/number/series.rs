//! Numbers of documents and the series that they come from.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::invoice::money::Desk;
use crate::support::send;

#[tokio::test]
async fn numbers_have_no_gap_and_skip_what_was_imported() {
    let desk = Desk::open().await;
    // Two imported documents hold numbers of the series.
    desk.make(json!({"number": "INV-2026-000003"})).await;
    desk.make(json!({"number": "INV-2026-000007"})).await;
    let drafts =
        join_all((0..40).map(|_| desk.make(json!({"status": "draft", "issue_date": null})))).await;
    // Every third is refused for its date, and takes no number.
    let issue = |n: usize| {
        let (desk, draft) = (&desk, &drafts[n]);
        async move {
            let body = if n.is_multiple_of(3) {
                json!({"due_date": "2020-01-01"})
            } else {
                Value::Null
            };
            desk.step(draft, "issue", body).await
        }
    };
    let answers = join_all((0..40).map(issue)).await;
    let mut numbers: Vec<String> = Vec::new();
    for (n, answer) in answers.iter().enumerate() {
        if n.is_multiple_of(3) {
            answer.is_problem(422, "due_before_issue");
        } else {
            numbers.push(answer.is(200)["number"].as_str().unwrap().to_owned());
        }
    }
    numbers.sort();
    let expected: Vec<String> = (1..=28)
        .filter(|n| ![3, 7].contains(n))
        .map(|n| format!("INV-2026-{n:06}"))
        .collect();
    assert_eq!(numbers, expected);
    // A later year starts again; a number of its own is kept.
    let draft = desk
        .make(json!({"status": "draft", "issue_date": null, "number": "MINE-1"}))
        .await;
    assert_eq!(
        desk.step(&draft, "issue", Value::Null).await.is(200)["number"],
        "MINE-1"
    );
    let body = json!({"issue_date": "2027-02-01"});
    assert_eq!(
        desk.step(&drafts[0], "issue", body).await.is(200)["number"],
        "INV-2027-000001"
    );
}

#[tokio::test]
async fn a_series_is_set_and_only_goes_forward() {
    let desk = Desk::open().await;
    let key = &desk.tenant.key;
    let listed = desk.app.read("/v1/number-series", key).await.is(200);
    assert_eq!(listed["data"][1]["prefix"], "INV-{year}-");
    let put = |series: &str, body: Value| {
        let request = desk
            .app
            .request(Method::PUT, &format!("/v1/number-series/{series}"));
        send(request.bearer_auth(key).json(&body))
    };
    let set = put(
        "invoice",
        json!({"prefix": "R{year}/", "padding": 4, "next": 17}),
    )
    .await
    .is(200);
    assert_eq!(set["counts"], json!([{"year": 2026, "next": 17}]));
    let issue = || async {
        let draft = desk
            .make(json!({"status": "draft", "issue_date": null}))
            .await;
        let issued = desk.step(&draft, "issue", Value::Null).await.is(200);
        issued["number"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (issue().await, issue().await),
        ("R2026/0017".to_owned(), "R2026/0018".to_owned())
    );
    put(
        "invoice",
        json!({"prefix": "R{year}/", "padding": 4, "next": 18}),
    )
    .await
    .is_problem(409, "number_goes_back");
    // Without the year, numbers run on by themselves.
    put("invoice", json!({"prefix": "N", "padding": 0, "next": 5}))
        .await
        .is(200);
    assert_eq!(issue().await, "N5");
    put("receipts", json!({"prefix": "N", "padding": 0}))
        .await
        .is_problem(404, "number_series_not_found");
    put("invoice", json!({"prefix": "N", "padding": 13}))
        .await
        .is_problem(422, "padding_out_of_range");
}
