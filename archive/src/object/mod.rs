//! Object storage: the trait, S3, retries, keys, caches. Nothing here knows Parquet rows.

pub mod cache;
pub mod key;
pub mod probe;
pub mod purpose;
pub mod retry;
pub mod s3;
pub mod storage;
