//! Reports for people: Markdown, and one HTML file that needs nothing but a browser.
// Latencies and rates are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

pub(crate) mod charts;

use std::fmt::Write as _;

use crate::load::arrivals::Arrivals;
use crate::load::mix::Mix;
use crate::result::baseline::{Change, Comparison};
use crate::result::objective::Objective;
use crate::result::plot::{escape, number};
use crate::result::record::{Latencies, Series};
use crate::result::run::Run;

/// What a report shows beside the run.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Conditions to judge.
    pub objective: Option<Objective>,
    /// Differences to an earlier run.
    pub comparisons: Vec<Comparison>,
}

/// The look of every report.
pub(crate) const STYLE: &str = "
:root{--ink:#1b2430;--soft:#5b6775;--rule:#dde3ea;--good:#157347;\
--bad:#b42318;--paper:#fff;--tint:#f5f7fa}
*{box-sizing:border-box}body{font:15px/1.5 \
system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:980px;margin:32px \
auto;padding:0 24px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 6px}p{margin:6px \
0}.soft{color:var(--soft)}
.verdict{padding:12px 16px;border-radius:8px;color:#fff;font-weight:600;margin:16px \
0}.good{background:var(--good)}.bad{background:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:16px \
0}.tile{background:var(--tint);border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:24px;line-height:1.2}.tile span{color:var(--soft);font-size:13px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin:8px \
0}th,td{padding:5px 8px;border-bottom:1px solid var(--rule);text-align:right}
th{font-size:13px;color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left}\
.group th{text-align:center;border-bottom:0}td.left{text-align:left}
svg{width:100%;height:auto;margin-top:6px}svg text{font:12px \
system-ui,sans-serif;fill:var(--soft)}svg text.axis{fill:var(--ink)}
svg .grid{stroke:var(--rule)}svg line.limit{stroke:var(--bad);stroke-dasharray:6 4}svg \
text.limit{fill:var(--bad)}
.legend{font-size:13px;color:var(--soft)}.legend span{margin-right:18px}.legend \
i{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:6px;\
vertical-align:middle}
.met{color:var(--good);font-weight:600}.missed{color:var(--bad);font-weight:600}@media \
print{body{margin:0}}";

pub(crate) const BLUE: &str = "#2563a8";
pub(crate) const ORANGE: &str = "#d9730d";
pub(crate) const GREEN: &str = "#2e8b57";
pub(crate) const RED: &str = "#b42318";
pub(crate) const GREY: &str = "#8a94a0";
/// For as many lines as there are operations.
const COLOURS: [&str; 9] = [
    BLUE, ORANGE, GREEN, RED, "#7a4fb5", "#0f8b8d", "#b5508a", "#8a6d1d", GREY,
];

/// One page of HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
        content=\"width=device-width\">\
         <title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        escape(title)
    )
}

fn ms(value: f64) -> String {
    number(value)
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0".to_owned(),
        small if small < 0.01 => "<0.01%".to_owned(),
        share => format!("{}%", number(share)),
    }
}

fn verdict(run: &Run, extras: &Extras) -> (bool, String) {
    if !run.is_valid() {
        return (false, format!("INVALID RUN: {}", run.invalid.join("; ")));
    }
    if let Some(objective) = &extras.objective {
        let missed: Vec<String> = objective
            .judge(run)
            .into_iter()
            .filter(|verdict| !verdict.met)
            .map(|verdict| verdict.condition)
            .collect();
        return if missed.is_empty() {
            (true, format!("Objective met: {}", objective.text()))
        } else {
            (false, format!("Objective MISSED: {}", missed.join(", ")))
        };
    }
    (
        true,
        "Valid run: the generator kept its schedule".to_owned(),
    )
}

/// The report in Markdown.
#[must_use]
pub fn markdown(run: &Run, extras: &Extras) -> String {
    let mut out = String::from("# Load test\n\n");
    let (_, verdict) = verdict(run, extras);
    // Writing into memory does not fail.
    let _ = writeln!(out, "**{verdict}**\n\n{}\n", summary(run));
    let all = &run.recording.all;
    let _ = writeln!(
        out,
        "| due/s | answered/s | invoices/s | errors | p50 | p99 | p99.9 | longest \
        |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n\
         | {} | {} | {} | {} | {} ms | {} ms | {} ms | {} ms |\n",
        number(run.due_rate()),
        number(run.accepted_rate()),
        number(run.invoice_rate()),
        percent(all.error_share()),
        ms(all.latency.ms(0.5)),
        ms(all.latency.ms(0.99)),
        ms(all.latency.ms(0.999)),
        ms(all.latency.max_ms())
    );
    out.push_str(
        "Latency counts from the time at which a request was due (what a user waits); \
        service time from when it was sent. A dash: too few requests to tell.\n\n",
    );
    out.push_str(
        "| operation | requests | errors | latency p50 | p99 | p99.9 | max | service p50 \
        | p99 | max |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, series) in rows(run) {
        let _ = writeln!(out, "| {name} | {} |", cells(series).join(" | "));
    }
    out.push_str(
        "\n| tenants | requests | errors | latency p50 | p99 | p99.9 | max | service p50 \
        | p99 | max |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, series) in &run.recording.classes {
        let _ = writeln!(out, "| {name} | {} |", cells(series).join(" | "));
    }
    for (operation, error, count) in errors(run) {
        let _ = writeln!(out, "\n- {operation}: {error}: {count}");
    }
    if let Some(objective) = &extras.objective {
        out.push_str("\n| condition | measured | |\n|---|---:|---|\n");
        for (condition, measured, met) in judged(objective, run) {
            let _ = writeln!(
                out,
                "| {condition} | {measured} | {} |",
                if met { "met" } else { "MISSED" }
            );
        }
    }
    if !extras.comparisons.is_empty() {
        out.push_str(
            "\n| against the baseline | before | now | change, 99% bounds | \
            |\n|---|---:|---:|---:|---|\n",
        );
        for comparison in &extras.comparisons {
            let _ = writeln!(out, "| {} |", compared(comparison).join(" | "));
        }
    }
    let _ = writeln!(out, "\nGenerator: {}", own(run));
    out
}

fn rows(run: &Run) -> impl Iterator<Item = (&str, &Series)> {
    let all = std::iter::once(("all", &run.recording.all));
    let operations = run.recording.operations.iter();
    all.chain(operations.map(|(name, series)| (name.as_str(), series)))
}

fn cells(series: &Series) -> Vec<String> {
    let (latency, service) = (&series.latency, &series.service);
    let mut cells = vec![number(series.all() as f64), percent(series.error_share())];
    cells.extend([0.5, 0.99, 0.999].map(|quantile| enough(latency, quantile)));
    cells.push(ms(latency.max_ms()));
    cells.extend([0.5, 0.99].map(|quantile| enough(service, quantile)));
    cells.push(ms(service.max_ms()));
    cells
}

/// A percentile beyond which there is at least one request; of fewer it would be the maximum by
/// another name.
fn enough(latencies: &Latencies, quantile: f64) -> String {
    if latencies.count() as f64 * (1.0 - quantile) < 0.999 {
        "-".to_owned()
    } else {
        ms(latencies.ms(quantile))
    }
}

fn errors(run: &Run) -> Vec<(&str, &str, u64)> {
    let mut found = Vec::new();
    for (name, series) in &run.recording.operations {
        for (error, count) in &series.errors {
            found.push((name.as_str(), error.as_str(), *count));
        }
    }
    found
}

fn judged(objective: &Objective, run: &Run) -> Vec<(String, String, bool)> {
    let verdicts = objective.judge(run);
    let pairs = objective.0.iter().zip(verdicts);
    let show = |(condition, verdict): (
        &crate::result::objective::Condition,
        crate::result::objective::Verdict,
    )| {
        let measured = verdict
            .measured
            .map_or("nothing measured".to_owned(), |measured| {
                condition.show(measured)
            });
        (verdict.condition, measured, verdict.met)
    };
    pairs.map(show).collect()
}

fn compared(comparison: &Comparison) -> [String; 5] {
    let change = |ratio: f64| format!("{:+.1}%", (ratio - 1.0) * 100.0);
    let verdict = match comparison.change {
        Change::Worse => "WORSE",
        Change::Better => "better",
        Change::Same => "within noise",
        Change::Unknown => "too few answers to tell",
    };
    [
        comparison.figure.clone(),
        format!("{} ms", ms(comparison.before_ms)),
        format!("{} ms", ms(comparison.now_ms)),
        comparison.ratio.map_or("-".to_owned(), |(low, high)| {
            format!("{} to {}", change(low), change(high))
        }),
        verdict.to_owned(),
    ]
}

/// The operations and their shares.
pub(crate) fn mixed(mix: &Mix) -> String {
    let shares: Vec<String> = mix
        .operations
        .keys()
        .map(|operation| format!("{} {}", operation.name(), percent(mix.share(*operation))))
        .collect();
    shares.join(", ")
}

fn summary(run: &Run) -> String {
    let settings = &run.settings;
    let shape = match settings.arrivals {
        Arrivals::Constant => "evenly spaced".to_owned(),
        Arrivals::Poisson => "at random times".to_owned(),
        Arrivals::Ramp { from } => format!("climbing from {}", number(from)),
        Arrivals::Step { from, steps } => format!("in {steps} steps from {}", number(from)),
    };
    format!(
        "{} requests/s ({shape}) for {} s after {} s of warm-up, {} connections, {} tenants, {} \
        worker(s); mix: {}. {} at {}.",
        number(settings.rate),
        number(settings.duration_s),
        number(settings.warmup_s),
        settings.connections,
        settings.tenants,
        run.workers,
        mixed(&settings.mix),
        settings.server,
        run.started_at.format("%Y-%m-%d %H:%M:%S UTC")
    )
}

fn own(run: &Run) -> String {
    let own = &run.recording.own;
    format!(
        "its own lag p50 {} ms, p99 {} ms, longest {} ms (valid up to p99 {} ms); {} requests \
        never sent; {} waited for a free connection (p99 {} ms); \
         {} replaced by creates because there was nothing to act on yet; {} sent again on a new \
         connection; {:.2} cores of CPU{}.",
        ms(own.lag.ms(0.5)),
        ms(own.lag.ms(0.99)),
        ms(own.lag.max_ms()),
        number(run.bounds.lag_p99_ms),
        number(own.dropped as f64),
        number(own.waited.count() as f64),
        ms(own.waited.ms(0.99)),
        number(own.replaced as f64),
        number(own.reconnected as f64),
        own.cpu_cores,
        own.stolen.map_or(String::new(), |stolen| format!(
            "; the host of this machine took {} of its CPU away",
            percent(stolen)
        ))
    )
}

/// The report in HTML.
#[must_use]
pub fn html(run: &Run, extras: &Extras) -> String {
    let all = &run.recording.all;
    let (good, verdict) = verdict(run, extras);
    let mut out = String::from("<h1>Load test of Sheaf</h1>");
    // Writing into memory does not fail.
    let _ = write!(
        out,
        "<p class=\"soft\">{}</p><div class=\"verdict {}\">{}</div>",
        escape(&summary(run)),
        if good { "good" } else { "bad" },
        escape(&verdict)
    );
    let tile = |value: String, name: &str| {
        format!("<div class=\"tile\"><b>{value}</b><span>{name}</span></div>")
    };
    let _ = write!(
        out,
        "<div class=\"tiles\">{}{}{}{}{}{}{}{}</div>",
        tile(
            format!("{}/s", number(run.accepted_rate())),
            "right answers, in time"
        ),
        tile(
            format!("{}/s", number(run.due_rate())),
            "requests that were due"
        ),
        tile(
            format!("{}/s", number(run.invoice_rate())),
            "invoices created"
        ),
        tile(percent(all.error_share()), "errors"),
        tile(
            format!("{} ms", ms(all.latency.ms(0.5))),
            "median: half of all users wait less"
        ),
        tile(
            format!("{} ms", ms(all.latency.ms(0.99))),
            "p99: one in 100 waits longer"
        ),
        tile(
            format!("{} ms", ms(all.latency.ms(0.999))),
            "p99.9: one in 1,000 waits longer"
        ),
        tile(format!("{} ms", ms(all.latency.max_ms())), "longest wait"),
    );
    if let Some(objective) = &extras.objective {
        out.push_str(
            "<h2>Objective</h2><table><tr><th>condition</th><th>measured</th><th></th></tr>",
        );
        for (condition, measured, met) in judged(objective, run) {
            let word = if met {
                "<span class=\"met\">met</span>"
            } else {
                "<span class=\"missed\">missed</span>"
            };
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{word}</td></tr>",
                escape(&condition),
                escape(&measured)
            );
        }
        out.push_str("</table>");
    }
    if !extras.comparisons.is_empty() {
        out.push_str(
            "<h2>Against the baseline</h2><p class=\"soft\">A change counts when it is \
            beyond the noise between ten blocks of each run (99%) and beyond the \
            floor.</p><table><tr><th>figure</th><th>before</th><th>now</th><th>change, 99% \
            bounds</th><th></th></tr>",
        );
        for comparison in &extras.comparisons {
            let cells: String = compared(comparison)
                .iter()
                .map(|cell| format!("<td>{}</td>", escape(cell)))
                .collect();
            let _ = write!(out, "<tr>{cells}</tr>");
        }
        out.push_str("</table>");
    }
    let p99_bound = extras.objective.as_ref().and_then(Objective::p99_bound);
    charts::plots(run, p99_bound, &mut out);
    tables(run, &mut out);
    let _ = write!(
        out,
        "<h2>The generator itself</h2><p>{}</p>",
        escape(&own(run))
    );
    page("Load test of Sheaf", &out)
}

fn tables(run: &Run, out: &mut String) {
    let above = "<tr class=\"group\"><th></th><th colspan=\"2\"></th><th colspan=\"4\">what a user \
        waits, ms</th><th colspan=\"3\">what the server takes, ms</th></tr>";
    let head = "<th>requests</th><th>errors</th><th>p50</th><th>p99</th><th>p99.9</th>\
        <th>longest</th>\
        <th>p50</th><th>p99</th><th>longest</th></tr>";
    let row = |name: &str, series: &Series| {
        let cells: String = cells(series)
            .iter()
            .map(|cell| format!("<td>{cell}</td>"))
            .collect();
        format!("<tr><td>{}</td>{cells}</tr>", escape(name))
    };
    let _ = write!(
        out,
        "<h2>By operation</h2><p class=\"soft\">Users wait from the time at which their request \
        was due; the server takes the time from when it was sent. p99: one request in 100 is \
        slower. A dash: too few requests to tell.</p><table>{above}<tr><th>operation</th>{head}"
    );
    for (name, series) in rows(run) {
        out.push_str(&row(name, series));
    }
    out.push_str("</table>");
    if !run.recording.classes.is_empty() {
        let _ = write!(
            out,
            "<h2>By size of tenant</h2><p class=\"soft\">Small tenants should not wait for large \
            ones.</p><table>{above}<tr><th>tenants</th>{head}"
        );
        for (name, series) in &run.recording.classes {
            out.push_str(&row(name, series));
        }
        out.push_str("</table>");
    }
    out.push_str("<h2>Errors</h2>");
    let errors = errors(run);
    if errors.is_empty() {
        out.push_str("<p>None.</p>");
        return;
    }
    out.push_str("<table><tr><th>operation</th><th>error</th><th>requests</th></tr>");
    for (operation, error, count) in errors {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(operation),
            escape(error),
            number(count as f64)
        );
    }
    out.push_str("</table>");
}
