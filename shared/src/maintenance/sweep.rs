//! Rows that are due: reservations whose time is over, removals that did not get to their end, quarantines that have, exports
//! of the log that lived their day.

use jiff::Timestamp;

use super::{Done, Kind, Maintenance, org_of};
use crate::attempt::Attempt;
use crate::audit::{Action, Details, Outcome, Related};
use crate::ids::UserId;
use crate::problem::Problem;
use crate::record::{Integrity, Record, State};
use crate::session::SessionState;
use crate::tables::{Change, SHARDS};

impl Maintenance<'_> {
    /// Looks at every row that is due. Files whose content has still to be checked are only listed.
    pub(super) async fn sweep(&mut self, unverified: &mut Vec<String>) -> Result<(), Problem> {
        for shard in 0..SHARDS {
            let mut after = None;
            loop {
                self.go_on()?;
                let page = self.app.tables.due(shard, self.now, after, self.deadline).await?;
                for key in page.keys {
                    self.go_on()?;
                    match self.app.tables.record_at(&key, self.deadline).await {
                        Ok(Some(record)) if is_unverified(&record) => unverified.push(key),
                        Ok(Some(record)) => {
                            let found = self.see_to(&record).await;
                            self.note(&key, found);
                        }
                        Ok(None) => {}
                        Err(error) => self.note(&key, Err(error.into())),
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn see_to(&mut self, record: &Record) -> Result<Option<Kind>, Problem> {
        let is_held = record.lease.is_some_and(|lease| lease > self.now.as_millisecond());
        let kind = match record.state {
            State::Pending if !is_held => Kind::ExpiredUpload,
            State::Purging if record.was_stored() => Kind::UnfinishedDelete,
            // While the lease runs a PUT may arrive late; of an upload session that is the end of its life, and what its URLs
            // may still bring goes with the multipart upload.
            State::Purging if !is_held || record.multipart_id.is_some() => Kind::UnfinishedUndo,
            State::Active | State::Deleted if record.ends_at().is_some_and(|end| end <= self.now) => {
                if record.expires_at.is_some() { Kind::ExportExpired } else { Kind::QuarantineOver }
            }
            // The index lags.
            State::Pending | State::Active | State::Deleted | State::Purging | State::Purged => {
                return Ok(None);
            }
        };
        if self.options.dry_run {
            return Ok(Some(kind));
        }
        match kind {
            Kind::ExpiredUpload => self.expire(record).await?,
            Kind::QuarantineOver | Kind::ExportExpired => {
                let change = Change::HardDelete { record, by: &UserId::system() };
                self.commit(change, Done::deleted(record, self.now)).await?;
                self.purge(record).await?;
            }
            Kind::UnfinishedDelete => self.purge(record).await?,
            _ => self.close(record).await?,
        }
        Ok(Some(kind))
    }

    /// Undoes a reservation whose time is over.
    async fn expire(&mut self, record: &Record) -> Result<(), Problem> {
        let session = match &record.multipart_id {
            Some(_) => self.app.tables.session(&record.upload_id, self.deadline).await?,
            None => None,
        };
        let done = Done {
            action: Action::UploadAborted,
            org: org_of(&record.org_id),
            key: &record.file_path,
            related: session.map(|session| session.related()).unwrap_or_default(),
            details: Details {
                file_size: Some(record.file_size),
                mime_type: Some(record.mime_type.clone()),
                reason: Some(SessionState::Expired.name().into()),
                ..Details::default()
            },
            outcome: Outcome::Success,
        };
        self.commit(Change::Undo { record, ended: SessionState::Expired }, done).await?;
        self.close(record).await
    }

    async fn close(&mut self, record: &Record) -> Result<(), Problem> {
        if record.multipart_id.is_some() {
            self.pace().await;
        }
        self.pace().await;
        self.files().close(record, false).await
    }

    async fn purge(&mut self, record: &Record) -> Result<(), Problem> {
        self.pace().await;
        let actor = self.actor(org_of(&record.org_id));
        let mut attempt = Attempt::new(&self.app.tables, &actor, self.deadline, Action::Purge);
        attempt.path = super::path_of(&record.file_path);
        attempt.details = Done::deleted(record, self.now).details;
        attempt.details.key = attempt.path.is_none().then(|| record.file_path.clone());
        let purged = self.files().purge(record, &mut attempt).await;
        // A failure is no entry: the next run tries again.
        attempt.settle(Ok(())).await?;
        purged
    }
}

impl<'r> Done<'r> {
    /// A hard delete, or its end.
    fn deleted(record: &'r Record, now: Timestamp) -> Self {
        // A user may delete an export before its time.
        let reason = match (record.expires_at, record.quarantined_at) {
            (Some(end), _) => (end <= now).then_some("export expired"),
            (None, quarantined) => quarantined.map(|_| "quarantine is over"),
        };
        Self {
            action: Action::Delete,
            org: org_of(&record.org_id),
            key: &record.file_path,
            related: Related::default(),
            details: Details {
                hard_delete: Some(true),
                reason: reason.map(str::to_owned),
                ..Details::default()
            },
            outcome: Outcome::Success,
        }
    }
}

pub(super) fn is_unverified(record: &Record) -> bool {
    matches!(record.state, State::Active | State::Deleted) && record.integrity == Integrity::Pending
}
