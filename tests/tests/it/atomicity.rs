//! The wire fails at every step of every operation, in every way: what is done is in the log, what is in the log is done,
//! and the caller gets an answer in time.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::lane::{Lane, Stored};
use crate::operation::{Operation, Ready};
use crate::proxy::{Fault, Proxy};
use crate::world::World;

/// An answer is due after 10 s (DESIGN section 8); the rest is for a machine that is busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);
/// Failures that are tried side by side: most of their time is waiting.
const AT_ONCE: usize = 64;
/// Lanes that are busy at once. More would have the service's own time limits strike where the wire is whole.
const BUSY: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    S3,
    DynamoDb,
}

/// Lanes that are free, and the turns that they take.
struct Lanes<'w> {
    world: &'w World,
    free: Mutex<Vec<Lane<'w>>>,
    busy: Semaphore,
}

impl<'w> Lanes<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, free: Mutex::default(), busy: Semaphore::new(BUSY) }
    }

    async fn take(&self) -> Lane<'w> {
        let free = self.free.lock().unwrap().pop();
        match free {
            Some(lane) => lane,
            None => Lane::beside(self.world).await,
        }
    }

    fn give_back(&self, lane: Lane<'w>) {
        self.free.lock().unwrap().push(lane);
    }
}

/// One request of an operation: the `nth` of its kind.
#[derive(Debug, Clone)]
struct Step {
    store: Store,
    kind: String,
    nth: usize,
}

impl Store {
    fn proxy<'l>(self, lane: &'l Lane<'_>) -> &'l Proxy {
        match self {
            Self::S3 => &lane.s3,
            Self::DynamoDb => &lane.dynamodb,
        }
    }

    /// Every way in which one request can fail. A delay is longer than an attempt may take.
    fn faults(self) -> Vec<Fault> {
        let late = Duration::from_millis(if self == Self::S3 { 2_600 } else { 1_200 });
        let broken = json!({ "__type": "InternalServerError", "message": "InternalServerError" });
        let mut faults = vec![
            Fault::Reset,
            Fault::CutAfterSending,
            Fault::Delay(late),
            Fault::DelayAnswer(late),
            Fault::AnswerAfter(500, broken),
        ];
        match self {
            Self::S3 => faults.extend([
                Fault::AnswerXml(500, "InternalError"),
                Fault::AnswerXml(503, "SlowDown"),
                Fault::AnswerXml(504, "GatewayTimeout"),
            ]),
            Self::DynamoDb => faults.extend([
                Fault::error(500, "InternalServerError"),
                Fault::error(503, "ServiceUnavailable"),
                Fault::throttled(),
            ]),
        }
        faults
    }

    /// Ways in which a store is down.
    fn outages(self) -> Vec<Fault> {
        let hangs = Fault::Delay(ANSWER_LIMIT * 2);
        match self {
            Self::S3 => vec![hangs, Fault::CutAfterSending, Fault::AnswerXml(503, "SlowDown")],
            Self::DynamoDb => vec![hangs, Fault::CutAfterSending, Fault::Reset, Fault::throttled()],
        }
    }
}

/// The requests of an operation, found by watching it when all is well.
async fn steps(world: &World, operation: Operation) -> Vec<Step> {
    let lane = Lane::beside(world).await;
    let ready = operation.prepare(&lane).await;
    let before = lane.stored().await;
    let (answer, request_id) = lane.call(&ready.sent).await;
    assert_eq!(answer.status, operation.status(), "{operation:?}: {}", answer.body);
    let after = lane.stored().await;
    check(&ready, &request_id, answer.status.as_u16(), &before, &after, &format!("{operation:?}, unharmed"));

    let mut steps = Vec::<Step>::new();
    for (store, proxy) in [(Store::DynamoDb, &lane.dynamodb), (Store::S3, &lane.s3)] {
        for kind in proxy.operations() {
            let nth = steps.iter().filter(|step| (step.store, &step.kind) == (store, &kind)).count();
            steps.push(Step { store, kind, nth });
        }
    }
    assert!(!steps.is_empty(), "{operation:?} leaves an entry");
    steps
}

/// Runs an operation while one of its steps fails so many times, and once more when the wire is whole again.
async fn run(lanes: &Lanes<'_>, operation: Operation, step: Step, fault: Fault, times: usize) {
    let what = format!("{operation:?} with {fault:?} x {times} at {step:?}");
    let turn = lanes.busy.acquire().await.unwrap();
    let lane = lanes.take().await;
    let ready = operation.prepare(&lane).await;
    let before = lane.stored().await;
    step.store.proxy(&lane).fail(&step.kind, step.nth, times, fault.clone());
    drop(turn);

    let begun = Instant::now();
    let (answer, request_id) = lane.call(&ready.sent).await;
    assert!(begun.elapsed() < ANSWER_LIMIT, "{what}: an answer after {:?}", begun.elapsed());
    ready.check_answer(&answer, &what);
    assert!([503, operation.status()].contains(&answer.status.as_u16()), "{what}: {}", answer.body);
    // What hangs for good is not waited for, and nothing else is tried on its wire.
    let hangs = times > 1 && matches!(fault, Fault::Delay(_));
    if hangs {
        lane.s3.heal();
        lane.dynamodb.heal();
    } else {
        lane.heal().await;
    }
    let _turn = lanes.busy.acquire().await.unwrap();
    let after = lane.stored().await;
    check(&ready, &request_id, answer.status.as_u16(), &before, &after, &what);

    let done = after.told_by(&request_id) == operation.told();
    let (again, request_id) = lane.call(&ready.sent).await;
    let expected = if done { operation.status_again() } else { operation.status() };
    assert_eq!(again.status, expected, "{what}, again: {}", again.body);
    let told = lane.stored().await;
    told.check(&format!("{what}, again"));
    assert!(!told.told_by(&request_id).is_empty(), "{what}, again");
    if !hangs {
        lanes.give_back(lane);
    }
}

/// No effect without its entry, no entry without its effect, no second entry, and an answer that tells the truth.
#[track_caller]
fn check(ready: &Ready, request_id: &str, status: u16, before: &Stored, after: &Stored, what: &str) {
    after.check(what);
    let mut told = after.told_by(request_id);
    told.sort();
    if status == ready.operation.status() {
        assert_eq!(told, ready.operation.told(), "{what}: answered {status}");
    }
    for (at, (action, _)) in told.iter().enumerate() {
        assert!(!told[..at].iter().any(|(other, _)| other == action), "{what}: two entries: {told:?}");
    }
    for action in ["UPLOAD", "DELETE", "PURGE"] {
        let succeeded = told.contains(&(action.to_owned(), true));
        if let Some(happened) = ready.happened(action, before, after)
            && ready.operation.told().contains(&(action.to_owned(), true))
        {
            assert_eq!(
                succeeded, happened,
                "{what}: {action} in the log and in the table: {told:?} {after:?}"
            );
        }
    }
    let refused = ready.operation.status() != 200;
    assert!(!refused || told.iter().all(|(_, success)| !success), "{what}: {told:?}");
}

/// Tries one failure at every step of these operations.
async fn survive_every_failure_at_every_step(operations: &[Operation]) {
    let world = World::start().await;
    let lanes = Lanes::new(&world);
    let mut runs = Vec::new();
    for &operation in operations {
        for step in steps(&world, operation).await {
            let faults = step.store.faults();
            let tried = if operation.is_variant() { 2 } else { faults.len() };
            for fault in faults.into_iter().take(tried) {
                runs.push(run(&lanes, operation, step.clone(), fault, 1));
            }
        }
    }
    stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn an_upload_survives_every_failure_at_every_step() {
    survive_every_failure_at_every_step(Operation::UPLOADS).await;
}

#[tokio::test]
async fn reading_and_signing_survive_every_failure_at_every_step() {
    survive_every_failure_at_every_step(Operation::READS).await;
}

#[tokio::test]
async fn a_delete_survives_every_failure_at_every_step() {
    survive_every_failure_at_every_step(Operation::DELETES).await;
}

#[tokio::test]
async fn a_refusal_survives_every_failure_at_every_step() {
    survive_every_failure_at_every_step(Operation::REFUSALS).await;
}

#[tokio::test]
async fn an_outage_at_any_step_is_answered_in_time_and_leaves_nothing_half_done() {
    let world = World::start().await;
    let lanes = Lanes::new(&world);
    let mut runs = Vec::new();
    for operation in [
        Operation::Receipt,
        Operation::Sign(None),
        Operation::SoftDelete,
        Operation::HardDelete("ACTIVE"),
        Operation::AuditLogs,
        Operation::Forbidden,
        Operation::Missing,
        Operation::Taken,
    ] {
        for step in steps(&world, operation).await {
            for outage in step.store.outages() {
                runs.push(run(&lanes, operation, step.clone(), outage, usize::MAX));
            }
        }
    }
    stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}
