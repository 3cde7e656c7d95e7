//! The document is part of the contract: a change to it shows in review, and it is what it says
//! that it is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sheaf_model::Code;

#[test]
fn the_document_is_as_reviewed() {
    insta::assert_json_snapshot!("openapi", sheaf_api::openapi());
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = serde_json::to_value(sheaf_api::openapi()).unwrap();
    let mut found = 0;
    check(&document, &document, &mut found);
    assert!(found > 50, "{found}");
}

/// What OpenAPI 3.1 demands of a document, as far as one of ours could lack it. A linter knows
/// more, where there is one.
#[test]
fn the_document_is_valid() {
    let document = serde_json::to_value(sheaf_api::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/");
    assert_eq!(document["info"]["license"]["identifier"], "Apache-2.0");
    let names = |of: &Value, name: &str| -> HashSet<String> {
        let all = of.as_array().unwrap().iter();
        all.map(|one| one[name].as_str().unwrap().to_owned())
            .collect()
    };
    let tags = names(&document["tags"], "name");
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    let mut ids = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{what}: {id} is another's");
            assert!(operation["summary"].is_string(), "{what}");
            let of = operation["tags"].as_array().unwrap().iter();
            assert!(
                of.clone().all(|tag| tags.contains(tag.as_str().unwrap())),
                "{what}"
            );
            // Empty where anybody may ask, but said.
            let security = operation["security"].as_array().expect(&what).iter();
            let known = |one: &Value| {
                one.as_object()
                    .unwrap()
                    .keys()
                    .all(|k| schemes.contains_key(k))
            };
            assert!(security.clone().all(known), "{what}");
            assert_eq!(
                security.len() == 0,
                path.ends_with("healthz") || path.ends_with("readyz")
            );
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses
                    .keys()
                    .any(|status| status.starts_with(['2', '3'])),
                "{what}"
            );
            for (status, response) in responses {
                let description = response["description"].as_str();
                assert!(
                    description.is_some_and(|d| !d.trim().is_empty()),
                    "{what}: {status}"
                );
            }
            let mut parameters = HashSet::new();
            for parameter in operation["parameters"].as_array().unwrap() {
                let (name, place) = (parameter["name"].as_str(), parameter["in"].as_str());
                assert!(parameters.insert((name, place)), "{what}: {name:?} twice");
                assert!(parameter["schema"].is_object(), "{what}: {name:?}");
                assert_eq!(
                    parameter["required"] == true,
                    place == Some("path"),
                    "{what}: {name:?}"
                );
            }
            for segment in path.split('/').filter_map(|s| s.strip_prefix('{')) {
                let name = segment.split('}').next();
                assert!(
                    parameters.contains(&(name, Some("path"))),
                    "{what}: {name:?}"
                );
            }
        }
    }
}

/// A code has one status, and 422 where a field of a document has it.
#[test]
fn every_code_of_the_document_stands_at_its_status() {
    let document = serde_json::to_value(sheaf_api::openapi()).unwrap();
    let mut found = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if !status.starts_with(['4', '5']) {
                    continue;
                }
                let description = response["description"].as_str().unwrap();
                for code in Code::ALL {
                    if description.contains(&format!("`{code}`")) {
                        found.insert(code);
                        let own = code.status().to_string();
                        assert!(*status == own || status == "422", "{path}: {status} {code}");
                    }
                }
            }
        }
    }
    assert!(found.len() > 100, "{}", found.len());
}

/// A value has one type: `allOf` of schemas of different ones is satisfied by nothing. Generated
/// clients and response validators find that out, linters do not.
#[test]
fn every_schema_of_the_document_can_be_satisfied() {
    let document = serde_json::to_value(sheaf_api::openapi()).unwrap();
    let mut found = 0;
    each_all_of(&document, &mut |path, items| {
        found += 1;
        let mut types = items.iter().filter_map(|item| types(item, &document));
        let common = types.next().map(|first| {
            types.fold(first, |common, next| {
                common.into_iter().filter(|of| next.contains(of)).collect()
            })
        });
        assert!(
            common.is_none_or(|common| !common.is_empty()),
            "{path}: {items:?}"
        );
    });
    assert!(found >= 1, "{found}");
    // What queries answer with is of any type.
    let cells = &document["components"]["schemas"]["ArchiveQueryAnswer"]["properties"]["rows"];
    assert_eq!(cells["items"]["items"]["type"], Value::Null, "{cells}");
}

fn each_all_of(value: &Value, seen: &mut impl FnMut(&str, &[Value])) {
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(items) = members.get("allOf").and_then(Value::as_array) {
                    seen(&path, items);
                }
                open.extend(
                    members
                        .iter()
                        .map(|(name, of)| (format!("{path}/{name}"), of)),
                );
            }
            Value::Array(items) => open.extend(items.iter().map(|of| (path.clone(), of))),
            _ => {}
        }
    }
}

/// The types that a schema allows; none where it does not say.
fn types(schema: &Value, document: &Value) -> Option<Vec<String>> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return types(document.pointer(pointer).unwrap(), document);
    }
    match &schema["type"] {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => {
            let all = all.iter().map(|one| one.as_str().unwrap().to_owned());
            Some(all.collect())
        }
        _ => None,
    }
}

/// The version that is known to lint the document; `make linter` puts it into the target directory.
const LINTER: &str = "@redocly/cli@2.77.0";

/// Where the linter is: the installed one, or npx, which fetches it.
fn linter() -> Option<Command> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = root.join("target/linter/node_modules/.bin/redocly");
    if installed.exists() {
        return Some(Command::new(installed));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let npx = std::env::split_paths(&path).map(|dir| dir.join("npx"));
    let npx = npx.into_iter().find(|npx| npx.is_file())?;
    let mut command = Command::new(npx);
    command.args(["--yes", LINTER]);
    Some(command)
}

/// A linter that we did not write. It is in JavaScript: where there is no npm, or no way to its
/// registry, the test says so and does no more, unless `SHEAF_REQUIRE_LINTER` is set, as in CI.
#[test]
fn a_public_linter_finds_nothing() {
    let required = std::env::var_os("SHEAF_REQUIRE_LINTER").is_some();
    let Some(mut linter) = linter() else {
        assert!(
            !required,
            "SHEAF_REQUIRE_LINTER is set, and there is no npx"
        );
        eprintln!("skipped: the OpenAPI document is not linted, since there is no npx");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file: &Path = &dir.path().join("openapi.json");
    std::fs::write(file, sheaf_api::openapi().to_json().unwrap()).unwrap();
    // Probes answer nothing that a client could have got wrong.
    let arguments = [
        "--skip-rule",
        "operation-4xx-response",
        "--max-problems",
        "20",
    ];
    let run = linter
        .arg("lint")
        .arg(file)
        .args(arguments)
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .output()
        .unwrap();
    let text = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.concat();
    if !required && text.contains("npm error") {
        eprintln!("skipped: the OpenAPI document is not linted, since npx cannot fetch {LINTER}");
        return;
    }
    let valid = text.contains("Your API description is valid");
    assert!(
        run.status.success() && valid && !text.contains("You have "),
        "{text}"
    );
}

fn check(value: &Value, document: &Value, found: &mut usize) {
    match value {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(|target| target.as_str()) {
                *found += 1;
                assert!(
                    document.pointer(target.trim_start_matches('#')).is_some(),
                    "{target}"
                );
            }
            members
                .values()
                .for_each(|member| check(member, document, found));
        }
        Value::Array(items) => items.iter().for_each(|item| check(item, document, found)),
        _ => {}
    }
}
