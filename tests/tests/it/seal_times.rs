//! What the sealer does by the clock: heartbeats, the comparison with the table, the daily manifest.

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::BASE64;
use jiff::SignedDuration;
use shared::audit::{Action, NoticeKind, leaf_hash};
use shared::clock::{self, Deadline, Stopwatch};
use shared::seal::Sealer;

use crate::log_rows::{entries, entry, insert, row};
use crate::proxy::Fault;
use crate::seal::through_proxies;
use crate::sealed_log::{SealedLog, objects};
use crate::world::{ORG, World};

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[tokio::test]
async fn every_hour_each_log_says_that_it_is_alive_and_keeps_a_checkpoint() {
    let world = World::start().await;
    insert(&world, &[entries("org-1", 2), entries("org-2", 1)].concat()).await;
    world.seal().await;
    let now = clock::now();
    for later in [0, 1, 60, 61, 62] {
        world.tick(now + minutes(later)).await;
    }
    let hours = |from, to| -> Vec<i64> {
        let hour = |at: jiff::Timestamp| at.as_second().div_euclid(3600);
        (hour(from)..=hour(to)).collect()
    };
    let beats = hours(now, now + minutes(62)).len();
    for (org, size) in [("org-1", 2), ("org-2", 1)] {
        let log = SealedLog::of(&world, org).await;
        let heartbeats = log.notices(NoticeKind::Heartbeat);
        assert_eq!((heartbeats.len(), log.leaves.len()), (beats, size + beats));
        let settled = (now - minutes(5)).as_millisecond();
        assert_eq!(heartbeats[0].complete_to, Some(settled));
        for beat in 1..=beats {
            assert!(log.objects.contains_key(&format!("{org}/checkpoints/{}", size + beat)));
        }
        let last = &log.objects[&format!("{org}/checkpoints/{}", size + beats)];
        assert_eq!(last, &log.objects[&format!("{org}/checkpoint")]);
    }
}

#[tokio::test]
async fn once_a_day_the_log_of_logs_says_what_every_log_has_come_to() {
    let world = World::start().await;
    insert(&world, &[entries("org-1", 2), entries("org-2", 1)].concat()).await;
    world.seal().await;
    let now = clock::now();
    let ticks = [0, 1, 24 * 60, 24 * 60 + 1].map(|later| now + minutes(later));
    for tick in ticks {
        world.tick(tick).await;
    }
    let logs = SealedLog::of(&world, "_logs").await;
    let manifests = logs.notices(NoticeKind::Manifest);
    let told: Vec<_> = manifests.iter().map(|it| (it.day.clone().unwrap(), it.org.clone())).collect();
    let day = |at: jiff::Timestamp| at.to_string()[..10].to_owned();
    // Two, unless midnight is within a minute.
    let days: BTreeSet<_> = ticks.map(day).into_iter().collect();
    let expected: Vec<_> =
        days.iter().flat_map(|day| ["org-1", "org-2"].map(|org| (day.clone(), org.to_owned()))).collect();
    assert_eq!(told, expected);
    // The root is that of the log's first leaves.
    let org = SealedLog::of(&world, "org-2").await;
    assert_eq!(manifests[1].size, Some(2));
    let [first, second] = [0, 1].map(|index| match &org.leaves[index] {
        shared::audit::Leaf::Entry(entry) => leaf_hash(&entry.bytes),
        shared::audit::Leaf::Notice(notice) => leaf_hash(&notice.to_bytes()),
    });
    let root = sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), [1]);
    let root = sha2::Digest::chain_update(sha2::Digest::chain_update(root, first), second);
    let root: [u8; 32] = sha2::Digest::finalize(root).into();
    assert_eq!(manifests[1].root, Some(BASE64.encode(&root)));
    assert!(logs.notices(NoticeKind::Heartbeat).iter().all(|it| it.complete_to.is_none()));
    assert!(!logs.notices(NoticeKind::Heartbeat).is_empty());
}

#[tokio::test]
async fn what_the_stream_did_not_tell_of_is_sealed_late() {
    let world = World::start().await;
    let now = clock::now();
    let old: Vec<_> = (0..120)
        .map(|n| entry("org-1", now - minutes(30) + SignedDuration::from_secs(n), Action::View))
        .collect();
    let young = entries("org-1", 3);
    insert(&world, &old[..10]).await;
    world.seal().await;
    // Lost: entries, a row that is none, and those of an organisation of which nobody was ever told.
    insert(&world, &old[10..]).await;
    insert(&world, &[entry("org-2", now - minutes(40 * 24 * 60), Action::View)]).await;
    let mut bare = row(&entry("org-1", now - minutes(20), Action::View));
    bare.remove("h");
    world.tables().put_item().table_name("storage_audit_logs").set_item(Some(bare)).send().await.unwrap();
    insert(&world, &young).await;
    let lost = world.untold().await;
    world.tick(now).await;
    world.tick(now).await;

    let log = SealedLog::of(&world, "org-1").await;
    let mut expected: Vec<&str> = vec!["ENTRY"; 10];
    expected.push("LATE");
    expected.extend(vec!["ENTRY"; 110]);
    expected.extend(["MALFORMED", "HEARTBEAT"]);
    assert_eq!(log.kinds(), expected);
    let late = log.notices(NoticeKind::Late)[0];
    assert_eq!(late.count, Some(110));
    assert_eq!((late.from, late.to), (Some(old[10].timestamp_ms), Some(old[119].timestamp_ms)));
    let other = SealedLog::of(&world, "org-2").await;
    assert_eq!(other.kinds(), ["LATE", "ENTRY", "HEARTBEAT"]);

    // What comes after all has its place; what is young was not late.
    world.tell(&lost).await;
    let log = SealedLog::of(&world, "org-1").await;
    expected.extend(["ENTRY"; 3]);
    assert_eq!(log.kinds(), expected);
}

#[tokio::test]
async fn what_could_not_be_published_is_published_once_the_archive_is_back() {
    let world = World::start().await;
    let app = through_proxies(&world);
    let written = entries("org-1", 5);
    insert(&world, &written).await;
    let records = world.untold().await;
    world.s3.fail("*", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    let event = serde_json::json!({ "Records": records });
    let outcome = tokio::time::timeout(Duration::from_secs(60), local::sealing::invoke(&app, event)).await;
    let error = outcome.unwrap().unwrap_err();
    assert!(error.contains("spaces unavailable"), "{error}");
    assert!(objects(&world, "org-1").await.is_empty());
    world.s3.heal();
    // Nobody tells it again: the schedule goes on with it.
    world.tick(clock::now()).await;
    let log = SealedLog::of(&world, "org-1").await;
    assert_eq!(log.ids().len(), written.len());
}

#[tokio::test]
async fn a_log_whose_archive_is_broken_does_not_keep_the_others_waiting() {
    let world = World::start().await;
    insert(&world, &[entries("org-1", 2), entries("org-2", 2)].concat()).await;
    world.seal().await;
    let put = world.bucket().put_object().bucket(local::spaces::ARCHIVE_BUCKET).key("org-1/checkpoint");
    put.body(b"no checkpoint".to_vec().into()).send().await.unwrap();
    insert(&world, &[entries("org-1", 1), entries("org-2", 1)].concat()).await;
    world.seal().await;
    assert_eq!(SealedLog::of(&world, "org-2").await.leaves.len(), 3);
    // Its positions are given; what is wrong with it is for the operator to see, at every turn.
    let positions = world.rows("storage_audit_state").await;
    let positions = positions.iter().filter(|row| row["pk"].as_s().unwrap() == "SEQ#org-1").count();
    assert_eq!(positions, 3);
    let now = clock::now();
    let app = through_proxies(&world);
    let sealer = Sealer::start(&app, now, Deadline::after(Duration::from_secs(60))).await.unwrap();
    sealer.tick().await.unwrap();
    let checkpoint = objects(&world, "org-1").await;
    assert_eq!(checkpoint["org-1/checkpoint"], b"no checkpoint", "nothing is signed over it");
}

#[tokio::test]
async fn a_log_whose_head_is_gone_does_not_keep_the_others_waiting() {
    let world = World::start().await;
    insert(&world, &[entries("org-1", 2), entries("org-2", 2)].concat()).await;
    world.seal().await;
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.into());
    let delete = world.tables().delete_item().table_name("storage_audit_state");
    delete.key("pk", text("HEAD")).key("sk", text("org-1")).send().await.unwrap();
    insert(&world, &[entries("org-1", 1), entries("org-2", 1)].concat()).await;
    world.seal().await;
    assert_eq!(SealedLog::of(&world, "org-2").await.leaves.len(), 3);
}

#[tokio::test]
async fn the_stack_seals_by_itself() {
    let mut world = World::start().await;
    world.stack.seal().unwrap();
    world.a_receipt().await;
    let begun = Stopwatch::start();
    while !objects(&world, ORG).await.contains_key(&format!("{ORG}/checkpoint")) {
        assert!(begun.elapsed_ms() < 30_000, "it is not sealed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
