//! [`ColdStorage`] over any S3 endpoint.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ObjectLockMode, RestoreRequest};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder as HttpClientBuilder, tls};
use base64::Engine;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::object::storage::{
    ColdStorage, Fetched, MAX_RANGE, MAX_URL_AGE, ObjectInfo, ObjectPage, StorageError,
};

pub(crate) mod failure;

pub(crate) use failure::classify;
use failure::sentence;

/// Where the cold tier is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// `http://host:port` of an S3 other than AWS; its buckets are addressed in the path.
    pub endpoint: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Region.
    pub region: String,
    /// A key of its own; without one the standard chain is asked (environment first).
    pub credentials: Option<Credentials>,
    /// How objects are kept.
    pub keeping: Keeping,
}

/// How objects are kept, where the bucket's own settings do not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Storage class of new objects, `STANDARD_IA` for example; the bucket's own without one.
    pub storage_class: Option<String>,
    /// S3 Object Lock of new objects; the bucket must have it switched on.
    pub lock: Option<ObjectLock>,
    /// Days for which a copy that is restored from a slow storage class stays readable.
    pub restore_days: Option<i32>,
}

/// S3 Object Lock: until then nobody can delete or replace the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Whether even the account's root is bound; else those with a special permission are not.
    pub compliance: bool,
    /// From the upload on.
    pub days: u32,
}

/// Days for which a restored copy stays readable, unless settings say otherwise.
const RESTORE_DAYS: i32 = 7;

impl S3Config {
    /// Uses this key instead of what the standard chain finds.
    #[must_use]
    pub fn with_key(mut self, access_key: &str, secret_key: &str) -> Self {
        self.credentials = Some(Credentials::new(
            access_key, secret_key, None, None, "sheaf",
        ));
        self
    }
}

/// A bucket. Nothing is tried twice here: [`crate::object::retry::Resilient`] does.
#[derive(Debug, Clone)]
pub struct S3Storage {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    keeping: Keeping,
}

impl S3Storage {
    /// Prepares a client; no request is made.
    pub async fn connect(config: &S3Config) -> Self {
        let http = HttpClientBuilder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(30))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(credentials) = &config.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        let shared = loader
            .http_client(http)
            .region(Region::new(config.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .load()
            .await;
        // Checksums beyond the SHA-256 that we send ourselves are an AWS extension which other S3s
        // trip over.
        let mut builder = aws_sdk_s3::config::Builder::from(&shared)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.endpoint_url(endpoint).force_path_style(true);
        }
        Self {
            client: Client::from_conf(builder.build()),
            bucket: config.bucket.clone(),
            keeping: config.keeping.clone(),
        }
    }

    /// Asks whether the bucket is there and may be used.
    ///
    /// # Errors
    /// What the storage answers.
    pub async fn check_bucket(&self) -> Result<(), StorageError> {
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        let what = format!("bucket {}", self.bucket);
        // The answer to a HEAD has no body that would say why.
        answer
            .map(drop)
            .map_err(|error| match classify(&what, error) {
                StorageError::NotFound { key } => StorageError::Other {
                    key,
                    detail: "it does not exist".to_owned(),
                },
                other => other,
            })
    }

    /// What is to be done about a failed read: an object of a slow storage class is asked for, and
    /// can be read later.
    async fn restoring(&self, error: StorageError) -> StorageError {
        let StorageError::Restoring { key } = &error else {
            return error;
        };
        let days = self.keeping.restore_days.unwrap_or(RESTORE_DAYS);
        let asked = self
            .client
            .restore_object()
            .bucket(&self.bucket)
            .key(key)
            .restore_request(RestoreRequest::builder().days(days).build())
            .send()
            .await;
        // 409: somebody has asked before.
        match asked.map_err(|e| classify(key, e)) {
            Ok(_) | Err(StorageError::Unavailable { .. }) => error,
            Err(refused) => refused,
        }
    }

    async fn get_range_once(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .range(header);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.restoring(classify(key, error)).await),
        };
        let wanted = range.end - range.start;
        // Checked before the body is read: a server that ignores the range must not fill the
        // memory.
        let length = answer.content_length().and_then(|n| u64::try_from(n).ok());
        if length.is_some_and(|n| n != wanted) {
            let detail = format!(
                "asked for {wanted} bytes, was offered {}",
                length.unwrap_or(0)
            );
            return Err(lie(key, detail));
        }
        // Another range of the same length, from a cache in between for instance.
        let from = format!("bytes {}-{}/", range.start, range.end.saturating_sub(1));
        if let Some(offered) = answer.content_range()
            && !offered.starts_with(&from)
        {
            let detail = format!("asked for {from}, was offered {offered}");
            return Err(lie(key, detail));
        }
        let body = answer
            .body
            .collect()
            .await
            .map_err(|e| broken_off(key, &e))?
            .into_bytes();
        if body.len() as u64 != wanted {
            return Err(broken_off(
                key,
                &format!("{} of {wanted} bytes", body.len()),
            ));
        }
        Ok(body)
    }

    async fn get_to_file_once(&self, key: &str, path: &Path) -> Result<Fetched, StorageError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.restoring(classify(key, error)).await),
        };
        let wanted = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let mut body = answer.body;
        let mut file = tokio::fs::File::create(path)
            .await
            .map_err(|e| local(key, &e))?;
        let mut hash = Sha256::new();
        let mut bytes = 0_u64;
        while let Some(chunk) = body.try_next().await.map_err(|e| broken_off(key, &e))? {
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(|e| local(key, &e))?;
        }
        file.flush().await.map_err(|e| local(key, &e))?;
        if wanted.is_some_and(|wanted| wanted != bytes) {
            return Err(broken_off(
                key,
                &format!("{bytes} of {} bytes", wanted.unwrap_or(0)),
            ));
        }
        Ok(Fetched {
            bytes,
            sha256: hash.finalize().into(),
        })
    }
}

impl ColdStorage for S3Storage {
    fn put_if_absent<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
        sha256: [u8; 32],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        async move {
            // Some S3s do not know If-None-Match and replace the object (Garage). Asking first
            // leaves them a race of two uploads of one key, which one runner at a time and a key of
            // its own for each attempt rule out.
            if self.head(key).await.is_ok() {
                return Err(StorageError::AlreadyExists {
                    key: key.to_owned(),
                });
            }
            let body = ByteStream::from_path(path)
                .await
                .map_err(|e| local(key, &e))?;
            let lock = self.keeping.lock.map(locked);
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .if_none_match("*")
                .checksum_sha256(base64::engine::general_purpose::STANDARD.encode(sha256))
                .content_type("application/vnd.apache.parquet")
                .set_storage_class(self.keeping.storage_class.as_deref().map(Into::into))
                .set_object_lock_mode(lock.as_ref().map(|lock| lock.0.clone()))
                .set_object_lock_retain_until_date(lock.map(|lock| lock.1))
                .body(body)
                .send()
                .await
                .map(drop)
                .map_err(|e| classify(key, e))
        }
        .boxed()
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, StorageError>> {
        async move {
            if range.end <= range.start || range.end - range.start > MAX_RANGE {
                let detail = format!("a range of {}..{} bytes is refused", range.start, range.end);
                return Err(StorageError::Other {
                    key: key.to_owned(),
                    detail,
                });
            }
            self.get_range_once(key, range).await
        }
        .boxed()
    }

    fn get_to_file<'a>(
        &'a self,
        key: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, StorageError>> {
        async move { self.get_to_file_once(key, path).await }.boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectInfo, StorageError>> {
        async move {
            let request = self.client.head_object().bucket(&self.bucket).key(key);
            let answer = request.send().await.map_err(|e| classify(key, e))?;
            Ok(ObjectInfo {
                key: key.to_owned(),
                bytes: answer
                    .content_length()
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or(0),
                last_modified: answer.last_modified().and_then(to_chrono),
            })
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        async move {
            let answer = self
                .client
                .delete_object()
                .bucket(&self.bucket)
                .key(key)
                .send()
                .await;
            match answer.map_err(|e| classify(key, e)) {
                Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ObjectPage, StorageError>> {
        async move {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix)
                .max_keys(1_000)
                .set_continuation_token(from.map(str::to_owned));
            let answer = request.send().await.map_err(|e| classify(prefix, e))?;
            let objects = answer
                .contents()
                .iter()
                .filter_map(|object| {
                    Some(ObjectInfo {
                        key: object.key()?.to_owned(),
                        bytes: object
                            .size()
                            .and_then(|n| u64::try_from(n).ok())
                            .unwrap_or(0),
                        last_modified: object.last_modified().and_then(to_chrono),
                    })
                })
                .collect();
            let truncated = answer.is_truncated().unwrap_or(false);
            let next = answer
                .next_continuation_token()
                .filter(|_| truncated)
                .map(str::to_owned);
            Ok(ObjectPage { objects, next })
        }
        .boxed()
    }

    fn presign<'a>(
        &'a self,
        key: &'a str,
        expires: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, StorageError>> {
        async move {
            let refused = |detail: String| StorageError::Other {
                key: key.to_owned(),
                detail,
            };
            if expires.is_zero() || expires > MAX_URL_AGE {
                let seconds = expires.as_secs();
                return Err(refused(format!("a URL of {seconds} seconds is refused")));
            }
            let config = PresigningConfig::expires_in(expires);
            let config = config.map_err(|e| refused(e.to_string()))?;
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let signed = request.presigned(config).await;
            let signed = signed.map_err(|e| refused(sentence(&e)))?;
            Ok(Some(signed.uri().to_owned()))
        }
        .boxed()
    }
}

/// The mode of a lock that begins now, and its end.
fn locked(lock: ObjectLock) -> (ObjectLockMode, aws_sdk_s3::primitives::DateTime) {
    let mode = if lock.compliance {
        ObjectLockMode::Compliance
    } else {
        ObjectLockMode::Governance
    };
    let until = Utc::now() + TimeDelta::days(i64::from(lock.days));
    let until = aws_sdk_s3::primitives::DateTime::from_secs(until.timestamp());
    (mode, until)
}

fn to_chrono(time: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

fn broken_off(key: &str, error: &dyn std::fmt::Display) -> StorageError {
    StorageError::Unavailable {
        key: key.to_owned(),
        detail: format!("the body broke off: {error}"),
    }
}

/// An answer that is not to the question; the next one may be.
fn lie(key: &str, detail: String) -> StorageError {
    StorageError::Unavailable {
        key: key.to_owned(),
        detail,
    }
}

fn local(key: &str, error: &dyn std::fmt::Display) -> StorageError {
    StorageError::Other {
        key: key.to_owned(),
        detail: format!("local file: {error}"),
    }
}
