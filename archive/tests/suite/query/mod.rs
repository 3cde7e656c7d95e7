//! SQL over the archive against a real database and a real S3: known answers, two tenants, bounds.

mod answers;
mod bounds;
mod isolation;
mod speed;
mod versions;
