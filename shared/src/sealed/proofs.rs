//! What the archive proves: its checkpoint, that a leaf is under it, that it continues an earlier one.

use std::cell::RefCell;
use std::collections::HashMap;

use audit_format::archive::{checkpoint_path, tile_path};
use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tlog_tiles::{
    Error, HASH_SIZE, Hash, Tile, TileHashReader, TileReader, prove_record, prove_tree, stored_hash_index,
};

use super::{Checkpoint, PublicKey, SIDE_BY_SIDE};
use crate::app::SealedLog;
use crate::clock::Deadline;
use crate::spaces::SpacesError;

/// Nothing can be proved. The text is for the operator's log.
#[derive(Debug, Clone, Error)]
pub enum ProofError {
    /// What is in the archive is not what was published.
    #[error("audit_archive_broken: {0}")]
    Broken(&'static str),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] SpacesError),
}

impl SealedLog {
    /// The checkpoint of a log, if it was signed by one of these keys. None: nothing was published yet.
    ///
    /// # Errors
    /// [`ProofError`]
    pub async fn checkpoint(
        &self,
        org: &str,
        keys: &[PublicKey],
        deadline: Deadline,
    ) -> Result<Option<Checkpoint>, ProofError> {
        let Some(note) = self.archive.get(&checkpoint_path(org), deadline).await? else { return Ok(None) };
        let checkpoint = Checkpoint::verified(&self.origin_of(org), note, keys);
        checkpoint.map(Some).ok_or(ProofError::Broken("the checkpoint is not one of ours"))
    }

    /// The hashes that lead from a leaf to the root, the leaf's sibling first (RFC 6962, section 2.1.1). `index` is below the
    /// checkpoint's size.
    ///
    /// # Errors
    /// [`ProofError`]
    pub async fn inclusion(
        &self,
        org: &str,
        checkpoint: &Checkpoint,
        index: u64,
        deadline: Deadline,
    ) -> Result<Vec<[u8; 32]>, ProofError> {
        self.prove(org, checkpoint, deadline, |tree| prove_record(checkpoint.size, index, tree)).await
    }

    /// The hashes that prove that the checkpoint's tree begins with the tree of `from` leaves (RFC 6962, section 2.1.2). `from` is
    /// at least 1, and at most the checkpoint's size.
    ///
    /// # Errors
    /// [`ProofError`]
    pub async fn consistency(
        &self,
        org: &str,
        checkpoint: &Checkpoint,
        from: u64,
        deadline: Deadline,
    ) -> Result<Vec<[u8; 32]>, ProofError> {
        self.prove(org, checkpoint, deadline, |tree| prove_tree(checkpoint.size, from, tree)).await
    }

    /// Fetches what a proof asks for. Tiles that are not under the checkpoint prove nothing: the reader refuses them.
    async fn prove(
        &self,
        org: &str,
        checkpoint: &Checkpoint,
        deadline: Deadline,
        proof: impl Fn(&TileHashReader<'_>) -> Result<Vec<Hash>, Error>,
    ) -> Result<Vec<[u8; 32]>, ProofError> {
        let mut tiles = Tiles { size: checkpoint.size, ..Tiles::default() };
        loop {
            let tried = proof(&TileHashReader::new(checkpoint.size, Hash(checkpoint.root), &tiles));
            let missing = tiles.missing.take();
            match tried {
                Ok(hashes) => return Ok(hashes.into_iter().map(|hash| hash.0).collect()),
                Err(_) if missing.is_empty() => {
                    return Err(ProofError::Broken("the tiles are not those under the checkpoint"));
                }
                Err(_) => {}
            }
            let fetch = missing.into_iter().map(|tile| async move {
                let key = tile_path(org, tile.level(), tile.level_index(), tile.width().into());
                let bytes = self.archive.get(&key, deadline).await?;
                Ok::<_, ProofError>((tile, bytes.ok_or(ProofError::Broken("a tile is missing"))?))
            });
            let fetched: Vec<_> = stream::iter(fetch).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
            tiles.fetched.extend(fetched);
        }
    }
}

/// The tiles that were fetched, and those that a proof asked for besides.
#[derive(Default)]
struct Tiles {
    /// Of the tree.
    size: u64,
    fetched: HashMap<Tile, Vec<u8>>,
    missing: RefCell<Vec<Tile>>,
}

impl Tiles {
    /// Whether a full tile is the one that its parent commits to. [`TileHashReader`] leaves some out, where several parts of
    /// the root come from one tile (tlog_tiles 0.2.0). What is not full it holds against the root itself.
    fn is_under_its_parent(&self, tile: &Tile) -> bool {
        let height = self.height();
        let (Some(bytes), Some(parent)) = (self.fetched.get(tile), tile.parent(1, self.size)) else {
            return true;
        };
        if tile.width() < 1 << height || bytes.len() != (HASH_SIZE << height) {
            // Its length is looked at by the reader.
            return true;
        }
        let place = stored_hash_index(height * parent.level(), tile.level_index());
        let committed = self.fetched.get(&parent).and_then(|bytes| parent.hash_at_index(bytes, place).ok());
        committed == Some(Tile::subtree_hash(bytes))
    }
}

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let missing = tiles.iter().filter(|tile| !self.fetched.contains_key(tile)).copied().collect();
        self.missing.replace(missing);
        if tiles.iter().all(|tile| self.is_under_its_parent(tile)) {
            tiles.iter().map(|tile| self.fetched.get(tile).cloned().ok_or(Error::InvalidTile)).collect()
        } else {
            Err(Error::InconsistentTile)
        }
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[cfg(test)]
mod tests {
    use audit_format::leaf_hash;
    use tlog_tiles::check_record;

    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn a_tile_that_was_altered_anywhere_never_gives_a_proof_that_does_not_hold() {
        for size in [1_u64, 2, 257, 300, 700] {
            let leaves: Vec<_> = (0..size).map(|number| number.to_string().into_bytes()).collect();
            let (mut tree, mut full) = (Tree::default(), Vec::new());
            tree.grow(&leaves, &mut full);
            let mut tiles = Tiles { size, ..Tiles::default() };
            for tile in full.into_iter().chain(tree.partial()) {
                let width = u32::try_from(tile.hashes.len()).unwrap();
                let bytes = tile.hashes.iter().flat_map(|hash| hash.0).collect();
                tiles.fetched.insert(Tile::new(8, tile.level, tile.index, width, false), bytes);
            }
            let root = tree.root();
            let proved = |tiles: &Tiles, entry: u64| {
                let proof = prove_record(size, entry, &TileHashReader::new(size, root, tiles)).ok();
                let leaf = Hash(leaf_hash(&leaves[usize::try_from(entry).unwrap()]));
                proof.map(|proof| check_record(&proof, size, root, entry, leaf).is_ok())
            };
            let (places, mut refused) = (tiles.fetched.clone(), 0);
            for entry in (0..size).step_by(211) {
                assert_eq!(proved(&tiles, entry), Some(true));
                for (tile, whole) in &places {
                    for place in (5..whole.len()).step_by(2_029) {
                        let mut altered = whole.clone();
                        altered[place] ^= 1;
                        tiles.fetched.insert(*tile, altered);
                        let proved = proved(&tiles, entry);
                        assert_ne!(proved, Some(false), "size {size}, entry {entry}, {tile:?}, byte {place}");
                        refused += u64::from(proved.is_none());
                    }
                    tiles.fetched.insert(*tile, whole.clone());
                }
            }
            assert!(refused > 0 || size == 1, "size {size}");
        }
    }
}
