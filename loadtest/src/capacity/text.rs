//! A plan for people: as plain text or as Markdown.

use std::fmt::Write as _;

use super::Estimate;
use super::plan::{Figure, Plan, Scaling};
use super::target::{Weight, large};
use crate::result::plot::number;

/// How tables look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns set with blanks.
    Plain,
    /// For files that are rendered.
    Markdown,
}

/// Figures of the table of years; the others are in the table of formulas.
const COLUMNS: [&str; 9] = [
    "created",
    "hot",
    "archived",
    "CPUs at the peak",
    "nodes",
    "disk",
    "archive",
    "new objects",
    "price of the year",
];

/// Writes a plan.
#[must_use]
pub fn write(plan: &Plan, form: Form) -> String {
    let mut out = String::new();
    // Writing into memory does not fail.
    let _ = writeln!(out, "# Capacity plan\n\n{}\n", asked(plan));
    heading(&mut out, "What to know first");
    if plan.findings.is_empty() {
        out.push_str("Nothing found that does not add up.\n");
    }
    for finding in &plan.findings {
        let weight = match finding.weight {
            Weight::Contradiction => "CONTRADICTION",
            Weight::Warning => "WARNING",
            Weight::Note => "NOTE",
        };
        let _ = writeln!(out, "- {weight}: {}", finding.text);
    }
    heading(&mut out, "Year by year");
    out.push_str(&table(&years(plan), form));
    let _ = writeln!(
        out,
        "\nAll {} years: {} {}, between {} and {} ({}).",
        plan.years.len(),
        amount(plan.total.value),
        plan.currency,
        amount(plan.total.low),
        amount(plan.total.high),
        plan.total.basis.name()
    );
    if let Some(last) = plan.years.last() {
        heading(
            &mut out,
            &format!("How: year {}, figure by figure", last.year),
        );
        out.push_str(
            "Bounds are 95% as far as they come from measurements; a computed figure rests on the \
            weakest of its inputs.\n\n",
        );
        out.push_str(&table(&formulas(&last.figures), form));
    }
    heading(&mut out, "Measured costs");
    out.push_str(&table(&costs(plan), form));
    heading(&mut out, "Scaling");
    out.push_str(&scaling(plan.scaling.as_ref()));
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n## {text}\n");
}

fn asked(plan: &Plan) -> String {
    let target = &plan.target;
    format!(
        "{} invoices in {} years (growth {}% a year), {} a minute at the peak, hot for {} months, \
        {} tenants, {} copies. For one invoice: \
         {} payments, {} reads, {} lists; each archived one is read {} times a year; {}% come by \
         bulk upload. CPUs are used up to {}%, \
         disks up to {}%; {} hours of log are kept.",
        large(target.invoices),
        target.years,
        number(target.growth * 100.0),
        number(target.peak_per_minute),
        number(target.hot_months),
        number(target.tenants),
        number(target.copies),
        number(target.payments),
        number(target.reads),
        number(target.lists),
        target.cold_reads,
        number(target.bulk * 100.0),
        number(target.utilisation * 100.0),
        number(target.disk_fill * 100.0),
        number(target.wal_hours)
    )
}

fn amount(value: f64) -> String {
    if value.is_infinite() {
        "none is enough".to_owned()
    } else if value >= 1e6 {
        large(value)
    } else {
        number(value)
    }
}

fn between(estimate: &Estimate) -> String {
    let same = (estimate.high - estimate.low).abs() <= estimate.value.abs() * 1e-9;
    if same {
        "-".to_owned()
    } else {
        format!("{} to {}", amount(estimate.low), amount(estimate.high))
    }
}

fn years(plan: &Plan) -> Vec<Vec<String>> {
    let of = |year: &super::plan::Year, name: &str| {
        let found = year.figures.iter().find(|figure| figure.name == name);
        found.map(|figure| {
            (
                amount(figure.estimate.value),
                figure.unit.clone(),
                figure.estimate.basis,
            )
        })
    };
    let mut head = vec!["year".to_owned()];
    if let Some(first) = plan.years.first() {
        let unit = |name: &str| of(first, name).map_or(String::new(), |(_, unit, _)| unit);
        let title = |name: &&str| match unit(name) {
            unit if unit == *name || unit == "invoices" || unit == "objects" => (*name).to_owned(),
            unit => format!("{name}, {unit}"),
        };
        head.extend(COLUMNS.iter().map(title));
    }
    head.push("basis".to_owned());
    let mut rows = vec![head];
    for year in &plan.years {
        let mut row = vec![year.year.to_string()];
        row.extend(
            COLUMNS
                .iter()
                .map(|name| of(year, name).map_or(String::new(), |(value, ..)| value)),
        );
        row.push(
            of(year, "price of the year")
                .map_or(String::new(), |(_, _, basis)| basis.name().to_owned()),
        );
        rows.push(row);
    }
    rows
}

fn formulas(figures: &[Figure]) -> Vec<Vec<String>> {
    let head = [
        "figure",
        "value",
        "unit",
        "between",
        "basis",
        "formula",
        "with numbers",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(figures.iter().map(|figure| {
        vec![
            figure.name.to_owned(),
            amount(figure.estimate.value),
            figure.unit.clone(),
            between(&figure.estimate),
            figure.estimate.basis.name().to_owned(),
            figure.formula.to_owned(),
            figure.worked.clone(),
        ]
    }));
    rows
}

fn costs(plan: &Plan) -> Vec<Vec<String>> {
    let head = [
        "cost of one",
        "value",
        "between",
        "rounds",
        "residual",
        "measured with",
        "workers",
        "basis",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(plan.costs.iter().map(|cost| {
        let (factor, unit) = if cost.name.ends_with("cpu_s") {
            (1e6, " us")
        } else {
            (1.0, "")
        };
        let show = |value: f64| format!("{}{unit}", number(value * factor));
        let workers: Vec<String> = cost.workers.iter().map(u32::to_string).collect();
        vec![
            cost.name.clone(),
            show(cost.estimate.value),
            format!(
                "{} to {}",
                show(cost.estimate.low),
                show(cost.estimate.high)
            ),
            cost.n.to_string(),
            format!("{:.1}%", cost.residual * 100.0),
            amount(cost.units),
            workers.join(", "),
            cost.estimate.basis.name().to_owned(),
        ]
    }));
    rows
}

fn scaling(scaling: Option<&Scaling>) -> String {
    let Some(scaling) = scaling else {
        return "Not measured: at least four runs on three different numbers of workers are \
            needed.\n"
            .to_owned();
    };
    let show = |name: &str, estimate: &Estimate, digits: usize| {
        format!(
            "{name} {:.digits$} ({:.digits$} to {:.digits$})",
            estimate.value, estimate.low, estimate.high
        )
    };
    let most = scaling.most.map_or(
        "more nodes always do more, by this law".to_owned(),
        |most| format!("more than {most:.0} nodes do less"),
    );
    format!(
        "Universal scalability law X(N) = lambda N / (1 + sigma (N-1) + kappa N (N-1)), 95% bounds \
        by resampling of residuals: {}, {}, {}; \
         residual {:.1}% over {} runs on up to {} workers; {most}. Beyond {} workers every \
         statement is EXTRAPOLATED, beyond {} there is none.\n",
        show("lambda", &scaling.lambda, 1),
        show("sigma", &scaling.sigma, 4),
        show("kappa", &scaling.kappa, 5),
        scaling.residual * 100.0,
        scaling.n,
        scaling.measured_to,
        scaling.measured_to,
        f64::from(scaling.measured_to) * super::scaling::REACH
    )
}

/// The first row is the head.
fn table(rows: &[Vec<String>], form: Form) -> String {
    let mut out = String::new();
    if form == Form::Markdown {
        for (index, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if index == 0 {
                let _ = writeln!(out, "|{}", "---|".repeat(row.len()));
            }
        }
        return out;
    }
    let columns = rows.first().map_or(0, Vec::len);
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, wide)| format!("{cell:<wide$}"))
            .collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}
