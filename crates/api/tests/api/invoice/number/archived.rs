//! Numbers of archived documents of other years, and what older releases have left.

use reqwest::Method;
use serde_json::{Value, json};
use sheaf_archive::{NumbersReport, Silent};
use sheaf_model::TenantId;
use uuid::Uuid;

use crate::archive::files::{paid, tier};
use crate::invoice::money::{Desk, pay};
use crate::support::{raw, send};

async fn running_series(desk: &Desk) {
    let request = desk
        .app
        .request(Method::PUT, "/v1/number-series/invoice")
        .bearer_auth(&desk.tenant.key)
        .json(&json!({"prefix": "R-", "padding": 6}));
    send(request).await.is(200);
}

async fn import(desk: &Desk, document: Value) -> Value {
    let answer = desk
        .app
        .create("/v1/invoices", &desk.tenant.key, &document)
        .await;
    answer.is(201)
}

async fn issue(desk: &Desk, day: &str) -> Value {
    let draft = json!({"status": "draft", "issue_date": null});
    let draft = desk.make(draft).await;
    let body = json!({"issue_date": day});
    desk.step(&draft, "issue", body).await.is(200)
}

/// The pass over both tiers.
async fn check(desk: &Desk) -> NumbersReport {
    let tenant = Some(TenantId(desk.tenant.id));
    desk.app
        .archive
        .check_numbers(tenant, &Silent)
        .await
        .unwrap()
}

fn id(document: &Value) -> Uuid {
    document["id"].as_str().unwrap().parse().unwrap()
}

/// Changes the tables as an older release would have left them.
async fn meddle(desk: &Desk, sql: &str) {
    let changed = raw().await.execute(sql, &[&desk.tenant.id]).await.unwrap();
    assert!(changed > 0, "{sql}");
}

#[tokio::test]
async fn a_running_series_skips_what_is_archived_of_any_year() {
    let desk = Desk::open().await;
    running_series(&desk).await;
    for (number, day) in [
        ("R-000002", "2021-03-05"),
        ("R-000003", "2022-03-05"),
        ("R-000044", "2022-03-06"),
        ("S-000001", "2023-03-05"),
    ] {
        import(&desk, paid(number, day)).await;
    }
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 4);
    for expected in ["R-000001", "R-000004", "R-000005"] {
        assert_eq!(issue(&desk, "2026-01-02").await["number"], expected);
    }
    let known = raw()
        .await
        .query(
            "select numbers from archive_files where tenant_id = $1 order by period",
            &[&desk.tenant.id],
        )
        .await
        .unwrap();
    let known: Vec<Value> = known.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        known,
        [
            json!({"R-": [2, 2]}),
            json!({"R-": [3, 44]}),
            json!({"S-": [1, 1]})
        ]
    );
    // The file of an older release, which the catalog cannot tell of before the pass.
    import(&desk, paid("R-000007", "2020-03-05")).await;
    tier(&desk.app, &desk.tenant).await;
    meddle(
        &desk,
        "update archive_files set numbers = null where tenant_id = $1",
    )
    .await;
    let report = check(&desk).await;
    assert_eq!((report.files, report.duplicated), (4, 0), "{report:?}");
    for expected in ["R-000006", "R-000008"] {
        assert_eq!(issue(&desk, "2026-01-02").await["number"], expected);
    }
}

#[tokio::test]
async fn a_running_series_finds_a_number_behind_many_files() {
    let desk = Desk::open().await;
    running_series(&desk).await;
    // The number that comes next is in the oldest of more files than are asked for at once.
    import(&desk, paid("R-000001", "2014-03-05")).await;
    for n in 0..70 {
        let day = format!("{}-{:02}-05", 2015 + n / 12, n % 12 + 1);
        import(&desk, paid(&format!("R-{:06}", 100 + n), &day)).await;
    }
    assert_eq!(tier(&desk.app, &desk.tenant).await.units, 71);
    assert_eq!(issue(&desk, "2026-01-02").await["number"], "R-000002");
}

#[tokio::test]
async fn a_series_that_skips_thousands_of_numbers_leaves_the_lane_of_all() {
    let desk = Desk::open().await;
    running_series(&desk).await;
    let line = |n: u32| {
        let document = paid(&format!("R-{n:06}"), "2026-01-05");
        format!("{document}\n")
    };
    let body: String = (1..=6_000).map(line).collect();
    let upload = desk.app.upload("/v1/invoices/bulk", &desk.tenant.key, body);
    assert_eq!(send(upload).await.is(200)["created"], 6_000);
    assert_eq!(issue(&desk, "2026-01-06").await["number"], "R-006001");
    let metrics = desk.app.metrics_text().await;
    let lanes = "sheaf_own_lanes_total{queue=\"changes\"} ";
    assert!(metrics.contains(lanes), "{metrics}");
}

#[tokio::test]
async fn numbers_of_older_releases_are_entered_and_double_ones_listed() {
    let desk = Desk::open().await;
    // Archived: a document of 2025, issued into 2024. Hot: one of this year, issued into 2025, and
    // a draft.
    let draft = json!({"status": "draft", "issue_date": "2025-02-05"});
    let draft = desk.make(draft).await;
    let body = json!({"issue_date": "2024-12-30"});
    let archived = desk.step(&draft, "issue", body).await.is(200);
    desk.step(&archived, "payments", pay("26.98", "p"))
        .await
        .is(201);
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 1);
    let hot = issue(&desk, "2025-12-30").await;
    let draft = json!({"status": "draft", "issue_date": null, "number": "D-1"});
    let draft = desk.make(draft).await;
    let dated = json!({"issue_date": "2025-11-30"});
    desk.patch(&draft, &dated, "").await.is(200);
    let forget = "delete from number_claims where tenant_id = $1";
    meddle(&desk, forget).await;
    // The faults of that time: the number of each in the year of its issue, in both tiers.
    let number = |document: &Value| document["number"].as_str().unwrap().to_owned();
    let of_archived = import(&desk, paid(&number(&archived), "2024-05-05")).await;
    let of_hot = import(&desk, paid(&number(&hot), "2025-11-05")).await;
    assert_eq!(tier(&desk.app, &desk.tenant).await.invoices, 1);
    // And a series that gave a number twice.
    running_series(&desk).await;
    let (first, second) = (
        import(&desk, paid("R-000001", "2025-12-05")).await,
        import(&desk, paid("R-000001", "2026-01-05")).await,
    );

    let report = check(&desk).await;
    assert_eq!((report.entered, report.duplicated), (3, 3), "{report:?}");
    let listed = |of: &str, year: Option<i16>, ids: [Uuid; 2]| {
        let found = report.duplicates.iter().find(|found| found.number == of);
        let found = found.unwrap_or_else(|| panic!("no {of}: {report:?}"));
        assert_eq!(found.year, year, "{report:?}");
        assert!(ids.iter().all(|id| found.invoice_ids.contains(id)));
    };
    listed(
        &number(&archived),
        Some(2024),
        [id(&archived), id(&of_archived)],
    );
    listed(&number(&hot), Some(2025), [id(&hot), id(&of_hot)]);
    listed("R-000001", None, [id(&first), id(&second)]);
    // Entered is what was missing, and only once.
    for taken in [paid("D-1", "2025-11-06"), paid("D-1", "2026-01-06")] {
        desk.app
            .create("/v1/invoices", &desk.tenant.key, &taken)
            .await
            .is_problem(409, "duplicate_number");
    }
    let again = check(&desk).await;
    assert_eq!((again.entered, again.duplicated), (0, 3), "{again:?}");
}
