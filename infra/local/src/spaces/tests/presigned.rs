//! Presigned URLs and raw requests: what is signed is what may be done, and nothing else.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::ObjectCannedAcl;
use reqwest::{Method, StatusCode};

use super::harness::{TestBucket, expires_in};
use crate::spaces::BUCKET;

/// Sends a presigned request with exactly its signed headers.
fn request(presigned: &PresignedRequest, url: &str) -> reqwest::RequestBuilder {
    let method = Method::from_bytes(presigned.method().as_bytes()).unwrap();
    let signed = presigned.headers().filter(|(name, _)| *name != "host");
    signed.fold(reqwest::Client::new().request(method, url), |request, (name, value)| {
        request.header(name, value)
    })
}

pub(super) async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (status, code.map(|(code, _)| code.to_owned()).unwrap_or(text))
}

async fn presigned_get(bucket: &TestBucket, key: &str) -> PresignedRequest {
    let request = bucket.client.get_object().bucket(BUCKET).key(key);
    let request = request.response_content_disposition("attachment; filename=\"ä b.pdf\"");
    request.response_content_type("application/pdf").presigned(expires_in(60)).await.unwrap()
}

#[tokio::test]
async fn a_presigned_get_works_and_says_what_was_signed() {
    let bucket = TestBucket::start().await;
    for key in ["org/a b+c.pdf", "ü/../x", "//y"] {
        bucket.put(key, "hello").await;
        let presigned = bucket.client.get_object().bucket(BUCKET).key(key).response_content_type("text/css");
        let presigned = presigned.response_content_disposition("inline; filename=\"a b.pdf\"");
        let presigned = presigned.presigned(expires_in(60)).await.unwrap();
        let Ok(url) = reqwest::Url::parse(presigned.uri()) else { panic!("{key}") };
        // Like every browser, reqwest resolves dot segments; such a key cannot be fetched by it.
        if key.contains("..") {
            continue;
        }
        let response = request(&presigned, url.as_str()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/css");
        assert_eq!(response.headers()["content-disposition"], "inline; filename=\"a b.pdf\"");
        assert!(response.headers().contains_key("x-amz-request-id"));
        assert_eq!(response.text().await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_presigned_url_with_any_part_changed_is_refused() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "hello").await;
    bucket.put("b", "other").await;
    let presigned = presigned_get(&bucket, "a").await;
    let url = presigned.uri();
    assert_eq!(answer(request(&presigned, url)).await.0, 200);

    let (start, query) = url.split_once('?').unwrap();
    let pairs: Vec<_> = query.split('&').collect();
    let mut changed = vec![
        start.replace("/storage/a", "/storage/b") + "?" + query,
        format!("{url}&response-cache-control=public"),
        format!("{url}&versionId=1"),
        format!("{url}&acl"),
        format!("{url}&x-amz-acl=public-read"),
    ];
    for place in 0..pairs.len() {
        let other = |pair: String| {
            let mut pairs: Vec<_> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
            pairs[place] = pair;
            format!("{start}?{}", pairs.join("&"))
        };
        // One character more, one less, and the whole parameter gone.
        changed.push(other(format!("{}0", pairs[place])));
        changed.push(other(pairs[place][..pairs[place].len() - 1].to_owned()));
        changed.push(other(String::new()).replace("?&", "?").replace("&&", "&"));
    }
    for url in changed {
        let (status, code) = answer(request(&presigned, &url)).await;
        assert!(status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED, "{status} {code}: {url}");
        assert!(!code.contains("hello") && !code.contains("other"), "{url}");
    }
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::POST] {
        let status = reqwest::Client::new().request(method.clone(), url).send().await.unwrap().status();
        assert_eq!(status, 403, "{method}");
    }
    assert_eq!(bucket.get("a").await, b"hello");
}

#[tokio::test]
async fn a_presigned_url_ends_with_its_time() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "hello").await;
    let at = async |ago: u64, lasting: u64| {
        let start = SystemTime::now() - Duration::from_secs(ago);
        let config = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(lasting));
        let get = bucket.client.get_object().bucket(BUCKET).key("a");
        let presigned = get.presigned(config.build().unwrap()).await.unwrap();
        answer(request(&presigned, presigned.uri())).await
    };
    assert_eq!(at(100, 60).await, (StatusCode::FORBIDDEN, "AccessDenied".into()));
    assert_eq!(at(50, 60).await.0, 200);
    assert_eq!(at(10, 604_800).await.0, 200);
}

#[tokio::test]
async fn a_presigned_put_takes_what_was_signed_and_nothing_else() {
    let bucket = TestBucket::start().await;
    let put = bucket.client.put_object().bucket(BUCKET).key("a").content_type("text/plain").content_length(5);
    let put =
        put.metadata("sha256", "abc").acl(ObjectCannedAcl::Private).content_md5("XUFAKrxLKna5cZ2REBfFkg==");
    let presigned = put.presigned(expires_in(60)).await.unwrap();
    let url = presigned.uri();
    let signed: Vec<_> = presigned.headers().map(|(name, _)| name).collect();
    assert!(signed.contains(&"content-length") && signed.contains(&"x-amz-acl"), "{signed:?}");
    let send = |headers: &[(&str, &str)], body: &str| {
        let method = Method::PUT;
        let start = reqwest::Client::new().request(method, url).body(body.to_owned());
        let request = headers.iter().fold(start, |request, (name, value)| request.header(*name, *value));
        answer(request)
    };
    let headers: Vec<(&str, &str)> =
        presigned.headers().filter(|(name, _)| !["host", "content-length"].contains(name)).collect();
    let refused = |(status, code): (StatusCode, String)| {
        assert!(status.is_client_error(), "{status}");
        code
    };

    assert_eq!(refused(send(&headers, "hello!").await), "SignatureDoesNotMatch", "another length");
    assert_eq!(refused(send(&headers, "jello").await), "BadDigest", "other bytes");
    for place in 0..headers.len() {
        let mut fewer = headers.clone();
        fewer.remove(place);
        assert_eq!(
            refused(send(&fewer, "hello").await),
            "SignatureDoesNotMatch",
            "without {:?}",
            headers[place]
        );
        let mut other = headers.clone();
        other[place].1 = "other";
        assert_eq!(
            refused(send(&other, "hello").await),
            "SignatureDoesNotMatch",
            "another {:?}",
            headers[place]
        );
    }
    for added in
        [("x-amz-meta-extra", "1"), ("x-amz-website-redirect-location", "/"), ("x-amz-grant-read", "id=1")]
    {
        let more = [headers.clone(), vec![added]].concat();
        assert_eq!(refused(send(&more, "hello").await), "AccessDenied", "{added:?}");
    }
    assert_eq!((bucket.keys().await.len(), bucket.files()), (0, 0));

    assert_eq!(send(&headers, "hello").await.0, 200);
    let head = bucket.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(
        (head.content_type(), head.metadata().unwrap()["sha256"].as_str()),
        (Some("text/plain"), "abc")
    );
}

#[tokio::test]
async fn nobody_comes_in_without_a_signature() {
    let bucket = TestBucket::start().await;
    bucket.put_request("a", "hello").acl(ObjectCannedAcl::PublicRead).send().await.unwrap();
    for (method, path) in [
        (Method::GET, "/storage/a"),
        (Method::PUT, "/storage/b"),
        (Method::DELETE, "/storage/a"),
        (Method::GET, "/storage?list-type=2"),
        (Method::GET, "/other/a"),
        (Method::GET, "/"),
        (Method::POST, "/storage/b?uploads"),
    ] {
        let request = reqwest::Client::new().request(method.clone(), bucket.url(path));
        assert_eq!(answer(request).await, (StatusCode::FORBIDDEN, "AccessDenied".into()), "{method} {path}");
    }
    let form = reqwest::multipart::Form::new().text("key", "b").text("file", "x");
    let request = reqwest::Client::new().post(bucket.url("/storage")).multipart(form);
    assert!(answer(request).await.0.is_client_error());
    assert_eq!(bucket.keys().await, ["a"]);
}

#[tokio::test]
async fn a_request_has_one_signature_and_a_version_2_header_is_none() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "hello").await;
    let presigned = presigned_get(&bucket, "a").await;
    let request = reqwest::Client::new().get(presigned.uri()).header("authorization", "AWS4-HMAC-SHA256 x");
    assert_eq!(answer(request).await.1, "InvalidArgument");
    let request = reqwest::Client::new().get(bucket.url("/storage/a"));
    let request =
        request.header("authorization", "AWS local:AAAA").header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    assert!(answer(request).await.0.is_client_error());
}
