use std::collections::HashMap;

use audit_format::archive::TILE_WIDTH;
use audit_format::leaf_hash;
use proptest::prelude::*;
use tlog_tiles::{
    EMPTY_HASH, Error, Hash, TileHashReader, TileReader, check_record, check_tree, node_hash, prove_record,
    prove_tree,
};

use super::{Tile, Tree, at_level};

/// Every tile that was ever published, by level, index and width.
#[derive(Default)]
struct Published(HashMap<(u8, u64, u64), Vec<Hash>>);

impl Published {
    /// One publication, from what is there alone.
    fn grow(&mut self, published: u64, leaves: &[Vec<u8>]) -> Hash {
        let first = published / TILE_WIDTH * TILE_WIDTH;
        let levels = (0..8).take_while(|level| at_level(first, *level) > 0).map(|level| {
            let width = at_level(first, level) % TILE_WIDTH;
            if width == 0 { Vec::new() } else { self.0[&(level, at_level(first, level + 1), width)].clone() }
        });
        let mut tree = Tree::at(first, levels.collect());
        let mut tiles = Vec::new();
        tree.grow(&leaves[usize::try_from(first).unwrap()..], &mut tiles);
        for Tile { level, index, hashes } in tiles.into_iter().chain(tree.partial()) {
            let before = self.0.insert((level, index, hashes.len() as u64), hashes.clone());
            assert!(before.is_none_or(|before| before == hashes), "a tile is always the same");
        }
        tree.root()
    }
}

impl TileReader for Published {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let bytes = |tile: &tlog_tiles::Tile| {
            let hashes = self.0.get(&(tile.level(), tile.level_index(), tile.width().into()));
            Ok(hashes.ok_or(Error::InvalidTile)?.iter().flat_map(|hash| hash.0).collect())
        };
        tiles.iter().map(bytes).collect()
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// The hash of a list of leaves, as RFC 6962 defines it (section 2.1).
fn definition(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => EMPTY_HASH,
        [leaf] => Hash(leaf_hash(leaf)),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(definition(left), definition(right))
        }
    }
}

fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("leaf {number}").into_bytes()).collect()
}

/// Grows a tree through these sizes. Afterwards proofs of these entries, and from every size to the last one, verify.
fn prove(sizes: &[u64], entries: impl Iterator<Item = u64>) {
    let leaves = leaves(*sizes.last().unwrap());
    let upto = |size: u64| &leaves[..usize::try_from(size).unwrap()];
    let mut published = Published::default();
    let (mut before, mut roots) = (0, Vec::new());
    for size in sizes {
        roots.push(published.grow(before, upto(*size)));
        // Of the greatest alone it takes long enough.
        if *size < 1_000 || Some(size) == sizes.last() {
            assert_eq!(roots.last(), Some(&definition(upto(*size))), "{sizes:?}");
        }
        before = *size;
    }
    let (size, root) = (before, *roots.last().unwrap());
    let reader = TileHashReader::new(size, root, &published);
    for entry in entries {
        let proof = prove_record(size, entry, &reader).unwrap();
        let leaf = Hash(leaf_hash(&leaves[usize::try_from(entry).unwrap()]));
        check_record(&proof, size, root, entry, leaf).unwrap();
    }
    for (earlier, earlier_root) in sizes.iter().zip(roots) {
        let proof = prove_tree(size, *earlier, &reader).unwrap();
        check_tree(&proof, size, root, *earlier, earlier_root).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_tree_that_grows_by_any_steps_proves_every_entry_and_every_earlier_tree(
        steps in proptest::collection::vec(1_u64..300, 1..6)
    ) {
        let sizes: Vec<u64> = steps.iter().scan(0, |size, step| { *size += step; Some(*size) }).collect();
        prove(&sizes, 0..*sizes.last().unwrap());
    }
}

#[test]
fn so_does_one_with_three_levels_of_tiles() {
    let sizes = [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, 66_050];
    prove(&sizes, (0..66_050).step_by(4_099));
}

/// Level, index and width of the full tiles and of the partial ones.
fn tiles(size: u64) -> [Vec<(u8, u64, usize)>; 2] {
    let (mut tree, mut full) = (Tree::default(), Vec::new());
    tree.grow(&leaves(size), &mut full);
    let name = |tile: Tile| (tile.level, tile.index, tile.hashes.len());
    [full.into_iter().map(name).collect(), tree.partial().map(name).collect()]
}

#[test]
fn trees_have_the_tiles_that_the_specification_gives_as_examples() {
    let [full, partial] = tiles(70_000);
    assert_eq!(full.iter().filter(|(level, ..)| *level == 0).count(), 273);
    assert_eq!(full.iter().filter(|(level, ..)| *level == 1).count(), 1);
    assert_eq!((full.len(), partial), (274, vec![(0, 273, 112), (1, 1, 17), (2, 0, 1)]));
    assert_eq!(tiles(256), [vec![(0, 0, 256)], vec![(1, 0, 1)]]);
}
