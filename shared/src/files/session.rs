//! Upload sessions: opened, shown, given part URLs, aborted. How one is completed stands in [`super::complete`].
//!
//! A part URL grants writing to a reservation that nobody sees, with the length signed. Key, ACL, content type and metadata
//! are settled when the multipart upload is begun, and once it is completed or aborted its URLs are dead.

use std::time::Duration;

use futures_util::future::{join, join3};
use jiff::{SignedDuration, Timestamp};

use super::upload::{NAMES_TRIED, candidate, may_take_another_name, pending, stamp};
use super::{Files, taken};
use crate::attempt::Attempt;
use crate::auth::{Authorised, Principal, Upload};
use crate::catalog::Proof;
use crate::clock;
use crate::content::{self, ContentError};
use crate::file_name::FileName;
use crate::idempotency::{Fingerprint, MEMORY, Seed};
use crate::metrics::{self, Metric};
use crate::path::{FilePath, OwnPlace};
use crate::problem::{Absence, Problem};
use crate::session::{LIFE, MAX_OPEN_PER_USER, MAX_RESERVED_BYTES, Session, SessionState};
use crate::tables::{Change, CommitError, Held, KeyWrite, OpenError};

/// How long a part URL lives: what one part takes on a slow line. They are signed again as often as somebody asks.
const URL_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// Largest text: that it is text only all of its bytes can prove, which one request must be able to read.
const MAX_TEXT_BYTES: u64 = 32 << 20;
/// Most part URLs in one answer.
pub const MAX_SIGNED_PARTS: usize = 100;

/// What is to be uploaded, as the client announces it.
#[derive(Debug)]
pub struct NewUpload {
    /// Its name.
    pub name: String,
    /// Its media type, as the client declared it.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Whether the name gets the time in front.
    pub add_timestamp: bool,
}

/// A session that was opened, now or by an earlier request with the same idempotency key.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: OwnSession,
    /// From when on its first URLs are to be signed.
    pub at: Timestamp,
}

/// A session of the caller, who may store files of its kind.
#[derive(Debug)]
pub struct OwnSession(Session);

/// Where a part is to be put, by whom it may.
pub struct PartUrl {
    /// Its number, from 1.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// The URL.
    pub url: String,
    /// The headers that are signed into it.
    pub headers: Vec<(String, String)>,
}

impl NewUpload {
    /// What makes it the same upload when it is announced again.
    #[must_use]
    pub fn fingerprint(&self, of: Fingerprint) -> Fingerprint {
        of.field(Some(&self.name))
            .field(Some(&self.media_type))
            .field(Some(&self.size.to_string()))
            .field(self.sha256.as_deref())
            .field(Some(if self.add_timestamp { "stamped" } else { "as named" }))
    }
}

impl OwnSession {
    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0
    }

    pub(super) fn into_session(self) -> Session {
        self.0
    }
}

impl Files<'_> {
    /// Opens a session: the path is held, the multipart upload is begun.
    ///
    /// # Errors
    /// [`Problem`]; after an error there is no session, or none that anybody can complete.
    pub async fn open_session(
        &self,
        allowed: &Authorised<Upload, OwnPlace>,
        upload: &NewUpload,
        attempt: &mut Attempt<'_>,
    ) -> Result<Opened, Problem> {
        let place = allowed.target().place();
        let now = clock::whole_seconds(clock::now());
        let stamp = upload.add_timestamp.then(|| stamp(now));
        let name = |extension: Option<&str>| FileName::derive(&upload.name, extension, stamp.as_deref());
        attempt.path = Some(place.file(name(None)));
        attempt.details.file_size = Some(upload.size);
        attempt.details.sha256.clone_from(&upload.sha256);
        if upload.size == 0 {
            return Err(Problem::Content(ContentError::Empty));
        }
        let kind = content::expect(place.object_type, Some(&upload.name), Some(&upload.media_type))
            .map_err(Problem::Content)?;
        attempt.details.mime_type = Some(kind.media_type.clone());
        if kind.proof == Proof::Text && upload.size > MAX_TEXT_BYTES {
            return Err(Problem::TooLarge { max_bytes: MAX_TEXT_BYTES });
        }
        let name = name(Some(kind.extension()));
        let (principal, until) = (allowed.principal(), now + LIFE);
        let mut record = pending(principal, place, &upload.name, upload.size, &kind.media_type, now, until);
        record.sha256.clone_from(&upload.sha256);

        let mut session = Session::open(record, attempt.related.clone());
        let mut tried = 0;
        while tried < NAMES_TRIED {
            let path = place.file(candidate(&name, tried));
            session.record.file_path = path.as_str().to_owned();
            attempt.path = Some(path);
            self.deadline.begin_effect()?;
            // What the key remembers decides before any state does.
            let begin = self.app.spaces.begin_multipart(&session.record, self.deadline);
            let held = self.app.tables.held(&session.record, self.deadline);
            let (begun, remembered, held) = join3(begin, attempt.recall(), held).await;
            session.record.multipart_id = begun.as_ref().ok().cloned();
            match remembered {
                Ok(None) => {}
                Ok(Some(memory)) => {
                    self.forget(&session).await;
                    return self.opened_before(memory.seed, memory.at, allowed.principal()).await;
                }
                Err(problem) => {
                    self.forget(&session).await;
                    return Err(problem);
                }
            }
            let _ = begun?;
            let seed = Seed { upload_id: Some(session.record.upload_id.clone()), ..Seed::default() };
            let life = Duration::try_from(URL_LIFE).unwrap_or_default();
            let answered = attempt.key().map(|key| KeyWrite::Answered { key, seed: &seed, life });
            let opened = self.app.tables.open_session(&session, answered, now, self.deadline).await;
            let refused = match opened {
                Ok(()) => {
                    if let Some(held) = held {
                        measure_quota(held, upload.size);
                    }
                    return Ok(Opened { session: OwnSession(session), at: now });
                }
                // It may be open: then nobody hears of it, and maintenance ends it.
                Err(OpenError::Store(error)) => return Err(error.into()),
                Err(refused) => refused,
            };
            self.forget(&session).await;
            match refused {
                OpenError::Store(error) => return Err(error.into()),
                OpenError::TooManyUploads => return Err(Problem::TooManyUploads),
                OpenError::TooManyBytes => return Err(Problem::TooManyBytes),
                OpenError::KeyTaken => {
                    let memory = taken(attempt).await?;
                    return self.opened_before(memory.seed, memory.at, allowed.principal()).await;
                }
                OpenError::Taken(row) => may_take_another_name(&row, upload.add_timestamp, tried)?,
            }
            tried += 1;
        }
        Err(Problem::PathExists)
    }

    /// Ends a multipart upload of which no session knows. A failure is no harm: maintenance aborts what is stale.
    pub(super) async fn forget(&self, session: &Session) {
        if let Some(multipart_id) = &session.record.multipart_id {
            let path = &session.record.file_path;
            let _ = self.app.spaces.abort_multipart(path, multipart_id, self.deadline).await;
        }
    }

    async fn opened_before(&self, seed: Seed, at_ms: i64, caller: &Principal) -> Result<Opened, Problem> {
        let id = seed.upload_id.ok_or_else(|| Problem::Internal("a memory without its upload".into()))?;
        let session = self.app.tables.session(&id, self.deadline).await?;
        let session = own(session, caller).map_err(Problem::UploadNotFound)?;
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        Ok(Opened { session: OwnSession(session), at: clock::whole_seconds(at) })
    }

    /// Finds a session of the caller. Another user's, in whichever organisation, counts as absent. What the caller's
    /// idempotency key remembers is read beside it: the time of the first answer.
    ///
    /// # Errors
    /// [`Problem::UploadNotFound`], [`Problem::Forbidden`], those of the key, or what the table answers.
    pub async fn session(
        &self,
        caller: &Principal,
        id: &str,
        attempt: &mut Attempt<'_>,
    ) -> Result<(OwnSession, Option<Timestamp>), Problem> {
        let (session, remembered) = join(self.app.tables.session(id, self.deadline), attempt.recall()).await;
        let remembered = remembered?.and_then(|memory| Timestamp::from_millisecond(memory.at).ok());
        let session = own(session?, caller).map_err(|absence| {
            attempt.details.upload_id = Some(id.to_owned());
            Problem::UploadNotFound(absence)
        })?;
        let path = FilePath::parse(&session.record.file_path)?;
        let place = path.place().clone();
        attempt.path = Some(path);
        attempt.related = session.related();
        let _ = self.may_upload(caller, place)?;
        Ok((OwnSession(session), remembered))
    }

    /// Signs URLs for parts of an open session, each of which is there.
    ///
    /// # Errors
    /// [`Problem::UploadOver`]
    pub async fn sign_parts(
        &self,
        OwnSession(session): &OwnSession,
        numbers: impl IntoIterator<Item = u32>,
        at: Timestamp,
    ) -> Result<Vec<PartUrl>, Problem> {
        let (record, at) = (&session.record, clock::whole_seconds(at));
        let multipart_id = record.multipart_id.as_deref().unwrap_or_default();
        let life = session.expires_at().duration_since(at).min(URL_LIFE);
        let life = Duration::try_from(life).unwrap_or_default();
        let mut urls = Vec::new();
        for number in numbers {
            let Some(size) = session.parts().size(number) else { continue };
            let signed =
                self.app.spaces.sign_part(&record.file_path, multipart_id, number, size, at, life).await?;
            urls.push(PartUrl { number, size, url: signed.url, headers: signed.headers });
        }
        Ok(urls)
    }

    /// Remembers under the caller's key, if there is one, that URLs were signed for this time; or says for which time they
    /// were by another request with the same key.
    ///
    /// # Errors
    /// Those of the key, or what the table answers.
    pub async fn remember_signing(
        &self,
        at: Timestamp,
        attempt: &mut Attempt<'_>,
    ) -> Result<Timestamp, Problem> {
        let Some(key) = attempt.key() else { return Ok(at) };
        let life = Duration::try_from(URL_LIFE).unwrap_or_default();
        if self.app.tables.remember(key, &Seed::default(), life, at, self.deadline).await? {
            return Ok(at);
        }
        Ok(Timestamp::from_millisecond(taken(attempt).await?.at).unwrap_or(at))
    }

    /// The parts that are in the bucket and have the promised size.
    ///
    /// # Errors
    /// What the bucket answers.
    pub async fn arrived(&self, OwnSession(session): &OwnSession) -> Result<Vec<(u32, u64)>, Problem> {
        if !matches!(session.state_at(clock::now()), SessionState::Open | SessionState::Completing) {
            return Ok(Vec::new());
        }
        let record = &session.record;
        let multipart_id = record.multipart_id.as_deref().unwrap_or_default();
        let parts = self.app.spaces.parts(&record.file_path, multipart_id, self.deadline).await?;
        let parts = parts.unwrap_or_default().into_iter().map(|part| (part.number, part.size));
        Ok(parts.filter(|(number, size)| session.parts().size(*number) == Some(*size)).collect())
    }

    /// Gives an open session up for its user. One that was given up already is so still.
    ///
    /// # Errors
    /// [`Problem::UploadOver`] if it is not open any more.
    pub async fn abort(&self, own: OwnSession, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
        self.abort_session(own.into_session(), attempt).await
    }

    pub(super) async fn abort_session(
        &self,
        session: Session,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Problem> {
        match session.state_at(clock::now()) {
            SessionState::Open => {}
            SessionState::Aborted => return Ok(()),
            state => return Err(Problem::UploadOver(state)),
        }
        self.deadline.begin_effect()?;
        let record = &session.record;
        attempt.details.file_size = Some(record.file_size);
        attempt.details.mime_type = Some(record.mime_type.clone());
        attempt.details.reason = Some(SessionState::Aborted.name().into());
        let change = Change::Undo { record, ended: SessionState::Aborted };
        match attempt.finish(change, &Seed::default(), MEMORY).await {
            Ok(_) => {}
            Err(CommitError::KeyTaken) => return taken(attempt).await.map(drop),
            Err(CommitError::Conflict) => {
                attempt.details.reason = None;
                let session = self.app.tables.session(&record.upload_id, self.deadline).await?;
                return match session.map_or(SessionState::Expired, |session| session.state_at(clock::now())) {
                    SessionState::Aborted => Ok(()),
                    state => Err(Problem::UploadOver(state)),
                };
            }
            Err(error) => {
                attempt.details.reason = None;
                return Err(error.into());
            }
        }
        self.clear(record, false).await;
        Ok(())
    }
}

/// How full the bounds are, with this one: a session of so many bytes.
fn measure_quota(before: Held, bytes: u64) {
    let share = |held: i64, of: i64| u64::try_from(held.saturating_mul(100) / of).unwrap_or_default();
    let bytes = before.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    metrics::record(Metric::OpenUploadsUsed, share(before.uploads + 1, MAX_OPEN_PER_USER));
    metrics::record(Metric::ReservedBytesUsed, share(bytes, MAX_RESERVED_BYTES));
}

/// The one place where a session of somebody else counts as absent.
fn own(session: Option<Session>, caller: &Principal) -> Result<Session, Absence> {
    let session = session.ok_or(Absence::Missing)?;
    if session.export.is_none() && session.is_of(caller) { Ok(session) } else { Err(Absence::Foreign) }
}
