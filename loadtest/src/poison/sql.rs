//! SQL over the archive: questions whose answers are known, and some that a hostile reader would
//! ask and not wait for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::{NEIGHBOUR, Run, cut};
use crate::check::client::{Ask, Client, Told};

/// Clients that ask a hostile question at once, and how long they wait before they leave.
const READERS: usize = 4;
const LEAVES: Duration = Duration::from_secs(1);

const CLOCKS: [&str; 4] = [
    "select now()",
    "select current_date",
    "select current_timestamp",
    "select today()",
];
/// What is computed, and what is right. A refusal is right as well: a wrong answer is not.
const SUMS: [(&str, &str); 4] = [
    ("select 9223372036854775807 + 1", "9223372036854775808"),
    ("select -9223372036854775807 - 2", "-9223372036854775809"),
    ("select 3037000500 * 3037000500", "9223372037000250000"),
    (
        "select sum(x) from (values (9223372036854775807), (1)) as t(x)",
        "9223372036854775808",
    ),
];
/// A table as RFC 4180 has it, in which what is null and what is empty are two things.
const TABLE: &str = "select '' as a, cast(null as varchar) as b, 'x' as c";
const AS_CSV: &str = "a,b,c\r\n\"\",,x\r\n";
/// A text of 512 MiB, where a query has 256 MiB.
const LARGE: &str = "with a as (select 'xxxxxxxxxxxxxxxx' as t), b as (select replace(t, 'x', t) \
    as t from a), \
    c as (select replace(t, 'x', t) as t from b), d as (select replace(t, 'x', \
    'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy') as u, t from b) \
    select length(replace(c.t, 'x', d.u)) from c, d";
/// Two texts of 64 KiB, compared letter by letter.
const COMPARED: &str = "with a as (select 'xxxxxxxxxxxxxxxx' as t), b as (select replace(t, 'x', \
    t) as t from a), \
    c as (select replace(t, 'x', t) as t from b) \
           select levenshtein(t, replace(t, 'x', 'y')) from c";

/// Common table expressions that each name the one before twice: 2^n tables in some hundred bytes.
fn doubling(levels: usize) -> String {
    let steps: Vec<String> = (1..=levels)
        .map(|n| {
            let before = n - 1;
            format!("c{n} as (select a.x from c{before} a, c{before} b)")
        })
        .collect();
    format!(
        "with c0 as (select 1 as x), {} select count(*) from c{levels}",
        steps.join(", ")
    )
}

impl Run {
    pub(super) async fn sql(&mut self) {
        for sql in CLOCKS {
            let told = self.ask(sql, "json").await;
            if self.judge(sql, false, &told, "") && told.status() != 200 {
                let text = format!("was answered {} {}", told.status(), cut(&told));
                self.find("refused", sql, text);
            }
        }
        for (sql, right) in SUMS {
            let told = self.ask(sql, "json").await;
            let cell = told.json()["rows"][0][0].clone();
            let cell = cell
                .as_str()
                .map_or_else(|| cell.to_string(), str::to_owned);
            if self.judge(sql, false, &told, "") && told.status() == 200 && cell != right {
                self.find(
                    "wrong",
                    sql,
                    format!("was answered {cell}, right is {right}"),
                );
            }
        }
        let told = self.ask(TABLE, "csv").await;
        let text = String::from_utf8_lossy(&told.body).into_owned();
        if self.judge(TABLE, false, &told, "") && text != AS_CSV {
            let text = format!("was answered {text:?}, RFC 4180 has {AS_CSV:?}");
            self.find("wrong", "archive SQL as CSV", text);
        }
        let told = self.ask(LARGE, "json").await;
        self.judge("archive SQL, a text of 512 MiB", true, &told, LARGE);
        for (name, sql) in [
            ("doubling", doubling(14)),
            ("compared", COMPARED.to_owned()),
            ("large", LARGE.to_owned()),
        ] {
            self.abandoned(name, &sql).await;
            if self.report.gave_up {
                return;
            }
        }
        self.report.fields += 1;
    }

    async fn ask(&mut self, sql: &str, format: &str) -> Told {
        self.report.cases += 1;
        let body = json!({"sql": sql, "format": format, "tier": "cold"});
        let key = self.key.clone();
        let ask = query(&body, &key);
        self.client.send(&ask).await
    }

    /// Several readers ask and leave. Then another tenant's smallest question is answered in time.
    async fn abandoned(&mut self, name: &str, sql: &str) {
        let (key, quiet) = (self.key.clone(), self.quiet.clone());
        let body = json!({"sql": sql, "format": "json", "tier": "cold"});
        let readers = (0..READERS).map(|_| {
            let mut client = Client::new(self.server.clone(), Instant::now(), LEAVES);
            let (key, body) = (&key, &body);
            async move { client.send(&query(body, key)).await }
        });
        join_all(readers).await;
        self.report.cases += READERS;
        let mut client = Client::new(self.server.clone(), Instant::now(), NEIGHBOUR);
        let small = json!({"sql": "select 1", "format": "json", "tier": "cold"});
        let told = client.send(&query(&small, &quiet)).await;
        if told.status() != 200 {
            let text = format!(
                "behind {READERS} abandoned questions another tenant's `select 1` was answered {} \
                {} after {:.1} s",
                told.status(),
                cut(&told),
                (told.attempt.ended - told.attempt.sent).as_secs_f64()
            );
            self.find("neighbour_hurt", &format!("archive SQL, {name}"), text);
        }
        self.probe(&format!("archive SQL, {name}")).await;
    }
}

fn query<'a>(body: &Value, key: &'a str) -> Ask<'a> {
    Ask {
        body: body.to_string().into(),
        ..Ask::new(Method::POST, "/v1/archive/query", key)
    }
}
