//! The sealer: every entry gets one place in its organisation's log, however often and in whatever order it is told.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use local::sealing;
use serde_json::{Value, json};
use shared::app::App;
use shared::audit::{Action, Body};
use shared::clock;

use crate::log_rows::{entries, entry, insert};
use crate::sealed_log::SealedLog;
use crate::world::{ORG, World};

/// More leaves than a bundle, and than a batch.
const MANY: u32 = 300;
/// What an hour brings, in a test.
const OF_AN_HOUR: i64 = 2_000;

/// The ids of an organisation's entries, sorted.
fn ids<'e>(entries: &'e [Body], org: &str) -> Vec<&'e str> {
    let mut ids: Vec<&str> =
        entries.iter().filter(|entry| entry.org == org).map(|entry| entry.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

/// In another order, always the same.
fn shuffled(records: &[Value]) -> Vec<Value> {
    let mut records = records.to_vec();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for index in (1..records.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        records.swap(index, usize::try_from(random % (index as u64 + 1)).unwrap());
    }
    records
}

/// The sealer, over the world's proxies.
pub fn through_proxies(world: &World) -> App {
    let mut config = world.config.clone();
    let archive = &mut config.audit.as_mut().unwrap().archive;
    archive.endpoint = Some(format!("http://{}", world.s3.address));
    App::new(&config).unwrap()
}

#[tokio::test]
async fn what_is_written_is_sealed_byte_for_byte_in_its_order() {
    let world = World::start().await;
    world.a_receipt().await;
    world.a_receipt().await;
    world.sign(&world.token("accountant"), "org-123/accounting/receipt/none/none.jpg").await;
    world.seal().await;
    let log = SealedLog::of(&world, ORG).await;
    let written: Vec<Vec<u8>> = world.entries().await.iter().map(Body::to_bytes).collect();
    let sealed: Vec<Vec<u8>> = log.entries().iter().map(|entry| entry.bytes.clone()).collect();
    assert_eq!(sealed, written);
    assert_eq!(written.len(), 3);
}

#[tokio::test]
async fn a_batch_that_is_told_three_times_and_shuffled_is_sealed_once() {
    let world = World::start().await;
    let written = [entries("org-1", MANY), entries("org-2", 20)].concat();
    insert(&world, &written).await;
    let records = world.untold().await;
    assert_eq!(records.len(), written.len());
    let again = shuffled(&[records.clone(), records.clone(), records].concat());
    for batch in again.chunks(256) {
        world.tell(batch).await;
    }
    for org in ["org-1", "org-2"] {
        assert_eq!(SealedLog::of(&world, org).await.ids(), ids(&written, org));
    }
}

#[tokio::test]
async fn two_sealers_at_once_seal_everything_once_and_publish_one_at_a_time() {
    let world = World::start().await;
    let written = [entries("org-1", 150), entries("org-2", 150)].concat();
    insert(&world, &written).await;
    let records = world.untold().await;
    let backwards: Vec<Value> = records.iter().rev().cloned().collect();
    let seal = async |records: &[Value]| {
        let app = through_proxies(&world);
        for batch in records.chunks(40) {
            sealing::insist(&app, &json!({ "Records": batch })).await.unwrap();
        }
    };
    tokio::join!(seal(&records), seal(&backwards));
    let seen = world.s3.take();
    for org in ["org-1", "org-2"] {
        assert_eq!(SealedLog::of(&world, org).await.ids(), ids(&written, org));
        let key = format!("/{org}/checkpoint");
        let puts = seen.iter().filter(|seen| seen.operation == "PUT" && seen.uri.path().ends_with(&key));
        let puts: Vec<_> = puts.collect();
        assert!(puts.len() > 2);
        assert!(puts.windows(2).all(|two| two[0].answered.unwrap() <= two[1].arrived), "{puts:?}");
    }
}

#[tokio::test]
async fn after_an_hour_without_a_sealer_everything_is_sealed_in_its_order() {
    let world = World::start().await;
    let actions = [Action::Upload, Action::View, Action::AuditRead];
    let begun = clock::now() - SignedDuration::from_hours(1);
    let written: Vec<Body> = (0..OF_AN_HOUR)
        .map(|number| {
            let at = begun + SignedDuration::from_millis(number * 3_600_000 / OF_AN_HOUR);
            let kind = usize::try_from(number).unwrap();
            let failed = number % 7 == 0;
            Body {
                error: failed.then(|| "File not found".to_owned()),
                ..entry(["org-1", "org-2", "org-3"][kind % 3], at, actions[kind % 5 % 3])
            }
        })
        .collect();
    insert(&world, &written).await;
    world.seal().await;
    world.tick(clock::now()).await;
    for org in ["org-1", "org-2", "org-3"] {
        let log = SealedLog::of(&world, org).await;
        // In the order in which they were written, and nothing of it is late.
        let sealed: Vec<&str> = log.entries().iter().map(|entry| entry.body.id.as_str()).collect();
        assert_eq!(sealed, ids(&written, org));
        assert_eq!(log.kinds()[sealed.len()..], ["HEARTBEAT"]);
        let first = log.entries()[0].at.as_millisecond().to_string();
        assert_eq!(log.head["since"], AttributeValue::N(first));
    }
}
