//! Finds the one directory of a ZIP file, and walks it.
//!
//! Readers are forgiving about where the directory lies, and take the last end record they find. Here the end record
//! must be the end of the file, the directory must reach up to it, and both must say the same.

use std::ops::Range;

use super::bytes::{u16_at, u32_at, u64_at};
use super::records::{Central, LOCAL_SIGNATURE};
use super::{MAX_DIRECTORY_BYTES, MAX_ENTRIES, ZipError};
use crate::partial::{Partial, Stop};

const END_RECORD: &[u8] = b"PK\x05\x06";
const END_RECORD_BYTES: usize = 22;
/// The end record with the longest comment that fits its 16-bit length (APPNOTE 4.3.16).
const MAX_END_BYTES: usize = END_RECORD_BYTES + u16::MAX as usize;
const ZIP64_LOCATOR: &[u8] = b"PK\x06\x07";
const ZIP64_LOCATOR_BYTES: usize = 20;
const ZIP64_RECORD: &[u8] = b"PK\x06\x06";
const ZIP64_RECORD_BYTES: usize = 56;

/// Where a ZIP's directory lies, and how many records it has.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    /// From the first record to the end record, or to the ZIP64 record if there is one.
    pub(super) place: Range<u64>,
    /// At most [`MAX_ENTRIES`].
    pub(super) entries: u64,
}

/// The names of a ZIP's entries, for whoever wants to know what kind of document it is.
///
/// A name that is not UTF-8 is an error.
pub(crate) fn names<'a>(file: &'a Partial<'_>) -> Result<Vec<&'a str>, Stop<ZipError>> {
    let directory = open(file)?;
    let bytes = file.read(directory.place.clone())?;
    let name = |record: Result<Central<'a>, ZipError>| {
        std::str::from_utf8(record?.name).map_err(|_| ZipError::BadDirectory)
    };
    records(bytes, directory.entries).map(name).collect::<Result<_, _>>().map_err(Stop::Refused)
}

/// Finds the directory, and checks that no reader could find another one.
pub(super) fn open(file: &Partial<'_>) -> Result<Directory, Stop<ZipError>> {
    const BEFORE_END_BYTES: usize = ZIP64_LOCATOR_BYTES + ZIP64_RECORD_BYTES;
    let tail = file.size().saturating_sub((MAX_END_BYTES + BEFORE_END_BYTES) as u64)..file.size();
    let signature = 0..LOCAL_SIGNATURE.len() as u64;
    file.require(&[signature.clone(), tail.clone()])?;
    let end = end_record(file.read(tail.clone())?, tail.start)?;
    if end.entries == 0 {
        return Err(ZipError::Empty.into());
    }
    if file.read(signature)? != LOCAL_SIGNATURE {
        return Err(ZipError::PrefixData.into());
    }
    if end.entries > MAX_ENTRIES {
        return Err(ZipError::TooManyEntries { entries: end.entries }.into());
    }
    let place = end.directory..end.directory_end;
    if place.end - place.start > MAX_DIRECTORY_BYTES {
        return Err(ZipError::LargeDirectory.into());
    }
    Ok(Directory { place, entries: end.entries })
}

/// The central records: exactly as many as the end record says, filling exactly the room that it says.
pub(super) fn records(
    mut bytes: &[u8],
    expected: u64,
) -> impl Iterator<Item = Result<Central<'_>, ZipError>> {
    let (mut seen, mut ended) = (0, false);
    std::iter::from_fn(move || {
        if ended || (bytes.is_empty() && seen == expected) {
            return None;
        }
        let Some(record) = Central::parse(bytes).filter(|_| seen < expected) else {
            ended = true;
            return Some(Err(ZipError::BadDirectory));
        };
        seen += 1;
        bytes = bytes.get(record.length..).unwrap_or_default();
        Some(Ok(record))
    })
}

/// What the end record says.
struct End {
    directory: u64,
    directory_end: u64,
    entries: u64,
}

/// The end record in the last bytes of the file, which begin at `base`.
fn end_record(tail: &[u8], base: u64) -> Result<End, ZipError> {
    let searched = tail.len().saturating_sub(MAX_END_BYTES);
    let region = tail.get(searched..).unwrap_or_default();
    let is_signature = |window: &[u8]| window == END_RECORD;
    let found: Vec<usize> = region
        .windows(END_RECORD.len())
        .enumerate()
        .filter(|(_, window)| is_signature(window))
        .map(|(index, _)| searched + index)
        .collect();
    let Some(last) = found.last() else { return Err(ZipError::NotZip) };
    let reaches_end = |offset: &&usize| {
        u16_at(tail, *offset + 20)
            .is_some_and(|comment| *offset + END_RECORD_BYTES + usize::from(comment) == tail.len())
    };
    let ends: Vec<&usize> = found.iter().filter(reaches_end).collect();
    match ends.as_slice() {
        [] => return Err(ZipError::TrailingData),
        [only] if *only == last => {}
        _ => return Err(ZipError::AmbiguousEnd),
    }
    read_end(tail, base, *last)
}

/// Reads the end record at `offset` in the tail, and the ZIP64 record before it if there is one.
fn read_end(bytes: &[u8], base: u64, offset: usize) -> Result<End, ZipError> {
    let short = |at: usize| u16_at(bytes, offset + at).ok_or(ZipError::BadDirectory);
    let long = |at: usize| u32_at(bytes, offset + at).ok_or(ZipError::BadDirectory);
    let (disk, directory_disk, entries_here, entries) = (short(4)?, short(6)?, short(8)?, short(10)?);
    let (size, start) = (long(12)?, long(16)?);

    let locator = offset.checked_sub(ZIP64_LOCATOR_BYTES).filter(|at| starts_with(bytes, *at, ZIP64_LOCATOR));
    let Some(locator) = locator else {
        if disk != 0 || directory_disk != 0 || entries_here != entries {
            return Err(ZipError::Split);
        }
        return finish(base + offset as u64, u64::from(start), u64::from(size), u64::from(entries));
    };

    let damaged = || ZipError::BadDirectory;
    let record = locator.checked_sub(ZIP64_RECORD_BYTES).ok_or_else(damaged)?;
    let big = |at: usize| u64_at(bytes, record + at).ok_or_else(damaged);
    let wide = (big(24)?, big(40)?, big(48)?);
    // The locator points at the record, which fills the room up to the locator.
    let placed = starts_with(bytes, record, ZIP64_RECORD)
        && u64_at(bytes, locator + 8) == Some(base + record as u64)
        && big(4)? == (ZIP64_RECORD_BYTES - 12) as u64;
    let one_disk = u32_at(bytes, record + 16) == Some(0)
        && u32_at(bytes, record + 20) == Some(0)
        && u32_at(bytes, locator + 4) == Some(0)
        && matches!(u32_at(bytes, locator + 16), Some(0 | 1));
    // Each narrow field either refers to the wide one or repeats it.
    let same16 = |narrow: u16, wide: u64| narrow == u16::MAX || u64::from(narrow) == wide;
    let same32 = |narrow: u32, wide: u64| narrow == u32::MAX || u64::from(narrow) == wide;
    let agrees = same16(entries, wide.0)
        && same16(entries_here, wide.0)
        && big(32)? == wide.0
        && same32(size, wide.1)
        && same32(start, wide.2);
    if !one_disk {
        return Err(ZipError::Split);
    }
    if !placed || !agrees {
        return Err(damaged());
    }
    finish(base + record as u64, wide.2, wide.1, wide.0)
}

fn finish(directory_end: u64, directory: u64, size: u64, entries: u64) -> Result<End, ZipError> {
    let end = directory.checked_add(size).ok_or(ZipError::BadDirectory)?;
    if end < directory_end && entries > 0 {
        // The directory lies further back than the end record says: something was put in front of the archive.
        return Err(ZipError::PrefixData);
    }
    if end != directory_end && entries > 0 {
        return Err(ZipError::BadDirectory);
    }
    Ok(End { directory, directory_end, entries })
}

fn starts_with(bytes: &[u8], at: usize, signature: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(signature))
}
