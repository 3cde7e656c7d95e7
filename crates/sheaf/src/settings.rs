//! Settings that commands share, from flags or the environment.

pub(crate) mod config;

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sheaf_api::ApiConfig;
use sheaf_archive::{Archive, Keeping, ObjectLock, S3Config};
use sheaf_model::TenantId;
use sheaf_store::{ClusterConfig, Route, Store, StoreConfig};
use sheaf_web::RateLimit;

use crate::error::{Error, Result};
use crate::serve::Tiering;
use crate::terminal::units;

pub(crate) mod defaults;
mod doctor;
mod jwt;
mod shares;

pub(crate) use doctor::{DoctorSettings, set};
use jwt::JwtSettings;
use shares::ShareSettings;

/// An admin key opens every tenant: shorter ones can be guessed.
pub(crate) const MIN_ADMIN_KEY: usize = 16;
const TWO_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
const THIRTY_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// The database.
#[derive(Clone, Debug, Args)]
pub(crate) struct DatabaseSettings {
    /// postgres://user:password@host:port/database of the coordinator, or of the one plain node;
    /// several hosts: a:5432,b:5432. ?sslmode=disable, prefer (default), require, verify-ca or
    /// verify-full, with sslrootcert=FILE: of workers as well
    #[arg(
        long,
        env = "SHEAF_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: String,
}

/// Where the cold tier is. Credentials come from the standard AWS chain, the environment first.
#[derive(Clone, Debug, Args)]
pub(crate) struct S3Settings {
    /// An S3 other than AWS
    #[arg(long, env = "SHEAF_S3_ENDPOINT", value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,
    /// The bucket
    #[arg(long, env = "SHEAF_S3_BUCKET", value_name = "NAME")]
    pub(crate) s3_bucket: String,
    /// The region
    #[arg(
        long,
        env = "SHEAF_S3_REGION",
        default_value = defaults::S3_REGION,
        value_name = "NAME"
    )]
    pub(crate) s3_region: String,
    /// Storage class of archived objects, STANDARD_IA or GLACIER_IR for example [default: the
    /// bucket's]
    #[arg(long, env = "SHEAF_S3_STORAGE_CLASS", value_name = "CLASS")]
    pub(crate) s3_storage_class: Option<String>,
    /// S3 Object Lock of archived objects from their upload on: governance:90d, compliance:3650d
    /// [default: the bucket's]
    #[arg(long, env = "SHEAF_S3_OBJECT_LOCK", value_name = "MODE:AGE",
        value_parser = units::object_lock)]
    pub(crate) s3_object_lock: Option<ObjectLock>,
    /// Days for which an object that is restored from a slow storage class can be read
    #[arg(long, env = "SHEAF_S3_RESTORE_DAYS", value_name = "DAYS", default_value_t = 7,
        value_parser = clap::value_parser!(i32).range(1..=365))]
    pub(crate) s3_restore_days: i32,
}

impl S3Settings {
    pub(crate) fn config(&self) -> S3Config {
        S3Config {
            endpoint: self.s3_endpoint.clone(),
            bucket: self.s3_bucket.clone(),
            region: self.s3_region.clone(),
            credentials: None,
            keeping: Keeping {
                storage_class: self.s3_storage_class.clone(),
                lock: self.s3_object_lock,
                restore_days: Some(self.s3_restore_days),
            },
        }
    }
}

/// What the commands on the cold tier work on: both tiers, directly.
#[derive(Clone, Debug, Args)]
pub(crate) struct ColdSettings {
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    #[command(flatten)]
    pub(crate) s3: S3Settings,
}

impl ColdSettings {
    /// Connects to both tiers, for work on all tenants or one, which must exist: a mistaken id has
    /// nothing to do anywhere, and would be taken for success.
    pub(crate) async fn connect_for(&self, tenant: Option<TenantId>) -> Result<(Store, Archive)> {
        let store = Store::connect(StoreConfig::new(&self.database.database_url)).await?;
        if let Some(id) = tenant
            && store.get_tenant(id).await?.is_none()
        {
            store.close().await;
            return Err(Error::new(format!("there is no tenant {id}")));
        }
        let archive = Archive::connect(store.clone(), self.s3.config()).await?;
        Ok((store, archive))
    }
}

/// How clients reach the API.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApiSettings {
    /// The API
    #[arg(
        long,
        env = "SHEAF_URL",
        default_value = defaults::URL,
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// The platform's key, which makes tenants and uploads for all of them: the SHEAF_ADMIN_KEY of
    /// `sheaf serve`
    #[arg(
        long,
        env = "SHEAF_ADMIN_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) admin_key: Option<String>,
    /// The API key of the tenant whose invoices are meant
    #[arg(
        long,
        env = "SHEAF_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) api_key: Option<String>,
}

impl ApiSettings {
    /// The admin key, or a sentence that says where it comes from.
    pub(crate) fn admin_key(&self) -> Result<&str> {
        required(self.admin_key.as_deref(), "SHEAF_ADMIN_KEY")
    }

    /// The tenant's API key, or a sentence that says where it comes from.
    pub(crate) fn api_key(&self) -> Result<&str> {
        required(self.api_key.as_deref(), "SHEAF_API_KEY")
    }
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        Error::new(format!(
            "{name} is not set: source the env file in the data directory of `sheaf up`, or export \
            it"
        ))
    })
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// All settings of `sheaf serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeSettings {
    /// postgres://user:password@host:port/database of the coordinator, or of the one plain node, as
    /// the tables' owner; several hosts: a:5432,b:5432. ?sslmode=disable, prefer (default),
    /// require, verify-ca or verify-full, with sslrootcert=FILE: of workers as well. Only tiering
    /// needs it where there is --api-database-url
    #[arg(
        long,
        env = "SHEAF_DATABASE_URL",
        hide_env_values = true,
        required_unless_present = "api_database_url",
        value_name = "URL"
    )]
    pub(crate) database_url: Option<String>,
    /// The same, as a login that is a member of the role sheaf_api: it cannot change events
    /// [default: the owner's]
    #[arg(
        long,
        env = "SHEAF_API_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) api_database_url: Option<String>,
    #[command(flatten)]
    pub(crate) s3: S3Settings,
    /// Address to listen on
    #[arg(
        long,
        env = "SHEAF_LISTEN",
        default_value = defaults::LISTEN,
        value_name = "HOST:PORT"
    )]
    pub(crate) listen: String,
    /// Address for GET /metrics, which takes no credential; `off` for none [default:
    /// 127.0.0.1:9464, or a free port where that one is taken]
    #[arg(long, env = "SHEAF_METRICS_LISTEN", value_name = "HOST:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// The platform's key, for the routes that make tenants and concern all of them; at least 16
    /// characters
    #[arg(
        long,
        env = "SHEAF_ADMIN_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) admin_key: String,
    /// Run tiering so often inside this process: 1h, 1d [default: never]
    #[arg(long, env = "SHEAF_TIER_INTERVAL", value_name = "INTERVAL",
        value_parser = units::interval)]
    pub(crate) tier_interval: Option<Duration>,
    /// Whole months before this horizon move: 12m, 1y
    #[arg(long, env = "SHEAF_TIER_OLDER_THAN", default_value = defaults::OLDER_THAN,
        value_name = "AGE", value_parser = units::months)]
    pub(crate) tier_older_than: u32,
    /// Connections to one database node, at most; over all processes fewer than the node's
    /// max_connections
    #[arg(long, env = "SHEAF_MAX_CONNECTIONS_PER_NODE",
        default_value = defaults::CONNECTIONS_PER_NODE, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(4..=1000))]
    pub(crate) max_connections_per_node: usize,
    /// The way of a tenant's statements: straight to its owner, or through the coordinator
    #[arg(long, env = "SHEAF_ROUTE", value_enum, default_value_t)]
    pub(crate) route: RouteSetting,
    /// Creates that may wait for one node, a quarter of them of one tenant; one more is answered
    /// with 503
    #[arg(long, env = "SHEAF_WRITE_QUEUE", default_value_t = 16_384, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) write_queue: usize,
    /// HTTP connections that are open at once
    #[arg(long, env = "SHEAF_MAX_CONNECTIONS", default_value_t = 4096, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub(crate) max_connections: usize,
    #[command(flatten)]
    pub(crate) jwt: JwtSettings,
    /// Requests a second of one tenant to this process; 0 for no limit. More are answered with 429
    #[arg(long, env = "SHEAF_RATE_LIMIT", default_value_t = 0, value_name = "N")]
    pub(crate) rate_limit: u32,
    /// Requests that a tenant may send at once [default: those of two seconds]
    #[arg(long, env = "SHEAF_RATE_LIMIT_BURST", value_name = "N")]
    pub(crate) rate_limit_burst: Option<NonZeroU32>,
    /// Wrong credentials a second of one client address, and thirty times as many at once; 0 for no
    /// limit. More are answered with 429
    #[arg(long, env = "SHEAF_GUESS_LIMIT", default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) guess_limit: u32,
    /// Proxies in front of this process that append to X-Forwarded-For; 0: a client's address is
    /// its connection's
    #[arg(long, env = "SHEAF_PROXIES", default_value_t = 0, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=16))]
    pub(crate) proxies: usize,
    #[command(flatten)]
    pub(crate) shares: ShareSettings,
    /// Log filter, such as info, or warn,sheaf_web=debug
    #[arg(long, env = "SHEAF_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// Log format
    #[arg(long, env = "SHEAF_LOG_FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

impl ServeSettings {
    /// The hot tier, as the API works on it.
    pub(crate) fn store_config(&self) -> StoreConfig {
        let url = self
            .api_database_url
            .as_ref()
            .or(self.database_url.as_ref());
        self.store_config_of(url.map_or("", String::as_str))
    }

    /// Tiering in this process; it works as the owner, since it takes events out.
    pub(crate) fn tiering(&self) -> Result<Option<Tiering>> {
        let Some(interval) = self.tier_interval else {
            return Ok(None);
        };
        let store = match (&self.database_url, &self.api_database_url) {
            (_, None) => None,
            (Some(owner), Some(_)) => Some(self.store_config_of(owner)),
            (None, Some(_)) => {
                return Err(Error::new(
                    "SHEAF_DATABASE_URL is not set: tiering works as the tables' owner",
                ));
            }
        };
        Ok(Some(Tiering {
            interval,
            months: self.tier_older_than,
            store,
        }))
    }

    fn store_config_of(&self, url: &str) -> StoreConfig {
        StoreConfig {
            cluster: ClusterConfig {
                max_connections_per_node: self.max_connections_per_node,
                route: match self.route {
                    RouteSetting::Owner => Route::Owner,
                    RouteSetting::Coordinator => Route::Coordinator,
                },
                ..ClusterConfig::new(url)
            },
            write_queue: self.write_queue,
            ..StoreConfig::new(url)
        }
    }

    pub(crate) fn api_config(&self) -> Result<ApiConfig> {
        // Not by the parser of arguments, which would show it.
        if self.admin_key.len() < MIN_ADMIN_KEY {
            return Err(Error::new(format!(
                "SHEAF_ADMIN_KEY needs at least {MIN_ADMIN_KEY} characters"
            )));
        }
        let rate_limit = NonZeroU32::new(self.rate_limit).map(|per_second| RateLimit {
            per_second,
            burst: self
                .rate_limit_burst
                .unwrap_or(per_second.saturating_mul(TWO_SECONDS)),
        });
        let guess_limit = NonZeroU32::new(self.guess_limit).map(|per_second| RateLimit {
            per_second,
            burst: per_second.saturating_mul(THIRTY_SECONDS),
        });
        let mut config = ApiConfig::new(self.admin_key.as_str());
        config.web.max_connections = self.max_connections;
        config.web.jwt = self.jwt.config()?;
        config.web.rate_limit = rate_limit;
        config.web.guess_limit = guess_limit;
        config.web.proxies = self.proxies;
        self.shares.apply(&mut config);
        if let Some(dir) = &config.bulk.spool_dir
            && !dir.is_dir()
        {
            let dir = dir.display();
            return Err(Error::new(format!(
                "SHEAF_SPOOL_DIR: {dir} is not a directory"
            )));
        }
        Ok(config)
    }
}

/// `SHEAF_ROUTE`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum RouteSetting {
    #[default]
    Owner,
    /// For comparison, and where this process cannot reach the workers
    Coordinator,
}
