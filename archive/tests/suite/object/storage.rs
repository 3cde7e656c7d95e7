//! What every storage must do, asked of the S3 implementation.

use std::sync::Arc;
use std::time::Duration;

use crate::support::cluster::{s3, s3_config};
use sha2::{Digest, Sha256};
use sheaf_archive::object::probe;
use sheaf_archive::object::probe::{Ability, Verdict};
use sheaf_archive::object::s3::S3Storage;
use sheaf_archive::object::storage::{ColdStorage, MAX_URL_AGE, StorageError};
use sheaf_archive::{Policy, Resilient, S3Config};
use uuid::Uuid;

fn file(content: &[u8]) -> (tempfile::TempPath, [u8; 32]) {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, content).unwrap();
    (path, Sha256::digest(content).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_once_and_read_in_ranges() {
    let s3 = s3().await;
    s3.check_bucket().await.unwrap();
    let prefix = format!("storage-test/{}/", Uuid::new_v4());
    let key = format!("{prefix}a.bin");
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let (path, sha256) = file(&content);
    s3.put_if_absent(&key, &path, sha256).await.unwrap();
    let (other, other_sha) = file(b"other");
    let again = s3.put_if_absent(&key, &other, other_sha).await;
    assert!(
        matches!(again, Err(StorageError::AlreadyExists { .. })),
        "{again:?}"
    );

    assert_eq!(s3.get_range(&key, 4..12).await.unwrap(), content[4..12]);
    let end = content.len() as u64;
    assert_eq!(
        s3.get_range(&key, end - 3..end).await.unwrap(),
        content[content.len() - 3..]
    );
    assert!(s3.get_range(&key, end - 3..end + 3).await.is_err());
    assert!(matches!(
        s3.get_range(&key, 5..5).await,
        Err(StorageError::Other { .. })
    ));
    let copy = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let fetched = s3.get_to_file(&key, &copy).await.unwrap();
    assert_eq!((fetched.bytes, fetched.sha256), (end, sha256));
    assert_eq!(std::fs::read(&copy).unwrap(), content);
    let info = s3.head(&key).await.unwrap();
    assert_eq!(info.bytes, end);
    assert!(info.last_modified.is_some());

    s3.delete(&key).await.unwrap();
    s3.delete(&key).await.unwrap();
    for missing in [
        s3.head(&key).await.err(),
        s3.get_range(&key, 0..1).await.err(),
        s3.get_to_file(&key, &copy).await.err(),
    ] {
        assert!(
            matches!(missing, Some(StorageError::NotFound { .. })),
            "{missing:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_is_refused() {
    let s3 = s3().await;
    let key = format!("storage-test/{}/bad.bin", Uuid::new_v4());
    let (path, _) = file(b"content");
    assert!(s3.put_if_absent(&key, &path, [7; 32]).await.is_err());
    assert!(matches!(
        s3.head(&key).await,
        Err(StorageError::NotFound { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_finds_everything_good_and_leaves_nothing_behind() {
    let tried = probe::probe(&s3_config(), Duration::from_secs(30)).await;
    let good = |one: &probe::Tried| matches!(one.verdict, Verdict::Good(_));
    assert!(tried.len() == 8 && tried.iter().all(good), "{tried:?}");
    let left = s3().await.list(probe::PREFIX, None).await.unwrap();
    assert!(left.objects.is_empty(), "{left:?}");
    let nowhere = S3Config {
        bucket: "nowhere".to_owned(),
        ..s3_config()
    };
    let tried = probe::probe(&nowhere, Duration::from_secs(30)).await;
    let broken = matches!(
        tried.as_slice(),
        [probe::Tried { ability: Ability::Bucket,
            verdict: Verdict::Broken(seen) }] if seen == "bucket nowhere: it does not exist"
    );
    assert!(broken, "{tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_in_a_sentence() {
    let refused = S3Config {
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        ..s3_config()
    };
    let refused = S3Storage::connect(&refused).await.check_bucket().await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("the storage cannot be reached: "),
        "{refused}"
    );
    let missing = S3Config {
        bucket: "nowhere".to_owned(),
        ..s3_config()
    };
    let missing = S3Storage::connect(&missing).await.list("v1/", None).await;
    let missing = missing.unwrap_err().to_string();
    assert!(missing.contains("the bucket does not exist"), "{missing}");
    for said in [refused, missing] {
        assert!(
            !said.contains("Error {") && !said.contains("SdkBody"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_come_in_pages_below_a_prefix() {
    let s3 = s3().await;
    let prefix = format!("storage-test/{}/", Uuid::new_v4());
    let (path, sha256) = file(b"x");
    for n in 0..3 {
        s3.put_if_absent(&format!("{prefix}dir{n}/x"), &path, sha256)
            .await
            .unwrap();
    }
    let page = s3.list(&prefix, None).await.unwrap();
    let keys: Vec<&str> = page.objects.iter().map(|o| o.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            format!("{prefix}dir0/x"),
            format!("{prefix}dir1/x"),
            format!("{prefix}dir2/x")
        ]
    );
    assert!(
        page.objects
            .iter()
            .all(|o| o.bytes == 1 && o.last_modified.is_some())
    );
    assert_eq!(page.next, None);
    assert!(
        s3.list(&format!("{prefix}none/"), None)
            .await
            .unwrap()
            .objects
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_opens_its_object_for_its_time() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let s3 = s3().await;
    let key = format!("storage-test/{}/a=b c/signed.bin", Uuid::new_v4());
    let (path, sha256) = file(b"content");
    s3.put_if_absent(&key, &path, sha256).await.unwrap();
    let url = s3
        .presign(&key, Duration::from_secs(1))
        .await
        .unwrap()
        .unwrap();
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "content");
    // Through the decorator that production uses as well.
    let resilient = Resilient::new(Arc::new(s3.clone()), Policy::default());
    assert!(
        resilient
            .presign(&key, Duration::from_secs(9))
            .await
            .unwrap()
            .is_some()
    );
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // 403 says AWS, 400 says Garage.
    let expired = reqwest::get(&url).await.unwrap().status();
    assert!(expired.is_client_error(), "{expired}");
    for refused in [Duration::ZERO, MAX_URL_AGE + Duration::from_secs(1)] {
        let answer = s3.presign(&key, refused).await;
        assert!(
            matches!(answer, Err(StorageError::Other { .. })),
            "{answer:?}"
        );
    }
}
