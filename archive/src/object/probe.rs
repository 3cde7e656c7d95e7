//! Whether an S3 does what the archive relies on: for `sheaf doctor`. Everything is tried on
//! objects under a prefix of their own, which are deleted again, whatever came of it.

use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use uuid::Uuid;

use crate::object::s3::{S3Config, S3Storage, classify};
use crate::object::storage::{ColdStorage, StorageError};

/// Where the probe's objects are while it runs. Nothing of the archive lies there.
pub const PREFIX: &str = "sheaf-doctor/";
const BODY: &[u8] = b"sheaf doctor looks whether this storage does what the archive needs\n";
/// The part of it that is read.
const PART: std::ops::Range<u64> = 6..12;

/// What is tried, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// The bucket is there, and the credentials open it.
    Bucket,
    /// Its clock and ours are close enough for signatures.
    Clock,
    /// PUT with a SHA-256.
    Put,
    /// A PUT with `If-None-Match: *` of a key that is taken is refused.
    PutIfAbsent,
    /// A PUT whose SHA-256 is wrong is refused.
    Checksum,
    /// GET of a range.
    RangedGet,
    /// ListObjectsV2.
    List,
    /// DELETE.
    Delete,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should; with what was seen.
    Good(String),
    /// The archive gets along without.
    Weak(String),
    /// The archive cannot work.
    Broken(String),
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What.
    pub ability: Ability,
    /// How it went.
    pub verdict: Verdict,
}

/// Tries everything; each request ends after `patience`. Where the bucket cannot be opened, nothing
/// else is tried.
pub async fn probe(config: &S3Config, patience: Duration) -> Vec<Tried> {
    let storage = S3Storage::connect(config).await;
    let probe = Probe {
        name: format!("{PREFIX}{}", Uuid::new_v4()),
        storage,
        patience,
    };
    probe.run().await
}

struct Probe {
    storage: S3Storage,
    /// Begins the keys of this run.
    name: String,
    patience: Duration,
}

/// An object's version where the bucket keeps them: a DELETE without it would leave the object
/// behind.
type Version = Option<String>;

impl Probe {
    async fn run(&self) -> Vec<Tried> {
        let mut tried = Vec::new();
        let mut note = |ability, verdict| tried.push(Tried { ability, verdict });
        let opened = self.within(self.storage.check_bucket()).await;
        if let Err(error) = opened {
            note(Ability::Bucket, Verdict::Broken(error.to_string()));
            return tried;
        }
        let found = format!("the bucket {} is there", self.storage.bucket);
        note(Ability::Bucket, Verdict::Good(found));
        if let Some(skew) = self.skew().await {
            note(Ability::Clock, clock(skew));
        }
        let mut versions = Vec::new();
        let put = self.put("probe", &sum(BODY), &mut versions).await;
        let is_there = put.is_ok();
        note(Ability::Put, said(put.map(|()| "written".to_owned())));
        if is_there {
            let again = self.put("probe", &sum(BODY), &mut versions).await;
            note(Ability::PutIfAbsent, put_again(again));
            let wrong = sum(b"something else");
            let mistaken = self.put("mistaken", &wrong, &mut versions).await;
            note(Ability::Checksum, mistaken_sum(mistaken));
            note(Ability::RangedGet, self.ranged_get().await);
            note(Ability::List, self.list().await);
        }
        note(Ability::Delete, self.delete(versions).await);
        tried
    }

    fn key(&self, object: &str) -> String {
        format!("{}-{object}", self.name)
    }

    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        timeout(self.patience, asked)
            .await
            .unwrap_or_else(|_| Err(self.silent()))
    }

    fn silent(&self) -> StorageError {
        StorageError::Unavailable {
            key: format!("bucket {}", self.storage.bucket),
            detail: format!("no answer in {} s", self.patience.as_secs()),
        }
    }

    /// By how much the storage's clock is ahead of ours, to the second. The answer to a HEAD of
    /// what is not there has its time; other answers do not show theirs.
    async fn skew(&self) -> Option<TimeDelta> {
        let (client, bucket) = (&self.storage.client, &self.storage.bucket);
        let request = client.head_object().bucket(bucket).key(self.key("nothing"));
        let asked = Utc::now();
        let error = timeout(self.patience, request.send()).await.ok()?.err()?;
        let date = error.raw_response()?.headers().get("date")?;
        let theirs = DateTime::parse_from_rfc2822(date).ok()?;
        let middle = asked + (Utc::now() - asked) / 2;
        Some(theirs.with_timezone(&Utc) - middle)
    }

    async fn put(
        &self,
        object: &str,
        sha256: &str,
        versions: &mut Vec<(String, Version)>,
    ) -> Result<(), StorageError> {
        let key = self.key(object);
        let request = self
            .storage
            .client
            .put_object()
            .bucket(&self.storage.bucket)
            .key(&key)
            .if_none_match("*")
            .checksum_sha256(sha256)
            .body(ByteStream::from_static(BODY));
        let asked = Box::pin(async { request.send().await.map_err(|e| classify(&key, e)) });
        match self.within(asked).await {
            Ok(answer) => {
                versions.push((key, answer.version_id().map(str::to_owned)));
                Ok(())
            }
            // It may have been written all the same.
            Err(error @ StorageError::Unavailable { .. }) => {
                versions.push((key, None));
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn ranged_get(&self) -> Verdict {
        let key = self.key("probe");
        let wanted = &BODY[6..12];
        match self.within(self.storage.get_range(&key, PART)).await {
            Ok(bytes) if bytes == wanted => Verdict::Good(format!("{} bytes", wanted.len())),
            Ok(_) => Verdict::Broken("other bytes than were written".to_owned()),
            Err(error) => Verdict::Broken(error.to_string()),
        }
    }

    async fn list(&self) -> Verdict {
        let key = self.key("probe");
        match self.within(self.storage.list(&self.name, None)).await {
            Ok(page) if page.objects.iter().any(|object| object.key == key) => {
                Verdict::Good("what was written is in the listing".to_owned())
            }
            Ok(_) => Verdict::Broken("what was just written is not in the listing".to_owned()),
            Err(error) => Verdict::Broken(error.to_string()),
        }
    }

    /// Deletes all that was written, and looks whether it is gone. Where versions may not be
    /// deleted, which protects an archive, it deletes as the archive does: an old version stays,
    /// for the bucket's lifecycle.
    async fn delete(&self, versions: Vec<(String, Version)>) -> Verdict {
        let (mut last, mut failed, mut is_kept) = (None, None, false);
        for (key, version) in versions {
            let mut deleted = self.delete_one(&key, version.clone()).await;
            if deleted.is_err() && version.is_some() {
                deleted = self.delete_one(&key, None).await;
                is_kept |= deleted.is_ok();
            }
            if let Err(error) = deleted {
                let left = format!("{error}; an object of this probe may be left at {key}");
                failed.get_or_insert(left);
            }
            last = Some(key);
        }
        if let Some(left) = failed {
            return Verdict::Broken(left);
        }
        let Some(key) = last else {
            return Verdict::Good("there was nothing to delete".to_owned());
        };
        match self.within(self.storage.head(&key)).await {
            Err(StorageError::NotFound { .. }) if is_kept => Verdict::Good(
                "the probe's objects are deleted; their versions, which these credentials may not \
                delete, stay"
                    .to_owned(),
            ),
            Err(StorageError::NotFound { .. }) => {
                Verdict::Good("the probe's objects are gone again".to_owned())
            }
            Ok(_) => Verdict::Broken(format!("{key} is still there after its DELETE")),
            Err(error) => Verdict::Broken(error.to_string()),
        }
    }

    /// Deletes an object, or one version of it. What is not there is gone.
    async fn delete_one(&self, key: &str, version: Version) -> Result<(), StorageError> {
        let (client, bucket) = (&self.storage.client, &self.storage.bucket);
        let request = client.delete_object().bucket(bucket).key(key);
        let request = request.set_version_id(version);
        let asked = async { request.send().await.map_err(|e| classify(key, e)) };
        match Box::pin(self.within(asked)).await {
            Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn sum(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(bytes))
}

fn said(outcome: Result<String, StorageError>) -> Verdict {
    match outcome {
        Ok(seen) => Verdict::Good(seen),
        Err(error) => Verdict::Broken(error.to_string()),
    }
}

fn put_again(outcome: Result<(), StorageError>) -> Verdict {
    match outcome {
        Err(StorageError::AlreadyExists { .. }) => {
            Verdict::Good("a second PUT of the same key is refused".to_owned())
        }
        Ok(()) => Verdict::Weak(
            "a second PUT with If-None-Match: * replaced the object, which it must not".to_owned(),
        ),
        Err(error) => Verdict::Weak(format!("a second PUT failed in another way: {error}")),
    }
}

fn mistaken_sum(outcome: Result<(), StorageError>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Weak("a PUT with a wrong SHA-256 was accepted".to_owned()),
        Err(StorageError::Other { .. }) => {
            Verdict::Good("a PUT with a wrong SHA-256 is refused".to_owned())
        }
        Err(error) => Verdict::Weak(format!("a PUT with a wrong SHA-256 failed: {error}")),
    }
}

/// Seconds are all that the header has, and a signature is good for 15 minutes.
fn clock(skew: TimeDelta) -> Verdict {
    let seconds = skew.num_seconds();
    match seconds.unsigned_abs() {
        0..5 => Verdict::Good("its clock and this machine's agree".to_owned()),
        5..600 => Verdict::Weak(format!("its clock is {seconds:+} s from this machine's")),
        _ => Verdict::Broken(format!(
            "its clock is {seconds:+} s from this machine's: signatures are refused from 15 \
            minutes on"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_minutes_apart_are_told() {
        let of = |seconds| clock(TimeDelta::seconds(seconds));
        assert!(matches!(of(-4), Verdict::Good(_)));
        assert!(matches!(of(90), Verdict::Weak(seen) if seen.contains("+90 s")));
        assert!(matches!(of(-3_600), Verdict::Broken(seen) if seen.contains("-3600 s")));
    }
}
