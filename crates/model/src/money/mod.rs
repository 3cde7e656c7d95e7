//! Amounts: exact decimals, currencies, tax rates, shares without a rest.

pub mod currency;
pub mod decimal;
pub(crate) mod share;
pub mod tax;
