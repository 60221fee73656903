//! What holds for every path that is accepted, whoever wrote it.

use std::cell::Cell;
use std::path::Component;
use std::sync::LazyLock;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::*;
use crate::file_name::MAX_FILE_NAME_BYTES;
use crate::ids::MAX_ID_BYTES;

/// How many seeds are tried, and how many paths from each: 120,000 in all. The runner takes 20 times as long for a case
/// as the code under test, so a case is many paths; a failure names its own.
const SEEDS: u32 = 120;
const PATHS_PER_SEED: u32 = 1_000;

/// Organisations that are easily taken for one another.
const ORGS: [&str; 8] = ["org-1", "org-10", "org-1.", "Org-1", "org-1-", "o", "org_1", "1"];
const OBJECTS: [&str; 7] = ["receipt-456", "o", "org-1", "a.b", "A_b-C.9", "0", "accounting"];
const NAMES: [&str; 8] =
    ["receipt.jpg", "20260126_153045_a_2.pdf", "a", "_a.b.c", "x.tar.gz", "org-1", "0.0", "A-Z"];
/// What has led out of a folder somewhere, or looks like something else.
const PIECES: [&str; 40] = [
    "/",
    "//",
    "..",
    ".",
    "../",
    "/..",
    "/../",
    "/./",
    "\\",
    "..\\",
    "\0",
    "%",
    "%2e",
    "%2e%2e%2f",
    "%2F",
    "%252e",
    "%00",
    "%5c",
    "%c0%af",
    "%ff",
    "\u{ff0f}",
    "\u{ff0e}",
    "\u{2024}",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "ä",
    "🚑",
    " ",
    "\n",
    "\r\n",
    "\t",
    ":",
    "~",
    "*",
    "?",
    "#",
    "-",
    "_",
    "a",
];

/// A path that is right or nearly right, from one number: regular expressions would take ten times as long.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn pick<'p>(&mut self, pieces: &[&'p str]) -> &'p str {
        pieces[self.roll(pieces.len())]
    }

    /// One of the usual words, or one about as long as it may be.
    fn segment(&mut self, usual: &[&str], longest: usize) -> String {
        match self.roll(8) {
            0 => "x".repeat(longest - 1 + self.roll(3)),
            _ => self.pick(usual).to_owned(),
        }
    }

    fn path(&mut self) -> String {
        let types = &*OBJECT_TYPES;
        let (system, mut name) = (types[self.roll(types.len())], types[self.roll(types.len())]);
        if self.roll(8) != 0 {
            name = system;
        }
        let org = self.segment(&ORGS, MAX_ID_BYTES);
        let object = self.segment(&OBJECTS, MAX_ID_BYTES);
        let file = self.segment(&NAMES, MAX_FILE_NAME_BYTES);
        let mut path = format!("{org}/{}/{}/{object}/{file}", system.system, name.name);
        for _ in 0..[0, 0, 1, 1, 1, 2][self.roll(6)] {
            let at = self.roll(path.len() + 1);
            if path.is_char_boundary(at) {
                let until = (at + self.roll(3)).min(path.len());
                let until = if path.is_char_boundary(until) { until } else { at };
                path.replace_range(at..until, self.pick(&PIECES));
            }
        }
        match self.roll(8) {
            0 => format!("/{path}"),
            _ => path,
        }
    }
}

static MAX_PATH_BYTES: LazyLock<usize> =
    LazyLock::new(|| MAX_ID_BYTES + Catalog::get().max_path_bytes() + MAX_ID_BYTES + MAX_FILE_NAME_BYTES + 3);

static OBJECT_TYPES: LazyLock<Vec<&ObjectType>> = LazyLock::new(|| Catalog::get().iter().collect());

static OTHERS: LazyLock<Vec<OrgId>> =
    LazyLock::new(|| ORGS.iter().map(|org| OrgId::parse(org).unwrap()).collect());

/// Everything that is relied on of an accepted path that came as this text.
fn check(text: &str, path: &FilePath) -> TestCaseResult {
    let key = path.as_str();
    prop_assert_eq!(key, text.strip_prefix('/').unwrap_or(text), "it was cleaned");
    prop_assert!(key.len() <= *MAX_PATH_BYTES);
    prop_assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)));

    // However a file system, a URL parser or a store might resolve it, it stays where it is.
    let segments: Vec<_> = key.split('/').collect();
    prop_assert_eq!(segments.len(), 5);
    let components = std::path::Path::new(key).components();
    prop_assert_eq!(components.filter(|part| matches!(part, Component::Normal(_))).count(), 5);
    prop_assert!(!key.contains(".."));

    let place = path.place();
    let (org, object) = (place.org.as_str(), place.object_id.as_str());
    let read = [org, place.object_type.system, place.object_type.name, object, path.name().as_str()];
    prop_assert_eq!(segments, read.to_vec());
    prop_assert!(key.starts_with(&format!("{org}/")), "it left its organisation");
    for other in &*OTHERS {
        // The same as being that organisation's, for every place there is.
        let below = key.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'));
        prop_assert_eq!(below, place.org == *other, "another organisation's prefix");
    }

    prop_assert_eq!(FilePath::parse(key), Ok(path.clone()));
    prop_assert_eq!(FilePath::parse_url(key), Ok(path.clone()));
    let encoded = utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
    prop_assert_eq!(FilePath::parse_url(&encoded), Ok(path.clone()));
    let twice = utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string();
    prop_assert!(FilePath::parse(&encoded).is_err() && FilePath::parse_url(&twice).is_err());
    prop_assert_eq!(&place.file(path.name().clone()), path);
    Ok(())
}

/// Tries a text as a path and as a part of a URL. Says whether it was accepted as a path.
fn try_one(text: &str) -> Result<bool, TestCaseError> {
    let parsed = FilePath::parse(text);
    if let Ok(path) = &parsed {
        check(text, path)?;
    }
    // In a URL the same text is read decoded, once.
    let from_url = FilePath::parse_url(text);
    let accepted = parsed.is_ok();
    if !text.contains('%') {
        prop_assert_eq!(from_url, parsed);
        return Ok(accepted);
    }
    match (from_url, percent_encoding::percent_decode_str(text).decode_utf8()) {
        (Ok(path), Ok(decoded)) => check(&decoded, &path)?,
        (Ok(path), Err(_)) => return Err(TestCaseError::fail(format!("{path:?} is not UTF-8"))),
        (Err(error), Ok(decoded)) => prop_assert_eq!(FilePath::parse(&decoded), Err(error)),
        (Err(_), Err(_)) => {}
    }
    Ok(accepted)
}

#[test]
fn no_accepted_path_leaves_its_organisation_and_each_reads_back_as_it_was() {
    let accepted = Cell::new(0);
    // A seed that fails has no simpler one.
    let config = Config { cases: SEEDS, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let result = TestRunner::new(config).run(&any::<u64>(), |seed| {
        let mut dice = Dice(seed);
        for _ in 0..PATHS_PER_SEED {
            accepted.set(accepted.get() + u32::from(try_one(&dice.path())?));
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let share = f64::from(accepted.get()) / f64::from(SEEDS * PATHS_PER_SEED);
    assert!((0.2..0.8).contains(&share), "{share} of the paths were accepted: they are too good or too bad");
}

#[test]
fn the_longest_path_is_accepted_and_one_byte_more_in_any_segment_is_not() {
    let longest = Catalog::get().iter().max_by_key(|object_type| object_type.to_string().len()).unwrap();
    let path = |org, object, name| {
        let text = format!("{}/{longest}/{}/{}", "o".repeat(org), "b".repeat(object), "n".repeat(name));
        FilePath::parse(&text)
    };
    let whole = path(MAX_ID_BYTES, MAX_ID_BYTES, MAX_FILE_NAME_BYTES).unwrap();
    assert_eq!(whole.as_str().len(), *MAX_PATH_BYTES);
    assert!(path(MAX_ID_BYTES + 1, 1, 1).is_err());
    assert!(path(1, MAX_ID_BYTES + 1, 1).is_err());
    assert!(path(1, 1, MAX_FILE_NAME_BYTES + 1).is_err());
}
