//! Each way of tampering alone: it is caught, and called what it is.

use std::fs;

use audit_format::archive::{self, LOGS, checkpoint_path, tile_path};
use audit_format::{Attributes, Body, LogRow, Value};
use audit_verify::{Class, Options, Pins, Report, Verdict};
use ulid::Ulid;

use crate::sealed::{Key, ORIGIN, put};
use crate::world::{self, DAY, HOUR, World};

/// Two organisations, sealed and pinned; every manifest, bundle and tile there can be.
pub fn sealed_world() -> World {
    let end = 1_793_000_000_000;
    let mut world = World::new(1, end, &["org-1", "org-2"]);
    world.keys[0].1 = end - 10 * DAY;
    for (org, entries) in [("org-1", 300), ("org-2", 30)] {
        let writers = [world.writer(org), world.writer(org)];
        for entry in 0..entries {
            world.now = end - 3 * DAY + entry * 60_000;
            let row = world.entry(org, writers[usize::try_from(entry % 2).unwrap()]);
            world.store(org, writers[usize::try_from(entry % 2).unwrap()], row);
        }
        world.seal(org, |_| false);
        world.now = end - 2 * DAY;
        world.heartbeat(org);
    }
    world.now = end - DAY;
    world.manifests();
    world.now = end - HOUR;
    for org in ["org-1", "org-2"] {
        world.heartbeat(org);
    }
    world.manifests();
    world.pin();
    world.now = end;
    world.write();
    let (report, _) = world.verify();
    assert_eq!(report.verdict(), Verdict::Proven, "{}", world::told(&report));
    assert!(!report.has(Class::NotPinned));
    world
}

/// It is tampering, and of this class.
fn caught(world: &World, class: Class) -> Report {
    judged(world, class, Verdict::Tampered)
}

fn judged(world: &World, class: Class, verdict: Verdict) -> Report {
    let (report, pins) = world.verify();
    assert_eq!(report.verdict(), verdict, "{}", world::told(&report));
    assert!(report.has(class), "{} is not among{}", class.name(), world::told(&report));
    assert_eq!(pins, world.pins, "only what is proven is pinned");
    report
}

fn body(row: &Attributes) -> Body {
    match &row["b"] {
        Value::B(bytes) => Body::from_bytes(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A world in which one row of org-1 was changed, and its entry's id.
fn with_row(change: impl FnOnce(&mut Attributes)) -> (World, String) {
    let mut world = sealed_world();
    let row = &mut world.orgs.get_mut("org-1").unwrap().rows[100];
    let id = body(row).id;
    change(row);
    world.write_tables();
    (world, id)
}

fn named(report: &Report, class: Class, id: &str) {
    let named =
        report.findings.iter().any(|found| found.class == class && found.entry.as_deref() == Some(id));
    assert!(named, "{id} is not named in{}", world::told(report));
}

/// The row of an entry that differs in one thing.
fn other(row: &Attributes, change: impl FnOnce(&mut Body)) -> LogRow {
    let mut body = body(row);
    change(&mut body);
    LogRow::of(&body.to_bytes()).unwrap()
}

#[test]
fn a_changed_row_is_named() {
    let (world, id) = with_row(|row| {
        let bytes = other(row, |body| body.role = "somebody".into()).bytes;
        row.insert("b".into(), Value::B(bytes));
    });
    named(&caught(&world, Class::BodyAltered), Class::BodyAltered, &id);

    let (world, id) = with_row(|row| *row = other(row, |body| body.role = "somebody".into()).attributes());
    named(&caught(&world, Class::BodyAndHashAltered), Class::BodyAndHashAltered, &id);

    for (name, value, class) in [
        ("h", Value::B(vec![0; 32]), Class::HashAltered),
        ("gu", Value::B(vec![0; 16]), Class::IndexAltered),
        ("ga", Value::B(vec![0; 16]), Class::IndexAltered),
        ("ttl", Value::N("1793000000".into()), Class::TtlAltered),
        ("pk", Value::S("org-1#2020-01".into()), Class::RowMoved),
        ("note", Value::S("x".into()), Class::AttributeAdded),
    ] {
        let (world, id) = with_row(|row| drop(row.insert(name.into(), value)));
        named(&caught(&world, class), class, &id);
    }
    for name in ["gu", "ga"] {
        let (world, id) = with_row(|row| drop(row.remove(name)));
        named(&caught(&world, Class::IndexAltered), Class::IndexAltered, &id);
    }
}

#[test]
fn a_removed_entry_is_named() {
    let mut world = sealed_world();
    let removed = world.orgs.get_mut("org-1").unwrap().rows.remove(100);
    world.write_tables();
    named(&caught(&world, Class::EntryRemoved), Class::EntryRemoved, &body(&removed).id);
    // A writer's last entry.
    let mut world = sealed_world();
    let removed = world.orgs.get_mut("org-1").unwrap().rows.pop().unwrap();
    world.write_tables();
    named(&caught(&world, Class::EntryRemoved), Class::EntryRemoved, &body(&removed).id);
}

#[test]
fn a_forgery_is_none_the_better_for_a_notice_that_its_row_is_malformed() {
    for (name, value, class) in [
        ("ttl", Value::N("1".into()), Class::TtlAltered),
        ("gu", Value::B(vec![0; 16]), Class::IndexAltered),
        ("x", Value::S("x".into()), Class::AttributeAdded),
    ] {
        let mut world = sealed_world();
        let writer = world.writer("org-1");
        let row = world.entry("org-1", writer);
        let mut forged = row.attributes();
        forged.insert(name.into(), value);
        world.noticed("org-1", forged);
        world.write();
        named(&caught(&world, class), class, &row.body.id);
    }
}

#[test]
fn an_inserted_entry_is_named() {
    // A copy under another key.
    let mut world = sealed_world();
    let mut copy = world.orgs["org-1"].rows[100].clone();
    copy.insert("sk".into(), Value::S("01M5VG4QZM0008XRJKYRWGHWD2".into()));
    world.orgs.get_mut("org-1").unwrap().rows.push(copy);
    world.write_tables();
    named(&caught(&world, Class::EntryCopied), Class::EntryCopied, "01M5VG4QZM0008XRJKYRWGHWD2");
    // A copy that calls itself by another id.
    let mut world = sealed_world();
    let copy = other(&world.orgs["org-1"].rows[100], |body| {
        body.id = Ulid::from_parts(body.timestamp_ms.try_into().unwrap(), 7).to_string();
    });
    world.orgs.get_mut("org-1").unwrap().rows.push(copy.attributes());
    world.write_tables();
    named(&caught(&world, Class::ChainForked), Class::ChainForked, &copy.body.id);
    // A new writer, well-formed, of a time for which the log is complete.
    let mut world = sealed_world();
    let end = world.now;
    world.now -= 2 * DAY;
    let writer = world.writer("org-1");
    let row = world.entry("org-1", writer);
    let id = row.body.id.clone();
    world.store("org-1", writer, row);
    world.now = end;
    world.write_tables();
    named(&caught(&world, Class::EntryInserted), Class::EntryInserted, &id);
    // The same, and the sealer heard of it.
    world.seal("org-1", |_| false);
    world.write();
    named(&caught(&world, Class::EntryBackdated), Class::EntryBackdated, &id);
}

#[test]
fn swapped_rows_are_named() {
    let mut world = sealed_world();
    let rows = &mut world.orgs.get_mut("org-1").unwrap().rows;
    let keys = [rows[100]["sk"].clone(), rows[200]["sk"].clone()];
    rows[100].insert("sk".into(), keys[1].clone());
    rows[200].insert("sk".into(), keys[0].clone());
    world.write_tables();
    let report = caught(&world, Class::RowsSwapped);
    assert_eq!(report.counts[&Class::RowsSwapped], 2);
}

/// Rewrites the chain of a writer of org-1 from its 50th entry on, as whoever may write the table could.
fn rewrite_chain(world: &mut World) -> Vec<(Vec<u8>, LogRow)> {
    let org = world.orgs.get_mut("org-1").unwrap();
    let writer = org.writers[0].id.clone();
    let mut last = None;
    let mut rewritten = Vec::new();
    for row in org.rows.iter_mut().filter(|row| body(row).writer == writer) {
        let old = LogRow::of(&body(row).to_bytes()).unwrap();
        if old.body.sequence >= 50 {
            let new = other(row, |body| {
                body.role = if body.sequence == 50 { "somebody".into() } else { body.role.clone() };
                body.previous = last.as_ref().map(Body::encode_hash).or(body.previous.take());
            });
            last = Some(new.hash);
            *row = new.attributes();
            rewritten.push((old.bytes, new));
        }
    }
    assert_eq!(rewritten.len(), 100);
    rewritten
}

#[test]
fn a_rewritten_chain_is_caught() {
    let mut world = sealed_world();
    let rewritten = rewrite_chain(&mut world);
    world.write_tables();
    let report = caught(&world, Class::BodyAndHashAltered);
    assert_eq!(report.counts[&Class::BodyAndHashAltered], 100);
    named(&report, Class::BodyAndHashAltered, &rewritten[0].1.body.id);
    // Together with bundles and tiles.
    let org = world.orgs.get_mut("org-1").unwrap();
    let new =
        |leaf: &Vec<u8>| rewritten.iter().find(|(old, _)| old == leaf).map(|(_, new)| new.bytes.clone());
    let leaves = org.log.leaves.iter().map(|leaf| new(leaf).unwrap_or_else(|| leaf.clone()));
    let forged = org.log.rebuilt(leaves.collect());
    forged.publish(&world.archive());
    caught(&world, Class::LogRewritten);
    // Even signed: the sealer's key is stolen.
    let key = world.key();
    forged.sign(&world.archive(), key);
    let report = caught(&world, Class::Fork);
    assert!(
        report.findings.iter().any(|found| found.detail.starts_with("the pin")),
        "{}",
        world::told(&report)
    );
    // Who has no pin sees it by the manifests and the kept checkpoints.
    world.pins = Pins::default();
    caught(&world, Class::Fork);
}

#[test]
fn a_changed_archive_is_caught() {
    let world = sealed_world();
    let archive = world.archive();
    let flip = |path: &str, at: usize| {
        let mut bytes = fs::read(archive.join(path)).unwrap();
        bytes[at] ^= 1;
        fs::write(archive.join(path), bytes).unwrap();
    };
    let bundle = archive::bundle_path("org-1", 0, 256);
    // The first leaf's last but one byte: still a leaf.
    let leaf = world.orgs["org-1"].log.leaves[0].len();
    flip(&bundle, leaf - 3);
    let report = caught(&world, Class::LeafAltered);
    assert!(report.findings.iter().any(|found| found.class == Class::LeafAltered && found.seq == Some(0)));
    flip(&bundle, leaf - 3);
    for (path, class) in [
        (tile_path("org-1", 0, 0, 256), Class::TileAltered),
        (tile_path("org-1", 1, 0, 1), Class::TileAltered),
        (tile_path("org-1", 0, 1, 46), Class::TileAltered),
    ] {
        flip(&path, 5);
        caught(&world, class);
        flip(&path, 5);
    }
    for path in [bundle, tile_path("org-1", 1, 0, 1), tile_path(LOGS, 0, 0, 6)] {
        let bytes = fs::read(archive.join(&path)).unwrap();
        fs::remove_file(archive.join(&path)).unwrap();
        judged(&world, Class::PartMissing, Verdict::Undecided);
        fs::write(archive.join(&path), bytes).unwrap();
    }
    assert_eq!(world.verify().0.verdict(), Verdict::Proven);
}

/// A world whose org-1 is again what it was two days ago.
fn rolled_back(world: &mut World) {
    let org = world.orgs.get_mut("org-1").unwrap();
    let leaves = org.log.leaves[..200].to_vec();
    let gone = org.log.leaves[200..].to_vec();
    org.rows.retain(|row| !gone.contains(&body(row).to_bytes()));
    let mut log = org.log.rebuilt(leaves);
    log.kept.clear();
    org.log = log;
}

#[test]
fn table_and_log_rolled_back_together_are_caught() {
    let mut world = sealed_world();
    rolled_back(&mut world);
    world.write();
    caught(&world, Class::Rollback);
    // By the manifests alone.
    let pins = std::mem::take(&mut world.pins);
    caught(&world, Class::Rollback);
    // By the pin alone: the log of logs went with them.
    world.logs = world.logs.rebuilt(Vec::new());
    world.logs.kept.clear();
    world.pins = pins;
    world.write();
    caught(&world, Class::Rollback);
    // Without both nobody can know, and it is said.
    world.pins = Pins::default();
    let (report, _) = world.verify();
    assert!(report.has(Class::NotPinned));
    let options = Options { require_pins: true, ..world.options() };
    let (report, _) = audit_verify::verify(&world.source(), &options, &());
    assert!(report.has(Class::PinRequired) && report.verdict() == Verdict::Undecided);
}

#[test]
fn a_smaller_tree_is_caught() {
    let world = sealed_world();
    let log = &world.orgs["org-1"].log;
    let smaller = log.note(250, world.key());
    put(&world.archive(), &checkpoint_path("org-1"), smaller.as_bytes());
    caught(&world, Class::Rollback);
}

#[test]
fn a_fork_is_caught() {
    let mut world = sealed_world();
    let org = world.orgs.get_mut("org-1").unwrap();
    let mut leaves = org.log.leaves.clone();
    leaves.swap(10, 11);
    org.log = org.log.rebuilt(leaves);
    world.write();
    caught(&world, Class::Fork);
}

#[test]
fn swapped_organisations_are_caught() {
    let world = sealed_world();
    let swap = |a: &str, b: &str| {
        let [a, b, c] = [a, b, "aside"].map(|name| world.folder.path().join(name));
        fs::rename(&a, &c).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(&c, &b).unwrap();
    };
    swap("archive/org-1", "archive/org-2");
    caught(&world, Class::CheckpointMoved);
    swap("archive/org-1", "archive/org-2");
    swap("archive/org-1/tile", "archive/org-2/tile");
    let (report, _) = world.verify();
    assert!(matches!(report.verdict(), Verdict::Tampered | Verdict::Undecided), "{}", world::told(&report));
    swap("archive/org-1/tile", "archive/org-2/tile");
    swap("table/org-1.ndjson", "table/org-2.ndjson");
    caught(&world, Class::EntryRemoved);
}

#[test]
fn an_entry_of_another_organisation_is_caught() {
    let mut world = sealed_world();
    let foreign = world.orgs["org-2"].log.leaves[3].clone();
    world.orgs.get_mut("org-1").unwrap().log.push(foreign);
    world.write();
    caught(&world, Class::ForeignEntry);
}

#[test]
fn wrong_and_unknown_and_retired_keys_are_told_apart() {
    let mut world = sealed_world();
    let key = world.key();
    let origin = format!("{ORIGIN}/org-1");
    let log = world.orgs["org-1"].log.clone();
    let checkpoint = |note: String| put(&world.archive(), &checkpoint_path("org-1"), note.as_bytes());
    // Somebody else's signature under the key's name.
    let stranger = log.note(log.size(), Key([9; 32]));
    let right = log.note(log.size(), key);
    let line = |note: &str| note.lines().last().unwrap().rsplit_once(' ').unwrap().1.to_owned();
    let decode = |text: String| data_encoding::BASE64.decode(text.as_bytes()).unwrap();
    let mut forged = decode(line(&stranger));
    forged[..4].copy_from_slice(&decode(line(&right))[..4]);
    let text = right.split_once("\n\n").unwrap().0;
    checkpoint(format!("{text}\n\n— {origin} {}\n", data_encoding::BASE64.encode(&forged)));
    caught(&world, Class::SignatureInvalid);
    checkpoint(stranger);
    judged(&world, Class::KeyUnknown, Verdict::Undecided);
    // A key that is no longer in use.
    checkpoint(right);
    let since = world.now;
    world.now -= 3 * DAY;
    world.rotate();
    world.now = since;
    caught(&world, Class::KeyRetired);
    // With the new one all is well.
    world.write();
    let (report, _) = world.verify();
    assert_eq!(report.verdict(), Verdict::Proven, "{}", world::told(&report));
}

#[test]
fn a_log_that_is_gone_is_missed() {
    let mut world = sealed_world();
    let org = world.orgs.remove("org-2").unwrap();
    fs::remove_file(world.folder.path().join("table/org-2.ndjson")).unwrap();
    world.write();
    caught(&world, Class::LogGone);
    let pins = std::mem::take(&mut world.pins);
    caught(&world, Class::LogGone);
    // The log of logs went with it.
    world.pins = pins;
    fs::remove_dir_all(world.archive().join(LOGS)).unwrap();
    caught(&world, Class::LogGone);
    // Its rows alone are unsealed.
    world.orgs.insert("org-2".into(), org);
    world.write();
    fs::remove_dir_all(world.archive().join("org-2")).unwrap();
    world.pins = Pins::default();
    caught(&world, Class::LogGone);
    fs::remove_dir_all(world.archive()).unwrap();
    fs::create_dir(world.archive()).unwrap();
    judged(&world, Class::EntryUnsealed, Verdict::Unsealed);
}

#[test]
fn what_the_sealer_saw_counts_until_it_is_acknowledged() {
    let mut world = sealed_world();
    let removed = world.orgs.get_mut("org-1").unwrap().rows.remove(100);
    let id = body(&removed).id;
    for kind in [audit_format::NoticeKind::Modified, audit_format::NoticeKind::Removed] {
        let notice = audit_format::Notice {
            id: Some(id.clone()),
            ..audit_format::Notice::new(kind, "org-1", world.now)
        };
        world.say("org-1", &notice);
    }
    world.write();
    caught(&world, Class::RowModified);
    caught(&world, Class::RowRemoved);
    let size = world.orgs["org-1"].log.size();
    let acknowledged = [size - 2, size - 1].map(|seq| ("org-1".to_owned(), seq)).into();
    let options = Options { acknowledged, ..world.options() };
    let (report, _) = audit_verify::verify(&world.source(), &options, &());
    assert_eq!(report.verdict(), Verdict::Proven, "{}", world::told(&report));
}

#[test]
fn an_entry_that_waits_too_long_and_a_silent_log_are_told() {
    let mut world = sealed_world();
    world.now -= 61_000;
    let writer = world.writer("org-1");
    let row = world.entry("org-1", writer);
    world.store("org-1", writer, row);
    world.write_tables();
    assert_eq!(world.verify().0.verdict(), Verdict::Proven, "it may wait");
    world.now += 61_000;
    judged(&world, Class::EntryUnsealed, Verdict::Unsealed);
    let mut world = sealed_world();
    world.now += 2 * HOUR;
    judged(&world, Class::LogStale, Verdict::Unsealed);
}
