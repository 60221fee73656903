//! Maintenance: finishes what requests left half done, and holds bucket and table against each other.
//!
//! It acts by itself, on a schedule: every change has its entry, by the system, in the log of the organisation that it
//! concerns. Whatever it finds it reads again, strongly, before it does anything; and every change has a condition, so two
//! runs at once do nothing twice. What it does not know: who wanted what. A reservation whose time is over is undone, an
//! object that nobody told of is kept for thirty days.

mod compare;
mod report;
mod sweep;
mod uploads;
mod verify;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use crate::app::App;
use crate::audit::{Action, Actor, Details, Event, Outcome, Related};
use crate::clock::{Deadline, OutOfTime, Pace};
use crate::files::Files;
use crate::ids::{OrgId, UserId};
use crate::metrics::{self, Metric};
use crate::path::FilePath;
use crate::problem::{Absence, Problem};
use crate::tables::{Change, CommitError};
use crate::unique;

pub use report::{Finding, Kind, Report};

/// Most requests to the bucket in a second: requests of users come first.
const REQUESTS_PER_SECOND: usize = 20;
/// How old something must be that does not agree: younger, it may be on its way.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// How a run is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Only look.
    pub dry_run: bool,
    /// A comparison of bucket and table begins when the last one ended so long ago.
    pub compare_every: SignedDuration,
}

/// One run.
#[derive(Debug)]
pub struct Maintenance<'a> {
    app: &'a App,
    now: Timestamp,
    deadline: Deadline,
    options: Options,
    pace: Pace,
    report: Report,
}

/// Something to be recorded by the service itself.
struct Done<'r> {
    action: Action,
    org: OrgId,
    key: &'r str,
    related: Related,
    details: Details,
    outcome: Outcome,
}

impl<'a> Maintenance<'a> {
    /// A run that takes `now` for the time when it asks what is due, and ends by `deadline`.
    #[must_use]
    pub fn new(app: &'a App, now: Timestamp, deadline: Deadline, options: Options) -> Self {
        let run_id = format!("maintenance-{}", unique::ulid(now));
        let report = Report::new(run_id, options.dry_run);
        Self { app, now, deadline, options, pace: Pace::new(REQUESTS_PER_SECOND), report }
    }

    /// Does what is to be done, as far as the time allows.
    pub async fn run(mut self) -> Report {
        let mut unverified = Vec::new();
        let outcomes = [
            self.sweep(&mut unverified).await,
            self.end_stale_uploads().await,
            self.verify(unverified).await,
            self.compare().await,
        ];
        for problem in outcomes.into_iter().filter_map(Result::err) {
            self.report.stopped(&problem);
        }
        if !self.options.dry_run {
            measure(&self.report);
        }
        self.report
    }

    fn files(&self) -> Files<'a> {
        Files::new(self.app, self.deadline)
    }

    /// Whether there is time for one thing more.
    fn go_on(&self) -> Result<(), OutOfTime> {
        self.deadline.begin_effect()
    }

    /// Waits until a request to the bucket may be made.
    async fn pace(&mut self) {
        sleep(self.pace.next()).await;
    }

    /// Notes what came of one thing. What failed is there for the next run.
    fn note(&mut self, key: &str, found: Result<Option<Kind>, Problem>) {
        match found {
            Ok(Some(kind)) => self.report.add(kind, key),
            // Somebody else was quicker.
            Ok(None) | Err(Problem::NotFound(Absence::Changed)) => {}
            Err(problem) => {
                let cause = problem.reason().unwrap_or_else(|| problem.detail());
                let run_id = &self.report.run_id;
                tracing::warn!(run_id, cause, "something is left to the next run");
                self.report.add(Kind::Failed, &format!("{key}: {cause}"));
            }
        }
    }

    /// Makes a change with its entry.
    async fn commit(&self, change: Change<'_>, done: Done<'_>) -> Result<(), Problem> {
        let Done { action, org, key, related, mut details, outcome } = done;
        let path = path_of(key);
        details.key = path.is_none().then(|| key.to_owned());
        let event = Event { action, path, related, details, outcome };
        let committed = self.app.tables.commit(change, None, &self.actor(org), event, self.deadline).await;
        if let Err(CommitError::InDoubt(cause)) = &committed {
            let run_id = &self.report.run_id;
            tracing::error!(run_id, cause, "audit_write_failed: nobody knows whether an entry was written");
            metrics::count(Metric::AuditWriteFailures);
        }
        Ok(committed.map(drop)?)
    }

    /// The service itself, in an organisation.
    fn actor(&self, org: OrgId) -> Actor {
        Actor {
            org,
            user: UserId::system(),
            sub: "system".into(),
            role: "system".into(),
            ip: String::new(),
            device: "maintenance".into(),
            request_id: self.report.run_id.clone(),
        }
    }
}

fn measure(report: &Report) {
    if report.complete {
        metrics::count(Metric::MaintenanceCompleted);
    }
    for (kind, count) in report.counts() {
        match kind {
            Kind::Damaged | Kind::ObjectMissing => metrics::record(Metric::FilesDamaged, count),
            Kind::Unrecorded => metrics::record(Metric::ObjectsQuarantined, count),
            Kind::ExpiredUpload => metrics::record(Metric::UploadsExpired, count),
            Kind::Failed => metrics::record(Metric::MaintenanceFailures, count),
            _ => {}
        }
    }
}

/// A key as a path, if it is one.
fn path_of(key: &str) -> Option<FilePath> {
    FilePath::parse(key).ok().filter(|path| path.as_str() == key)
}

/// Whose log tells of what belongs to this organisation.
fn org_of(id: &str) -> OrgId {
    OrgId::parse(id).unwrap_or_else(|_| OrgId::nobody())
}

/// The same for what has a key and no record.
fn org_of_key(key: &str) -> OrgId {
    key.split_once('/').map_or_else(OrgId::nobody, |(org, _)| org_of(org))
}
