//! Idempotency keys: a request that is sent again under its key gets the answer that the first one got, and nothing happens
//! twice.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::clock;
use tokio::sync::watch;

use crate::costs::{consumed, is_read};
use crate::lane::{Lane, Sent, Stored};
use crate::operation::{Operation, Ready};
use crate::proxy::{Fault, Seen};
use crate::world::{Answer, JPEG, World};

pub const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

/// Every operation on files that takes a key.
pub const KEYED: &[Operation] = &[
    Operation::Upload,
    Operation::Receipt,
    Operation::Zip,
    Operation::Sign(None),
    Operation::Sign(Some("view")),
    Operation::SoftDelete,
    Operation::HardDelete("ACTIVE"),
    Operation::HardDelete("DELETED"),
    Operation::HardDelete("PURGING"),
];

/// The same, and what is done with upload sessions.
fn all() -> impl Iterator<Item = Operation> {
    KEYED.iter().chain(Operation::SESSIONS).copied().filter(|operation| *operation != Operation::Complete(2))
}

/// One operation of each route.
const ROUTES: &[Operation] =
    &[Operation::Upload, Operation::Receipt, Operation::Zip, Operation::Sign(None), Operation::SoftDelete];

/// An operation in a lane of its own, done once under [`KEY`].
async fn done<'w>(world: &'w World, operation: Operation) -> (Lane<'w>, Ready, Answer) {
    let lane = Lane::beside(world).await;
    let ready = operation.prepare(&lane).await;
    let (answer, request_id) = lane.call(&ready.sent.under(KEY)).await;
    let first = answer.ok();
    assert!(!first.is_replayed(), "{operation:?}");
    assert_eq!(sorted(lane.stored().await.told_by(&request_id)), operation.told(), "{operation:?}");
    (lane, ready, first)
}

pub fn sorted(mut told: Vec<(String, bool)>) -> Vec<(String, bool)> {
    told.sort();
    told
}

/// The same answer to the last byte, and nothing else that was not there before.
pub async fn is_replayed(lane: &Lane<'_>, sent: &Sent, first: &Answer, before: &Stored) {
    let again = lane.call(sent).await.0.ok();
    assert!(again.is_replayed(), "{sent:?}");
    assert_eq!(String::from_utf8_lossy(&again.bytes), String::from_utf8_lossy(&first.bytes));
    assert_eq!(&lane.stored().await, before, "{sent:?}");
}

/// The same request as another client would write it: another boundary, another order of fields, other white space.
fn rewritten(sent: &Sent) -> Sent {
    if sent.content_type == "application/json" {
        let fields: Value = serde_json::from_slice(&sent.body).unwrap();
        let fields =
            fields.as_object().unwrap().iter().map(|(name, value)| format!("\n \"{name}\" : {value}"));
        let body = format!("{{{}\n}}", fields.rev().collect::<Vec<_>>().join(" ,"));
        return Sent { body: body.into_bytes(), ..sent.clone() };
    }
    let parts = split(&sent.body, b"--line");
    let mut body = Vec::new();
    for part in parts[1..parts.len() - 1].iter().rev() {
        body.extend_from_slice(b"--another-boundary");
        body.extend_from_slice(part);
    }
    body.extend_from_slice(b"--another-boundary--\r\n");
    let content_type = "multipart/form-data; boundary=another-boundary";
    Sent { body, content_type, ..sent.clone() }
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(found) = rest.windows(at.len()).position(|window| window == at) {
        parts.push(&rest[..found]);
        rest = &rest[found + at.len()..];
    }
    parts.push(rest);
    parts
}

/// Requests that differ from this one in a single thing.
pub fn others(sent: &Sent) -> Vec<Sent> {
    if let Some(session) = sent.path.strip_prefix("uploads/") {
        let (head, tail) = session.split_at(25);
        let last = if tail.starts_with('0') { "1" } else { "0" };
        let path = format!("uploads/{head}{last}{}", &tail[1..]);
        let parts = Sent { body: b"{\"part_numbers\":[2]}".to_vec(), ..sent.clone() };
        let parts = sent.path.ends_with("/parts").then_some(parts);
        return parts.into_iter().chain([Sent { path, ..sent.clone() }]).collect();
    }
    if sent.content_type == "application/json" {
        let fields: Value = serde_json::from_slice(&sent.body).unwrap();
        let mut changes = vec![("related_object_type", json!("invoice")), ("related_object_id", json!("7"))];
        changes.extend(match sent.path.as_str() {
            "signed-url" => vec![("expires_in", json!(61)), ("purpose", json!("download"))],
            "uploads" => vec![
                ("object_id", json!("9")),
                ("filename", json!("other.pdf")),
                ("size_bytes", json!(2_001)),
                ("sha256", json!("0".repeat(64))),
                ("add_timestamp", json!(false)),
            ],
            _ => vec![("hard_delete", json!(fields["hard_delete"] == false))],
        });
        changes.extend(fields["file_path"].as_str().map(|path| ("file_path", json!(format!("{path}.jpg")))));
        let other = |(name, value): (&str, Value)| {
            let mut fields = fields.clone();
            fields[name] = value;
            Sent { body: fields.to_string().into_bytes(), ..sent.clone() }
        };
        return changes.into_iter().map(other).collect();
    }
    let replaced = |from: &[u8], to: &[u8]| {
        let body = split(&sent.body, from).join(to);
        (body != sent.body).then(|| Sent { body, ..sent.clone() })
    };
    let other_jpeg = [JPEG, b"2"].concat();
    let changes: [(&[u8], &[u8]); 9] = [
        (b"photo.jpg", b"other.jpg"),
        (b"table.csv", b"other.csv"),
        (b"app.zip", b"other.zip"),
        (JPEG, &other_jpeg),
        (b"a,b\r\n", b"a,c\r\n"),
        (b"\r\n\r\ntrue\r\n", b"\r\n\r\nfalse\r\n"),
        (b"name=\"object_id\"\r\n\r\n", b"name=\"object_id\"\r\n\r\n9"),
        (
            b"--line--",
            b"--line\r\nContent-Disposition: form-data; name=\"related_object_type\"\r\n\r\ninvoice\r\n--line--",
        ),
        (
            b"--line--",
            b"--line\r\nContent-Disposition: form-data; name=\"related_object_id\"\r\n\r\n7\r\n--line--",
        ),
    ];
    changes.into_iter().filter_map(|(from, to)| replaced(from, to)).collect()
}

/// The rows of keys of which there is one, since this test has its world for itself.
pub async fn key_rows(world: &World) -> Vec<HashMap<String, AttributeValue>> {
    let rows = world.rows("storage_state").await.into_iter();
    rows.filter(|row| row["pk"].as_s().unwrap().starts_with("KEY#")).collect()
}

/// Sets numbers of a row that the test cannot wait for.
pub async fn set(world: &World, table: &str, row: &HashMap<String, AttributeValue>, name: &str, value: i64) {
    let update = world.tables().update_item().table_name(table).key("pk", row["pk"].clone());
    let update = update.update_expression("SET #name = :value").expression_attribute_names("#name", name);
    let value = AttributeValue::N(value.to_string());
    update.expression_attribute_values(":value", value).send().await.unwrap();
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_nothing_happens_twice() {
    let world = World::start().await;
    for operation in all() {
        let (lane, ready, first) = done(&world, operation).await;
        let before = lane.stored().await;
        let sent = ready.sent.under(KEY);
        is_replayed(&lane, &sent, &first, &before).await;
        is_replayed(&lane, &rewritten(&sent), &first, &before).await;
        is_replayed(&lane, &sent, &first, &before).await;
        before.check(&format!("{operation:?}"));
    }
}

#[tokio::test]
async fn a_delete_is_the_same_in_the_body_and_in_the_query() {
    let world = World::start().await;
    let (lane, ready, first) = done(&world, Operation::HardDelete("ACTIVE")).await;
    let path = format!("delete?file_path={}&hard_delete=true", ready.path.unwrap());
    let sent = Sent { path, body: Vec::new(), ..ready.sent.under(KEY) };
    is_replayed(&lane, &sent, &first, &lane.stored().await).await;
}

#[tokio::test]
async fn an_answer_is_replayed_also_when_the_file_has_changed_since() {
    let world = World::start().await;
    for operation in [Operation::Receipt, Operation::Sign(None)] {
        for hard in [false, true] {
            let (lane, ready, first) = done(&world, operation).await;
            let path = ready.path.clone().unwrap_or_else(|| first.path());
            let delete = json!({ "file_path": path, "hard_delete": hard });
            lane.call(&Sent::json(axum::http::Method::DELETE, "delete", "admin", &delete)).await.0.ok();
            is_replayed(&lane, &ready.sent.under(KEY), &first, &lane.stored().await).await;
        }
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused_and_changes_nothing() {
    let world = World::start().await;
    for operation in all() {
        let (lane, ready, first) = done(&world, operation).await;
        let before = lane.stored().await;
        let others = others(&ready.sent);
        assert!(!others.is_empty(), "{operation:?}");
        for other in others {
            let answer = lane.call(&other.under(KEY)).await.0.refused(422, "idempotency_key_reused");
            assert!(!answer.is_replayed());
            assert_eq!(lane.stored().await, before, "{other:?}");
        }
        is_replayed(&lane, &ready.sent.under(KEY), &first, &before).await;
    }
}

#[tokio::test]
async fn a_key_is_its_users_its_organisations_and_its_routes() {
    let world = World::start().await;
    // Every lane is another organisation, and all of them use one key.
    for &operation in ROUTES {
        let (lane, ready, first) = done(&world, operation).await;
        let before = lane.stored().await;
        let theirs = Sent { user: "2", ..ready.sent.under(KEY) };
        let theirs = lane.call(&theirs).await.0;
        assert_eq!(theirs.status.as_u16(), operation.status_again(), "{operation:?}: {}", theirs.body);
        assert!(!theirs.is_replayed(), "{operation:?}, of another user");
        assert_eq!(lane.stored().await.entries.len(), before.entries.len() + 1, "{operation:?}");
        is_replayed(&lane, &ready.sent.under(KEY), &first, &lane.stored().await).await;

        for &other in ROUTES.iter().filter(|other| **other != operation) {
            let ready = other.prepare(&lane).await;
            let answer = lane.call(&ready.sent.under(KEY)).await.0.ok();
            assert!(!answer.is_replayed(), "{other:?} after {operation:?}");
        }
        // Of another organisation: every lane is one, and all of them use one key.
    }
}

#[tokio::test]
async fn a_malformed_key_is_refused_before_anything_is_done() {
    let world = World::start().await;
    let (longest, too_long) = ("k".repeat(128), "k".repeat(129));
    let malformed: [&[&[u8]]; 9] = [
        &[b""],
        &[too_long.as_bytes()],
        &["schl\u{fc}ssel".as_bytes()],
        &[b"\xff"],
        &[b"a b"],
        &[b"a\tb"],
        // A function URL makes one header of several, with commas.
        &[b"one", b"two"],
        &[KEY.as_bytes(), KEY.as_bytes()],
        &[b"one,two"],
    ];
    for &operation in ROUTES {
        let lane = Lane::beside(&world).await;
        let ready = operation.prepare(&lane).await;
        let before = lane.stored().await;
        for keys in malformed {
            let keys = keys.iter().map(|key| key.to_vec()).collect();
            let sent = Sent { keys, ..ready.sent.clone() };
            lane.call(&sent).await.0.refused(400, "invalid_idempotency_key");
        }
        assert_eq!(lane.stored().await, before, "{operation:?}");
        assert!(lane.dynamodb.take().is_empty() && lane.s3.take().is_empty(), "{operation:?}");
        let longest = ready.sent.under(&longest);
        lane.call(&longest).await.0.ok();
        assert!(lane.call(&longest).await.0.ok().is_replayed(), "{operation:?}");
    }
}

#[tokio::test]
async fn a_replayed_url_is_the_very_same_and_works_while_it_lives() {
    let world = World::start().await;
    let (lane, ready, first) = done(&world, Operation::Sign(None)).await;
    let again = lane.call(&ready.sent.under(KEY)).await.0.ok();
    assert_eq!(again.body["url"], first.body["url"]);
    let url = again.body["url"].as_str().unwrap();
    let file = world.http.get(url).send().await.unwrap();
    assert_eq!((file.status().as_u16(), file.bytes().await.unwrap().as_ref()), (200, JPEG));

    // Once the URL is dead, so is the memory of it.
    let rows = key_rows(&world).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let (at, ttl) = (number(row, "at"), number(row, "ttl"));
    assert_eq!(ttl - at / 1_000, 600, "a receipt's URL lives ten minutes");
    set(&world, "storage_state", row, "ttl", clock::now().as_second()).await;
    let fresh = lane.call(&ready.sent.under(KEY)).await.0.ok();
    assert!(!fresh.is_replayed());
    let urls = lane
        .stored()
        .await
        .entries
        .iter()
        .filter(|entry| entry.action.name() == "SIGNED_URL_GENERATED")
        .count();
    assert_eq!(urls, 2, "a URL of its own, with its own entry");
}

fn number(row: &HashMap<String, AttributeValue>, name: &str) -> i64 {
    row[name].as_n().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_was_refused_is_not_remembered() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    for refused in Operation::REFUSALS {
        let ready = refused.prepare(&lane).await;
        let (key, status) = (format!("{refused:?}"), refused.status());
        for _ in 0..2 {
            let answer = lane.call(&ready.sent.under(&key)).await.0;
            assert_eq!((answer.status.as_u16(), answer.is_replayed()), (status, false), "{refused:?}");
        }
        // The same key serves for what is sent instead.
        let instead =
            if ready.sent.path == "signed-url" { Operation::Sign(None) } else { Operation::Receipt };
        let ready = instead.prepare(&lane).await;
        assert!(!lane.call(&ready.sent.under(&key)).await.0.ok().is_replayed(), "{refused:?}");
        assert!(lane.call(&ready.sent.under(&key)).await.0.ok().is_replayed(), "{refused:?}");
    }
    lane.stored().await.check("refusals");
}

#[tokio::test]
async fn what_is_kept_is_small_and_holds_no_secret() {
    const MAX_BYTES: usize = 512;
    const KNOWN: [&str; 9] =
        ["pk", "fingerprint", "holder", "ttl", "lease", "at", "entry", "file_path", "upload_id"];
    let world = World::start().await;
    for (kept, operation) in all().enumerate() {
        let before = key_rows(&world).await;
        let (lane, ready, first) = done(&world, operation).await;
        let rows = key_rows(&world).await;
        assert_eq!(rows.len(), kept + 1, "{operation:?}: one row");
        let row = rows.iter().find(|row| !before.contains(row)).unwrap();
        let size: usize = row.iter().map(|(name, value)| name.len() + format!("{value:?}").len()).sum();
        assert!(size <= MAX_BYTES, "{operation:?}: {size} bytes");
        assert!(row.keys().all(|name| KNOWN.contains(&name.as_str())), "{operation:?}: {row:?}");
        assert!(!row.contains_key("lease"), "{operation:?} is done");
        let path = first.body.get("file_path").and_then(Value::as_str);
        let kept = row.get("file_path").map(|path| path.as_s().unwrap().as_str());
        assert!(kept.is_none_or(|kept| Some(kept) == path), "{operation:?}: {kept:?}");
        let rest: Vec<_> = row.iter().filter(|(name, _)| *name != "file_path").collect();
        let text = format!("{rest:?}");
        let token = world.token_of(&lane.org, "1", ready.sent.role);
        let secrets =
            [KEY, "http", "X-Amz", "Signature", &token, ".jpg", ".csv", ".zip", &lane.org, "localsecret"];
        for secret in secrets {
            assert!(!text.contains(secret), "{operation:?}: {secret} in {text}");
        }
        let life = number(row, "ttl") - number(row, "at") / 1_000;
        let expected = match operation {
            Operation::Sign(_) => 600,
            Operation::Open | Operation::Parts => 900,
            _ => 24 * 60 * 60,
        };
        assert_eq!(life, expected, "{operation:?}");
    }
}

#[tokio::test]
async fn a_key_takes_no_round_trip_of_its_own() {
    let world = World::start().await;
    for &operation in KEYED {
        let lane = Lane::beside(&world).await;
        let ready = operation.prepare(&lane).await;
        lane.call(&ready.sent).await.0.ok();
        let without = Cost::so_far(&lane);

        let ready = operation.prepare(&lane).await;
        let sent = ready.sent.under(KEY);
        let (release, held) = watch::channel(false);
        // Neither read is answered before both are on their way: they do not follow each other.
        lane.dynamodb.fail("GetItem", 0, 2, Fault::Held(held));
        let both = async {
            if without.reads > 0 {
                lane.dynamodb.until("both reads", |seen| seen.len() == 2).await;
            }
            release.send_replace(true);
        };
        let ((answer, _), ()) = tokio::join!(lane.call(&sent), both);
        assert!(!answer.ok().is_replayed());
        let with = Cost::so_far(&lane);
        assert_eq!(with.requests, without.requests + without.reads, "{operation:?}");
        assert_eq!(with.reads, 2 * without.reads, "{operation:?}");
        assert!(lane.call(&sent).await.0.ok().is_replayed());
        println!("{operation:?}: {without:?}; with a key {with:?}; replayed {:?}", Cost::so_far(&lane));
    }
}

/// What went over the wire since somebody last looked.
#[derive(Debug)]
#[expect(dead_code, reason = "printed for whoever wants to know")]
struct Cost {
    requests: usize,
    reads: usize,
    write_units: f64,
    read_units: f64,
}

impl Cost {
    fn so_far(lane: &Lane<'_>) -> Self {
        let (tables, bucket) = (lane.dynamodb.take(), lane.s3.take());
        let (reads, writes): (Vec<_>, Vec<_>) = tables.iter().partition(|seen| is_read(seen));
        let units = |seen: &[&Seen]| seen.iter().map(|seen| consumed(seen)).sum();
        let requests = tables.len() + bucket.len();
        Self { requests, reads: reads.len(), write_units: units(&writes), read_units: units(&reads) }
    }
}
