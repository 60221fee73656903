//! Many at once: nothing is overwritten, nothing happens twice, nobody waits for somebody else's answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use shared::app::App;
use shared::attempt::Attempt;
use shared::audit::{Action, Actor, Body};
use shared::clock::{self, Deadline};
use shared::files::{Files, NewFile, Reservation};
use shared::ids::{OrgId, UserId};
use shared::path::Place;
use tokio::sync::watch;

use crate::proxy::{Fault, Proxy, Seen};
use crate::world::{Answer, JPEG, ORG, World, patiently};

/// A JPEG that differs from all others of a test.
fn jpeg(number: usize) -> Vec<u8> {
    [JPEG, format!("{number}").as_bytes()].concat()
}

fn upload_id(put: &Seen) -> &str {
    put.headers["x-amz-meta-upload-id"].to_str().unwrap()
}

/// Fifty at once. Also says how many of their requests ran out of time.
async fn fifty_uploads_of_one_name(world: &World, add_timestamp: &'static str) -> (Vec<Answer>, usize) {
    let token = world.token("accountant");
    let late = AtomicUsize::new(0);
    let upload = async |number: usize| {
        let form = || {
            let part = reqwest::multipart::Part::bytes(jpeg(number)).file_name("receipt.jpg");
            World::receipt(part).text("add_timestamp", add_timestamp)
        };
        let once = async || {
            let answer = world.upload(&token, "receipt-upload", form()).await;
            late.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
            answer
        };
        patiently(once).await
    };
    let answers = join_all((0..50).map(upload)).await;
    let late = late.into_inner();
    for (number, answer) in answers.iter().enumerate() {
        match answer.status.as_u16() {
            200 => assert_eq!(world.object(&answer.path()).await, jpeg(number), "somebody else's bytes"),
            409 => assert!(["path_exists", "upload_in_progress"].contains(&answer.code())),
            _ => panic!("{}", answer.body),
        }
    }
    let puts: Vec<_> = world.s3.take().into_iter().filter(|seen| seen.operation == "PUT").collect();
    let keys: BTreeSet<_> = puts.iter().map(|seen| seen.uri.path()).collect();
    let writers: BTreeSet<_> = puts.iter().map(|seen| (seen.uri.path(), upload_id(seen))).collect();
    assert_eq!(keys.len(), writers.len(), "a key is written by one upload");
    let stored: BTreeSet<_> =
        answers.iter().filter(|answer| answer.status == 200).map(Answer::path).collect();
    let objects: BTreeSet<_> = world.objects().await.into_iter().collect();
    // Of an upload that ran out of time nobody knows whether it is a file.
    assert!(stored.is_subset(&objects) && objects.len() <= stored.len() + late, "{late} late");
    world.check_invariants().await;
    (answers, late)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_uploads_of_one_name_become_fifty_files() {
    let world = World::start().await;
    let (answers, _) = fifty_uploads_of_one_name(&world, "true").await;
    let stored: BTreeSet<_> = answers.into_iter().map(|answer| answer.ok().path()).collect();
    assert_eq!(stored.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_uploads_to_one_path_one_is_stored() {
    let world = World::start().await;
    let (answers, late) = fifty_uploads_of_one_name(&world, "false").await;
    let told = answers.iter().filter(|answer| answer.status == 200).count();
    let active = world.snapshot().await.records.values().filter(|state| *state == "ACTIVE").count();
    // Of the one that is, its answer may have been late; and where its reservation was in doubt, there is none.
    let is_right = match late {
        0 => told == 1 && active == 1,
        _ => told <= active && active <= 1,
    };
    assert!(is_right, "{told} told, {active} stored, {late} late");
    let (stored, refused): (Vec<_>, Vec<_>) =
        world.entries().await.into_iter().partition(|entry| entry.error.is_none());
    assert_eq!(stored.len(), active);
    assert!((49..=49 + late).contains(&refused.len()), "every answer has its entry: {}", refused.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_url_is_issued_after_a_delete_has_committed() {
    const RACES: usize = 200;
    let world = World::start().await;
    let (accountant, admin) = (world.token("accountant"), world.token("admin"));
    let mut files = Vec::new();
    let upload = async |number: usize| {
        let form = || World::receipt(World::jpeg(&format!("{number}.jpg")));
        patiently(async || world.upload(&accountant, "receipt-upload", form()).await).await
    };
    for batch in 0..RACES / 20 {
        let uploads = (0..20).map(|number| upload(batch * 20 + number));
        files.extend(join_all(uploads).await.into_iter().map(|answer| answer.ok().path()));
    }
    world.dynamodb.take();

    let (mut issued, mut refused) = (0, 0);
    for (number, path) in files.iter().enumerate() {
        let (hard, delete_first) = (number % 2 == 0, number % 4 < 2);
        let sign = || world.sign(&accountant, path);
        let delete = async {
            world.delete(&admin, path, hard).await.ok();
            // This one begins when the delete was answered.
            sign().await.refused(404, "file_not_found");
        };
        let answer =
            if delete_first { tokio::join!(delete, sign()).1 } else { tokio::join!(sign(), delete).0 };
        if answer.status == 200 {
            issued += 1;
        } else {
            answer.refused(404, "file_not_found");
            refused += 1;
        }
    }

    let transactions =
        world.dynamodb.take().into_iter().filter(|seen| seen.operation == "TransactWriteItems");
    let committed: Vec<_> =
        transactions.filter(|seen| seen.status == 200).map(|seen| (seen.entry(), seen)).collect();
    let of = |action, path: &str| -> Vec<&Seen> {
        let wanted = |entry: &Body| {
            entry.action == action && entry.error.is_none() && entry.file_path().as_deref() == Some(path)
        };
        committed.iter().filter(|(entry, _)| wanted(entry)).map(|(_, seen)| seen).collect()
    };
    for path in &files {
        let deletes = of(Action::Delete, path);
        assert_eq!(deletes.len(), 1, "{path}");
        for signing in of(Action::SignedUrlGenerated, path) {
            assert!(
                signing.arrived < deletes[0].answered.unwrap(),
                "a URL for {path} was recorded by a transaction that began after the delete's had been answered"
            );
        }
    }
    let entries = world.entries().await;
    let signed = entries.iter().filter(|entry| entry.action == Action::SignedUrlGenerated);
    let (with_url, without): (Vec<_>, Vec<_>) = signed.partition(|entry| entry.error.is_none());
    assert_eq!(with_url.len(), issued, "each URL has its entry");
    assert_eq!(without.len(), refused + RACES, "and so has each refusal");
    // If one side always won there was no race.
    assert!(issued > 0 && refused > 0, "{issued} URLs, {refused} refusals");
    world.check_invariants().await;
}

#[tokio::test]
async fn a_delete_between_reading_and_recording_leaves_no_url() {
    let world = World::start().await;
    let (accountant, admin) = (world.token("accountant"), world.token("admin"));
    for hard in [false, true] {
        let path = world.a_receipt().await;
        world.dynamodb.take();
        let (release, held) = watch::channel(false);
        world.dynamodb.fail("TransactWriteItems", 0, 1, Fault::Held(held));
        let signing = world.sign(&accountant, &path);
        let deleting = async {
            world.dynamodb.until("the signing's transaction", |seen| seen.len() == 2).await;
            world.delete(&admin, &path, hard).await.ok();
            release.send_replace(true);
        };
        let (signed, ()) = tokio::join!(signing, deleting);
        let signed = signed.refused(404, "file_not_found");
        assert!(signed.body.get("url").is_none());
        world.dynamodb.heal();
    }
    let entries = world.entries().await;
    let signed: Vec<_> = entries.iter().filter(|entry| entry.action == Action::SignedUrlGenerated).collect();
    assert_eq!(signed.len(), 2);
    assert!(signed.iter().all(|entry| entry.error.is_some()));
    world.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_commits_of_one_upload_one_wins_and_one_entry_is_written() {
    let world = World::start().await;
    let app = App::new(&world.config).unwrap();
    let deadline = Deadline::after(Duration::from_secs(10));
    let files = Files::new(&app, deadline);
    let actor = actor();
    let attempt = || Attempt::new(&app.tables, &actor, deadline, Action::Upload);

    let caller = app.tokens().unwrap().verifier.verify(&world.token("accountant"), clock::now()).unwrap();
    let place = Place::parse(ORG, "accounting", "receipt", "receipt-456").unwrap();
    let allowed = files.may_upload(&caller, place).unwrap();
    let (name, media_type) = (Some("receipt.jpg".to_owned()), None);
    let file = NewFile::new(name, media_type, JPEG.to_vec(), false);
    let Reservation::Held(reserved) = files.reserve(&allowed, &file, &mut attempt()).await.unwrap() else {
        panic!("without a key nothing is replayed");
    };
    let stored = files.put(&reserved, JPEG.to_vec(), &mut attempt()).await.unwrap();

    let path = format!("{ORG}/accounting/receipt/receipt-456/receipt.jpg");
    let outcomes = join_all(
        (0..16)
            .map(|_| async { files.commit_upload(reserved.clone(), stored.clone(), &mut attempt()).await }),
    )
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.objects, std::slice::from_ref(&path), "a loser takes nothing away");
    assert_eq!(snapshot.records[&path], "ACTIVE");
    assert_eq!(snapshot.entries.len(), 1);
    world.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requests_at_once_are_served_at_once() {
    let world = World::start().await;
    let accountant = world.token("accountant");
    let form = |number| World::receipt(World::jpeg(&format!("{number}.jpg")));

    // At each step of an upload, no request gets on before all twenty have got there.
    let steps = [(&world.dynamodb, "PutItem"), (&world.s3, "PUT"), (&world.dynamodb, "TransactWriteItems")];
    let uploads = join_all((0..20).map(|number| world.upload(&accountant, "receipt-upload", form(number))));
    let uploaded = all_get_there(20, uploads, &steps).await;
    let mut paths: Vec<_> = uploaded.into_iter().map(|answer| answer.ok().path()).collect();
    while paths.len() < 50 {
        paths.push(world.a_receipt().await);
    }

    world.dynamodb.take();
    let steps = [(&world.dynamodb, "GetItem"), (&world.dynamodb, "TransactWriteItems")];
    let signings = join_all(paths.iter().map(|path| world.sign(&accountant, path)));
    let signed = all_get_there(50, signings, &steps).await;
    for answer in signed {
        answer.ok();
    }
    let writers: BTreeSet<_> = world.entries().await.into_iter().map(|entry| entry.writer).collect();
    assert_eq!(writers.len(), 50, "a writer serves one transaction at a time, and the next one after it");
    world.check_invariants().await;
}

/// Answers requests of which none gets past a step before all wait there.
async fn all_get_there(
    count: usize,
    requests: impl Future<Output = Vec<Answer>>,
    steps: &[(&Proxy, &'static str)],
) -> Vec<Answer> {
    let releases = steps.iter().map(|(proxy, operation)| {
        let (release, held) = watch::channel(false);
        proxy.fail(operation, 0, usize::MAX, Fault::Held(held));
        release
    });
    let releases: Vec<_> = releases.collect();
    let passing = async {
        for ((proxy, operation), release) in steps.iter().zip(releases) {
            let enough = |seen: &[Seen]| {
                // One that waited too long is sent again, and is still one.
                let here = seen.iter().filter(|seen| seen.operation == *operation);
                here.map(Seen::call).collect::<BTreeSet<_>>().len() == count
            };
            proxy.until(operation, enough).await;
            release.send_replace(true);
        }
    };
    let (answers, ()) = tokio::join!(requests, passing);
    for (proxy, _) in steps {
        proxy.heal();
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_hard_deletes_at_once_one_is_recorded_and_one_purge() {
    let world = World::start().await;
    let admin = world.token("admin");
    for _ in 0..5 {
        let path = world.a_receipt().await;
        let answers = join_all((0..16).map(|_| world.delete(&admin, &path, true))).await;
        assert!(answers.iter().any(|answer| answer.status == 200));
        for answer in answers {
            if answer.status != 200 {
                answer.refused(404, "file_not_found");
            }
        }
        let snapshot = world.snapshot().await;
        assert_eq!(snapshot.records[&path], "PURGED");
        for done in ["DELETE", "PURGE"] {
            let line = format!("{ORG} {done} ok {path}");
            assert_eq!(snapshot.entries.iter().filter(|entry| **entry == line).count(), 1, "{done}");
        }
        let failed = format!("{ORG} PURGE failed");
        assert!(!snapshot.entries.iter().any(|entry| entry.starts_with(&failed)));
    }
    assert!(world.objects().await.is_empty());
    world.check_invariants().await;
}

fn actor() -> Actor {
    Actor {
        org: OrgId::parse(ORG).unwrap(),
        user: UserId::Number(1),
        sub: "1".into(),
        role: "accountant".into(),
        ip: "127.0.0.1".into(),
        device: "test".into(),
        request_id: "request".into(),
    }
}
