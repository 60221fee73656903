//! Idempotency keys while something goes wrong: of requests with one key that fail, die, or run at once, one has an effect.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use shared::clock;
use tokio::sync::watch;

use crate::idempotency::{KEY, KEYED, is_replayed, key_rows, others, set, sorted};
use crate::lane::{Lane, Stored};
use crate::operation::{Operation, Ready};
use crate::proxy::{Fault, Seen};
use crate::world::{Answer, World};

/// Those that take different steps.
fn different() -> impl Iterator<Item = Operation> {
    KEYED.iter().copied().filter(|operation| !operation.is_variant())
}

#[tokio::test]
async fn after_a_503_the_same_key_works_at_once() {
    let world = World::start().await;
    let mut tries = Vec::new();
    for operation in different() {
        let lane = Lane::beside(&world).await;
        let ready = operation.prepare(&lane).await;
        lane.call(&ready.sent.under(KEY)).await.0.ok();
        let calls: BTreeSet<_> = lane.dynamodb.take().iter().map(Seen::call).collect();
        let (tables, bucket) = (calls.len(), lane.s3.take().len());
        let steps = (0..tables).map(|step| (true, step)).chain((0..bucket).map(|step| (false, step)));
        for (in_tables, step) in steps {
            let lane = Lane::beside(&world).await;
            let ready = operation.prepare(&lane).await;
            tries.push(fails_once(lane, ready, in_tables, step));
        }
    }
    // Most of their time is waiting.
    stream::iter(tries).buffer_unordered(16).collect::<Vec<()>>().await;
}

/// One call of an operation fails, as often as it is sent again; then the wire is whole.
async fn fails_once(lane: Lane<'_>, ready: Ready, in_tables: bool, step: usize) {
    let operation = ready.operation;
    let what = format!("{operation:?}, step {step} of the {}", if in_tables { "tables" } else { "bucket" });
    let before = lane.stored().await;
    if in_tables {
        lane.dynamodb.fail_if(nth_call(step), 0, usize::MAX, Fault::throttled());
    } else {
        lane.s3.fail("*", step, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    }
    let sent = ready.sent.under(KEY);
    let failed = lane.call(&sent).await.0.refused(503, "unavailable");
    assert!(!failed.is_replayed() && failed.headers.contains_key("retry-after"), "{what}");
    lane.heal().await;
    if lane.dynamodb.take().iter().any(Seen::is_late) {
        // On a machine that has much else to do the release may have got lost too: then the claim ends by itself.
        return;
    }
    for replayed in [false, true] {
        let again = lane.call(&sent).await.0;
        assert_eq!(again.status, 200, "{what}: {}", again.body);
        // With its DELETE a hard delete is decided, and what is left of it is done with the answer that is remembered.
        let decided = matches!(operation, Operation::HardDelete(_)) && again.is_replayed();
        assert!(decided || again.is_replayed() == replayed, "{what}: {}", again.body);
    }
    let after = lane.stored().await;
    after.check(&what);
    assert_eq!(new_effects(&before, &after), operation.told(), "{what}");
}

/// The actions that succeeded in between, sorted.
fn new_effects(before: &Stored, after: &Stored) -> Vec<(String, bool)> {
    let new = after.entries.iter().filter(|entry| entry.error.is_none() && !before.entries.contains(entry));
    sorted(new.map(|entry| (entry.action.name().to_owned(), true)).collect())
}

/// Fits one call, however often it is sent again.
fn nth_call(nth: usize) -> impl Fn(&Seen) -> bool + Send + 'static {
    let calls = Mutex::new(Vec::<String>::new());
    move |seen| {
        let call = seen.call();
        let mut calls = calls.lock().unwrap();
        let known = calls.iter().position(|known| *known == call);
        nth == known.unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        })
    }
}

#[tokio::test]
async fn a_claim_in_doubt_is_released_too() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let ready = Operation::Receipt.prepare(&lane).await;
    // The reservation and its claim are made, and nobody hears of it.
    lane.dynamodb.fail_if(|seen| reserves(&seen.body), 0, usize::MAX, Fault::CutAfterSending);
    lane.call(&ready.sent.under(KEY)).await.0.refused(503, "unavailable");
    lane.heal().await;
    assert!(!lane.call(&ready.sent.under(KEY)).await.0.ok().is_replayed());
    lane.stored().await.check("a claim in doubt");
}

/// Whether a transaction reserves a path: of all that an upload does, only this has no entry.
fn reserves(body: &Value) -> bool {
    let items = body["TransactItems"].as_array();
    items.is_some_and(|items| items.iter().all(|item| item["Put"]["TableName"] != "storage_audit_logs"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_identical_requests_at_once_one_has_an_effect() {
    let world = World::start().await;
    for operation in different() {
        let lane = Lane::beside(&world).await;
        let ready = operation.prepare(&lane).await;
        let before = lane.stored().await;
        let sent = ready.sent.under(KEY);
        // On a machine that has much else to do, some may run out of time.
        let patient = async || loop {
            let answer = lane.call(&sent).await.0;
            if answer.status != 503 {
                return answer;
            }
        };
        let answers = join_all((0..20).map(|_| patient())).await;
        let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        let bodies: BTreeSet<_> = done.iter().map(|answer| answer.bytes.clone()).collect();
        assert_eq!(bodies.len(), 1, "{operation:?}: one answer");
        assert_eq!(done.iter().filter(|answer| !answer.is_replayed()).count(), 1, "{operation:?}");
        for answer in refused {
            let answer = answer.refused(409, "request_in_progress");
            assert!(retry_after(&answer) <= 60, "{operation:?}");
        }
        let after = lane.stored().await;
        after.check(&format!("{operation:?}"));
        assert_eq!(new_effects(&before, &after), operation.told(), "{operation:?}: one effect");
        is_replayed(&lane, &sent, &done[0], &lane.stored().await).await;
    }
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn while_the_first_request_runs_the_second_is_told_to_wait() {
    let world = World::start().await;
    for operation in [Operation::Upload, Operation::Receipt, Operation::Zip] {
        let lane = Lane::beside(&world).await;
        let ready = operation.prepare(&lane).await;
        let (release, held) = watch::channel(false);
        lane.s3.fail("PUT", 0, usize::MAX, Fault::Held(held));
        let sent = ready.sent.under(KEY);
        let second = async {
            lane.s3.until("the PUT", |seen| !seen.is_empty()).await;
            let answer = lane.call(&sent).await.0.refused(409, "request_in_progress");
            assert!((1..=60).contains(&retry_after(&answer)), "{operation:?}");
            let other = &others(&ready.sent)[0].under(KEY);
            lane.call(other).await.0.refused(422, "idempotency_key_reused");
            release.send_replace(true);
        };
        let ((first, _), ()) = tokio::join!(lane.call(&sent), second);
        is_replayed(&lane, &sent, &first.ok(), &lane.stored().await).await;
    }
}

#[tokio::test]
async fn a_claim_whose_request_died_is_taken_over_and_the_late_request_cannot_commit() {
    for sent_late in ["PUT", "the commit"] {
        let world = World::start().await;
        let lane = Lane::beside(&world).await;
        let ready = Operation::Receipt.prepare(&lane).await;
        let sent = ready.sent.under(KEY);
        let (release, held) = watch::channel(false);
        if sent_late == "PUT" {
            lane.s3.fail("PUT", 0, usize::MAX, Fault::Held(held));
        } else {
            // Its commit is on the way for as long as the test says.
            lane.dynamodb.fail_if(nth_call(1), 0, usize::MAX, Fault::Held(held));
        }
        let takeover = async {
            if sent_late == "PUT" {
                lane.s3.until("the PUT", |seen| !seen.is_empty()).await;
            } else {
                lane.dynamodb.until("the commit", |seen| seen.len() == 2).await;
            }
            lane.call(&sent).await.0.refused(409, "request_in_progress");
            let rows = key_rows(&world).await;
            set(&world, "storage_state", &rows[0], "lease", clock::now().as_millisecond() - 1).await;
            lane.call(&others(&ready.sent)[0].under(KEY)).await.0.refused(422, "idempotency_key_reused");
            if sent_late == "PUT" {
                // The wire is whole for whoever comes now; what is held stays held.
                lane.s3.heal();
            }
            let second = lane.call(&sent).await.0.ok();
            assert!(!second.is_replayed());
            release.send_replace(true);
            second
        };
        let ((first, _), second) = tokio::join!(lane.call(&sent), takeover);
        assert_eq!(first.status, 503, "{sent_late}: {}", first.body);
        lane.heal().await;
        let stored = lane.stored().await;
        stored.check(sent_late);
        let uploads =
            stored.entries.iter().filter(|entry| entry.action.name() == "UPLOAD" && entry.error.is_none());
        assert_eq!(uploads.count(), 1, "{sent_late}: exactly one effect");
        assert_eq!(stored.rows.values().filter(|row| row.state == "ACTIVE").count(), 1, "{sent_late}");
        is_replayed(&lane, &sent, &second, &stored).await;
    }
}
