//! An organisation's sealed log, read from the archive and the sealer's table by other code than the service's, and checked:
//! every leaf, every tile, every position, every counter.

use std::collections::{BTreeMap, HashMap};

use audit_format::archive::{TILE_WIDTH, bundle, leaves};
use aws_sdk_dynamodb::types::AttributeValue;
use data_encoding::BASE64;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shared::audit::{Leaf, LogRow, Notice, NoticeKind, leaf_hash};
use shared::clock;

use crate::world::World;

type Row = HashMap<String, AttributeValue>;

/// What is under an organisation's checkpoint.
#[derive(Debug)]
pub struct SealedLog {
    pub leaves: Vec<Leaf>,
    /// Keys and bytes below `{org}/` in the archive.
    pub objects: BTreeMap<String, Vec<u8>>,
    pub head: Row,
}

impl SealedLog {
    /// Reads a log and checks that everything in it fits together.
    pub async fn of(world: &World, org: &str) -> Self {
        let objects = objects(world, org).await;
        let checkpoint = objects.get(&format!("{org}/checkpoint")).expect("a checkpoint");
        let checkpoint = String::from_utf8(checkpoint.clone()).unwrap();
        let lines: Vec<&str> = checkpoint.lines().collect();
        assert_eq!(lines[0], format!("localhost/audit/{org}"));
        let size: u64 = lines[1].parse().unwrap();

        let rows = world.rows("storage_audit_state").await;
        let of = |kind: &str| -> Vec<&Row> {
            let pk = AttributeValue::S(format!("{kind}#{org}"));
            let mut of: Vec<&Row> = rows.iter().filter(|row| row["pk"] == pk).collect();
            of.sort_by_key(|row| row["sk"].as_s().unwrap());
            of
        };
        let is_head = |row: &&Row| row["pk"].as_s().unwrap() == "HEAD" && row["sk"].as_s().unwrap() == org;
        let head = rows.iter().find(is_head).expect("a head").clone();
        assert_eq!((number(&head, "size"), number(&head, "published")), (size, size), "{head:?}");
        assert!(!head.contains_key("holder"), "nobody publishes any more");

        // Positions have no gap, and each leaf has one.
        let positions = of("SEQ");
        let bytes: Vec<Vec<u8>> = positions.iter().map(|row| blob(row, "b")).collect();
        let identities: Vec<&str> = positions.iter().map(|row| row["id"].as_s().unwrap().as_str()).collect();
        assert_eq!(positions.len() as u64, size);
        for (seq, row) in positions.iter().enumerate() {
            assert_eq!(row["sk"].as_s().unwrap(), &format!("{seq:020}"));
        }
        let by_identity = of("ID");
        assert_eq!(by_identity.len(), positions.len());
        for row in by_identity {
            let seq = usize::try_from(number(row, "seq")).unwrap();
            assert_eq!(identities[seq], row["sk"].as_s().unwrap());
            assert_eq!(blob(row, "h"), leaf_hash(&bytes[seq]));
        }

        let hashes: Vec<[u8; 32]> = bytes.iter().map(|bytes| leaf_hash(bytes)).collect();
        assert_eq!(lines[2], BASE64.encode(&root(&hashes)));
        assert_eq!(blob(&head, "root"), root(&hashes));
        check_objects(org, &objects, &bytes, &hashes);

        let leaves: Vec<Leaf> = bytes.iter().map(|bytes| Leaf::of(bytes).unwrap()).collect();
        let log = Self { leaves, objects, head };
        for (leaf, identity) in log.leaves.iter().zip(identities) {
            if let Leaf::Entry(entry) = leaf {
                assert_eq!(entry.body.id, identity);
            }
        }
        log.check_counters(&of("HOUR"), "%Y-%m-%dT%H", Timestamp::MIN);
        // Minutes are counted for the last days alone.
        let yesterday = clock::now() - SignedDuration::from_hours(24);
        log.check_counters(&of("MINUTE"), "%Y-%m-%dT%H:%M", yesterday);
        log
    }

    pub fn entries(&self) -> Vec<&LogRow> {
        let entries = self.leaves.iter().filter_map(|leaf| match leaf {
            Leaf::Entry(entry) => Some(entry.as_ref()),
            Leaf::Notice(_) => None,
        });
        entries.collect()
    }

    /// The ids of the entries, sorted.
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.entries().iter().map(|entry| entry.body.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    pub fn notices(&self, kind: NoticeKind) -> Vec<&Notice> {
        let notices = self.leaves.iter().filter_map(|leaf| match leaf {
            Leaf::Notice(notice) if notice.kind == kind => Some(notice.as_ref()),
            _ => None,
        });
        notices.collect()
    }

    /// What the leaves are, in order: `ENTRY` or the kind of a notice.
    pub fn kinds(&self) -> Vec<String> {
        let kind = |leaf: &Leaf| match leaf {
            Leaf::Entry(_) => "ENTRY".to_owned(),
            Leaf::Notice(notice) => format!("{:?}", notice.kind).to_uppercase(),
        };
        self.leaves.iter().map(kind).collect()
    }

    fn check_counters(&self, rows: &[&Row], format: &str, since: Timestamp) {
        let mut counted = BTreeMap::<(String, String), u64>::new();
        for entry in self.entries().into_iter().filter(|entry| entry.at > since) {
            let at = entry.at.to_zoned(TimeZone::UTC).strftime(format).to_string();
            let failed = if entry.body.error.is_some() { "FAIL." } else { "" };
            *counted.entry((at, format!("{failed}{}", entry.body.action))).or_default() += 1;
        }
        let mut kept = BTreeMap::new();
        for row in rows {
            for (name, value) in row.iter().filter(|(name, _)| !["pk", "sk", "ttl"].contains(&name.as_str()))
            {
                let place = (row["sk"].as_s().unwrap().clone(), name.clone());
                kept.insert(place, value.as_n().unwrap().parse::<u64>().unwrap());
            }
        }
        assert_eq!(kept, counted);
    }
}

/// Everything below `{org}/` in the archive.
pub async fn objects(world: &World, org: &str) -> BTreeMap<String, Vec<u8>> {
    let bucket = local::spaces::ARCHIVE_BUCKET;
    let list = world.bucket().list_objects_v2().bucket(bucket).prefix(format!("{org}/"));
    let mut pages = list.into_paginator().send();
    let mut objects = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for key in page.unwrap().contents().iter().filter_map(|object| object.key()) {
            let object = world.bucket().get_object().bucket(bucket).key(key).send().await.unwrap();
            objects.insert(key.to_owned(), object.body.collect().await.unwrap().to_vec());
        }
    }
    objects
}

/// Every tile and bundle that was ever put, full or partial, has the bytes that follow from the leaves.
fn check_objects(org: &str, objects: &BTreeMap<String, Vec<u8>>, bytes: &[Vec<u8>], hashes: &[[u8; 32]]) {
    let width = usize::try_from(TILE_WIDTH).unwrap();
    let mut levels = vec![hashes.to_vec()];
    while levels.last().unwrap().len() >= width {
        let full = levels.last().unwrap().chunks_exact(width).map(root).collect();
        levels.push(full);
    }
    let (mut bundled, mut found) = (0, 0);
    for (key, object) in objects {
        let Some(tile) = key.strip_prefix(&format!("{org}/tile/")) else { continue };
        let (level, place) = tile.split_once('/').unwrap();
        let (place, count) =
            place.split_once(".p/").map_or((place, width), |(place, count)| (place, count.parse().unwrap()));
        let index: usize = place.replace(['x', '/'], "").parse().unwrap();
        let range = index * width..index * width + count;
        if level == "entries" {
            assert_eq!(*object, bundle(bytes[range].iter().map(Vec::as_slice)).unwrap(), "{key}");
            bundled = bundled.max(index * width + leaves(object).unwrap().len());
        } else {
            assert_eq!(*object, levels[level.parse::<usize>().unwrap()][range].concat(), "{key}");
        }
        found += 1;
    }
    assert_eq!(bundled, bytes.len(), "the last bundle");
    assert!(found >= 2);
}

/// The root of a tree (RFC 6962, section 2.1).
fn root(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [] => Sha256::digest(b"").into(),
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into()
        }
    }
}

fn number(row: &Row, name: &str) -> u64 {
    row.get(name).map_or(0, |value| value.as_n().unwrap().parse().unwrap())
}

fn blob(row: &Row, name: &str) -> Vec<u8> {
    row[name].as_b().unwrap().as_ref().to_vec()
}
