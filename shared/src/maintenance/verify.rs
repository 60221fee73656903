//! Files that came straight into the bucket and were too large to be hashed while the client waited.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::sweep::is_unverified;
use super::{Done, Kind, Maintenance, org_of};
use crate::audit::{Action, Details, Outcome, Related};
use crate::clock::Deadline;
use crate::problem::{Mismatch, Problem};
use crate::record::{Integrity, Record};
use crate::spaces::ReadError;
use crate::tables::Change;

/// What an entry says of an object that is gone.
const MISSING: &str = "object_missing: The object is not in the bucket";
/// What an entry says of an object that somebody put in the place of the recorded one.
const REPLACED: &str = "object_replaced: The object is not the one that was stored";

impl Maintenance<'_> {
    /// Checks files, in half of the time that is left: the comparison is not to wait for ever.
    pub(super) async fn verify(&mut self, keys: Vec<String>) -> Result<(), Problem> {
        let until = Deadline::after(self.deadline.left() / 2);
        for key in keys {
            until.begin_effect()?;
            let found = self.verify_one(&key, until).await;
            self.note(&key, found);
        }
        Ok(())
    }

    async fn verify_one(&mut self, key: &str, until: Deadline) -> Result<Option<Kind>, Problem> {
        let record = self.app.tables.record_at(key, self.deadline).await?;
        let Some(record) = record.filter(is_unverified) else { return Ok(None) };
        if self.options.dry_run {
            return Ok(Some(Kind::Unverified));
        }
        self.pace().await;
        let mut hash = Sha256::new();
        let etag = record.etag.as_deref().unwrap_or_default();
        match self.app.spaces.read_all(key, etag, until, |bytes| hash.update(bytes)).await {
            Ok(()) => {}
            Err(ReadError::OutOfTime) => {
                self.report.stopped(&Problem::Unavailable("not enough time to read a file".into()));
                return Ok(None);
            }
            Err(ReadError::Changed) => {
                self.pace().await;
                let is_there = self.app.spaces.head(key, self.deadline).await?.is_some();
                let (kind, why) =
                    if is_there { (Kind::Damaged, REPLACED) } else { (Kind::ObjectMissing, MISSING) };
                self.fail(&record, None, why).await?;
                return Ok(Some(kind));
            }
            Err(ReadError::Spaces(error)) => return Err(error.into()),
        }
        let sha256 = HEXLOWER.encode(&hash.finalize());
        if record.sha256.as_ref().is_some_and(|declared| *declared != sha256) {
            let why = Problem::Mismatch(Mismatch::Sha256).entry_text();
            self.fail(&record, Some(sha256), &why).await?;
            return Ok(Some(Kind::Damaged));
        }
        let change =
            Change::Checked { record: &record, integrity: Integrity::Verified, sha256: Some(&sha256) };
        self.commit(change, Done::verified(&record, Some(sha256.clone()), Outcome::Success)).await?;
        Ok(Some(Kind::Verified))
    }

    /// Marks a record whose object is gone, or another.
    pub(super) async fn mark_damaged(&self, record: &Record, is_there: bool) -> Result<(), Problem> {
        self.fail(record, None, if is_there { REPLACED } else { MISSING }).await
    }

    async fn fail(&self, record: &Record, found: Option<String>, why: &str) -> Result<(), Problem> {
        let change = Change::Checked { record, integrity: Integrity::Failed, sha256: None };
        self.commit(change, Done::verified(record, found, Outcome::failure(why))).await?;
        let (run_id, upload_id) = (&self.report.run_id, &record.upload_id);
        tracing::error!(run_id, upload_id, why, "a stored file is damaged or gone");
        Ok(())
    }
}

impl<'r> Done<'r> {
    /// A file was held against its record; with the hash that was found.
    fn verified(record: &'r Record, sha256: Option<String>, outcome: Outcome) -> Self {
        Self {
            action: Action::Verify,
            org: org_of(&record.org_id),
            key: &record.file_path,
            related: Related::default(),
            details: Details { file_size: Some(record.file_size), sha256, ..Details::default() },
            outcome,
        }
    }
}
