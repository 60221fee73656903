//! Completing an upload session. Nothing is believed, and it may be cut anywhere: whoever calls again goes on.
//!
//! 1. claim: one completer at a time, by a lease;
//! 2. list the parts: all numbers, each of its promised size;
//! 3. put them together; from here on the part URLs are dead;
//! 4. look at the object: size, proof of type, hash;
//! 5. commit, or fence and delete.
//!
//! Whether step 3 happened is always decided by the object itself, which carries the session's id: stores differ in what they
//! say when it is asked for twice.

use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::{Files, OwnSession};
use crate::attempt::Attempt;
use crate::catalog::Kind;
use crate::clock;
use crate::content::{self, PartialProof, Step};
use crate::idempotency::{MEMORY, Seed};
use crate::path::FilePath;
use crate::problem::{Mismatch, Problem};
use crate::record::{Integrity, Record, State};
use crate::session::{Session, SessionState};
use crate::spaces::{Completion, Object, Part, ReadError, SpacesError};
use crate::tables::{Change, Claim, CommitError};
use crate::unique;

/// How long a completer is left alone: longer than any request lives.
const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// Largest file whose hash is checked while the client waits: at 20 MB/s about the three seconds that a request has for
/// it. Maintenance checks the others.
const HASHED_AT_ONCE_BYTES: u64 = 64 << 20;
/// Largest file that is held in memory, and so read once for its proof and its hash: what a form takes.
const READ_AT_ONCE_BYTES: u64 = 4 << 20;
/// Most part numbers that a refusal names.
const MAX_NAMED_PARTS: usize = 100;

/// Why a completion stopped.
pub(super) enum Stop {
    /// For a passing reason, before the parts were put together.
    Early(Problem),
    /// For a passing reason: the next one goes on.
    Again(Problem),
    /// Parts are to be put: the session is open again.
    Reopen(Problem),
    /// What arrived may not be stored.
    Refuse(Problem),
    /// The outcome of the commit is not known: nothing may be undone.
    Doubt(Problem),
    /// Somebody else ended the session.
    Ended,
}

impl Files<'_> {
    /// Turns an upload session into a file, and answers its record. One that is stored already, and still there, is answered
    /// again.
    ///
    /// # Errors
    /// [`Problem`]; after [`Problem::Unavailable`] the same call goes on, after [`Problem::PartsMissing`] parts are to be put;
    /// after any other refusal of the content the session is over and the object gone.
    pub async fn complete(&self, own: OwnSession, attempt: &mut Attempt<'_>) -> Result<Record, Problem> {
        let session = own.into_session();
        let now = clock::now();
        let id = &session.record.upload_id;
        let state = session.state_at(now);
        match state {
            SessionState::Open | SessionState::Completing => {}
            SessionState::Stored if attempt.is_replayed() => return Ok(session.record),
            SessionState::Stored => return self.still_stored(session.record).await,
            over => return Err(Problem::UploadOver(over)),
        }
        self.deadline.begin_effect()?;
        let (completer, until) = (unique::ulid(now).to_string(), (now + LEASE).as_millisecond());
        let claim = self.app.tables.claim_session(id, &completer, until, now, self.deadline).await?;
        let mut session = match claim {
            Claim::Mine(session) => *session,
            Claim::NotMine(None) => return Err(Problem::UploadOver(SessionState::Expired)),
            Claim::NotMine(Some(session)) => return self.ended(*session).await,
        };
        let stop = match self.complete_claimed(&mut session, attempt).await {
            Ok(record) => return Ok(record),
            Err(stop) => stop,
        };
        let (problem, to) = match stop {
            Stop::Doubt(problem) => return Err(problem),
            Stop::Ended => {
                let session = self.app.tables.session(&session.record.upload_id, self.deadline).await?;
                return self.ended(session.ok_or(Problem::UploadOver(SessionState::Expired))?).await;
            }
            Stop::Refuse(problem) => match self.undo(&session.record, problem, false, attempt).await {
                // It was not undone: the next one does it.
                problem @ Problem::Unavailable(_) => (problem, SessionState::Completing),
                problem => return Err(problem),
            },
            // As it was: one that nobody began to put together may still be aborted.
            Stop::Early(problem) => (problem, state),
            Stop::Again(problem) => (problem, SessionState::Completing),
            Stop::Reopen(problem) => (problem, SessionState::Open),
        };
        if let Err(error) = self.app.tables.let_go(&session, to, self.deadline).await {
            // Then the lease has to run out.
            tracing::warn!(upload_id = session.record.upload_id, cause = %error, "a session was not let go");
        }
        Err(problem)
    }

    /// What came of a session that somebody else has, or had.
    async fn ended(&self, session: Session) -> Result<Record, Problem> {
        match session.state_at(clock::now()) {
            SessionState::Stored => self.still_stored(session.record).await,
            state => Err(Problem::UploadOver(state)),
        }
    }

    /// The file of a session, unless it was deleted since.
    async fn still_stored(&self, stored: Record) -> Result<Record, Problem> {
        let path = FilePath::parse(&stored.file_path)?;
        let record = self.app.tables.record(&path, self.deadline).await?;
        let lives = record
            .is_some_and(|record| record.state == State::Active && record.upload_id == stored.upload_id);
        if lives { Ok(stored) } else { Err(Problem::UploadOver(SessionState::Stored)) }
    }

    async fn complete_claimed(
        &self,
        session: &mut Session,
        attempt: &mut Attempt<'_>,
    ) -> Result<Record, Stop> {
        let object = self.put_together(session).await?;
        if object.size != session.record.file_size {
            return Err(Stop::Refuse(Problem::Mismatch(Mismatch::Size)));
        }
        let sha256 = self.examine(session, &object).await?;
        let found = match (&session.record.sha256, sha256) {
            (Some(announced), Some(found)) if *announced != found => {
                return Err(Stop::Refuse(Problem::Mismatch(Mismatch::Sha256)));
            }
            (_, found) => found,
        };
        let integrity = if found.is_some() { Integrity::Verified } else { Integrity::Pending };
        let record =
            Record { sha256: found.or(session.record.sha256.clone()), integrity, ..session.record.clone() };
        attempt.details.file_size = Some(record.file_size);
        attempt.details.mime_type = Some(record.mime_type.clone());
        attempt.details.sha256.clone_from(&record.sha256);
        self.deadline.begin_effect().map_err(|late| Stop::Again(late.into()))?;
        let seed = Seed { upload_id: Some(record.upload_id.clone()), ..Seed::default() };
        let change = Change::Store { record: &record, etag: &object.etag };
        match attempt.finish(change, &seed, MEMORY).await {
            Ok(_) => Ok(record),
            Err(error @ CommitError::InDoubt(_)) => Err(Stop::Doubt(error.into())),
            Err(CommitError::Conflict) => Err(Stop::Ended),
            Err(error) => Err(Stop::Again(error.into())),
        }
    }

    /// Sees to it that the parts are an object.
    async fn put_together(&self, session: &Session) -> Result<Object, Stop> {
        let record = &session.record;
        let (key, id) = (&record.file_path, record.multipart_id.as_deref().unwrap_or_default());
        let parts = self.app.spaces.parts(key, id, self.deadline).await;
        let parts = parts.map_err(|error| Stop::Early(error.into()))?;
        if let Some(parts) = &parts {
            check_parts(session, parts).map_err(Stop::Reopen)?;
            self.deadline.begin_effect().map_err(|late| Stop::Early(late.into()))?;
        }
        self.assemble(record, parts.as_deref()).await
    }

    /// Puts these parts together, if there are any yet to be, and looks at what is there: the object of this upload, or none.
    pub(super) async fn assemble(&self, record: &Record, parts: Option<&[Part]>) -> Result<Object, Stop> {
        let (key, id) = (&record.file_path, record.multipart_id.as_deref().unwrap_or_default());
        let again = |error: SpacesError| Stop::Again(error.into());
        let mut in_doubt = None;
        if let Some(parts) = parts {
            match self.app.spaces.complete_multipart(key, id, parts, self.deadline).await {
                Ok(Completion::Done { .. } | Completion::NoSuchUpload) => {}
                // A part was put again since they were listed.
                Ok(Completion::PartsRefused { .. }) => {
                    return Err(Stop::Reopen(Problem::PartsMissing(Vec::new())));
                }
                Err(error) => in_doubt = Some(error),
            }
        }
        let object = self.app.spaces.head(key, self.deadline).await.map_err(again)?;
        match (object, in_doubt) {
            (Some(object), _) if object.upload_id.as_ref() == Some(&record.upload_id) => Ok(object),
            (_, Some(error)) => Err(again(error)),
            (_, None) => Err(Stop::Refuse(Problem::Mismatch(Mismatch::Object))),
        }
    }

    /// Proves what the object is. Its SHA-256 is answered if it could be computed in time.
    async fn examine(&self, session: &mut Session, object: &Object) -> Result<Option<String>, Stop> {
        let record = &session.record;
        let kind = kind_of(record).map_err(Stop::Refuse)?;
        let mut proof = PartialProof::new(kind, object.size).resume(session.checked);
        let (mut whole, mut hash) = (Vec::new(), None);
        if object.size <= READ_AT_ONCE_BYTES {
            let read = self.hashed(record, object, |bytes| whole.extend_from_slice(bytes)).await;
            hash = Some(read.map_err(unread)?);
        }
        loop {
            match proof.step().map_err(|error| Stop::Refuse(Problem::Content(error)))? {
                Step::Proved => break,
                Step::Fetch(_) if !whole.is_empty() => proof.insert(0, &whole),
                Step::Stream { .. } if !whole.is_empty() => proof.stream(&whole),
                Step::Fetch(ranges) => {
                    let until = self.deadline.before_settling();
                    let read =
                        self.app.spaces.read_ranges(&record.file_path, &object.etag, &ranges, until).await;
                    session.checked = proof.checked();
                    for (offset, bytes) in read.map_err(unread)? {
                        proof.insert(offset, &bytes);
                    }
                }
                Step::Stream { .. } => {
                    let read = self.hashed(record, object, |bytes| proof.stream(bytes)).await;
                    hash = Some(read.map_err(unread)?);
                }
            }
        }
        if hash.is_some() || object.size > HASHED_AT_ONCE_BYTES {
            return Ok(hash);
        }
        match self.hashed(record, object, |_| ()).await {
            Ok(hash) => Ok(Some(hash)),
            // Maintenance has more time.
            Err(ReadError::OutOfTime) => Ok(None),
            Err(error) => Err(unread(error)),
        }
    }

    /// Reads the whole object, and answers its SHA-256.
    async fn hashed(
        &self,
        record: &Record,
        object: &Object,
        mut each: impl FnMut(&[u8]) + Send,
    ) -> Result<String, ReadError> {
        let mut hash = Sha256::new();
        let read = |bytes: &[u8]| {
            hash.update(bytes);
            each(bytes);
        };
        let until = self.deadline.before_settling();
        self.app.spaces.read_all(&record.file_path, &object.etag, until, read).await?;
        Ok(HEXLOWER.encode(&hash.finalize()))
    }
}

/// Every part is there, and has its promised size.
fn check_parts(session: &Session, parts: &[Part]) -> Result<(), Problem> {
    let promised = session.parts();
    let arrived = |number: u32| {
        let part = parts.binary_search_by_key(&number, |part| part.number).ok().and_then(|at| parts.get(at));
        part.is_some_and(|part| promised.size(number) == Some(part.size))
    };
    let missing: Vec<u32> =
        (1..=promised.count()).filter(|number| !arrived(*number)).take(MAX_NAMED_PARTS).collect();
    let none_beyond = parts.iter().all(|part| promised.size(part.number).is_some());
    if missing.is_empty() && none_beyond { Ok(()) } else { Err(Problem::PartsMissing(missing)) }
}

/// What the file was announced as, and must be.
fn kind_of(record: &Record) -> Result<&'static Kind, Problem> {
    let path = FilePath::parse(&record.file_path)?;
    let object_type = path.place().object_type;
    content::expect(object_type, Some(&record.original_filename), Some(&record.mime_type))
        .map_err(Problem::Content)
}

fn unread(error: ReadError) -> Stop {
    Stop::Again(match error {
        ReadError::OutOfTime => Problem::Unavailable("no time left to examine the file".into()),
        // Completed, it cannot change; whoever asks again sees what it is now.
        ReadError::Changed => Problem::Unavailable("the object changed while it was examined".into()),
        ReadError::Spaces(error) => error.into(),
    })
}
