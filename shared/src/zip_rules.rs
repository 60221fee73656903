//! What a ZIP that the service accepts must look like, judged by its directory and headers; nothing is extracted.
//!
//! Every central record and local header is read as it stands. The `zip` crate merges entries of one name and never
//! compares a local header with the directory, so an attack would be gone before it could be seen.
//!
//! The strongest rule is the simplest: the entries, in the order of their offsets, tile the file from its first byte
//! to the directory, and the directory reaches to the end record, which is the end of the file. So nothing hides
//! before, between or behind the entries, nothing overlaps, and every reader sees the same files.
//!
//! What an entry *declares* is checked against its headers, not against its data: who extracts an accepted ZIP must
//! stop at the declared size. This module knows no file types. It reads the file's ends and headers only, so the file
//! need not be in memory.

mod bytes;
mod check;
mod directory;
mod records;
#[cfg(test)]
pub(crate) mod tests;

use unicode_normalization::UnicodeNormalization;

pub(crate) use check::ZipCheck;
pub(crate) use directory::names;
use records::extra_fields;

use crate::partial::{Partial, Stop};

/// The most entries in one archive, directories included (design, section 8).
pub const MAX_ENTRIES: u64 = 10_000;
/// The most bytes that all entries together declare to have when extracted: 1 GiB (design, section 8).
pub const MAX_DECLARED_BYTES: u64 = 1 << 30;
/// How many times larger than its compressed form an entry, or the whole archive, may be (design, section 8).
pub const MAX_RATIO: u64 = 100;
/// What extracts to less than this may have any ratio: a log of equal lines has 300:1, and 1 MiB harms nobody.
pub const RATIO_FREE_BYTES: u64 = 1 << 20;
/// The largest directory: 800 bytes an entry, where programs write 100 to 200. All of it is read into memory.
pub const MAX_DIRECTORY_BYTES: u64 = 8 << 20;
/// The longest name of an entry, in bytes: `PATH_MAX` of macOS, the shortest of the usual systems that has one.
pub const MAX_NAME_BYTES: usize = 1_024;

/// Archives that may not lie inside an archive: what they extract to cannot be known without extracting (42.zip
/// passes every other rule on each of its levels). A JAR or an Office file is a ZIP too, but nobody unpacks it.
const NESTED_ARCHIVES: [&str; 4] = [".zip", ".zipx", ".7z", ".rar"];

/// What an accepted archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZipSummary {
    /// How many entries there are, directories included.
    pub entries: u64,
    /// The compressed bytes of all entries.
    pub compressed_bytes: u64,
    /// The bytes of all entries when extracted, as they declare it.
    pub declared_bytes: u64,
}

/// Why a ZIP is refused. It is the client's fault, and the text is safe to show to it: names are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZipError {
    /// It does not begin and end as a ZIP does.
    #[error("The file is not a ZIP archive")]
    NotZip,
    /// There is no entry.
    #[error("The ZIP archive is empty")]
    Empty,
    /// The first entry is not at the first byte.
    #[error("The ZIP archive does not begin at the start of the file")]
    PrefixData,
    /// The file goes on after the end record and its comment, or ends before.
    #[error("The ZIP archive does not end at the end of the file")]
    TrailingData,
    /// Readers would disagree on which end record counts.
    #[error("The ZIP archive has more than one end record")]
    AmbiguousEnd,
    /// Part of an archive in several files.
    #[error("The ZIP archive is split over several files")]
    Split,
    /// The end record and the directory contradict each other.
    #[error("The ZIP archive's directory is damaged")]
    BadDirectory,
    /// More than [`MAX_ENTRIES`].
    #[error("The ZIP archive has {entries} entries; at most {MAX_ENTRIES} are allowed")]
    TooManyEntries {
        /// How many it declares.
        entries: u64,
    },
    /// A directory of more than [`MAX_DIRECTORY_BYTES`].
    #[error("The ZIP archive's directory has more than {MAX_DIRECTORY_BYTES} bytes")]
    LargeDirectory,
    /// More than [`MAX_DECLARED_BYTES`].
    #[error("The ZIP archive would extract to more than {MAX_DECLARED_BYTES} bytes")]
    TooLarge,
    /// More than [`MAX_RATIO`] over all.
    #[error("The ZIP archive would extract to more than {MAX_RATIO} times its compressed size")]
    Ratio,
    /// Something is wrong with one entry.
    #[error("The ZIP archive's entry '{name}' {problem}")]
    Entry {
        /// The entry's name, escaped and cut.
        name: String,
        /// What is wrong.
        problem: EntryProblem,
    },
    /// There are bytes that belong to no entry.
    #[error("The ZIP archive has data outside of its entries, before '{name}'")]
    Gap {
        /// The entry behind them, or what follows the last one.
        name: String,
    },
}

/// What is wrong with one entry of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// It would be extracted outside of the target folder, or is spelt in an unusual way that might.
    #[error("has an unsafe path")]
    UnsafePath,
    /// The name is not UTF-8 (or has another name, in Unicode, in an extra field).
    #[error("has a name that is not valid UTF-8")]
    NotUtf8,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("has a name of more than {MAX_NAME_BYTES} bytes")]
    LongName,
    /// Two entries would be extracted to one place (also on systems that ignore case or Unicode forms).
    #[error("occurs more than once, or differs from another entry only in case")]
    Duplicate,
    /// One entry's name is a folder of another's.
    #[error("is both a file and a folder")]
    FileAndFolder,
    /// A symbolic link, device, pipe or socket.
    #[error("is a link or a special file")]
    SpecialFile,
    /// Encrypted in whatever way.
    #[error("is encrypted")]
    Encrypted,
    /// Neither stored nor deflated.
    #[error("is compressed in a way other than 'stored' and 'deflate'")]
    Method,
    /// An archive inside the archive.
    #[error("is an archive inside the archive, which cannot be checked")]
    NestedArchive,
    /// The local header or the data descriptor says something else than the directory.
    #[error("is described differently in the archive's directory and at its place in the file")]
    Disagrees,
    /// Its data lie in another entry's, in the directory, or behind the end.
    #[error("overlaps another part of the archive")]
    Overlap,
    /// More than [`MAX_RATIO`].
    #[error("would extract to more than {MAX_RATIO} times its compressed size")]
    Ratio,
}

/// Checks all rules.
///
/// ```
/// use shared::zip_rules::{check, ZipError};
///
/// assert_eq!(check(b"no archive"), Err(ZipError::NotZip));
/// ```
pub fn check(bytes: &[u8]) -> Result<ZipSummary, ZipError> {
    match ZipCheck::default().run(&mut Partial::whole(bytes)) {
        Ok(summary) => Ok(summary),
        Err(Stop::Refused(error)) => Err(error),
        // Of a file in memory nothing is unread.
        Err(Stop::Unread(_)) => Err(ZipError::BadDirectory),
    }
}

impl From<ZipError> for Stop<ZipError> {
    fn from(error: ZipError) -> Self {
        Self::Refused(error)
    }
}

/// The path stays inside the folder it is extracted to, on every system, and has one spelling only.
fn check_path(name: &str) -> Result<(), EntryProblem> {
    if name.len() > MAX_NAME_BYTES {
        return Err(EntryProblem::LongName);
    }
    let drive = name.as_bytes().get(1) == Some(&b':');
    if drive || name.chars().any(|c| c == '\\' || c.is_control()) {
        return Err(EntryProblem::UnsafePath);
    }
    let path = name.strip_suffix('/').unwrap_or(name);
    // Windows drops dots and spaces at the end of a segment, so `.. ` climbs as well as `..`.
    let unsafe_segment = |segment: &str| segment.trim_end_matches(['.', ' ']).is_empty();
    if path.split('/').any(unsafe_segment) { Err(EntryProblem::UnsafePath) } else { Ok(()) }
}

/// Whether an extra field gives the entry another name, which some readers prefer (Info-ZIP's "Unicode path").
fn has_other_name(extra: &[u8], name: &[u8]) -> bool {
    const UNICODE_PATH: u16 = 0x7075;
    extra_fields(extra).any(|(id, field)| id == UNICODE_PATH && field.get(5..) != Some(name))
}

/// No two entries are extracted to the same place, and no file is where a folder must be.
fn check_names(names: &[&str]) -> Result<(), ZipError> {
    // With '/' as the smallest character, all that lies in a folder follows it directly.
    let key = |name: &str| {
        let name = name.trim_end_matches('/').replace('/', "\0");
        if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            name.nfc().collect::<String>().to_lowercase()
        }
    };
    let mut keys: Vec<(String, &str)> = names.iter().map(|name| (key(name), *name)).collect();
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    for ((key, name), (next_key, next)) in keys.iter().zip(keys.iter().skip(1)) {
        let (a_folder, b_folder) = (name.ends_with('/'), next.ends_with('/'));
        match next_key.strip_prefix(key.as_str()) {
            Some("") if a_folder == b_folder => return Err(refusal(next, EntryProblem::Duplicate)),
            Some("") => return Err(refusal(next, EntryProblem::FileAndFolder)),
            Some(rest) if !a_folder && rest.starts_with('\0') => {
                return Err(refusal(name, EntryProblem::FileAndFolder));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_inflated(declared: u64, compressed: u64) -> bool {
    declared > RATIO_FREE_BYTES && declared > compressed.saturating_mul(MAX_RATIO)
}

fn refusal(name: &str, problem: EntryProblem) -> ZipError {
    ZipError::Entry { name: shown(name), problem }
}

/// A name as an error shows it: no control or format character gets through, and it is short.
fn shown(name: &str) -> String {
    const SHOWN_CHARACTERS: usize = 60;
    let printable = |c: char| if c.is_control() || is_invisible(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut text: String = name.chars().take(SHOWN_CHARACTERS).map(printable).collect();
    if name.chars().nth(SHOWN_CHARACTERS).is_some() {
        text.push('…');
    }
    text
}

/// Zero-width characters, and those that turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
