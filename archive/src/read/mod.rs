//! Reads of archived invoices, and of both tiers as one.

pub mod both_tiers;
pub mod list;
pub mod point;
pub mod taken_keys;
