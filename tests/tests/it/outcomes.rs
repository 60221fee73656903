//! What the stores answer, and what it means: which failures pass, which decide, and which leave a doubt.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::lane::{Lane, Stored};
use crate::operation::{Operation, Ready};
use crate::proxy::{Fault, Seen};
use crate::world::{Answer, World};

const TRANSACTION: &str = "TransactWriteItems";
/// Reasons that pass.
const PASSING: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];

/// An operation that was tried, and all that it did.
struct Tried {
    ready: Ready,
    answer: Answer,
    request_id: String,
    before: Stored,
    after: Stored,
    transactions: Vec<Seen>,
}

impl Tried {
    async fn on(lane: &Lane<'_>, operation: Operation, fail: impl FnOnce(&Lane<'_>)) -> Self {
        let ready = operation.prepare(lane).await;
        let before = lane.stored().await;
        fail(lane);
        let (answer, request_id) = lane.call(&ready.sent).await;
        lane.heal().await;
        let transactions = lane.dynamodb.take();
        let transactions = transactions.into_iter().filter(|seen| seen.operation == TRANSACTION).collect();
        let after = lane.stored().await;
        after.check(&format!("{operation:?}"));
        ready.check_answer(&answer, &format!("{operation:?}"));
        Self { ready, answer, request_id, before, after, transactions }
    }

    fn told(&self) -> Vec<(String, bool)> {
        let mut told = self.after.told_by(&self.request_id);
        told.sort();
        told
    }

    fn happened(&self, action: &str) -> bool {
        self.ready.happened(action, &self.before, &self.after).unwrap()
    }
}

/// One reason at one place of a transaction of two.
fn at(position: usize, reason: &'static str) -> Fault {
    let mut reasons = ["None", "None"];
    reasons[position] = reason;
    Fault::cancelled(&reasons)
}

#[tokio::test]
async fn a_reason_that_passes_is_survived_at_each_place_by_sending_the_identical_request_again() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    for reason in PASSING {
        for position in [0, 1] {
            let tried = Tried::on(&lane, Operation::SoftDelete, |lane| {
                lane.dynamodb.fail(TRANSACTION, 0, 2, at(position, reason));
            })
            .await;
            let what = format!("{reason} at {position}");
            assert_eq!(tried.answer.status, 200, "{what}");
            assert_eq!(tried.told(), Operation::SoftDelete.told(), "{what}");
            let bodies: Vec<_> = tried.transactions.iter().map(|seen| &seen.body).collect();
            assert_eq!(bodies.len(), 3, "{what}");
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{what}: {bodies:#?}");
            let id = &tried.after.entries.last().unwrap().id;
            assert_eq!(bodies[0]["ClientRequestToken"], json!(id), "one id answers whether it happened");
        }
    }
    let writers = lane.stored().await.entries.iter().map(|entry| entry.writer.clone()).collect::<Vec<_>>();
    assert!(writers.iter().all(|writer| *writer == writers[0]), "a definite outcome ends no chain");
}

#[tokio::test]
async fn a_reason_that_does_not_pass_in_time_is_unavailable_and_leaves_no_trace() {
    let world = World::start().await;
    let (world, cases) = (&world, PASSING.iter().flat_map(|reason| [(*reason, 0), (*reason, 1)]));
    futures_util::future::join_all(cases.map(|(reason, position)| async move {
        let lane = Lane::beside(world).await;
        let both = |seen: &Seen| seen.body["TransactItems"].as_array().is_some_and(|items| items.len() == 2);
        let tried = Tried::on(&lane, Operation::SoftDelete, |lane| {
            lane.dynamodb.fail_if(both, 0, usize::MAX, at(position, reason));
        })
        .await;
        let what = format!("{reason} at {position}");
        assert_eq!(tried.answer.status, 503, "{what}");
        assert!(!tried.happened("DELETE"), "{what}");
        // The change did not pass; that it was tried is in the log, by the same writer.
        assert_eq!(tried.told(), [("DELETE".to_owned(), false)], "{what}");
        let entries = &tried.after.entries;
        assert!(entries.iter().all(|entry| entry.writer == entries[0].writer), "{what}: {entries:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_condition_decides_by_its_place() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let stored = |reasons: &[&str]| {
        let Fault::Answer(status, body) = Fault::cancelled(reasons) else { unreachable!() };
        Fault::AnswerAfter(status, body)
    };
    for reasons in [
        &["None", "ConditionalCheckFailed"],
        &["ConditionalCheckFailed", "ConditionalCheckFailed"],
        &["TransactionConflict", "ConditionalCheckFailed"],
    ] {
        let tried = Tried::on(&lane, Operation::SoftDelete, |lane| {
            lane.dynamodb.fail(TRANSACTION, 0, 1, stored(reasons));
        })
        .await;
        assert_eq!(tried.answer.status, 200, "the entry is there already: {reasons:?}");
        assert_eq!((tried.told(), tried.transactions.len()), (Operation::SoftDelete.told(), 1));
    }
    for reasons in [&["ConditionalCheckFailed", "None"], &["ConditionalCheckFailed", "TransactionConflict"]] {
        let tried = Tried::on(&lane, Operation::SoftDelete, |lane| {
            lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::cancelled(reasons));
        })
        .await;
        assert_eq!(tried.answer.code(), "file_not_found", "the record changed: {reasons:?}");
        assert_eq!(tried.told(), [("DELETE".to_owned(), false)]);
        assert!(!tried.happened("DELETE"));
    }
}

#[tokio::test]
async fn reasons_without_a_code_or_too_few_of_them_are_not_taken_for_another_items() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let cancelled = |reasons: Value| {
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        Fault::Answer(400, json!({ "__type": kind, "message": "", "CancellationReasons": reasons }))
    };
    // Some stores leave "None" out. The change's reason must not be read as the entry's: no URL without its entry.
    let failed = json!({ "Code": "ConditionalCheckFailed" });
    for (reasons, status) in
        [(json!([failed, {}]), 404), (json!([failed]), 503), (json!([]), 503), (Value::Null, 503)]
    {
        let tried = Tried::on(&lane, Operation::Sign(None), |lane| {
            lane.dynamodb.fail(TRANSACTION, 0, 1, cancelled(reasons.clone()));
        })
        .await;
        let told = tried.told();
        assert_eq!(told, [("SIGNED_URL_GENERATED".to_owned(), false)], "{reasons}");
        assert!(tried.answer.body.get("url").is_none(), "{reasons}");
        assert_eq!(tried.answer.status.as_u16(), status, "{reasons}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_refused_for_good_is_a_503_and_its_failure_is_in_the_log() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let refusals = [
        at(0, "ValidationError"),
        at(1, "ItemCollectionSizeLimitExceeded"),
        Fault::error(400, "ResourceNotFoundException"),
        Fault::error(400, "AccessDeniedException"),
        Fault::error(400, "ValidationException"),
        Fault::error(400, "UnknownOperationException"),
    ];
    for refusal in refusals {
        for operation in [Operation::SoftDelete, Operation::Receipt, Operation::Sign(None)] {
            let tried = Tried::on(&lane, operation, |lane| {
                lane.dynamodb.fail(TRANSACTION, 0, 1, refusal.clone());
            })
            .await;
            assert_eq!(tried.answer.status, 503, "{operation:?} {refusal:?}");
            let mut told = operation.told();
            told.iter_mut().for_each(|(_, success)| *success = false);
            assert_eq!(tried.told(), told, "{operation:?} {refusal:?}");
        }
    }
    let pending = lane.stored().await.rows.into_values().filter(|row| row.state == "PENDING").count();
    assert_eq!(pending, 0, "what was reserved is undone");
}

#[tokio::test]
async fn a_token_that_the_store_knows_already_leaves_a_doubt_that_the_entry_settles() {
    let world = World::start().await;
    let lanes = (Lane::beside(&world).await, Lane::beside(&world).await);
    let known = |code: &str| {
        let Fault::Answer(status, body) = Fault::error(400, code) else { unreachable!() };
        (Fault::AnswerAfter(status, body.clone()), Fault::Answer(status, body))
    };
    for code in ["TransactionInProgressException", "IdempotentParameterMismatchException"] {
        let (after, instead) = known(code);
        let stored = Tried::on(&lanes.0, Operation::SoftDelete, |lane| {
            lane.dynamodb.fail(TRANSACTION, 0, usize::MAX, after);
        });
        let lost = Tried::on(&lanes.1, Operation::SoftDelete, |lane| {
            lane.dynamodb.fail(TRANSACTION, 0, usize::MAX, instead);
        });
        let (stored, lost) = tokio::join!(stored, lost);
        assert_eq!(
            (stored.answer.status.as_u16(), stored.told()),
            (200, Operation::SoftDelete.told()),
            "{code}"
        );
        assert!(stored.happened("DELETE"), "{code}");
        assert_eq!((lost.answer.status.as_u16(), lost.told()), (503, vec![]), "{code}");
        assert!(!lost.happened("DELETE"), "{code}");
        let doubtful = lost.transactions[0].entry();
        let next = Tried::on(&lanes.1, Operation::SoftDelete, |_| {}).await;
        let named = next
            .after
            .entries
            .iter()
            .find_map(|entry| entry.replaces.as_ref().filter(|doubt| doubt.id == doubtful.id));
        assert_eq!(
            named.map(|doubt| &doubt.writer),
            Some(&doubtful.writer),
            "{code}: the next new writer names it"
        );
    }
}

#[tokio::test]
async fn a_doubt_is_settled_by_the_entry_whatever_the_next_attempt_is_answered() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    for next in [
        Fault::cancelled(&["ConditionalCheckFailed", "None"]),
        Fault::error(400, "AccessDeniedException"),
        Fault::error(400, "ValidationException"),
    ] {
        let done = Tried::on(&lane, Operation::SoftDelete, |lane| {
            lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::CutAfterSending);
            lane.dynamodb.fail(TRANSACTION, 0, 1, next.clone());
        })
        .await;
        assert_eq!(
            (done.answer.status.as_u16(), done.told()),
            (200, Operation::SoftDelete.told()),
            "{next:?}"
        );
    }
    let undone = Tried::on(&lane, Operation::SoftDelete, |lane| {
        lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::Reset);
        lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::cancelled(&["ConditionalCheckFailed", "None"]));
    })
    .await;
    assert_eq!(undone.answer.code(), "file_not_found");
    assert_eq!(undone.told(), [("DELETE".to_owned(), false)]);
    let undone = Tried::on(&lane, Operation::SoftDelete, |lane| {
        lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::Reset);
        lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::error(400, "AccessDeniedException"));
    })
    .await;
    assert_eq!(
        (undone.answer.status.as_u16(), undone.told()),
        (503, vec![]),
        "of a doubt no second entry speaks"
    );
}

#[tokio::test]
async fn a_reservation_outlasts_somebody_elses_transaction() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let tried = Tried::on(&lane, Operation::Receipt, |lane| {
        lane.dynamodb.fail("PutItem", 0, 2, Fault::error(400, "TransactionConflictException"));
    })
    .await;
    assert_eq!((tried.answer.status.as_u16(), tried.told()), (200, Operation::Receipt.told()));
    let tried = Tried::on(&lane, Operation::Receipt, |lane| {
        lane.dynamodb.fail("PutItem", 0, usize::MAX, Fault::error(400, "TransactionConflictException"));
    })
    .await;
    assert_eq!(tried.answer.status, 503);
}

#[tokio::test]
async fn nothing_is_begun_that_there_is_no_time_to_finish() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let everything = [Operation::UPLOADS, Operation::READS, Operation::DELETES].concat();
    for operation in everything {
        let ready = operation.prepare(&lane).await;
        let before = lane.stored().await;
        // A second before the end Lambda must have our answer: 2.9 s are left.
        let (answer, request_id) = lane.call_within(&ready.sent, SignedDuration::from_millis(3_900)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"), "{operation:?}");
        ready.check_answer(&answer, "late");
        let after = lane.stored().await;
        assert_eq!((&after.rows, &after.objects), (&before.rows, &before.objects), "{operation:?}");
        assert!(after.told_by(&request_id).iter().all(|(_, success)| !success), "{operation:?}");
        assert!(lane.s3.take().is_empty(), "{operation:?}");
    }
}

#[tokio::test]
async fn an_invocation_without_any_time_left_is_answered_at_once() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    let ready = Operation::SoftDelete.prepare(&lane).await;
    lane.dynamodb.fail("*", 0, usize::MAX, Fault::Delay(Duration::from_secs(1)));
    let (answer, _) = lane.call_within(&ready.sent, SignedDuration::from_millis(1_100)).await;
    assert_eq!(answer.code(), "unavailable");
    assert!(lane.dynamodb.take().is_empty(), "a call that cannot end in time is not made");
}
