//! The leaves of a log, read in the order of their positions: the tree that they make, and what each says.

use std::collections::BTreeMap;

use audit_format::archive::{self, TILE_WIDTH};
use audit_format::{Leaf, LeafHash, Notice, leaf_hash};
use tlog_tiles::{HASH_SIZE, Hash};

use crate::log::Checkpoint;
use crate::pipeline::pipeline;
use crate::source::{Source, SourceError};
use crate::tree::{Tree, Upper};
use crate::{Class, Progress, Report};

/// Bundles, with their tiles, that are asked for at once.
const BUNDLES_AT_ONCE: u64 = 16;

/// What a leaf says; none: nothing that a leaf may say.
pub(crate) type Said = Option<Leaf>;

/// What is read at once: the leaves of a bundle and the tile above them.
struct Stretch {
    first: u64,
    leaves: Vec<(LeafHash, Said)>,
    /// None if the tile is not there.
    tile: Option<Vec<u8>>,
}

/// The roots that a log had, at the sizes that were asked for, and at its end.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) at: BTreeMap<u64, Hash>,
    /// Whether the leaves are those under the signed root.
    pub(crate) proven: bool,
}

/// Reads every leaf under a checkpoint. Each is shown to `leaf` with its position and the hash that is proven for it, or at
/// least written down. None: parts are missing, and nothing can be said; the report says which.
pub(crate) fn read(
    source: &Source,
    org: &str,
    checkpoint: &Checkpoint,
    wanted: &[u64],
    report: &mut Report,
    progress: &dyn Progress,
    leaf: &mut dyn FnMut(&mut Report, u64, LeafHash, Said),
) -> Result<Option<Roots>, SourceError> {
    let size = checkpoint.size;
    let (mut leaves, mut tiles, mut upper) = (Tree::default(), Tree::default(), Upper::default());
    let mut at = BTreeMap::new();
    let mut differing = Vec::new();
    let mut complete = true;
    let wanted: std::collections::BTreeSet<_> = wanted.iter().copied().chain([size]).collect();
    if wanted.contains(&0) {
        at.insert(0, leaves.root());
    }
    pipeline(
        |send| {
            let bundles = size.div_ceil(TILE_WIDTH);
            for first in (0..bundles).step_by(BUNDLES_AT_ONCE as usize) {
                for stretch in stretches(source, org, size, first..bundles.min(first + BUNDLES_AT_ONCE))? {
                    let missing = stretch.is_err();
                    if !send(stretch) || missing {
                        return Ok(());
                    }
                }
            }
            Ok(())
        },
        |stretch| {
            let stretch = match stretch {
                Ok(stretch) => stretch,
                Err((class, path)) => {
                    report.add(class, org, path);
                    complete = false;
                    return;
                }
            };
            let mut hashes = Vec::with_capacity(TILE_WIDTH as usize * HASH_SIZE);
            for (seq, (hash, said)) in (stretch.first..).zip(stretch.leaves) {
                let place = (seq - stretch.first) as usize * HASH_SIZE;
                let tile = stretch.tile.as_ref().and_then(|tile| tile.get(place..place + HASH_SIZE));
                let proven = tile.and_then(|tile| LeafHash::try_from(tile).ok()).unwrap_or(hash);
                if proven != hash {
                    differing.push(seq);
                }
                leaves.push(hash);
                tiles.push(proven);
                hashes.extend(hash);
                if wanted.contains(&(seq + 1)) {
                    at.insert(seq + 1, leaves.root());
                }
                leaf(report, seq, proven, said);
            }
            match &stretch.tile {
                None => {
                    let path = tile_path(org, 0, stretch.first / TILE_WIDTH, size);
                    report.add(Class::PartMissing, org, format!("{path} is not there"));
                }
                Some(tile) if tile.len() != hashes.len() => {
                    let path = tile_path(org, 0, stretch.first / TILE_WIDTH, size);
                    report.add(Class::TileAltered, org, format!("{path} has another length"));
                }
                Some(_) => {}
            }
            if hashes.len() == TILE_WIDTH as usize * HASH_SIZE {
                upper.push(&hashes);
            }
            progress.advance(hashes.len() as u64 / HASH_SIZE as u64);
        },
    )?;
    if !complete {
        return Ok(None);
    }
    let proven = leaves.root() == checkpoint.root;
    for seq in &differing {
        let tile = tile_path(org, 0, seq / TILE_WIDTH, size);
        let (class, detail) = if proven {
            (Class::TileAltered, format!("{tile} has another hash for leaf {seq}"))
        } else if tiles.root() == checkpoint.root {
            (Class::LeafAltered, format!("leaf {seq} in the archive is not the one that was signed"))
        } else {
            continue;
        };
        report.push(crate::Finding { class, log: org.to_owned(), seq: Some(*seq), entry: None, detail });
    }
    if !proven && tiles.root() != checkpoint.root {
        report.add(Class::LogRewritten, org, "neither the leaves nor the tiles give the signed root");
    }
    if proven {
        upper_tiles(source, org, &upper, report)?;
    }
    Ok(Some(Roots { at, proven }))
}

type Missing = (Class, String);

fn stretches(
    source: &Source,
    org: &str,
    size: u64,
    bundles: std::ops::Range<u64>,
) -> Result<Vec<Result<Stretch, Missing>>, SourceError> {
    let paths: Vec<_> = bundles
        .clone()
        .flat_map(|index| {
            [archive::bundle_path(org, index, width(size, index)), tile_path(org, 0, index, size)]
        })
        .collect();
    let full: Vec<_> = bundles
        .clone()
        .flat_map(|index| {
            [archive::bundle_path(org, index, TILE_WIDTH), archive::tile_path(org, 0, index, TILE_WIDTH)]
        })
        .collect();
    let mut parts = source.parts(&paths)?;
    // A partial one may be gone once the full one is there (C2SP tlog-tiles, "Partial tiles").
    for (place, part) in parts.iter_mut().enumerate().rev().take(2) {
        if part.is_none() && paths[place] != full[place] {
            *part = source.part(&full[place])?;
        }
    }
    let mut parts = parts.into_iter();
    let mut stretches = Vec::new();
    for (index, paths) in bundles.zip(paths.chunks(2)) {
        let width = width(size, index) as usize;
        let (bundle, mut tile) = (parts.next().flatten(), parts.next().flatten());
        if let Some(tile) = &mut tile {
            let cut =
                if tile.len() == TILE_WIDTH as usize * HASH_SIZE { width * HASH_SIZE } else { tile.len() };
            tile.truncate(cut);
        }
        let missing = |class, why| Err((class, format!("{} {why}", paths[0])));
        let Some(bundle) = bundle else {
            stretches.push(missing(Class::PartMissing, "is not there"));
            continue;
        };
        stretches.push(match archive::leaves(&bundle) {
            Ok(leaves) if leaves.len() == width || leaves.len() == TILE_WIDTH as usize => {
                let leaves = leaves[..width].iter().map(|bytes| said(bytes)).collect();
                Ok(Stretch { first: index * TILE_WIDTH, leaves, tile })
            }
            Ok(leaves) => missing(Class::PartMalformed, &*format!("has {} leaves", leaves.len())),
            Err(_) => missing(Class::PartMalformed, "is no bundle"),
        });
    }
    Ok(stretches)
}

fn said(bytes: &[u8]) -> (LeafHash, Said) {
    match Leaf::of(bytes) {
        Ok(Leaf::Entry(row)) => (row.hash, Some(Leaf::Entry(row))),
        said => (leaf_hash(bytes), said.ok()),
    }
}

/// Every tile above level 0 is what follows from the leaves.
fn upper_tiles(source: &Source, org: &str, upper: &Upper, report: &mut Report) -> Result<(), SourceError> {
    for (level, hashes) in (1..).zip(&upper.levels) {
        for (index, expected) in (0..).zip(hashes.chunks(TILE_WIDTH as usize * HASH_SIZE)) {
            let width = (expected.len() / HASH_SIZE) as u64;
            let path = archive::tile_path(org, level, index, width);
            let mut found = source.part(&path)?;
            if found.is_none() && width < TILE_WIDTH {
                found = source.part(&archive::tile_path(org, level, index, TILE_WIDTH))?;
                found = found.map(|full| full.get(..expected.len()).unwrap_or_default().to_vec());
            }
            match found {
                None => report.add(Class::PartMissing, org, format!("{path} is not there")),
                Some(found) if found != expected => {
                    report.add(Class::TileAltered, org, format!("{path} is not what the leaves give"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// How many leaves a bundle, or hashes a tile of level 0, has in a tree of this size.
fn width(size: u64, index: u64) -> u64 {
    (size - index * TILE_WIDTH).min(TILE_WIDTH)
}

fn tile_path(org: &str, level: u8, index: u64, size: u64) -> String {
    archive::tile_path(org, level, index, width(size, index))
}

/// The roots that are asked for, and an organisation's own manifests with their positions.
pub(crate) type OwnManifests = (Roots, Vec<(u64, Notice)>);

/// The leaves of the log of logs that concern one organisation, held against its tiles alone.
pub(crate) fn read_tiles(
    source: &Source,
    checkpoint: &Checkpoint,
    own: &BTreeMap<u64, Vec<u8>>,
    wanted: &[u64],
    report: &mut Report,
) -> Result<Option<OwnManifests>, SourceError> {
    let org = archive::LOGS;
    let size = checkpoint.size;
    let mut tree = Tree::default();
    let mut upper = Upper::default();
    let mut at = BTreeMap::from([(0, tree.root())]);
    let mut notices = Vec::new();
    for index in 0..size.div_ceil(TILE_WIDTH) {
        let path = tile_path(org, 0, index, size);
        let Some(tile) = source.part(&path)? else {
            report.add(Class::PartMissing, org, format!("{path} is not there"));
            return Ok(None);
        };
        if tile.len() as u64 != width(size, index) * HASH_SIZE as u64 {
            report.add(Class::PartMalformed, org, format!("{path} has another length"));
            return Ok(None);
        }
        for (seq, hash) in (index * TILE_WIDTH..).zip(tile.chunks(HASH_SIZE)) {
            tree.push(LeafHash::try_from(hash).unwrap_or_default());
            if wanted.contains(&(seq + 1)) || seq + 1 == size {
                at.insert(seq + 1, tree.root());
            }
            let Some(bytes) = own.get(&seq) else { continue };
            match Leaf::of(bytes) {
                _ if leaf_hash(bytes) != hash => {
                    report.add(Class::LeafAltered, org, format!("leaf {seq} is not the one that was signed"));
                }
                Ok(Leaf::Notice(notice)) => notices.push((seq, *notice)),
                _ => report.add(Class::LeafMalformed, org, format!("leaf {seq} is no notice")),
            }
        }
        if tile.len() == TILE_WIDTH as usize * HASH_SIZE {
            upper.push(&tile);
        }
    }
    if own.keys().any(|seq| *seq >= size) {
        report.add(Class::PartMalformed, org, "a manifest stands behind the end of the log");
    }
    let proven = tree.root() == checkpoint.root;
    if proven {
        upper_tiles(source, org, &upper, report)?;
    } else {
        report.add(Class::LogRewritten, org, "the tiles do not give the signed root");
    }
    Ok(Some((Roots { at, proven }, notices)))
}
