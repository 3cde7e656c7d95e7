//! One number, one document: over a year's end, in the year of the id and in the year of issue, in
//! both tiers.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};

use crate::archive::files::{paid, tier};
use crate::invoice::money::{Desk, pay};
use crate::support::{Answer, invoice, ndjson, send};

const BULK: &str = "/v1/invoices/bulk";

/// Sets a tenant's series.
async fn series(desk: &Desk, name: &str, prefix: &str) {
    let path = format!("/v1/number-series/{name}");
    let request = desk.app.request(Method::PUT, &path);
    let form = json!({"prefix": prefix, "padding": 6});
    let request = request.bearer_auth(&desk.tenant.key).json(&form);
    send(request).await.is(200);
}

/// A draft whose id is of the day, or of today.
async fn draft(desk: &Desk, day: Option<&str>) -> Value {
    desk.make(json!({"status": "draft", "issue_date": day}))
        .await
}

async fn issue(desk: &Desk, draft: &Value, day: &str) -> Answer {
    desk.step(draft, "issue", json!({"issue_date": day})).await
}

/// A document with a number of its own.
async fn import(desk: &Desk, number: &str, day: &str) -> Answer {
    let document = invoice(json!({"number": number, "issue_date": day}));
    let key = &desk.tenant.key;
    desk.app.create("/v1/invoices", key, &document).await
}

fn number(document: &Value) -> String {
    document["number"].as_str().unwrap().to_owned()
}

/// `<prefix>000001` and so on, so many.
fn counted(prefix: &str, count: usize) -> BTreeSet<String> {
    (1..=count).map(|n| format!("{prefix}{n:06}")).collect()
}

const EVE: &str = "2025-12-31";
const AFTER: &str = "2026-01-02";

#[tokio::test]
async fn a_series_that_runs_through_the_years_counts_once_over_a_years_end() {
    let desk = Desk::open().await;
    series(&desk, "invoice", "R-").await;
    // Ids of the year of issue first, then all of this year.
    for of_year in [true, false] {
        let desk = Desk::at(desk.app.clone()).await;
        series(&desk, "invoice", "R-").await;
        let day = |n: usize| if n.is_multiple_of(2) { EVE } else { AFTER };
        let drafts = (0..24).map(|n| draft(&desk, of_year.then_some(day(n))));
        let drafts = join_all(drafts).await;
        let issued = drafts.iter().enumerate();
        let issued = join_all(issued.map(|(n, draft)| issue(&desk, draft, day(n)))).await;
        let numbers: Vec<String> = issued.iter().map(|a| number(&a.is(200))).collect();
        let distinct: BTreeSet<String> = numbers.iter().cloned().collect();
        assert_eq!(distinct, counted("R-", 24), "{of_year}: {numbers:?}");
        let next = draft(&desk, None).await;
        assert_eq!(
            number(&issue(&desk, &next, AFTER).await.is(200)),
            "R-000025"
        );
    }
}

#[tokio::test]
async fn credit_notes_of_a_running_series_count_once_over_a_years_end() {
    let desk = Desk::open().await;
    series(&desk, "credit_note", "C-").await;
    let invoices = join_all((0..24).map(|_| desk.make(json!({"issue_date": "2025-12-01"})))).await;
    let credit = |n: usize| {
        let body = json!({"issue_date": if n.is_multiple_of(2) { EVE } else { AFTER }});
        desk.step(&invoices[n], "credit-notes", body)
    };
    let made = join_all((0..24).map(credit)).await;
    let numbers: BTreeSet<String> = made.iter().map(|a| number(&a.is(201))).collect();
    assert_eq!(numbers, counted("C-", 24));
    // Each has its number in both of its years.
    for day in [EVE, "2026-03-01"] {
        import(&desk, "C-000001", day)
            .await
            .is_problem(409, "duplicate_number");
    }
}

#[tokio::test]
async fn two_series_of_one_prefix_give_no_number_twice() {
    let app = Desk::open().await.app;
    for (invoices, notes, issued) in [
        ("D-", "D-", "D-"),
        ("E-{year}-", "E-{year}-", "E-2026-"),
        ("F-{year}-", "F-2026-", "F-2026-"),
    ] {
        let desk = Desk::at(app.clone()).await;
        let sold = json!({"issue_date": "2026-01-01"});
        let sold = join_all((0..12).map(|_| desk.make(sold.clone()))).await;
        let drafts = join_all((0..12).map(|_| draft(&desk, None))).await;
        series(&desk, "invoice", invoices).await;
        series(&desk, "credit_note", notes).await;
        let made =
            join(
                join_all(drafts.iter().map(|draft| issue(&desk, draft, AFTER))),
                join_all(sold.iter().map(|invoice| {
                    desk.step(invoice, "credit-notes", json!({"issue_date": AFTER}))
                })),
            );
        let (issues, credits) = made.await;
        let numbers: Vec<String> = issues
            .iter()
            .map(|answer| answer.is(200))
            .chain(credits.iter().map(|answer| answer.is(201)))
            .map(|document| number(&document))
            .collect();
        let distinct: BTreeSet<String> = numbers.iter().cloned().collect();
        assert_eq!(distinct, counted(issued, 24), "{invoices}: {numbers:?}");
    }
}

/// Every way in which a document comes with a number of its own.
async fn is_refused_everywhere(desk: &Desk, number: &str, day: &str) {
    let key = &desk.tenant.key;
    import(desk, number, day)
        .await
        .is_problem(409, "duplicate_number");
    let upload = async |line: &Value, parameters: &str| {
        let body = ndjson(std::slice::from_ref(line));
        let answer = send(desk.app.upload(&format!("{BULK}{parameters}"), key, body)).await;
        let summary = answer.json();
        // A problem where the upload is atomic, else a summary.
        let errors = match answer.status.is_success() {
            true => &summary["errors"],
            false => &summary["line_errors"],
        };
        assert_eq!(
            (&summary["created"], &errors[0]["code"]),
            (&json!(0), &json!("duplicate_number")),
            "{parameters}: {answer}"
        );
    };
    let line = invoice(json!({"number": number, "issue_date": day}));
    for parameters in ["", "?atomic=true"] {
        upload(&line, parameters).await;
    }
    // A document of another tenant that comes back here.
    let other = Desk::at(desk.app.clone()).await;
    let mut exported = other
        .make(json!({"number": number, "issue_date": day}))
        .await;
    exported["tenant_id"] = json!(desk.tenant.id);
    for parameters in ["?restore=true", "?restore=true&atomic=true"] {
        upload(&exported, parameters).await;
    }
    // A draft of another year is edited into the year, and one is issued into it.
    let edited = draft(desk, Some("2023-01-05")).await;
    let body = json!({"number": number, "issue_date": day});
    desk.patch(&edited, &body, "")
        .await
        .is_problem(409, "duplicate_number");
    let numbered = json!({"status": "draft", "issue_date": "2023-01-05", "number": number});
    let numbered = desk.make(numbered).await;
    issue(desk, &numbered, day)
        .await
        .is_problem(409, "duplicate_number");
    let given_up = json!({"number": null});
    desk.patch(&numbered, &given_up, "").await.is(200);
}

#[tokio::test]
async fn a_number_issued_into_another_year_is_taken_in_both() {
    let desk = Desk::open().await;
    let late = draft(&desk, None).await;
    let issued = issue(&desk, &late, "2025-12-30").await.is(200);
    assert_eq!(number(&issued), "INV-2025-000001");
    is_refused_everywhere(&desk, "INV-2025-000001", "2025-05-05").await;
    is_refused_everywhere(&desk, "INV-2025-000001", "2026-05-05").await;
    // No other year has seen it.
    import(&desk, "INV-2025-000001", "2024-05-05").await.is(201);
    let next = draft(&desk, None).await;
    assert_eq!(
        number(&issue(&desk, &next, "2025-12-30").await.is(200)),
        "INV-2025-000002"
    );
}

#[tokio::test]
async fn what_was_imported_first_is_skipped() {
    let desk = Desk::open().await;
    import(&desk, "INV-2025-000001", "2025-05-05").await.is(201);
    import(&desk, "R-000001", "2019-05-05").await.is(201);
    import(&desk, "R-000003", "2025-05-05").await.is(201);
    let late = draft(&desk, None).await;
    assert_eq!(
        number(&issue(&desk, &late, "2025-12-30").await.is(200)),
        "INV-2025-000002"
    );
    // A series that runs through the years has all of them before it.
    series(&desk, "invoice", "R-").await;
    for expected in ["R-000002", "R-000004"] {
        let draft = draft(&desk, None).await;
        assert_eq!(number(&issue(&desk, &draft, AFTER).await.is(200)), expected);
    }
}

#[tokio::test]
async fn archived_documents_keep_their_numbers_in_both_years() {
    let desk = Desk::open().await;
    // One was issued into the year before its id's, one lies in the year of its id alone.
    let late = draft(&desk, Some("2025-02-05")).await;
    let issued = issue(&desk, &late, "2024-12-30").await.is(200);
    assert_eq!(number(&issued), "INV-2024-000001");
    desk.step(&issued, "payments", pay("26.98", "p"))
        .await
        .is(201);
    let key = &desk.tenant.key;
    let old = paid("INV-2024-000002", "2024-03-05");
    desk.app.create("/v1/invoices", key, &old).await.is(201);
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 2);

    is_refused_everywhere(&desk, "INV-2024-000001", "2024-05-05").await;
    is_refused_everywhere(&desk, "INV-2024-000001", "2025-05-05").await;
    is_refused_everywhere(&desk, "INV-2024-000002", "2024-05-05").await;
    let next = draft(&desk, None).await;
    assert_eq!(
        number(&issue(&desk, &next, "2024-12-30").await.is(200)),
        "INV-2024-000003"
    );
    // A recall changes nothing of it, nor does another turn.
    desk.step(&issued, "recall", Value::Null).await.is(200);
    import(&desk, "INV-2024-000001", "2024-05-05")
        .await
        .is_problem(409, "duplicate_number");
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 1);
    import(&desk, "INV-2024-000001", "2024-05-05")
        .await
        .is_problem(409, "duplicate_number");
}

#[tokio::test]
async fn a_draft_gives_its_number_up_where_it_goes_away() {
    let desk = Desk::open().await;
    let document = draft(&desk, None).await;
    let patch = async |body: Value| desk.patch(&document, &body, "").await.is(200);
    patch(json!({"number": "X-1", "issue_date": "2025-06-01"})).await;
    import(&desk, "X-1", "2025-05-05")
        .await
        .is_problem(409, "duplicate_number");
    patch(json!({"number": "X-2"})).await;
    import(&desk, "X-1", "2025-05-05").await.is(201);
    import(&desk, "X-2", "2025-05-05")
        .await
        .is_problem(409, "duplicate_number");
    patch(json!({"issue_date": "2024-06-01"})).await;
    import(&desk, "X-2", "2025-05-05").await.is(201);
    import(&desk, "X-2", "2024-05-05")
        .await
        .is_problem(409, "duplicate_number");
    // Back into a year in which somebody has it by now.
    desk.patch(&document, &json!({"issue_date": "2025-06-01"}), "")
        .await
        .is_problem(409, "duplicate_number");
    // Issued in the year of its id, it claims nothing beside.
    issue(&desk, &document, AFTER).await.is(200);
    import(&desk, "X-2", "2024-05-05").await.is(201);
    import(&desk, "X-2", "2026-05-05")
        .await
        .is_problem(409, "duplicate_number");
}

/// No index knows of both documents: of two that come at once, one has to wait for the other.
#[tokio::test]
async fn of_two_documents_with_one_number_in_one_year_one_lands() {
    let desk = Desk::open().await;
    for round in 0..20 {
        let number = format!("T-{round}");
        let draft = desk
            .make(json!({"status": "draft", "issue_date": null, "number": number}))
            .await;
        let line = invoice(json!({"number": number, "issue_date": "2025-05-05"}));
        let upload = desk
            .app
            .upload(BULK, &desk.tenant.key, ndjson(std::slice::from_ref(&line)));
        // Sometimes one is first, sometimes the other.
        let (issued, imported) = match round % 4 {
            0 | 1 => join(issue(&desk, &draft, EVE), import(&desk, &number, EVE)).await,
            _ => join(issue(&desk, &draft, EVE), send(upload)).await,
        };
        let landed = match imported.json()["created"].as_u64() {
            Some(created) => created == 1,
            None => imported.status == 201,
        };
        assert_eq!(
            usize::from(issued.status == 200) + usize::from(landed),
            1,
            "{round}: {issued}\n{imported}"
        );
    }
}
