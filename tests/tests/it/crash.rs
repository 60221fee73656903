//! A function's process is killed at every step of every operation: before a request gets to its store, and after the store
//! has done what it was asked and before the process hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, watch};

use crate::history::{History, maintain_at_last};
use crate::lane::Lane;
use crate::operation::{Operation, Ready};
use crate::proxy::{Fault, Script, Seen};
use crate::runtime::{Function, SECRET, environment};
use crate::world::World;

/// Processes that run side by side.
const AT_ONCE: usize = 4;
/// No process takes longer to get to its step.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever makes request `step` of these wires dies of it; `reached` tells, and whatever else it sends does not arrive.
pub fn death_at(step: usize, done: bool, reached: &Arc<Notify>, release: &watch::Receiver<bool>) -> Script {
    let (made, reached, release) = (AtomicUsize::new(0), reached.clone(), release.clone());
    Arc::new(move |_| match made.fetch_add(1, Ordering::Relaxed).cmp(&step) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => {
            Some(Fault::Last { done, reached: reached.clone(), release: release.clone() })
        }
        std::cmp::Ordering::Greater => Some(Fault::Reset),
    })
}

/// How many requests an operation makes of its stores.
async fn steps(world: &World, operation: Operation, key: Option<&str>) -> usize {
    for _ in 0..20 {
        let lane = Lane::beside(world).await;
        let ready = prepared(&lane, operation, key).await;
        let answer = lane.call(&ready.sent).await.0;
        let seen = [lane.dynamodb.take(), lane.s3.take()].concat();
        // What was sent again is no step of its own.
        if !seen.iter().any(Seen::is_late) {
            assert_eq!(answer.status, operation.status(), "{operation:?}: {}", answer.body);
            return seen.len();
        }
    }
    panic!("{operation:?}: the stores are too slow");
}

async fn prepared(lane: &Lane<'_>, operation: Operation, key: Option<&str>) -> Ready {
    let ready = operation.prepare(lane).await;
    let sent = key.map_or_else(|| ready.sent.clone(), |key| ready.sent.under(key));
    Ready { sent, ..ready }
}

/// Has a process die at a step of an operation.
async fn die<'w>(
    world: &'w World,
    operation: Operation,
    key: Option<&str>,
    step: usize,
    done: bool,
) -> (Lane<'w>, History, String) {
    let what = format!("{operation:?}, killed {} request {step}", if done { "after" } else { "before" });
    let lane = Lane::beside(world).await;
    let ready = prepared(&lane, operation, key).await;
    let mut history = History::default();
    history.look(&lane, &what).await;

    let mut environment = environment(world);
    for (name, value) in &mut environment {
        match *name {
            "SPACES_ENDPOINT" => *value = format!("http://{}/", lane.s3.address),
            "DYNAMODB_ENDPOINT" => *value = format!("http://{}", lane.dynamodb.address),
            _ => {}
        }
    }
    let (reached, (release, held)) = (Arc::new(Notify::new()), watch::channel(false));
    lane.follow(&death_at(step, done, &reached, &held));
    let name = ready.sent.path.split(['/', '?']).next().unwrap();
    let function = Function::start(name, &environment).await;
    function.hand(lane.event(&ready.sent, "killed", SECRET));
    let waited = tokio::time::timeout(PATIENCE, reached.notified()).await;
    assert!(waited.is_ok(), "{what}: it does not get there; it wrote:\n{}", function.log());
    function.kill().await;
    release.send_replace(true);
    lane.heal().await;
    history.look(&lane, &what).await;
    (lane, history, what)
}

/// Kills a process at every step of these operations, and has maintenance put things right.
async fn survive_a_death_at_every_step(operations: &[Operation], key: Option<&str>) {
    let world = World::start().await;
    let mut deaths = Vec::new();
    for &operation in operations {
        for step in 0..steps(&world, operation, key).await {
            deaths.extend([false, true].map(|done| die(&world, operation, key, step, done)));
        }
    }
    let died: Vec<_> = stream::iter(deaths).buffer_unordered(AT_ONCE).collect().await;
    maintain_at_last(&world).await;
    for (lane, mut history, what) in died {
        history.check(&lane, &what).await;
    }
}

#[tokio::test]
async fn an_upload_survives_a_death_at_every_step() {
    survive_a_death_at_every_step(Operation::UPLOADS, None).await;
}

#[tokio::test]
async fn reading_and_signing_survive_a_death_at_every_step() {
    survive_a_death_at_every_step(Operation::READS, None).await;
}

#[tokio::test]
async fn a_delete_survives_a_death_at_every_step() {
    survive_a_death_at_every_step(Operation::DELETES, None).await;
}

#[tokio::test]
async fn a_refusal_survives_a_death_at_every_step() {
    survive_a_death_at_every_step(Operation::REFUSALS, None).await;
}

#[tokio::test]
async fn an_upload_session_survives_a_death_at_every_step() {
    survive_a_death_at_every_step(Operation::SESSIONS, None).await;
}

#[tokio::test]
async fn a_request_with_a_key_survives_a_death_at_every_step() {
    let operations = [
        Operation::Upload,
        Operation::Sign(None),
        Operation::SoftDelete,
        Operation::HardDelete("ACTIVE"),
        Operation::Open,
        Operation::Parts,
        Operation::Complete(1),
        Operation::Abort,
    ];
    survive_a_death_at_every_step(&operations, Some("8e03978e-40d5-43dd-bc93-6894a57f9324")).await;
}
