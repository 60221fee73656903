//! What the operator's log tells of a failure: once, with what links it to the answer, and nothing that must stay secret.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use shared::config::DEVELOPMENT_JWT_SECRET;
use tracing_subscriber::EnvFilter;

use crate::lane::Lane;
use crate::operation::Operation;
use crate::proxy::Fault;
use crate::world::World;

const TRANSACTION: &str = "TransactWriteItems";

/// Everything that is logged on this thread while it lives.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// At the level that functions run with, and everything that is ours.
    pub fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("info,shared=trace"))
            .with_ansi(false)
            .with_writer(move || lines.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    pub fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Failures of each kind: the operation, where it fails, and the answer.
fn failures() -> Vec<(Operation, &'static str, Fault, u16)> {
    let denied = || Fault::error(400, "AccessDeniedException");
    let xml = |status, code| Fault::AnswerXml(status, code);
    vec![
        (Operation::Forbidden, "", Fault::Reset, 403),
        (Operation::Missing, "", Fault::Reset, 404),
        (Operation::Taken, "", Fault::Reset, 409),
        (Operation::WrongContent, "", Fault::Reset, 400),
        (Operation::Sign(None), "GetItem", denied(), 500),
        (Operation::Sign(None), TRANSACTION, denied(), 503),
        (Operation::Metadata, TRANSACTION, Fault::throttled(), 503),
        (Operation::AuditLogs, "Query", Fault::CutAfterSending, 503),
        (Operation::Forbidden, TRANSACTION, Fault::Reset, 503),
        (Operation::Receipt, "PUT", xml(403, "AccessDenied"), 500),
        (Operation::Receipt, "PUT", xml(503, "SlowDown"), 503),
        (Operation::Zip, "PutItem", Fault::Reset, 503),
        (Operation::HardDelete("ACTIVE"), "DELETE", xml(403, "AccessDenied"), 500),
        (Operation::SoftDelete, TRANSACTION, Fault::cancelled(&["ConditionalCheckFailed", "None"]), 503),
    ]
}

#[tokio::test]
async fn a_failure_is_logged_once_and_tells_no_secret() {
    let world = World::start().await;
    let lines = Lines::default();
    let _capturing = lines.capture();
    let tried = join_all(failures().into_iter().map(async |(operation, kind, fault, status)| {
        let what = format!("{operation:?} with {fault:?} at {kind}");
        let lane = Lane::beside(&world).await;
        let ready = operation.prepare(&lane).await;
        lane.s3.fail(kind, 0, usize::MAX, fault.clone());
        lane.dynamodb.fail(kind, 0, usize::MAX, fault);
        let (answer, request_id) = lane.call(&ready.sent).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        lane.heal().await;
        let recorded = !lane.stored().await.told_by(&request_id).is_empty();
        (what, lane, request_id, status, recorded)
    }))
    .await;
    let lines = lines.take();
    for (what, lane, request_id, status, recorded) in tried {
        assert_tells_no_secret(&lines, &lane, &what);
        let told: Vec<_> = lines.iter().filter(|line| line.contains(&request_id)).collect();
        let of_the_answer = told.iter().filter(|line| line.contains(&format!("status={status}"))).count();
        assert_eq!(of_the_answer, 1, "{what}: {told:#?}");
        let alarms = told.iter().filter(|line| line.contains("audit_write_failed")).count();
        assert_eq!(alarms, usize::from(!recorded), "{what}: {told:#?}");
        assert_eq!(told.len(), 1 + alarms, "{what}: {told:#?}");
    }
}

#[tokio::test]
async fn a_success_tells_no_secret_either() {
    let world = World::start().await;
    let lines = Lines::default();
    let _capturing = lines.capture();
    let lane = Lane::beside(&world).await;
    let all = [Operation::UPLOADS, Operation::READS, Operation::DELETES].concat();
    for operation in all {
        let ready = operation.prepare(&lane).await;
        lines.take();
        let (_, request_id) = lane.call(&ready.sent).await;
        let lines = lines.take();
        assert_eq!(lines.iter().filter(|line| line.contains(&request_id)).count(), 1, "{lines:#?}");
        assert_tells_no_secret(&lines, &lane, &format!("{operation:?}"));
    }
}

#[track_caller]
fn assert_tells_no_secret(lines: &[String], lane: &Lane<'_>, what: &str) {
    let below_the_organisation = format!("{}/", lane.org);
    let secrets = [
        "eyJ", // how every token begins
        "Bearer",
        "Signature",
        "localsecret",
        DEVELOPMENT_JWT_SECRET,
        ".jpg",
        ".csv",
        ".zip",
        &below_the_organisation,
    ];
    for secret in secrets {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{what}: {secret} stands in {lines:#?}");
    }
}
