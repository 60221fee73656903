//! Upload sessions: files straight into the bucket, with all the guarantees of an upload through a function.

use data_encoding::HEXLOWER;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::proxy::Fault;
use crate::world::{Answer, JPEG, ORG, World};

const MIB: usize = 1024 * 1024;
const ZIP: &[u8] = include_bytes!("../../fixtures/files/python-zipfile.zip");

/// A PDF of so many bytes, each of its parts different.
pub fn pdf(bytes: usize) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    file.extend((file.len()..bytes).map(|n| (n / 1_000 % 251) as u8));
    file
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// An announcement of a PDF for `workspace/pdf`.
pub fn announced(bytes: &[u8]) -> Value {
    json!({
        "org_id": ORG, "system": "workspace", "object_type": "pdf", "object_id": "scan-1",
        "filename": "scan.pdf", "size_bytes": bytes.len(), "mime_type": "application/pdf",
        "sha256": sha256(bytes),
    })
}

impl World {
    pub async fn open(&self, token: &str, announced: &Value) -> Answer {
        self.send(self.request(Method::POST, "uploads", token).json(announced)).await
    }

    pub async fn of_upload(&self, method: Method, id: &str, rest: &str, token: &str) -> Answer {
        self.send(self.request(method, &format!("uploads/{id}{rest}"), token)).await
    }

    pub async fn complete(&self, token: &str, opened: &Answer) -> Answer {
        self.of_upload(Method::POST, id(opened), "/complete", token).await
    }

    /// Puts bytes to a part's URL, as a browser does.
    pub async fn put_part(&self, part: &Value, bytes: &[u8]) -> StatusCode {
        let put = self.http.put(part["url"].as_str().unwrap()).body(bytes.to_vec());
        put.send().await.unwrap().status()
    }

    /// Puts all parts of a file.
    pub async fn put_all(&self, opened: &Answer, file: &[u8]) {
        let size = usize::try_from(opened.body["part_size_bytes"].as_u64().unwrap()).unwrap();
        for (part, bytes) in opened.body["parts"].as_array().unwrap().iter().zip(file.chunks(size)) {
            assert_eq!(self.put_part(part, bytes).await, 200, "{part}");
        }
    }
}

pub fn id(opened: &Answer) -> &str {
    opened.body["upload_id"].as_str().unwrap_or_else(|| panic!("no upload_id: {}", opened.body))
}

#[tokio::test]
async fn a_file_of_several_parts_becomes_a_file_like_any_other() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(17 * MIB);
    let opened = world.open(&member, &announced(&file)).await.ok();
    let body = &opened.body;
    assert_eq!((&body["part_size_bytes"], &body["part_count"]), (&json!(8 * MIB), &json!(3)));
    assert_eq!(body["parts"][2]["size_bytes"], json!(MIB));
    let before = world.snapshot().await;
    assert_eq!(before.entries, [""; 0], "a reservation is no effect");
    assert_eq!(world.metadata(&member, &opened.path()).await.status, 404, "and nobody sees it");

    world.put_all(&opened, &file).await;
    let shown = world.of_upload(Method::GET, id(&opened), "", &member).await.ok();
    assert_eq!((&shown.body["state"], shown.body["parts"].as_array().unwrap().len()), (&json!("open"), 3));
    let stored = world.complete(&member, &opened).await.ok();
    assert_eq!(stored.path(), opened.path());
    assert_eq!(stored.body["metadata"]["sha256"], json!(sha256(&file)));
    assert_eq!(stored.body["metadata"]["integrity"], "verified");
    assert_eq!(world.object(&stored.path()).await, file);

    let again = world.complete(&member, &opened).await.ok();
    assert_eq!(again.body, stored.body, "completing it twice is completing it once");
    let signed = world.sign(&member, &stored.path()).await.ok();
    let got = world.http.get(signed.body["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(got.headers()["content-type"], "application/pdf");
    assert_eq!(got.bytes().await.unwrap(), file);
    let snapshot = world.snapshot().await;
    let told: Vec<_> = snapshot.entries.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(told, ["METADATA_READ", "UPLOAD", "SIGNED_URL_GENERATED"]);
    let shown = world.of_upload(Method::GET, id(&opened), "", &member).await.ok();
    assert_eq!(shown.body["state"], "stored");
    assert_eq!(counters(&world).await, [0, 0]);
    world.check_invariants().await;
}

/// What is counted of open sessions: their number, and their bytes.
async fn counters(world: &World) -> [i64; 2] {
    let rows = world.rows("storage_state").await;
    ["OPEN#", "RESERVED#"].map(|prefix| {
        let of_kind = rows.iter().filter(|row| row["pk"].as_s().unwrap().starts_with(prefix));
        of_kind.map(|row| row["held"].as_n().unwrap().parse::<i64>().unwrap()).sum()
    })
}

#[tokio::test]
async fn what_arrived_and_is_not_what_was_announced_is_refused_and_gone() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(3_000);
    let other = |name: &str, value: Value| {
        let mut body = announced(&file);
        body[name] = value;
        body
    };
    let mut zip = announced(ZIP);
    for (name, value) in [("filename", "a.zip"), ("mime_type", "application/zip"), ("object_type", "source")]
    {
        zip[name] = json!(value);
    }
    zip["system"] = json!("app-builder");
    let mut broken = ZIP.to_vec();
    let name = broken.len() / 2;
    broken[30] ^= 1;
    assert!(name > 30);
    zip["sha256"] = json!(sha256(&broken));
    let developer = world.token("developer");
    for (token, body, bytes, code) in [
        (&member, other("sha256", json!(sha256(b"else"))), &file, "sha256_mismatch"),
        (&member, other("sha256", Value::Null), &vec![0x4d; 3_000], "file_type_mismatch"),
        (&developer, zip, &broken, "invalid_zip"),
    ] {
        let opened = world.open(token, &body).await.ok();
        world.put_all(&opened, bytes).await;
        let before = world.snapshot().await.entries.len();
        world.complete(token, &opened).await.refused(400, code);
        let after = world.snapshot().await;
        assert_eq!(after.objects, [""; 0], "{code}");
        assert_eq!(after.records[&opened.path()], "PURGED", "{code}");
        assert_eq!(after.entries.len(), before + 1, "{code}: {:?}", after.entries);
        assert!(
            after.entries.last().unwrap().contains(&format!("UPLOAD failed: {code}")),
            "{:?}",
            after.entries
        );
        world.complete(token, &opened).await.refused(409, "upload_failed");
        assert_eq!(counters(&world).await, [0, 0], "{code}");
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn missing_parts_can_still_be_put() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(9 * MIB);
    let opened = world.open(&member, &announced(&file)).await.ok();
    let parts = opened.body["parts"].as_array().unwrap();
    assert_eq!(world.put_part(&parts[0], &file[..8 * MIB]).await, 200);
    let refused = world.complete(&member, &opened).await.refused(409, "parts_missing");
    assert_eq!(refused.body["missing"], json!([2]));
    let signed = world.request(Method::POST, &format!("uploads/{}/parts", id(&opened)), &member);
    let signed = world.send(signed.json(&json!({ "part_numbers": [2] }))).await.ok();
    assert_eq!(world.put_part(&signed.body["parts"][0], &file[8 * MIB..]).await, 200);
    world.complete(&member, &opened).await.ok();
    world.check_invariants().await;
}

#[tokio::test]
async fn a_part_url_is_good_for_its_part_and_for_nothing_after_the_end() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(9 * MIB);
    for end in ["complete", "abort"] {
        let opened = world.open(&member, &announced(&file)).await.ok();
        let parts = opened.body["parts"].as_array().unwrap().clone();
        assert_eq!(world.put_part(&parts[0], &file[..MIB]).await, 403, "another length");
        let with = |from: &str, to: &str| {
            let mut part = parts[0].clone();
            let url = part["url"].as_str().unwrap().to_owned();
            assert!(url.contains(from), "{url}");
            part["url"] = json!(url.replacen(from, to, 1));
            part
        };
        for (what, part) in [
            ("another number", with("partNumber=1", "partNumber=2")),
            ("another key", with("/scan-1/", "/scan-2/")),
        ] {
            assert_eq!(world.put_part(&part, &file[..8 * MIB]).await, 403, "{what}");
        }
        world.put_all(&opened, &file).await;
        if end == "complete" {
            world.complete(&member, &opened).await.ok();
        } else {
            world.of_upload(Method::DELETE, id(&opened), "", &member).await.ok();
        }
        let other = vec![b'x'; 8 * MIB];
        assert_eq!(world.put_part(&parts[0], &other).await, 404, "after {end}: NoSuchUpload");
        let objects = world.objects().await;
        if end == "complete" {
            assert_eq!(world.object(&opened.path()).await, file, "the file is what it was");
        } else {
            assert!(!objects.contains(&opened.path()));
            let entries = world.entries().await;
            let aborted: Vec<_> = entries
                .iter()
                .filter(|entry| entry.path.as_deref().is_some_and(|path| opened.path().ends_with(path)))
                .collect();
            assert_eq!(aborted.len(), 1, "one entry ends a session");
            assert_eq!(
                (aborted[0].action.name(), aborted[0].details.reason.as_deref()),
                ("UPLOAD_ABORTED", Some("aborted"))
            );
        }
        let uploads = world.bucket().list_multipart_uploads().bucket("storage").send().await.unwrap();
        assert_eq!(uploads.uploads().len(), 0, "after {end} nothing is under way");
    }
    assert_eq!(counters(&world).await, [0, 0]);
    world.check_invariants().await;
}

#[tokio::test]
async fn a_session_is_its_users_own() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(100);
    let opened = world.open(&member, &announced(&file)).await.ok();
    world.put_all(&opened, &file).await;
    let strangers = [world.token_of("org-999", "1", "member"), world.token_of(ORG, "2", "admin")];
    let nobody = "01JZZZZZZZZZZZZZZZZZZZZZZZ";
    let mut bodies = Vec::new();
    for (token, id) in [
        (&strangers[0], id(&opened)),
        (&strangers[1], id(&opened)),
        (&member, nobody),
        (&strangers[0], nobody),
    ] {
        for (method, rest) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/complete")] {
            let mut refused = world.of_upload(method, id, rest, token).await.refused(404, "upload_not_found");
            refused.body["request_id"] = Value::Null;
            bodies.push(refused.body);
        }
        let sign = world.request(Method::POST, &format!("uploads/{id}/parts"), token);
        world.send(sign.json(&json!({ "part_numbers": [1] }))).await.refused(404, "upload_not_found");
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "missing and foreign are one answer");
    let failed = world.entries().await;
    assert_eq!(failed.len(), 16);
    assert!(failed.iter().all(|entry| entry.error.is_some() && entry.path.is_none()));
    assert!(failed.iter().all(|entry| entry.details.upload_id.is_some()));
    world.complete(&member, &opened).await.ok();
}

#[tokio::test]
async fn over_the_bounds_there_are_no_more_sessions_until_some_have_ended() {
    let world = World::start().await;
    let [first, second] = ["1", "2"].map(|user| world.token_of(ORG, user, "developer"));
    let zip = json!({
        "org_id": ORG, "system": "app-builder", "object_type": "source", "object_id": "app-1",
        "filename": "app.zip", "size_bytes": 1u64 << 30, "mime_type": "application/zip",
    });
    let mut opened = Vec::new();
    for _ in 0..50 {
        opened.push(world.open(&first, &zip).await.ok());
    }
    let refused = world.open(&first, &zip).await.refused(429, "too_many_uploads");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(counters(&world).await, [50, 50 << 30]);
    assert!(world.entries().await.is_empty(), "a 429 has no entry");
    let uploads = world.bucket().list_multipart_uploads().bucket("storage").send().await.unwrap();
    assert_eq!(uploads.uploads().len(), 50, "a refused session leaves nothing in the bucket");
    world.of_upload(Method::DELETE, id(&opened[0]), "", &first).await.ok();
    world.open(&first, &zip).await.ok();

    // As if others of the organisation had 150 open.
    let add =
        world.tables().update_item().table_name("storage_state").key("pk", text(&format!("RESERVED#{ORG}")));
    let add = add.update_expression("ADD held :more");
    let more = aws_sdk_dynamodb::types::AttributeValue::N((150u64 << 30).to_string());
    add.expression_attribute_values(":more", more).send().await.unwrap();
    world.open(&second, &zip).await.refused(429, "too_many_bytes");
    world.of_upload(Method::DELETE, id(&opened[1]), "", &first).await.ok();
    world.open(&second, &zip).await.ok();
}

fn text(value: &str) -> aws_sdk_dynamodb::types::AttributeValue {
    aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned())
}

#[tokio::test]
async fn a_malformed_announcement_changes_nothing() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(100);
    for (name, value, status, code) in [
        ("org_id", json!("org-999"), 403, "foreign_organisation"),
        ("org_id", Value::Null, 400, "missing_field"),
        ("system", json!("nowhere"), 400, "invalid_system"),
        ("system", json!("accounting"), 400, "invalid_object_type"),
        ("object_id", json!("../x"), 400, "invalid_object_id"),
        ("filename", json!(""), 400, "missing_field"),
        ("filename", json!("a".repeat(1_025)), 400, "invalid_field"),
        ("filename", json!("scan.exe"), 400, "invalid_file_type"),
        ("mime_type", json!("image/png"), 400, "file_type_mismatch"),
        ("size_bytes", json!(0), 400, "empty_file"),
        ("size_bytes", json!(-1), 400, "invalid_body"),
        ("size_bytes", json!(1u64 << 40), 413, "too_large"),
        ("sha256", json!("abc"), 400, "invalid_field"),
        ("upload_id", json!("x"), 400, "invalid_body"),
    ] {
        let mut body = announced(&file);
        body[name] = value.clone();
        world.open(&member, &body).await.refused(status, code);
    }
    world.open(&world.token("accountant"), &announced(&file)).await.refused(403, "forbidden");
    let opened = world.open(&member, &announced(&file)).await.ok();
    for numbers in [json!([]), json!([0]), json!([2]), json!([1, 1]), json!((1..=101).collect::<Vec<_>>())] {
        let sign = world.request(Method::POST, &format!("uploads/{}/parts", id(&opened)), &member);
        let refused = world.send(sign.json(&json!({ "part_numbers": numbers }))).await;
        refused.refused(400, "invalid_part_numbers");
    }
    world.of_upload(Method::GET, "not-an-id", "", &member).await.refused(400, "invalid_upload_id");
    let records = world.snapshot().await.records;
    assert_eq!(records.len(), 1, "{records:?}");
}

#[tokio::test]
async fn a_completion_that_is_cut_goes_on_with_the_next_one() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(9 * MIB);
    for (operation, fault) in [
        ("POST", Fault::CutAfterSending),
        ("POST", Fault::Reset),
        ("HEAD", Fault::Reset),
        ("GET", Fault::AnswerXml(503, "SlowDown")),
        ("TransactWriteItems", Fault::throttled()),
    ] {
        let opened = world.open(&member, &announced(&file)).await.ok();
        world.put_all(&opened, &file).await;
        let proxy = if operation == "TransactWriteItems" { &world.dynamodb } else { &world.s3 };
        proxy.fail(operation, 0, usize::MAX, fault);
        let late = world.complete(&member, &opened).await;
        // The bucket decides that the object is there although nobody heard so.
        let expected = if operation == "POST" && late.status == 200 { 200 } else { 503 };
        assert_eq!(late.status, expected, "{operation}: {}", late.body);
        proxy.heal();
        let stored = world.complete(&member, &opened).await.ok();
        assert_eq!(world.object(&stored.path()).await, file, "{operation}");
        let entries = world.entries().await;
        let ok = entries
            .iter()
            .filter(|entry| entry.error.is_none() && stored.path().ends_with(entry.path.as_deref().unwrap()));
        assert_eq!(ok.count(), 1, "{operation}");
    }
    assert_eq!(counters(&world).await, [0, 0]);
    world.check_invariants().await;
}

#[tokio::test]
async fn twenty_completions_at_once_make_one_file_and_one_entry() {
    let world = World::start().await;
    let member = world.token("member");
    let opened = world.open(&member, &announced(JPEG)).await;
    opened.ok();
    let file = pdf(5_000);
    let opened = world.open(&member, &announced(&file)).await.ok();
    world.put_all(&opened, &file).await;
    let all = futures_util::future::join_all((0..20).map(|_| world.complete(&member, &opened))).await;
    assert!(all.iter().any(|answer| answer.status == 200));
    for answer in all {
        if answer.status != 200 {
            answer.refused(409, "upload_in_progress");
        }
    }
    let entries = world.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.error.is_none()).count(), 1);
    world.check_invariants().await;
}

#[tokio::test]
async fn a_refusal_that_is_not_in_the_log_is_none_and_the_next_completion_refuses() {
    let world = World::start().await;
    let member = world.token("member");
    let file = vec![0x4d; 3_000];
    let mut body = announced(&file);
    body["sha256"] = Value::Null;
    // In doubt, throttled, and in somebody else's way: the transaction that undoes, and then the entry alone.
    for fault in [
        Fault::Reset,
        Fault::throttled(),
        Fault::cancelled(&["None", "None", "None", "TransactionConflict", "None"]),
    ] {
        let opened = world.open(&member, &body).await.ok();
        world.put_all(&opened, &file).await;
        world.dynamodb.fail_if(
            |seen| {
                seen.operation == "TransactWriteItems"
                    && seen.body["TransactItems"].as_array().unwrap().len() > 1
            },
            0,
            usize::MAX,
            fault.clone(),
        );
        let late = world.complete(&member, &opened).await;
        assert_eq!(late.status, 503, "{fault:?}: {}", late.body);
        world.dynamodb.heal();
        world.dynamodb.idle().await;
        world.complete(&member, &opened).await.refused(400, "file_type_mismatch");
        assert!(!world.objects().await.contains(&opened.path()), "{fault:?}");
        let path = opened.path();
        let ends: Vec<_> = world
            .entries()
            .await
            .into_iter()
            .filter(|entry| {
                entry.file_path().as_ref() == Some(&path)
                    && entry.error.as_ref().is_some_and(|e| e.contains("mismatch"))
            })
            .collect();
        assert_eq!(ends.len(), 1, "{fault:?}");
        assert_eq!(counters(&world).await, [0, 0], "{fault:?}");
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn a_completion_that_could_not_begin_leaves_the_session_open() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(3_000);
    let opened = world.open(&member, &announced(&file)).await.ok();
    world.put_all(&opened, &file).await;
    world.s3.fail("GET", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    world.complete(&member, &opened).await.refused(503, "unavailable");
    world.s3.heal();
    for _ in 0..2 {
        world.of_upload(Method::DELETE, id(&opened), "", &member).await.ok();
    }
    let entries = world.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.action.name() == "UPLOAD_ABORTED").count(), 1);
    world.complete(&member, &opened).await.refused(409, "upload_aborted");
}

#[tokio::test]
async fn a_completed_upload_whose_file_was_deleted_is_not_answered_as_if_it_were_there() {
    let world = World::start().await;
    let admin = world.token("admin");
    let file = pdf(3_000);
    let opened = world.open(&admin, &announced(&file)).await.ok();
    world.put_all(&opened, &file).await;
    world.complete(&admin, &opened).await.ok();
    world.complete(&admin, &opened).await.ok();
    world.delete(&admin, &opened.path(), true).await.ok();
    world.complete(&admin, &opened).await.refused(409, "upload_stored");
}

#[tokio::test]
async fn parts_of_another_upload_do_not_count() {
    let world = World::start().await;
    let member = world.token("member");
    let file = pdf(3_000);
    let [mine, other] = [
        world.open(&member, &announced(&file)).await.ok(),
        world.open(&member, &announced(&file)).await.ok(),
    ];
    world.put_all(&other, &file).await;
    world.complete(&member, &mine).await.refused(409, "parts_missing");
    world.complete(&member, &other).await.ok();
    assert_ne!(mine.path(), other.path());
}
