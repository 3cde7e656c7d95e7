//! The environment that `with-cluster` gives to tests.

use std::path::PathBuf;

/// What tests of other crates run against. Each test makes its own tenant in it.
#[derive(Debug, Clone)]
pub struct TestEnv {
    /// URL of the coordinator, or of the only node.
    pub database_url: String,
    /// The same for the API's login, which is not the owner.
    pub api_database_url: String,
    /// URL of the local S3 (path-style addressing).
    pub s3_endpoint: String,
    /// The bucket; tests keep apart by key prefix.
    pub s3_bucket: String,
    /// The region to sign for.
    pub s3_region: String,
    /// S3 access key id.
    pub access_key: String,
    /// S3 secret access key.
    pub secret_key: String,
    /// Whether this is a Citus cluster.
    pub citus: bool,
    /// The throwaway data directory.
    pub data_dir: PathBuf,
}

/// Reads the environment that `with-cluster` exported.
///
/// # Panics
/// When it is missing: the test was not started through `with-cluster`. The message says how to.
#[must_use]
pub fn test_env() -> TestEnv {
    TestEnv {
        database_url: variable("SHEAF_TEST_DATABASE_URL"),
        api_database_url: variable("SHEAF_TEST_API_DATABASE_URL"),
        s3_endpoint: variable("SHEAF_TEST_S3_ENDPOINT"),
        s3_bucket: variable("SHEAF_TEST_S3_BUCKET"),
        s3_region: variable("SHEAF_TEST_S3_REGION"),
        access_key: variable("AWS_ACCESS_KEY_ID"),
        secret_key: variable("AWS_SECRET_ACCESS_KEY"),
        citus: variable("SHEAF_TEST_CITUS") == "1",
        data_dir: PathBuf::from(variable("SHEAF_TEST_DATA_DIR")),
    }
}

// For tests only: a missing environment is the caller's mistake, and must fail the test that needs
// it.
#[allow(clippy::panic)]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: this test needs the local cluster; run `make test`, or \
             `cargo run --release -p sheaf-local --bin with-cluster -- cargo nextest run --release`"
        )
    })
}
