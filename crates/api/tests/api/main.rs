//! The API over real HTTP, on a real PostgreSQL and S3. One module a noun; each test makes its own tenant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod api_keys;
mod archive;
mod archive_export;
mod archive_query;
mod bad_input;
mod bulk;
mod bulk_atomic;
mod bulk_broken;
mod bulk_platform;
mod customers;
mod customers_merge;
mod customers_named;
mod denials;
mod documents;
mod feed;
mod idempotency;
mod invoices;
mod jwt;
mod key_rotation;
mod lists;
mod metadata_numbers;
mod money;
mod money_model;
mod numbers;
mod openapi;
mod operations;
mod privacy;
mod rate_limit;
mod recalls;
mod reports;
mod reports_money;
mod support;
mod tenants;
mod tokens;
mod walk;
