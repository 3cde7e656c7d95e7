//! What is sent: operations and their shares, and what the invoices look like.
// Shares are statistics, not money.
#![allow(clippy::float_arithmetic)]

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use sheaf_model::bounds;

use crate::file::{self, FileError};

/// One kind of request. Its name is that of the enum in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST /v1/invoices`: a new invoice, with an idempotency key of its own.
    Create,
    /// The same as an earlier create, with the same idempotency key, as a client does that lost the
    /// answer. Right is the first answer again: 201.
    Retry,
    /// A create whose `external_id` is taken. Right is 409.
    Duplicate,
    /// `POST /v1/invoices/bulk`: an NDJSON upload of one tenant.
    Bulk,
    /// `POST /v1/invoices/{id}/payments`: pays an invoice of this run in full.
    Pay,
    /// `GET /v1/invoices/{id}` of an invoice of this run.
    GetHot,
    /// `GET /v1/invoices/{id}` of an archived invoice. Needs tenants that have some.
    GetCold,
    /// `GET /v1/invoices`: a tenant's first page, 20 invoices.
    List,
    /// `GET /healthz`: what the generator and the network cost by themselves. Needs no tenants.
    Ping,
}

impl Operation {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Retry,
        Self::Duplicate,
        Self::Bulk,
        Self::Pay,
        Self::GetHot,
        Self::GetCold,
        Self::List,
        Self::Ping,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Retry => "retry",
            Self::Duplicate => "duplicate",
            Self::Bulk => "bulk",
            Self::Pay => "pay",
            Self::GetHot => "get_hot",
            Self::GetCold => "get_cold",
            Self::List => "list",
            Self::Ping => "ping",
        }
    }

    /// Whether this status is the right answer.
    #[must_use]
    pub fn expects(self, status: u16) -> bool {
        match self {
            Self::Duplicate => status == 409,
            _ => (200..300).contains(&status),
        }
    }

    /// The operation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

/// Operations with their weights, and the data they work on. As a file: TOML with these members,
/// all optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Weight of each operation; only their proportions count.
    pub operations: BTreeMap<Operation, f64>,
    /// Mean number of lines of an invoice, from 1. Counts are log-normal.
    pub lines_mean: f64,
    /// Standard deviation of the logarithm of the number of lines after the first.
    pub lines_sigma: f64,
    /// Exponent of Zipf's law for tenants: the n-th has a share of n^-zipf. 0: all are equally
    /// large.
    pub zipf: f64,
    /// Customers of each tenant; 0 leaves the customer out.
    pub customers: u32,
    /// Invoices of one bulk upload, from 1 to 10,000.
    pub bulk_lines: u32,
}

impl Default for Mix {
    fn default() -> Self {
        let operations = [
            (Operation::Create, 55.0),
            (Operation::Retry, 1.0),
            (Operation::Duplicate, 1.0),
            (Operation::Bulk, 0.5),
            (Operation::Pay, 15.0),
            (Operation::GetHot, 22.5),
            (Operation::List, 5.0),
        ];
        Self {
            operations: operations.into(),
            lines_mean: 2.0,
            lines_sigma: 0.8,
            zipf: 1.0,
            customers: 200,
            bulk_lines: 100,
        }
    }
}

/// Why a mix cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MixError {
    /// An entry that is not `operation=weight`.
    #[error(
        "`{0}` is not operation=weight; operations are create, retry, duplicate, bulk, pay, \
        get_hot, get_cold, list, ping"
    )]
    Entry(String),
    /// No weight above 0, or one that is no number from 0.
    #[error("weights are numbers from 0, and at least one is above 0")]
    Weights,
    /// A member out of its range.
    #[error("`{0}` is from {1} to {2}")]
    Range(&'static str, f64, f64),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Mix {
    /// Reads `create=60,get_hot=40`, or the name of a TOML file.
    ///
    /// # Errors
    /// [`MixError`].
    pub fn parse(text: &str) -> Result<Self, MixError> {
        let mix = if text.contains('=') {
            Self {
                operations: weights(text)?,
                ..Self::default()
            }
        } else {
            file::read_toml::<Self>(Path::new(text))?
        };
        mix.check()?;
        Ok(mix)
    }

    /// Every member is in its range.
    ///
    /// # Errors
    /// [`MixError::Weights`] or [`MixError::Range`].
    pub fn check(&self) -> Result<(), MixError> {
        let weights = self.operations.values();
        let sum: f64 = weights.clone().sum();
        if weights
            .clone()
            .any(|weight| weight.is_nan() || *weight < 0.0)
            || !(sum > 0.0 && sum.is_finite())
        {
            return Err(MixError::Weights);
        }
        let most = f64::from(u32::try_from(bounds::MAX_LINES).unwrap_or(u32::MAX));
        let ranges = [
            ("lines_mean", self.lines_mean, 1.0, most),
            ("lines_sigma", self.lines_sigma, 0.0, 3.0),
            ("zipf", self.zipf, 0.0, 10.0),
            ("bulk_lines", f64::from(self.bulk_lines), 1.0, 10_000.0),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(MixError::Range(name, least, most));
            }
        }
        Ok(())
    }

    /// Whether this operation is sent at all.
    #[must_use]
    pub fn has(&self, operation: Operation) -> bool {
        self.operations
            .get(&operation)
            .is_some_and(|weight| *weight > 0.0)
    }

    /// Whether anything is sent that needs a tenant.
    #[must_use]
    pub fn needs_tenants(&self) -> bool {
        Operation::ALL
            .into_iter()
            .any(|operation| operation != Operation::Ping && self.has(operation))
    }

    /// The share of an operation in all requests, from 0 to 1.
    #[must_use]
    pub fn share(&self, operation: Operation) -> f64 {
        let sum: f64 = self.operations.values().sum();
        self.operations.get(&operation).copied().unwrap_or_default() / sum
    }
}

fn weights(text: &str) -> Result<BTreeMap<Operation, f64>, MixError> {
    let entry = |entry: &str| {
        let wrong = || MixError::Entry(entry.trim().to_owned());
        let (name, weight) = entry.split_once('=').ok_or_else(wrong)?;
        let operation = Operation::named(name.trim()).ok_or_else(wrong)?;
        Ok((operation, weight.trim().parse().map_err(|_| wrong())?))
    };
    text.split(',').map(entry).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mix_is_read_from_the_command_line() {
        let mix = Mix::parse("create=30, get_hot=10").unwrap();
        assert!((mix.share(Operation::Create) - 0.75).abs() < 1e-12);
        assert!(mix.has(Operation::GetHot) && !mix.has(Operation::List));
        assert!(mix.needs_tenants());
        assert!(!Mix::parse("ping=1,create=0").unwrap().needs_tenants());
    }

    #[test]
    fn a_mix_is_read_from_a_file_and_what_it_leaves_out_is_the_default() {
        let path = std::env::temp_dir().join(format!("mix-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&path, "zipf = 0.5\n[operations]\nlist = 1\n").unwrap();
        let mix = Mix::parse(path.to_str().unwrap()).unwrap();
        std::fs::write(&path, "zipff = 0.5\n").unwrap();
        let unknown = Mix::parse(path.to_str().unwrap()).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!((mix.zipf - 0.5).abs() < 1e-12 && mix.bulk_lines == 100);
        assert_eq!(mix.operations.len(), 1);
        assert!(unknown.to_string().contains("zipff"), "{unknown}");
    }

    #[test]
    fn what_is_no_mix_is_named() {
        let error = |text| Mix::parse(text).unwrap_err().to_string();
        assert!(error("craete=1").starts_with("`craete=1` is not"));
        assert!(error("create=x").starts_with("`create=x` is not"));
        assert!(error("create=0").starts_with("weights are"));
        assert!(error("create=-1,list=3").starts_with("weights are"));
        assert!(error("create=NaN").starts_with("weights are"));
        assert!(error("no-such-file.toml").starts_with("cannot read no-such-file.toml"));
    }
}
