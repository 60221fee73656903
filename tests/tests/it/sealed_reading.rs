//! The sealed log as an auditor reads it: checkpoint, proofs, keys.

use data_encoding::BASE64;
use reqwest::Method;
use serde_json::Value;
use shared::audit::{Action, Body, leaf_hash};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, check_record, check_tree};

use crate::log_rows;
use crate::proxy::Fault;
use crate::world::{Answer, ORG, World};

const OTHER_ORG: &str = "org-999";

/// What an auditor knows of a log: what its keys are.
struct Auditor {
    origin: String,
    vkeys: Vec<String>,
}

impl Auditor {
    async fn of(world: &World, token: &str) -> Self {
        let keys = get(world, token, "keys").await.ok().body;
        let vkeys = keys["keys"].as_array().unwrap().iter();
        let vkeys = vkeys.map(|key| key["vkey"].as_str().unwrap().to_owned()).collect();
        Self { origin: keys["origin"].as_str().unwrap().to_owned(), vkeys }
    }

    /// Size and root of a checkpoint that is signed.
    fn verified(&self, note: &str) -> (u64, Hash) {
        let verifiers = self.vkeys.iter().map(|vkey| Box::new(StandardVerifier::new(vkey).unwrap()) as _);
        let note = Note::from_bytes(note.as_bytes()).unwrap();
        note.verify(&VerifierList::new(verifiers.collect())).unwrap();
        let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(checkpoint.origin(), self.origin);
        (checkpoint.size(), *checkpoint.hash())
    }

    /// Holds an entry's `tlog-proof` against its bytes; answers its index.
    fn check(&self, entry: &Body, proof: &str) -> u64 {
        let (head, note) = proof.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
        let index = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
        let proof = lines.map(|line| Hash::parse_hash(line).unwrap()).collect();
        let (size, root) = self.verified(note);
        check_record(&proof, size, root, index, Hash(leaf_hash(&entry.to_bytes()))).unwrap();
        index
    }
}

async fn get(world: &World, token: &str, what: &str) -> Answer {
    world.send(world.request(Method::GET, &format!("audit-logs/{what}"), token)).await
}

fn text(answer: Answer) -> String {
    let answer = answer.ok();
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    String::from_utf8(answer.bytes).unwrap()
}

/// The entries of one organisation.
async fn entries(world: &World, org: &str) -> Vec<Body> {
    world.entries().await.into_iter().filter(|entry| entry.org == org).collect()
}

#[tokio::test]
async fn every_entry_is_proved_and_every_checkpoint_continues_the_ones_before() {
    let world = World::start().await;
    let token = world.token("auditor");
    world.seal().await;
    let (mut sizes, mut proved) = (Vec::new(), std::collections::BTreeSet::new());
    for count in [1, 254, 3, 60] {
        log_rows::insert(&world, &log_rows::entries(ORG, count)).await;
        world.seal().await;
        let auditor = Auditor::of(&world, &token).await;
        let (size, root) = auditor.verified(&text(get(&world, &token, "checkpoint").await));
        for (earlier, earlier_root) in &sizes {
            let answer = get(&world, &token, &format!("consistency?from={earlier}")).await.ok().body;
            assert_eq!((answer["from"].as_u64(), answer["to"].as_u64()), (Some(*earlier), Some(size)));
            assert_eq!(auditor.verified(answer["checkpoint"].as_str().unwrap()), (size, root));
            let hash = |hash: &Value| Hash::parse_hash(hash.as_str().unwrap()).unwrap();
            let proof = answer["proof"].as_array().unwrap().iter().map(hash).collect();
            check_tree(&proof, size, root, *earlier, *earlier_root).unwrap();
        }
        sizes.push((size, root));
    }
    let (auditor, all) = (Auditor::of(&world, &token).await, entries(&world, ORG).await);
    assert_eq!(all.len(), 318, "neither checkpoint nor proof of it left a trace");
    let cursor = world.logs(&token, "?limit=1").await.ok().body["cursor"].as_str().unwrap().to_owned();
    for entry in &all {
        let proof = text(get(&world, &token, &format!("{}/proof?cursor={cursor}", entry.id)).await);
        assert!(proved.insert(auditor.check(entry, &proof)), "two entries at one place");
    }
    assert_eq!(proved.len(), all.len());
    assert_eq!(entries(&world, ORG).await.len(), all.len() + 1, "the query's entry covers them all");
    // An entry changed by one letter is not what was sealed.
    let mut changed = all[0].clone();
    changed.role.push('x');
    let proof = text(get(&world, &token, &format!("{}/proof?cursor={cursor}", all[0].id)).await);
    assert!(std::panic::catch_unwind(|| auditor.check(&changed, &proof)).is_err());
}

#[tokio::test]
async fn what_is_not_under_the_checkpoint_is_not_sealed_yet() {
    let world = World::start().await;
    let token = world.token("auditor");
    let not_yet = |answer: Answer| {
        let answer = answer.refused(409, "not_sealed_yet");
        assert_eq!(answer.headers["retry-after"], "2");
    };
    for what in ["checkpoint", "consistency?from=1"] {
        not_yet(get(&world, &token, what).await);
    }
    assert_eq!(get(&world, &token, "keys").await.ok().body["keys"], serde_json::json!([]));
    world.a_receipt().await;
    let first = entries(&world, ORG).await[0].clone();
    not_yet(get(&world, &token, &format!("{}/proof", first.id)).await);
    world.seal().await;
    let auditor = Auditor::of(&world, &token).await;
    auditor.check(&first, &text(get(&world, &token, &format!("{}/proof", first.id)).await));
    world.a_receipt().await;
    let last = entries(&world, ORG).await.pop().unwrap();
    not_yet(get(&world, &token, &format!("{}/proof", last.id)).await);
    // It has a position, and no checkpoint is over it yet.
    world.s3.take();
    let (size, _) = auditor.verified(&text(get(&world, &token, "checkpoint").await));
    let tables = world.tables().put_item().table_name("storage_audit_state");
    let row = [("pk", format!("ID#{ORG}")), ("sk", last.id.clone())];
    let put = row
        .into_iter()
        .fold(tables, |put, (name, value)| put.item(name, aws_sdk_dynamodb::types::AttributeValue::S(value)));
    put.item("seq", aws_sdk_dynamodb::types::AttributeValue::N(size.to_string())).send().await.unwrap();
    not_yet(get(&world, &token, &format!("{}/proof", last.id)).await);
}

#[tokio::test]
async fn a_proof_is_a_reading_of_the_log_and_what_shows_no_entry_is_none() {
    let world = World::start().await;
    let (token, other) = (world.token("auditor"), world.token_of(OTHER_ORG, "1", "auditor"));
    world.a_receipt().await;
    let mine = entries(&world, ORG).await[0].clone();
    world.seal().await;
    for what in ["checkpoint", "consistency?from=1", "keys", "summary"] {
        get(&world, &token, what).await.ok();
        get(&world, &world.token("service"), what).await.refused(403, "forbidden");
    }
    get(&world, &token, &format!("{}/proof", mine.id)).await.ok();
    get(&world, &world.token("service"), &format!("{}/proof", mine.id)).await.refused(403, "forbidden");
    // Another organisation has a log of its own, in which there is no such entry.
    get(&world, &other, &format!("{}/proof", mine.id)).await.refused(404, "entry_not_found");
    get(&world, &other, "checkpoint").await.refused(409, "not_sealed_yet");
    let keys = get(&world, &other, "keys").await.ok().body;
    assert_eq!(keys["origin"], format!("{}/{OTHER_ORG}", local::stack::AUDIT_ORIGIN));

    let reads = |org: &'static str| {
        let world = &world;
        async move {
            let reads = entries(world, org).await;
            let reads = reads.into_iter().filter(|entry| entry.action == Action::AuditRead);
            reads.map(|entry| (entry.error.is_none(), entry.details.filter)).collect::<Vec<_>>()
        }
    };
    let filter = Some(format!("id={}", mine.id));
    let mut refused = vec![(false, None); 4];
    refused.push((true, filter.clone()));
    refused.push((false, filter.clone()));
    assert_eq!(reads(ORG).await, refused);
    assert_eq!(reads(OTHER_ORG).await, [(true, filter)]);
    // What is malformed leaves no trace.
    let before = world.snapshot().await;
    for (what, code) in [
        ("consistency", "invalid_from"),
        ("consistency?from=0", "invalid_from"),
        ("consistency?from=-1", "invalid_from"),
        ("consistency?from=99999", "invalid_from"),
        ("consistency?from=18446744073709551616", "invalid_from"),
        ("consistency?from=1&from=1", "invalid_query"),
        ("checkpoint?org=org-999", "invalid_query"),
        ("keys?x=1", "invalid_query"),
        ("summary/proof", "invalid_entry_id"),
        (&format!("{}/proof?cursor=x", mine.id), "invalid_cursor"),
        (&format!("{}/proof", mine.id.to_lowercase()), "invalid_entry_id"),
    ] {
        get(&world, &token, what).await.refused(400, code);
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_service_that_does_not_seal_says_so() {
    let world = World::start_with(|config| config.audit = None).await;
    world.a_receipt().await;
    let id = entries(&world, ORG).await[0].id.clone();
    for what in ["checkpoint", "consistency?from=1", "keys", "summary", &format!("{id}/proof")] {
        get(&world, &world.token("auditor"), what).await.refused(404, "log_not_sealed");
    }
}

#[tokio::test]
async fn a_broken_archive_proves_nothing() {
    let world = World::start_with(|config| {
        config.audit.as_mut().unwrap().archive.endpoint = Some(config.spaces.endpoint.clone());
    })
    .await;
    let token = world.token("auditor");
    log_rows::insert(&world, &log_rows::entries(ORG, 300)).await;
    world.seal().await;
    let id = entries(&world, ORG).await[7].id.clone();
    let (proof, tile) = (format!("{id}/proof"), audit_format::archive::tile_path(ORG, 0, 0, 256));
    get(&world, &token, &proof).await.ok();
    let object = || world.bucket().get_object().bucket(local::spaces::ARCHIVE_BUCKET).key(&tile);
    let mut bytes = object().send().await.unwrap().body.collect().await.unwrap().to_vec();
    bytes[100] ^= 1;
    let put = world.bucket().put_object().bucket(local::spaces::ARCHIVE_BUCKET).key(&tile);
    put.body(bytes.into()).send().await.unwrap();
    get(&world, &token, &proof).await.refused(500, "internal");
    let checkpoint = audit_format::archive::checkpoint_path(ORG);
    let forged = format!("{}/{ORG}\n999\n{}\n", local::stack::AUDIT_ORIGIN, BASE64.encode(&[0; 32]));
    let forged = format!("{forged}\n— {}/{ORG} {}\n", local::stack::AUDIT_ORIGIN, BASE64.encode(&[0; 68]));
    let put = world.bucket().put_object().bucket(local::spaces::ARCHIVE_BUCKET).key(&checkpoint);
    put.body(forged.into_bytes().into()).send().await.unwrap();
    for what in ["checkpoint", "consistency?from=1", &proof] {
        get(&world, &token, what).await.refused(500, "internal");
    }
    // That the store does not answer is no proof of anything.
    world.s3.fail("GET", 0, usize::MAX, Fault::AnswerXml(503, "SlowDown"));
    get(&world, &token, "checkpoint").await.refused(503, "unavailable");
}
