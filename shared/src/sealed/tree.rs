//! The Merkle tree while it grows: the tiles that new leaves complete, and the root.

use audit_format::archive::TILE_WIDTH;
use audit_format::leaf_hash;
use tlog_tiles::{EMPTY_HASH, Hash, node_hash};

/// A tile of hashes, full or not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tile {
    pub level: u8,
    pub index: u64,
    pub hashes: Vec<Hash>,
}

/// A tree, as much of it as its growth needs: of every level the hashes in its last tile, while that is not full.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// Height of a tile.
const TILE_HEIGHT: usize = TILE_WIDTH.trailing_zeros() as usize;

impl Tree {
    /// A tree of `size` leaves whose last tiles are these: `levels[l]` has `size / 256^l % 256` hashes.
    pub(super) fn at(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, levels }
    }

    /// More leaves. The tiles that become full by them are added to `full`.
    pub(super) fn grow(&mut self, leaves: &[Vec<u8>], full: &mut Vec<Tile>) {
        for leaf in leaves {
            self.push(Hash(leaf_hash(leaf)), full);
        }
    }

    fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0_u8.. {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::new());
            }
            self.levels[place].push(hash);
            if (self.levels[place].len() as u64) < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(&mut self.levels[place]);
            hash = root([(0, hashes.as_slice())]);
            full.push(Tile { level, index: self.at_level(level + 1) - 1, hashes });
        }
    }

    /// The last tile of every level that is not full.
    pub(super) fn partial(&self) -> impl Iterator<Item = Tile> {
        let levels = (0_u8..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty());
        levels.map(|(level, hashes)| Tile { level, index: self.at_level(level + 1), hashes: hashes.clone() })
    }

    /// The hash of the whole tree (RFC 6962, section 2.1).
    pub(super) fn root(&self) -> Hash {
        root(self.levels.iter().enumerate().rev().map(|(level, hashes)| (level, hashes.as_slice())))
    }

    /// Hashes in all tiles of a level.
    fn at_level(&self, level: u8) -> u64 {
        at_level(self.size, level)
    }
}

/// Hashes in all tiles of a level, in a tree of `size` leaves.
pub(super) fn at_level(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * TILE_WIDTH.trailing_zeros()).unwrap_or_default()
}

/// The root over complete subtrees from left to right: those whose roots are a tile's hashes, the highest level first.
fn root<'a>(levels: impl IntoIterator<Item = (usize, &'a [Hash])>) -> Hash {
    // Complete subtrees, each lower than the one before: where two are of one height they become one.
    let mut subtrees: Vec<(usize, Hash)> = Vec::new();
    for (level, hashes) in levels {
        for hash in hashes {
            let (mut height, mut hash) = (level * TILE_HEIGHT, *hash);
            while let Some((_, left)) = subtrees.pop_if(|(of_left, _)| *of_left == height) {
                (height, hash) = (height + 1, node_hash(left, hash));
            }
            subtrees.push((height, hash));
        }
    }
    let right_to_left = subtrees.into_iter().rev().map(|(_, hash)| hash);
    right_to_left.reduce(|right, left| node_hash(left, right)).unwrap_or(EMPTY_HASH)
}

#[cfg(test)]
mod tests;
