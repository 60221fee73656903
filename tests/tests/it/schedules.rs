//! Randomised schedules: an operation that fails or dies, a second one beside or behind it, maintenance in between. Whatever
//! comes of them, maintenance puts it right, and what was acknowledged is so.
//!
//! `SCHEDULES=<count>` sets how many are tried; `SCHEDULE_SEED=<n>` tries one alone. A seed fixes what is tried, and not how
//! the tasks of the process take turns.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::clock;
use tokio::sync::{Notify, watch};

use crate::crash::death_at;
use crate::history::{History, maintain, maintain_at_last};
use crate::lane::Lane;
use crate::operation::{Operation, Ready};
use crate::proxy::{Fault, Script, Seen};
use crate::world::{Answer, World};

/// Schedules that are tried unless somebody says how many.
const SCHEDULES: u64 = 100;
/// Schedules that share their stores, and the maintenance at the end.
const OF_ONE_WORLD: usize = 25;
/// Worlds that run side by side, and schedules in each of them: most of their time is waiting.
const AT_ONCE: (usize, usize) = (3, 8);
/// More steps than most operations have: a fault behind the last one does not strike.
const STEPS: u64 = 9;
const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

/// Numbers that a seed fixes (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    fn step(&mut self) -> usize {
        usize::try_from(self.below(STEPS)).unwrap()
    }
}

/// What becomes of an operation's requests.
#[derive(Debug, Clone, Copy)]
enum Harm {
    None,
    /// The process dies of this request, before or after the store has done it.
    Death {
        step: usize,
        done: bool,
    },
    /// So many requests fail in this way, from this one on.
    Trouble {
        step: usize,
        times: usize,
        kind: Trouble,
    },
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Reset,
    CutAfterSending,
    Late,
    LateAnswer,
    Throttled,
    Broken,
    BrokenAfter,
}

/// What is done besides.
#[derive(Debug, Clone, Copy)]
enum Second {
    Nothing,
    /// The same request, by a client that did not hear of the first.
    Again,
    /// The same with another idempotency key.
    AgainAnew,
    /// Another request about the same thing.
    Competing(u64),
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    operation: Operation,
    has_key: bool,
    harm: Harm,
    second: Second,
    second_harm: Harm,
    /// The second one begins when the first one does, and not when that is over.
    at_once: bool,
    /// Between the two every reservation's time runs out.
    aged: bool,
    /// Maintenance runs beside the second one.
    maintained: bool,
}

impl Schedule {
    fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let operations = [
            Operation::UPLOADS,
            Operation::READS,
            Operation::DELETES,
            Operation::REFUSALS,
            &[Operation::Open, Operation::Parts, Operation::Complete(1), Operation::Abort],
            &[Operation::Complete(1), Operation::Abort],
        ];
        let operations = operations[usize::try_from(random.below(6)).unwrap()];
        // Megabytes take their time.
        let operation = if random.one_in(40) { Operation::Complete(2) } else { random.of(operations) };
        let harm = Harm::of(&mut random, 8);
        let second = match random.below(5) {
            0 => Second::Nothing,
            1 => Second::Again,
            2 => Second::AgainAnew,
            _ => Second::Competing(random.below(4)),
        };
        let second_harm = if random.one_in(4) { Harm::of(&mut random, 8) } else { Harm::None };
        let at_once = random.one_in(2);
        Self {
            operation,
            has_key: operation.takes_key() && !random.one_in(3),
            harm,
            second,
            second_harm,
            at_once,
            aged: !at_once && random.one_in(2),
            maintained: random.one_in(2),
        }
    }
}

impl Harm {
    fn of(random: &mut Random, none_in: u64) -> Self {
        if random.one_in(none_in) {
            return Self::None;
        }
        if random.one_in(2) {
            return Self::Death { step: random.step(), done: random.one_in(2) };
        }
        let kind = random.of(&[
            Trouble::Reset,
            Trouble::CutAfterSending,
            Trouble::Late,
            Trouble::LateAnswer,
            Trouble::Throttled,
            Trouble::Broken,
            Trouble::BrokenAfter,
        ]);
        let times = random.of(&[1, 1, 1, 2, 3, 5, 1_000]);
        Self::Trouble { step: random.step(), times, kind }
    }

    fn script(self, died: &Arc<Notify>) -> Option<Script> {
        match self {
            Self::None => None,
            Self::Death { step, done } => Some(death_at(step, done, died, &watch::channel(true).1)),
            Self::Trouble { step, times, kind } => {
                let made = AtomicUsize::new(0);
                Some(Arc::new(move |seen| {
                    let at = made.fetch_add(1, Ordering::Relaxed);
                    (step..step + times).contains(&at).then(|| kind.fault(seen))
                }))
            }
        }
    }
}

impl Trouble {
    fn fault(self, seen: &Seen) -> Fault {
        let is_table = seen.body != Value::Null;
        // For some attempts too long, for others not.
        let late = Duration::from_millis(if is_table { 1_100 } else { 300 });
        let broken = json!({ "__type": "InternalServerError", "message": "InternalServerError" });
        match self {
            Self::Reset => Fault::Reset,
            Self::CutAfterSending => Fault::CutAfterSending,
            Self::Late => Fault::Delay(late),
            Self::LateAnswer => Fault::DelayAnswer(late),
            Self::Throttled if is_table => Fault::throttled(),
            Self::Throttled => Fault::AnswerXml(503, "SlowDown"),
            Self::Broken if is_table => Fault::error(500, "InternalServerError"),
            Self::Broken => Fault::AnswerXml(500, "InternalError"),
            Self::BrokenAfter => Fault::AnswerAfter(500, broken),
        }
    }
}

impl Operation {
    fn takes_key(self) -> bool {
        [Self::UPLOADS, Self::DELETES, Self::SESSIONS].iter().any(|kind| kind.contains(&self))
            || matches!(self, Self::Sign(_))
    }
}

/// A schedule that is over, but for maintenance.
struct Over<'w> {
    seed: u64,
    lane: Lane<'w>,
    history: History,
    what: String,
}

/// Sends a request through a lane that is harmed, until it is answered or its process dies.
async fn send(lane: &Lane<'_>, ready: &Ready, harm: Harm) -> Option<(Answer, String)> {
    let died = Arc::new(Notify::new());
    if let Some(script) = harm.script(&died) {
        lane.follow(&script);
    }
    let answered = tokio::select! {
        biased;
        () = died.notified() => None,
        answered = lane.call(&ready.sent) => Some(answered),
    };
    if answered.is_some() {
        lane.heal().await;
    } else {
        // What the dead sent before is on its way; what it sends now does not arrive.
        lane.s3.idle().await;
        lane.dynamodb.idle().await;
    }
    answered
}

async fn run(world: &World, seed: u64) -> Over<'_> {
    let schedule = Schedule::of(seed);
    let what = format!("SCHEDULE_SEED={seed}: {schedule:?}");
    let first_lane = Lane::beside(world).await;
    let mut ready = schedule.operation.prepare(&first_lane).await;
    if schedule.has_key {
        ready.sent = ready.sent.under(KEY);
    }
    let mut history = History::default();
    history.look(&first_lane, &what).await;

    let lane = first_lane.again().await;
    let other = match schedule.second {
        Second::Nothing => None,
        Second::Again => Some(Ready { sent: ready.sent.clone(), path: ready.path.clone(), ..ready }),
        Second::AgainAnew => {
            let sent = if schedule.has_key { ready.sent.under("another") } else { ready.sent.clone() };
            Some(Ready { sent, path: ready.path.clone(), ..ready })
        }
        Second::Competing(which) => {
            let mut competing = ready.competing(&lane);
            let which = usize::try_from(which).unwrap() % competing.len();
            Some(competing.swap_remove(which))
        }
    };
    let second = async {
        let beside = async {
            if schedule.maintained {
                let _ = maintain(world, SignedDuration::ZERO).await;
            }
        };
        let answered = async {
            match &other {
                Some(other) => send(&lane, other, schedule.second_harm).await,
                None => None,
            }
        };
        tokio::join!(answered, beside).0
    };
    let (first, second) = if schedule.at_once {
        tokio::join!(send(&first_lane, &ready, schedule.harm), second)
    } else {
        let first = send(&first_lane, &ready, schedule.harm).await;
        history.look(&lane, &what).await;
        if schedule.aged {
            age(&first_lane).await;
        }
        (first, second.await)
    };
    history.look(&lane, &what).await;
    if let (Some((first, _)), Some((second, _)), Second::Again, true) =
        (&first, &second, schedule.second, schedule.has_key)
        && (first.status, second.status) == (axum::http::StatusCode::OK, axum::http::StatusCode::OK)
    {
        // Each process has wires of its own, and a URL names its own: the times must do.
        let has_urls = ["url", "parts"].iter().any(|name| first.body.get(name).is_some());
        let same = |name: &str| first.body.get(name) == second.body.get(name);
        let answers_fit =
            if has_urls { same("expires_at") && same("upload_id") } else { first.body == second.body };
        assert!(answers_fit, "{what}: one key, two answers: {} {}", first.body, second.body);
        let one = first.is_replayed() != second.is_replayed();
        assert!(one || Operation::SESSIONS.contains(&schedule.operation), "{what}: one key, two effects");
    }
    for (ready, answered) in [(Some(&ready), first), (other.as_ref(), second)] {
        if let (Some(ready), Some(answered)) = (ready, answered) {
            history.answered(ready.operation, ready.path.clone(), answered);
        }
    }
    Over { seed, lane, history, what }
}

/// Lets the time of every reservation, claim and lease of a lane run out, but for that of sessions, which live a day.
async fn age(lane: &Lane<'_>) {
    let now = clock::now().as_millisecond();
    let tables = lane.world.tables();
    let over = || AttributeValue::N((now - 1).to_string());
    let mut leases = Vec::new();
    for (path, row) in lane.stored().await.rows {
        let is_short = row.due.is_some_and(|due| due < now + 60 * 60 * 1_000);
        if is_short && ["PENDING", "PURGING"].contains(&row.state.as_str()) {
            let update = tables.update_item().table_name("file_records").key("pk", AttributeValue::S(path));
            let lease = if row.lease.is_some() { ", lease = :over" } else { "" };
            let update = update.update_expression(format!("SET due = :over{lease}"));
            update.expression_attribute_values(":over", over()).send().await.unwrap();
        }
        leases.push(format!("UPLOAD#{}", row.upload_id));
    }
    for seen in lane.dynamodb.take() {
        let items = seen.body["TransactItems"].as_array().cloned().unwrap_or_default();
        let keys = items.iter().filter_map(|item| item["Put"]["Item"]["pk"]["S"].as_str());
        leases.extend(keys.filter(|pk| pk.starts_with("KEY#")).map(str::to_owned));
    }
    for pk in leases {
        let update = tables.update_item().table_name("storage_state").key("pk", AttributeValue::S(pk));
        let update = update.update_expression("SET lease = :over").condition_expression("lease > :over");
        // A row without a lease stays as it is.
        let _ = update.expression_attribute_values(":over", over()).send().await;
    }
}

/// Runs schedules on stores of their own, then maintenance, and looks at what there is.
async fn run_all(seeds: &[u64]) {
    let world = World::start().await;
    let schedules = seeds.iter().map(|&seed| {
        let world = &world;
        async move {
            let run = AssertUnwindSafe(run(world, seed)).catch_unwind().await;
            run.unwrap_or_else(|panic| {
                eprintln!("SCHEDULE_SEED={seed}: {:?}", Schedule::of(seed));
                resume_unwind(panic)
            })
        }
    });
    let over: Vec<_> = stream::iter(schedules).buffer_unordered(AT_ONCE.1).collect().await;
    let seeds: Vec<_> = over.iter().map(|over| (&over.lane.org, over.seed)).collect();
    let maintained = AssertUnwindSafe(maintain_at_last(&world)).catch_unwind().await;
    if let Err(panic) = maintained {
        eprintln!("seeds by organisation: {seeds:?}");
        resume_unwind(panic);
    }
    for mut over in over {
        over.history.check(&over.lane, &over.what).await;
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_or_dies_maintenance_puts_it_right() {
    let seeds = match variable("SCHEDULE_SEED") {
        Some(seed) => vec![seed],
        None => (0..variable("SCHEDULES").unwrap_or(SCHEDULES)).collect(),
    };
    let worlds = seeds.chunks(OF_ONE_WORLD).map(run_all);
    stream::iter(worlds).buffer_unordered(AT_ONCE.0).collect::<Vec<()>>().await;
}
