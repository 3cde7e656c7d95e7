//! Links of the documentation: each relative link and each anchor leads somewhere, and the book has
//! every page of `docs/`. Here because this crate's tests are the cheapest to build; addresses on
//! other hosts are not asked.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Folders that hold no page of ours.
const NOT_OURS: [&str; 3] = ["target", "node_modules", "__pycache__"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Markdown files of the repository, as paths from its top. What begins with a point is not
/// looked at.
fn pages() -> Vec<PathBuf> {
    let (mut pages, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if name.starts_with('.') || NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The lines of a page with their numbers, without blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then_some((index + 1, line))
    })
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of the links and pictures of a line, `[text](target)`.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    let ends = line.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

/// The text of a heading without the targets of its links.
fn heading(text: &str) -> String {
    let mut parts = text.split("](");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str(part.split_once(')').map_or(part, |(_, after)| after));
    }
    shown
}

/// The anchors of a page: its headings as forges and mdBook name them.
fn anchors(text: &str) -> HashSet<String> {
    let (mut anchors, mut times) = (HashSet::new(), HashMap::<String, usize>::new());
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let slug: String = heading(title.trim())
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let before = times.entry(slug.clone()).or_default();
        anchors.insert(if *before == 0 {
            slug
        } else {
            format!("{slug}-{before}")
        });
        *before += 1;
    }
    anchors
}

/// `docs/decisions/../export.md` is `docs/export.md`; none where it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    Some(normal)
}

/// What is wrong with a link of this page.
fn fault(page: &Path, target: &str) -> Option<String> {
    if target.starts_with("https://") || target.starts_with("http://") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        page.to_owned()
    } else {
        match normal(&page.parent()?.join(path)) {
            Some(file) => file,
            None => return Some("leaves the repository".to_owned()),
        }
    };
    if !root().join(&file).exists() {
        return Some(format!("there is no {}", file.display()));
    }
    if page.starts_with("docs") && !file.starts_with("docs") {
        return Some(
            "leaves docs/, which is all that the book has: name the file as code".to_owned(),
        );
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(root().join(&file)).unwrap();
    (!anchors(&text).contains(anchor))
        .then(|| format!("{} has no heading for #{anchor}", file.display()))
}

fn faults(page: &Path, text: &str) -> Vec<String> {
    let links = prose(text)
        .flat_map(|(line, text)| targets(text).into_iter().map(move |target| (line, target)));
    links
        .filter_map(|(line, target)| {
            let fault = fault(page, &target)?;
            Some(format!("{}:{line}: ({target}) {fault}", page.display()))
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.iter().any(|page| page == Path::new("README.md")));
    assert!(pages.iter().any(|page| page.starts_with("docs/decisions")));
    let faults: Vec<String> = pages
        .iter()
        .flat_map(|page| faults(page, &fs::read_to_string(root().join(page)).unwrap()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_book_has_every_page_of_docs_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = prose(&summary)
        .flat_map(|(_, line)| targets(line))
        .map(|target| normal(&Path::new("docs").join(target)).unwrap())
        .collect();
    let written: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|page| page.starts_with("docs") && page != Path::new("docs/SUMMARY.md"))
        .collect();
    let missing: Vec<_> = written
        .iter()
        .filter(|page| !listed.contains(page))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/SUMMARY.md does not list {missing:?}"
    );
    let once: HashSet<_> = listed.iter().collect();
    assert_eq!(
        once.len(),
        listed.len(),
        "docs/SUMMARY.md lists a page twice"
    );
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Path::new("docs/roles.md");
    let wrong = [
        "[a](nowhere.md)",
        "text [a](identity.md#api-keys) and [b](identity.md#api-key)",
        "[a](#no-such-heading)",
        "[a](../README.md)",
        "[a](../../outside.md)",
    ];
    for line in wrong {
        assert_eq!(faults(page, line).len(), 1, "{line}");
    }
    let right =
        "[a](identity.md#api-keys), `[b](nowhere.md)`, [c](#roles)\n```\n[d](nowhere.md)\n```\n";
    assert_eq!(faults(page, right), Vec::<String>::new());
    assert!(
        anchors("# A b\n## A b\n### `x` [of](y.md): z").is_superset(&HashSet::from([
            "a-b".to_owned(),
            "a-b-1".to_owned(),
            "x-of-z".to_owned()
        ]))
    );
}
