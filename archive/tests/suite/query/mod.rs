//! SQL over the archive against a real database and a real S3: known answers, two tenants, bounds.

mod answers;
mod bounds;
mod declared;
mod formats;
mod hostile;
mod isolation;
mod numbers;
mod speed;
pub(crate) mod versions;
