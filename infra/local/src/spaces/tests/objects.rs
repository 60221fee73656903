//! Single objects: what is kept, what is answered, what is refused.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectCannedAcl, Permission};

use super::harness::{TestBucket, bytes, client, code};
use crate::spaces::{ACCESS_KEY_ID, ARCHIVE_BUCKET, BUCKET};

#[tokio::test]
async fn an_object_keeps_its_bytes_type_headers_and_metadata() {
    let bucket = TestBucket::start().await;
    let request = bucket.put_request("org/a.pdf", "hello").content_type("application/pdf");
    let request = request.cache_control("no-store").content_disposition("attachment; filename=\"a.pdf\"");
    let request = request
        .content_encoding("identity")
        .content_language("en")
        .expires(DateTime::from_secs(4_000_000_000));
    request.metadata("sha256", "abc").metadata("owner", "user 1").send().await.unwrap();

    let got = bucket.client.get_object().bucket(BUCKET).key("org/a.pdf").send().await.unwrap();
    assert_eq!(got.content_type(), Some("application/pdf"));
    assert_eq!(got.cache_control(), Some("no-store"));
    assert_eq!(got.content_disposition(), Some("attachment; filename=\"a.pdf\""));
    assert_eq!(got.content_encoding(), Some("identity"));
    assert_eq!(got.content_language(), Some("en"));
    assert_eq!(got.expires_string(), Some("Tue, 02 Oct 2096 07:06:40 GMT"));
    assert_eq!(got.metadata().unwrap()["sha256"], "abc");
    assert_eq!(got.content_length(), Some(5));
    assert_eq!(got.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");

    let head = bucket.client.head_object().bucket(BUCKET).key("org/a.pdf").send().await.unwrap();
    assert_eq!(head.content_type(), Some("application/pdf"));
    assert_eq!(head.metadata().unwrap()["owner"], "user 1");
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(head.accept_ranges(), Some("bytes"));
}

#[tokio::test]
async fn an_object_without_a_type_is_binary() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "").await;
    let head = bucket.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    // The SDK declares application/octet-stream itself; nothing is invented beyond that.
    assert_eq!((head.content_type(), head.content_length()), (Some("application/octet-stream"), Some(0)));
    assert_eq!(bucket.get("a").await, b"");
}

#[tokio::test]
async fn any_key_of_1024_bytes_works_and_a_longer_one_is_refused() {
    let bucket = TestBucket::start().await;
    // As often as it fits, then filled up.
    let long = |text: &str| {
        let key = text.repeat(1024 / text.len());
        key.clone() + &"x".repeat(1024 - key.len())
    };
    let keys: Vec<String> = vec![
        long("a"),
        long("日本/語 "),
        long("/../"),
        "/leading".into(),
        "//".into(),
        "a//b/./c/../d".into(),
        "..".into(),
        "a b+c%20d%2Fe?f#g&h=i;j:k@l!m'n(o)p*q\"r<s>t\\u|v~".into(),
        "trailing/".into(),
        "émoji 🚑/ñ\u{301}".into(),
        "tab\tnewline\n".into(),
    ];
    assert_eq!(keys.iter().filter(|key| key.len() == 1024).count(), 3);
    for (place, key) in keys.iter().enumerate() {
        bucket.put(key, format!("{place}")).await;
    }
    for (place, key) in keys.iter().enumerate() {
        assert_eq!(bucket.get(key).await, format!("{place}").into_bytes(), "{key}");
    }
    let page =
        bucket.client.list_objects_v2().bucket(BUCKET).encoding_type("url".into()).send().await.unwrap();
    let decode = |key: &str| percent_encoding::percent_decode_str(key).decode_utf8().unwrap().into_owned();
    let listed: Vec<_> = page.contents().iter().map(|object| decode(object.key().unwrap())).collect();
    let mut expected = keys.clone();
    expected.sort();
    assert_eq!(listed, expected);
    for key in &keys {
        bucket.client.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    assert_eq!((bucket.keys().await.len(), bucket.files()), (0, 0));

    let refused = bucket.put_request(&"a".repeat(1025), "").send().await.unwrap_err();
    assert_eq!(code(&refused), "KeyTooLongError");
}

#[tokio::test]
async fn a_put_over_an_object_replaces_all_of_it() {
    let bucket = TestBucket::start().await;
    bucket.put_request("a", "old").content_type("text/plain").metadata("m", "1").send().await.unwrap();
    bucket.put_request("a", "newer").content_type("text/html").send().await.unwrap();
    let head = bucket.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!((head.content_type(), head.content_length()), (Some("text/html"), Some(5)));
    assert!(head.metadata().is_none_or(|metadata| metadata.is_empty()));
    assert_eq!((bucket.get("a").await, bucket.files()), (b"newer".to_vec(), 1));
}

#[tokio::test]
async fn concurrent_puts_of_one_key_leave_one_whole_object_and_one_file() {
    let bucket = TestBucket::start().await;
    bucket.put("a", bytes(300_000, 0)).await;
    let puts = futures_util::future::join_all((0..16).map(|seed| bucket.put("a", bytes(300_000, seed))));
    let gets = futures_util::future::join_all((0..16).map(|_| bucket.get("a")));
    let (_, read) = futures_util::future::join(puts, gets).await;
    for got in read.into_iter().chain([bucket.get("a").await]) {
        assert_eq!(got, bytes(300_000, got[0]), "a reader saw parts of two objects");
    }
    assert_eq!(bucket.files(), 1);
}

#[tokio::test]
async fn a_read_under_way_survives_the_replacement_and_removal_of_its_object() {
    let bucket = TestBucket::start().await;
    // More than the buffers of a loopback connection hold.
    let old = bytes(24_000_000, 1);
    bucket.put("a", old.clone()).await;
    let got = bucket.client.get_object().bucket(BUCKET).key("a").send().await.unwrap();
    bucket.put("a", "new").await;
    bucket.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(bucket.files(), 1, "the old bytes are still being read");
    assert!(got.body.collect().await.unwrap().to_vec() == old);
    let dir = bucket.end().await;
    assert_eq!(dir.path().join("data").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn ranges_are_served_and_impossible_ones_refused() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "0123456789").await;
    for (range, expected) in [
        ("bytes=0-0", "0"),
        ("bytes=2-4", "234"),
        ("bytes=7-", "789"),
        ("bytes=8-99", "89"),
        ("bytes=-3", "789"),
        ("bytes=-99", "0123456789"),
    ] {
        assert_eq!(bucket.get_range("a", range).await, expected.as_bytes(), "{range}");
    }
    let got = bucket.client.get_object().bucket(BUCKET).key("a").range("bytes=2-4").send().await.unwrap();
    assert_eq!((got.content_range(), got.content_length()), (Some("bytes 2-4/10"), Some(3)));
    let head = bucket.client.head_object().bucket(BUCKET).key("a").range("bytes=-1").send().await.unwrap();
    assert_eq!((head.content_range(), head.content_length()), (Some("bytes 9-9/10"), Some(1)));
    for (key, range) in [("a", "bytes=10-"), ("a", "bytes=-0"), ("empty", "bytes=0-0"), ("empty", "bytes=-1")]
    {
        bucket.put("empty", "").await;
        let refused =
            bucket.client.get_object().bucket(BUCKET).key(key).range(range).send().await.unwrap_err();
        assert_eq!(code(&refused), "InvalidRange", "{key} {range}");
    }
}

#[tokio::test]
async fn a_read_can_override_the_headers_of_its_answer() {
    let bucket = TestBucket::start().await;
    bucket.put_request("a", "x").content_type("text/plain").send().await.unwrap();
    let request = bucket.client.get_object().bucket(BUCKET).key("a").response_content_type("text/csv");
    let request = request.response_content_disposition("inline").response_cache_control("private");
    let request = request.response_content_language("fr").response_content_encoding("br");
    let got = request.send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/csv"));
    assert_eq!(got.content_disposition(), Some("inline"));
    assert_eq!(got.cache_control(), Some("private"));
    assert_eq!(got.content_language(), Some("fr"));
    assert_eq!(got.content_encoding(), Some("br"));
    let request = bucket.client.head_object().bucket(BUCKET).key("a").response_content_type("text/csv");
    assert_eq!(request.send().await.unwrap().content_type(), Some("text/csv"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_can_be_deleted() {
    let bucket = TestBucket::start().await;
    let objects = |name: &str| bucket.client.get_object().bucket(name).key("a").send();
    assert_eq!(code(&objects(BUCKET).await.unwrap_err()), "NoSuchKey");
    assert_eq!(code(&objects("other").await.unwrap_err()), "NoSuchBucket");
    let head = bucket.client.head_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert!(head.into_service_error().is_not_found());
    assert!(
        bucket
            .client
            .head_bucket()
            .bucket("other")
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_not_found()
    );
    bucket.client.head_bucket().bucket(BUCKET).send().await.unwrap();
    let deleted = bucket.client.delete_object().bucket(BUCKET).key("a").send().await;
    deleted.unwrap();
    let buckets = bucket.client.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, [ARCHIVE_BUCKET, BUCKET]);
    bucket.client.get_bucket_location().bucket(BUCKET).send().await.unwrap();
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_leaves_nothing() {
    let bucket = TestBucket::start().await;
    let refused =
        bucket.put_request("a", "x").content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap_err();
    assert_eq!(code(&refused), "BadDigest");
    let refused = bucket.put_request("a", "x").content_md5("nonsense").send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidDigest");
    let refused = bucket.put_request("a", "x").checksum_crc32("AAAAAA==").send().await.unwrap_err();
    assert_eq!(code(&refused), "BadDigest");
    let refused = bucket.put_request("a", "x").checksum_sha256("AAAA").send().await.unwrap_err();
    assert_eq!(code(&refused), "BadDigest");
    assert_eq!((bucket.keys().await.len(), bucket.files()), (0, 0));
    bucket.put_request("a", "hello").content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap();
    let answer = bucket.put_request("a", "hello").checksum_crc32("NhCmhg==").send().await.unwrap();
    assert_eq!(answer.checksum_crc32(), Some("NhCmhg=="));
}

#[tokio::test]
async fn a_checksum_after_the_body_is_verified() {
    use aws_sdk_s3::types::ChecksumAlgorithm::{Crc32, Crc32C, Crc64Nvme, Sha1, Sha256};
    let bucket = TestBucket::start().await;
    // The SDK streams a body without a known hash as aws-chunked, with the checksum in the trailer.
    let path = bucket.dir().join("source");
    std::fs::write(&path, bytes(200_000, 3)).unwrap();
    for algorithm in [Crc32, Crc32C, Crc64Nvme, Sha1, Sha256] {
        let body = aws_sdk_s3::primitives::ByteStream::from_path(&path).await.unwrap();
        let request = bucket.client.put_object().bucket(BUCKET).key("a").content_encoding("gzip");
        request.checksum_algorithm(algorithm).body(body).send().await.unwrap();
        assert_eq!(bucket.get("a").await, bytes(200_000, 3));
    }
    let head = bucket.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(head.content_encoding(), Some("gzip"), "aws-chunked is not the object's");
}

#[tokio::test]
async fn the_acl_is_private_unless_another_was_given() {
    let bucket = TestBucket::start().await;
    bucket.put("private", "").await;
    bucket.put_request("public", "").acl(ObjectCannedAcl::PublicRead).send().await.unwrap();
    let grants = async |key: &str| {
        let acl = bucket.client.get_object_acl().bucket(BUCKET).key(key).send().await.unwrap();
        let grant = |grant: &aws_sdk_s3::types::Grant| {
            (grant.grantee().unwrap().uri().is_some(), grant.permission().unwrap().clone())
        };
        acl.grants().iter().map(grant).collect::<Vec<_>>()
    };
    assert_eq!(grants("private").await, [(false, Permission::FullControl)]);
    assert_eq!(grants("public").await, [(false, Permission::FullControl), (true, Permission::Read)]);
    let refused = bucket.put_request("a", "").acl("open".into()).send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidArgument");
    let refused = bucket.put_request("a", "").grant_read("id=1").send().await.unwrap_err();
    assert_eq!(code(&refused), "NotImplemented");
}

#[tokio::test]
async fn too_much_metadata_is_refused() {
    let bucket = TestBucket::start().await;
    bucket.put_request("a", "").metadata("m", "v".repeat(2047)).send().await.unwrap();
    let refused = bucket.put_request("a", "").metadata("m", "v".repeat(2048)).send().await.unwrap_err();
    assert_eq!(code(&refused), "MetadataTooLarge");
}

#[tokio::test]
async fn conditions_of_reads_and_writes_are_honoured() {
    let bucket = TestBucket::start().await;
    let etag = bucket.put_request("a", "1").if_none_match("*").send().await.unwrap().e_tag.unwrap();
    let refused = bucket.put_request("a", "2").if_none_match("*").send().await.unwrap_err();
    assert_eq!(code(&refused), "PreconditionFailed");
    let refused = bucket.put_request("a", "2").if_match("\"0\"").send().await.unwrap_err();
    assert_eq!(code(&refused), "PreconditionFailed");
    let refused = bucket.put_request("b", "2").if_match(&etag).send().await.unwrap_err();
    assert_eq!(code(&refused), "NoSuchKey");

    let get = || bucket.client.get_object().bucket(BUCKET).key("a");
    let status =
        |error: aws_sdk_s3::error::SdkError<_>| error.raw_response().map(|raw| raw.status().as_u16());
    assert_eq!(status(get().if_none_match(&etag).send().await.unwrap_err()), Some(304));
    assert_eq!(status(get().if_match("\"0\"").send().await.unwrap_err()), Some(412));
    let modified = get().if_match(&etag).send().await.unwrap().last_modified.unwrap();
    assert_eq!(status(get().if_modified_since(modified).send().await.unwrap_err()), Some(304));
    let before = DateTime::from_secs(modified.secs() - 1);
    assert_eq!(status(get().if_unmodified_since(before).send().await.unwrap_err()), Some(412));
    get().if_modified_since(before).if_unmodified_since(modified).send().await.unwrap();

    bucket.put_request("a", "2").if_match(&etag).send().await.unwrap();
    assert_eq!((bucket.get("a").await, bucket.files()), (b"2".to_vec(), 1));
}

#[tokio::test]
async fn other_credentials_are_refused() {
    let bucket = TestBucket::start().await;
    let list = async |key_id: &str, secret: &str| {
        let client = client(bucket.address, key_id, secret);
        code(&client.list_objects_v2().bucket(BUCKET).send().await.unwrap_err())
    };
    assert_eq!(list(ACCESS_KEY_ID, "wrong").await, "SignatureDoesNotMatch");
    assert_eq!(list("wrong", "localsecret").await, "InvalidAccessKeyId");
}
