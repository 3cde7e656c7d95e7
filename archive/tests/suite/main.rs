//! The archive against a real database and a real S3. One program: each one more would build the
//! query engine's code again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compaction;
mod erasure;
mod erasures;
mod export;
mod faults;
mod fixtures;
mod histories;
mod holds;
mod keeping;
mod lists;
mod query;
mod resilience;
mod roundtrip;
mod storage;
mod support;
mod tiering;
mod unseen;
mod years;
