//! Deleting: softly, which hides a file, and hard, which removes its bytes.

use super::{Files, Found, LOOKS, taken};
use crate::attempt::Attempt;
use crate::audit::Action;
use crate::auth::{Delete, Purge};
use crate::idempotency::{MEMORY, Seed};
use crate::problem::{Absence, Problem};
use crate::record::{Record, State};
use crate::tables::{Change, CommitError};

impl Files<'_> {
    /// Hides a file. Its object stays in the bucket.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn soft_delete(&self, found: Found<Delete>, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
        if found.remembered.is_some() {
            return Ok(());
        }
        self.deadline.begin_effect()?;
        let change = Change::SoftDelete { record: found.record(), by: found.principal().user_id() };
        match attempt.finish(change, &Seed::default(), MEMORY).await {
            Err(CommitError::KeyTaken) => taken(attempt).await.map(drop),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// Removes a file for good, live or soft-deleted: fence, bucket, close. One that is being removed already is
    /// finished.
    ///
    /// # Errors
    /// [`Problem`]; after [`Problem::Unavailable`] the same call again goes on where this one stopped.
    pub async fn hard_delete(
        &self,
        mut found: Found<Purge>,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Problem> {
        for _ in 0..LOOKS {
            self.deadline.begin_effect()?;
            let record = found.record();
            match record.state {
                // Another request, or one of ours that did not get to its end, put it there.
                State::Purging => {
                    return match self.purge(record, attempt).await {
                        // It got to its end all the same; perhaps by the first request with this key.
                        Err(Problem::NotFound(_))
                            if attempt.is_replayed() || attempt.recall().await?.is_some() =>
                        {
                            Ok(())
                        }
                        Err(Problem::NotFound(absence)) => {
                            // For this request the file was gone before.
                            attempt.go_on(Action::Delete);
                            Err(Problem::NotFound(absence))
                        }
                        purged => purged,
                    };
                }
                _ if found.remembered.is_some() => return Ok(()),
                State::Active | State::Deleted => {}
                State::Pending | State::Purged => {
                    let remembered = attempt.recall().await?;
                    return remembered.map(drop).ok_or(Problem::NotFound(Absence::Invisible));
                }
            }
            // Behind the fence the object goes in any case: the answer is settled with it.
            let change = Change::HardDelete { record, by: found.principal().user_id() };
            match attempt.finish(change, &Seed::default(), MEMORY).await {
                Ok(_) => {
                    return match self.purge(record, attempt).await {
                        // Somebody else finished what this request began, and has the entry of it.
                        Err(Problem::NotFound(Absence::Changed)) => Ok(()),
                        purged => purged,
                    };
                }
                Err(CommitError::KeyTaken) => return taken(attempt).await.map(drop),
                Err(CommitError::Conflict) => found = self.read_again(found).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::Unavailable("the record keeps changing".into()))
    }

    /// Behind the fence: the object goes, then the row says so.
    pub(crate) async fn purge(&self, record: &Record, attempt: &mut Attempt<'_>) -> Result<(), Problem> {
        attempt.go_on(Action::Purge);
        self.app.spaces.delete(record, self.deadline).await?;
        match attempt.finish(Change::Purged { record }, &Seed::default(), MEMORY).await {
            Err(CommitError::KeyTaken) => taken(attempt).await.map(drop),
            purged => Ok(purged.map(drop)?),
        }
    }
}
