//! The Merkle tree over leaf hashes (RFC 6962, section 2.1), grown one leaf at a time, and its tiles.

use audit_format::LeafHash;
use audit_format::archive::TILE_WIDTH;
use tlog_tiles::{EMPTY_HASH, HASH_SIZE, Hash, Tile, node_hash};

/// The full subtrees to the left of the next leaf: what is needed to go on and to name the root at any size on the way.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    size: u64,
    /// The greatest first: one for each bit of the size.
    peaks: Vec<Hash>,
}

impl Tree {
    pub(crate) fn push(&mut self, leaf: LeafHash) {
        let mut hash = Hash(leaf);
        for _ in 0..self.size.trailing_ones() {
            hash = node_hash(self.peaks.pop().unwrap_or(EMPTY_HASH), hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub(crate) fn root(&self) -> Hash {
        let right_to_left = self.peaks.iter().rev().copied();
        right_to_left.reduce(|right, left| node_hash(left, right)).unwrap_or(EMPTY_HASH)
    }
}

/// The tiles above level 0, which follow from the full tiles below them.
#[derive(Debug, Default)]
pub(crate) struct Upper {
    /// For each level from 1 on, its hashes.
    pub(crate) levels: Vec<Vec<u8>>,
}

impl Upper {
    /// Takes the next full tile of level 0.
    pub(crate) fn push(&mut self, tile: &[u8]) {
        let mut hash = Tile::subtree_hash(tile);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.extend(hash.0);
            let width = TILE_WIDTH as usize * HASH_SIZE;
            if !hashes.len().is_multiple_of(width) {
                break;
            }
            hash = Tile::subtree_hash(&hashes[hashes.len() - width..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let mut tree = Tree::default();
        assert_eq!(tree.root(), EMPTY_HASH);
        let leaf = |number: u8| Hash([number; 32]);
        for number in 0..3 {
            tree.push(leaf(number).0);
        }
        assert_eq!(tree.root(), node_hash(node_hash(leaf(0), leaf(1)), leaf(2)));
        tree.push(leaf(3).0);
        assert_eq!(tree.root(), node_hash(node_hash(leaf(0), leaf(1)), node_hash(leaf(2), leaf(3))));
    }
}
