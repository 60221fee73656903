//! A file that is not there, one that was deleted, one that is not there yet and one of somebody else are one and the
//! same to whoever asks: the answer, the work behind it, and the entry in the log.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::audit::Body;

use crate::proxy::Fault;
use crate::world::World;

/// Everything about a refusal that anybody could tell it by, but for what names the one request.
#[derive(Debug, PartialEq)]
struct Trace {
    status: u16,
    headers: Vec<String>,
    body: String,
    on_the_wire: Vec<String>,
    entries: Vec<Body>,
}

/// A way to ask for a file.
struct Way {
    what: &'static str,
    request: fn(&World, &str) -> RequestBuilder,
    /// Deleted files are shown.
    sees_deleted: bool,
    /// Purged files are shown.
    sees_purged: bool,
}

fn post(world: &World, body: &Value) -> RequestBuilder {
    world.request(Method::POST, "signed-url", &world.token("admin")).json(body)
}

fn delete(world: &World, path: &str, hard: bool) -> RequestBuilder {
    let body = json!({ "file_path": path, "hard_delete": hard });
    world.request(Method::DELETE, "delete", &world.token("admin")).json(&body)
}

fn metadata(world: &World, path: &str, query: &str) -> RequestBuilder {
    world.request(Method::GET, &format!("metadata/{path}{query}"), &world.token("admin"))
}

const WAYS: [Way; 7] = [
    Way {
        what: "signing",
        request: |world, path| post(world, &json!({ "file_path": path })),
        sees_deleted: false,
        sees_purged: false,
    },
    Way {
        what: "signing to view",
        request: |world, path| post(world, &json!({ "file_path": path, "purpose": "view" })),
        sees_deleted: false,
        sees_purged: false,
    },
    Way {
        what: "signing to download",
        request: |world, path| post(world, &json!({ "file_path": path, "purpose": "download" })),
        sees_deleted: false,
        sees_purged: false,
    },
    Way {
        what: "deleting softly",
        request: |world, path| delete(world, path, false),
        sees_deleted: false,
        sees_purged: false,
    },
    Way {
        what: "deleting hard",
        request: |world, path| delete(world, path, true),
        sees_deleted: true,
        sees_purged: false,
    },
    Way {
        what: "reading the record",
        request: |world, path| metadata(world, path, ""),
        sees_deleted: false,
        sees_purged: false,
    },
    Way {
        what: "reading the record of a deleted file",
        request: |world, path| metadata(world, path, "?include_deleted=true"),
        sees_deleted: true,
        sees_purged: true,
    },
];

#[tokio::test]
async fn missing_deleted_pending_and_foreign_files_cannot_be_told_apart() {
    let world = World::start().await;
    let files = Files::make(&world).await;
    for way in &WAYS {
        let mut absent = vec![
            ("reserved", &files.pending),
            ("given up", &files.given_up),
            ("foreign", &files.foreign),
            ("foreign and deleted", &files.foreign_deleted),
        ];
        if !way.sees_deleted {
            absent.push(("deleted", &files.deleted));
        }
        if !way.sees_purged {
            absent.push(("purged", &files.purged));
        }
        let missing = trace(&world, way, "org-123/accounting/receipt/receipt-456/missing.jpg").await;
        assert_eq!(missing.status, 404, "{}: {}", way.what, missing.body);
        assert_eq!(missing.on_the_wire, ["GetItem", "TransactWriteItems"], "{}", way.what);
        assert_eq!(missing.entries.len(), 1, "{}", way.what);
        for (why, path) in absent {
            assert_eq!(trace(&world, way, path).await, missing, "{}: {why}", way.what);
        }
    }
    // What is live for its owner shows that the foreign file is there.
    let theirs = world.token_of("org-999", "1", "admin");
    world.metadata(&theirs, &files.foreign).await.ok();
    world.check_invariants().await;
}

/// One file of every kind of absence.
struct Files {
    deleted: String,
    purged: String,
    pending: String,
    given_up: String,
    foreign: String,
    foreign_deleted: String,
}

impl Files {
    async fn make(world: &World) -> Self {
        let admin = world.token("admin");
        let theirs = world.token_of("org-999", "1", "admin");
        let (deleted, purged) = (world.a_receipt().await, world.a_receipt().await);
        world.delete(&admin, &deleted, false).await.ok();
        world.delete(&admin, &purged, true).await.ok();
        let foreign = [foreign(world, &theirs).await, foreign(world, &theirs).await];
        world.delete(&theirs, &foreign[1], false).await.ok();
        let [foreign, foreign_deleted] = foreign;
        let given_up = a_failed_reservation(world, "given-up.jpg").await;
        let pending = a_held_reservation(world, "pending.jpg").await;
        Self { deleted, purged, pending, given_up, foreign, foreign_deleted }
    }
}

async fn foreign(world: &World, token: &str) -> String {
    let form = reqwest::multipart::Form::new().part("file", World::jpeg("theirs.jpg"));
    let form = form.text("org_id", "org-999").text("object_id", "receipt-456");
    world.upload(token, "receipt-upload", form).await.ok().path()
}

/// A reservation whose upload was refused by the object store, and given up.
pub async fn a_failed_reservation(world: &World, name: &str) -> String {
    world.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(403, "AccessDenied"));
    let path = tried(world, name, 500).await;
    world.s3.heal();
    assert_eq!(world.snapshot().await.records[&path], "PURGED");
    path
}

/// A reservation of which the service does not know whether its commit got through; it did not. Maintenance will decide,
/// not before its lease is over.
pub async fn a_held_reservation(world: &World, name: &str) -> String {
    world.dynamodb.fail("TransactWriteItems", 0, usize::MAX, Fault::Reset);
    let path = tried(world, name, 503).await;
    world.dynamodb.heal();
    assert_eq!(world.snapshot().await.records[&path], "PENDING");
    path
}

async fn tried(world: &World, name: &str, status: u16) -> String {
    let form = World::receipt(World::jpeg(name)).text("add_timestamp", "false");
    let answer = world.upload(&world.token("accountant"), "receipt-upload", form).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    format!("org-123/accounting/receipt/receipt-456/{name}")
}

async fn trace(world: &World, way: &Way, path: &str) -> Trace {
    let before = world.entries().await.len();
    world.dynamodb.take();
    world.s3.take();
    let answer = (way.request)(world, path).send().await.unwrap();
    let status = answer.status().as_u16();
    let shown = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name != "date").then(|| format!("{name}: {}", value.to_str().unwrap()))
    };
    let headers = answer.headers().iter().filter_map(shown).collect();
    let body = answer.text().await.unwrap();
    let request_id = serde_json::from_str::<Value>(&body).unwrap()["request_id"].as_str().unwrap().to_owned();
    let on_the_wire = world.dynamodb.operations().into_iter().chain(world.s3.operations()).collect();
    let mut entries = world.entries().await.split_off(before);
    for entry in &mut entries {
        assert_eq!(entry.file_path().as_deref(), Some(path));
        assert_eq!(entry.request_id, request_id, "the answer leads to the entry");
        // What differs from entry to entry whatever they say.
        let some = String::new;
        (entry.path, entry.id, entry.request_id, entry.writer) = (None, some(), some(), some());
        (entry.sequence, entry.previous, entry.replaces, entry.timestamp_ms) = (0, None, None, 0);
    }
    Trace { status, headers, body: body.replace(&request_id, ""), on_the_wire, entries }
}
