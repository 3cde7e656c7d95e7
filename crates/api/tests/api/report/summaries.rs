//! Reports against figures that the test adds up itself.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

use crate::support::{Tenant, TestApp, ndjson, now, send};

/// Small, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // Numerical Recipes' constants; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// In the smallest unit of the currency.
struct Made {
    currency: &'static str,
    kind: &'static str,
    status: &'static str,
    customer: Option<String>,
    issued: Option<NaiveDate>,
    due_date: Option<NaiveDate>,
    total: i64,
    payments: Vec<(NaiveDate, i64)>,
}

impl Made {
    fn paid(&self) -> i64 {
        self.payments.iter().map(|(_, amount)| amount).sum()
    }

    fn due(&self) -> i64 {
        self.total - self.paid()
    }

    fn is_open(&self) -> bool {
        matches!(self.status, "issued" | "partially_paid")
    }

    fn is_overdue(&self) -> bool {
        let past = self.due_date.is_some_and(|d| d < today());
        self.kind == "invoice" && self.is_open() && past && self.due() > 0
    }
}

fn today() -> NaiveDate {
    now().date_naive()
}

fn amount(currency: &str, minor: i64) -> String {
    match currency {
        "JPY" => minor.to_string(),
        _ => {
            let sign = if minor < 0 { "-" } else { "" };
            let minor = minor.abs();
            format!("{sign}{}.{:02}", minor / 100, minor % 100)
        }
    }
}

fn days_before(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap()
}

/// Makes some hundreds of invoices and says what they are.
async fn sample(app: &TestApp, tenant: &Tenant) -> Vec<Made> {
    let mut random = Random(7);
    let mut made = Vec::new();
    let mut lines = Vec::new();
    for n in 0..400 {
        let currency = ["EUR", "GBP", "JPY"][usize::try_from(random.below(3)).unwrap()];
        let kind = if random.below(6) == 0 {
            "credit_note"
        } else {
            "invoice"
        };
        let issue_date = days_before(today(), random.below(200));
        let due_date = (random.below(8) > 0).then(|| {
            issue_date
                .checked_add_days(Days::new(random.below(60)))
                .unwrap()
        });
        let total = i64::try_from(1 + random.below(50_000)).unwrap();
        let draft = random.below(10) == 0;
        let mut payments = Vec::new();
        if !draft && random.below(2) == 0 {
            let first = 1 + i64::try_from(random.below(u64::try_from(total).unwrap())).unwrap();
            let after = u64::try_from((today() - issue_date).num_days() + 1).unwrap();
            payments.push((days_before(today(), random.below(after)), first));
            if total > first && random.below(2) == 0 {
                payments.push((today(), total - first));
            }
        }
        let paid: i64 = payments.iter().map(|(_, amount)| amount).sum();
        let status = match (draft, paid) {
            (true, _) => "draft",
            (_, paid) if paid == total => "paid",
            (_, 0) => "issued",
            _ => "partially_paid",
        };
        let customer = (random.below(10) > 0).then(|| format!("c-{}", random.below(12)));
        let mut document = json!({
            "external_id": format!("e-{n}"), "currency": currency, "kind": kind,
                "issue_date": issue_date,
            "due_date": due_date, "status": if draft { "draft" } else { "issued" },
            "lines": [{"description": "x", "quantity": 1, "unit_price": amount(currency, total)}],
        });
        if let Some(customer) = &customer {
            document["customer"] = json!({"external_id": customer, "name": customer});
        }
        let payment = |(index, (paid_on, minor)): (usize, &(NaiveDate, i64))| {
            json!({"reference": format!("p{index}"), "amount": amount(currency, *minor),
                "paid_on": paid_on,
                   "method": "card"})
        };
        document["payments"] = payments.iter().enumerate().map(payment).collect();
        lines.push(document);
        made.push(Made {
            currency,
            kind,
            status,
            customer,
            issued: Some(issue_date),
            due_date,
            total,
            payments,
        });
    }
    let upload = app.upload("/v1/invoices/bulk", &tenant.key, ndjson(&lines));
    let summary = send(upload).await.is(200);
    assert_eq!(summary["created"], 400, "{summary}");
    made
}

/// Sums by key, each with what it counts.
fn grouped<K: Ord>(entries: impl Iterator<Item = (K, i64)>) -> BTreeMap<K, (i64, i64)> {
    let mut sums = BTreeMap::new();
    for (key, amount) in entries {
        let sum: &mut (i64, i64) = sums.entry(key).or_default();
        sum.0 += 1;
        sum.1 += amount;
    }
    sums
}

fn kind_sums(sums: BTreeMap<(&str, &str), (i64, i64)>) -> Value {
    let entry = |((currency, kind), (count, minor)): ((&str, &str), (i64, i64))| {
        json!({"currency": currency, "kind": kind, "count": count, "amount": amount(currency,
            minor)})
    };
    sums.into_iter().map(entry).collect()
}

fn check_summary(report: &Value, made: &[&Made]) {
    let mut totals: BTreeMap<(&str, &str, &str), [i64; 4]> = BTreeMap::new();
    for i in made {
        let sums = totals.entry((i.currency, i.kind, i.status)).or_default();
        for (sum, more) in sums.iter_mut().zip([1, i.total, i.paid(), i.due()]) {
            *sum += more;
        }
    }
    let totals: Value = totals
        .into_iter()
        .map(|((currency, kind, status), [count, total, paid, due])| {
            json!({"currency": currency, "kind": kind, "status": status, "count": count,
                   "total": amount(currency, total), "amount_paid": amount(currency, paid),
                   "amount_due": amount(currency, due)})
        })
        .collect();
    assert_eq!(report["totals"], totals);
    let overdue = made.iter().filter(|i| i.is_overdue());
    let overdue: Value = grouped(overdue.map(|i| (i.currency, i.due())))
        .into_iter()
        .map(|(currency, (count, minor))| {
            json!({"currency": currency, "count": count, "amount": amount(currency, minor)})
        })
        .collect();
    assert_eq!(report["overdue"], overdue);
    let first = days_before(today(), 29);
    let recent = made
        .iter()
        .filter(|i| i.status != "draft" && i.issued.is_some_and(|d| d >= first));
    let issued = grouped(recent.map(|i| ((i.currency, i.kind), i.total)));
    assert_eq!(report["issued_last_30_days"], kind_sums(issued));
    let payments = made.iter().flat_map(|i| {
        let recent = i.payments.iter().filter(|(day, _)| *day >= first);
        recent.map(|(_, minor)| ((i.currency, i.kind), *minor))
    });
    assert_eq!(report["paid_last_30_days"], kind_sums(grouped(payments)));
}

#[tokio::test]
async fn the_summary_adds_up() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let made = sample(&app, &tenant).await;
    let report = app.read("/v1/reports/summary", &tenant.key).await.is(200);
    assert_eq!(
        (&report["tier"], &report["today"], &report["from"]),
        (&json!("hot"), &json!(today()), &json!(null))
    );
    check_summary(&report, &made.iter().collect::<Vec<_>>());
    let (from, to) = (days_before(today(), 90), days_before(today(), 20));
    let within = |i: &&Made| i.issued.is_some_and(|d| d >= from && d <= to);
    let within: Vec<&Made> = made.iter().filter(within).collect();
    assert!(within.len() > 50);
    let path = format!("/v1/reports/summary?from={from}&to={to}");
    check_summary(&app.read(&path, &tenant.key).await.is(200), &within);
    // The same answer for some seconds, and it says so.
    let again = app.read("/v1/reports/summary", &tenant.key).await.is(200);
    assert_eq!(again, report);
    let theirs = app.read("/v1/reports/summary", &other.key).await.is(200);
    check_summary(&theirs, &[]);
    app.read("/v1/reports/summary?from=today", &tenant.key)
        .await
        .is_problem(400, "invalid_parameter");
}

/// The report's entry of some invoices in one currency.
fn aged(currency: &str, customer: Option<&str>, made: &[&Made], as_of: NaiveDate) -> Option<Value> {
    let open: Vec<&&Made> = made
        .iter()
        .filter(|i| i.is_open() && i.currency == currency)
        .collect();
    if open.is_empty() {
        return None;
    }
    let mut buckets = [0_i64; 5];
    let (mut invoices, mut credit) = (0, 0);
    for i in open {
        if i.kind == "credit_note" {
            credit += i.due();
            continue;
        }
        invoices += 1;
        let late = i.due_date.map_or(0, |due| (as_of - due).num_days());
        let bucket = match late {
            ..=0 => 0,
            1..=30 => 1,
            31..=60 => 2,
            61..=90 => 3,
            _ => 4,
        };
        buckets[bucket] += i.due();
    }
    let [current, d30, d60, d90, older] = buckets.map(|minor| amount(currency, minor));
    Some(json!({
        "customer_id": customer, "currency": currency, "invoices": invoices, "current": current,
        "days_1_30": d30, "days_31_60": d60, "days_61_90": d90, "days_over_90": older,
        "unapplied_credit": amount(currency, credit),
        "total": amount(currency, buckets.iter().sum::<i64>() - credit),
    }))
}

#[tokio::test]
async fn what_is_owed_is_aged() {
    let app = TestApp::start().await;
    let (tenant, other) = (app.tenant().await, app.tenant().await);
    let made = sample(&app, &tenant).await;
    let all: Vec<&Made> = made.iter().collect();
    for as_of in [today(), days_before(today(), 45)] {
        let path = format!("/v1/reports/aging?as_of={as_of}");
        let report = app.read(&path, &tenant.key).await.is(200);
        let expected: Vec<Value> = ["EUR", "GBP", "JPY"]
            .iter()
            .filter_map(|currency| aged(currency, None, &all, as_of))
            .collect();
        assert_eq!(expected.len(), 3);
        assert_eq!(
            report,
            json!({"as_of": as_of, "data": expected, "has_more": false, "next_cursor": null})
        );
    }
    let report = app.read("/v1/reports/aging", &other.key).await.is(200);
    assert_eq!(report["data"], json!([]));
    for bad in ["group=day", "as_of=x"] {
        app.read(&format!("/v1/reports/aging?{bad}"), &tenant.key)
            .await
            .is_problem(400, "invalid_parameter");
    }
    app.read("/v1/reports/aging?limit=5", &tenant.key)
        .await
        .is_problem(400, "unknown_parameter");
}

#[tokio::test]
async fn customers_are_aged_page_by_page_and_have_balances() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let made = sample(&app, &tenant).await;
    let page = app.read("/v1/customers?limit=100", &tenant.key).await;
    let customers = page.is(200)["data"].as_array().unwrap().clone();
    assert_eq!(customers.len(), 12);
    // By id, then those who name nobody.
    let mut named: Vec<(Option<String>, Option<String>)> = customers
        .iter()
        .map(|c| {
            let text = |name: &str| c[name].as_str().map(str::to_owned);
            (text("id"), text("external_id"))
        })
        .collect();
    named.sort();
    named.push((None, None));
    let mut expected = Vec::new();
    for (id, external_id) in &named {
        let theirs = |i: &&Made| i.customer == *external_id;
        let theirs: Vec<&Made> = made.iter().filter(theirs).collect();
        let entries = ["EUR", "GBP", "JPY"].map(|c| aged(c, id.as_deref(), &theirs, today()));
        expected.extend(entries.into_iter().flatten());
        if let Some(id) = id {
            check_balance(&app, &tenant, id, &theirs).await;
        }
    }
    assert!(expected.len() > 20);
    for limit in [1, 7, 100] {
        let mut found: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/reports/aging?group=customer&limit={limit}{cursor}");
            let page = app.read(&path, &tenant.key).await.is(200);
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            found.extend(data.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit} a page");
    }
}

async fn check_balance(app: &TestApp, tenant: &Tenant, id: &str, made: &[&Made]) {
    let path = format!("/v1/customers/{id}/balance");
    let answer = app.read(&path, &tenant.key).await.is(200);
    assert_eq!(
        (&answer["customer_id"], &answer["tier"], &answer["as_of"]),
        (&json!(id), &json!("hot"), &json!(today()))
    );
    let mut expected = Vec::new();
    for currency in ["EUR", "GBP", "JPY"] {
        let issued: Vec<&&Made> = made
            .iter()
            .filter(|i| i.currency == currency && i.status != "draft")
            .collect();
        if issued.is_empty() {
            continue;
        }
        let sum = |of: &dyn Fn(&Made) -> i64, kind: &str| {
            let sum = issued.iter().filter(|i| i.kind == kind).map(|i| of(i));
            amount(currency, sum.sum())
        };
        let overdue = |i: &Made| if i.is_overdue() { i.due() } else { 0 };
        expected.push(json!({
            "currency": currency, "invoiced": sum(&|i| i.total, "invoice"), "paid": sum(&Made::paid,
                "invoice"),
            "due": sum(&Made::due, "invoice"), "overdue": sum(&overdue, "invoice"),
            "credit_available": sum(&Made::due, "credit_note"),
        }));
    }
    assert_eq!(answer["balances"], json!(expected));
}
