//! Exports of the log: what they hold, who has them, how they end.

use std::collections::BTreeMap;
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use shared::audit::{Action, Body, Details};
use shared::clock::{self, Deadline};
use shared::ids::UserId;
use shared::maintenance::{Kind, Maintenance, Options, Report};

use crate::damage::sha256;
use crate::lane::{Lane, Sent};
use crate::log_rows;
use crate::maintenance::app;
use crate::world::{Answer, ORG, World, patiently};

/// A call's time in which it reads once and no more.
pub const ONE_READ: SignedDuration = SignedDuration::from_secs(7);
/// More entries than one read brings.
const ENTRIES: u32 = 600;

impl World {
    async fn export(&self, token: &str, asked: &Value) -> Answer {
        self.send(self.request(Method::POST, "audit-logs/exports", token).json(asked)).await
    }

    async fn of_export(&self, method: Method, id: &str, rest: &str, token: &str) -> Answer {
        self.send(self.request(method, &format!("audit-logs/exports/{id}{rest}"), token)).await
    }

    /// What is behind a signed URL.
    pub async fn taken_away(&self, exported: &Answer) -> Vec<u8> {
        let url = exported.body["url"].as_str().unwrap_or_else(|| panic!("no url: {}", exported.body));
        let answer = self.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().to_vec()
    }
}

pub fn id(exported: &Answer) -> &str {
    exported.body["export_id"].as_str().unwrap_or_else(|| panic!("no export: {}", exported.body))
}

/// What an export of the given entries holds, as NDJSON, of those below its bound that are wanted.
pub fn expected(entries: &[Body], manifest: &Value, wanted: impl Fn(&Body) -> bool) -> Vec<Vec<u8>> {
    let bound = manifest["bound"].as_str().unwrap();
    let below = entries.iter().filter(|entry| entry.id.as_str() < bound && wanted(entry));
    below.map(Body::to_bytes).collect()
}

pub fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    let Some(file) = file.strip_suffix(b"\n") else {
        assert!(file.is_empty(), "the last line ends");
        return Vec::new();
    };
    file.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The manifest says what the file is.
pub fn check_manifest(manifest: &Value, file: &[u8]) {
    assert_eq!(manifest["bytes"], file.len());
    assert_eq!(manifest["sha256"], sha256(file));
    let mut rest = file;
    for (number, part) in (1_u32..).zip(manifest["parts"].as_array().unwrap()) {
        let bytes = usize::try_from(part["bytes"].as_u64().unwrap()).unwrap();
        let (here, behind) = rest.split_at(bytes);
        assert_eq!((part["number"].as_u64(), &part["sha256"]), (Some(number.into()), &json!(sha256(here))));
        rest = behind;
    }
    assert!(rest.is_empty(), "the parts are all of the file");
}

async fn maintain(world: &World, now: Timestamp) -> Report {
    let app = app(world);
    let deadline = Deadline::after(std::time::Duration::from_secs(60));
    Maintenance::new(&app, now, deadline, Options::default()).run().await
}

#[tokio::test]
async fn an_export_holds_every_entry_below_it_once_and_oldest_first() {
    let world = World::start().await;
    let auditor = world.token("auditor");
    let path = world.a_receipt().await;
    world.sign(&auditor, &path).await.refused(403, "forbidden");
    log_rows::insert(&world, &log_rows::entries(ORG, 40)).await;
    log_rows::insert(&world, &log_rows::entries("org-999", 3)).await;
    for format in ["ndjson", "csv", "ocsf"] {
        for (filter, wanted) in [
            (json!({}), (|_| true) as fn(&Body) -> bool),
            (json!({ "action_type": ["VIEW", "UPLOAD"], "success": true }), |entry| {
                matches!(entry.action, Action::View | Action::Upload) && entry.error.is_none()
            }),
            (json!({ "not_user_id": 1 }), |_| false),
        ] {
            let exported = world.export(&auditor, &json!({ "format": format, "filter": filter })).await.ok();
            assert_eq!(exported.body["state"], "stored", "{}", exported.body);
            let (file, manifest) = (world.taken_away(&exported).await, &exported.body["manifest"]);
            check_manifest(manifest, &file);
            let entries: Vec<_> =
                world.entries().await.into_iter().filter(|entry| entry.org == ORG).collect();
            let expected = expected(&entries, manifest, wanted);
            assert_eq!(manifest["count"], expected.len(), "{format} {filter}");
            let ids = |name: &str| -> Vec<String> {
                let bodies = expected.iter().map(|bytes| Body::from_bytes(bytes).unwrap());
                bodies.map(|body| format!("{name}{}", body.id)).collect()
            };
            let text = String::from_utf8(file.clone()).unwrap();
            match format {
                "ndjson" => assert_eq!(lines(&file), expected),
                "csv" => {
                    let rows = text.split_terminator("\r\n").skip(1).map(|row| row[..27].to_owned());
                    assert_eq!(rows.collect::<Vec<_>>(), ids("\""));
                }
                _ => {
                    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
                    let uids = events.map(|event| event["metadata"]["uid"].as_str().unwrap().to_owned());
                    assert_eq!(uids.collect::<Vec<_>>(), ids(""));
                }
            }

            let record = exported.body["file_path"].as_str().unwrap();
            let of_export: Vec<_> = entries
                .iter()
                .filter(|entry| {
                    entry.file_path().as_deref() == Some(record)
                        || entry.details.upload_id.as_deref() == Some(id(&exported))
                })
                .collect();
            let actions: Vec<_> = of_export.iter().map(|entry| entry.action).collect();
            assert_eq!(actions, [Action::AuditExport, Action::Upload, Action::Download]);
            assert_eq!(of_export[0].id, manifest["bound"].as_str().unwrap(), "it ends where it begins");
            assert_eq!(of_export[0].details.format.as_deref(), Some(format));
            assert_eq!(of_export[1].details.sha256.as_deref(), manifest["sha256"].as_str());
            let shown = world.of_export(Method::GET, id(&exported), "", &auditor).await.ok();
            assert_eq!((&shown.body["manifest"], &shown.body["state"]), (manifest, &json!("stored")));
        }
    }
    world.check_invariants().await;
}

#[tokio::test]
async fn an_export_is_its_creators_alone() {
    let world = World::start().await;
    let auditor = world.token("auditor");
    let exported = world.export(&auditor, &json!({ "format": "csv" })).await.ok();
    let path = exported.path();
    let strangers = [
        world.token_of(ORG, "2", "admin"),
        world.token_of(ORG, "2", "auditor"),
        world.token_of("org-999", "1", "auditor"),
    ];
    let mut bodies = Vec::new();
    for (token, id) in strangers
        .iter()
        .map(|token| (token, id(&exported)))
        .chain([(&auditor, "01JZZZZZZZZZZZZZZZZZZZZZZZ"), (&strangers[0], "01JZZZZZZZZZZZZZZZZZZZZZZZ")])
    {
        for (method, rest) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/continue")] {
            let mut refused = world.of_export(method, id, rest, token).await.refused(404, "export_not_found");
            refused.body["request_id"] = Value::Null;
            bodies.push(refused.body);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "missing and foreign are one answer");
    // Nobody else gets the bytes, whatever the role may do with other files.
    for role in ["admin", "auditor", "service", "member", "accountant"] {
        world.sign(&world.token_of(ORG, "2", role), &path).await.refused(403, "forbidden");
    }
    world.sign(&strangers[2], &path).await.refused(404, "file_not_found");
    world.sign(&auditor, &path).await.ok();
    world.metadata(&strangers[0], &path).await.ok();
    // As an upload session it is none.
    for (method, rest) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/complete")] {
        let request = world.request(method, &format!("uploads/{}{rest}", id(&exported)), &auditor);
        world.send(request).await.refused(404, "upload_not_found");
    }
    for role in ["member", "accountant", "clinician", "developer", "service", "nobody"] {
        let token = world.token(role);
        world.export(&token, &json!({ "format": "csv" })).await.refused(403, "forbidden");
        world.of_export(Method::GET, id(&exported), "", &token).await.refused(403, "forbidden");
        world.of_export(Method::POST, id(&exported), "/continue", &token).await.refused(403, "forbidden");
        world.of_export(Method::DELETE, id(&exported), "", &token).await.refused(403, "forbidden");
    }
    let admin = world.token("admin");
    let own = world.export(&admin, &json!({ "format": "ndjson" })).await.ok();
    assert!(!world.taken_away(&own).await.is_empty());
}

#[tokio::test]
async fn nobody_uploads_where_exports_are() {
    let world = World::start().await;
    let before = world.snapshot().await;
    for role in ["admin", "service", "auditor"] {
        let token = world.token(role);
        let form = Form::new().part("file", Part::bytes(&b"a,b\r\n"[..]).file_name("a.csv"));
        let form = form.text("org_id", ORG).text("system", "audit").text("object_type", "export");
        world.upload(&token, "upload", form.text("object_id", "o-1")).await.refused(400, "invalid_system");
        let announced = json!({
            "org_id": ORG, "system": "audit", "object_type": "export", "object_id": "o-1",
            "filename": "a.csv", "size_bytes": 5, "mime_type": "text/csv",
        });
        let open = world.request(Method::POST, "uploads", &token).json(&announced);
        world.send(open).await.refused(400, "invalid_system");
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn what_is_malformed_changes_nothing() {
    let world = World::start().await;
    let auditor = world.token("auditor");
    let before = world.snapshot().await;
    for (asked, code) in [
        (json!({}), "missing_field"),
        (json!({ "format": "xlsx" }), "invalid_body"),
        (json!({ "format": "csv", "limit": 5 }), "invalid_body"),
        (json!({ "format": "csv", "filter": "action_type=VIEW" }), "invalid_body"),
        (json!({ "format": "csv", "filter": { "limit": "5" } }), "invalid_query"),
        (json!({ "format": "csv", "filter": { "cursor": "x" } }), "invalid_query"),
        (json!({ "format": "csv", "filter": { "action_type": null } }), "invalid_filter"),
        (json!({ "format": "csv", "filter": { "action_type": [["VIEW"]] } }), "invalid_filter"),
        (json!({ "format": "csv", "filter": { "action_type": "LOOK" } }), "invalid_action_type"),
        (json!({ "format": "csv", "filter": { "from": "yesterday" } }), "invalid_from"),
        (json!({ "format": "csv", "filter": { "user_id": [1, 2] } }), "invalid_query"),
    ] {
        world.export(&auditor, &asked).await.refused(400, code);
    }
    // Which of the two would count?
    for body in [
        r#"{ "format": "csv", "filter": { "user_id": "1", "user_id": "2" } }"#,
        r#"{ "format": "csv", "filter": {}, "filter": { "user_id": "2" } }"#,
    ] {
        let asked = world.request(Method::POST, "audit-logs/exports", &auditor).body(body);
        world.send(asked).await.refused(400, "invalid_body");
    }
    // It is no entry of this name.
    let answer = world.send(world.request(Method::GET, "audit-logs/exports", &auditor)).await;
    assert_eq!(answer.refused(405, "method_not_allowed").headers["allow"], "POST");
    for id in ["x", "01jzzzzzzzzzzzzzzzzzzzzzzz", "exports"] {
        world.of_export(Method::GET, id, "", &auditor).await.refused(400, "invalid_export_id");
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_request_sent_again_under_its_key_begins_no_second_export() {
    let world = World::start().await;
    let auditor = world.token("auditor");
    let begin = async |filter: Value| {
        let asked = json!({ "format": "ndjson", "filter": filter });
        let request = world.request(Method::POST, "audit-logs/exports", &auditor).json(&asked);
        world.send(request.header("idempotency-key", "k-1")).await
    };
    let [first, again] =
        [begin(json!({ "from": "-1h" })).await.ok(), begin(json!({ "from": "-1h" })).await.ok()];
    assert_eq!(id(&first), id(&again));
    assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
    assert_eq!(first.body["manifest"], again.body["manifest"]);
    begin(json!({ "from": "-2h" })).await.refused(422, "idempotency_key_reused");
    let go_on = async || {
        let path = format!("audit-logs/exports/{}/continue", id(&first));
        let request = world.request(Method::POST, &path, &auditor);
        world.send(request.header("idempotency-key", "k-2")).await.ok()
    };
    let [one, two] = [go_on().await, go_on().await];
    assert_eq!((one.is_replayed(), two.is_replayed()), (false, true));
    assert_eq!(one.body["url"], two.body["url"]);
    let entries = world.entries().await;
    let count = |action| entries.iter().filter(|entry| entry.action == action).count();
    assert_eq!((count(Action::AuditExport), count(Action::Upload), count(Action::Download)), (1, 1, 2));
    let snapshot = world.snapshot().await;
    assert_eq!((snapshot.records.len(), snapshot.objects.len()), (1, 1));
}

#[tokio::test]
async fn an_export_lives_for_a_day() {
    let world = World::start().await;
    let auditor = world.token("auditor");
    let exported = world.export(&auditor, &json!({ "format": "csv" })).await.ok();
    let path = exported.path();
    let hours = |hours| clock::now() + SignedDuration::from_hours(hours);
    assert_eq!(maintain(&world, hours(23)).await.counts(), BTreeMap::new());
    assert_eq!(world.snapshot().await.records[&path], "ACTIVE");
    assert_eq!(maintain(&world, hours(25)).await.counts(), BTreeMap::from([(Kind::ExportExpired, 1)]));
    let after = world.snapshot().await;
    assert_eq!((after.records[&path].as_str(), after.objects.len()), ("PURGED", 0));
    let ends: Vec<_> = world.entries().await.into_iter().filter(|entry| entry.role == "system").collect();
    let told: Vec<_> = ends.iter().map(|entry| (entry.action, entry.details.reason.as_deref())).collect();
    let reason = Some("export expired");
    assert_eq!(told, [(Action::Delete, reason), (Action::Purge, reason)]);
    world.sign(&auditor, &path).await.refused(404, "file_not_found");
    world.of_export(Method::POST, id(&exported), "/continue", &auditor).await.refused(404, "file_not_found");
    assert_eq!(maintain(&world, hours(26)).await.counts(), BTreeMap::new());
    world.check_invariants().await;
}

#[tokio::test]
async fn an_export_that_was_hidden_is_removed_after_its_day_all_the_same() {
    let world = World::start().await;
    let exported = world.export(&world.token("auditor"), &json!({ "format": "csv" })).await.ok();
    world.delete(&world.token("admin"), &exported.path(), false).await.ok();
    let later = clock::now() + SignedDuration::from_hours(25);
    assert_eq!(maintain(&world, later).await.counts(), BTreeMap::from([(Kind::ExportExpired, 1)]));
    assert_eq!(world.snapshot().await.objects, [""; 0]);
}

/// An export of which a part is written.
async fn half_done(lane: &Lane<'_>) -> Answer {
    log_rows::insert(lane.world, &log_rows::entries(&lane.org, ENTRIES)).await;
    let begin =
        Sent::json(Method::POST, "audit-logs/exports", "auditor", &json!({ "format": "csv" })).under("key");
    let begun = patiently(async || lane.call_within(&begin, ONE_READ).await.0).await.ok();
    assert_eq!(
        (&begun.body["state"], &begun.body["written"]),
        (&json!("open"), &json!(500)),
        "{}",
        begun.body
    );
    assert_eq!(lane.stored().await.objects.len(), 1, "the tail");
    begun
}

async fn counters(world: &World) -> Vec<i64> {
    let rows = world.rows("storage_state").await;
    let held = rows.iter().filter_map(|row| row.get("held"));
    held.map(|held| held.as_n().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn an_export_that_is_cancelled_leaves_nothing() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let begun = half_done(&lane).await;
    let cancel = |rest: &str, method: Method| {
        let path = format!("audit-logs/exports/{}{rest}", id(&begun));
        Sent::json(method, &path, "auditor", &json!({}))
    };
    assert_eq!(counters(&world).await, [1, 0]);
    for _ in 0..2 {
        lane.call(&cancel("", Method::DELETE)).await.0.ok();
    }
    lane.call(&cancel("/continue", Method::POST)).await.0.refused(409, "export_cancelled");
    let stored = lane.stored().await;
    assert_eq!((stored.objects.len(), counters(&world).await), (0, vec![0, 0]));
    assert!(stored.rows.values().all(|row| row.state == "PURGED"), "{:?}", stored.rows);
    let aborted = stored.entries.iter().filter(|entry| entry.action == Action::UploadAborted);
    assert_eq!(aborted.count(), 1);
    let uploads = world.bucket().list_multipart_uploads().bucket("storage").send().await.unwrap();
    assert_eq!(uploads.uploads().len(), 0);
    // What is done cannot be cancelled any more.
    let done = Sent::json(
        Method::POST,
        "audit-logs/exports",
        "auditor",
        &json!({ "format": "csv", "filter": { "from": "-1m" } }),
    );
    let done = lane.call(&done).await.0.ok();
    let cancel =
        Sent::json(Method::DELETE, &format!("audit-logs/exports/{}", id(&done)), "auditor", &json!({}));
    lane.call(&cancel).await.0.refused(409, "export_stored");
}

#[tokio::test]
async fn an_export_that_nobody_continues_ends_after_a_day() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    half_done(&lane).await;
    let later = clock::now() + SignedDuration::from_hours(25);
    assert_eq!(maintain(&world, later).await.counts(), BTreeMap::from([(Kind::ExpiredUpload, 1)]));
    let stored = lane.stored().await;
    assert_eq!((stored.objects.len(), counters(&world).await), (0, vec![0, 0]));
    assert_eq!(stored.entries.last().unwrap().action, Action::UploadAborted);
}

#[tokio::test]
async fn of_two_calls_at_once_one_works() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let begun = half_done(&lane).await;
    let path = format!("audit-logs/exports/{}/continue", id(&begun));
    let go_on = Sent::json(Method::POST, &path, "auditor", &json!({}));
    let all = futures_util::future::join_all((0..8).map(|_| lane.call(&go_on))).await;
    assert!(all.iter().any(|(answer, _)| answer.status == 200));
    for (answer, _) in all {
        if answer.status != 200 {
            answer.refused(409, "export_in_progress");
        }
    }
    let stored = lane.stored().await;
    let uploads = stored.entries.iter().filter(|entry| entry.action == Action::Upload).count();
    assert_eq!(uploads, 1);
    let path = stored.objects.first().unwrap();
    let row = world.rows("storage_state").await.into_iter().find(|row| {
        row.get("export").is_some_and(|export| export.as_m().is_ok_and(|it| it.contains_key("parts")))
    });
    assert!(row.is_some_and(|row| row["state"] == AttributeValue::S("stored".into())));
    let count = String::from_utf8(world.object(path).await).unwrap().matches("\r\n").count();
    assert_eq!(count, 1 + ENTRIES as usize);
}

/// Words that spreadsheets take for formulas, or that they might spoil.
const PAYLOADS: &[&str] = &[
    "=1+1",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-1+1",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "＝1+1",
    "'=1+1",
    "''",
    "\"=1+1\"",
    "a;=1+1",
    "a,=1+1",
    "a\t=1+1",
    "a\n=1+1",
    "a\r\n@x",
    "=HYPERLINK(\"http://127.0.0.1/?\"&A1,\"x\")",
    "=IMPORTXML(CONCAT(\"http://127.0.0.1/?\",A1),\"//a\")",
    "%0A=1+1",
    "{=1+1}",
    "007",
    "1e5",
    "2026-01-26",
    "1/2",
    "TRUE",
    "12345678901234567890",
    "\"; \"\"\r\n,x",
    "🚑 Übung",
];

/// Runs `infra/export/check-csv`, which opens the file with Python's `csv` and, where SPREADSHEET is set, with LibreOffice.
#[tokio::test]
async fn a_csv_export_opens_without_a_formula_and_without_a_lost_byte() {
    let world = World::start().await;
    let entries: Vec<Body> = PAYLOADS
        .iter()
        .map(|payload| {
            let text = || (*payload).to_owned();
            Body {
                device: text(),
                error: Some(text()),
                role: text(),
                user: UserId::Text(text()),
                request_id: text(),
                related_type: Some(text()),
                related_id: Some(text()),
                details: Details { reason: Some(text()), ..Details::default() },
                ..log_rows::entry(ORG, clock::now() - SignedDuration::from_secs(1), Action::View)
            }
        })
        .collect();
    log_rows::insert(&world, &entries).await;
    let folder = tempfile::tempdir().unwrap();
    for format in ["csv", "ndjson"] {
        let asked = json!({ "format": format, "filter": { "action_type": "VIEW" } });
        let exported = world.export(&world.token("auditor"), &asked).await.ok();
        assert_eq!(exported.body["manifest"]["count"], PAYLOADS.len());
        let file = world.taken_away(&exported).await;
        std::fs::write(folder.path().join(format!("export.{format}")), file).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/export/check-csv");
    let checked = tokio::task::spawn_blocking(move || {
        Command::new("python3").arg(script).arg(folder.path().join("export.csv")).output().unwrap()
    });
    let checked = checked.await.unwrap();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{told}");
}

#[tokio::test]
async fn an_export_of_many_bytes_has_many_parts() {
    let world = World::start().await;
    let begin = clock::now() - SignedDuration::from_secs(100);
    let entries: Vec<Body> = (0..150)
        .map(|number| {
            let details = Details { reason: Some("x".repeat(60_000)), ..Details::default() };
            let at = begin + SignedDuration::from_millis(number);
            Body { details, ..log_rows::entry(ORG, at, Action::Verify) }
        })
        .collect();
    log_rows::insert(&world, &entries).await;
    let admin = world.token("admin");
    let mut exported = world.export(&admin, &json!({ "format": "ndjson" })).await.ok();
    while exported.body["state"] != "stored" {
        let go_on = async || world.of_export(Method::POST, id(&exported), "/continue", &admin).await;
        exported = patiently(go_on).await.ok();
    }
    let file = world.taken_away(&exported).await;
    let manifest = &exported.body["manifest"];
    check_manifest(manifest, &file);
    assert_eq!(manifest["parts"].as_array().unwrap().len(), 2, "{manifest}");
    assert_eq!(lines(&file), entries.iter().map(Body::to_bytes).collect::<Vec<_>>());
    let stored = world.object(&exported.path()).await;
    assert_eq!(stored, file);
}
