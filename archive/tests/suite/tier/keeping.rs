//! Storage classes, Object Lock and restores, asked of a server that only tells what it was sent:
//! no S3 that can be run here has them.

use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use sheaf_archive::object::s3::S3Storage;
use sheaf_archive::object::storage::{ColdStorage, StorageError};
use sheaf_archive::{Keeping, ObjectLock, Policy, Resilient, S3Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Heads of requests, in lower case.
type Seen = Arc<Mutex<Vec<String>>>;

const SLOW_CLASS: &str = "HTTP/1.1 403 Forbidden\r\ncontent-type: \
    application/xml\r\ncontent-length: 129\r\n\r\n\
    <Error><Code>InvalidObjectState</Code><Message>in \
    GLACIER</Message><StorageClass>GLACIER</StorageClass>                  </Error>";

const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

/// Answers every GET as S3 answers for an object in a slow storage class, every HEAD as if there
/// were none (and forgets it), and everything else with `other`.
async fn server(other: &'static str) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let told = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, told.clone(), other));
        }
    });
    (url, seen)
}

async fn answer(mut stream: TcpStream, seen: Seen, other: &'static str) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let Some(end) = end else {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |n| n.trim().parse().unwrap());
        while bytes.len() < end + 4 + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        bytes.drain(..end + 4 + length);
        let text = match head.split(' ').next() {
            Some("get") => SLOW_CLASS,
            Some("head") => MISSING,
            _ => other,
        };
        if text != MISSING {
            seen.lock().unwrap().push(head);
        }
        stream.write_all(text.as_bytes()).await?;
    }
}

async fn storage(url: String, keeping: Keeping) -> S3Storage {
    let config = S3Config {
        endpoint: Some(url),
        bucket: "bucket".into(),
        region: "us-east-1".into(),
        credentials: None,
        keeping,
    };
    S3Storage::connect(&config.with_key("key", "secret")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn new_objects_get_their_class_and_lock() {
    let (url, seen) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, b"content").unwrap();
    let sha256 = Sha256::digest(b"content").into();
    let keeping = Keeping {
        storage_class: Some("STANDARD_IA".into()),
        lock: Some(ObjectLock {
            compliance: true,
            days: 90,
        }),
        restore_days: None,
    };
    let kept = storage(url.clone(), keeping).await;
    kept.put_if_absent("kept", &path, sha256).await.unwrap();
    let plain = storage(url, Keeping::default()).await;
    plain.put_if_absent("plain", &path, sha256).await.unwrap();
    let seen = seen.lock().unwrap();
    let header = |head: &str, name: &str| {
        let line = head.lines().find(|line| line.starts_with(name))?;
        Some(line[name.len() + 2..].trim().to_uppercase())
    };
    assert_eq!(
        header(&seen[0], "x-amz-storage-class").unwrap(),
        "STANDARD_IA"
    );
    assert_eq!(
        header(&seen[0], "x-amz-object-lock-mode").unwrap(),
        "COMPLIANCE"
    );
    let until = header(&seen[0], "x-amz-object-lock-retain-until-date").unwrap();
    let until: chrono::DateTime<chrono::Utc> = until.parse().unwrap();
    let days = (until - chrono::Utc::now()).num_hours();
    assert!((90 * 24 - 1..=90 * 24).contains(&days), "{until}");
    assert!(seen[1].starts_with("put ") && !seen[1].contains("x-amz-object-lock"));
    assert!(!seen[1].contains("x-amz-storage-class"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_slow_class_is_asked_for_once_a_read_and_not_retried() {
    for other in [
        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
        // Somebody has asked before.
        "HTTP/1.1 409 Conflict\r\ncontent-type: application/xml\r\ncontent-length: 52\r\n\r\n\
         <Error><Code>RestoreAlreadyInProgress</Code></Error>",
    ] {
        let (url, seen) = server(other).await;
        let keeping = Keeping {
            restore_days: Some(3),
            ..Keeping::default()
        };
        let inner = Arc::new(storage(url, keeping).await);
        let storage = Resilient::new(inner, Policy::default());
        let error = storage.get_range("cold", 0..10).await.unwrap_err();
        assert!(
            matches!(&error, StorageError::Restoring { key } if key == "cold"),
            "{error:?}"
        );
        let seen = seen.lock().unwrap();
        let starts: Vec<&str> = seen
            .iter()
            .map(|head| head.lines().next().unwrap())
            .collect();
        assert_eq!(starts.len(), 2, "{starts:?}");
        assert!(
            starts[1].starts_with("post /bucket/cold?restore"),
            "{starts:?}"
        );
    }
    // Who may not restore is told so.
    let (url, _) = server(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: 40\r\n\r\n\
         <Error><Code>AccessDenied</Code></Error>",
    )
    .await;
    let storage = storage(url, Keeping::default()).await;
    let error = storage.get_range("cold", 0..10).await.unwrap_err();
    assert!(matches!(error, StorageError::Other { .. }), "{error:?}");
}
