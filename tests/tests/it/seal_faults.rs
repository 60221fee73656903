//! The sealer is killed after every write that it makes, before it hears of it, and started again: everything is sealed once,
//! and every tile and bundle that was ever put is as it would have been.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::app::App;
use shared::clock::{self, Deadline};
use shared::seal::Sealer;
use tokio::sync::{Notify, watch};

use crate::log_rows::{entries, insert};
use crate::proxy::{Fault, Script};
use crate::seal::through_proxies;
use crate::sealed_log::SealedLog;
use crate::world::World;

/// Leaves that are sealed before: their bundle is not full.
const BEFORE: u32 = 10;
/// Leaves of the batch in which the sealer dies: more than one transaction takes.
const BATCH: u32 = 60;
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever makes write `step` of these wires dies of it once it is done; nothing else that it sends arrives.
fn death_after_write(step: usize, reached: &Arc<Notify>, release: &watch::Receiver<bool>) -> Script {
    let (made, reached, release) = (AtomicUsize::new(0), reached.clone(), release.clone());
    let writes = ["TransactWriteItems", "UpdateItem", "PutItem", "PUT"];
    Arc::new(move |seen| {
        let writes = usize::from(writes.contains(&seen.operation.as_str()));
        let before = made.fetch_add(writes, Ordering::Relaxed);
        if before > step {
            return Some(Fault::Reset);
        }
        let last = Fault::Last { done: true, reached: reached.clone(), release: release.clone() };
        (writes == 1 && before == step).then_some(last)
    })
}

/// Has the sealer do something and die after write `step`. False: it came to its end before.
async fn die<T>(world: &World, step: usize, work: impl Future<Output = T>) -> bool {
    let (reached, (release, released)) = (Arc::new(Notify::new()), watch::channel(false));
    let script = death_after_write(step, &reached, &released);
    world.s3.follow(script.clone());
    world.dynamodb.follow(script);
    let died = tokio::select! {
        _ = work => false,
        () = reached.notified() => true,
    };
    release.send_replace(true);
    world.s3.heal();
    world.dynamodb.heal();
    world.s3.idle().await;
    world.dynamodb.idle().await;
    died
}

/// Lets the time pass that a dead sealer's lease runs on.
async fn leases_end(world: &World) {
    for row in world.rows("storage_audit_state").await {
        if row.contains_key("holder") {
            let update = world.tables().update_item().table_name("storage_audit_state");
            let update = update.key("pk", row["pk"].clone()).key("sk", row["sk"].clone());
            let update = update.update_expression("SET held_until = :past");
            let past = AttributeValue::N("0".into());
            update.expression_attribute_values(":past", past).send().await.unwrap();
        }
    }
}

fn ids_of(entries: &[shared::audit::Body]) -> Vec<&str> {
    entries.iter().map(|entry| entry.id.as_str()).collect()
}

async fn seal(app: &App, records: &[Value]) -> Result<Value, String> {
    local::sealing::invoke(app, json!({ "Records": records })).await
}

#[tokio::test]
async fn a_sealer_that_dies_between_any_two_requests_leaves_nothing_undone_and_nothing_twice() {
    let world = World::start().await;
    let app = through_proxies(&world);
    let mut deaths = 0;
    for step in 0.. {
        let org = format!("org-{step}");
        let before = entries(&org, BEFORE);
        insert(&world, &before).await;
        world.seal().await;
        let batch = entries(&org, BATCH);
        insert(&world, &batch).await;
        let records = world.untold().await;
        let died = die(&world, step, seal(&app, &records)).await;
        leases_end(&world).await;
        world.tell(&records).await;
        let log = SealedLog::of(&world, &org).await;
        assert_eq!(log.entries().len(), log.leaves.len());
        let sealed: Vec<&str> = log.entries().iter().map(|entry| entry.body.id.as_str()).collect();
        assert_eq!(sealed, ids_of(&[before, batch].concat()), "killed after write {step}");
        if !died {
            break;
        }
        deaths += 1;
    }
    // Two transactions, the lease, bundle, tile, checkpoint, the head.
    assert_eq!(deaths, 7);
}

async fn tick(app: &App, now: Timestamp) {
    let sealer = Sealer::start(app, now, Deadline::after(PATIENCE)).await.unwrap();
    sealer.tick().await.unwrap();
}

#[tokio::test]
async fn a_sealer_that_dies_in_what_is_due_does_it_once_when_it_is_back() {
    let world = World::start().await;
    let app = through_proxies(&world);
    insert(&world, &entries("org-1", 2)).await;
    world.seal().await;
    let mut now = clock::now();
    let mut ticks = 0;
    for step in 0.. {
        // Each time, a day's work is due.
        now += SignedDuration::from_hours(24);
        let died = die(&world, step, tick(&app, now)).await;
        leases_end(&world).await;
        world.tick(now).await;
        ticks += 1;
        if !died {
            break;
        }
    }
    // Two logs: how far they are complete, a position, lease, bundle, tile, checkpoint, the head, the kept checkpoint, the
    // hour; and the manifest.
    assert!(ticks > 20, "{ticks}");
    let log = SealedLog::of(&world, "org-1").await;
    assert_eq!(log.kinds()[2..], vec!["HEARTBEAT"; ticks]);
    let kept = log.objects.keys().filter(|key| key.starts_with("org-1/checkpoints/")).count();
    assert_eq!(kept, ticks);
    let logs = SealedLog::of(&world, "_logs").await;
    let manifests = logs.kinds().iter().filter(|kind| *kind == "MANIFEST").count();
    assert_eq!(manifests, ticks);
}
