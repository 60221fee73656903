//! Publication: one sealer at a time puts a log's tiles and checkpoint.

use std::time::Duration;

use audit_format::archive::TILE_WIDTH;
use jiff::SignedDuration;
use tokio::time::sleep;

use super::{SealError, Sealer};
use crate::clock::{self, Deadline};
use crate::ids::OrgId;
use crate::sealed::{Checkpoint, Publication, PublishError};
use crate::spaces::SpacesError;
use crate::tables::Lease;
use crate::unique;

/// How long nobody else publishes a log, by the clocks of all sealers, which are within 10 s of each other.
const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// How long its holder makes use of it: the PUT of the checkpoint has ended by then.
const LEASE_USED: Duration = Duration::from_secs(15);
/// How long somebody else's lease is waited for: longer than it can last.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often somebody else's lease is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Leaves of one publication: so many take a fraction of a lease.
const STEP: u64 = 16 * TILE_WIDTH;

impl Sealer<'_> {
    /// Publishes a log up to `size` at least, whoever does it.
    pub(super) async fn publish(&self, org: &OrgId, size: u64) -> Result<(), SealError> {
        self.publish_until(org, |published| published >= size).await.map(drop)
    }

    /// Publishes a log and answers its checkpoint, also if nothing is new under it. None: there is no such log.
    pub(super) async fn checkpoint(&self, org: &OrgId) -> Result<Option<Checkpoint>, SealError> {
        self.publish_until(org, |_| false).await
    }

    async fn publish_until(
        &self,
        org: &OrgId,
        enough: impl Fn(u64) -> bool,
    ) -> Result<Option<Checkpoint>, SealError> {
        let holder = unique::ulid(clock::now()).to_string();
        let patience = Deadline::after(PATIENCE.min(self.deadline.left()));
        loop {
            let used = Deadline::after(LEASE_USED.min(self.deadline.left()));
            let now = clock::now();
            let until = now.as_millisecond() + i64::try_from(LEASE.as_millis()).unwrap_or_default();
            let lease = Lease { holder: &holder, until };
            let Some(head) = self.tables.lease(org, lease, now, self.deadline).await? else {
                match self.tables.head(org, self.deadline).await? {
                    None => return Ok(None),
                    Some(head) if enough(head.published) => return Ok(None),
                    Some(_) if patience.left().is_zero() => return Err(SealError::Held),
                    Some(_) => sleep(POLL).await,
                }
                continue;
            };
            if enough(head.published) {
                self.tables.release(org, &holder, self.deadline).await?;
                return Ok(None);
            }
            let first = Publication::first(head.published);
            let to = head.size.min(first + STEP);
            let step = self.step(org, head.published, to, used).await;
            if let Err(error) = &step
                && !may_still_arrive(error)
            {
                self.tables.release(org, &holder, self.deadline).await?;
            }
            let checkpoint = step?;
            let done = to == head.size;
            let published = (checkpoint.size, checkpoint.root);
            if !self.tables.published(org, &holder, published, done, self.deadline).await? {
                return Err(SealError::Held);
            }
            if done {
                return Ok(Some(checkpoint));
            }
        }
    }

    /// Publishes the leaves up to `to`.
    async fn step(
        &self,
        org: &OrgId,
        published: u64,
        to: u64,
        deadline: Deadline,
    ) -> Result<Checkpoint, SealError> {
        let leaves = self.tables.leaves(org, Publication::first(published), to, deadline).await?;
        let leaves = leaves.ok_or(SealError::Gap)?;
        let publication = Publication { org: org.as_str(), published, leaves: &leaves, keys: &self.keys };
        Ok(self.log.publish(self.signer, publication, self.now, deadline).await?)
    }
}

/// Whether a PUT without an answer may still put a checkpoint: then the lease is left to run out.
fn may_still_arrive(error: &SealError) -> bool {
    matches!(error, SealError::Publish(PublishError::Archive(SpacesError::Unanswered(_))))
}
