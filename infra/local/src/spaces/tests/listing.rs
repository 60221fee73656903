//! ListObjectsV2: order, pages, prefixes.

use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;

use super::harness::{TestBucket, code};
use crate::spaces::BUCKET;

/// Every line of every page: a key, or a prefix in brackets.
async fn all(request: ListObjectsV2FluentBuilder) -> Vec<String> {
    let (mut lines, mut token) = (Vec::new(), None);
    loop {
        let page = request.clone().set_continuation_token(token).send().await.unwrap();
        let mut of_page: Vec<_> =
            page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect();
        of_page.extend(page.common_prefixes().iter().map(|prefix| format!("[{}]", prefix.prefix().unwrap())));
        assert_eq!(page.key_count(), Some(of_page.len() as i32));
        lines.extend(of_page);
        token = page.next_continuation_token;
        assert_eq!(page.is_truncated, Some(token.is_some()));
        if token.is_none() {
            return lines;
        }
    }
}

#[tokio::test]
async fn thousands_of_keys_come_in_byte_order_page_by_page() {
    let bucket = TestBucket::start().await;
    // Case, length, separators and characters beyond U+FFFF: where byte order and other orders part ways.
    let forms = ["a/{}", "B/{}", "a-{}", "a{}", "é{}", "\u{FFFD}{}", "🚑{}", "{}/a/b", "_{}", "~{}"];
    let mut keys: Vec<_> =
        (0..2500).map(|number| forms[number % forms.len()].replace("{}", &number.to_string())).collect();
    for some in keys.chunks(50) {
        futures_util::future::join_all(some.iter().map(|key| bucket.put(key, ""))).await;
    }
    keys.sort();
    let list = || bucket.client.list_objects_v2().bucket(BUCKET);
    let first = list().send().await.unwrap();
    assert_eq!(
        (first.contents().len(), first.is_truncated(), first.max_keys()),
        (1000, Some(true), Some(1000))
    );
    assert_eq!(all(list()).await, keys);
    assert_eq!(all(list().max_keys(333)).await, keys);
    assert_eq!(all(list().max_keys(100_000)).await, keys);

    let with_prefix: Vec<_> = keys.iter().filter(|key| key.starts_with("a")).cloned().collect();
    assert_eq!(all(list().prefix("a").max_keys(7)).await, with_prefix);
    let after: Vec<_> = keys.iter().filter(|key| key.as_str() > "a/77").cloned().collect();
    assert_eq!(all(list().start_after("a/77").max_keys(500)).await, after);
    let beyond: Vec<_> = keys.iter().filter(|key| key.starts_with("🚑")).cloned().collect();
    assert_eq!(all(list().prefix("🚑")).await, beyond);
}

#[tokio::test]
async fn a_delimiter_rolls_keys_up() {
    let bucket = TestBucket::start().await;
    for key in ["a", "b/1", "b/2", "b/c/3", "b0", "c//d", "d/", "e/x"] {
        bucket.put(key, key).await;
    }
    let list = || bucket.client.list_objects_v2().bucket(BUCKET).delimiter("/");
    assert_eq!(all(list()).await, ["a", "b0", "[b/]", "[c/]", "[d/]", "[e/]"]);
    // One entry a page shows the order in which they really come, and that no prefix comes twice.
    assert_eq!(all(list().max_keys(1)).await, ["a", "[b/]", "b0", "[c/]", "[d/]", "[e/]"]);
    assert_eq!(all(list().prefix("b/")).await, ["b/1", "b/2", "[b/c/]"]);
    assert_eq!(all(list().prefix("b")).await, ["b0", "[b/]"]);
    assert_eq!(all(list().prefix("c/")).await, ["[c//]"]);
    assert_eq!(all(list().prefix("d/")).await, ["d/"]);
    assert_eq!(all(list().start_after("b/1")).await, ["b0", "[c/]", "[d/]", "[e/]"]);
    assert_eq!(all(list().delimiter("/c/")).await, ["a", "b/1", "b/2", "b0", "c//d", "d/", "e/x", "[b/c/]"]);
    assert_eq!(all(list().prefix("nothing")).await, [""; 0]);
}

#[tokio::test]
async fn a_listing_says_what_was_asked() {
    let bucket = TestBucket::start().await;
    bucket.put("a b", "hello").await;
    let list = || bucket.client.list_objects_v2().bucket(BUCKET);
    let page = list().prefix("a ").start_after("a").fetch_owner(true).send().await.unwrap();
    assert_eq!((page.prefix(), page.start_after(), page.name()), (Some("a "), Some("a"), Some(BUCKET)));
    let object = &page.contents()[0];
    assert_eq!((object.size(), object.e_tag()), (Some(5), Some("\"5d41402abc4b2a76b9719d911017c592\"")));
    assert!(object.owner().is_some() && object.last_modified().is_some());
    let page = list().encoding_type("url".into()).send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("a%20b"));
    let page = list().max_keys(0).send().await.unwrap();
    assert_eq!((page.key_count(), page.is_truncated()), (Some(0), Some(false)));
    assert_eq!(code(&list().max_keys(-1).send().await.unwrap_err()), "InvalidArgument");
    assert_eq!(code(&list().continuation_token("!").send().await.unwrap_err()), "InvalidArgument");
}
