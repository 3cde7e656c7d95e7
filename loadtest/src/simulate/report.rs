//! What a simulation found, for people: Markdown, and one HTML file.
// Latencies and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Simulation;
use super::month::{By, Month, rows};
use super::verdict::{Change, Trend};
use crate::result::plot::{Line, Plot, escape, number};
use crate::result::report::{BLUE, GREEN, GREY, ORANGE, RED, page};

/// The generator's own lag from which a month's latencies are the machine's, too; milliseconds.
const MAX_LAG_MS: f64 = 5.0;

fn count(value: u64) -> String {
    number(value as f64)
}

/// Bytes with a decimal unit.
fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut units = units.into_iter();
    let (mut value, mut unit) = (value, units.next().unwrap_or_default());
    while value.abs() >= 1_000.0
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1_000.0, next);
    }
    format!("{} {unit}", number(value))
}

/// A figure of a probe, by the unit at the end of its name.
fn figure(name: &str, value: f64) -> String {
    if name.ends_with("_bytes") {
        bytes(value)
    } else {
        number(value)
    }
}

fn or_dash(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), number)
}

fn names(months: &[Month]) -> BTreeSet<&str> {
    let names = months.iter().flat_map(|month| month.figures.keys());
    names.map(String::as_str).collect()
}

/// The heads of the columns, and the cells of each row.
fn table(found: &Simulation, by: By) -> (Vec<String>, Vec<Vec<String>>) {
    let rows = rows(&found.months, by);
    let names = names(&found.months);
    let fixed = [
        "",
        "sent",
        "hot",
        "archived",
        "in objects",
        "upload/s",
        "tiered",
        "tiering s",
        "ms each",
        "stayed unpaid",
        "hot p50",
        "p99",
        "cold p50",
        "p99",
        "list p50",
        "p99",
        "pay p50",
        "p99",
    ];
    let mut heads: Vec<String> = fixed.map(str::to_owned).into();
    heads.extend(names.iter().map(|name| (*name).to_owned()));
    let cells = |month: &Month| {
        let tier = month.tier.clone().unwrap_or_default();
        let mut cells = vec![
            month.month.clone(),
            count(month.sent),
            count(month.hot()),
            count(month.archived),
            bytes(month.archived_bytes as f64),
            month
                .upload_rate()
                .map_or("-".to_owned(), |rate| number(rate.round())),
            count(tier.invoices),
            number(tier.seconds),
            or_dash(month.tier_ms()),
            count(tier.skipped_unsettled),
        ];
        for operation in ["get_hot", "get_cold", "list", "pay"] {
            cells.extend([0.5, 0.99].map(|quantile| or_dash(month.latency(operation, quantile))));
        }
        let probed = |name: &&str| {
            let value = month.figures.get(*name);
            value.map_or("-".to_owned(), |value| figure(name, *value))
        };
        cells.extend(names.iter().map(probed));
        cells
    };
    let cells = rows.iter().map(cells).collect();
    (heads, cells)
}

fn trend(trend: &Trend) -> [String; 7] {
    let show = |value| figure(&trend.figure, value);
    let change = match trend.change {
        Change::Higher => "higher",
        Change::Lower => "lower",
        Change::Same => "within noise",
        Change::Unknown => "too few to tell",
    };
    let flat = match trend.flat {
        Some(true) => "flat",
        Some(false) => "NOT FLAT",
        None => "",
    };
    let percent = |share: f64| format!("{:+.1}%", share * 100.0);
    [
        trend.figure.clone(),
        show(trend.before),
        show(trend.now),
        format!("{:.2}", trend.ratio),
        trend.bounds.map_or("-".to_owned(), |(low, high)| {
            format!("{low:.2} to {high:.2}")
        }),
        trend.per_year.map_or("-".to_owned(), |(share, off)| {
            format!("{} ±{:.1}", percent(share), off * 100.0)
        }),
        format!("{change}{}{flat}", if flat.is_empty() { "" } else { ", " }),
    ]
}

const TREND_HEADS: [&str; 6] = [
    "figure",
    "median then",
    "now",
    "ratio",
    "pairs of months, 99%",
    "a year, ±95%",
];

fn summary(found: &Simulation) -> String {
    let outline = &found.outline;
    format!(
        "{} invoices of {} tenants over {} years from {}, in {} minutes; {} reads a month at {}/s; \
        {} of each month's invoices are paid later, \
         one by one. Seed {}, {}.",
        count(outline.invoices),
        count(u64::from(outline.tenants)),
        outline.years,
        outline.first_year,
        number(found.elapsed_s / 60.0),
        count(u64::from(found.reads.0)),
        number(found.reads.1),
        count(outline.paid_later),
        outline.seed,
        found.server
    )
}

/// What a reader has to know about the figures.
fn notes(found: &Simulation) -> Vec<String> {
    let months = &found.months;
    let late = months
        .iter()
        .filter(|month| month.lag_p99_ms > MAX_LAG_MS)
        .count();
    let failed: u64 = months.iter().map(Month::failed).sum();
    let reads: u64 = months
        .iter()
        .flat_map(|month| month.reads.values())
        .map(|series| series.all())
        .sum();
    let dropped = months
        .iter()
        .filter_map(|month| Some((month, month.tier.as_ref()?)));
    let dropped = dropped.filter(|(_, tier)| !tier.years_dropped.is_empty());
    let dropped: Vec<String> = dropped
        .map(|(month, tier)| format!("{:?} after {}", tier.years_dropped, month.month))
        .collect();
    vec![
        format!(
            "The generator's own lag had a p99 above {MAX_LAG_MS} ms in {late} of {} months: their \
            latencies are the machine's as well.",
            months.len()
        ),
        format!("{} of {} reads failed.", count(failed), count(reads)),
        format!(
            "Year partitions dropped: {}.",
            if dropped.is_empty() {
                "none".to_owned()
            } else {
                dropped.join(", ")
            }
        ),
    ]
}

fn verdict(found: &Simulation) -> (bool, String) {
    let flat = found.verdict.is_flat() != Some(false);
    let text = found.verdict.text();
    if found.check.holds() {
        (flat, format!("Nothing lost or doubled. {text}."))
    } else {
        (false, format!("NOT CONSISTENT, see below. {text}."))
    }
}

/// The report in Markdown, a row for each month, quarter or year.
#[must_use]
pub fn markdown(found: &Simulation, by: By) -> String {
    let mut out = String::from("# Years, simulated\n\n");
    // Writing into memory does not fail.
    let _ = writeln!(out, "**{}**\n\n{}\n", verdict(found).1, summary(found));
    let (heads, rows) = table(found, by);
    let _ = writeln!(out, "| {} |", heads.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(heads.len() - 1));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out.push_str("\nTimes are milliseconds where nothing else is said. A dash: too few to tell.\n");
    if let Some((before, now)) = found.verdict.years {
        let _ = writeln!(
            out,
            "\n| {} | {now} against {before} |",
            TREND_HEADS.join(" | ")
        );
        out.push_str("|---|---:|---:|---:|---:|---:|---|\n");
        for figure in &found.verdict.trends {
            let _ = writeln!(out, "| {} |", trend(figure).join(" | "));
        }
    }
    out.push_str("\n| check | expected | found | |\n|---|---:|---:|---|\n");
    for finding in &found.check.findings {
        let word = if finding.holds() { "right" } else { "WRONG" };
        let (expected, is) = (count(finding.expected), count(finding.found));
        let _ = writeln!(out, "| {} | {expected} | {is} | {word} |", finding.what);
    }
    if let Some(wrong) = &found.check.first_wrong {
        let _ = writeln!(out, "\nThe first that is wrong: {wrong}");
    }
    out.push('\n');
    for note in notes(found) {
        let _ = writeln!(out, "- {note}");
    }
    out
}

/// The report in HTML.
#[must_use]
pub fn html(found: &Simulation, by: By) -> String {
    let (good, verdict) = verdict(found);
    let class = if good { "good" } else { "bad" };
    let mut out = String::from("<h1>Sheaf over the years, simulated</h1>");
    // Writing into memory does not fail.
    let _ = write!(
        out,
        "<p class=\"soft\">{}</p><div class=\"verdict {class}\">{}</div>",
        escape(&summary(found)),
        escape(&verdict)
    );
    plots(found, &mut out);
    if let Some((before, now)) = found.verdict.years {
        let mut heads: Vec<String> = TREND_HEADS.map(str::to_owned).into();
        heads.push(format!("{now} against {before}"));
        let rows: Vec<Vec<String>> = found
            .verdict
            .trends
            .iter()
            .map(|one| trend(one).into())
            .collect();
        out.push_str(
            "<h2>The last year against the first steady one</h2><p class=\"soft\">Medians \
            of the months of each year. The bounds come from pairs of months, January with \
            January; the change in a year from all months between.</p>",
        );
        out.push_str(&html_table(&heads, &rows));
    }
    out.push_str("<h2>Is everything there?</h2>");
    let word = |holds| if holds { "right" } else { "WRONG" };
    let findings = found.check.findings.iter();
    let rows: Vec<Vec<String>> = findings
        .map(|finding| {
            vec![
                finding.what.clone(),
                count(finding.expected),
                count(finding.found),
                word(finding.holds()).to_owned(),
            ]
        })
        .collect();
    out.push_str(&html_table(
        &["check", "expected", "found", ""].map(str::to_owned),
        &rows,
    ));
    for note in found.check.first_wrong.iter().cloned().chain(notes(found)) {
        let _ = write!(out, "<p>{}</p>", escape(&note));
    }
    out.push_str(
        "<h2>All figures</h2><p class=\"soft\">Times are milliseconds where nothing else \
        is said. A dash: too few to tell.</p><div style=\"overflow-x:auto;white-space:nowrap\">",
    );
    let (heads, rows) = table(found, by);
    out.push_str(&html_table(&heads, &rows));
    out.push_str("</div>");
    page("Sheaf over the years", &out)
}

fn html_table(heads: &[String], rows: &[Vec<String>]) -> String {
    let line = |tag: &str, cells: &[String]| {
        let cell = |cell: &String| format!("<{tag}>{}</{tag}>", escape(cell));
        format!("<tr>{}</tr>", cells.iter().map(cell).collect::<String>())
    };
    let body: String = rows.iter().map(|row| line("td", row)).collect();
    format!("<table>{}{body}</table>", line("th", heads))
}

fn plots(found: &Simulation, out: &mut String) {
    let months = &found.months;
    let line = |name: &str, colour, value: &dyn Fn(&Month) -> Option<f64>| Line {
        name: name.to_owned(),
        colour,
        points: months
            .iter()
            .enumerate()
            .map(|(index, month)| (index as f64 + 1.0, value(month).unwrap_or(f64::NAN)))
            .collect(),
        // A month with too few requests for a percentile leaves its neighbours alone.
        dots: months.len() <= 120,
    };
    let mut plot = |title: &str, hint: &str, y: &str, log_y, lines: Vec<Line>| {
        let drawn = Plot {
            x: "simulated time; a label stands at the end of its year".to_owned(),
            y: y.to_owned(),
            log_y,
            x_labels: years(months),
            limit: None,
            lines,
        };
        let _ = write!(
            out,
            "<h2>{title}</h2><p class=\"soft\">{hint}</p>{}",
            drawn.svg()
        );
    };
    plot(
        "Invoices",
        "The hot tier holds a year; the rest is archived.",
        "invoices",
        false,
        vec![
            line("sent so far", GREY, &|month| Some(month.sent as f64)),
            line("archived", BLUE, &|month| Some(month.archived as f64)),
            line("hot", ORANGE, &|month| Some(month.hot() as f64)),
        ],
    );
    let megabytes = |month: &Month, name: &str| month.figures.get(name).map(|value| value / 1e6);
    plot(
        "Bytes",
        "Partitions fill up during a year and are dropped when they are empty, so the hot tier is \
        a saw.",
        "MB",
        false,
        vec![
            line("hot tier (hot_bytes of the probe)", ORANGE, &|month| {
                megabytes(month, "hot_bytes")
            }),
            line("objects written", BLUE, &|month| {
                Some(month.archived_bytes as f64 / 1e6)
            }),
        ],
    );
    let latency = |name: &str, colour, operation: &str, quantile| {
        line(name, colour, &|month| month.latency(operation, quantile))
    };
    for (title, quantile) in [("Latency, median", 0.5), ("Latency, p99", 0.99)] {
        plot(
            title,
            "Of reads from when they were due; of payments from when they were sent.",
            "ms; each line is x10",
            true,
            vec![
                latency("hot read", ORANGE, "get_hot", quantile),
                latency("archived read", BLUE, "get_cold", quantile),
                latency("list", GREEN, "list", quantile),
                latency("payment", RED, "pay", quantile),
            ],
        );
    }
    plot(
        "Cost of an invoice",
        "Wall time of uploads and of tiering runs, divided by their invoices.",
        "ms an invoice",
        false,
        vec![
            line("tiering", BLUE, &Month::tier_ms),
            line("upload", ORANGE, &|month| {
                month.upload_rate().map(|rate| 1_000.0 / rate)
            }),
        ],
    );
}

/// Labels for at most some twenty years.
fn years(months: &[Month]) -> Vec<(f64, String)> {
    let step = (months.len() / 12).div_ceil(20).max(1);
    let ends = months.chunks_exact(12).enumerate().step_by(step);
    ends.filter_map(|(index, year)| {
        Some(((index as f64 + 1.0) * 12.0, year.first()?.year.to_string()))
    })
    .collect()
}
