//! Whether everything that was sent is there, once, and in the tier where it belongs.

use hyper::StatusCode;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::month::Month;
use super::pages::{get, walk};
use super::timeline::Entry;
use super::upload::Writer;
use super::{Settings, SimulateError};
use crate::load::generate::minor;
use crate::load::http::{AnyBody, Connection};

/// Figures of a probe that count invoices, when it prints them.
const PROBED: [&str; 2] = ["hot_invoices", "archived_invoices"];

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was counted.
    pub what: String,
    /// How many there should be.
    pub expected: u64,
    /// How many there are.
    pub found: u64,
}

impl Finding {
    /// Whether it is as it should be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.expected == self.found
    }
}

/// All comparisons.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Check {
    /// In the order in which they are reported.
    pub findings: Vec<Finding>,
    /// The first invoice that is not as it should be, and why.
    pub first_wrong: Option<String>,
}

impl Check {
    /// Whether nothing is lost, doubled or changed.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.iter().all(Finding::holds)
    }

    fn find(&mut self, what: impl Into<String>, expected: u64, found: u64) {
        self.findings.push(Finding {
            what: what.into(),
            expected,
            found,
        });
    }

    fn wrong(&mut self, why: String) {
        self.first_wrong.get_or_insert(why);
    }
}

/// One bit for each invoice.
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u64) -> Self {
        let words = usize::try_from(count / 64).unwrap_or(usize::MAX) + 1;
        Self(vec![0; words])
    }

    fn place(number: u64) -> (usize, u64) {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        (word, 1 << (number % 64))
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether it was not set before.
    fn set(&mut self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        let is_new = !self.has(number);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
        is_new
    }
}

/// Walks through the hot tier, adds up the archive's catalog, and reads a random part of
/// everything.
pub(super) async fn check(
    settings: &Settings,
    writer: &mut Writer<'_>,
    months: &[Month],
) -> Result<Check, SimulateError> {
    let mut check = Check::default();
    let sent = writer.timeline.outline().invoices;
    let last = months.last();
    let archived = last.map_or(0, |month| month.archived);
    let tiers = months.iter().any(|month| month.tier.is_some());
    let due = match tiers {
        true => months.iter().map(|month| month.tiering_due).sum(),
        false => 0,
    };
    check.find(
        "archived by tiering, of what was old and settled",
        due,
        archived,
    );
    let mut connection = Connection::open(&settings.server).await?;
    let (hot, right) = hot(&mut connection, writer, due, &mut check).await?;
    let in_files = catalog(&mut connection, writer).await?;
    check.find("hot and archived, of all sent", sent, hot + in_files);
    check.find("hot: walked through", sent - due.min(sent), hot);
    check.find(
        "hot: known, listed once, total and status right",
        hot,
        right,
    );
    check.find(
        "archived: in published files of the catalog",
        archived,
        in_files,
    );
    let probed = PROBED.map(|name| last.and_then(|month| month.figures.get(name)));
    if let [Some(hot), Some(cold)] = probed {
        // Counts that a probe printed, as floats.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::float_arithmetic
        )]
        let counted = (hot + cold) as u64;
        check.find("hot and archived, as the probe counts", sent, counted);
    }
    let wanted = u64::from(settings.sample).min(sent);
    let right = sample(&mut connection, settings, writer, wanted, &mut check).await?;
    check.find(
        "a random part of all, read back with total and status right",
        wanted,
        right,
    );
    Ok(check)
}

/// How many hot invoices the API lists, and how many of them are as they should be. `archived` of
/// all are not hot.
async fn hot(
    connection: &mut Connection<AnyBody>,
    writer: &mut Writer<'_>,
    archived: u64,
    check: &mut Check,
) -> Result<(u64, u64), SimulateError> {
    let mut seen = Bits::new(writer.timeline.outline().invoices);
    let (mut listed, mut right) = (0, 0);
    let last = writer.timeline.months() - 1;
    for tenant in writer.tenants {
        let path = "/v1/invoices?tier=hot&";
        let each = |invoice: &Value| {
            listed += 1;
            let text = |name: &str| invoice.get(name).and_then(Value::as_str);
            let id = text("id").and_then(|id| Uuid::parse_str(id).ok());
            let Some(entry) = id.and_then(|id| writer.timeline.find(id)) else {
                return check.wrong(format!("hot, but never sent: {id:?}"));
            };
            let is_cold = archived > 0 && writer.timeline.archived_after(&entry) <= last;
            let problem = match mistake(writer, &entry, invoice) {
                None if !seen.set(entry.number) => Some("it is listed twice".to_owned()),
                None if is_cold => Some("it should be archived".to_owned()),
                None if writer.tenant(&entry).id != tenant.id => {
                    Some("another tenant's".to_owned())
                }
                found => found,
            };
            match problem {
                None => right += 1,
                Some(why) => check.wrong(format!("hot {}: {why}", entry.id)),
            }
        };
        walk(connection, path, &tenant.api_key, each).await?;
    }
    Ok((listed, right))
}

/// Invoices in published files.
async fn catalog(
    connection: &mut Connection<AnyBody>,
    writer: &Writer<'_>,
) -> Result<u64, SimulateError> {
    let mut invoices = 0;
    for tenant in writer.tenants {
        let each = |file: &Value| {
            let count = file.get("invoices").and_then(Value::as_u64);
            invoices += count.unwrap_or_default();
        };
        walk(connection, "/v1/archive/files?", &tenant.api_key, each).await?;
    }
    Ok(invoices)
}

/// How many of `count` invoices, drawn at random from all, are as they should be.
async fn sample(
    connection: &mut Connection<AnyBody>,
    settings: &Settings,
    writer: &mut Writer<'_>,
    count: u64,
    check: &mut Check,
) -> Result<u64, SimulateError> {
    let outline = writer.timeline.outline();
    let mut rng = ChaCha8Rng::seed_from_u64(outline.seed);
    let (invoices, mut right) = (outline.invoices, 0);
    for _ in 0..count {
        let entry = writer.timeline.entry(rng.random_range(0..invoices));
        if !connection.is_open() {
            *connection = Connection::open(&settings.server).await?;
        }
        let path = format!("/v1/invoices/{}", entry.id);
        let api_key = &writer.tenant(&entry).api_key;
        let (status, invoice) = get(connection, &path, api_key).await?;
        let problem = match status {
            StatusCode::OK => mistake(writer, &entry, &invoice),
            status => Some(format!("GET answered {status}")),
        };
        match problem {
            None => right += 1,
            Some(why) => check.wrong(format!("read {}: {why}", entry.id)),
        }
    }
    Ok(right)
}

/// In what an answer differs from what was sent.
fn mistake(writer: &mut Writer<'_>, entry: &Entry, invoice: &Value) -> Option<String> {
    let text = |name: &str| {
        invoice
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let is_paid = entry.paid_at_once || entry.paid_month < writer.timeline.months();
    let status = if is_paid { "paid" } else { "issued" };
    let wanted = [
        ("id", entry.id.to_string()),
        ("total", minor(writer.total(entry))),
        ("status", status.to_owned()),
        ("issue_date", entry.issued.to_string()),
    ];
    let other = wanted.into_iter().find(|(name, value)| text(name) != value);
    other.map(|(name, value)| format!("{name} is `{}`, not `{value}`", text(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_new_once() {
        let mut bits = Bits::new(130);
        for number in [0, 63, 64, 129] {
            assert!(!bits.has(number));
            assert!(bits.set(number) && !bits.set(number));
            assert!(bits.has(number));
        }
        assert!(!bits.has(1));
    }

    #[test]
    fn one_that_is_missing_is_told() {
        let mut check = Check::default();
        check.find("a", 3, 3);
        assert!(check.holds());
        check.find("b", 3, 2);
        assert!(!check.holds());
    }
}
