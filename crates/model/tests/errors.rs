//! The list of codes, and `docs/errors.md`, which is made from it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sheaf_model::Code;

#[test]
fn a_code_is_snake_case_and_has_one_sentence() {
    let mut seen = BTreeSet::new();
    for code in Code::ALL {
        let (text, meaning) = (code.as_str(), code.meaning());
        assert!(seen.insert(text), "{text} twice");
        let is_snake = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        assert!(text.bytes().all(is_snake), "{text}");
        assert!(meaning.ends_with('.'), "{meaning}");
        assert!(!meaning.contains("  "), "{meaning}");
    }
}

/// The page is made from the list: `SHEAF_WRITE_DOCS=1` writes it.
#[test]
fn the_page_of_errors_is_this_list() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let page = page();
    if std::env::var_os("SHEAF_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/errors.md is not what the codes say: run this test with SHEAF_WRITE_DOCS=1"
    );
}

fn page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Made from crates/model/src/code.rs; SHEAF_WRITE_DOCS=1 writes it. -->\n\n\
         Every error answer is `application/problem+json` (RFC 9457). Programs compare `code`, \
         which does not change; `detail` may.\n\
         `errors` names the fields at fault, each with a code of its own. A document with \
         mistakes in fields is a 422 with the code of the first,\n\
         whatever status the code has here.\n",
    );
    let mut status = 0;
    for code in Code::ALL {
        if code.status() != status {
            status = code.status();
            write!(page, "\n## {status}\n\n| code | meaning |\n|---|---|\n").unwrap();
        }
        writeln!(page, "| `{code}` | {} |", code.meaning()).unwrap();
    }
    page
}
