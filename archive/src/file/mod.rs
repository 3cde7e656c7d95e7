//! One Parquet file: schema, writing, reading, checksums. Nothing here knows where files are
//! stored.

pub(crate) mod checksum;
pub(crate) mod columns;
pub(crate) mod footer;
pub mod metadata_columns;
pub(crate) mod row_group;
pub mod rows;
pub mod schema;
pub mod totals;
pub mod writer;
