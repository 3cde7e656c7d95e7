//! s3s-fs with what it lacks: conditional writes that are atomic, objects that are on the disk
//! before the answer, refused uploads that leave nothing, keys that stay inside the bucket, and
//! counting.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::fs;
use tokio::sync::{Mutex, MutexGuard};

use super::stats::{RequestRecord, S3Stats};

/// s3s-fs keeps an object's attributes in a file whose name is the key in base64; file names end at
/// 255 bytes.
const MAX_KEY_BYTES: usize = 160;
/// Writers of one key wait for one another; so do a few strangers that share its lock.
const LOCKS: usize = 64;

pub(super) struct Store {
    files: FileSystem,
    root: PathBuf,
    locks: Vec<Mutex<()>>,
    stats: Arc<S3Stats>,
}

impl Store {
    pub(super) fn new(root: &Path, stats: Arc<S3Stats>) -> Result<Self, String> {
        // Also removes the temporary files of uploads that a killed process left.
        let files =
            FileSystem::new(root).map_err(|error| format!("{}: {error:?}", root.display()))?;
        let locks = (0..LOCKS).map(|_| Mutex::new(())).collect();
        Ok(Self {
            files,
            root: root.to_path_buf(),
            locks,
            stats,
        })
    }

    async fn lock(&self, bucket: &str, key: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (bucket, key).hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0);
        self.locks[slot].lock().await
    }

    /// The object's file, for keys that mean the same as a path as they mean to S3.
    fn path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        if key.len() > MAX_KEY_BYTES {
            return Err(S3Error::with_message(
                S3ErrorCode::KeyTooLongError,
                format!("the local S3 takes keys up to {MAX_KEY_BYTES} bytes"),
            ));
        }
        if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidArgument,
                "the local S3 takes no empty, `.` or `..` part in a key",
            ));
        }
        Ok(self.root.join(bucket).join(key))
    }

    /// Refuses a key that is only a directory to us: S3 knows no directories.
    async fn existing(&self, bucket: &str, key: &str) -> S3Result<()> {
        let path = self.path(bucket, key)?;
        match fs::metadata(&path).await {
            Ok(meta) if meta.is_dir() => Err(S3Error::new(S3ErrorCode::NoSuchKey)),
            _ => Ok(()),
        }
    }

    async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<(S3Response<PutObjectOutput>, u64)> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let path = self.path(&bucket, &key)?;
        // s3s-fs looks whether the object exists, then writes: only one writer of a key may be
        // between the two.
        let _writing = self.lock(&bucket, &key).await;
        let new_directory = !path.parent().is_some_and(Path::exists);
        match self.files.put_object(request).await {
            Ok(response) => Ok((
                response,
                self.sync(&path, new_directory)
                    .await
                    .map_err(S3Error::internal_error)?,
            )),
            Err(error) => {
                // s3s-fs compares digests after it has put the object in place.
                if *error.code() == S3ErrorCode::BadDigest {
                    fs::remove_file(&path)
                        .await
                        .map_err(S3Error::internal_error)?;
                }
                Err(error)
            }
        }
    }

    /// Flushes an object, its name, and its new directories to the disk; answers its size.
    async fn sync(&self, path: &Path, new_directory: bool) -> std::io::Result<u64> {
        let file = fs::File::open(path).await?;
        file.sync_all().await?;
        let levels = if new_directory { usize::MAX } else { 1 };
        for directory in path
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&self.root))
            .take(levels)
        {
            fs::File::open(directory).await?.sync_all().await?;
        }
        Ok(file.metadata().await?.len())
    }

    /// Runs one operation under the eyes of the statistics. `call` answers the response and the
    /// object bytes moved.
    async fn observe<T>(
        &self,
        what: Seen<'_>,
        call: impl Future<Output = S3Result<(S3Response<T>, u64)>> + Send,
    ) -> S3Result<S3Response<T>> {
        let result = async {
            self.stats.before(what.operation).await?;
            let answer = call.await?;
            self.stats.after(what.operation)?;
            Ok(answer)
        }
        .await;
        let bytes = result.as_ref().map_or(0, |(_, bytes)| *bytes);
        let record = RequestRecord {
            operation: what.operation,
            key: what.key.to_owned(),
            range: what.range,
            bytes,
            ok: result.is_ok(),
        };
        self.stats
            .record(record, matches!(what.operation, "PutObject" | "UploadPart"));
        result.map(|(response, _)| response)
    }
}

/// What the statistics remember of a request.
struct Seen<'a> {
    operation: &'static str,
    key: &'a str,
    range: Option<String>,
}

impl<'a> Seen<'a> {
    fn new(operation: &'static str, key: &'a str) -> Self {
        Self {
            operation,
            key,
            range: None,
        }
    }
}

fn size(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let range = req.input.range.as_ref().map(Range::to_header_string);
        self.observe(
            Seen {
                operation: "GetObject",
                key: &key,
                range,
            },
            async {
                self.existing(&bucket, &key).await?;
                let response = self.files.get_object(req).await?;
                let bytes = size(response.output.content_length);
                Ok((response, bytes))
            },
        )
        .await
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.observe(Seen::new("HeadObject", &key), async {
            self.existing(&bucket, &key).await?;
            Ok((self.files.head_object(req).await?, 0))
        })
        .await
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let key = req.input.key.clone();
        self.observe(Seen::new("PutObject", &key), self.put(req))
            .await
    }

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.observe(Seen::new("CopyObject", &key), async {
            self.path(&bucket, &key)?;
            let _writing = self.lock(&bucket, &key).await;
            Ok((self.files.copy_object(req).await?, 0))
        })
        .await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.observe(Seen::new("DeleteObject", &key), async {
            self.path(&bucket, &key)?;
            let _writing = self.lock(&bucket, &key).await;
            Ok((self.files.delete_object(req).await?, 0))
        })
        .await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.observe(Seen::new("DeleteObjects", ""), async {
            for object in &req.input.delete.objects {
                self.path(&req.input.bucket, &object.key)?;
            }
            Ok((self.files.delete_objects(req).await?, 0))
        })
        .await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let prefix = req.input.prefix.clone().unwrap_or_default();
        self.observe(Seen::new("ListObjectsV2", &prefix), async {
            Ok((self.files.list_objects_v2(req).await?, 0))
        })
        .await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let prefix = req.input.prefix.clone().unwrap_or_default();
        self.observe(Seen::new("ListObjects", &prefix), async {
            Ok((self.files.list_objects(req).await?, 0))
        })
        .await
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.observe(Seen::new("CreateBucket", ""), async {
            Ok((self.files.create_bucket(req).await?, 0))
        })
        .await
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.observe(Seen::new("HeadBucket", ""), async {
            Ok((self.files.head_bucket(req).await?, 0))
        })
        .await
    }

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.observe(Seen::new("ListBuckets", ""), async {
            Ok((self.files.list_buckets(req).await?, 0))
        })
        .await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.observe(Seen::new("GetBucketLocation", ""), async {
            Ok((self.files.get_bucket_location(req).await?, 0))
        })
        .await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.observe(Seen::new("CreateMultipartUpload", &key), async {
            self.path(&bucket, &key)?;
            Ok((self.files.create_multipart_upload(req).await?, 0))
        })
        .await
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let (key, bytes) = (req.input.key.clone(), size(req.input.content_length));
        self.observe(Seen::new("UploadPart", &key), async {
            Ok((self.files.upload_part(req).await?, bytes))
        })
        .await
    }

    async fn list_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let key = req.input.key.clone();
        self.observe(Seen::new("ListParts", &key), async {
            Ok((self.files.list_parts(req).await?, 0))
        })
        .await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.observe(Seen::new("CompleteMultipartUpload", &key), async {
            let path = self.path(&bucket, &key)?;
            let _writing = self.lock(&bucket, &key).await;
            let response = self.files.complete_multipart_upload(req).await?;
            self.sync(&path, true)
                .await
                .map_err(S3Error::internal_error)?;
            Ok((response, 0))
        })
        .await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let key = req.input.key.clone();
        self.observe(Seen::new("AbortMultipartUpload", &key), async {
            Ok((self.files.abort_multipart_upload(req).await?, 0))
        })
        .await
    }
}
