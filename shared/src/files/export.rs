//! Exports of the log: begun, continued, cancelled, taken away. What a call does of one stands in [`super::slice`].

use std::time::Duration;

use futures_util::future::join;
use jiff::SignedDuration;

use super::complete::Stop;
use super::upload::{pending, stamp};
use super::{Files, Purpose, Visible, taken};
use crate::attempt::Attempt;
use crate::audit::{Details, Filter, Related};
use crate::auth::{Authorised, ExportLog, Log, Principal, Sign};
use crate::clock;
use crate::export::{Export, Format};
use crate::file_name::FileName;
use crate::idempotency::{MEMORY, Seed};
use crate::path::{FilePath, Place};
use crate::problem::{Absence, Mismatch, Problem};
use crate::record::Record;
use crate::session::{LIFE, Session, SessionState};
use crate::spaces::SignedUrl;
use crate::tables::{Change, Claim, CommitError};
use crate::unique;

/// How long whoever works on an export is left alone: longer than any request lives.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// An export of the caller.
#[derive(Debug)]
pub struct OwnExport(Session);

impl OwnExport {
    /// Its session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Files<'_> {
    /// May this caller take a copy of the log out? Nothing is read.
    ///
    /// # Errors
    /// [`Problem::Forbidden`]
    pub fn may_export(&self, caller: &Principal) -> Result<Authorised<ExportLog, Log>, Problem> {
        let authorised = self.app.policies.authorise_log(caller);
        authorised.map_err(|denial| Problem::Forbidden(denial.to_string()))
    }

    /// Begins an export: its entry is in the log, and is where the export ends. Nothing is read yet.
    ///
    /// # Errors
    /// [`Problem`]; after an error there is no export, or none that anybody knows of, and maintenance ends it.
    pub async fn begin_export(
        &self,
        allowed: &Authorised<ExportLog, Log>,
        format: Format,
        filter: &Filter,
        attempt: &mut Attempt<'_>,
    ) -> Result<OwnExport, Problem> {
        let (caller, now) = (allowed.principal(), clock::whole_seconds(clock::now()));
        let id = unique::ulid(now).to_string();
        attempt.details.upload_id = Some(id.clone());
        let place = Place::of_export(caller.org(), &id)?;
        let name = FileName::derive(format.file_name(), None, Some(&stamp(now)));
        let record = Record {
            file_path: place.file(name).as_str().to_owned(),
            upload_id: id,
            ..pending(caller, &place, format.file_name(), 0, format.media_type(), now, now + LIFE)
        };
        let export = Some(Export::new(format, filter.text()));
        let mut session = Session { export, ..Session::open(record, Related::default()) };

        self.deadline.begin_effect()?;
        // What the key remembers decides before any state does.
        let begin = self.app.spaces.begin_multipart(&session.record, self.deadline);
        let (begun, remembered) = join(begin, attempt.recall()).await;
        session.record.multipart_id = begun.as_ref().ok().cloned();
        match remembered {
            Ok(None) => {}
            Ok(Some(memory)) => {
                self.forget(&session).await;
                return self.begun_before(memory.seed, caller).await;
            }
            Err(problem) => {
                self.forget(&session).await;
                return Err(problem);
            }
        }
        let _ = begun?;
        let seed = Seed { upload_id: Some(session.record.upload_id.clone()), ..Seed::default() };
        let refused = match attempt.finish(Change::Export { session: &session }, &seed, MEMORY).await {
            Ok(recorded) => return Ok(OwnExport(session.bounded(recorded.entry()))),
            // It may be there: then nobody hears of it, and maintenance ends it.
            Err(error @ CommitError::InDoubt(_)) => return Err(error.into()),
            Err(refused) => refused,
        };
        self.forget(&session).await;
        match refused {
            CommitError::KeyTaken => self.begun_before(taken(attempt).await?.seed, caller).await,
            // The path is new: it is the user's bound.
            CommitError::Conflict => Err(Problem::TooManyUploads),
            error => Err(error.into()),
        }
    }

    async fn begun_before(&self, seed: Seed, caller: &Principal) -> Result<OwnExport, Problem> {
        let id = seed.upload_id.ok_or_else(|| Problem::Internal("a memory without its export".into()))?;
        let session = self.app.tables.session(&id, self.deadline).await?;
        own(session, caller).map(OwnExport).map_err(Problem::ExportNotFound)
    }

    /// Finds an export of the caller. Another user's, in whichever organisation, counts as absent. What the caller's
    /// idempotency key remembers is read beside it.
    ///
    /// # Errors
    /// [`Problem::ExportNotFound`], those of the key, or what the table answers.
    pub async fn export(
        &self,
        caller: &Principal,
        id: &str,
        attempt: &mut Attempt<'_>,
    ) -> Result<OwnExport, Problem> {
        attempt.details.upload_id = Some(id.to_owned());
        let (session, remembered) = join(self.app.tables.session(id, self.deadline), attempt.recall()).await;
        remembered?;
        own(session?, caller).map(OwnExport).map_err(Problem::ExportNotFound)
    }

    /// Works on an export for a few seconds, and answers it as it is then. One that is stored stays as it is.
    ///
    /// # Errors
    /// [`Problem`]; after [`Problem::Unavailable`] the same call goes on.
    pub async fn continue_export(
        &self,
        allowed: &Authorised<ExportLog, Log>,
        OwnExport(session): OwnExport,
        attempt: &mut Attempt<'_>,
    ) -> Result<OwnExport, Problem> {
        if session.state == SessionState::Stored {
            return Ok(OwnExport(session));
        }
        let mut session = match self.claim_export(session).await? {
            Ok(session) => session,
            Err(ended) => return stored(ended),
        };
        let stop = match self.work(allowed, &mut session, attempt).await {
            Ok(()) => return Ok(OwnExport(session)),
            Err(stop) => stop,
        };
        let problem = match stop {
            Stop::Doubt(problem) => return Err(problem),
            Stop::Ended => {
                let session = self.app.tables.session(&session.record.upload_id, self.deadline).await?;
                return stored(session.ok_or(Problem::ExportOver(SessionState::Expired))?);
            }
            Stop::Refuse(problem) => match self.undo(&session.record, problem, false, attempt).await {
                // It was not undone: the next one does it.
                problem @ Problem::Unavailable(_) => problem,
                problem => return Err(problem),
            },
            Stop::Reopen(_) => {
                let lost = Problem::Mismatch(Mismatch::Object);
                return Err(self.undo(&session.record, lost, false, attempt).await);
            }
            Stop::Early(problem) | Stop::Again(problem) => problem,
        };
        if let Err(error) = self.app.tables.save_export(&session, SessionState::Open, self.deadline).await {
            // Then the lease has to run out.
            tracing::warn!(upload_id = session.record.upload_id, cause = %error, "an export was not let go");
        }
        Err(problem)
    }

    /// Makes an export ours to work on. `Err`: it is not, and will not be; as it is.
    async fn claim_export(&self, session: Session) -> Result<Result<Session, Session>, Problem> {
        let now = clock::now();
        match session.state_at(now) {
            SessionState::Open | SessionState::Completing => {}
            SessionState::Stored => return Ok(Err(session)),
            over => return Err(Problem::ExportOver(over)),
        }
        self.deadline.begin_effect()?;
        let (worker, until) = (unique::ulid(now).to_string(), (now + LEASE).as_millisecond());
        let id = &session.record.upload_id;
        match self.app.tables.claim_session(id, &worker, until, now, self.deadline).await? {
            Claim::Mine(session) => Ok(Ok(*session)),
            Claim::NotMine(None) => Err(Problem::ExportOver(SessionState::Expired)),
            Claim::NotMine(Some(session)) => Ok(Err(*session)),
        }
    }

    /// Gives an export up for its user. One that was given up already is so still.
    ///
    /// # Errors
    /// [`Problem::ExportOver`] if it has ended otherwise, or somebody works on it.
    pub async fn cancel_export(
        &self,
        OwnExport(mut session): OwnExport,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Problem> {
        attempt.details = Details::default();
        attempt.path = Some(FilePath::parse(&session.record.file_path)?);
        if session.state_at(clock::now()) == SessionState::Completing {
            // Whoever worked on it may have died.
            session = self.claim_export(session).await?.map_err(|session| over(&session))?;
            if !self.app.tables.save_export(&session, SessionState::Open, self.deadline).await? {
                return Err(Problem::ExportOver(SessionState::Completing));
            }
            session.state = SessionState::Open;
        }
        self.abort_session(session, attempt).await.map_err(|problem| match problem {
            Problem::UploadOver(state) => Problem::ExportOver(state),
            problem => problem,
        })
    }

    /// Signs a URL for a stored export, for whoever the policies let have it.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn take_away(
        &self,
        caller: &Principal,
        OwnExport(session): &OwnExport,
        attempt: &mut Attempt<'_>,
    ) -> Result<SignedUrl, Problem> {
        let path = FilePath::parse(&session.record.file_path)?;
        let (life, purpose) = (path.place().object_type.url_lifetime_seconds, Purpose::Download);
        attempt.go_on(Purpose::action(Some(purpose)));
        attempt.path = Some(path.clone());
        attempt.details = Details {
            expires_in: Some(life),
            purpose: Some(purpose.name().to_owned()),
            ..Details::default()
        };
        let considered = self.consider::<Sign>(caller, path)?;
        let found = self.find(considered, Visible::Live, attempt).await?;
        self.sign(found, Duration::from_secs(life.into()), Some(purpose), attempt).await
    }
}

/// The one place where an export of somebody else counts as absent, and an upload as none.
fn own(session: Option<Session>, caller: &Principal) -> Result<Session, Absence> {
    let session = session.filter(|session| session.export.is_some()).ok_or(Absence::Missing)?;
    if session.is_of(caller) { Ok(session) } else { Err(Absence::Foreign) }
}

/// An export that somebody else ended or works on.
fn stored(session: Session) -> Result<OwnExport, Problem> {
    if session.state == SessionState::Stored { Ok(OwnExport(session)) } else { Err(over(&session)) }
}

fn over(session: &Session) -> Problem {
    Problem::ExportOver(session.state_at(clock::now()))
}
