//! Requests with one field at an extreme, made from the OpenAPI document.

use serde_json::{Value, json};

use super::base::{Base, base};
use super::values::{Kind, extremes, parameters};

/// What is replaced by the extreme's JSON text.
const HERE: &str = "@extreme@";
/// How deep schemas are followed.
const DEPTH: usize = 6;

/// One operation of the document with a good request.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) ndjson: bool,
    pub(super) base: Base,
    /// Fields of the body: the way to each, and what it is.
    fields: Vec<(Vec<String>, Kind)>,
    /// Parameters: name, whether in the path, and what it is.
    parameters: Vec<(String, bool, Kind)>,
}

/// One bad request.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Percent-encoded path parameter that differs, or none.
    pub(super) path: Option<(String, String)>,
    pub(super) query: String,
    pub(super) body: Option<String>,
    pub(super) refused: bool,
}

/// A field of an operation, and its bad requests.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) cases: Vec<Case>,
}

/// The operations of a document.
///
/// # Errors
/// An operation without a good request here: a new route needs one.
pub(super) fn operations(document: &Value) -> Result<Vec<Operation>, String> {
    let mut found = Vec::new();
    let paths = document["paths"]
        .as_object()
        .ok_or("the document has no paths")?;
    for (path, item) in paths {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let Some(id) = operation["operationId"].as_str() else {
                continue;
            };
            let base = base(id).ok_or_else(|| format!("no good request is known for {id}"))?;
            let content = &operation["requestBody"]["content"];
            let ndjson = content.get("application/x-ndjson").is_some();
            let schema = content.as_object().and_then(|kinds| kinds.values().next());
            let mut fields = Vec::new();
            if let Some(schema) = schema {
                walk(document, &schema["schema"], &mut Vec::new(), &mut fields);
            }
            let listed = operation["parameters"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let parameters = listed.iter().filter_map(|one| {
                let place = one["in"].as_str()?;
                let name = one["name"].as_str()?.replace("{key}", "plan");
                let kind = Kind::of(&resolve(document, &one["schema"]));
                matches!(place, "path" | "query").then_some((name, place == "path", kind))
            });
            let parameters = parameters.collect();
            let (id, method, path) = (id.to_owned(), method.to_uppercase(), path.clone());
            found.push(Operation {
                id,
                method,
                path,
                ndjson,
                base,
                fields,
                parameters,
            });
        }
    }
    Ok(found)
}

/// A schema without references and alternatives to null.
fn resolve(document: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    for _ in 0..DEPTH {
        if let Some(name) = schema["$ref"].as_str() {
            let pointer = name.trim_start_matches('#');
            schema = document.pointer(pointer).cloned().unwrap_or_default();
        } else if let Some(all) = ["oneOf", "anyOf", "allOf"]
            .iter()
            .find_map(|key| schema[*key].as_array())
        {
            let some = all.iter().find(|one| one["type"] != "null");
            schema = some.cloned().unwrap_or_default();
        } else {
            break;
        }
    }
    schema
}

fn walk(
    document: &Value,
    schema: &Value,
    way: &mut Vec<String>,
    fields: &mut Vec<(Vec<String>, Kind)>,
) {
    let schema = resolve(document, schema);
    let kind = Kind::of(&schema);
    fields.push((way.clone(), kind));
    if way.len() >= DEPTH {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        way.push(name.clone());
        walk(document, property, way, fields);
        way.pop();
    }
    if kind == Kind::List {
        way.push("0".to_owned());
        walk(document, &schema["items"], way, fields);
        way.pop();
    }
}

/// The fields of a document that has no schema: one of ours, as it was answered.
pub(super) fn leaves(value: &Value) -> Vec<(Vec<String>, Kind)> {
    fn go(value: &Value, way: &mut Vec<String>, found: &mut Vec<(Vec<String>, Kind)>) {
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, one)| (name.clone(), one))
                .collect(),
            Value::Array(items) => items
                .iter()
                .take(2)
                .enumerate()
                .map(|(n, one)| (n.to_string(), one))
                .collect(),
            _ => Vec::new(),
        };
        for (name, one) in inner {
            way.push(name.clone());
            let text = one.as_str().unwrap_or_default();
            let dashes = text.bytes().filter(|byte| *byte == b'-').count();
            let kind = match one {
                Value::Object(_) => Kind::Free,
                Value::Array(_) => Kind::List,
                Value::Number(_) => Kind::Integer,
                Value::Bool(_) => Kind::Boolean,
                _ if text.len() == 36 && dashes == 4 => Kind::Id,
                _ if text.len() == 10 && dashes == 2 => Kind::Date,
                _ if text.ends_with('Z') && dashes == 2 => Kind::Time,
                _ => Kind::Text,
            };
            found.push((way.clone(), kind));
            go(one, way, found);
            way.pop();
        }
    }
    let mut found = Vec::new();
    go(value, &mut Vec::new(), &mut found);
    found
}

/// Puts a mark at a place; makes what is missing on the way.
fn mark(body: &mut Value, way: &[String]) {
    let Some((first, rest)) = way.split_first() else {
        *body = json!(HERE);
        return;
    };
    if let (Value::Array(items), Ok(index)) = (&mut *body, first.parse::<usize>()) {
        while items.len() <= index {
            items.push(json!({}));
        }
        return mark(&mut items[index], rest);
    }
    if !body.is_object() {
        let list = first.parse::<usize>().is_ok();
        *body = if list { json!([]) } else { json!({}) };
        if list {
            return mark(body, way);
        }
    }
    mark(&mut body[first.as_str()], rest);
}

/// The cases of some fields of a body.
pub(super) fn of_body(good: &Value, fields: &[(Vec<String>, Kind)], refuse: bool) -> Vec<Field> {
    let field = |(way, kind): &(Vec<String>, Kind)| {
        let mut marked = good.clone();
        mark(&mut marked, way);
        let marked = marked.to_string();
        let case = |json: &str, refused: bool| Case {
            path: None,
            query: String::new(),
            body: Some(marked.replacen(&json!(HERE).to_string(), json, 1)),
            refused: refused && refuse,
        };
        let mut cases: Vec<Case> = extremes(*kind)
            .iter()
            .map(|extreme| case(&extreme.json, extreme.refused))
            .collect();
        let pointer = way
            .iter()
            .fold(String::new(), |all, one| format!("{all}/{one}"));
        if let Some(Value::Object(object)) = good.pointer(&pointer) {
            // The object's values as an array, in their order.
            let values: Vec<&Value> = object.values().collect();
            cases.push(case(&json!(values).to_string(), true));
        }
        Field {
            name: format!("body{pointer}"),
            cases,
        }
    };
    fields.iter().map(field).collect()
}

impl Operation {
    /// All bad requests, by field.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut all = match &self.base.body {
            Some(good) => of_body(good, &self.fields, true),
            None => Vec::new(),
        };
        for (name, in_path, kind) in &self.parameters {
            let case = |(value, refused): (String, bool)| Case {
                path: in_path.then(|| (name.clone(), value.clone())),
                query: if *in_path {
                    String::new()
                } else {
                    format!("?{name}={value}")
                },
                body: self.base.body.as_ref().map(Value::to_string),
                refused,
            };
            let cases = parameters(*kind).into_iter().map(case).collect();
            all.push(Field {
                name: format!("parameter {name}"),
                cases,
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_schema_is_reached() {
        let document = json!({
            "paths": {"/v1/invoices": {"post": {"operationId": "createInvoice",
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer"}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref":
                    "#/components/schemas/In"}}}}}}},
            "components": {"schemas": {"In": {"type": "object", "properties": {
                "issue_date": {"type": ["string", "null"], "format": "date"},
                "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}}}},
                "Line": {"type": "object", "properties": {"quantity": {"type": "string"}}}}}});
        let operations = operations(&document).unwrap_or_default();
        let names: Vec<String> = operations[0]
            .fields()
            .into_iter()
            .map(|field| field.name)
            .collect();
        let wanted = [
            "body",
            "body/issue_date",
            "body/lines",
            "body/lines/0",
            "body/lines/0/quantity",
            "parameter limit",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn an_extreme_stands_where_its_field_is() {
        let good = json!({"lines": [{"quantity": "1"}], "a": "b"});
        let way = ["lines", "0", "quantity"].map(str::to_owned).to_vec();
        let fields = of_body(&good, &[(way, Kind::Integer)], true);
        let bodies: Vec<&str> = fields[0]
            .cases
            .iter()
            .filter_map(|case| case.body.as_deref())
            .collect();
        assert!(
            bodies.contains(&r#"{"a":"b","lines":[{"quantity":1e400}]}"#),
            "{bodies:?}"
        );
    }

    #[test]
    fn an_operation_that_nobody_knows_is_told() {
        let document = json!({"paths": {"/x": {"get": {"operationId": "new"}}}});
        assert!(operations(&document).is_err_and(|why| why.contains("new")));
    }
}
