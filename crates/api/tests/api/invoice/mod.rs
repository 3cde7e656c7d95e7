//! Invoices over HTTP.

pub(crate) mod documents;
pub(crate) mod frozen_profiles;
pub(crate) mod histories;
pub(crate) mod lists;
pub(crate) mod metadata_numbers;
pub(crate) mod money;
pub(crate) mod money_model;
pub(crate) mod number;
pub(crate) mod one;
pub(crate) mod recalls;
pub(crate) mod restore_bounds;
pub(crate) mod tax;
pub(crate) mod validate;
