//! A number is one document's, in the year of its id and in its year of issue; a series has no
//! gaps.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Notes;
use crate::check::stored::{Document, Stored};

/// Prefixes of numbers that the clients bring along; all others come from a series.
const BROUGHT: &str = "N-";

/// The year that an id's time is in (RFC 9562, UUIDv7: milliseconds since 1970 in the first 48
/// bits).
fn year_of_id(id: Uuid) -> Option<i32> {
    use chrono::Datelike as _;
    let millis = i64::try_from(id.as_u128() >> 80).ok()?;
    chrono::DateTime::from_timestamp_millis(millis).map(|time| time.year())
}

fn years(document: &Document) -> BTreeSet<i32> {
    let issued = document.body["issue_date"].as_str();
    let issued = issued
        .and_then(|day| day.get(..4))
        .and_then(|year| year.parse().ok());
    [year_of_id(document.seen.id), issued]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn judge(stored: &Stored, notes: &mut Notes) {
    let mut holders: BTreeMap<(&str, i32), Vec<Uuid>> = BTreeMap::new();
    let mut series: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut running: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, document) in &stored.documents {
        let Some(number) = document.body["number"].as_str() else {
            continue;
        };
        for year in years(document) {
            holders.entry((number, year)).or_default().push(*id);
        }
        if number.starts_with(BROUGHT) {
            continue;
        }
        *running.entry(number).or_default() += 1;
        let digits = number.len() - number.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (prefix, count) = number.split_at(number.len() - digits);
        if let Ok(count) = count.parse() {
            series.entry(prefix.to_owned()).or_default().insert(count);
        }
    }
    for ((number, year), ids) in holders.iter().filter(|(_, ids)| ids.len() > 1) {
        notes.add("number_twice", format!("{number} of {year} is on {ids:?}"));
    }
    for (number, times) in running.iter().filter(|(_, times)| **times > 1) {
        notes.add(
            "number_twice",
            format!("the series gave {number} {times} times"),
        );
    }
    for (prefix, counts) in &series {
        let last = counts.last().copied().unwrap_or_default();
        let missing: Vec<u64> = (1..last).filter(|n| !counts.contains(n)).take(5).collect();
        if !missing.is_empty() {
            notes.add(
                "number_gap",
                format!("{prefix} goes to {last}, but lacks {missing:?}"),
            );
        }
    }
}
