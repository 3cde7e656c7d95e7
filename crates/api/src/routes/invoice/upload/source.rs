//! The bytes of an upload: read with an idle bound, decompressed, hashed on the way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};
use sheaf_web::body::{Encoding, gzip_error};
use sheaf_web::error::BodyError;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::StreamReader;

use crate::config::BulkConfig;

/// Decompressed bytes at a time: bounds what a tiny compressed frame can grow to.
const READ: usize = 64 << 10;

type Frames = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

enum Inner {
    Plain(BodyDataStream),
    Gzip(Box<GzipDecoder<StreamReader<Frames, Bytes>>>),
}

/// How much a gzip stream may come to.
struct Inflation {
    /// Bytes that came over the wire.
    sent: Arc<AtomicU64>,
    decoded: u64,
    times: u64,
    from: u64,
}

impl Inflation {
    fn add(&mut self, decoded: usize) -> Result<(), BodyError> {
        self.decoded += decoded as u64;
        let most = self.sent.load(Ordering::Relaxed).saturating_mul(self.times);
        if self.decoded > self.from.max(most) {
            return Err(BodyError::Inflated(self.times));
        }
        Ok(())
    }
}

/// The decoded body of an upload.
pub(super) struct Source {
    inner: Inner,
    idle: Duration,
    hasher: Option<Sha256>,
    any: bool,
    inflation: Inflation,
}

impl Source {
    pub(super) fn new(
        body: Body,
        encoding: Encoding,
        config: &BulkConfig,
        hasher: Option<Sha256>,
    ) -> Self {
        let stream = body.into_data_stream();
        let sent = Arc::new(AtomicU64::new(0));
        let inflation = Inflation {
            sent: Arc::clone(&sent),
            decoded: 0,
            times: config.max_compression,
            from: config.compression_from,
        };
        let inner = match encoding {
            Encoding::Identity => Inner::Plain(stream),
            Encoding::Gzip => {
                // The kind tells a broken connection from a broken gzip stream further up.
                let frames = stream
                    .inspect_ok(move |frame| {
                        sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
                    })
                    .map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error));
                let mut decoder = GzipDecoder::new(StreamReader::new(Box::pin(frames) as Frames));
                decoder.multiple_members(true);
                Inner::Gzip(Box::new(decoder))
            }
        };
        Self {
            inner,
            idle: config.idle_timeout,
            hasher,
            any: false,
            inflation,
        }
    }

    /// The next bytes; `None` at the proper end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let read = tokio::time::timeout(self.idle, read(&mut self.inner));
        let bytes = read.await.map_err(|_| BodyError::TimedOut)??;
        match &bytes {
            Some(bytes) => {
                self.any |= !bytes.is_empty();
                if matches!(self.inner, Inner::Gzip(_)) {
                    self.inflation.add(bytes.len())?;
                }
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(bytes);
                }
            }
            None if !self.any => return Err(BodyError::Missing),
            None => {}
        }
        Ok(bytes)
    }

    /// SHA-256 over method, path and all bytes read, if the upload has an idempotency key.
    pub(super) fn fingerprint(&self) -> Option<[u8; 32]> {
        self.hasher.clone().map(|hasher| hasher.finalize().into())
    }
}

async fn read(inner: &mut Inner) -> Result<Option<Bytes>, BodyError> {
    match inner {
        Inner::Plain(stream) => stream
            .next()
            .await
            .transpose()
            .map_err(|_| BodyError::Incomplete),
        Inner::Gzip(decoder) => {
            let mut buffer = BytesMut::with_capacity(READ);
            match decoder.read_buf(&mut buffer).await {
                Ok(0) => Ok(None),
                Ok(_) => Ok(Some(buffer.freeze())),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    Err(BodyError::Incomplete)
                }
                Err(error) => Err(gzip_error(&error)),
            }
        }
    }
}
