//! What goes over the wire to the stores, and what they take from a stranger.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::config::{SpacesConfig, SpacesKey};
use shared::secret::Secret;

use crate::proxy::{Fault, Seen};
use crate::world::{JPEG, World};

fn sha256_of_jpeg() -> String {
    HEXLOWER.encode(&Sha256::digest(JPEG))
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_put_carries_what_every_store_understands_and_nothing_else() {
    let world = World::start().await;
    let part = reqwest::multipart::Part::bytes(JPEG).file_name("photo.JPG").mime_str("image/pjpeg").unwrap();
    let path =
        world.upload(&world.token("accountant"), "receipt-upload", World::receipt(part)).await.ok().path();

    let puts: Vec<_> = world.s3.take();
    let [put] = puts.as_slice() else { panic!("{puts:?}") };
    assert_eq!(put.operation, "PUT");
    assert_eq!(put.uri.path(), format!("/storage/{path}"), "on this machine the bucket stands in the path");
    for name in put.headers.keys() {
        assert!(!name.as_str().starts_with("x-amz-checksum-"), "{name}");
        assert!(!["x-amz-sdk-checksum-algorithm", "x-amz-trailer"].contains(&name.as_str()), "{name}");
    }
    assert_eq!(header(put, "content-encoding"), None, "no aws-chunked");
    assert_eq!(header(put, "x-amz-decoded-content-length"), None);
    assert_eq!(header(put, "transfer-encoding"), None);
    assert_eq!(header(put, "content-length"), Some(JPEG.len().to_string().as_str()));
    assert_eq!(put.body_bytes, JPEG.len());
    assert_eq!(
        header(put, "x-amz-content-sha256"),
        Some(sha256_of_jpeg().as_str()),
        "the signature covers the bytes"
    );
    assert_eq!(header(put, "x-amz-acl"), Some("private"));
    assert_eq!(header(put, "content-type"), Some("image/jpeg"), "the catalog's type, not the declared one");
    assert_eq!(header(put, "x-amz-meta-sha256"), Some(sha256_of_jpeg().as_str()));
    let rows = world.rows("file_records").await;
    let upload_id = rows[0]["upload_id"].as_s().unwrap();
    assert_eq!(header(put, "x-amz-meta-upload-id"), Some(upload_id.as_str()));
}

#[tokio::test]
async fn an_object_is_removed_by_one_plain_delete() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    world.s3.take();
    world.delete(&world.token("admin"), &path, true).await.ok();
    let seen = world.s3.take();
    let [delete] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(
        (delete.operation.as_str(), delete.uri.path()),
        ("DELETE", format!("/storage/{path}").as_str())
    );
}

/// A query parameter of a URL.
fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.into_owned())
}

/// A URL's beginning and end, as its own parameters say.
fn life(url: &Url) -> (Timestamp, SignedDuration) {
    let from = DateTime::strptime("%Y%m%dT%H%M%SZ", parameter(url, "X-Amz-Date").unwrap()).unwrap();
    let seconds = parameter(url, "X-Amz-Expires").unwrap().parse().unwrap();
    (from.to_zoned(TimeZone::UTC).unwrap().timestamp(), SignedDuration::from_secs(seconds))
}

async fn signed(world: &World, path: &str, more: Value) -> (Url, Timestamp) {
    let mut body = json!({ "file_path": path });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = world.request(Method::POST, "signed-url", &world.token("accountant")).json(&body);
    let answer = world.send(request).await.ok();
    let expires_at = answer.body["expires_at"].as_str().unwrap().parse().unwrap();
    (answer.body["url"].as_str().unwrap().parse().unwrap(), expires_at)
}

#[tokio::test]
async fn a_signed_url_says_how_the_file_is_shown_and_until_when() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    for (asked, seconds, disposition) in [
        (json!({}), 600, "inline"),
        (json!({ "expires_in": 60 }), 60, "inline"),
        (json!({ "expires_in": 900, "purpose": "view" }), 900, "inline"),
        (json!({ "purpose": "download" }), 600, "attachment"),
    ] {
        let (url, expires_at) = signed(&world, &path, asked).await;
        assert_eq!(url.path(), format!("/storage/{path}"));
        let (from, life) = life(&url);
        assert_eq!(life.as_secs(), seconds);
        assert_eq!(from + life, expires_at, "life and expires_at agree");
        assert_eq!(parameter(&url, "response-content-type").as_deref(), Some("image/jpeg"));
        let shown = parameter(&url, "response-content-disposition").unwrap();
        assert!(shown.starts_with(&format!("{disposition}; filename=")), "{shown}");
        assert_eq!(parameter(&url, "x-amz-checksum-mode"), None);
        assert_eq!(parameter(&url, "X-Amz-SignedHeaders").as_deref(), Some("host"), "a browser can open it");

        let file = world.http.get(url).send().await.unwrap();
        assert_eq!(file.status(), 200);
        assert_eq!(file.headers()["content-type"], "image/jpeg");
        assert_eq!(file.headers()["content-disposition"], shown.as_str());
        assert_eq!(file.bytes().await.unwrap(), JPEG);
    }
    assert!(world.s3.take().iter().all(|seen| seen.operation != "HEAD"), "signing asks the bucket nothing");
}

#[tokio::test]
async fn a_signed_url_with_any_part_changed_is_refused() {
    let world = World::start().await;
    let (path, other) = (world.a_receipt().await, world.a_receipt().await);
    let (url, _) = signed(&world, &path, json!({})).await;
    let status =
        async |method: Method, url: Url| world.http.request(method, url).send().await.unwrap().status();
    assert_eq!(status(Method::GET, url.clone()).await, 200);

    let mut changed = Vec::new();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(pairs.len() >= 8, "{url}");
    for at in 0..pairs.len() {
        let with = |pair: Option<(String, String)>| {
            let mut pairs = pairs.clone();
            pairs.splice(at..=at, pair);
            let mut url = url.clone();
            url.query_pairs_mut().clear().extend_pairs(pairs);
            url
        };
        let (name, value) = &pairs[at];
        let flipped = match value.strip_suffix('0') {
            Some(rest) => format!("{rest}1"),
            None => format!("{}0", &value[..value.len() - 1]),
        };
        changed.push((format!("{name} changed"), with(Some((name.clone(), flipped)))));
        changed.push((format!("{name} left out"), with(None)));
        assert_eq!(
            status(Method::GET, with(Some(pairs[at].clone()))).await,
            200,
            "rewriting alone harms nothing"
        );
    }
    let longer = url.as_str().replace("X-Amz-Expires=600", "X-Amz-Expires=604800");
    changed.push(("a longer life".into(), longer.parse().unwrap()));
    let with_more = |more: &str| format!("{url}&{more}").parse::<Url>().unwrap();
    changed.push(("a parameter more".into(), with_more("response-cache-control=public")));
    changed.push(("a type given twice".into(), with_more("response-content-type=text%2Fhtml")));
    changed.push(("another operation".into(), with_more("acl")));
    let mut moved = url.clone();
    moved.set_path(&format!("/storage/{other}"));
    changed.push(("another key".into(), moved.clone()));
    moved.set_path("/storage/");
    changed.push(("the bucket".into(), moved));
    for (what, url) in changed {
        let refusal = status(Method::GET, url).await.as_u16();
        // An algorithm that nobody knows is not a wrong signature.
        let expected: &[u16] =
            if what.starts_with("X-Amz-Algorithm") { &[400, 403, 501] } else { &[400, 403] };
        assert!(expected.contains(&refusal), "{what}: {refusal}");
    }
    for method in [Method::PUT, Method::DELETE, Method::POST] {
        assert!([403, 405].contains(&status(method.clone(), url.clone()).await.as_u16()), "{method}");
    }
    let elsewhere = world.http.get(url.clone()).header("host", "storage.example").send().await.unwrap();
    assert_eq!(elsewhere.status(), 403, "another host");
    assert_eq!(world.object(&path).await, JPEG);
}

#[tokio::test]
async fn an_expired_url_and_a_request_without_a_signature_are_refused() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let sign = async |begun_seconds_ago| {
        let from = SystemTime::now() - Duration::from_secs(begun_seconds_ago);
        let life = PresigningConfig::builder().start_time(from).expires_in(Duration::from_secs(60));
        let get = world.bucket().get_object().bucket("storage").key(&path).presigned(life.build().unwrap());
        world.http.get(get.await.unwrap().uri()).send().await.unwrap().status()
    };
    assert_eq!(sign(0).await, 200);
    assert_eq!(sign(120).await, 403);

    let (mut url, _) = signed(&world, &path, json!({})).await;
    url.set_query(None);
    assert_eq!(world.http.get(url.clone()).send().await.unwrap().status(), 403);
    url.set_path("/storage");
    assert_eq!(world.http.get(url).send().await.unwrap().status(), 403, "nor is the bucket listed");
}

#[tokio::test]
async fn at_spaces_the_bucket_stands_in_the_hosts_name() {
    let mut world = World::start().await;
    let path = world.a_receipt().await;
    let mut config = world.config.clone();
    config.spaces = SpacesConfig {
        endpoint: "https://nyc3.digitaloceanspaces.com".into(),
        region: "nyc3".into(),
        bucket: "fusonems".into(),
        key: Some(SpacesKey {
            access: Secret::new("DO00EXAMPLE".into()),
            secret: Secret::new("the-spaces-secret".into()),
        }),
    };
    // Signing asks the bucket nothing, so it works without one.
    let api = world.serve(&config).await;
    let request = world.http.post(format!("http://{api}/api/storage/signed-url"));
    let request = request.bearer_auth(world.token("accountant")).json(&json!({ "file_path": path }));
    let answer = world.send(request).await.ok();
    let url: Url = answer.body["url"].as_str().unwrap().parse().unwrap();
    assert_eq!(url.origin().ascii_serialization(), "https://fusonems.nyc3.digitaloceanspaces.com");
    assert_eq!(url.path(), format!("/{path}"));
    let scope = parameter(&url, "X-Amz-Credential").unwrap();
    assert!(scope.starts_with("DO00EXAMPLE/") && scope.ends_with("/nyc3/s3/aws4_request"), "{scope}");
    assert_eq!(parameter(&url, "X-Amz-Security-Token"), None, "Lambda's session is not the bucket's");
    assert_eq!(parameter(&url, "x-amz-checksum-mode"), None);
}

/// Does everything there is to do, well and badly.
async fn everything(world: &World) {
    let [accountant, admin, auditor] = ["accountant", "admin", "auditor"].map(|role| world.token(role));
    let stranger = world.token_of("org-9", "7", "admin");
    let (kept, gone) = (world.a_receipt().await, world.a_receipt().await);
    world.upload(&accountant, "receipt-upload", fixed("fixed.jpg")).await.ok();
    world.upload(&accountant, "receipt-upload", fixed("fixed.jpg")).await.refused(409, "path_exists");
    let text = reqwest::multipart::Part::bytes(&b"no picture"[..]).file_name("x.jpg");
    let answer = world.upload(&accountant, "receipt-upload", World::receipt(text)).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(world.upload(&auditor, "receipt-upload", fixed("fixed.jpg")).await.status, 403);
    world.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    assert_eq!(world.upload(&accountant, "receipt-upload", fixed("a.jpg")).await.status, 503);
    world.s3.heal();
    world.sign(&accountant, &kept).await.ok();
    world.sign(&stranger, &kept).await.refused(404, "file_not_found");
    world.sign(&auditor, &kept).await.refused(403, "forbidden");
    world.metadata(&accountant, &kept).await.ok();
    world.delete(&accountant, &gone, false).await.ok();
    world.delete(&accountant, &gone, false).await.refused(404, "file_not_found");
    world.delete(&admin, &gone, true).await.ok();
    world.delete(&admin, &kept, true).await.ok();
    world.logs(&admin, "").await.ok();
    world.logs(&accountant, "").await.refused(403, "forbidden");
}

fn fixed(name: &str) -> reqwest::multipart::Form {
    World::receipt(World::jpeg(name)).text("add_timestamp", "false")
}

#[tokio::test]
async fn the_log_is_written_in_transactions_alone_and_each_has_its_entrys_id_as_token() {
    let world = World::start().await;
    everything(&world).await;
    let seen = world.dynamodb.take();
    let transactions: Vec<_> = seen.iter().filter(|seen| seen.operation == "TransactWriteItems").collect();
    assert!(transactions.len() > 15, "{}", transactions.len());
    for transaction in &transactions {
        let entry = transaction.entry();
        let items = transaction.body["TransactItems"].as_array().unwrap();
        let (put, change) = items.split_last().unwrap();
        assert_eq!(put["Put"]["TableName"], "storage_audit_logs");
        assert_eq!(put["Put"]["ConditionExpression"], "attribute_not_exists(pk)", "nothing is overwritten");
        assert_eq!(put["Put"]["Item"]["sk"]["S"], entry.id.as_str());
        assert_eq!(transaction.body["ClientRequestToken"], entry.id.as_str());
        assert!(change.len() <= 1);
        for item in change {
            let kind = item.as_object().unwrap().keys().next().unwrap();
            assert!(["Update", "ConditionCheck"].contains(&kind.as_str()), "{kind}");
            assert_eq!(item[kind]["TableName"], "file_records");
        }
    }
    for other in seen.iter().filter(|seen| seen.operation != "TransactWriteItems") {
        let (operation, table) = (other.operation.as_str(), other.body["TableName"].as_str());
        let known = match operation {
            "Query" | "GetItem" => true,
            "PutItem" | "UpdateItem" => table == Some("file_records"),
            _ => false,
        };
        assert!(known, "{operation} on {table:?}");
    }
    // What cannot be seen by anybody is all that changes outside of a transaction.
    for write in seen.iter().filter(|seen| ["PutItem", "UpdateItem"].contains(&seen.operation.as_str())) {
        let condition = write.body["ConditionExpression"].as_str().unwrap();
        let values = &write.body["ExpressionAttributeValues"];
        let invisible = match write.operation.as_str() {
            "PutItem" => write.body["Item"]["state"]["S"] == "PENDING",
            _ => condition.contains("version = :never") && values[":never"]["N"] == "0",
        };
        assert!(invisible, "{write:?}");
    }
    let ids = world.entries().await.into_iter().map(|entry| entry.id);
    let sent = transactions.iter().filter(|seen| seen.status == 200).map(|seen| seen.entry().id);
    let (mut ids, mut sent): (Vec<_>, Vec<_>) = (ids.collect(), sent.collect());
    ids.sort();
    sent.sort();
    assert_eq!(ids, sent, "each entry was one transaction's");
}
