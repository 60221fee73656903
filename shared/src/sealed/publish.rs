//! Publication: leaves that have positions become bundles, tiles and, last, a signed checkpoint.

use audit_format::archive::{
    BundleError, TILE_WIDTH, bundle, bundle_path, checkpoint_path, kept_checkpoint_path, tile_path,
};
use audit_format::kept_until;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use signed_note::Note;
use thiserror::Error;
use tlog_tiles::Hash;

use super::tree::{Tile, Tree, at_level};
use super::{Checkpoint, ProofError, PublicKey, SIDE_BY_SIDE, Signer, checkpoint};
use crate::app::SealedLog;
use crate::clock::Deadline;
use crate::kms::KmsError;
use crate::spaces::{Keep, SpacesError};

const BUNDLE_LEAVES: usize = TILE_WIDTH as usize;

/// What is to be published of one log.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// Whose log: an organisation's id, or `audit_format::archive::LOGS`.
    pub org: &'a str,
    /// The size that was last published, 0 before the first time.
    pub published: u64,
    /// The leaves from [`Publication::first`] of `published` on, in order: those that are new, and before them what stands in the
    /// same bundle as the first of them.
    pub leaves: &'a [Vec<u8>],
    /// The keys that have signed, the signer's among them: what is in the archive is believed under a checkpoint by one of
    /// them only.
    pub keys: &'a [PublicKey],
}

/// Nothing was signed. The text is for the operator's log.
#[derive(Debug, Clone, Error)]
pub enum PublishError {
    /// What is in the archive is not what was published, so nothing can be signed on top of it.
    #[error("audit_archive_broken: {0}")]
    Broken(&'static str),
    /// A leaf does not fit into a bundle.
    #[error(transparent)]
    Leaf(#[from] BundleError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] SpacesError),
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KmsError),
    /// The origin or the signature is not what a note may have.
    #[error("the checkpoint cannot be signed: {0}")]
    Unsigned(&'static str),
}

impl Publication<'_> {
    /// The first leaf that is needed to publish what follows the first `published`.
    #[must_use]
    pub fn first(published: u64) -> u64 {
        published / TILE_WIDTH * TILE_WIDTH
    }
}

impl From<ProofError> for PublishError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Broken(what) => Self::Broken(what),
            ProofError::Archive(error) => Self::Archive(error),
        }
    }
}

/// An object of the archive, as it is to be put.
struct Put {
    key: String,
    bytes: Vec<u8>,
    keep: Keep,
}

impl SealedLog {
    /// Publishes leaves. The same leaves make the same bytes however often and in whatever steps, so whatever fails is done
    /// again from its beginning; what is under the checkpoint already is not signed again.
    ///
    /// Of the archive nothing is believed that is not under a checkpoint of ours, and no checkpoint is signed that does not
    /// continue the one that is there. What never changes again is kept as an entry of `now` is.
    ///
    /// # Errors
    /// [`PublishError`]
    pub async fn publish(
        &self,
        signer: &Signer,
        publication: Publication<'_>,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Checkpoint, PublishError> {
        let Publication { org, published, leaves, .. } = publication;
        let origin = self.origin_of(org);
        let first = Publication::first(published);
        let size = first + leaves.len() as u64;
        let there = self.believed(publication, size, deadline).await?;
        let mut tree = self.edge(org, first, deadline).await?;

        let signed = there.as_ref().map_or(first, |there| there.size);
        let (old, new) = leaves.split_at(usize::try_from(signed - first).unwrap_or(leaves.len()));
        let mut tiles = Vec::new();
        tree.grow(old, &mut tiles);
        if let Some(there) = there {
            // Every hash that was read, and every leaf up to here, is in this root.
            if there.root != tree.root().0 {
                return Err(broken("the tiles or the leaves are not those under the checkpoint"));
            }
            if new.is_empty() {
                return Ok(there);
            }
        }
        tree.grow(new, &mut tiles);
        tiles.extend(tree.partial().filter(|tile| at_level(size, tile.level) > at_level(first, tile.level)));

        let until = Keep::Until(kept_until(now));
        let bundles = (first / TILE_WIDTH..).zip(leaves.chunks(BUNDLE_LEAVES));
        let bundles = bundles.map(|(index, leaves)| Put::bundle(org, index, leaves, until));
        let puts = bundles.chain(tiles.iter().map(|tile| Ok(Put::tile(org, tile, until))));
        let puts: Vec<Put> = puts.collect::<Result<_, BundleError>>()?;
        let puts = puts
            .into_iter()
            .map(|put| async move { self.archive.put(&put.key, put.bytes, put.keep, deadline).await });
        stream::iter(puts).buffer_unordered(SIDE_BY_SIDE).try_collect::<()>().await?;

        let checkpoint = sign(signer, &origin, size, tree.root(), deadline).await?;
        self.archive
            .put(&checkpoint_path(org), checkpoint.note.clone().into_bytes(), Keep::Replaced, deadline)
            .await?;
        Ok(checkpoint)
    }

    /// Keeps a checkpoint for as long as what is under it.
    ///
    /// # Errors
    /// [`SpacesError`]
    pub async fn keep_checkpoint(
        &self,
        org: &str,
        checkpoint: &Checkpoint,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<(), SpacesError> {
        let key = kept_checkpoint_path(org, checkpoint.size);
        self.archive
            .put(&key, checkpoint.note.clone().into_bytes(), Keep::Until(kept_until(now)), deadline)
            .await
    }

    /// The checkpoint that is there, if it is ours and is one that a tree of `size` can continue.
    async fn believed(
        &self,
        publication: Publication<'_>,
        size: u64,
        deadline: Deadline,
    ) -> Result<Option<Checkpoint>, PublishError> {
        let there = self.checkpoint(publication.org, publication.keys, deadline).await?;
        // It may be later than the one that we know of, if a publication was cut off after it.
        match &there {
            None if publication.published > 0 => Err(broken("the checkpoint is gone")),
            Some(there) if there.size < publication.published => {
                Err(broken("the checkpoint is an earlier one"))
            }
            Some(there) if there.size > size => {
                Err(broken("the checkpoint is of more leaves than have a position"))
            }
            _ => Ok(there),
        }
    }

    /// The tree of `size` leaves, a multiple of a tile's width, from the last tile of each level.
    async fn edge(&self, org: &str, size: u64, deadline: Deadline) -> Result<Tree, PublishError> {
        let levels = (0..).take_while(|level| at_level(size, *level) > 0);
        let tiles = levels.map(|level| async move {
            let (index, width) = (at_level(size, level + 1), at_level(size, level) % TILE_WIDTH);
            if width == 0 {
                return Ok(Vec::new());
            }
            let tile = self.archive.get(&tile_path(org, level, index, width), deadline).await?;
            let hashes = tile.as_deref().and_then(|tile| hashes(tile, width));
            hashes.ok_or_else(|| broken("a tile is missing, or is not as long as it was"))
        });
        // There are eight levels at most.
        let levels: Vec<_> = stream::iter(tiles).buffered(SIDE_BY_SIDE).try_collect().await?;
        Ok(Tree::at(size, levels))
    }
}

impl Put {
    fn tile(org: &str, tile: &Tile, until: Keep) -> Self {
        let width = tile.hashes.len() as u64;
        let bytes = tile.hashes.iter().flat_map(|hash| hash.0).collect();
        Self { key: tile_path(org, tile.level, tile.index, width), bytes, keep: keep(width, until) }
    }

    fn bundle(org: &str, index: u64, leaves: &[Vec<u8>], until: Keep) -> Result<Self, BundleError> {
        let width = leaves.len() as u64;
        let bytes = bundle(leaves.iter().map(Vec::as_slice))?;
        Ok(Self { key: bundle_path(org, index, width), bytes, keep: keep(width, until) })
    }
}

/// What is full never changes again.
fn keep(width: u64, until: Keep) -> Keep {
    if width == TILE_WIDTH { until } else { Keep::Replaced }
}

fn hashes(tile: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = tile.as_chunks();
    (rest.is_empty() && hashes.len() as u64 == width).then(|| hashes.iter().copied().map(Hash).collect())
}

async fn sign(
    signer: &Signer,
    origin: &str,
    size: u64,
    root: Hash,
    deadline: Deadline,
) -> Result<Checkpoint, PublishError> {
    let text = checkpoint::text(origin, size, root).ok_or(PublishError::Unsigned("the origin"))?;
    let signature = signer.sign(origin, &text, deadline).await?;
    let signature = signature.ok_or(PublishError::Unsigned("the key's name"))?;
    let note = Note::new(&text, &[signature]).map_err(|_| PublishError::Unsigned("the text"))?;
    // What nobody could verify is not published.
    let own = [signer.public_key(deadline).await?];
    Checkpoint::verified(origin, note.to_bytes(), &own).ok_or(PublishError::Unsigned("the signature"))
}

fn broken(what: &'static str) -> PublishError {
    PublishError::Broken(what)
}
