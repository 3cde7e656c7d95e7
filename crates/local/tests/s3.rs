//! The local S3 through the SDK that the product uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use sheaf_local::{LocalError, S3Server};

async fn start(root: &Path) -> (S3Server, Client) {
    let server = S3Server::start(root.into(), 0, "key", "secret", "bucket")
        .await
        .unwrap();
    let client = client(&server, "secret");
    (server, client)
}

fn client(server: &S3Server, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new(
            server.access_key(),
            secret,
            None,
            None,
            "test",
        ))
        .region(Region::new(server.region()))
        .endpoint_url(server.endpoint())
        .force_path_style(true)
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

async fn put(client: &Client, key: &str, content: &str) {
    let body = ByteStream::from(content.as_bytes().to_vec());
    client
        .put_object()
        .bucket("bucket")
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
}

async fn get(client: &Client, key: &str, range: Option<&str>) -> Option<String> {
    let request = client
        .get_object()
        .bucket("bucket")
        .key(key)
        .set_range(range.map(str::to_owned));
    let body = request.send().await.ok()?.body.collect().await.unwrap();
    Some(String::from_utf8(body.to_vec()).unwrap())
}

fn status<E, R>(result: Result<R, SdkError<E>>) -> u16
where
    R: std::fmt::Debug,
    SdkError<E>: HttpStatus,
{
    result.unwrap_err().http_status()
}

trait HttpStatus {
    fn http_status(&self) -> u16;
}

impl<E> HttpStatus for SdkError<E> {
    fn http_status(&self) -> u16 {
        self.raw_response()
            .map_or(0, |response| response.status().as_u16())
    }
}

#[tokio::test]
async fn objects_come_back_whole_and_in_ranges_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = start(dir.path()).await;
    put(&client, "v1/a.txt", "0123456789").await;
    assert_eq!(get(&client, "v1/a.txt", None).await.unwrap(), "0123456789");
    assert_eq!(
        get(&client, "v1/a.txt", Some("bytes=2-4")).await.unwrap(),
        "234"
    );
    assert_eq!(
        get(&client, "v1/a.txt", Some("bytes=-3")).await.unwrap(),
        "789"
    );
    assert_eq!(
        get(&client, "v1/a.txt", Some("bytes=8-100")).await.unwrap(),
        "89"
    );
    assert_eq!(
        get(&client, "v1", None).await,
        None,
        "a prefix is no object"
    );
    let head = client
        .head_object()
        .bucket("bucket")
        .key("v1/a.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_length(), Some(10));
    let absent = client
        .head_object()
        .bucket("bucket")
        .key("v1/b.txt")
        .send()
        .await;
    assert_eq!(status(absent), 404);

    let gets = server.stats().operation("GetObject");
    assert_eq!(
        (gets.requests, gets.errors, gets.bytes_out),
        (5, 1, 10 + 3 + 3 + 2)
    );
    assert_eq!(server.stats().operation("PutObject").bytes_in, 10);
    let ranges: Vec<_> = server
        .stats()
        .records()
        .into_iter()
        .filter_map(|record| record.range)
        .collect();
    assert_eq!(ranges, ["bytes=2-4", "bytes=-3", "bytes=8-100"]);

    client
        .delete_object()
        .bucket("bucket")
        .key("v1/a.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(get(&client, "v1/a.txt", None).await, None);
    put(&client, "v1/a.txt", "again").await;
    let port = server.port();
    server.stop().await;

    let server = S3Server::start(dir.path().into(), port, "key", "secret", "bucket")
        .await
        .unwrap();
    assert_eq!(
        get(&client, "v1/a.txt", None).await.unwrap(),
        "again",
        "objects outlive the server"
    );
    let taken = S3Server::start(dir.path().into(), port, "key", "secret", "bucket").await;
    assert!(
        matches!(taken, Err(LocalError::PortTaken { .. })),
        "{taken:?}"
    );
    let stranger = self::client(&server, "wrong")
        .list_objects_v2()
        .bucket("bucket")
        .send()
        .await;
    assert_eq!(status(stranger), 403);
    server.stop().await;
}

#[tokio::test]
async fn of_many_conditional_writers_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = start(dir.path()).await;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                let body = ByteStream::from(writer.to_string().repeat(50_000).into_bytes());
                let put = client
                    .put_object()
                    .bucket("bucket")
                    .key("one")
                    .if_none_match("*")
                    .body(body);
                match put.send().await {
                    Ok(_) => Some(writer.to_string()),
                    Err(error) => {
                        assert_eq!(error.http_status(), 412);
                        None
                    }
                }
            })
        })
        .collect();
    let mut winners = Vec::new();
    for writer in writers {
        winners.extend(writer.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(
        get(&client, "one", None).await.unwrap(),
        winners[0].repeat(50_000)
    );
    server.stop().await;
}

#[tokio::test]
async fn listings_have_prefixes_and_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = start(dir.path()).await;
    for number in 0..7 {
        put(&client, &format!("v1/year=2020/p{number}"), "x").await;
    }
    put(&client, "v1/year=2021/p0", "x").await;
    put(&client, "v10/p0", "x").await;
    let mut pages = client
        .list_objects_v2()
        .bucket("bucket")
        .prefix("v1/year=2020/")
        .max_keys(3)
        .into_paginator()
        .send();
    let mut sizes = Vec::new();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.contents().len());
        keys.extend(
            page.contents()
                .iter()
                .map(|object| object.key().unwrap().to_owned()),
        );
    }
    assert_eq!(sizes, [3, 3, 1]);
    let expected: Vec<_> = (0..7)
        .map(|number| format!("v1/year=2020/p{number}"))
        .collect();
    assert_eq!(keys, expected);
    let years = client
        .list_objects_v2()
        .bucket("bucket")
        .prefix("v1/")
        .delimiter("/")
        .send()
        .await
        .unwrap();
    let years: Vec<_> = years
        .common_prefixes()
        .iter()
        .map(|prefix| prefix.prefix().unwrap())
        .collect();
    assert_eq!(years, ["v1/year=2020/", "v1/year=2021/"]);
    server.stop().await;
}

#[tokio::test]
async fn a_refused_upload_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = start(dir.path()).await;
    let wrong_digest = client
        .put_object()
        .bucket("bucket")
        .key("half")
        .content_md5("1B2M2Y8AsgTpgAmY7PhCfg==") // of the empty string
        .body(ByteStream::from_static(b"not empty"))
        .send()
        .await;
    assert_eq!(status(wrong_digest), 400);
    assert_eq!(get(&client, "half", None).await, None);
    for key in ["../escape", "a//b", "a/./b", &"k".repeat(200)] {
        let put = client
            .put_object()
            .bucket("bucket")
            .key(key)
            .body(ByteStream::from_static(b"x"));
        assert_eq!(status(put.send().await), 400, "{key}");
    }
    let left = client
        .list_objects_v2()
        .bucket("bucket")
        .send()
        .await
        .unwrap();
    assert_eq!(left.contents().len(), 0);
    server.stop().await;
}

#[tokio::test]
async fn faults_are_injected_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = start(dir.path()).await;
    let send = |content: &'static [u8]| {
        client
            .put_object()
            .bucket("bucket")
            .key("k")
            .body(ByteStream::from_static(content))
            .send()
    };
    server.stats().refuse("PutObject", 1);
    assert_eq!(status(send(b"1").await), 503);
    assert_eq!(
        get(&client, "k", None).await,
        None,
        "a refused request has no effect"
    );
    server.stats().lose_answer("PutObject", 1);
    assert_eq!(status(send(b"2").await), 500);
    assert_eq!(
        get(&client, "k", None).await.unwrap(),
        "2",
        "one with a lost answer has"
    );
    server.stats().set_delay(Duration::from_millis(200));
    let started = Instant::now();
    assert_eq!(get(&client, "k", None).await.unwrap(), "2");
    assert!(started.elapsed() >= Duration::from_millis(200));
    server.stop().await;
}
