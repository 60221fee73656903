//! The sealed log: what proves that an entry is in it and stays there. Where nothing seals, that is said.

use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, check_record, check_tree};

use super::log::leaf_hash;
use super::service::{Caller, Service, eventually};
use crate::world::Answer;

/// Size and root of a checkpoint that one of the log's keys signed.
fn verified(keys: &Value, note: &str) -> (u64, Hash) {
    let vkeys = keys["keys"].as_array().unwrap().iter().map(|key| key["vkey"].as_str().unwrap());
    let verifiers = vkeys.map(|vkey| Box::new(StandardVerifier::new(vkey).unwrap()) as _);
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    note.verify(&VerifierList::new(verifiers.collect())).unwrap();
    let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(checkpoint.origin(), keys["origin"].as_str().unwrap());
    (checkpoint.size(), *checkpoint.hash())
}

/// Once it is sealed: until then it is a 409.
async fn sealed(caller: &Caller<'_>, what: &str) -> String {
    let is_sealed = |answer: &Answer| answer.code() != "not_sealed_yet";
    let answer = eventually(async || caller.get(&format!("audit-logs/{what}")).await, is_sealed).await.ok();
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    String::from_utf8(answer.bytes).unwrap()
}

/// Stores a receipt; answers its entry.
async fn an_entry(service: &Service) -> String {
    let path = service.a("accountant").a_receipt().await;
    let entries = service.a("auditor").entries(&format!("file_path={path}"), 1).await;
    entries[0]["id"].as_str().unwrap().to_owned()
}

/// Proves that an entry is in the log; answers size and root of the log that it is in, and its place.
async fn proved(auditor: &Caller<'_>, id: &str) -> (u64, Hash, u64) {
    let proof = sealed(auditor, &format!("{id}/proof")).await;
    let keys = auditor.get("audit-logs/keys").await.ok().body;
    let shown = auditor.get(&format!("audit-logs/{id}")).await.ok();
    let (head, note) = proof.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
    let hashes = lines.map(|line| Hash::parse_hash(line).unwrap()).collect();
    let (size, root) = verified(&keys, note);
    let leaf = Hash(leaf_hash(shown.body["log"]["raw"].as_str().unwrap().as_bytes()));
    check_record(&hashes, size, root, index, leaf).unwrap();
    assert_eq!(shown.body["log"]["seq"], index);
    (size, root, index)
}

#[tokio::test]
async fn an_entry_is_proved_and_the_log_only_grows() {
    let service = Service::start().await;
    let auditor = service.a("auditor");
    let first = an_entry(&service).await;
    if !service.sealed {
        for what in ["checkpoint".to_owned(), format!("{first}/proof"), "consistency?from=1".into()] {
            let answer = auditor.get(&format!("audit-logs/{what}")).await;
            assert!(["not_sealed_yet", "log_not_sealed"].contains(&answer.code()), "{}", answer.body);
        }
        return;
    }
    let (size, root, index) = proved(&auditor, &first).await;
    let (later_size, _, later_index) = proved(&auditor, &an_entry(&service).await).await;
    assert!(index < later_index && size < later_size);

    let keys = auditor.get("audit-logs/keys").await.ok().body;
    let (shown_size, _) = verified(&keys, &sealed(&auditor, "checkpoint").await);
    assert!(shown_size >= later_size);
    let proof = auditor.get(&format!("audit-logs/consistency?from={size}")).await.ok().body;
    let (to, to_root) = verified(&keys, proof["checkpoint"].as_str().unwrap());
    assert_eq!((proof["from"].as_u64(), proof["to"].as_u64()), (Some(size), Some(to)));
    let hash = |hash: &Value| Hash::parse_hash(hash.as_str().unwrap()).unwrap();
    let hashes = proof["proof"].as_array().unwrap().iter().map(hash).collect();
    check_tree(&hashes, to, to_root, size, root).unwrap();
}

#[tokio::test]
async fn a_summary_counts_what_is_sealed() {
    let service = Service::start().await;
    let auditor = service.a("auditor");
    an_entry(&service).await;
    if !service.sealed {
        // No counters: nothing is counted, or nothing is sealed here at all.
        let answer = auditor.get("audit-logs/summary").await;
        assert!(answer.code() == "log_not_sealed" || answer.ok().body["as_of"]["tree_size"] == 0);
        return;
    }
    let uploads = |answer: &Answer| -> u64 {
        let bars = answer.body["bars"].as_array().unwrap().iter();
        bars.map(|bar| bar["actions"]["UPLOAD"]["succeeded"].as_u64().unwrap_or_default()).sum()
    };
    let ask = async || auditor.get("audit-logs/summary?from=-2h&interval=1h&action_type=UPLOAD").await.ok();
    // The first leaf of a log may be a notice, which is not counted.
    let answer = eventually(ask, |answer| uploads(answer) > 0).await;
    assert_eq!(uploads(&answer), 1, "{}", answer.body);
    assert!(answer.body["as_of"]["tree_size"].is_u64(), "{}", answer.body);
}
