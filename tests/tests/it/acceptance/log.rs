//! The log, as auditors search it and take it away.

use data_encoding::HEXLOWER;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::files::sha256;
use super::service::{Caller, Service, all, eventually};
use crate::world::Answer;

/// The hash of a leaf (RFC 6962, section 2.1).
pub fn leaf_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix([0]).chain_update(bytes).finalize().into()
}

/// A file with a history of four entries, one of them a failure, by two users.
async fn a_history(service: &Service) -> String {
    let (admin, accountant) = (service.a("admin"), service.of(&service.org, 2, "accountant"));
    let path = admin.a_receipt().await;
    let invoice = json!({
        "file_path": path, "purpose": "view", "related_object_type": "invoice", "related_object_id": "inv-789",
    });
    accountant.post("signed-url", &invoice).await.ok();
    accountant
        .delete("delete", &json!({ "file_path": path, "hard_delete": true }))
        .await
        .refused(403, "forbidden");
    admin.delete("delete", &json!({ "file_path": path })).await.ok();
    admin.entries(&format!("file_path={path}"), 4).await;
    path
}

#[tokio::test]
async fn every_filter_finds_what_it_says() {
    let service = Service::start().await;
    let path = a_history(&service).await;
    let auditor = service.a("auditor");
    let history = auditor.entries(&format!("file_path={path}"), 4).await;
    let request = history[2]["request_id"].as_str().unwrap();
    let (view, delete) = (["VIEW"].as_slice(), ["DELETE"].as_slice());
    let (filter, whole) = (|text: &str| text.to_owned(), ["UPLOAD", "VIEW", "DELETE", "DELETE"].as_slice());
    for (query, found) in [
        (filter("action_type=VIEW"), view),
        (filter("action_type=VIEW&action_type=UPLOAD"), ["UPLOAD", "VIEW"].as_slice()),
        (filter("user_id=2"), ["VIEW", "DELETE"].as_slice()),
        (filter("not_user_id=2"), ["UPLOAD", "DELETE"].as_slice()),
        (filter("role=accountant&success=true"), view),
        (filter("success=false"), delete),
        (filter("related_object_type=invoice&related_object_id=inv-789"), view),
        (filter("system=accounting"), whole),
        (filter("system=epcr"), [].as_slice()),
        (format!("file_path={path}&not_action_type=DELETE"), ["UPLOAD", "VIEW"].as_slice()),
        (format!("request_id={request}&from=-10m"), delete),
        (filter("from=-1h"), whole),
        (filter("to=-1h"), [].as_slice()),
    ] {
        assert_eq!(all(&auditor.entries(&query, found.len()).await, "action_type"), found, "{query}");
    }
    let newest = auditor.get(&format!("audit-logs?file_path={path}&not_action_type=AUDIT_READ")).await.ok();
    let newest = all(newest.body["logs"].as_array().unwrap(), "id");
    assert_eq!(newest, all(&history, "id").into_iter().rev().collect::<Vec<_>>(), "newest first");
}

fn cursor(answer: &Answer, name: &str) -> String {
    let cursor = answer.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", answer.body));
    format!("audit-logs?limit=3&cursor={cursor}")
}

#[tokio::test]
async fn pages_bring_every_entry_once_and_then_what_is_new() {
    let service = Service::start().await;
    let path = a_history(&service).await;
    let auditor = service.a("auditor");
    let query = format!("audit-logs?limit=3&not_action_type=AUDIT_READ&file_path={path}");
    let mut page = auditor.get(&query).await.ok();
    let (newer, whole) = (cursor(&page, "newer_cursor"), cursor(&page, "cursor"));
    let mut ids = Vec::new();
    loop {
        ids.extend(all(page.body["logs"].as_array().unwrap(), "id"));
        if page.body["next_cursor"].is_null() {
            break;
        }
        assert!(ids.len() < 5, "the pages end");
        page = auditor.get(&cursor(&page, "next_cursor")).await.ok();
    }
    assert!(ids.len() == 4 && ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    service.a("admin").get(&whole).await.refused(400, "invalid_cursor");

    let metadata = service.a("admin").get(&format!("metadata/{path}?include_deleted=true")).await.ok();
    assert_eq!(metadata.body["deleted"], true);
    // It shows what it has shown before, too: what commits late must not be missed.
    let holds = |answer: &Answer| {
        all(answer.body["logs"].as_array().unwrap(), "action_type").contains(&"METADATA_READ".into())
    };
    let newer = newer.replace("limit=3", "limit=10");
    assert!(holds(&eventually(async || auditor.get(&newer).await.ok(), holds).await));
    // One entry stands for all of it.
    let reads = auditor
        .get(&format!("audit-logs?action_type=AUDIT_READ&from=-1h&file_path={path}&role=auditor"))
        .await
        .ok();
    assert_eq!(reads.body["count"], 1, "{}", reads.body);
}

#[tokio::test]
async fn an_entry_is_shown_with_the_bytes_that_its_hash_is_of() {
    let service = Service::start().await;
    let path = a_history(&service).await;
    let auditor = service.a("auditor");
    let history = auditor.entries(&format!("file_path={path}"), 4).await;
    for entry in &history {
        let shown = auditor.get(&format!("audit-logs/{}", entry["id"].as_str().unwrap())).await.ok();
        let log = &shown.body["log"];
        for (member, value) in entry.as_object().unwrap().iter().filter(|(member, _)| *member != "seq") {
            assert_eq!(&log[member], value, "{member}");
        }
        let raw = log["raw"].as_str().unwrap();
        assert_eq!(log["leaf_hash"], HEXLOWER.encode(&leaf_hash(raw.as_bytes())));
        let bytes: Value = serde_json::from_str(raw).unwrap();
        assert_eq!((&bytes["i"], &bytes["q"]), (&entry["id"], &entry["request_id"]));
    }
    auditor.get("audit-logs/01JZZZZZZZZZZZZZZZZZZZZZZZ").await.refused(404, "entry_not_found");
}

/// Begins an export, and goes on with it until it has a URL.
async fn export(service: &Service, auditor: &Caller<'_>, asked: &Value) -> (Answer, Vec<u8>) {
    let begun = auditor.post("audit-logs/exports", asked).await.ok();
    let go_on = format!("audit-logs/exports/{}/continue", begun.body["export_id"].as_str().unwrap());
    let has_url = |answer: &Answer| answer.body["url"].is_string();
    let done = match has_url(&begun) {
        true => begun,
        false => {
            let ask = async || service.send(auditor.request(Method::POST, &go_on)).await;
            eventually(ask, has_url).await.ok()
        }
    };
    let opened = service.opened(&done.body["url"]).await;
    assert_eq!(opened.status, 200);
    (done, opened.bytes)
}

#[tokio::test]
async fn an_export_is_a_file_of_the_entries_asked_for() {
    let service = Service::start().await;
    let path = a_history(&service).await;
    let auditor = service.a("auditor");
    let history = auditor.entries(&format!("file_path={path}"), 4).await;
    let filter = json!({ "file_path": path, "not_action_type": ["AUDIT_READ", "AUDIT_EXPORT"] });
    let mut last = None;
    for format in ["csv", "ndjson"] {
        let (done, bytes) = export(&service, &auditor, &json!({ "format": format, "filter": filter })).await;
        let manifest = &done.body["manifest"];
        assert_eq!((&manifest["count"], &manifest["bytes"]), (&json!(4), &json!(bytes.len())));
        assert_eq!(manifest["sha256"], sha256(&bytes));
        let text = String::from_utf8(bytes).unwrap();
        let ids: Vec<String> = match format {
            "csv" => text.split_terminator("\r\n").skip(1).map(|row| row[1..27].to_owned()).collect(),
            _ => all(&text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>(), "i"),
        };
        assert_eq!(ids, all(&history, "id"), "{format}");
        last = Some(done);
    }
    let done = last.unwrap();
    let id = done.body["export_id"].as_str().unwrap();
    let shown = auditor.get(&format!("audit-logs/exports/{id}")).await.ok();
    assert_eq!((&shown.body["state"], &shown.body["manifest"]), (&json!("stored"), &done.body["manifest"]));
    let cancel = auditor.request(Method::DELETE, &format!("audit-logs/exports/{id}"));
    service.send(cancel).await.refused(409, "export_stored");
    service.a("admin").get(&format!("audit-logs/exports/{NOBODYS}")).await.refused(404, "export_not_found");
    let file = done.body["file_path"].as_str().unwrap();
    let entries = auditor.entries(&format!("file_path={file}"), 3).await;
    assert_eq!(all(&entries, "action_type"), ["UPLOAD", "DOWNLOAD", "UPLOAD_ABORTED"]);
    assert_eq!(all(&entries, "success"), ["true", "true", "false"]);
}

const NOBODYS: &str = "01JZZZZZZZZZZZZZZZZZZZZZZZ";
