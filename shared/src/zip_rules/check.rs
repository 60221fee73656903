//! Judges a whole archive, in steps where it is not in memory: the directory first, then what stands at the entries'
//! places, in the order of their offsets.

use std::ops::Range;

use super::directory::{self, Directory};
use super::records::{Central, DEFLATED, Described, LOCAL_BYTES, Local, STORED};
use super::{
    EntryProblem, MAX_DECLARED_BYTES, NESTED_ARCHIVES, ZipError, ZipSummary, check_names, check_path,
    has_other_name, is_inflated, refusal,
};
use crate::partial::{Partial, Stop, Unread};

/// How many entries are asked for at once.
const BATCH_ENTRIES: usize = 512;
/// How many bytes are asked for at once, as soon as it is more than one entry.
const BATCH_BYTES: u64 = 2 << 20;
/// By how much an entry's extra fields may be longer at its place than in the directory without a second read:
/// Info-ZIP's are by 4, with ZIP64 by 20.
const LOCAL_EXTRA_BYTES: u64 = 64;
/// The longest data descriptor: signature, checksum, two sizes of eight bytes (APPNOTE 4.3.9).
const MAX_DESCRIPTOR_BYTES: u64 = 24;

/// How far an archive was judged.
#[derive(Debug, Default)]
pub(crate) struct ZipCheck {
    directory: Option<Judged>,
    /// So many entries, in the order of their offsets, agree with the directory and follow each other.
    agreeing: usize,
    /// Where the last of them ends, if that is known.
    end: Option<u64>,
}

/// A directory that is sound in itself.
#[derive(Debug)]
struct Judged {
    directory: Directory,
    /// In the order of their offsets.
    entries: Vec<Entry>,
    summary: ZipSummary,
}

/// What the directory says of an entry.
#[derive(Debug)]
struct Entry {
    /// Where the name stands in the directory.
    name: Range<u64>,
    extra_bytes: usize,
    /// Where the local header stands.
    start: u64,
    described: Described,
}

impl ZipCheck {
    /// Goes on behind entries that agreed before.
    pub(crate) fn resume(agreeing: u64) -> Self {
        Self { agreeing: usize::try_from(agreeing).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// How many entries agree so far.
    pub(crate) fn agreeing(&self) -> u64 {
        self.agreeing as u64
    }

    /// Goes on as far as the file is there, and forgets of it what is not needed any more.
    pub(crate) fn run(&mut self, file: &mut Partial<'_>) -> Result<ZipSummary, Stop<ZipError>> {
        let Judged { directory, entries, summary } = match &mut self.directory {
            Some(judged) => judged,
            none => none.insert(Judged::read(file)?),
        };
        self.agreeing = self.agreeing.min(entries.len());
        while let Some(entry) = entries.get(self.agreeing) {
            let before = self.agreeing.checked_sub(1).and_then(|index| entries.get(index));
            match follow(file, before, self.end, entry) {
                Ok(end) => (self.agreeing, self.end) = (self.agreeing + 1, Some(end)),
                Err(Stop::Unread(_)) => {
                    let mut from = self.agreeing;
                    if self.end.is_some() {
                        // The directory is still needed, and so is the descriptor of the entry before.
                        let needed = entry.start.min(directory.place.start);
                        file.forget(needed.saturating_sub(MAX_DESCRIPTOR_BYTES));
                    } else {
                        from = from.saturating_sub(1);
                    }
                    return Err(batch(file, entries.get(from..).unwrap_or_default()).into());
                }
                refused => refused.map(drop)?,
            }
        }
        if let Some(last) = entries.last() {
            let end = match self.end {
                Some(end) => end,
                None => last.end(file)?,
            };
            check_between(file, last, end, directory.place.start, None)?;
        }
        let names = entries.iter().map(|entry| entry.name(file)).collect::<Result<Vec<_>, _>>()?;
        check_names(&names)?;
        Ok(*summary)
    }
}

impl Judged {
    fn read(file: &Partial<'_>) -> Result<Self, Stop<ZipError>> {
        let directory = directory::open(file)?;
        let place = directory.place.clone();
        // With the bytes before it, where the last entry's descriptor stands.
        file.read(place.start.saturating_sub(MAX_DESCRIPTOR_BYTES)..place.end)?;
        let mut summary = ZipSummary { entries: directory.entries, compressed_bytes: 0, declared_bytes: 0 };
        let (mut entries, mut at) = (Vec::new(), place.start);
        for record in directory::records(file.read(place)?, directory.entries) {
            let record = record?;
            let entry = Entry::judge(&record, at)?;
            at += record.length as u64;
            summary.compressed_bytes = summary.compressed_bytes.saturating_add(entry.described.compressed);
            summary.declared_bytes = summary.declared_bytes.saturating_add(entry.described.declared);
            if summary.declared_bytes > MAX_DECLARED_BYTES {
                return Err(ZipError::TooLarge.into());
            }
            entries.push(entry);
        }
        if is_inflated(summary.declared_bytes, summary.compressed_bytes) {
            return Err(ZipError::Ratio.into());
        }
        // Stable, so that a check that was interrupted goes on in the same order.
        entries.sort_by_key(|entry| entry.start);
        Ok(Self { directory, entries, summary })
    }
}

impl Entry {
    /// An entry that is sound in itself, as far as the directory says; its record is at `at`.
    fn judge(record: &Central<'_>, at: u64) -> Result<Self, ZipError> {
        let refuse = |problem| refusal(&String::from_utf8_lossy(record.name), problem);
        let name = std::str::from_utf8(record.name).map_err(|_| refuse(EntryProblem::NotUtf8))?;
        check_path(name).map_err(refuse)?;
        check_kind(record, name).map_err(refuse)?;
        if has_other_name(record.extra, record.name) {
            return Err(refuse(EntryProblem::NotUtf8));
        }
        if is_inflated(record.described.declared, record.described.compressed) {
            return Err(refuse(EntryProblem::Ratio));
        }
        let start = at + super::records::CENTRAL_BYTES as u64;
        Ok(Self {
            name: start..start + record.name.len() as u64,
            extra_bytes: record.extra.len(),
            start: record.offset,
            described: record.described,
        })
    }

    fn name<'a>(&self, file: &'a Partial<'_>) -> Result<&'a str, Stop<ZipError>> {
        let name = file.read(self.name.clone())?;
        std::str::from_utf8(name).map_err(|_| ZipError::BadDirectory.into())
    }

    fn refuse<T>(&self, file: &Partial<'_>, problem: EntryProblem) -> Result<T, Stop<ZipError>> {
        Err(refusal(self.name(file)?, problem).into())
    }

    /// The local header, if there is room for it.
    fn local(&self, file: &Partial<'_>) -> Result<Local, Stop<ZipError>> {
        let bytes = file.read(self.start..self.start.saturating_add(LOCAL_BYTES as u64))?;
        match Local::parse(bytes) {
            Some(local) => Ok(local),
            None if bytes.len() < LOCAL_BYTES => self.refuse(file, EntryProblem::Overlap),
            None => self.refuse(file, EntryProblem::Disagrees),
        }
    }

    /// Where the data end, which must be in the file.
    fn end(&self, file: &Partial<'_>) -> Result<u64, Stop<ZipError>> {
        let data = self.start + self.local(file)?.length();
        match data.checked_add(self.described.compressed).filter(|end| *end <= file.size()) {
            Some(end) => Ok(end),
            None => self.refuse(file, EntryProblem::Overlap),
        }
    }

    /// Whether the local header says what the directory says; the end of the data.
    fn agree(&self, file: &Partial<'_>) -> Result<u64, Stop<ZipError>> {
        let (local, end) = (self.local(file)?, self.end(file)?);
        let start = self.start + LOCAL_BYTES as u64;
        let variable = file.read(start..self.start + local.length())?;
        let (name, extra) = variable.split_at_checked(local.name_bytes.into()).unwrap_or((variable, &[]));
        let expected = self.name(file)?.as_bytes();
        if has_other_name(extra, expected) {
            return self.refuse(file, EntryProblem::NotUtf8);
        }
        let (local, central) = (local.described(extra), self.described);
        // Who writes a descriptor behind the data leaves empty what is not known yet; `zip` knows the size.
        let same = |local: u64, own: u64| local == own || (central.has_descriptor() && local == 0);
        let agrees = same(local.crc.into(), central.crc.into())
            && same(local.compressed, central.compressed)
            && same(local.declared, central.declared)
            && (local.flags, local.method) == (central.flags, central.method);
        if agrees && name == expected { Ok(end) } else { self.refuse(file, EntryProblem::Disagrees) }
    }
}

/// Whether an entry agrees with the directory and follows the one before it; the end of its data.
fn follow(
    file: &Partial<'_>,
    before: Option<&Entry>,
    end_before: Option<u64>,
    entry: &Entry,
) -> Result<u64, Stop<ZipError>> {
    let end = entry.agree(file)?;
    match before {
        None if entry.start != 0 => return Err(ZipError::PrefixData.into()),
        None => {}
        Some(before) => {
            let end_before = match end_before {
                Some(end) => end,
                None => before.end(file)?,
            };
            check_between(file, before, end_before, entry.start, Some(entry))?;
        }
    }
    Ok(end)
}

/// The entries tile the file up to the directory; only a data descriptor may stand between two of them.
fn check_between(
    file: &Partial<'_>,
    entry: &Entry,
    end: u64,
    next_start: u64,
    next: Option<&Entry>,
) -> Result<(), Stop<ZipError>> {
    if end > next_start {
        return entry.refuse(file, EntryProblem::Overlap);
    }
    if !entry.described.has_descriptor() {
        if end == next_start {
            return Ok(());
        }
        let name = next.map(|next| next.name(file)).transpose()?;
        return Err(ZipError::Gap { name: name.map_or("the directory".to_owned(), super::shown) }.into());
    }
    let is_descriptor =
        next_start - end <= MAX_DESCRIPTOR_BYTES && describes(file.read(end..next_start)?, entry.described);
    if is_descriptor { Ok(()) } else { entry.refuse(file, EntryProblem::Disagrees) }
}

/// What the next entries need of the file: their local headers, and what stands in front of them.
fn batch(file: &Partial<'_>, entries: &[Entry]) -> Unread {
    let (mut ranges, mut bytes) = (Vec::new(), 0);
    for entry in entries.iter().take(BATCH_ENTRIES) {
        let guess = LOCAL_BYTES as u64
            + (entry.name.end - entry.name.start)
            + entry.extra_bytes as u64
            + LOCAL_EXTRA_BYTES;
        let length = entry.local(file).map_or(guess, |local| local.length().max(guess));
        let range = entry.start.saturating_sub(MAX_DESCRIPTOR_BYTES)..entry.start.saturating_add(length);
        bytes += range.end - range.start;
        if bytes > BATCH_BYTES && !ranges.is_empty() {
            break;
        }
        ranges.push(range);
    }
    Unread::Ranges(ranges)
}

/// The entry is a plain file or a folder, and nothing keeps a reader from reading it.
fn check_kind(record: &Central<'_>, name: &str) -> Result<(), EntryProblem> {
    let described = record.described;
    if described.is_encrypted() {
        return Err(EntryProblem::Encrypted);
    }
    // Whatever system the archive says it comes from: some readers look at the upper half regardless.
    let file_type = (record.attributes >> 16) & 0o170_000;
    let is_folder = file_type == 0o040_000 || record.attributes & 0x10 != 0;
    if !matches!(file_type, 0 | 0o040_000 | 0o100_000) || (is_folder && !name.ends_with('/')) {
        return Err(EntryProblem::SpecialFile);
    }
    match described.method {
        STORED if described.compressed != described.declared => return Err(EntryProblem::Disagrees),
        STORED | DEFLATED => {}
        _ => return Err(EntryProblem::Method),
    }
    if name.ends_with('/') && described.declared != 0 {
        return Err(EntryProblem::FileAndFolder);
    }
    let lower = name.to_ascii_lowercase();
    if NESTED_ARCHIVES.iter().any(|extension| lower.ends_with(extension)) {
        return Err(EntryProblem::NestedArchive);
    }
    Ok(())
}

/// Whether the bytes are a data descriptor of this entry, in one of its four forms: with or without signature, sizes
/// of four or eight bytes (APPNOTE 4.3.9).
fn describes(bytes: &[u8], entry: Described) -> bool {
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
