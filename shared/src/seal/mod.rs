//! The sealer: gives every entry its place in its organisation's Merkle log, and publishes the log.
//!
//! Sequence, then publish. One transaction fixes the positions of leaves; bundles, tiles and the checkpoint follow from the
//! positions alone. So whatever is delivered twice, out of order or again after a crash is this one mechanism: what has a
//! position keeps it, and what is not published yet is published next time.
//!
//! Positions need no lease: each transaction has the head's size for its condition. Publication has one, log by log, so that
//! no earlier checkpoint is put over a later one.

mod plan;
mod publish;
mod reconcile;
mod sequence;
mod stream;
mod tick;

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream as futures};
use jiff::Timestamp;
use thiserror::Error;

use crate::app::{App, SealedLog};
use crate::audit::Leaf;
use crate::clock::{self, Deadline};
use crate::ids::OrgId;
use crate::kms::KmsError;
use crate::metrics::{self, Metric};
use crate::sealed::{PublicKey, PublishError, Signer};
use crate::spaces::SpacesError;
use crate::tables::{StoreError, Tables};

pub(crate) use plan::NewLeaf;
pub use stream::RowChange;

/// Logs that are sealed at a time.
const SIDE_BY_SIDE: usize = 8;

/// Why something is not sealed, or not published, yet. The text is for the operator's log.
#[derive(Debug, Error)]
pub enum SealError {
    /// `AUDIT_ORIGIN` is not set, or no signing key is.
    #[error("sealing is not configured: AUDIT_ORIGIN and a signing key are needed")]
    NotConfigured,
    /// The tables failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive or the key failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] SpacesError),
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KmsError),
    /// Rows of the sealer's table are gone: a position is missing, or one is taken behind the head.
    #[error("the positions in the table have a gap, or the head is behind them")]
    Gap,
    /// Another sealer publishes the log, and does not come to an end.
    #[error("another sealer holds the log's lease")]
    Held,
}

impl SealError {
    /// Whether it is one log's own, and stays so until somebody mends it.
    fn is_lasting(&self) -> bool {
        use PublishError::{Broken, Leaf, Unsigned};
        matches!(self, Self::Gap | Self::Publish(Broken(_) | Leaf(_) | Unsigned(_)))
    }
}

/// One run of the sealer.
#[derive(Debug)]
pub struct Sealer<'a> {
    tables: &'a Tables,
    log: &'a SealedLog,
    signer: &'a Signer,
    keys: Vec<PublicKey>,
    now: Timestamp,
    deadline: Deadline,
}

impl<'a> Sealer<'a> {
    /// A run that takes `now` for the time, and ends by `deadline`. Notes in the table which key signs.
    ///
    /// # Errors
    /// [`SealError`]
    pub async fn start(app: &'a App, now: Timestamp, deadline: Deadline) -> Result<Self, SealError> {
        let (Some(log), Some(signer)) = (&app.log, &app.signer) else { return Err(SealError::NotConfigured) };
        let key = signer.public_key(deadline).await?;
        let keys = app.tables.sign_with(key, now, deadline).await?;
        Ok(Self { tables: &app.tables, log, signer, keys, now, deadline })
    }

    /// Seals what changed, in the order of the changes, and publishes it: once, however often a change is told. Answers the
    /// number of leaves that are new. A log whose archive is broken gets its positions all the same, and what is one log's own trouble is told to the
    /// operator and fails no other.
    ///
    /// # Errors
    /// [`SealError`], the first; the changes are to be told again.
    pub async fn seal(&self, changes: &[RowChange]) -> Result<usize, SealError> {
        let mut logs = BTreeMap::<OrgId, Vec<NewLeaf>>::new();
        for change in changes {
            let leaves = plan::leaves(change, self.now);
            if !leaves.is_empty() {
                logs.entry(plan::org_of_change(change)).or_default().extend(leaves);
            }
        }
        let sealed = logs.into_iter().map(|(org, leaves)| async move { self.seal_log(&org, &leaves).await });
        let sealed: Vec<_> = futures::iter(sealed).buffer_unordered(SIDE_BY_SIDE).collect().await;
        sealed.into_iter().sum()
    }

    async fn seal_log(&self, org: &OrgId, leaves: &[NewLeaf]) -> Result<usize, SealError> {
        let (new, head) = match self.sequence(org, leaves).await {
            Err(error) if error.is_lasting() => return Ok(given_up(org, &error)),
            sequenced => sequenced?,
        };
        let Some(head) = head.filter(|head| head.published < head.size) else { return Ok(new) };
        match self.publish(org, head.size).await {
            Err(error) if error.is_lasting() => Ok(new + given_up(org, &error)),
            published => {
                published?;
                if new > 0 {
                    measure_delay(leaves);
                }
                Ok(new)
            }
        }
    }
}

/// How long the oldest of these entries waited for its checkpoint.
fn measure_delay(leaves: &[NewLeaf]) {
    let times = leaves.iter().filter_map(|leaf| match &leaf.leaf {
        Leaf::Entry(entry) => Some(entry.at),
        Leaf::Notice(_) => None,
    });
    if let Some(oldest) = times.min() {
        let delay = clock::now().duration_since(oldest).as_millis();
        metrics::record(Metric::SealingDelay, u64::try_from(delay).unwrap_or_default());
    }
}

/// What is one log's own must not keep the others waiting, and to tell it again would not help. Once it is mended, the
/// schedule goes on where this ends.
fn given_up(org: &OrgId, error: &SealError) -> usize {
    let (org, reason) = (org.as_str(), error.to_string());
    tracing::error!(org, reason, "audit_archive_broken: a log cannot be sealed or published");
    metrics::count(Metric::ArchiveBroken);
    0
}
