//! The auditor's tool against a world that the service itself made: proven as it is, refuted once somebody has been at it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use audit_verify::{
    Class, Directory, Endpoint, Keys, Live, LiveOptions, Options, Pins, Report, Source, Verdict,
};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use local::spaces::{ACCESS_KEY_ID, ARCHIVE_BUCKET, BUCKET, SECRET_ACCESS_KEY};
use local::stack::AUDIT_ORIGIN;
use shared::clock;

use crate::world::{ORG, World, signing_vkey};

/// Where the world's stores are, as an auditor gives them.
fn live(world: &World) -> LiveOptions {
    let endpoint = |address| Endpoint {
        url: Some(format!("http://{address}")),
        region: "us-east-1".into(),
        access_key: ACCESS_KEY_ID.into(),
        secret_key: SECRET_ACCESS_KEY.into(),
        session_token: None,
    };
    LiveOptions {
        tables: endpoint(world.stack.dynamodb),
        log_table: "storage_audit_logs".into(),
        archive: endpoint(world.stack.s3),
        archive_bucket: ARCHIVE_BUCKET.into(),
        files: Some((endpoint(world.stack.s3), BUCKET.into())),
        records_table: "file_records".into(),
    }
}

async fn options(pins: &Pins) -> Options {
    let mut keys = Keys::new(None);
    keys.add(&signing_vkey(&format!("{AUDIT_ORIGIN}/{ORG}")).await).unwrap();
    Options { pins: pins.clone(), objects: true, ..Options::new(keys, clock::now()) }
}

async fn verify(world: &World, pins: &Pins) -> (Report, Pins) {
    let (live, options) = (live(world), options(pins).await);
    let verified = tokio::task::spawn_blocking(move || {
        let source = Source::Live(Box::new(Live::new(live, options.now).unwrap()));
        audit_verify::verify(&source, &options, &())
    });
    verified.await.unwrap()
}

/// Two organisations that worked for a while, an hour of the sealer, and a day.
async fn a_sealed_world() -> (World, String) {
    let world = World::start().await;
    let path = world.a_receipt().await;
    world.sign(&world.token("accountant"), &path).await.ok();
    world.sign(&world.token_of("org-2", "7", "accountant"), &path).await.refused(404, "file_not_found");
    let gone = world.a_receipt().await;
    world.delete(&world.token("admin"), &gone, true).await.ok();
    world.logs(&world.token("admin"), "").await.ok();
    world.seal().await;
    world.tick(clock::now()).await;
    (world, path)
}

fn assert_verdict(report: &Report, verdict: Verdict) {
    assert_eq!(report.verdict(), verdict, "{:#?}", report.findings);
}

async fn bundle(world: &World, orgs: &[&str], out: &Path) {
    let (live, out, now) = (live(world), out.to_owned(), clock::now());
    let orgs: BTreeSet<_> = orgs.iter().map(|org| (*org).to_owned()).collect();
    let made = tokio::task::spawn_blocking(move || {
        let source = Source::Live(Box::new(Live::new(live, now).unwrap()));
        audit_verify::export(&source, &orgs, &out, now, &())
    });
    made.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_service_sealed_is_proven_live_and_from_bundles() {
    let (world, _) = a_sealed_world().await;
    let (report, pins) = verify(&world, &Pins::default()).await;
    assert_verdict(&report, Verdict::Proven);
    let done = &report.logs[ORG];
    assert_eq!((done.entries, done.rows, done.objects), (6, 6, 1), "{report:#?}");
    assert_eq!(pins.origins().count(), 3);
    // It went on meanwhile; what is not sealed yet may wait.
    world.a_receipt().await;
    let (report, _) = verify(&world, &pins).await;
    assert_verdict(&report, Verdict::Proven);
    assert_eq!(report.logs[ORG].waiting, 1);
    world.seal().await;
    let (report, pins) = verify(&world, &pins).await;
    assert_verdict(&report, Verdict::Proven);
    assert!(!report.has(Class::NotPinned));

    let folder = tempfile::tempdir().unwrap();
    let (all, one) = (folder.path().join("all"), folder.path().join("one"));
    bundle(&world, &[], &all).await;
    bundle(&world, &[ORG], &one).await;
    for (place, orgs) in [(all, BTreeSet::new()), (one.clone(), [ORG.to_owned()].into())] {
        let source = Source::Directory(Directory::open(&place).unwrap());
        let options = Options { orgs, objects: false, require_pins: true, ..options(&pins).await };
        let (report, _) = audit_verify::verify(&source, &options, &());
        assert_verdict(&report, Verdict::Proven);
        assert_eq!(report.logs[ORG].entries, 7);
    }
    // Nothing in one organisation's bundle names the other.
    let mut folders = vec![one];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.to_string_lossy().contains("org-2"));
            if path.is_dir() {
                folders.push(path);
            } else {
                assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("org-2"), "{path:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_somebody_did_to_table_archive_and_files_is_found() {
    let (world, path) = a_sealed_world().await;
    let (report, pins) = verify(&world, &Pins::default()).await;
    assert_verdict(&report, Verdict::Proven);
    let rows = world.rows("storage_audit_logs").await;
    let row = rows.iter().find(|row| row["pk"].as_s().unwrap().starts_with(ORG)).unwrap();
    let put = |row| world.tables().put_item().table_name("storage_audit_logs").set_item(Some(row)).send();
    let key = |name: &str| row[name].clone();

    let mut hidden = row.clone();
    hidden.insert("ga".into(), AttributeValue::B(Blob::new([0; 16])));
    put(hidden).await.unwrap();
    assert_found(&world, &pins, Class::IndexAltered).await;
    let delete = world.tables().delete_item().table_name("storage_audit_logs");
    delete.key("pk", key("pk")).key("sk", key("sk")).send().await.unwrap();
    assert_found(&world, &pins, Class::EntryRemoved).await;
    put(row.clone()).await.unwrap();
    let (report, _) = verify(&world, &pins).await;
    assert_verdict(&report, Verdict::Proven);

    let get = || world.bucket().get_object().bucket(BUCKET).key(&path).send();
    let content = get().await.unwrap().body.collect().await.unwrap().into_bytes();
    let store =
        |bytes: Vec<u8>| world.bucket().put_object().bucket(BUCKET).key(&path).body(bytes.into()).send();
    store(b"something else".to_vec()).await.unwrap();
    assert_found(&world, &pins, Class::ObjectAltered).await;
    world.bucket().delete_object().bucket(BUCKET).key(&path).send().await.unwrap();
    assert_found(&world, &pins, Class::ObjectMissing).await;
    store(content.to_vec()).await.unwrap();

    // The sealer's own words are believed: it saw the row change and go.
    world.seal().await;
    assert_found(&world, &pins, Class::RowModified).await;
    assert_found(&world, &pins, Class::RowRemoved).await;
}

async fn assert_found(world: &World, pins: &Pins, class: Class) {
    let (report, after) = verify(world, pins).await;
    assert_verdict(&report, Verdict::Tampered);
    assert!(report.has(class), "{class:?} is not among {:#?}", report.findings);
    assert_eq!(after, *pins);
}
