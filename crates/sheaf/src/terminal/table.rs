//! Results as tables, for `--output table`.

use serde_json::{Map, Value};

/// A column's name, and whether its cells stand to the right.
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    pub(crate) right: bool,
}

/// Columns that are as wide as they have to be, two spaces between them; the names first.
pub(crate) fn columns(columns: &[Column<'_>], rows: &[Vec<String>]) -> Vec<String> {
    let width = |(at, column): (usize, &Column<'_>)| {
        let of_rows = rows.iter().filter_map(|row| row.get(at));
        let widest = of_rows.map(|cell| cell.chars().count()).max();
        widest.unwrap_or(0).max(column.name.chars().count())
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).zip(columns);
        let padded = padded.map(|((cell, width), column)| match column.right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        let line: Vec<String> = padded.collect();
        line.join("  ").trim_end().to_owned()
    };
    let names = line(&mut columns.iter().map(|column| column.name));
    let rows = rows
        .iter()
        .map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(names).chain(rows).collect()
}

/// A document: its values one a line, and a table below for each list of objects in it.
pub(crate) fn document(value: &Value) -> Vec<String> {
    let (mut values, mut lists) = (Vec::new(), Vec::new());
    collect(String::new(), value, &mut values, &mut lists);
    let width = values.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut lines: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}").trim_end().to_owned())
        .collect();
    for (name, objects) in lists {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        if !name.is_empty() {
            lines.push(format!("{name}:"));
        }
        lines.extend(list(&objects));
    }
    lines
}

type Lists<'a> = Vec<(String, Vec<&'a Map<String, Value>>)>;

/// Members of members are named `outer.inner`.
fn collect<'a>(
    name: String,
    value: &'a Value,
    values: &mut Vec<(String, String)>,
    lists: &mut Lists<'a>,
) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = match name.as_str() {
                    "" => member.clone(),
                    outer => format!("{outer}.{member}"),
                };
                collect(name, value, values, lists);
            }
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
            lists.push((name, items.iter().filter_map(Value::as_object).collect()));
        }
        other => values.push((name, cell(other))),
    }
}

fn list(objects: &[&Map<String, Value>]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in objects.iter().flat_map(|object| object.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let is_number = |name: &&str| {
        let mut there = objects.iter().filter_map(|object| object.get(*name));
        there.all(|value| value.is_number() || value.is_null())
    };
    let heads: Vec<Column<'_>> = names
        .iter()
        .map(|name| Column {
            name,
            right: is_number(name),
        })
        .collect();
    let row = |object: &&Map<String, Value>| {
        let cells = names.iter().map(|name| object.get(*name).map(cell));
        cells.map(Option::unwrap_or_default).collect()
    };
    let rows: Vec<Vec<String>> = objects.iter().map(row).collect();
    columns(&heads, &rows)
}

/// A value on one line.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items)
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            let items: Vec<String> = items.iter().map(cell).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_is_a_line_a_value_and_a_table_a_list() {
        let summary = json!({
            "applied": [1, 2],
            "citus": true,
            "dropped": [],
            "failed": 2,
            "failures": [
                {"tenant_id": "t-1", "what": "2024-03", "detail": "damaged"},
                {"tenant_id": "t-22", "detail": "not there", "tries": 12},
            ],
            "numbers": {"documents": 3, "name": null},
        });
        insta::assert_snapshot!(document(&summary).join("\n"), @r"
        applied            1, 2
        citus              yes
        dropped
        failed             2
        numbers.documents  3
        numbers.name

        failures:
        detail     tenant_id  what     tries
        damaged    t-1        2024-03
        not there  t-22                   12
        ");
    }

    #[test]
    fn a_list_alone_has_no_title() {
        let listed = json!([{"node": "a:1", "bytes": 5}, {"node": "bb:22", "bytes": 1_000}]);
        insta::assert_snapshot!(document(&listed).join("\n"), @r"
        bytes  node
            5  a:1
         1000  bb:22
        ");
    }
}
