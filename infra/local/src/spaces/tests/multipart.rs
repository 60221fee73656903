//! Multipart uploads from creation to their end.

use aws_sdk_s3::types::CompletedPart;

use super::harness::{PART, TestBucket, bytes, code};
use crate::spaces::BUCKET;

#[tokio::test]
async fn parts_become_one_object_with_the_etag_of_their_etags() {
    let bucket = TestBucket::start().await;
    let request = bucket.client.create_multipart_upload().bucket(BUCKET).key("big").content_type("video/mp4");
    let upload = request.metadata("m", "1").send().await.unwrap().upload_id.unwrap();
    // Parts may arrive in any order, and numbers may be left out.
    let last = bucket.upload_part("big", &upload, 9, bytes(1000, 3)).await;
    let first = bucket.upload_part("big", &upload, 2, bytes(PART, 1)).await;
    let second = bucket.upload_part("big", &upload, 5, bytes(PART + 1, 2)).await;
    assert!(bucket.keys().await.is_empty(), "an object before Complete");

    let etag = bucket.complete("big", &upload, [first, second, last]).await.unwrap();
    assert_eq!(etag, "\"61b0a44d64d29367f81f47e4923a4ddb-3\"");
    let whole = [bytes(PART, 1), bytes(PART + 1, 2), bytes(1000, 3)].concat();
    assert!(bucket.get("big").await == whole);
    let head = bucket.client.head_object().bucket(BUCKET).key("big").send().await.unwrap();
    assert_eq!((head.e_tag(), head.content_type()), (Some(etag.as_str()), Some("video/mp4")));
    assert_eq!(head.metadata().unwrap()["m"], "1");

    for (from, to) in
        [(0, 0), (PART - 1, PART), (PART - 10, 2 * PART + 10), (2 * PART, whole.len() - 1), (PART, PART)]
    {
        let got = bucket.get_range("big", &format!("bytes={from}-{to}")).await;
        assert!(got == whole[from..=to], "{from}-{to}");
    }
    assert!(bucket.get_range("big", "bytes=-1005").await == whole[whole.len() - 1005..]);
    let part = bucket.client.get_object().bucket(BUCKET).key("big").part_number(2).send().await.unwrap();
    assert_eq!((part.parts_count(), part.content_length()), (Some(3), Some(PART as i64 + 1)));
    assert!(part.body.collect().await.unwrap().to_vec() == bytes(PART + 1, 2));
}

#[tokio::test]
async fn a_part_uploaded_again_replaces_the_first() {
    let bucket = TestBucket::start().await;
    let upload = bucket.create_upload("a").await;
    let old = bucket.upload_part("a", &upload, 1, b"old".to_vec()).await;
    let new = bucket.upload_part("a", &upload, 1, b"new".to_vec()).await;
    assert_eq!(bucket.files(), 1);
    assert_eq!(bucket.complete("a", &upload, [old]).await.unwrap_err(), "InvalidPart");
    bucket.complete("a", &upload, [new]).await.unwrap();
    assert_eq!(bucket.get("a").await, b"new");
}

#[tokio::test]
async fn a_wrong_complete_is_refused_and_the_upload_lives_on() {
    let bucket = TestBucket::start().await;
    bucket.put("a", "before").await;
    let upload = bucket.create_upload("a").await;
    let one = bucket.upload_part("a", &upload, 1, bytes(PART, 1)).await;
    let two = bucket.upload_part("a", &upload, 2, b"small".to_vec()).await;
    let three = bucket.upload_part("a", &upload, 3, b"end".to_vec()).await;
    let part = |number, etag: &str| CompletedPart::builder().part_number(number).e_tag(etag).build();

    for (listed, expected) in [
        (vec![two.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), part(2, "\"00000000000000000000000000000000\"")], "InvalidPart"),
        (vec![one.clone(), part(4, one.e_tag().unwrap())], "InvalidPart"),
        (vec![one.clone(), two.clone(), three.clone()], "EntityTooSmall"),
        (vec![], "MalformedXML"),
    ] {
        assert_eq!(bucket.complete("a", &upload, listed).await.unwrap_err(), expected);
    }
    assert_eq!(bucket.complete("b", &upload, [one.clone()]).await.unwrap_err(), "NoSuchUpload");
    assert_eq!(bucket.get("a").await, b"before");
    // A part that is not listed is dropped.
    bucket.complete("a", &upload, [one, three]).await.unwrap();
    assert!(bucket.get("a").await == [bytes(PART, 1), b"end".to_vec()].concat());
    assert_eq!(bucket.files(), 2);
}

#[tokio::test]
async fn an_ended_upload_is_gone() {
    let bucket = TestBucket::start().await;
    let completed = bucket.create_upload("a").await;
    let part = bucket.upload_part("a", &completed, 1, b"x".to_vec()).await;
    bucket.complete("a", &completed, [part.clone()]).await.unwrap();
    let aborted = bucket.create_upload("b").await;
    bucket.upload_part("b", &aborted, 1, b"x".to_vec()).await;
    let abort = |key, upload: &str| {
        bucket.client.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(upload).send()
    };
    abort("b", &aborted).await.unwrap();

    for (key, upload) in [("a", completed.as_str()), ("b", aborted.as_str()), ("a", "unknown")] {
        let request = bucket.client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(1);
        assert_eq!(code(&request.send().await.unwrap_err()), "NoSuchUpload");
        let request = bucket.client.list_parts().bucket(BUCKET).key(key).upload_id(upload);
        assert_eq!(code(&request.send().await.unwrap_err()), "NoSuchUpload");
        assert_eq!(bucket.complete(key, upload, [part.clone()]).await.unwrap_err(), "NoSuchUpload");
        assert_eq!(code(&abort(key, upload).await.unwrap_err()), "NoSuchUpload");
    }
    assert_eq!((bucket.keys().await, bucket.files()), (vec!["a".to_owned()], 1));
}

#[tokio::test]
async fn part_numbers_go_from_1_to_10000() {
    let bucket = TestBucket::start().await;
    let upload = bucket.create_upload("a").await;
    for number in [0, 10_001, -1] {
        let request =
            bucket.client.upload_part().bucket(BUCKET).key("a").upload_id(&upload).part_number(number);
        assert_eq!(code(&request.send().await.unwrap_err()), "InvalidArgument", "{number}");
    }
    bucket.upload_part("a", &upload, 10_000, b"x".to_vec()).await;
}

#[tokio::test]
async fn parts_are_listed_with_their_etags_page_by_page() {
    let bucket = TestBucket::start().await;
    let upload = bucket.create_upload("a").await;
    let mut uploaded = Vec::new();
    for number in 1..=5_u8 {
        let part = bucket.upload_part("a", &upload, number.into(), vec![number; number.into()]).await;
        uploaded.push((i32::from(number), part.e_tag.unwrap(), i64::from(number)));
    }
    let (mut listed, mut marker) = (Vec::new(), None);
    loop {
        let request = bucket.client.list_parts().bucket(BUCKET).key("a").upload_id(&upload).max_parts(2);
        let page = request.set_part_number_marker(marker).send().await.unwrap();
        assert!(page.parts().len() <= 2);
        for part in page.parts() {
            listed.push((part.part_number.unwrap(), part.e_tag.clone().unwrap(), part.size.unwrap()));
        }
        if !page.is_truncated().unwrap() {
            break;
        }
        marker = page.next_part_number_marker;
    }
    assert_eq!(listed, uploaded);
}

#[tokio::test]
async fn uploads_under_way_are_listed_by_key_and_age() {
    let bucket = TestBucket::start().await;
    let mut expected = Vec::new();
    for key in ["p/b", "p/a", "p/b", "q"] {
        expected.push((key.to_owned(), bucket.create_upload(key).await));
        // Ids of one millisecond have no order.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    expected.sort();
    let (mut listed, mut key_marker, mut id_marker) = (Vec::new(), None, None);
    loop {
        let request = bucket.client.list_multipart_uploads().bucket(BUCKET).max_uploads(1);
        let page = request.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await.unwrap();
        for upload in page.uploads() {
            listed.push((upload.key.clone().unwrap(), upload.upload_id.clone().unwrap()));
        }
        if !page.is_truncated().unwrap() {
            break;
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    assert_eq!(listed, expected);
    let page = bucket.client.list_multipart_uploads().bucket(BUCKET).prefix("p/").send().await.unwrap();
    assert_eq!(page.uploads().len(), 3);
}
