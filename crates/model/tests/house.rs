//! The structure of the code, as docs/ARCHITECTURE.md draws it: which crate may know which, where
//! each kind of library has its home, no large circles of files, no crowded folders, and lines and
//! files of a length that can be read.
//!
//! Here because this crate's tests are the cheapest to build.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates, where they are, and which of ours each may depend on. Arrows go one way.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("sheaf-model", "crates/model", &[]),
    ("sheaf-documents", "crates/documents", &["sheaf-model"]),
    ("sheaf-cluster", "crates/cluster", &["sheaf-model"]),
    (
        "sheaf-store",
        "crates/store",
        &["sheaf-model", "sheaf-cluster"],
    ),
    ("sheaf-archive", "archive", &["sheaf-model", "sheaf-store"]),
    ("sheaf-web", "crates/web", &["sheaf-model", "sheaf-store"]),
    (
        "sheaf-api",
        "crates/api",
        &[
            "sheaf-model",
            "sheaf-documents",
            "sheaf-store",
            "sheaf-archive",
            "sheaf-web",
        ],
    ),
    ("sheaf-local", "crates/local", &[]),
    ("sheaf-loadtest", "loadtest", &["sheaf-model"]),
];

/// Libraries that only some crates may name: SQL, object storage and Parquet, HTTP servers.
const HOMES: &[(&str, &[&str])] = &[
    (
        "tokio-postgres",
        &["sheaf-cluster", "sheaf-store", "sheaf-local"],
    ),
    ("deadpool-postgres", &["sheaf-cluster", "sheaf-store"]),
    ("aws-sdk-s3", &["sheaf-archive"]),
    ("parquet", &["sheaf-archive"]),
    ("datafusion", &["sheaf-archive"]),
    ("axum", &["sheaf-web", "sheaf-api", "sheaf-loadtest"]),
    ("jsonwebtoken", &["sheaf-web"]),
];

/// Files that may depend on one another in a circle, all of them in one folder.
const CIRCLE: usize = 5;
/// Files and folders in one folder.
const CROWD: usize = 16;
/// Columns of a line.
const COLUMNS: usize = 100;
/// Lines of a file.
const LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below a folder, with paths from that folder.
fn files(of: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(of.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|of| of == "rs")
}

/// The names of a section of a manifest.
fn section(manifest: &str, title: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == title;
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn arrows_between_crates_go_one_way() {
    for (name, folder, may) in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let knows = section(&manifest, "[dependencies]");
        for other in knows.iter().filter(|other| other.starts_with("sheaf")) {
            assert!(
                may.contains(&other.as_str()),
                "{name} must not depend on {other}"
            );
        }
        for (library, homes) in HOMES {
            assert!(
                !knows.contains(*library) || homes.contains(name),
                "{library} has its home in {homes:?}, and {name} depends on it"
            );
        }
    }
}

/// A file's text without comments, the contents of strings, and its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if next == '"' {
            rest = after_string(&rest[1..]);
            code.push('"');
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

fn after_string(mut rest: &str) -> &str {
    while let Some(at) = rest.find(['"', '\\']) {
        let escaped = rest[at..].starts_with('\\');
        let skip = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
        rest = &rest[at + 1 + if escaped { skip } else { 0 }..];
        if !escaped {
            return rest;
        }
    }
    ""
}

type Module = Vec<String>;

/// A path of modules, and the name that `use` gives to what is at its end.
struct Import {
    path: Module,
    name: String,
}

/// The paths of a `use` tree or an expression that begins here: `a::{b, c::d as e}` is `a::b` and
/// `a::c::d`.
fn tree(text: &str, before: &[String]) -> (Vec<Import>, usize) {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let space = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        let word: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !word.is_empty() {
            at += space + word.len();
            path.push(word);
            match text[at..].strip_prefix("::") {
                Some(_) => at += 2,
                None => break,
            }
        } else if rest.starts_with('{') {
            at += space + 1;
            let mut found = Vec::new();
            loop {
                let (more, length) = tree(&text[at..], &path);
                found.extend(more);
                at += length;
                let Some(end) = text[at..].find([',', '}']) else {
                    return (found, at);
                };
                at += end + 1;
                if text[..at].ends_with('}') || text[at..].trim_start().starts_with('}') {
                    return (found, at);
                }
            }
        } else {
            break;
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    let name = match text[at..].trim_start().strip_prefix("as ") {
        Some(alias) => alias
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect(),
        None => name,
    };
    (vec![Import { path, name }], at)
}

/// All paths of a file that begin in its own crate, from the crate's root.
fn paths(code: &str, of: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let is_whole =
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            if !is_whole {
                continue;
            }
            for mut import in tree(&code[at..], &[]).0 {
                let supers = import
                    .path
                    .iter()
                    .take_while(|part| *part == "super")
                    .count();
                let skip = supers.max(1);
                let base = match start {
                    "crate::" => &[][..],
                    _ => &of[..of.len().saturating_sub(supers)],
                };
                import.path = [base, &import.path[skip.min(import.path.len())..]].concat();
                found.push(import);
            }
        }
    }
    found
}

/// What the crate's root gives other names: who names those means the modules where they are.
fn exports(root: &str) -> BTreeMap<String, Module> {
    let mut exports = BTreeMap::new();
    for (at, _) in root.match_indices("pub use ") {
        for import in tree(&root[at + 8..], &[]).0 {
            let path = import
                .path
                .into_iter()
                .filter(|part| part != "crate" && part != "self");
            exports.insert(import.name, path.collect());
        }
    }
    exports
}

/// Which modules of a crate name which. Inline tests and the `tests` beside a file are left out.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut texts: BTreeMap<Module, String> = BTreeMap::new();
    for path in files(source).into_iter().filter(|path| is_rust(path)) {
        let mut module: Module = path
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if module
            .last()
            .is_some_and(|last| ["mod", "lib"].contains(&last.as_str()))
        {
            module.pop();
        }
        let is_program = module
            .first()
            .is_some_and(|first| first == "bin" || first == "main");
        if !is_program && !module.contains(&"tests".to_owned()) {
            let text = fs::read_to_string(source.join(&path)).unwrap();
            texts.insert(module, code(&text));
        }
    }
    let exports = exports(texts.get(&Vec::new()).map_or("", String::as_str));
    let file_of = |path: &[String]| {
        let lengths = (0..=path.len()).rev();
        let mut prefixes = lengths.map(|length| path[..length].to_vec());
        prefixes.find(|prefix| texts.contains_key(prefix))
    };
    let mut graph = BTreeMap::new();
    for (module, text) in &texts {
        let mut named = BTreeSet::new();
        for import in paths(text, module) {
            let mut file = file_of(&import.path).unwrap_or_default();
            if file.is_empty()
                && let Some(exported) = import.path.first().and_then(|name| exports.get(name))
            {
                file = file_of(exported).unwrap_or_default();
            }
            if file != *module {
                named.insert(file);
            }
        }
        graph.insert(module.clone(), named);
    }
    // The root names its modules to export them.
    graph.remove(&Vec::new());
    graph
}

/// Modules that reach one another (Tarjan, 1972, by two passes of a search: Sharir, 1981).
fn circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            for to in graph.get(&module).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        graph.keys().map(|module| (module, reach(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, all) in &reached {
        if all.contains(*module) {
            let back = |other: &&Module| reached.get(*other).is_some_and(|to| to.contains(*module));
            circles.insert(all.iter().filter(back).cloned().collect::<BTreeSet<_>>());
        }
    }
    circles
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .collect()
}

#[test]
fn circles_of_files_are_small_and_within_one_folder() {
    let mut large = Vec::new();
    for (name, folder, _) in CRATES {
        for circle in circles(&imports(&root().join(folder).join("src"))) {
            // The folder of `a/mod.rs` and `a/b.rs` is `a`, as is that of `a.rs` beside `a/`.
            let shortest = circle.iter().min_by_key(|module| module.len()).unwrap();
            let parent = &shortest[..shortest.len() - 1];
            let in_one = circle.iter().all(|module| module.starts_with(shortest))
                || circle
                    .iter()
                    .all(|module| module[..module.len() - 1] == *parent);
            if circle.len() > CIRCLE || !in_one {
                let files: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
                large.push(format!("{name}: {}", files.join(" ")));
            }
        }
    }
    assert!(large.is_empty(), "circles:\n{}", large.join("\n"));
}

#[test]
fn circles_are_found() {
    let modules = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    let code = code(
        "//! crate::no\nuse crate::{a::b as c, d::{E, f::G}};\nuse super::x;\nlet s = \
        \"crate::no\";\n\
         fn f() { crate::y::z(); }",
    );
    let found: BTreeSet<Module> = paths(&code, &modules("m::n"))
        .into_iter()
        .map(|import| import.path)
        .collect();
    let expected = ["a::b", "d::E", "d::f::G", "m::x", "y::z"].map(modules);
    assert_eq!(found, expected.into_iter().collect());

    let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")];
    let mut graph: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (from, to) in arrows {
        graph.entry(modules(from)).or_default().insert(modules(to));
    }
    let circle: BTreeSet<Module> = ["a", "b", "c"].map(modules).into_iter().collect();
    assert_eq!(circles(&graph), [circle]);
}

#[test]
fn folders_are_not_crowded() {
    let mut crowded = Vec::new();
    for (_, folder, _) in CRATES.iter().chain([&("", "crates/sheaf", &[][..])]) {
        let mut entries: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for path in files(&root().join(folder).join("src")) {
            for path in path.ancestors().filter(|path| path.parent().is_some()) {
                // `a.rs` and `a/` are one.
                let of = entries
                    .entry(path.parent().unwrap().to_owned())
                    .or_default();
                of.insert(path.with_extension(""));
            }
        }
        let too_many = entries.iter().filter(|(_, inside)| inside.len() > CROWD);
        crowded
            .extend(too_many.map(|(path, inside)| {
                format!("{folder}/src/{}: {}", path.display(), inside.len())
            }));
    }
    assert!(
        crowded.is_empty(),
        "crowded folders:\n{}",
        crowded.join("\n")
    );
}

#[test]
fn lines_and_files_have_a_length_that_can_be_read() {
    let mut long = Vec::new();
    for path in files(&root()).into_iter().filter(|path| is_rust(path)) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for (at, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS {
                long.push(format!("{}:{}", path.display(), at + 1));
            }
        }
        if text.lines().count() > LINES {
            long.push(format!(
                "{}: {} lines",
                path.display(),
                text.lines().count()
            ));
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}
