//! Whether the document that everything here is made from is valid OpenAPI 3.1, as far as clients
//! are made from it.
//!
//! <https://spec.openapis.org/oas/v3.1.0>

use std::collections::BTreeSet;

use serde_json::Value;

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// What is wrong with it; empty when nothing is.
pub(super) fn faults(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let version = document["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.1.") {
        faults.push(format!("openapi is {version:?}"));
    }
    for name in ["title", "version"] {
        if !document["info"][name].is_string() {
            faults.push(format!("info lacks {name}"));
        }
    }
    let servers = document["servers"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if servers.is_empty() || servers.iter().any(|one| !one["url"].is_string()) {
        faults.push("servers: no server with a url".to_owned());
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if METHODS.contains(&method.as_str()) {
                let name = format!("{} {path}", method.to_uppercase());
                if !ids.insert(operation["operationId"].as_str().unwrap_or_default()) {
                    faults.push(format!("{name}: its operationId is missing or not its own"));
                }
                let found = of_operation(document, path, operation);
                faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    references(document, document, &mut faults);
    faults
}

fn of_operation(document: &Value, path: &str, operation: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let answers = operation["responses"].as_object();
    if answers.is_none_or(serde_json::Map::is_empty) {
        faults.push("no responses".to_owned());
    }
    for (status, answer) in answers.into_iter().flatten() {
        if !answer["$ref"].is_string() && !answer["description"].is_string() {
            faults.push(format!("response {status} lacks a description"));
        }
    }
    let own = operation.get("security");
    match own
        .or_else(|| document.get("security"))
        .and_then(Value::as_array)
    {
        None => faults.push("no security is said, not even that there is none".to_owned()),
        Some(ways) => {
            let schemes = &document["components"]["securitySchemes"];
            let names = ways.iter().filter_map(Value::as_object).flatten();
            for (name, _) in names.filter(|(name, _)| schemes.get(name.as_str()).is_none()) {
                faults.push(format!("security {name} is defined nowhere"));
            }
        }
    }
    let parameters = operation["parameters"].as_array();
    let is_told = |wanted: &str| {
        let mut all = parameters.into_iter().flatten();
        all.any(|one| one["in"] == "path" && one["name"] == wanted && one["required"] == true)
    };
    let placeholders = path
        .split('{')
        .skip(1)
        .filter_map(|part| part.split('}').next());
    for name in placeholders.filter(|name| !is_told(name)) {
        faults.push(format!("{{{name}}} is no required parameter of its path"));
    }
    faults
}

/// References that lead nowhere.
fn references(document: &Value, value: &Value, faults: &mut Vec<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|one| references(document, one, faults)),
        Value::Object(fields) => {
            let to = fields.get("$ref").and_then(Value::as_str);
            let lost = to
                .and_then(|to| to.strip_prefix('#'))
                .filter(|to| document.pointer(to).is_none());
            if let Some(to) = lost {
                faults.push(format!("#{to} leads nowhere"));
            }
            fields
                .values()
                .for_each(|one| references(document, one, faults));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
            "servers": [{"url": "/"}],
            "security": [{"key": []}],
            "paths": {"/a/{id}": {"get": {"operationId": "a",
                "parameters": [{"name": "id", "in": "path", "required": true,
                    "schema": {"type": "string"}}],
                "responses": {"200": {"description": "A.",
                    "content": {"application/json": {"schema":
                    {"$ref": "#/components/schemas/A"}}}}}}}},
            "components": {"schemas": {"A": {"type": "object"}},
                "securitySchemes": {"key": {"type": "http"}}}})
    }

    #[test]
    fn a_valid_document_has_no_faults() {
        assert_eq!(faults(&document()), Vec::<String>::new());
    }

    #[test]
    fn each_part_is_looked_at() {
        let get = "/paths/~1a~1{id}/get";
        for (pointer, value) in [
            ("/openapi".to_owned(), json!("3.0.0")),
            ("/info/title".to_owned(), Value::Null),
            ("/servers".to_owned(), json!([])),
            ("/security".to_owned(), Value::Null),
            ("/components/securitySchemes".to_owned(), json!({})),
            ("/components/schemas".to_owned(), json!({})),
            (format!("{get}/responses"), json!({})),
            (format!("{get}/responses/200/description"), Value::Null),
            (format!("{get}/parameters"), json!([])),
        ] {
            let mut document = document();
            if let Some(place) = document.pointer_mut(&pointer) {
                *place = value;
            }
            assert_eq!(faults(&document).len(), 1, "{pointer}");
        }
    }
}
