//! What the sealer says of rows that are not what they should be.

use audit_format::{Attributes, Value as Attribute, digest};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use serde_json::json;
use shared::audit::{Action, Body, LogRow, NoticeKind, month_of, partition};
use shared::clock;
use ulid::Ulid;

use crate::log_lines::Lines;
use crate::log_rows::{entries, entry, insert, row};
use crate::sealed_log::SealedLog;
use crate::world::World;

const ORG: &str = "org-1";
const TABLE: &str = "storage_audit_logs";

fn digest_of(entry: &Body) -> String {
    digest(&LogRow::of(&entry.to_bytes()).unwrap().attributes())
}

async fn remove(world: &World, entry: &Body) {
    let row = row(entry);
    let delete = world.tables().delete_item().table_name(TABLE);
    delete.key("pk", row["pk"].clone()).key("sk", row["sk"].clone()).send().await.unwrap();
}

async fn put(world: &World, row: std::collections::HashMap<String, AttributeValue>) {
    world.tables().put_item().table_name(TABLE).set_item(Some(row)).send().await.unwrap();
}

#[tokio::test]
async fn a_malformed_row_becomes_a_notice_and_does_not_block_the_batch() {
    let world = World::start().await;
    let good = entries(ORG, 3);
    insert(&world, &good[..2]).await;
    let pk = AttributeValue::S(partition(ORG, &month_of(clock::now())));
    let id = Ulid::generate().to_string();
    let bare = [("pk".to_owned(), pk.clone()), ("sk".to_owned(), AttributeValue::S(id.clone()))];
    put(&world, bare.clone().into()).await;
    // One whose index key is another's, one that belongs to nobody, and one with all that a table can hold.
    let mut astray = row(&good[2]);
    astray.insert("gu".into(), AttributeValue::B(Blob::new([0; 16])));
    put(&world, astray).await;
    let nowhere = [("pk".to_owned(), AttributeValue::S("../etc#2026-01".into())), bare[1].clone()];
    put(&world, nowhere.into()).await;
    let mut strange = std::collections::HashMap::from(bare);
    strange.insert("sk".into(), AttributeValue::S("no id at all".into()));
    strange.insert("b".into(), AttributeValue::B(Blob::new(vec![0; 70_000])));
    strange.insert("x".into(), AttributeValue::Ss(vec!["a".into(), "b".into()]));
    strange.insert("y".repeat(500), AttributeValue::M([("z".into(), AttributeValue::Null(true))].into()));
    put(&world, strange).await;
    world.seal().await;

    let log = SealedLog::of(&world, ORG).await;
    assert_eq!(log.kinds(), ["ENTRY", "ENTRY", "MALFORMED", "MALFORMED", "MALFORMED"]);
    let notices = log.notices(NoticeKind::Malformed);
    assert_eq!(notices[0].id, Some(id.clone()));
    assert_eq!(notices[0].what.as_deref(), Some("b"));
    let bare = Attributes::from([
        ("pk".to_owned(), Attribute::S(pk.as_s().unwrap().clone())),
        ("sk".to_owned(), Attribute::S(id)),
    ]);
    assert_eq!(notices[0].row, Some(digest(&bare)));
    assert_eq!(notices[1].what.as_deref(), Some("gu"));
    assert_eq!(notices[2].id.as_deref(), Some("no id at all"));
    let nobodys = SealedLog::of(&world, "_").await;
    assert_eq!(nobodys.notices(NoticeKind::Malformed)[0].partition.as_deref(), Some("../etc#2026-01"));
}

#[tokio::test]
async fn a_changed_row_becomes_a_notice_beside_what_it_was() {
    let world = World::start().await;
    let written = entries(ORG, 1);
    insert(&world, &written).await;
    // A put of the same row is no change.
    put(&world, row(&written[0])).await;
    let changed = Body { user: shared::ids::UserId::Number(2), ..written[0].clone() };
    put(&world, row(&changed)).await;
    let records = world.untold().await;
    assert_eq!(records.len(), 3);
    // Its own record is lost: what it was is sealed all the same. And whatever is told twice counts once.
    world.tell(&records[1..]).await;
    world.tell(&records).await;

    let log = SealedLog::of(&world, ORG).await;
    assert_eq!(log.kinds(), ["ENTRY", "MODIFIED"]);
    assert_eq!(log.entries()[0].bytes, written[0].to_bytes());
    let notice = log.notices(NoticeKind::Modified)[0];
    assert_eq!(notice.id.as_deref(), Some(written[0].id.as_str()));
    assert_eq!(notice.was, Some(digest_of(&written[0])));
    assert_eq!(notice.row, Some(digest_of(&changed)));
}

#[tokio::test]
async fn a_removed_row_becomes_a_notice_and_so_does_another_in_its_place() {
    let world = World::start().await;
    let written = entries(ORG, 2);
    insert(&world, &written).await;
    remove(&world, &written[0]).await;
    let other = Body { user: shared::ids::UserId::Number(2), ..written[0].clone() };
    put(&world, row(&other)).await;
    let records = world.untold().await;
    world.tell(&records).await;
    world.tell(&records).await;

    let log = SealedLog::of(&world, ORG).await;
    assert_eq!(log.kinds(), ["ENTRY", "ENTRY", "REMOVED", "MODIFIED"]);
    assert_eq!(log.notices(NoticeKind::Removed)[0].was, Some(digest_of(&written[0])));
    let modified = log.notices(NoticeKind::Modified)[0];
    assert_eq!((&modified.was, &modified.row), (&None, &Some(digest_of(&other))));
}

#[tokio::test]
async fn a_row_that_is_removed_before_it_was_told_of_is_sealed() {
    let world = World::start().await;
    let written = entries(ORG, 1);
    insert(&world, &written).await;
    remove(&world, &written[0]).await;
    let records = world.untold().await;
    world.tell(&records[1..]).await;
    assert_eq!(SealedLog::of(&world, ORG).await.kinds(), ["ENTRY", "REMOVED"]);
}

#[tokio::test]
async fn a_row_whose_time_is_over_may_go_and_no_other() {
    let world = World::start().await;
    let eight_years_ago = clock::now() - SignedDuration::from_hours(8 * 366 * 24);
    let old = entry(ORG, eight_years_ago, Action::View);
    let young = entry(ORG, clock::now(), Action::View);
    insert(&world, &[old.clone(), young.clone()]).await;
    world.seal().await;
    remove(&world, &old).await;
    remove(&world, &young).await;
    let mut records = world.untold().await;
    for record in &mut records {
        // As the table says it of what it removes by itself.
        record["userIdentity"] = json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
    }
    world.tell(&records).await;
    let log = SealedLog::of(&world, ORG).await;
    assert_eq!(log.kinds(), ["ENTRY", "ENTRY", "REMOVED"]);
    assert_eq!(log.notices(NoticeKind::Removed)[0].id.as_deref(), Some(young.id.as_str()));
}

#[tokio::test]
async fn the_operators_log_tells_of_each_and_of_nothing_that_stands_in_it() {
    let world = World::start().await;
    let lines = Lines::default();
    let _guard = lines.capture();
    let written = entries(ORG, 2);
    insert(&world, &written).await;
    world.seal().await;
    assert_eq!(lines.take(), [""; 0]);

    put(&world, row(&Body { device: "a device".into(), ..written[0].clone() })).await;
    remove(&world, &written[1]).await;
    let mut malformed = row(&entry(ORG, clock::now(), Action::View));
    malformed.insert("sk".into(), AttributeValue::S("a secret".into()));
    put(&world, malformed).await;
    world.seal().await;
    let lines = lines.take();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, word) in lines.iter().zip(["audit_row_modified", "audit_row_removed", "audit_row_malformed"]) {
        assert!(line.contains("ERROR") && line.contains(word) && line.contains(ORG), "{line}");
        assert!(!line.contains("a device") && !line.contains("a secret"), "{line}");
    }
    assert!(lines[0].contains(&written[0].id) && lines[1].contains(&written[1].id), "{lines:?}");
}
