//! Any byte that some check reads: once it is another one, nothing is proven.

use std::fs;
use std::path::{Path, PathBuf};

use audit_verify::{Keys, Options, Pins, Verdict, verify};

use crate::matrix::sealed_world;
use crate::world::{Random, World};

/// Every file of the world, and the pins.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn verdict(world: &World, pins: &Path, key: &[u8]) -> Verdict {
    let mut keys = Keys::new(None);
    let added = std::str::from_utf8(key).map(|key| keys.add(key));
    let (Ok(Ok(())), Ok(pins)) = (added, Pins::load(pins)) else {
        // What the program refuses to begin with.
        return Verdict::Undecided;
    };
    let options = Options { keys, pins, ..world.options() };
    verify(&world.source(), &options, &()).0.verdict()
}

#[test]
fn no_changed_byte_is_proven() {
    let runs = std::env::var("MUTATIONS").map_or(300, |runs| runs.parse().unwrap());
    let world = sealed_world();
    let pins = world.folder.path().join("pins.json");
    world.pins.save(&pins).unwrap();
    let key = world.key().vkey("org-1").into_bytes();
    assert_eq!(verdict(&world, &pins, &key), Verdict::Proven);
    let files = files(world.folder.path());
    assert!(files.len() > 20, "{files:?}");
    let mut random = Random(3);
    for run in 0..runs {
        let place = random.below(files.len() + 1);
        let file = files.get(place);
        let original = file.map_or_else(|| key.clone(), |file| fs::read(file).unwrap());
        let mut bytes = original.clone();
        let mut at = random.below(bytes.len());
        // White space between rows or pins is nothing that is read.
        while bytes[at].is_ascii_whitespace() && file.is_none_or(|file| file.extension().is_some()) {
            at = random.below(bytes.len());
        }
        bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap();
        let found = match file {
            Some(file) => {
                fs::write(file, &bytes).unwrap();
                let found = verdict(&world, &pins, &key);
                fs::write(file, &original).unwrap();
                found
            }
            None => verdict(&world, &pins, &bytes),
        };
        let what =
            String::from_utf8_lossy(&bytes[at.saturating_sub(40)..bytes.len().min(at + 40)]).into_owned();
        assert!(
            matches!(found, Verdict::Tampered | Verdict::Undecided),
            "mutation {run}: byte {at} of {file:?} ({:#04x} was {:#04x}) is {found:?}: {what}",
            bytes[at],
            original[at]
        );
    }
}
