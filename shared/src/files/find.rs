//! From a path to a record that the caller may act on.

use futures_util::future::join;

use super::Files;
use crate::attempt::Attempt;
use crate::auth::{Authorised, Principal, Provisional, RecordRight};
use crate::clock;
use crate::idempotency::Memory;
use crate::path::FilePath;
use crate::problem::{Absence, Problem};
use crate::record::{Record, State};

/// Which records a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// Stored files.
    Live,
    /// And those that were deleted, softly or hard.
    AndDeleted,
}

/// A record, with the proof that the caller may do `R` to it.
#[derive(Debug)]
pub struct Found<R> {
    authorised: Authorised<R, FilePath>,
    record: Record,
    visible: Visible,
    /// What the caller's idempotency key remembers of this very request.
    pub(super) remembered: Option<Memory>,
}

impl<R> Found<R> {
    /// The record, as it was read.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn principal(&self) -> &Principal {
        self.authorised.principal()
    }

    pub(super) fn path(&self) -> &FilePath {
        self.authorised.target()
    }
}

impl Files<'_> {
    /// The first half of a decision: may this caller do `R` to files like this one at all? Nothing is read.
    ///
    /// # Errors
    /// [`Problem::Forbidden`]
    pub fn consider<R: RecordRight>(
        &self,
        principal: &Principal,
        path: FilePath,
    ) -> Result<Provisional<R, FilePath>, Problem> {
        let considered = self.app.policies.consider(principal, path);
        considered.map_err(|denial| Problem::Forbidden(denial.to_string()))
    }

    /// Reads the record and decides the second half. Missing, foreign and invisible are one answer, reached by one path
    /// that takes one read; what the caller's idempotency key remembers is read beside it, and decides before any state
    /// does.
    ///
    /// # Errors
    /// [`Problem::NotFound`], [`Problem::Forbidden`], those of the key, or what the table answers.
    pub async fn find<R: RecordRight>(
        &self,
        considered: Provisional<R, FilePath>,
        visible: Visible,
        attempt: &mut Attempt<'_>,
    ) -> Result<Found<R>, Problem> {
        let read = self.app.tables.record(considered.target(), self.deadline);
        let (record, remembered) = join(read, attempt.recall()).await;
        let (record, mut remembered) = (record?, remembered?);
        let seen = match own_and_visible(record.as_ref(), considered.principal(), visible) {
            // The two reads are not one: the first request may have finished between them.
            Err(absence) if absence == Absence::Invisible && remembered.is_none() => {
                remembered = attempt.recall().await?;
                if remembered.is_some() { Ok(()) } else { Err(absence) }
            }
            Err(Absence::Invisible) => Ok(()),
            seen => seen,
        };
        seen.map_err(Problem::NotFound)?;
        let record = record.ok_or(Problem::NotFound(Absence::Missing))?;
        let confirmed = considered.confirm(&self.app.policies, &record.owner);
        let authorised = confirmed.map_err(|denial| Problem::Forbidden(denial.to_string()))?;
        Ok(Found { authorised, record, visible, remembered })
    }

    /// Reads a record again that has changed.
    pub(super) async fn read_again<R>(&self, found: Found<R>) -> Result<Found<R>, Problem> {
        let Found { authorised, visible, .. } = found;
        let record = self.app.tables.record(authorised.target(), self.deadline).await?;
        own_and_visible(record.as_ref(), authorised.principal(), visible).map_err(Problem::NotFound)?;
        let record = record.ok_or(Problem::NotFound(Absence::Missing))?;
        Ok(Found { authorised, record, visible, remembered: None })
    }
}

/// The one place where a row of another organisation counts as absent.
fn own_and_visible(record: Option<&Record>, caller: &Principal, visible: Visible) -> Result<(), Absence> {
    let record = record.ok_or(Absence::Missing)?;
    if record.org_id != caller.org().as_str() {
        return Err(Absence::Foreign);
    }
    let shown = match record.state {
        // Its time is over, although maintenance has not come by yet.
        State::Active if record.expires_at.is_some_and(|end| end <= clock::now()) => false,
        State::Active => true,
        State::Pending => false,
        State::Deleted | State::Purging | State::Purged => {
            visible == Visible::AndDeleted && record.was_stored()
        }
    };
    if shown { Ok(()) } else { Err(Absence::Invisible) }
}
