//! An upload that fails after its path was reserved: what was begun is undone at once, or left as maintenance needs it.

use crate::lane::{Lane, Row, Stored};
use crate::operation::Operation;
use crate::proxy::Fault;
use crate::world::World;

const TRANSACTION: &str = "TransactWriteItems";
/// What one failed upload leaves in the log.
const FAILED: [(&str, bool); 1] = [("UPLOAD", false)];

/// Uploads a receipt, and once the wire is whole again looks at what there is.
async fn upload(lane: &Lane<'_>) -> (u16, Vec<(String, bool)>, Stored) {
    let ready = Operation::Receipt.prepare(lane).await;
    let (answer, request_id) = lane.call(&ready.sent).await;
    ready.check_answer(&answer, "upload");
    lane.heal().await;
    let stored = lane.stored().await;
    stored.check("upload");
    (answer.status.as_u16(), stored.told_by(&request_id), stored)
}

fn only_row(stored: &Stored) -> &Row {
    assert_eq!(stored.rows.len(), 1, "{stored:?}");
    stored.rows.values().next().unwrap()
}

fn told(told: &[(String, bool)]) -> Vec<(&str, bool)> {
    told.iter().map(|(action, success)| (action.as_str(), *success)).collect()
}

#[tokio::test]
async fn an_upload_that_the_bucket_refuses_is_undone_with_one_entry() {
    let world = World::start().await;
    for (fault, status) in [
        (Fault::AnswerXml(403, "AccessDenied"), 500),
        (Fault::AnswerXml(404, "NoSuchBucket"), 500),
        (Fault::AnswerXml(500, "InternalError"), 503),
        (Fault::AnswerXml(400, "RequestTimeout"), 503),
    ] {
        let lane = Lane::beside(&world).await;
        lane.s3.fail("PUT", 0, usize::MAX, fault.clone());
        let ready = Operation::Receipt.prepare(&lane).await;
        let (answer, request_id) = lane.call(&ready.sent).await;
        assert_eq!(answer.status, status, "{fault:?}");
        let stored = lane.stored().await;
        stored.check("refused");
        assert_eq!(told(&stored.told_by(&request_id)), FAILED, "{fault:?}");
        assert_eq!(stored.entries.len(), 1, "closing a reservation is no second entry");
        assert_eq!((only_row(&stored).state.as_str(), stored.objects.len()), ("PURGED", 0), "{fault:?}");

        let order: Vec<_> = lane.s3.take().into_iter().map(|seen| seen.operation).collect();
        assert_eq!(order.last().map(String::as_str), Some("DELETE"), "behind the fence the object goes");
    }
}

#[tokio::test]
async fn an_object_that_may_still_arrive_is_left_to_maintenance() {
    let world = World::start().await;
    // The second PUT is answered: it decides nothing about the first, which nobody heard of again.
    for then in [Fault::CutAfterSending, Fault::AnswerXml(403, "AccessDenied")] {
        let lane = Lane::beside(&world).await;
        lane.s3.fail("PUT", 0, 1, Fault::CutAfterSending);
        lane.s3.fail("PUT", 0, usize::MAX, then.clone());
        let (_, entries, stored) = upload(&lane).await;
        assert_eq!(told(&entries), FAILED, "{then:?}");
        let row = only_row(&stored);
        assert_eq!(row.state, "PURGING", "{then:?}");
        assert!(row.due >= row.lease, "{then:?}: maintenance looks when no request can be about it any more");
        assert!(stored.objects.is_empty(), "{then:?}: the object was removed behind the fence");
    }
}

#[tokio::test]
async fn an_object_that_arrives_late_has_its_row() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    // The first PUT arrives after everything else that the request does.
    lane.s3.fail("PUT", 0, 1, Fault::Delay(std::time::Duration::from_millis(3_500)));
    lane.s3.fail("PUT", 0, usize::MAX, Fault::AnswerXml(403, "AccessDenied"));
    let (status, entries, stored) = upload(&lane).await;
    assert_eq!((status, told(&entries)), (500, FAILED.to_vec()));
    assert_eq!((only_row(&stored).state.as_str(), stored.objects.len()), ("PURGING", 1));
}

#[tokio::test]
async fn a_late_put_is_thought_of_also_when_a_later_one_succeeded() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    lane.s3.fail("PUT", 0, 1, Fault::CutAfterSending);
    lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::error(400, "AccessDeniedException"));
    let (status, entries, stored) = upload(&lane).await;
    assert_eq!((status, told(&entries)), (503, FAILED.to_vec()));
    assert_eq!((only_row(&stored).state.as_str(), stored.objects.len()), ("PURGING", 0));
}

#[tokio::test]
async fn an_object_that_cannot_be_removed_again_is_left_to_maintenance() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    lane.dynamodb.fail(TRANSACTION, 0, 1, Fault::error(400, "AccessDeniedException"));
    lane.s3.fail("DELETE", 0, usize::MAX, Fault::AnswerXml(403, "AccessDenied"));
    let (_, entries, stored) = upload(&lane).await;
    assert_eq!(told(&entries), FAILED);
    assert_eq!((only_row(&stored).state.as_str(), stored.objects.len()), ("PURGING", 1));
}

#[tokio::test]
async fn nothing_is_undone_after_a_commit_in_doubt() {
    let world = World::start().await;
    let (done, lost) = (Lane::beside(&world).await, Lane::beside(&world).await);
    for (lane, fault) in [(&done, Fault::CutAfterSending), (&lost, Fault::Reset)] {
        lane.dynamodb.fail(TRANSACTION, 0, usize::MAX, fault);
        // That the entry is there cannot be read either.
        lane.dynamodb.fail("GetItem", 0, usize::MAX, Fault::Reset);
    }
    let (done, lost) = tokio::join!(upload(&done), upload(&lost));
    let (status, entries, stored) = done;
    assert_eq!((status, told(&entries)), (503, vec![("UPLOAD", true)]), "it is a file, with its one entry");
    assert_eq!((only_row(&stored).state.as_str(), stored.objects.len()), ("ACTIVE", 1));
    let (status, entries, stored) = lost;
    assert_eq!((status, told(&entries)), (503, vec![]), "of a doubt no second entry speaks");
    let row = only_row(&stored);
    assert_eq!((row.state.as_str(), stored.objects.len()), ("PENDING", 1), "maintenance decides");
    assert_eq!(row.due, row.lease);
}

#[tokio::test]
async fn a_reservation_in_doubt_stays_due() {
    let world = World::start().await;
    let lane = Lane::beside(&world).await;
    lane.dynamodb.fail("PutItem", 0, usize::MAX, Fault::CutAfterSending);
    let (status, entries, stored) = upload(&lane).await;
    assert_eq!((status, told(&entries)), (503, FAILED.to_vec()));
    assert_eq!((only_row(&stored).state.as_str(), stored.objects.len()), ("PENDING", 0));
    assert!(lane.s3.take().is_empty(), "without a reservation no object");
}
