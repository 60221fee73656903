//! Exports that are cut: by a death before and after every request to a store, by every request's failure, and between any
//! two calls. What comes of it in the end is what an export that nothing happened to would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use local::stack::Options;
use serde_json::json;
use shared::audit::Body;
use tokio::sync::{Notify, watch};

use crate::crash::death_at;
use crate::export::{ONE_READ, check_manifest, expected, id, lines};
use crate::lane::{Lane, Sent};
use crate::log_rows;
use crate::proxy::{Fault, Script};
use crate::world::{Answer, World};

/// Entries of the short exports: three reads.
const FEW: u32 = 1_020;
/// Entries of the long one, unless `EXPORT_ENTRIES` says otherwise.
const MANY: u32 = 2_000;
/// Of the cases that there are each so-manieth is tried, unless `EXPORT_CUTS` says otherwise: with 1 all are.
const EVERY: usize = 12;
/// Exports side by side.
const AT_ONCE: usize = 3;
/// Calls after which an export that nothing happens to any more must be done.
const CALLS: usize = 200;

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// Its process dies before this request gets to its store.
    DeathBefore(usize),
    /// Its process dies once the store has done what this request asks.
    DeathAfter(usize),
    /// This request does not get to its store.
    Reset(usize),
    /// The answer to this request is lost.
    CutAfterSending(usize),
}

fn begin() -> Sent {
    Sent::json(Method::POST, "audit-logs/exports", "auditor", &json!({ "format": "ndjson" })).under("key")
}

fn go_on(export: &str) -> Sent {
    Sent::json(Method::POST, &format!("audit-logs/exports/{export}/continue"), "auditor", &json!({}))
}

/// Makes a call, harmed. None: whoever made it is dead.
async fn call(lane: &Lane<'_>, sent: &Sent, left: SignedDuration, harm: Option<Harm>) -> Option<Answer> {
    let reached = Arc::new(Notify::new());
    let (_release, held) = watch::channel(false);
    let fault = |step: usize, fault: Fault| -> Script {
        let made = AtomicUsize::new(0);
        Arc::new(move |_| (made.fetch_add(1, Ordering::Relaxed) == step).then(|| fault.clone()))
    };
    let script = match harm {
        None => None,
        Some(Harm::DeathBefore(step)) => Some(death_at(step, false, &reached, &held)),
        Some(Harm::DeathAfter(step)) => Some(death_at(step, true, &reached, &held)),
        Some(Harm::Reset(step)) => Some(fault(step, Fault::Reset)),
        Some(Harm::CutAfterSending(step)) => Some(fault(step, Fault::CutAfterSending)),
    };
    if let Some(script) = script {
        lane.follow(&script);
    }
    tokio::select! {
        biased;
        () = reached.notified() => None,
        (answer, _) = lane.call_within(sent, left) => Some(answer),
    }
}

/// Lets the time of whoever holds an export run out.
async fn age(world: &World, export: &str) {
    let update = world.tables().update_item().table_name("storage_state");
    let update = update.key("pk", AttributeValue::S(format!("UPLOAD#{export}")));
    let update =
        update.update_expression("SET lease = :over").condition_expression("attribute_exists(lease)");
    let _ = update.expression_attribute_values(":over", AttributeValue::N("0".into())).send().await;
}

/// Continues an export to its end.
async fn to_the_end(lane: &Lane<'_>, export: &str, left: SignedDuration) -> Answer {
    for _ in 0..CALLS {
        let answer = call(lane, &go_on(export), left, None).await.unwrap();
        if answer.status == 503 {
            // A machine that is busy.
            continue;
        }
        let answer = answer.ok();
        if answer.body.get("url").is_some() {
            return answer;
        }
    }
    panic!("the export does not end");
}

/// What the export holds is every entry below its bound, once each, in order.
async fn check(lane: &Lane<'_>, entries: &[Body], done: &Answer, what: &str) {
    let file = lane.world.object(done.body["file_path"].as_str().unwrap()).await;
    let manifest = &done.body["manifest"];
    check_manifest(manifest, &file);
    let (found, expected) = (lines(&file), expected(entries, manifest, |_| true));
    assert_eq!(manifest["count"], expected.len(), "{what}");
    assert!(found == expected, "{what}: {} entries instead of {}", found.len(), expected.len());
}

/// An organisation with a log, and exports of it that were harmed at one call.
async fn survive(harms: impl Fn(usize) -> Vec<Harm>) {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    log_rows::insert(&world, &log_rows::entries(&lane.org, FEW)).await;
    // How many requests each call makes.
    let mut steps = Vec::new();
    let mut sent = Sent { keys: Vec::new(), ..begin() };
    loop {
        let process = lane.again().await;
        let answer = call(&process, &sent, ONE_READ, None).await.unwrap().ok();
        steps.push(process.dynamodb.take().len() + process.s3.take().len());
        sent = go_on(id(&answer));
        if answer.body.get("url").is_some() {
            break;
        }
    }
    assert_eq!(steps.len(), 3, "three reads: {steps:?}");

    let every = variable("EXPORT_CUTS").unwrap_or(EVERY);
    let cases = steps
        .iter()
        .enumerate()
        .flat_map(|(place, steps)| (0..*steps).flat_map(&harms).map(move |harm| (place, harm)))
        .step_by(every);
    let exports = cases.map(|(place, harm)| {
        let lane = &lane;
        async move {
            let what = format!("call {place}, {harm:?}");
            let begin = begin().under(&format!("{place}-{harm:?}").replace(['(', ')'], "-"));
            let mut process = lane.again().await;
            let mut export = None;
            for before in 0..=place {
                let sent = export.as_deref().map_or_else(|| begin.clone(), go_on);
                let harm = (before == place).then_some(harm);
                if harm.is_some() {
                    process = lane.again().await;
                }
                if let Some(answer) = call(&process, &sent, ONE_READ, harm).await {
                    // What fails says so, and is asked again.
                    assert!([200, 503].contains(&answer.status.as_u16()), "{what}: {}", answer.body);
                    export = export.or(answer.body["export_id"].as_str().map(str::to_owned));
                }
            }
            let process = lane.again().await;
            if export.is_none() {
                // Nobody heard of it: under the same key it is the same.
                for _ in 0..CALLS {
                    let again = process.call_within(&begin, ONE_READ).await.0;
                    export = again.body["export_id"].as_str().map(str::to_owned);
                    if export.is_some() {
                        break;
                    }
                    assert_eq!(again.status, 503, "{what}: {}", again.body);
                }
            }
            let export = export.unwrap();
            age(lane.world, &export).await;
            (to_the_end(&process, &export, ONE_READ).await, what)
        }
    });
    let done: Vec<_> = stream::iter(exports).buffer_unordered(AT_ONCE).collect().await;
    let entries = whole_log(&lane).await;
    for (done, what) in done {
        check(&lane, &entries, &done, &what).await;
    }
}

fn variable(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// The organisation's log, however long.
async fn whole_log(lane: &Lane<'_>) -> Vec<Body> {
    let entries = lane.world.entries().await;
    entries.into_iter().filter(|entry| entry.org == lane.org).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_survives_a_death_at_every_step() {
    survive(|step| vec![Harm::DeathBefore(step), Harm::DeathAfter(step)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_survives_the_failure_of_every_request() {
    survive(|step| vec![Harm::Reset(step), Harm::CutAfterSending(step)]).await;
}

/// Every call is made by another process, and each second one dies somewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_export_survives_a_death_between_any_two_calls() {
    let count = variable("EXPORT_ENTRIES").map_or(MANY, |count| count.try_into().unwrap());
    let left = if count > MANY { SignedDuration::from_secs(15) } else { ONE_READ };
    // In memory the embedded database holds 1 GiB.
    let folder = (count > MANY).then(|| tempfile::tempdir().unwrap());
    let data = folder.as_ref().map(|folder| folder.path().join("data"));
    let world = World::start_on(&Options { data, ..Options::default() }, |_| {}).await;
    log_rows::without_stream(&world).await;
    let lane = Lane::beside(&world).await;
    log_rows::insert(&world, &log_rows::entries(&lane.org, count)).await;
    let begun = lane.call_within(&begin(), left).await.0.ok();
    let export = id(&begun).to_owned();
    let mut calls = 1;
    let done = loop {
        let process = lane.again().await;
        let harm = (calls % 2 == 1).then_some(Harm::DeathAfter(calls * 7 % 11));
        calls += 1;
        assert!(calls < CALLS, "the export does not end");
        match call(&process, &go_on(&export), left, harm).await {
            None => age(&world, &export).await,
            Some(answer) if answer.ok_and_done() => break answer,
            Some(_) => {}
        }
    };
    check(&lane, &whole_log(&lane).await, &done, "all calls").await;
    eprintln!("{count} entries, {calls} calls, {}", done.body["manifest"]["bytes"]);
}

impl Answer {
    fn ok_and_done(&self) -> bool {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body.get("url").is_some()
    }
}
