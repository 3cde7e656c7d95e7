//! The API over real HTTP, on a real PostgreSQL and S3. One module a noun; each test makes its own
//! tenant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod archive;
mod auth;
mod customer;
mod event;
mod http;
mod invoice;
mod report;
mod tenant;
mod upload;

mod openapi;
mod support;
