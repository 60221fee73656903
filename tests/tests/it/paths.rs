//! Paths that lead anywhere else than they seem to are refused on every endpoint that takes one, and never cleaned.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use shared::catalog::Catalog;
use shared::file_name::MAX_FILE_NAME_BYTES;
use shared::ids::MAX_ID_BYTES;

use crate::raw::{self, Multipart, bearer, post_form};
use crate::world::{Answer, JPEG, World};

/// Org and object to 128 bytes, the file name too, and what the catalog has between them.
fn longest_path_bytes() -> usize {
    MAX_ID_BYTES + Catalog::get().max_path_bytes() + MAX_ID_BYTES + MAX_FILE_NAME_BYTES + "///".len()
}

/// Every way to give a path to an endpoint.
async fn ask_everywhere(world: &World, path: &str) -> Vec<(&'static str, Answer)> {
    let token = world.token("admin");
    let all = |path: &str| path.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let get = async |target: String| {
        let header = bearer(&world.token("admin"));
        raw::send(world, &Method::GET, &target, &[("authorization", &header)]).await
    };
    let encoded = all(path);
    let delete = |query: String| world.send(world.request(Method::DELETE, &query, &token));
    vec![
        ("signed-url", world.sign(&token, path).await),
        ("delete, body", world.delete(&token, path, false).await),
        ("hard delete, body", world.delete(&token, path, true).await),
        ("delete, query", delete(format!("delete?file_path={encoded}")).await),
        ("metadata", get(format!("/metadata/{encoded}")).await),
        ("metadata, deleted", get(format!("/metadata/{encoded}?include_deleted=true")).await),
        ("audit-logs", get(format!("/audit-logs?file_path={encoded}")).await),
    ]
}

#[tokio::test]
async fn a_path_outside_the_grammar_is_refused_everywhere() {
    let world = World::start().await;
    let good = world.a_receipt().await;
    let before = world.snapshot().await;
    let too_long = |bytes: usize| "a".repeat(bytes);
    let table = [
        ("org-123/accounting/receipt/../x.jpg".to_owned(), "invalid_object_id"),
        ("org-123/accounting/receipt/receipt-456/..".into(), "invalid_path"),
        ("org-123/accounting/receipt/receipt-456/../../../../org-999/x".into(), "invalid_path"),
        ("../org-123/accounting/receipt/receipt-456".into(), "invalid_org_id"),
        ("org-123/../org-123/receipt/o/x.jpg".into(), "invalid_path"),
        ("./org-123/accounting/receipt/o".into(), "invalid_org_id"),
        ("org-123/accounting/receipt/./x.jpg".into(), "invalid_object_id"),
        ("org-123/accounting/receipt/o/.".into(), "invalid_path"),
        ("org-123/accounting/receipt/a..b/x.jpg".into(), "invalid_object_id"),
        ("org-123/accounting/receipt/o/a..jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/%2e%2e%2fo/x.jpg".into(), "invalid_object_id"),
        ("org-123/accounting/receipt/o/%2e%2e%2fx.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/%252e.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/a%2ejpg".into(), "invalid_path"),
        ("org-123%2faccounting/receipt/o/x.jpg".into(), "invalid_path"),
        ("org-123\\accounting\\receipt\\o\\x.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/..\\x.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/x.jpg\0.pdf".into(), "invalid_path"),
        ("org-123\0/accounting/receipt/o/x.jpg".into(), "invalid_org_id"),
        ("org-123//accounting/receipt/o/x.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt//x.jpg".into(), "invalid_object_id"),
        ("org-123/accounting/receipt/o/".into(), "invalid_path"),
        ("org-123/accounting/receipt/o".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/x.jpg/".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/x/y.jpg".into(), "invalid_path"),
        ("/accounting/receipt/o/x.jpg".into(), "invalid_path"),
        (format!("//{good}"), "invalid_path"),
        (format!("///{good}"), "invalid_path"),
        ("/".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/\u{202e}gpj.jpg".into(), "invalid_path"),
        ("org-123\u{200b}/accounting/receipt/o/x.jpg".into(), "invalid_org_id"),
        ("org-123/accounting/receipt/o\u{2066}/x.jpg".into(), "invalid_object_id"),
        ("\u{feff}org-123/accounting/receipt/o/x.jpg".into(), "invalid_org_id"),
        ("org-123\u{ff0f}accounting/receipt/o/x.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/x\u{ff0e}jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/\u{2025}/x.jpg".into(), "invalid_object_id"),
        ("org-123/accounting/receipt/o/ä.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/a b.jpg".into(), "invalid_path"),
        (" org-123/accounting/receipt/o/x.jpg".into(), "invalid_org_id"),
        ("org-123/accounting/receipt/o/x.jpg\n".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/x.jpg\r\nX: y".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/-rf.jpg".into(), "invalid_path"),
        ("org-123/accounting/receipt/o/.htaccess".into(), "invalid_path"),
        ("-org/accounting/receipt/o/x.jpg".into(), "invalid_org_id"),
        ("*/accounting/receipt/o/x.jpg".into(), "invalid_org_id"),
        ("org-123/Accounting/receipt/o/x.jpg".into(), "invalid_system"),
        ("org-123/accounting/Receipt/o/x.jpg".into(), "invalid_object_type"),
        ("org-123/accounting/source/o/x.jpg".into(), "invalid_object_type"),
        ("org-123/accounting /receipt/o/x.jpg".into(), "invalid_system"),
        (format!("{}/accounting/receipt/o/x.jpg", too_long(129)), "invalid_org_id"),
        (format!("org-123/accounting/receipt/{}/x.jpg", too_long(129)), "invalid_object_id"),
        (format!("org-123/accounting/receipt/o/{}.jpg", too_long(125)), "invalid_path"),
        (format!("s3://storage/{good}"), "invalid_path"),
        (format!("{good}?versionId=1"), "invalid_path"),
        (format!("{good}#x"), "invalid_path"),
    ];
    world.dynamodb.take();
    world.s3.take();
    for (path, code) in table {
        for (endpoint, answer) in ask_everywhere(&world, &path).await {
            let seen = (answer.status.as_u16(), answer.code());
            assert_eq!(seen, (400, code), "{endpoint}, {path:?}: {}", answer.body);
        }
    }
    assert!(world.dynamodb.take().is_empty() && world.s3.take().is_empty(), "a store was asked");
    assert_eq!(world.snapshot().await, before, "what is malformed leaves no trace");
}

#[tokio::test]
async fn dots_in_a_url_are_never_resolved_on_the_way() {
    let world = World::start().await;
    let good = world.a_receipt().await;
    let before = world.snapshot().await;
    let name = good.rsplit('/').next().unwrap();
    let header = bearer(&world.token("admin"));
    for target in [
        format!("/metadata/x/../{good}"),
        format!("/metadata/./{good}"),
        format!("/metadata/org-999/../{good}"),
        format!("/metadata/org-123/accounting/receipt/receipt-456/x/../{name}"),
        format!("/metadata/org-123/accounting/receipt/receipt-456/./{name}"),
        format!("/metadata/org-123/accounting/receipt/receipt-456/%2e/{name}"),
        format!("/metadata/org-123/accounting/receipt/x/%2e%2e/receipt-456/{name}"),
        format!("/metadata/org-123/accounting/receipt/x/%2E%2E%2Freceipt-456/{name}"),
        format!("/metadata/{}", good.replace('/', "\\")),
        format!("/metadata/{good}/."),
        format!("/metadata/{good}/x/.."),
        format!("/metadata/../metadata/{good}"),
    ] {
        let answer = raw::send(&world, &Method::GET, &target, &[("authorization", &header)]).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.body);
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn one_leading_slash_is_stripped() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let answers = ask_everywhere(&world, &format!("/{path}")).await;
    let seen: Vec<_> = answers.iter().map(|(name, answer)| (*name, answer.status.as_u16())).collect();
    let expected = [
        ("signed-url", 200),
        ("delete, body", 200),
        ("hard delete, body", 200),
        // Gone by now, and found to be gone.
        ("delete, query", 404),
        ("metadata", 404),
        ("metadata, deleted", 200),
        ("audit-logs", 200),
    ];
    assert_eq!(seen, expected);
    let paths: Vec<_> = world.entries().await.iter().filter_map(|entry| entry.file_path()).collect();
    assert!(paths.len() > 6 && paths.iter().all(|seen| *seen == path), "{paths:?}");
}

#[tokio::test]
async fn an_organisation_whose_name_begins_like_another_is_another() {
    let world = World::start().await;
    let (one, ten) = (world.token_of("org-1", "1", "admin"), world.token_of("org-10", "1", "admin"));
    let form = |org: &'static str| {
        Form::new().part("file", World::jpeg("a.jpg")).text("org_id", org).text("object_id", "o")
    };
    let theirs = world.upload(&ten, "receipt-upload", form("org-10")).await.ok().path();
    world.upload(&one, "receipt-upload", form("org-10")).await.refused(403, "foreign_organisation");
    world.upload(&ten, "receipt-upload", form("org-1")).await.refused(403, "foreign_organisation");
    world.upload(&one, "receipt-upload", form("ORG-1")).await.refused(403, "foreign_organisation");
    world.sign(&one, &theirs).await.refused(404, "file_not_found");
    world.delete(&one, &theirs, true).await.refused(404, "file_not_found");
    world.metadata(&one, &theirs).await.refused(404, "file_not_found");
    let log = world.logs(&one, &format!("?file_path={theirs}")).await.ok();
    let entries = log.body["logs"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "its own three attempts");
    assert!(entries.iter().all(|entry| entry["success"] == "false" && entry["file_path"] == theirs.as_str()));
    let log = world.logs(&ten, &format!("?file_path={theirs}")).await.ok();
    assert_eq!(log.body["count"], 1, "the upload, and nothing of what the other tried");
}

#[tokio::test]
async fn fields_of_a_form_are_held_to_the_same_grammar() {
    let world = World::start().await;
    let before = world.snapshot().await;
    let long = "a".repeat(129);
    let bad_ids = [
        "..",
        ".",
        "a..b",
        "a/b",
        "a\\b",
        "%2e%2e",
        "-a",
        "_a",
        ".a",
        "a b",
        "a\0",
        "ä",
        "a\u{200b}",
        "a\n",
        &long,
    ];
    for id in bad_ids {
        for (org, object, code) in [(id, "o", "invalid_org_id"), ("org-123", id, "invalid_object_id")] {
            let form = Multipart::default().text("org_id", org).text("object_id", object).file("", JPEG);
            let answer = post_form(&world, "receipt-upload", &world.token("admin"), form.end()).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{id:?}: {}", answer.body);
        }
    }
    for (system, object_type, code) in [
        ("../accounting", "receipt", "invalid_system"),
        ("accounting/receipt", "receipt", "invalid_system"),
        ("accounting", "../receipt", "invalid_object_type"),
        ("accounting", "receipt ", "invalid_object_type"),
        ("ACCOUNTING", "receipt", "invalid_system"),
    ] {
        let form = Multipart::default().text("org_id", "org-123").text("object_id", "o").file("", JPEG);
        let form = form.text("system", system).text("object_type", object_type).end();
        let answer = post_form(&world, "upload", &world.token("admin"), form).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{system}/{object_type}");
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn the_longest_path_there_can_be_works_from_end_to_end() {
    let longest = Catalog::get().iter().max_by_key(|object_type| object_type.to_string().len()).unwrap();
    assert_eq!(longest.to_string(), "communications/message-attachment");
    assert_eq!(longest_path_bytes(), 128 + 33 + 128 + 128 + 3);
    // S3's limit for a key; DynamoDB's for a partition key, which a path is, is 2,048.
    assert!(longest_path_bytes() <= 1_024);

    let world = World::start().await;
    let (org, object) = ("o".repeat(128), "b".repeat(128));
    let admin = world.token_of(&org, "1", "admin");
    let upload = async || {
        let file = Part::bytes(JPEG).file_name(format!("{}.jpg", "n".repeat(300)));
        let form =
            Form::new().part("file", file).text("org_id", org.clone()).text("object_id", object.clone());
        let form = form.text("system", longest.system).text("object_type", longest.name);
        world.upload(&admin, "upload", form.text("add_timestamp", "false")).await
    };
    let path = upload().await.ok().path();
    // A name that is derived leaves room for a suffix; the grammar takes what fills that room.
    assert_eq!(path.len(), longest_path_bytes() - 7);
    assert_eq!(open(&world, &admin, &path).await, JPEG);
    upload().await.refused(409, "path_exists");

    let full = format!("{org}/{longest}/{object}/{}.jpg", "n".repeat(124));
    assert_eq!(full.len(), longest_path_bytes());
    copy(&world, &path, &full).await;
    assert_eq!(open(&world, &admin, &full).await, JPEG);
    assert_eq!(world.metadata(&admin, &full).await.ok().body["file_path"], full);
    assert_eq!(world.logs(&admin, &format!("?file_path={full}")).await.ok().body["count"], 2);
    world.delete(&admin, &full, false).await.ok();
    world.delete(&admin, &full, true).await.ok();
    assert_eq!(world.objects().await, [path]);
    world
        .sign(&admin, &format!("{org}/{longest}/{object}/{}.jpg", "n".repeat(125)))
        .await
        .refused(400, "invalid_path");
}

async fn open(world: &World, token: &str, path: &str) -> Vec<u8> {
    let body = json!({ "file_path": path });
    let signed = world.send(world.request(Method::POST, "signed-url", token).json(&body)).await.ok();
    let answer = world.http.get(signed.body["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

/// A file at a path that no upload would derive, put into both stores by hand.
async fn copy(world: &World, from: &str, to: &str) {
    let mut row =
        world.rows("file_records").await.into_iter().find(|row| row["pk"].as_s().unwrap() == from).unwrap();
    row.insert("pk".into(), aws_sdk_dynamodb::types::AttributeValue::S(to.into()));
    world.tables().put_item().table_name("file_records").set_item(Some(row)).send().await.unwrap();
    let body = JPEG.to_vec().into();
    world.bucket().put_object().bucket("storage").key(to).body(body).send().await.unwrap();
}

#[tokio::test]
async fn headers_that_nobody_expects_do_not_keep_a_path_from_its_answer() {
    let world = World::start().await;
    let path = world.a_receipt().await;
    let token = bearer(&world.token("admin"));
    let target = format!("/metadata/{path}");
    for (name, value) in [
        ("x-forwarded-proto", "::"),
        ("x-forwarded-proto", "exa mple"),
        ("x-forwarded-host", "[::"),
        ("x-forwarded-for", "nobody"),
        ("user-agent", "Mözilla/5.0 🚑"),
        ("x-name", "Müller"),
        ("cookie", "a; =b; __Host-session; c=ä"),
        ("content-type", "ä"),
    ] {
        let headers = [("authorization", token.as_str()), (name, value)];
        let answer = raw::send(&world, &Method::GET, &target, &headers).await;
        assert_eq!(answer.status, 200, "{name}: {value}: {}", answer.body);
    }
    let entry = world.entries().await.into_iter().find(|entry| entry.device.contains("5.0")).unwrap();
    assert_eq!(entry.device, "Mözilla/5.0 🚑");
}
