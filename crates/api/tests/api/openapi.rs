//! The document is part of the contract: a change to it shows in review.

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

fn check(value: &serde_json::Value, document: &serde_json::Value, found: &mut usize) {
    match value {
        serde_json::Value::Object(members) => {
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
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| check(item, document, found))
        }
        _ => {}
    }
}
