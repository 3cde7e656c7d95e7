//! What `sheaf doctor` looks at: the settings of `serve` and `migrate`, none of which has to be
//! there.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;
use sheaf_archive::S3Config;

use super::defaults;
use super::jwt::JwtSettings;
use crate::terminal::units;

/// Settings that may be missing.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorSettings {
    /// As for `sheaf serve`: the database, as the tables' owner
    #[arg(
        long,
        env = "SHEAF_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Option<String>,
    /// As for `sheaf serve`: the same database, as the API's login
    #[arg(
        long,
        env = "SHEAF_API_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) api_database_url: Option<String>,
    /// An S3 other than AWS
    #[arg(long, env = "SHEAF_S3_ENDPOINT", value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,
    /// The bucket
    #[arg(long, env = "SHEAF_S3_BUCKET", value_name = "NAME")]
    pub(crate) s3_bucket: Option<String>,
    /// The region
    #[arg(
        long,
        env = "SHEAF_S3_REGION",
        default_value = defaults::S3_REGION,
        value_name = "NAME"
    )]
    pub(crate) s3_region: String,
    /// Address of the API
    #[arg(
        long,
        env = "SHEAF_LISTEN",
        default_value = defaults::LISTEN,
        value_name = "HOST:PORT"
    )]
    pub(crate) listen: String,
    /// Address of GET /metrics; `off` for none
    #[arg(
        long,
        env = "SHEAF_METRICS_LISTEN",
        default_value = crate::serve::METRICS,
        value_name = "HOST:PORT"
    )]
    pub(crate) metrics_listen: String,
    /// The platform's key, as for `sheaf serve`; at least 16 characters
    #[arg(
        long,
        env = "SHEAF_ADMIN_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) admin_key: Option<String>,
    /// Connections of one API process to one database node, at most
    #[arg(
        long,
        env = "SHEAF_MAX_CONNECTIONS_PER_NODE",
        default_value = defaults::CONNECTIONS_PER_NODE,
        value_name = "N"
    )]
    pub(crate) max_connections_per_node: u32,
    /// Where lines of atomic uploads lie until all have come [default: the directory for temporary
    /// files]
    #[arg(long, env = "SHEAF_SPOOL_DIR", value_name = "DIR")]
    pub(crate) spool_dir: Option<PathBuf>,
    /// Bytes of atomic uploads that may lie in the spool directory
    #[arg(long, env = "SHEAF_SPOOL", default_value = defaults::SPOOL, value_name = "BYTES", value_parser = units::bytes)]
    pub(crate) spool: NonZeroU64,
    #[command(flatten)]
    pub(crate) jwt: JwtSettings,
}

impl DoctorSettings {
    /// The cold tier, if it is named.
    pub(crate) fn s3(&self) -> Option<S3Config> {
        let bucket = set(self.s3_bucket.as_deref())?;
        Some(S3Config {
            endpoint: set(self.s3_endpoint.as_deref()).map(str::to_owned),
            bucket: bucket.to_owned(),
            region: self.s3_region.clone(),
            credentials: None,
            keeping: sheaf_archive::Keeping::default(),
        })
    }
}

/// A value that is there and not empty.
pub(crate) fn set(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}
