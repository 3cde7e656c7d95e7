//! Capacity planning: from what operations were measured to cost, and from prices, to machines and
//! money over the years.
//!
//! Every figure carries its bounds, the formula it comes from, and whether it was measured. Amounts
//! are estimates of a bill, with bounds; nobody is charged by them.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

pub mod command;
pub mod measure;

pub mod costs;
pub(crate) mod linear;
pub mod plan;
pub mod prices;
pub mod regress;
pub mod scaling;
pub mod target;
pub mod text;

use std::ops::{Add, Mul};

use serde::Serialize;

/// What a figure rests on; a computed one on the weakest of what went into it. In order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The user said so: target and prices.
    Given,
    /// Follows from how Sheaf works, such as one object a part.
    Design,
    /// Measured, within the range in which it is used.
    Measured,
    /// Taken without evidence.
    Assumed,
    /// Measured, but used far beyond the range that was.
    Extrapolated,
}

impl Basis {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Design => "design",
            Self::Measured => "measured",
            Self::Assumed => "ASSUMED",
            Self::Extrapolated => "EXTRAPOLATED",
        }
    }
}

/// A number that is not below 0, between bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The best guess.
    pub value: f64,
    /// 95% bounds as far as they come from measurements; sums and products take both ends, which is
    /// wide.
    pub low: f64,
    /// The upper one.
    pub high: f64,
    /// What it rests on.
    pub basis: Basis,
}

impl Estimate {
    /// Without bounds.
    #[must_use]
    pub fn exact(value: f64, basis: Basis) -> Self {
        Self {
            value,
            low: value,
            high: value,
            basis,
        }
    }

    /// What the user said.
    #[must_use]
    pub fn given(value: f64) -> Self {
        Self::exact(value, Basis::Given)
    }

    /// The same numbers on a basis no better than this.
    #[must_use]
    pub fn at_best(self, basis: Basis) -> Self {
        Self {
            basis: self.basis.max(basis),
            ..self
        }
    }

    /// Each of the three numbers through a function that does not fall.
    #[must_use]
    pub fn map(self, rising: impl Fn(f64) -> f64) -> Self {
        Self {
            value: rising(self.value),
            low: rising(self.low),
            high: rising(self.high),
            basis: self.basis,
        }
    }

    /// The larger of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            value: self.value.max(other.value),
            low: self.low.max(other.low),
            high: self.high.max(other.high),
            basis: self.basis.max(other.basis),
        }
    }
}

impl Add for Estimate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            low: self.low + other.low,
            high: self.high + other.high,
            basis: self.basis.max(other.basis),
        }
    }
}

impl Mul for Estimate {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            low: self.low * other.low,
            high: self.high * other.high,
            basis: self.basis.max(other.basis),
        }
    }
}

impl Mul<f64> for Estimate {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        self.map(|value| value * factor)
    }
}
