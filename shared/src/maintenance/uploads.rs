//! Multipart uploads that belong to nothing: parts cost as much as objects, and no listing shows them.

use super::{Done, GRACE, Kind, Maintenance, org_of_key};
use crate::audit::{Action, Details, Outcome, Related};
use crate::problem::Problem;
use crate::record::State;
use crate::spaces::ListedUpload;
use crate::tables::Change;

impl Maintenance<'_> {
    /// Aborts multipart uploads that no session will complete.
    pub(super) async fn end_stale_uploads(&mut self) -> Result<(), Problem> {
        let mut after = None;
        loop {
            self.go_on()?;
            self.pace().await;
            let page = self.app.spaces.multipart_uploads(after, self.deadline).await?;
            for upload in page.uploads {
                if upload.initiated < self.now - GRACE {
                    self.go_on()?;
                    let found = self.end_stale_upload(&upload).await;
                    self.note(&upload.key, found);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn end_stale_upload(&mut self, upload: &ListedUpload) -> Result<Option<Kind>, Problem> {
        let ListedUpload { key, id, .. } = upload;
        let record = self.app.tables.record_at(key, self.deadline).await?;
        let own = record.filter(|record| record.multipart_id.as_ref() == Some(id));
        if own.as_ref().is_some_and(|record| matches!(record.state, State::Pending | State::Purging)) {
            // Its session lives, or the sweep ends it.
            return Ok(None);
        }
        if self.options.dry_run {
            return Ok(Some(Kind::StaleUpload));
        }
        // One that had a session has its entry.
        if own.is_none() {
            let done = Done {
                action: Action::UploadAborted,
                org: org_of_key(key),
                key,
                related: Related::default(),
                details: Details { reason: Some("stale multipart upload".into()), ..Details::default() },
                outcome: Outcome::Success,
            };
            self.commit(Change::Nothing, done).await?;
        }
        self.pace().await;
        self.app.spaces.abort_multipart(key, id, self.deadline).await?;
        Ok(Some(Kind::StaleUpload))
    }
}
