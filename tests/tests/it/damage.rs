//! Everything that can be wrong between bucket and tables, put there past the service; and what maintenance is to make of it.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shared::audit::Body;
use shared::clock;
use shared::maintenance::Kind;

use crate::world::{JPEG, World, check_chains};

pub type Row = HashMap<String, AttributeValue>;

pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Two days from now, when nothing of what a test does has any time left.
pub fn later() -> Timestamp {
    clock::now() + SignedDuration::from_hours(48)
}

/// Everything that is stored, as it is.
#[derive(Debug, PartialEq)]
pub struct Stored {
    /// With size and entity tag.
    pub objects: BTreeMap<String, (i64, String)>,
    /// Keys of multipart uploads under way.
    pub uploads: Vec<String>,
    pub records: BTreeMap<String, BTreeMap<String, AttributeValue>>,
    pub state: BTreeMap<String, BTreeMap<String, AttributeValue>>,
    pub entries: Vec<Body>,
}

pub async fn stored(world: &World) -> Stored {
    let by_key = |rows: Vec<Row>| {
        rows.into_iter().map(|row| (row["pk"].as_s().unwrap().clone(), row.into_iter().collect())).collect()
    };
    let mut pages = world.bucket().list_objects_v2().bucket("storage").into_paginator().send();
    let mut objects = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let tag = object.e_tag().unwrap().to_owned();
            objects.insert(object.key().unwrap().to_owned(), (object.size().unwrap(), tag));
        }
    }
    let uploads = world.bucket().list_multipart_uploads().bucket("storage").send().await.unwrap();
    Stored {
        objects,
        uploads: uploads.uploads().iter().map(|upload| upload.key().unwrap().to_owned()).collect(),
        records: by_key(world.rows("file_records").await),
        state: by_key(world.rows("storage_state").await),
        entries: world.entries().await,
    }
}

/// What a test puts into the stores, past the service.
#[derive(Default)]
pub struct Stock {
    rows: Vec<Row>,
    objects: Vec<(String, Vec<u8>)>,
}

impl Stock {
    pub fn object(&mut self, key: &str, bytes: &[u8]) {
        self.objects.push((key.to_owned(), bytes.to_vec()));
    }

    /// A row in this state, with the entity tag that the object will have.
    pub fn row(&mut self, key: &str, state: &str, version: u32, etag: &str) -> &mut Row {
        let mut path = key.splitn(4, '/');
        let (org, system, kind, sort) =
            (path.next().unwrap(), path.next().unwrap(), path.next().unwrap(), path.next().unwrap());
        let now = clock::whole_seconds(clock::now());
        let mut row = Row::from([
            ("pk".into(), text(key)),
            ("state".into(), text(state)),
            ("version".into(), number(version)),
            ("upload_id".into(), text(shared::unique::ulid(now).to_string())),
            ("org_id".into(), text(org)),
            ("system".into(), text(system)),
            ("object_type".into(), text(kind)),
            ("object_id".into(), text(sort.split('/').next().unwrap())),
            ("original_filename".into(), text("file.jpg")),
            ("file_size".into(), number(JPEG.len())),
            ("mime_type".into(), text("image/jpeg")),
            ("sha256".into(), text(sha256(JPEG))),
            ("integrity".into(), text("verified")),
            ("uploaded_by".into(), number(1)),
            ("owner".into(), text("1")),
            ("created_at".into(), text(now.to_string())),
            ("updated_at".into(), text(now.to_string())),
        ]);
        if version > 0 {
            let deleted = if state == "ACTIVE" { "" } else { "DEL#" };
            row.insert("context".into(), text(format!("{deleted}{org}#{system}#{kind}")));
            row.insert("context_sort".into(), text(sort));
            row.insert("etag".into(), text(etag));
        }
        self.rows.push(row);
        self.rows.last_mut().unwrap()
    }

    /// The same, for maintenance to look at from a minute from now on.
    pub fn due(&mut self, key: &str, state: &str, version: u32, etag: &str) -> &mut Row {
        let due = (clock::now() + SignedDuration::from_secs(60)).as_millisecond();
        let row = self.row(key, state, version, etag);
        let shard = &sha256(key.as_bytes())[..2];
        let shard = u8::from_str_radix(shard, 16).unwrap() & 0xf;
        row.extend([("sweep".into(), text(format!("{shard:x}"))), ("due".into(), number(due))]);
        if version == 0 {
            row.insert("lease".into(), number(due));
        }
        row
    }

    pub async fn put(self, world: &World) {
        let puts = self.objects.into_iter().map(|(key, bytes)| {
            let put = world.bucket().put_object().bucket("storage").key(key).body(bytes.into());
            async move { put.send().await.map(drop) }
        });
        stream::iter(puts).buffer_unordered(8).try_collect::<()>().await.unwrap();
        for rows in self.rows.chunks(25) {
            let puts = rows.iter().map(|row| {
                let put = PutRequest::builder().set_item(Some(row.clone())).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            });
            let write = world.tables().batch_write_item().request_items("file_records", puts.collect());
            let answer = write.send().await.unwrap();
            assert!(answer.unprocessed_items.unwrap_or_default().is_empty());
        }
    }
}

/// The entity tag that the embedded S3 gives these bytes.
pub async fn tag_of(world: &World, bytes: &[u8]) -> String {
    let bucket = world.bucket();
    let put = bucket.put_object().bucket("storage").key("tag").body(bytes.to_vec().into());
    let tag = put.send().await.unwrap().e_tag.unwrap();
    bucket.delete_object().bucket("storage").key("tag").send().await.unwrap();
    tag
}

/// Keys of the n-th thing of this name: three organisations whose ids sort differently with what follows them.
pub fn key(name: &str, n: usize) -> String {
    let org = ["org-a", "org-a-b", "org.c"][n % 3];
    let place = ["accounting/receipt", "app-builder/source", "epcr/document"][n / 3 % 3];
    format!("{org}/{place}/{name}-{n:04}/file.jpg")
}

/// What can be wrong with a key.
pub const DAMAGES: [&str; 13] = [
    "expired-with",
    "expired-without",
    "undone",
    "purging",
    "unknown",
    "junk",
    "purged",
    "missing",
    "missing-deleted",
    "overwritten",
    "hash-right",
    "hash-wrong",
    "hash-none",
];

/// Puts so many objects into the bucket, with every kind of damage `each` times.
pub async fn damage(world: &World, each: usize, objects: usize) {
    let tag = tag_of(world, JPEG).await;
    let mut stock = Stock::default();
    for n in 0..each {
        let [
            with,
            without,
            undone,
            purging,
            unknown,
            junk,
            purged,
            missing,
            deleted,
            overwritten,
            right,
            wrong,
            none,
        ] = DAMAGES.map(|name| if name == "junk" { format!("junk-{n:04}.txt") } else { key(name, n) });
        stock.due(&with, "PENDING", 0, "");
        stock.due(&without, "PENDING", 0, "");
        stock.due(&undone, "PURGING", 0, "");
        stock.due(&purging, "PURGING", 1, &tag);
        for key in [&with, &undone, &purging, &unknown, &junk, &purged] {
            stock.object(key, JPEG);
        }
        stock.row(&purged, "PURGED", [0, 1][n % 2], &tag);
        stock.row(&missing, "ACTIVE", 1, &tag);
        stock.row(&deleted, "DELETED", 1, &tag);
        stock.row(&overwritten, "ACTIVE", 1, &tag);
        stock.object(&overwritten, b"something else");
        for (key, declared) in [(right, Some(JPEG)), (wrong, Some(&b"other"[..])), (none, None)] {
            let row = stock.due(&key, "ACTIVE", 1, &tag);
            row.insert("integrity".into(), text("pending"));
            row.remove("sha256");
            row.extend(declared.map(|bytes| ("sha256".into(), text(sha256(bytes)))));
            stock.object(&key, JPEG);
        }
        let create = world.bucket().create_multipart_upload().bucket("storage");
        create.key(self::key("multipart", n)).send().await.unwrap();
    }
    let sound = objects - stock.objects.len();
    for n in 0..sound {
        let key = key("sound", n);
        stock.object(&key, JPEG);
        stock.row(&key, ["ACTIVE", "DELETED"][usize::from(n % 10 == 0)], 1, &tag);
    }
    // What is not to be touched although it looks as if: held, and gone for good.
    for n in 0..each {
        let held = stock.due(&key("held", n), "PENDING", 0, "");
        let lease = number((later() + SignedDuration::from_hours(1)).as_millisecond());
        held.extend([("due".into(), lease.clone()), ("lease".into(), lease)]);
        stock.object(&key("held", n), JPEG);
        stock.row(&key("gone", n), "PURGED", 1, &tag);
    }
    stock.put(world).await;
}

/// What a run finds then.
pub fn all_damage(each: usize) -> BTreeMap<Kind, u64> {
    let each = each as u64;
    BTreeMap::from([
        (Kind::ExpiredUpload, 2 * each),
        (Kind::UnfinishedUndo, each),
        (Kind::UnfinishedDelete, each),
        (Kind::StaleUpload, each),
        (Kind::Verified, 2 * each),
        (Kind::Damaged, 2 * each),
        (Kind::ObjectMissing, 2 * each),
        (Kind::Unrecorded, 3 * each),
    ])
}

fn is_damage(key: &str) -> bool {
    DAMAGES.iter().any(|name| key.starts_with(&format!("{name}-")) || key.contains(&format!("/{name}-")))
}

/// Checks that everything is mended, and nothing else touched.
pub fn check_mended(before: &Stored, after: &Stored, each: usize) {
    for (key, row) in &before.records {
        let now = &after.records[key];
        if !is_damage(key) {
            assert_eq!(row, now);
        }
    }
    for (key, object) in &before.objects {
        assert!(is_damage(key) || after.objects.get(key) == Some(object), "{key}");
    }
    assert!(after.objects.keys().all(|key| before.objects.contains_key(key)));
    assert!(after.uploads.is_empty());
    for n in 0..each {
        let of = |name: &str| {
            let key = if name == "junk" { format!("junk-{n:04}.txt") } else { key(name, n) };
            let row = &after.records[&key];
            let word = |name| row.get(name).and_then(|value: &AttributeValue| value.as_s().ok()).cloned();
            let is_due = row.contains_key("sweep");
            (word("state").unwrap(), word("integrity").unwrap(), after.objects.contains_key(&key), is_due)
        };
        let is = |state: &str, integrity: &str, has_object, is_due| {
            (state.to_owned(), integrity.to_owned(), has_object, is_due)
        };
        for name in ["expired-with", "expired-without", "undone", "purging"] {
            assert_eq!(of(name), is("PURGED", "verified", false, false), "{name}");
        }
        for name in ["unknown", "junk", "purged"] {
            assert_eq!(of(name), is("DELETED", "failed", true, true), "{name}");
        }
        assert_eq!(of("missing"), is("ACTIVE", "failed", false, false));
        assert_eq!(of("missing-deleted"), is("DELETED", "failed", false, false));
        assert_eq!(of("overwritten"), is("ACTIVE", "failed", true, false));
        assert_eq!(of("hash-right"), is("ACTIVE", "verified", true, false));
        assert_eq!(of("hash-none"), is("ACTIVE", "verified", true, false));
        assert_eq!(of("hash-wrong"), is("ACTIVE", "failed", true, false));
        assert_eq!(after.records[&key("hash-none", n)]["sha256"], text(sha256(JPEG)));
    }
}

/// The entries of each kind of damage, checked to be the system's own in the organisation that they concern.
pub fn entries_of_each(after: &Stored) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::<String, usize>::new();
    for entry in &after.entries {
        assert_eq!((entry.sub.as_deref(), entry.role.as_str()), (None, "system"));
        assert_eq!((entry.user.to_string().as_str(), entry.device.as_str()), ("system", "maintenance"));
        let key = entry.file_path().or_else(|| entry.details.key.clone()).unwrap();
        let org = key.split_once('/').map_or("_", |(org, _)| org);
        assert_eq!(entry.org, org, "{key}");
        let kind = DAMAGES
            .iter()
            .chain(&["multipart"])
            .find(|kind| key.starts_with(&format!("{kind}-")) || key.contains(&format!("/{kind}-0")));
        let outcome = entry.error.as_deref().map_or("ok", |error| error.split(':').next().unwrap());
        let reason = entry.details.reason.as_deref().unwrap_or_default();
        *told.entry(format!("{} {} {outcome} {reason}", kind.unwrap(), entry.action)).or_default() += 1;
    }
    check_chains(&after.entries);
    told
}

/// One entry of each.
pub fn all_entries(each: usize) -> BTreeMap<String, usize> {
    let expected = [
        "expired-with UPLOAD_ABORTED ok expired",
        "expired-without UPLOAD_ABORTED ok expired",
        "hash-none VERIFY ok ",
        "hash-right VERIFY ok ",
        "hash-wrong VERIFY sha256_mismatch ",
        "junk QUARANTINE ok ",
        "missing VERIFY object_missing ",
        "missing-deleted VERIFY object_missing ",
        "multipart UPLOAD_ABORTED ok stale multipart upload",
        "overwritten VERIFY object_replaced ",
        "purged QUARANTINE ok ",
        "purging PURGE ok ",
        "unknown QUARANTINE ok ",
    ];
    expected.map(|told| (told.to_owned(), each)).into()
}
