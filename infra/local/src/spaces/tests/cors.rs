//! What a browser is told.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::harness::{TestBucket, expires_in};
use crate::spaces::{BUCKET, CorsRule};

const LISTED: &str = "http://localhost:5173";

async fn preflight(bucket: &TestBucket, origin: &str, method: &str) -> (StatusCode, HeaderMap) {
    let request = reqwest::Client::new().request(Method::OPTIONS, bucket.url("/storage/a"));
    let request = request.header("origin", origin).header("access-control-request-method", method);
    let response = request.header("access-control-request-headers", "Range, X-Other").send().await.unwrap();
    (response.status(), response.headers().clone())
}

fn cors_headers(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("access-control")).collect()
}

#[tokio::test]
async fn a_preflight_that_the_rule_allows_needs_no_credentials() {
    let bucket = TestBucket::start().await;
    for origin in [LISTED, "http://localhost:3000"] {
        for method in ["GET", "HEAD", "PUT"] {
            let (status, headers) = preflight(&bucket, origin, method).await;
            assert_eq!(status, 200);
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(headers["access-control-allow-methods"], "GET, HEAD, PUT");
            assert_eq!(headers["access-control-allow-headers"], "range, x-other");
            assert_eq!(headers["access-control-max-age"], "3000");
            assert!(headers["vary"].to_str().unwrap().contains("Origin"));
        }
    }
}

#[tokio::test]
async fn a_preflight_that_no_rule_allows_is_refused() {
    let bucket = TestBucket::start().await;
    for (origin, method) in [
        ("http://localhost:5174", "GET"),
        ("https://localhost:5173", "GET"),
        ("http://localhost:5173.evil.example", "GET"),
        ("null", "GET"),
        (LISTED, "POST"),
        (LISTED, "DELETE"),
        (LISTED, "get"),
    ] {
        let (status, headers) = preflight(&bucket, origin, method).await;
        assert_eq!((status, cors_headers(&headers)), (StatusCode::FORBIDDEN, vec![]), "{origin} {method}");
    }
    let without_origin = reqwest::Client::new().request(Method::OPTIONS, bucket.url("/storage/a"));
    assert_eq!(without_origin.send().await.unwrap().status(), 400);
    let other_bucket = reqwest::Client::new().request(Method::OPTIONS, bucket.url("/other/a"));
    let other_bucket = other_bucket.header("origin", LISTED).header("access-control-request-method", "GET");
    assert_eq!(other_bucket.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_page_may_read_what_it_fetches_only_from_a_listed_origin() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "hello").await;
    let presigned =
        bucket.client.get_object().bucket(BUCKET).key("a").presigned(expires_in(60)).await.unwrap();
    let get =
        |url: &str, origin: &'static str| reqwest::Client::new().get(url).header("origin", origin).send();

    let response = get(presigned.uri(), LISTED).await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], LISTED);
    assert_eq!(response.status(), 200);
    let response = get(presigned.uri(), "http://elsewhere.example").await.unwrap();
    assert_eq!((response.status(), cors_headers(response.headers())), (StatusCode::OK, vec![]));
    // A page that is refused must be able to read why.
    let response = get(&bucket.url("/storage/a"), LISTED).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["access-control-allow-origin"], LISTED);
    let response = reqwest::Client::new()
        .delete(bucket.url("/storage/a"))
        .header("origin", LISTED)
        .send()
        .await
        .unwrap();
    assert_eq!(cors_headers(response.headers()), [""; 0], "DELETE is not in the rule");
}

#[tokio::test]
async fn a_page_may_send_a_part_and_read_its_entity_tag() {
    let bucket = TestBucket::start().await;
    let upload = bucket.create_upload("a").await;
    let part = bucket.client.upload_part().bucket(BUCKET).key("a").upload_id(upload).part_number(1);
    let presigned = part.content_length(5).presigned(expires_in(60)).await.unwrap();
    let put = reqwest::Client::new().put(presigned.uri()).header("origin", LISTED).body("hello");
    let response = put.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("etag"));
    assert_eq!(response.headers()["access-control-allow-origin"], LISTED);
    assert_eq!(response.headers()["access-control-expose-headers"], "ETag");
}

#[test]
fn the_rule_is_that_of_the_file_for_a_deployed_bucket() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../../../spaces/cors.json")).unwrap();
    let listed = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let (rules, ours) = (file["CORSRules"].as_array().unwrap(), CorsRule::development());
    assert_eq!(rules.len(), 1, "some stores look no further than the first rule that has an origin");
    let in_file = &rules[0];
    // There the pages of the deployment come first.
    assert_eq!(listed(&in_file["AllowedOrigins"])[1..], ours.allowed_origins);
    let methods: Vec<_> = ours.allowed_methods.iter().map(|method| method.as_str().to_owned()).collect();
    assert_eq!(listed(&in_file["AllowedMethods"]), methods);
    assert_eq!(listed(&in_file["AllowedHeaders"]), ours.allowed_headers);
    assert_eq!(listed(&in_file["ExposeHeaders"]), ours.expose_headers);
    assert_eq!(in_file["MaxAgeSeconds"], ours.max_age_seconds);
}
