//! What somebody tries to do, from the moment the request is understood until it is in the log, one way or the other.

use std::time::Duration;

use crate::audit::{Action, Actor, Details, Event, Outcome, Related};
use crate::clock::{self, Deadline};
use crate::idempotency::{Key, Memory, Seed};
use crate::metrics::{self, Metric};
use crate::path::FilePath;
use crate::problem::Problem;
use crate::tables::{Change, CommitError, Committed, KeyWrite, Tables};

/// One action on its way into the log.
#[derive(Debug)]
pub struct Attempt<'a> {
    tables: &'a Tables,
    actor: &'a Actor,
    deadline: Deadline,
    recorded: bool,
    settled: bool,
    /// Whether the idempotency key is held for as long as this runs.
    claimed: bool,
    /// Whether the idempotency key remembers the answer.
    answered: bool,
    replayed: bool,
    key: Option<Key>,
    /// What is tried.
    pub action: Action,
    /// On which file, once a path is named or derived.
    pub path: Option<FilePath>,
    /// The caller's business object.
    pub related: Related,
    /// What more there is to say.
    pub details: Details,
}

impl<'a> Attempt<'a> {
    /// Somebody tries something.
    #[must_use]
    pub fn new(tables: &'a Tables, actor: &'a Actor, deadline: Deadline, action: Action) -> Self {
        Self {
            tables,
            actor,
            deadline,
            recorded: false,
            settled: false,
            claimed: false,
            answered: false,
            replayed: false,
            key: None,
            action,
            path: None,
            related: Related::default(),
            details: Details::default(),
        }
    }

    /// The same, under the caller's idempotency key.
    #[must_use]
    pub fn under(mut self, key: Option<Key>) -> Self {
        self.key = key;
        self
    }

    /// Whether an earlier request was answered so already, and nothing was done.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// Writes the entry of something that changes nothing but the log. Whatever changes more is in [`crate::files`].
    ///
    /// # Errors
    /// [`CommitError`]
    pub async fn record(&mut self) -> Result<Committed, CommitError> {
        self.succeed(Change::Nothing).await
    }

    /// Makes the change together with the entry that says it was done.
    ///
    /// # Errors
    /// [`CommitError`]
    pub(crate) async fn succeed(&mut self, change: Change<'_>) -> Result<Committed, CommitError> {
        self.commit(change, None, Outcome::Success).await
    }

    /// The same for the change with which it is settled what a request is answered: the idempotency key remembers what the answer is
    /// made from, for as long as the answer is good.
    ///
    /// # Errors
    /// [`CommitError`]
    pub(crate) async fn finish(
        &mut self,
        change: Change<'_>,
        seed: &Seed,
        life: Duration,
    ) -> Result<Committed, CommitError> {
        // Of a request with several changes the first one that settles the answer is remembered.
        let key = self.key.clone().filter(|_| !self.answered && !self.replayed);
        let answered = key.as_ref().map(|key| KeyWrite::Answered { key, seed, life });
        let committed = self.commit(change, answered, Outcome::Success).await;
        self.answered |= committed.is_ok();
        committed
    }

    /// The caller's idempotency key.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The key is held by this request now, or may be, and released if it fails.
    pub(crate) fn claimed(&mut self) {
        self.claimed = true;
    }

    /// What is remembered under the caller's key: the answer to give again, or none if the request is to be done.
    ///
    /// # Errors
    /// [`Problem`]
    pub(crate) async fn recall(&mut self) -> Result<Option<Memory>, Problem> {
        let Some(key) = &self.key else { return Ok(None) };
        let kept = self.tables.memory(key, self.deadline).await?;
        let memory = key.judge(kept, clock::now())?;
        self.replayed = memory.is_some();
        Ok(memory)
    }

    /// Makes the change together with the entry that says what was tried and why it failed.
    ///
    /// # Errors
    /// [`CommitError`]
    pub(crate) async fn fail(
        &mut self,
        change: Change<'_>,
        problem: &Problem,
    ) -> Result<Committed, CommitError> {
        let outcome = Outcome::failure(&problem.entry_text());
        let key = self.key.clone().filter(|_| self.claimed);
        let failed = self.commit(change, key.as_ref().map(KeyWrite::Release), outcome.clone()).await;
        match failed {
            // Somebody else took it over, long after: then it is not ours to release.
            Err(CommitError::KeyTaken) => self.commit(change, None, outcome).await,
            failed => failed,
        }
    }

    /// The next step of the same request, which gets an entry of its own.
    pub(crate) fn go_on(&mut self, action: Action) {
        if self.action == Action::Upload {
            metrics::record(Metric::UploadsFailed, 0);
        }
        self.action = action;
        self.recorded = false;
    }

    /// Sees to it that a refusal or failure is in the log before the caller hears of it. A refusal whose entry cannot be
    /// written is answered as unavailable; of a failure the operator's log must do.
    ///
    /// # Errors
    /// The problem itself, or [`Problem::Unavailable`].
    pub async fn settle<T>(mut self, result: Result<T, Problem>) -> Result<T, Problem> {
        self.settled = true;
        let settled = self.told(result).await;
        match (self.action, &settled) {
            (Action::Upload, Ok(_)) => metrics::record(Metric::UploadsFailed, 0),
            (Action::Upload, Err(problem)) if problem.status() < 500 => {
                metrics::count(Metric::UploadsRefused)
            }
            (Action::Upload, Err(_)) => metrics::count(Metric::UploadsFailed),
            _ => {}
        }
        settled
    }

    async fn told<T>(&mut self, result: Result<T, Problem>) -> Result<T, Problem> {
        let problem = match result {
            Err(problem) if problem.is_recorded() && !self.recorded => problem,
            done => return done,
        };
        let error = match self.fail(Change::Nothing, &problem).await {
            Ok(_) => return Err(problem),
            Err(error) => error,
        };
        // Of a doubt the operator's log was told where it arose.
        if !matches!(error, CommitError::InDoubt(_)) {
            let request_id = &self.actor.request_id;
            let action = self.action.name();
            tracing::error!(request_id, action, cause = %error, "audit_write_failed: a failure has no entry in the log");
            metrics::count(Metric::AuditWriteFailures);
        }
        Err(if problem.status() < 500 { Problem::Unavailable(error.to_string()) } else { problem })
    }

    async fn commit(
        &mut self,
        change: Change<'_>,
        key: Option<KeyWrite<'_>>,
        outcome: Outcome,
    ) -> Result<Committed, CommitError> {
        let event = Event {
            action: self.action,
            path: self.path.clone(),
            related: self.related.clone(),
            details: self.details.clone(),
            outcome,
        };
        let committed = self.tables.commit(change, key, self.actor, event, self.deadline).await;
        // Of an entry in doubt no second one may speak.
        self.recorded = matches!(committed, Ok(_) | Err(CommitError::InDoubt(_)));
        if let Err(CommitError::InDoubt(cause)) = &committed {
            let request_id = &self.actor.request_id;
            let action = self.action.name();
            tracing::error!(
                request_id,
                action,
                cause,
                "audit_write_failed: nobody knows whether an entry was written"
            );
            metrics::count(Metric::AuditWriteFailures);
        }
        if let (Change::Store { record, .. }, Ok(_)) = (change, &committed) {
            metrics::count(Metric::UploadsStored);
            metrics::record(Metric::UploadedBytes, record.file_size);
        }
        committed
    }
}

impl Drop for Attempt<'_> {
    /// An attempt that nobody settled may have failed without an entry: a handler that forgot, or that panicked.
    fn drop(&mut self) {
        if !self.settled {
            let (request_id, action) = (&self.actor.request_id, self.action.name());
            tracing::error!(request_id, action, "audit_write_failed: an attempt was not settled");
            metrics::count(Metric::AuditWriteFailures);
        }
    }
}
