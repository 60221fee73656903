//! What a ZIP that the service accepts must look like, judged by its directory and headers; nothing is extracted.
//!
//! Built on `rawzip`, which hands out every central record and local header as it stands; the `zip` crate merges
//! entries of one name and never compares a local header with the directory, so an attack would be gone before it
//! could be seen.
//!
//! The strongest rule is the simplest: the entries, in the order of their offsets, tile the file from its first byte
//! to the directory, and the directory reaches to the end record, which is the end of the file. So nothing hides
//! before, between or behind the entries, nothing overlaps, and every reader sees the same files.
//!
//! What an entry *declares* is checked against its headers, not against its data: who extracts an accepted ZIP must
//! stop at the declared size. This module knows no file types; it needs the whole file in memory, but reads only its
//! ends and headers.

mod directory;
#[cfg(test)]
mod tests;

use rawzip::extra_fields::{ExtraFieldId, ExtraFields};
use rawzip::{CompressionMethod, ZipFileHeaderRecord, ZipSliceArchive};
use unicode_normalization::UnicodeNormalization;

pub(crate) use directory::names;

/// The most entries in one archive, directories included (design, section 8).
pub const MAX_ENTRIES: u64 = 10_000;
/// The most bytes that all entries together declare to have when extracted: 1 GiB (design, section 8).
pub const MAX_DECLARED_BYTES: u64 = 1 << 30;
/// How many times larger than its compressed form an entry, or the whole archive, may be (design, section 8).
pub const MAX_RATIO: u64 = 100;
/// What extracts to less than this may have any ratio: a log of equal lines has 300:1, and 1 MiB harms nobody.
pub const RATIO_FREE_BYTES: u64 = 1 << 20;
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
    let archive = directory::open(bytes)?;
    let declared_entries = archive.entries_hint();
    if declared_entries > MAX_ENTRIES {
        return Err(ZipError::TooManyEntries { entries: declared_entries });
    }
    let mut entries = Vec::new();
    let mut summary = ZipSummary { entries: declared_entries, compressed_bytes: 0, declared_bytes: 0 };
    for record in directory::records(&archive) {
        let entry = Entry::judge(&archive, &record?)?;
        summary.compressed_bytes = summary.compressed_bytes.saturating_add(entry.compressed);
        summary.declared_bytes = summary.declared_bytes.saturating_add(entry.declared);
        if summary.declared_bytes > MAX_DECLARED_BYTES {
            return Err(ZipError::TooLarge);
        }
        entries.push(entry);
    }
    if is_inflated(summary.declared_bytes, summary.compressed_bytes) {
        return Err(ZipError::Ratio);
    }
    check_tiling(bytes, archive.directory_offset(), &mut entries)?;
    check_names(&entries)?;
    Ok(summary)
}

/// What later rules need of an entry that is sound in itself.
struct Entry<'a> {
    name: &'a str,
    /// From the local header's first byte to the end of the data.
    start: u64,
    end: u64,
    crc: u32,
    compressed: u64,
    declared: u64,
    has_descriptor: bool,
}

impl<'a> Entry<'a> {
    fn judge(
        archive: &'a ZipSliceArchive<&[u8]>,
        record: &ZipFileHeaderRecord<'a>,
    ) -> Result<Self, ZipError> {
        let raw_name = record.file_path().as_bytes();
        let refuse = |problem| refusal(&String::from_utf8_lossy(raw_name), problem);
        let name = std::str::from_utf8(raw_name).map_err(|_| refuse(EntryProblem::NotUtf8))?;
        check_path(name).map_err(refuse)?;
        check_kind(record, name).map_err(refuse)?;

        let local_entry = archive.get_entry(record.wayfinder()).map_err(|error| match error.kind() {
            rawzip::ErrorKind::Eof => refuse(EntryProblem::Overlap),
            _ => refuse(EntryProblem::Disagrees),
        })?;
        let local = local_entry.local_header();
        if has_other_name(record.extra_fields(), raw_name) || has_other_name(local.extra_fields(), raw_name) {
            return Err(refuse(EntryProblem::NotUtf8));
        }
        let entry = Self {
            name,
            start: record.local_header_offset(),
            end: local_entry.compressed_data_range().1,
            crc: record.crc32(),
            compressed: record.compressed_size_hint(),
            declared: record.uncompressed_size_hint(),
            has_descriptor: record.flags().has_data_descriptor(),
        };
        // Who writes a descriptor behind the data leaves empty what is not known yet; `zip` knows the size.
        let same = |local: u64, central: u64| local == central || (entry.has_descriptor && local == 0);
        let agrees = same(local.crc32().into(), entry.crc.into())
            && same(local.compressed_size_hint(), entry.compressed)
            && same(local.uncompressed_size_hint(), entry.declared);
        if !agrees
            || local.file_path().as_bytes() != raw_name
            || local.flags() != record.flags()
            || local.compression_method() != record.compression_method()
        {
            return Err(refuse(EntryProblem::Disagrees));
        }
        if is_inflated(entry.declared, entry.compressed) {
            return Err(refuse(EntryProblem::Ratio));
        }
        Ok(entry)
    }
}

/// The entry is a plain file or a folder, and nothing keeps a reader from reading it.
fn check_kind(record: &ZipFileHeaderRecord<'_>, name: &str) -> Result<(), EntryProblem> {
    let flags = record.flags();
    if flags.is_encrypted() || flags.has_strong_encryption() || flags.is_masked() {
        return Err(EntryProblem::Encrypted);
    }
    // Whatever system the archive says it comes from: some readers look at the upper half regardless.
    let file_type = (record.external_attributes() >> 16) & 0o170_000;
    let is_folder = file_type == 0o040_000 || record.external_attributes() & 0x10 != 0;
    if !matches!(file_type, 0 | 0o040_000 | 0o100_000) || (is_folder && !name.ends_with('/')) {
        return Err(EntryProblem::SpecialFile);
    }
    let same_size = record.compressed_size_hint() == record.uncompressed_size_hint();
    match record.compression_method() {
        CompressionMethod::STORE if !same_size => return Err(EntryProblem::Disagrees),
        CompressionMethod::STORE | CompressionMethod::DEFLATE => {}
        _ => return Err(EntryProblem::Method),
    }
    if name.ends_with('/') && record.uncompressed_size_hint() != 0 {
        return Err(EntryProblem::FileAndFolder);
    }
    let lower = name.to_ascii_lowercase();
    if NESTED_ARCHIVES.iter().any(|extension| lower.ends_with(extension)) {
        return Err(EntryProblem::NestedArchive);
    }
    Ok(())
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
fn has_other_name(mut fields: ExtraFields<'_>, name: &[u8]) -> bool {
    fields.any(|(id, data)| id == ExtraFieldId::INFO_ZIP_UNICODE_PATH && data.get(5..) != Some(name))
}

/// The entries tile the file up to the directory; only a data descriptor may stand between two of them.
fn check_tiling(bytes: &[u8], directory: u64, entries: &mut [Entry<'_>]) -> Result<(), ZipError> {
    entries.sort_unstable_by_key(|entry| entry.start);
    if entries.first().is_some_and(|entry| entry.start != 0) {
        return Err(ZipError::PrefixData);
    }
    for (index, entry) in entries.iter().enumerate() {
        let next = entries.get(index + 1);
        let next_start = next.map_or(directory, |next| next.start);
        let between = usize::try_from(entry.end).ok().zip(usize::try_from(next_start).ok());
        let Some(between) = between.and_then(|(end, start)| bytes.get(end..start)) else {
            return Err(refusal(entry.name, EntryProblem::Overlap));
        };
        if !entry.has_descriptor && !between.is_empty() {
            let name = next.map_or("the directory".to_owned(), |next| shown(next.name));
            return Err(ZipError::Gap { name });
        }
        if entry.has_descriptor && !describes(between, entry) {
            return Err(refusal(entry.name, EntryProblem::Disagrees));
        }
    }
    Ok(())
}

/// Whether the bytes are a data descriptor of this entry, in one of its four forms: with or without signature, sizes
/// of four or eight bytes (APPNOTE 4.3.9).
fn describes(bytes: &[u8], entry: &Entry<'_>) -> bool {
    let crc = entry.crc.to_le_bytes();
    let long = [crc.as_slice(), &entry.compressed.to_le_bytes(), &entry.declared.to_le_bytes()].concat();
    let short = match (u32::try_from(entry.compressed), u32::try_from(entry.declared)) {
        (Ok(compressed), Ok(declared)) => {
            [crc.as_slice(), &compressed.to_le_bytes(), &declared.to_le_bytes()].concat()
        }
        _ => long.clone(),
    };
    let matches = |bytes: &[u8]| bytes == long || bytes == short;
    matches(bytes) || bytes.strip_prefix(b"PK\x07\x08").is_some_and(matches)
}

/// No two entries are extracted to the same place, and no file is where a folder must be.
fn check_names(entries: &[Entry<'_>]) -> Result<(), ZipError> {
    // With '/' as the smallest character, all that lies in a folder follows it directly.
    let key = |name: &str| {
        let name = name.trim_end_matches('/').replace('/', "\0");
        if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            name.nfc().collect::<String>().to_lowercase()
        }
    };
    let mut keys: Vec<(String, &Entry<'_>)> = entries.iter().map(|entry| (key(entry.name), entry)).collect();
    keys.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for ((key, entry), (next_key, next)) in keys.iter().zip(keys.iter().skip(1)) {
        let (a_folder, b_folder) = (entry.name.ends_with('/'), next.name.ends_with('/'));
        match next_key.strip_prefix(key.as_str()) {
            Some("") if a_folder == b_folder => return Err(refusal(next.name, EntryProblem::Duplicate)),
            Some("") => return Err(refusal(next.name, EntryProblem::FileAndFolder)),
            Some(rest) if !a_folder && rest.starts_with('\0') => {
                return Err(refusal(entry.name, EntryProblem::FileAndFolder));
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
