//! Storing a new file: reserve the path, PUT the object, commit. Two calls to the tables besides the PUT.

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::{Files, taken};
use crate::attempt::Attempt;
use crate::auth::{Authorised, Principal, Upload};
use crate::clock;
use crate::content;
use crate::file_name::FileName;
use crate::idempotency::{Fingerprint, MEMORY, Seed};
use crate::path::{FilePath, OwnPlace, Place};
use crate::problem::{Absence, Problem};
use crate::record::{Integrity, Record, State};
use crate::session::SessionState;
use crate::spaces::{NotStored, Stored};
use crate::tables::{Change, CommitError, KeyWrite, ReserveError};
use crate::unique;

/// How long a reservation holds: longer than any request lives, so that one that still runs is never undone by others.
const LEASE: SignedDuration = SignedDuration::from_secs(60);

/// Names that are tried for one file: as derived, with `_2`, and twice with random characters.
pub(super) const NAMES_TRIED: usize = 4;

/// Random characters behind a name that is taken twice (DESIGN section 5, "Paths").
const SUFFIX_CHARACTERS: usize = 6;

/// What is to be stored.
#[derive(Debug)]
pub struct NewFile {
    name: Option<String>,
    media_type: Option<String>,
    bytes: Vec<u8>,
    sha256: String,
    add_timestamp: bool,
}

impl NewFile {
    /// A file of this name and declared media type, as the client gave them; whether its name gets the time in front.
    #[must_use]
    pub fn new(
        name: Option<String>,
        media_type: Option<String>,
        bytes: Vec<u8>,
        add_timestamp: bool,
    ) -> Self {
        let sha256 = HEXLOWER.encode(&Sha256::digest(&bytes));
        Self { name, media_type, bytes, sha256, add_timestamp }
    }

    /// What makes it the same file when it is sent again.
    #[must_use]
    pub fn fingerprint(&self, of: Fingerprint) -> Fingerprint {
        of.field(self.name.as_deref())
            .field(self.media_type.as_deref())
            .field(Some(&self.sha256))
            .field(Some(if self.add_timestamp { "stamped" } else { "as named" }))
    }
}

/// How a reservation came out.
#[derive(Debug)]
pub enum Reservation {
    /// The path is held.
    Held(Reserved),
    /// The request was done before, under the same idempotency key: this is the file.
    Replayed(Record),
}

/// A path that is held for one upload of somebody who may store there. Only [`Files::reserve`] makes one.
#[derive(Debug, Clone)]
pub struct Reserved(Record);

impl Files<'_> {
    /// May this caller store a file here? Nothing is read.
    ///
    /// # Errors
    /// [`Problem::ForeignOrganisation`], [`Problem::Forbidden`]
    pub fn may_upload(
        &self,
        principal: &Principal,
        place: Place,
    ) -> Result<Authorised<Upload, OwnPlace>, Problem> {
        let place = OwnPlace::of(place, principal.org()).ok_or(Problem::ForeignOrganisation)?;
        let authorised = self.app.policies.authorise_upload(principal, place);
        authorised.map_err(|denial| Problem::Forbidden(denial.to_string()))
    }

    /// The same for a request that names no path: if it is refused, its entry says which place it named, since none is
    /// derived for somebody who may not store anything there.
    ///
    /// # Errors
    /// [`Problem::ForeignOrganisation`], [`Problem::Forbidden`]
    pub fn may_upload_to(
        &self,
        principal: &Principal,
        place: &Place,
        attempt: &mut Attempt<'_>,
    ) -> Result<Authorised<Upload, OwnPlace>, Problem> {
        self.may_upload(principal, place.clone()).inspect_err(|refused| {
            place.name_in(&mut attempt.details);
            attempt.details.org_id =
                (*refused == Problem::ForeignOrganisation).then(|| place.org.as_str().to_owned());
        })
    }

    /// Stores a file and answers its record.
    ///
    /// # Errors
    /// [`Problem`]; after an error there is no file, and what was begun is undone or will be by maintenance.
    pub async fn upload(
        &self,
        allowed: &Authorised<Upload, OwnPlace>,
        file: NewFile,
        attempt: &mut Attempt<'_>,
    ) -> Result<Record, Problem> {
        let reserved = match self.reserve(allowed, &file, attempt).await? {
            Reservation::Held(reserved) => reserved,
            Reservation::Replayed(record) => return Ok(record),
        };
        let stored = self.put(&reserved, file.bytes, attempt).await?;
        self.commit_upload(reserved, stored, attempt).await
    }

    /// Proves that a file may be stored, and reserves a path for it.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn reserve(
        &self,
        allowed: &Authorised<Upload, OwnPlace>,
        file: &NewFile,
        attempt: &mut Attempt<'_>,
    ) -> Result<Reservation, Problem> {
        let place = allowed.target().place();
        let NewFile { name, media_type, bytes, sha256, add_timestamp } = file;
        let original = name.as_deref().unwrap_or_default();
        let now = clock::whole_seconds(clock::now());
        let stamp = add_timestamp.then(|| stamp(now));
        let name = |extension: Option<&str>| FileName::derive(original, extension, stamp.as_deref());

        let file_size = bytes.len() as u64;
        attempt.path = Some(place.file(name(None)));
        attempt.details.file_size = Some(file_size);
        attempt.details.sha256 = Some(sha256.clone());
        let kind = content::prove(place.object_type, Some(original), media_type.as_deref(), bytes)
            .map_err(Problem::Content)?;
        let name = name(Some(kind.extension()));

        let reserved = Record {
            sha256: Some(sha256.clone()),
            integrity: Integrity::Verified,
            ..pending(allowed.principal(), place, original, file_size, &kind.media_type, now, now + LEASE)
        };
        attempt.details.mime_type = Some(reserved.mime_type.clone());

        self.reserve_name(reserved, place, name, *add_timestamp, attempt).await
    }

    /// Reserves the first name that is free. Nothing is ever overwritten and no path is used twice.
    async fn reserve_name(
        &self,
        mut record: Record,
        place: &Place,
        name: FileName,
        add_timestamp: bool,
        attempt: &mut Attempt<'_>,
    ) -> Result<Reservation, Problem> {
        let key = attempt.key().cloned();
        let until = record.lease.unwrap_or_default();
        let claim = key.as_ref().map(|key| KeyWrite::Claim { key, until });
        for tried in 0..NAMES_TRIED {
            let path = place.file(candidate(&name, tried));
            record.file_path = path.as_str().to_owned();
            attempt.path = Some(path);
            self.deadline.begin_effect()?;
            match self.app.tables.reserve(&record, claim, self.deadline).await {
                Ok(()) => {
                    attempt.claimed();
                    return Ok(Reservation::Held(Reserved(record)));
                }
                Err(ReserveError::Store(error)) => {
                    // It may be ours all the same.
                    attempt.claimed();
                    return Err(error.into());
                }
                Err(ReserveError::KeyTaken) => return self.stored_before(attempt).await,
                Err(ReserveError::Taken(row)) => may_take_another_name(&row, add_timestamp, tried)?,
            }
        }
        Err(Problem::PathExists)
    }

    /// The file that an earlier request with the same idempotency key stored.
    async fn stored_before(&self, attempt: &mut Attempt<'_>) -> Result<Reservation, Problem> {
        let memory = taken(attempt).await?;
        let path = memory.seed.file_path.as_deref().and_then(|path| FilePath::parse(path).ok());
        let path = path.ok_or_else(|| Problem::Internal("a memory without its path".into()))?;
        let record = self.app.tables.record(&path, self.deadline).await?;
        record.map(Reservation::Replayed).ok_or(Problem::NotFound(Absence::Missing))
    }

    /// Stores the bytes of a reservation, or undoes it.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn put(
        &self,
        reserved: &Reserved,
        bytes: Vec<u8>,
        attempt: &mut Attempt<'_>,
    ) -> Result<Stored, Problem> {
        let Reserved(record) = reserved;
        if let Err(late) = self.deadline.begin_effect() {
            return Err(self.undo(record, late.into(), false, attempt).await);
        }
        match self.app.spaces.put(record, bytes, self.deadline).await {
            Ok(stored) => Ok(stored),
            Err(NotStored { error, stray }) => Err(self.undo(record, error.into(), stray, attempt).await),
        }
    }

    /// Makes a reservation whose object is in the bucket a file. Of any number of commits of one reservation one wins.
    ///
    /// # Errors
    /// [`Problem::Unavailable`]
    pub async fn commit_upload(
        &self,
        reserved: Reserved,
        stored: Stored,
        attempt: &mut Attempt<'_>,
    ) -> Result<Record, Problem> {
        let Reserved(record) = reserved;
        let Stored { etag, stray } = stored;
        let seed = Seed { file_path: Some(record.file_path.clone()), ..Seed::default() };
        let change = Change::Store { record: &record, etag: &etag };
        let error = match attempt.finish(change, &seed, MEMORY).await {
            Ok(committed) => {
                let (state, version, updated_at) = (State::Active, 1, clock::whole_seconds(committed.at()));
                return Ok(Record { state, version, updated_at, etag: Some(etag), lease: None, ..record });
            }
            Err(error) => error,
        };
        let problem = match error {
            // It may be a file: nothing may be undone.
            CommitError::InDoubt(_) => return Err(error.into()),
            CommitError::Conflict | CommitError::KeyTaken => {
                Problem::Unavailable("the reservation does not hold any more".into())
            }
            CommitError::Store(_) => error.into(),
        };
        Err(self.undo(&record, problem, stray, attempt).await)
    }

    /// Gives a reservation up: fence, bucket, close. What does not succeed is maintenance's, and so is a stray PUT, which
    /// may put the object back: the row stays due, and after the lease the object is removed again.
    pub(super) async fn undo(
        &self,
        record: &Record,
        problem: Problem,
        stray: bool,
        attempt: &mut Attempt<'_>,
    ) -> Problem {
        let undone = attempt.fail(Change::Undo { record, ended: SessionState::Failed }, &problem).await;
        match undone {
            Ok(_) => self.clear(record, stray).await,
            // A refusal that is not in the log was none.
            Err(error) if problem.status() < 500 => return Problem::Unavailable(error.to_string()),
            Err(_) => {}
        }
        problem
    }

    /// Behind the fence: the object goes, and the row of what never was a file is closed. A failure is no harm: the row
    /// stays due, and maintenance closes it.
    pub(super) async fn clear(&self, record: &Record, stray: bool) {
        if let Err(problem) = self.close(record, stray).await {
            let cause = problem.reason();
            tracing::warn!(upload_id = record.upload_id, cause, "a reservation is left to maintenance");
        }
    }

    /// The same for whoever wants to know how it came out. A stray PUT may still arrive: then the row is not closed.
    pub(crate) async fn close(&self, record: &Record, stray: bool) -> Result<(), Problem> {
        // First of all the parts, so that nothing can put them together any more.
        if let Some(multipart_id) = &record.multipart_id {
            self.app.spaces.abort_multipart(&record.file_path, multipart_id, self.deadline).await?;
        }
        self.app.spaces.delete(record, self.deadline).await?;
        if !stray {
            self.app.tables.retire(record, self.deadline).await?;
        }
        Ok(())
    }
}

/// A reservation without a path, of a file whose content nobody has seen.
pub(super) fn pending(
    principal: &Principal,
    place: &Place,
    original: &str,
    file_size: u64,
    media_type: &str,
    now: Timestamp,
    until: Timestamp,
) -> Record {
    Record {
        file_path: String::new(),
        state: State::Pending,
        version: 0,
        upload_id: unique::ulid(now).to_string(),
        lease: Some(until.as_millisecond()),
        org_id: place.org.as_str().to_owned(),
        system: place.object_type.system.to_owned(),
        object_type: place.object_type.name.to_owned(),
        object_id: place.object_id.as_str().to_owned(),
        original_filename: original.to_owned(),
        file_size,
        mime_type: media_type.to_owned(),
        sha256: None,
        integrity: Integrity::Pending,
        multipart_id: None,
        etag: None,
        uploaded_by: principal.user_id().clone(),
        owner: principal.sub().to_owned(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
        deleted_by: None,
        quarantined_at: None,
        expires_at: None,
    }
}

/// The name to be tried after so many that were taken.
pub(super) fn candidate(name: &FileName, tried: usize) -> FileName {
    match tried {
        0 => name.clone(),
        1 => name.with_suffix("_2"),
        _ => name.with_suffix(&format!("_{}", unique::random_characters(SUFFIX_CHARACTERS))),
    }
}

/// Whether a file whose name is taken may have another one. Without a time in front the caller means this very name.
pub(super) fn may_take_another_name(row: &Record, add_timestamp: bool, tried: usize) -> Result<(), Problem> {
    let now = clock::now();
    if add_timestamp || tried > 0 {
        Ok(())
    } else if row.was_stored() {
        Err(Problem::PathExists)
    } else if row.is_held(now) {
        Err(Problem::UploadInProgress { retry_after: seconds_left(row, now) })
    } else {
        Ok(())
    }
}

/// The time in front of a name: `YYYYMMDD_HHMMSS`, in UTC.
pub(super) fn stamp(now: Timestamp) -> String {
    let at = now.to_zoned(TimeZone::UTC).datetime();
    format!(
        "{:04}{:02}{:02}_{:02}{:02}{:02}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

fn seconds_left(row: &Record, now: Timestamp) -> u64 {
    let ms = row.lease.unwrap_or_default().saturating_sub(now.as_millisecond());
    u64::try_from(ms).unwrap_or_default().div_ceil(1_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_in_utc_and_sorts() {
        assert_eq!(stamp("2026-01-26T15:30:45.9Z".parse().unwrap()), "20260126_153045");
    }
}
