//! What an organisation's files and log have been so far, and what must hold of them whatever died in between.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use shared::app::App;
use shared::audit::Body;
use shared::clock::{self, Deadline};
use shared::config::DEVELOPMENT_JWT_SECRET;
use shared::maintenance::{Maintenance, Options, Report};

use crate::lane::{Lane, Stored};
use crate::operation::Operation;
use crate::world::{Answer, World};

/// Long enough for any run of a test.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was seen of one lane's organisation, each time that somebody looked.
#[derive(Debug, Default)]
pub struct History {
    last: Stored,
    /// Every path's upload, for ever.
    uploads: BTreeMap<String, String>,
    /// Every path's bytes, for ever.
    etags: BTreeMap<String, String>,
    answers: Vec<Answered>,
}

/// An answer that a client got.
#[derive(Debug)]
struct Answered {
    operation: Operation,
    request_id: String,
    /// The file that the request named.
    path: Option<String>,
    answer: Answer,
}

/// Runs maintenance of everything, by a clock that is so much ahead.
pub async fn maintain(world: &World, ahead: SignedDuration) -> Report {
    let app = App::new(&world.stack.config(DEVELOPMENT_JWT_SECRET, None)).unwrap();
    let (now, deadline) = (clock::now() + ahead, Deadline::after(PATIENCE));
    Maintenance::new(&app, now, deadline, Options::default()).run().await
}

/// Runs maintenance when nothing that any test did has time left. A second run has nothing to do.
pub async fn maintain_at_last(world: &World) {
    let ahead = SignedDuration::from_hours(48);
    let first = maintain(world, ahead).await;
    assert!(first.complete, "{first:?}");
    let again = maintain(world, ahead).await;
    assert!(
        again.complete && again.found.is_empty(),
        "a second run of maintenance finds something: {again:?}"
    );
}

impl History {
    /// A client was answered.
    pub fn answered(
        &mut self,
        operation: Operation,
        path: Option<String>,
        (answer, request_id): (Answer, String),
    ) {
        self.answers.push(Answered { operation, request_id, path, answer });
    }

    /// Looks at what there is: the log only grew, no path was used again.
    pub async fn look(&mut self, lane: &Lane<'_>, what: &str) {
        let now = lane.stored().await;
        for row in &self.last.log {
            assert!(now.log.contains(row), "{what}: a row of the log is gone or changed: {row:?}");
        }
        for (path, row) in &now.rows {
            let first = self.uploads.entry(path.clone()).or_insert_with(|| row.upload_id.clone());
            assert_eq!(*first, row.upload_id, "{what}: {path} was used again");
        }
        assert!(self.last.rows.keys().all(|path| now.rows.contains_key(path)), "{what}: a record is gone");
        for (path, etag) in &now.etags {
            let first = self.etags.entry(path.clone()).or_insert_with(|| etag.clone());
            assert_eq!(first, etag, "{what}: the bytes of {path} changed");
        }
        self.last = now;
    }

    /// Checks what must hold after maintenance.
    pub async fn check(&mut self, lane: &Lane<'_>, what: &str) {
        self.look(lane, what).await;
        self.last.check(what);
        for (path, row) in &self.last.rows {
            let done = |action: &str| self.succeeded(action, path).count();
            let (uploads, purges) = (done("UPLOAD"), done("PURGE"));
            let hard = self
                .succeeded("DELETE", path)
                .filter(|entry| entry.details.hard_delete == Some(true))
                .count();
            let soft = done("DELETE") - hard;
            // A multipart upload of which no session ever knew has an entry of its own.
            let stale = |entry: &&Body| entry.details.reason.as_deref() == Some("stale multipart upload");
            let aborts = self.succeeded("UPLOAD_ABORTED", path).filter(|entry| !stale(entry)).count();
            let told = (uploads, soft, hard, purges, aborts);
            let was_file = row.version > 0;
            let fits = match row.state.as_str() {
                "ACTIVE" => told == (1, 0, 0, 0, 0),
                "DELETED" => told == (1, 1, 0, 0, 0),
                "PURGED" if was_file => uploads == 1 && soft <= 1 && (hard, purges) == (1, 1) && told.4 == 0,
                // It failed, with an entry of the request or one of maintenance.
                "PURGED" => (uploads, soft, hard, purges) == (0, 0, 0, 0) && told.4 <= 1,
                _ => false,
            };
            assert!(fits, "{what}: {path} is {row:?}, and the log tells of {told:?}");
            if row.state != "PURGED" {
                let hash = HEXLOWER.encode(&Sha256::digest(lane.world.object(path).await));
                assert_eq!(row.sha256.as_deref(), Some(hash.as_str()), "{what}: the bytes of {path}");
            }
        }
        let recorded = |key: &String| self.last.rows.get(key).is_some_and(|row| row.state != "PURGED");
        assert!(self.last.objects.iter().all(recorded), "{what}: {:?}", self.last);
        for answered in &self.answers {
            self.check_answer(answered, what);
        }
        check_sessions(lane, what).await;
    }

    fn succeeded<'h>(&'h self, action: &'h str, path: &'h str) -> impl Iterator<Item = &'h Body> {
        self.last.entries.iter().filter(move |entry| {
            entry.action.name() == action
                && entry.error.is_none()
                && entry.file_path().as_deref() == Some(path)
        })
    }

    /// Whoever was told that something is done has its entry, and it is so.
    fn check_answer(&self, answered: &Answered, what: &str) {
        let Answered { operation, request_id, path, answer } = answered;
        let what = format!("{what}: {operation:?} was answered {} {}", answer.status, answer.body);
        let told = self.last.told_by(request_id);
        let (succeeded, failed): (Vec<_>, Vec<_>) = told.iter().partition(|(_, success)| *success);
        let state = |path: &Option<String>| {
            let row = path.as_ref().and_then(|path| self.last.rows.get(path));
            row.map(|row| row.state.as_str()).unwrap_or_default().to_owned()
        };
        match answer.status.as_u16() {
            200 if answer.is_replayed() => {
                // Of two hard deletes with one key, one may have begun what the other finished.
                let shared = matches!(operation, Operation::HardDelete(_)) && failed.is_empty();
                assert!(told.is_empty() || shared, "{what}: {told:?}");
            }
            200 => match operation {
                Operation::Open | Operation::Parts => assert!(told.is_empty(), "{what}: {told:?}"),
                // Completed by somebody else, or by an earlier attempt of the same client.
                Operation::Complete(_) => {}
                // The same; nothing else ends a session so.
                Operation::Abort => {
                    let ends: Vec<_> =
                        path.iter().flat_map(|path| self.succeeded("UPLOAD_ABORTED", path)).collect();
                    assert_eq!((ends.len(), failed.len()), (1, 0), "{what}: {ends:?}");
                }
                Operation::HardDelete(_) => assert!(!succeeded.is_empty(), "{what}: {told:?}"),
                _ => assert_eq!((succeeded.len(), failed.len()), (1, 0), "{what}: {told:?}"),
            },
            503 => return,
            422 => return assert!(told.is_empty(), "{what}: {told:?}"),
            _ => return assert!(!failed.is_empty(), "{what}: {told:?}"),
        }
        match operation {
            Operation::Upload
            | Operation::Receipt
            | Operation::Zip
            | Operation::Taken
            | Operation::Complete(_) => {
                let path = answer.path();
                assert_eq!(self.succeeded("UPLOAD", &path).count(), 1, "{what}");
            }
            Operation::SoftDelete => assert!(["DELETED", "PURGED"].contains(&state(path).as_str()), "{what}"),
            Operation::HardDelete(_) => assert_eq!(state(path), "PURGED", "{what}"),
            Operation::Abort => assert_eq!(state(path), "PURGED", "{what}"),
            _ => {}
        }
    }
}

/// No session is left open or counted, and no part is left in the bucket.
async fn check_sessions(lane: &Lane<'_>, what: &str) {
    for row in lane.world.rows("storage_state").await {
        let pk = row["pk"].as_s().unwrap();
        let own = pk.split('#').nth(1) == Some(lane.org.as_str());
        let counted = row.get("held").map_or("0", |held| held.as_n().unwrap().as_str());
        assert!(!own || counted == "0", "{what}: {pk} is {counted}");
        let record = row.get("record").and_then(|record| record.as_m().ok());
        if record.is_some_and(|record| record["org_id"].as_s().unwrap() == &lane.org) {
            let state = row["state"].as_s().unwrap();
            assert!(
                ["stored", "failed", "aborted", "expired"].contains(&state.as_str()),
                "{what}: {pk} is {state}"
            );
        }
    }
    let uploads =
        lane.world.bucket().list_multipart_uploads().bucket("storage").prefix(format!("{}/", lane.org));
    let uploads = uploads.send().await.unwrap();
    assert!(uploads.uploads().is_empty(), "{what}: {:?}", uploads.uploads());
}
