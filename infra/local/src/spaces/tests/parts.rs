//! Presigned part URLs in the wrong hands: each writes its own part while its upload is open, and never anything else.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::CompletedPart;
use reqwest::StatusCode;

use super::harness::{PART, TestBucket, bytes, expires_in};
use super::presigned::answer;
use crate::spaces::BUCKET;

const KEY: &str = "org/a.pdf";

async fn part_url(
    bucket: &TestBucket,
    upload: &str,
    number: i32,
    size: usize,
    life: PresigningConfig,
) -> String {
    let part = bucket.client.upload_part().bucket(BUCKET).key(KEY).upload_id(upload).part_number(number);
    part.content_length(size as i64).presigned(life).await.unwrap().uri().to_owned()
}

/// Sends a part as a browser does: with its length and nothing else.
async fn put(url: &str, bytes: Vec<u8>) -> (StatusCode, String) {
    answer(reqwest::Client::new().put(url).body(bytes)).await
}

/// The status and code of a refusal.
fn refused(status: StatusCode, code: &str) -> (StatusCode, String) {
    (status, code.to_owned())
}

/// An upload of two parts, sent by its URLs, and the list that completes it.
async fn sent(bucket: &TestBucket) -> (String, [String; 2], Vec<CompletedPart>) {
    let upload = bucket.create_upload(KEY).await;
    let urls = [
        part_url(bucket, &upload, 1, PART, expires_in(60)).await,
        part_url(bucket, &upload, 2, 5, expires_in(60)).await,
    ];
    assert_eq!(put(&urls[0], bytes(PART, 1)).await.0, 200);
    assert_eq!(put(&urls[1], b"hello".to_vec()).await.0, 200);
    let listed = bucket.client.list_parts().bucket(BUCKET).key(KEY).upload_id(&upload).send().await.unwrap();
    let part = |part: &aws_sdk_s3::types::Part| {
        CompletedPart::builder()
            .part_number(part.part_number().unwrap())
            .set_e_tag(part.e_tag.clone())
            .build()
    };
    let parts = listed.parts().iter().map(part).collect();
    (upload, urls, parts)
}

#[tokio::test]
async fn a_part_url_is_dead_once_its_upload_is_completed() {
    let bucket = TestBucket::start().await;
    let (upload, urls, parts) = sent(&bucket).await;
    let etag = bucket.complete(KEY, &upload, parts).await.unwrap();
    for _ in 0..2 {
        let same_bytes = put(&urls[0], bytes(PART, 1)).await;
        assert_eq!(same_bytes, refused(StatusCode::NOT_FOUND, "NoSuchUpload"));
        assert_eq!(put(&urls[0], bytes(PART, 2)).await, refused(StatusCode::NOT_FOUND, "NoSuchUpload"));
        assert_eq!(put(&urls[1], b"jello".to_vec()).await, refused(StatusCode::NOT_FOUND, "NoSuchUpload"));
    }
    // One signed only now is no better.
    let late = part_url(&bucket, &upload, 1, 5, expires_in(60)).await;
    assert_eq!(put(&late, b"jello".to_vec()).await, refused(StatusCode::NOT_FOUND, "NoSuchUpload"));

    assert_eq!(bucket.get(KEY).await, [bytes(PART, 1), b"hello".to_vec()].concat());
    let head = bucket.client.head_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    assert_eq!(head.e_tag.unwrap(), etag);
    assert_eq!(bucket.files(), 2, "nothing of what was refused is kept");
}

#[tokio::test]
async fn a_part_url_is_dead_once_its_upload_is_aborted() {
    let bucket = TestBucket::start().await;
    bucket.put(KEY, "committed").await;
    let (upload, urls, parts) = sent(&bucket).await;
    bucket.client.abort_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload).send().await.unwrap();
    assert_eq!(put(&urls[1], b"hello".to_vec()).await, refused(StatusCode::NOT_FOUND, "NoSuchUpload"));
    assert_eq!(bucket.complete(KEY, &upload, parts).await, Err("NoSuchUpload".into()));
    assert_eq!((bucket.get(KEY).await, bucket.files()), (b"committed".to_vec(), 1));
}

#[tokio::test]
async fn a_part_url_takes_its_own_part_and_nothing_else() {
    let bucket = TestBucket::start().await;
    bucket.put("org/b.pdf", "committed").await;
    let upload = bucket.create_upload(KEY).await;
    let other_upload = bucket.create_upload("org/b.pdf").await;
    let url = part_url(&bucket, &upload, 2, 5, expires_in(60)).await;
    let wrong = refused(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");

    for length in [0, 4, 6, PART] {
        assert_eq!(put(&url, bytes(length, 0)).await, wrong, "{length} bytes");
    }
    let no_length = reqwest::Client::new().put(&url).header("transfer-encoding", "chunked").body("hello");
    assert!(answer(no_length).await.0.is_client_error(), "a length that is not said");
    for (what, changed) in [
        ("another number", url.replace("partNumber=2", "partNumber=1")),
        ("two numbers", format!("{url}&partNumber=1")),
        ("another key", url.replace("/org/a.pdf?", "/org/b.pdf?")),
        ("another upload", url.replace(&upload, &other_upload)),
        ("a whole object", url.replace("partNumber=2&", "").replace(&format!("&uploadId={upload}"), "")),
        ("a longer life", url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")),
        ("a length that is not signed", url.replace("content-length%3B", "")),
    ] {
        assert_ne!(changed, url, "{what}");
        assert_eq!(put(&changed, b"hello".to_vec()).await, wrong, "{what}");
    }
    for method in
        [reqwest::Method::GET, reqwest::Method::DELETE, reqwest::Method::POST, reqwest::Method::HEAD]
    {
        let request = reqwest::Client::new().request(method.clone(), &url);
        assert_eq!(answer(request).await.0, 403, "{method}");
    }
    assert_eq!((bucket.get("org/b.pdf").await, bucket.files()), (b"committed".to_vec(), 1));

    assert_eq!(put(&url, b"hello".to_vec()).await.0, 200);
    assert_eq!(put(&url, b"jello".to_vec()).await.0, 200, "until then a part may be sent again");
}

#[tokio::test]
async fn a_part_url_ends_with_its_time() {
    let bucket = TestBucket::start().await;
    let upload = bucket.create_upload(KEY).await;
    let signed = async |seconds_ago: u64| {
        let start = SystemTime::now() - Duration::from_secs(seconds_ago);
        let life = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(900));
        part_url(&bucket, &upload, 1, 5, life.build().unwrap()).await
    };
    let over = put(&signed(901).await, b"hello".to_vec()).await;
    assert_eq!(over, refused(StatusCode::FORBIDDEN, "AccessDenied"));
    assert_eq!(bucket.files(), 0);
    assert_eq!(put(&signed(800).await, b"hello".to_vec()).await.0, 200);
}
