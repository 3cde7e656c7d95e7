//! The price file: what the user pays for machines, disks and objects. TOML, since people write it,
//! with comments.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file::{self, FileError};

/// Classes of objects at most.
pub const MAX_CLASSES: usize = 20;

/// Prices without tax, in one currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Its name, such as USD.
    pub currency: String,
    /// Machines of the database and the API.
    pub node: Node,
    /// Disks of the hot tier.
    pub disk: Disk,
    /// The archive. The first class takes new objects; the next ones those of their age.
    pub objects: Vec<Class>,
    /// A GB sent to clients outside.
    #[serde(default)]
    pub egress_gb: f64,
}

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// For an hour.
    pub hour: f64,
    /// Its virtual CPUs.
    pub vcpu: f64,
    /// What one of them does, compared with a CPU of the machine that was measured.
    #[serde(default = "one")]
    pub vcpu_speed: f64,
    /// GB of disk that it takes at most.
    pub disk_gb: f64,
}

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// For a GB and month.
    pub gb_month: f64,
}

/// A class of objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Objects move here this many months after they were written.
    #[serde(default)]
    pub from_month: f64,
    /// For a GB and month.
    pub gb_month: f64,
    /// For 1,000 PUTs, or moves into this class.
    pub put_1000: f64,
    /// For 1,000 GETs.
    pub get_1000: f64,
    /// For a GB read, where that costs.
    #[serde(default)]
    pub retrieval_gb: f64,
}

fn one() -> f64 {
    1.0
}

/// Why there are no prices.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A number that cannot be.
    #[error("prices are numbers from 0; vcpu, vcpu_speed and disk_gb are above 0")]
    Value,
    /// Classes that do not follow one another.
    #[error(
        "there are from 1 to {MAX_CLASSES} classes of objects; the first is from month 0, each \
        next one from a later month"
    )]
    Classes,
}

impl Prices {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PricesError`].
    pub fn load(path: &Path) -> Result<Self, PricesError> {
        let prices: Self = file::read_toml(path)?;
        prices.check()?;
        Ok(prices)
    }

    /// Every number is possible.
    ///
    /// # Errors
    /// [`PricesError::Value`] or [`PricesError::Classes`].
    pub fn check(&self) -> Result<(), PricesError> {
        let Node {
            hour,
            vcpu,
            vcpu_speed,
            disk_gb,
        } = self.node;
        let of_class = |class: &Class| {
            [
                class.from_month,
                class.gb_month,
                class.put_1000,
                class.get_1000,
                class.retrieval_gb,
            ]
        };
        let classes = self.objects.iter().flat_map(of_class);
        let from_0 = |price: f64| price >= 0.0 && price.is_finite();
        let above_0 = |number: f64| number > 0.0 && number.is_finite();
        if ![hour, self.disk.gb_month, self.egress_gb]
            .into_iter()
            .chain(classes)
            .all(from_0)
            || ![vcpu, vcpu_speed, disk_gb].into_iter().all(above_0)
        {
            return Err(PricesError::Value);
        }
        let first = self
            .objects
            .first()
            .is_some_and(|class| class.from_month <= 0.0);
        let later = |pair: &[Class]| pair[0].from_month < pair[1].from_month;
        if !first || self.objects.len() > MAX_CLASSES || !self.objects.windows(2).all(later) {
            return Err(PricesError::Classes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FILE: &str = "currency = 'USD'\nnode = { hour = 0.4, vcpu = 8, disk_gb = 2000 }\ndisk = \
        { gb_month = 0.08 }\n\
        [[objects]]\nname = 'standard'\ngb_month = 0.023\nput_1000 = 0.005\nget_1000 = 0.0004\n";

    #[test]
    fn a_file_is_read_and_nonsense_is_refused() {
        let prices: Prices = toml::from_str(FILE).unwrap();
        prices.check().unwrap();
        assert!((prices.node.vcpu_speed - 1.0).abs() < 1e-12);
        let mut two = prices.clone();
        two.objects.push(two.objects[0].clone());
        assert!(matches!(two.check(), Err(PricesError::Classes)));
        let mut free = prices.clone();
        free.node.vcpu = 0.0;
        assert!(matches!(free.check(), Err(PricesError::Value)));
        let unknown = toml::from_str::<Prices>(&format!("{FILE}\ncolour = 1\n"));
        assert!(unknown.unwrap_err().to_string().contains("colour"));
    }
}
