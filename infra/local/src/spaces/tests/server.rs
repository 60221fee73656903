//! The life of a store: restarts, crashes, shutdowns.

use std::time::{Duration, Instant};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::{PART, TestBucket, bytes, code, expires_in};
use crate::spaces::{BUCKET, OpenError, Spaces};

#[tokio::test]
async fn objects_and_uploads_survive_a_restart() {
    let bucket = TestBucket::start().await;
    bucket.put_request("a", "hello").content_type("text/plain").metadata("m", "1").send().await.unwrap();
    let upload = bucket.create_upload("b").await;
    let one = bucket.upload_part("b", &upload, 1, bytes(PART, 1)).await;

    let bucket = bucket.restart().await;
    let head = bucket.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!((head.content_type(), head.metadata().unwrap()["m"].as_str()), (Some("text/plain"), "1"));
    assert_eq!(bucket.get("a").await, b"hello");
    let two = bucket.upload_part("b", &upload, 2, bytes(10, 2)).await;
    bucket.complete("b", &upload, [one, two]).await.unwrap();

    let bucket = bucket.restart().await;
    assert!(bucket.get("b").await == [bytes(PART, 1), bytes(10, 2)].concat());
    assert_eq!((bucket.keys().await, bucket.files()), (vec!["a".to_owned(), "b".to_owned()], 3));
}

#[tokio::test]
async fn what_a_crash_left_behind_is_removed_at_the_next_start() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "hello").await;
    let dir = bucket.end().await;
    // An upload that was cut off before the index knew of it.
    std::fs::write(dir.path().join("data/01ARZ3NDEKTSV4RRFFQ69G5FAV"), "half").unwrap();
    let spaces = Spaces::open(dir.path(), Vec::new()).unwrap();
    assert_eq!(dir.path().join("data").read_dir().unwrap().count(), 1);
    drop(spaces);
}

#[tokio::test]
async fn a_folder_of_another_layout_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(Spaces::open(dir.path(), Vec::new()).unwrap());
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    index.pragma_update(None, "user_version", 99).unwrap();
    drop(index);
    let refused = Spaces::open(dir.path(), Vec::new()).unwrap_err();
    assert!(matches!(refused, OpenError::Layout { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn a_folder_is_open_once_at_a_time() {
    let dir = TempDir::new().unwrap();
    let first = Spaces::open(dir.path(), Vec::new()).unwrap();
    let refused = Spaces::open(dir.path(), Vec::new()).unwrap_err();
    assert!(matches!(refused, OpenError::Index(_)), "{refused}");
    drop(first);
    Spaces::open(dir.path(), Vec::new()).unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "before").await;
    let put = bucket.client.put_object().bucket(BUCKET).key("a").content_length(1_000_000);
    let presigned = put.presigned(expires_in(60)).await.unwrap();
    let target = presigned.uri().strip_prefix(&bucket.url("")).unwrap().to_owned();
    let mut connection = TcpStream::connect(bucket.address).await.unwrap();
    let head =
        format!("PUT {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\n", bucket.address);
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&bytes(400_000, 1)).await.unwrap();
    while bucket.files() < 2 {
        tokio::task::yield_now().await;
    }
    drop(connection);
    while bucket.files() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bucket.get("a").await, b"before");
}

/// Exchanges a request's body after it was signed.
#[derive(Debug)]
struct Exchange;

impl Intercept for Exchange {
    fn name(&self) -> &'static str {
        "exchange"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *context.request_mut().body_mut() = "jello".into();
        Ok(())
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_was_signed_is_refused() {
    let bucket = TestBucket::start().await;
    let refused =
        bucket.put_request("a", "hello").customize().interceptor(Exchange).send().await.unwrap_err();
    assert_eq!(code(&refused), "XAmzContentSHA256Mismatch");
    let upload = bucket.create_upload("a").await;
    let request = bucket.client.upload_part().bucket(BUCKET).key("a").upload_id(&upload).part_number(1);
    let request = request.body(b"hello".to_vec().into()).customize().interceptor(Exchange);
    assert_eq!(code(&request.send().await.unwrap_err()), "XAmzContentSHA256Mismatch");
    assert_eq!(bucket.files(), 0);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_idle_or_silent_connections() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "hello").await;
    let mut idle = TcpStream::connect(bucket.address).await.unwrap();
    idle.write_all(b"GET /storage/a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 403");
    let silent = TcpStream::connect(bucket.address).await.unwrap();
    let before = Instant::now();
    bucket.end().await;
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    drop((idle, silent));
}
