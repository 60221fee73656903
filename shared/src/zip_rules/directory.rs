//! Finds the one directory of a ZIP file, and walks it.
//!
//! `rawzip` is forgiving about where the directory lies and takes the last end record it finds. Here the end record
//! must be the end of the file, the directory must reach up to it, and both must say the same.

use rawzip::{ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};

use super::ZipError;

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const END_RECORD: &[u8] = b"PK\x05\x06";
const END_RECORD_BYTES: usize = 22;
/// The end record with the longest comment that fits its 16-bit length (APPNOTE 4.3.16).
const MAX_END_BYTES: usize = END_RECORD_BYTES + u16::MAX as usize;
const ZIP64_LOCATOR: &[u8] = b"PK\x06\x07";
const ZIP64_LOCATOR_BYTES: usize = 20;
const ZIP64_RECORD: &[u8] = b"PK\x06\x06";
const ZIP64_RECORD_BYTES: usize = 56;
/// The fixed part of a central record, before name, extra fields and comment (APPNOTE 4.3.12).
const CENTRAL_RECORD_BYTES: u64 = 46;

/// The names of a ZIP's entries, for whoever wants to know what kind of document it is.
///
/// At most [`super::MAX_ENTRIES`] are read; a name that is not UTF-8 is an error.
pub(crate) fn names(bytes: &[u8]) -> Result<Vec<&str>, ZipError> {
    let archive = open(bytes)?;
    let entries = archive.entries_hint();
    if entries > super::MAX_ENTRIES {
        return Err(ZipError::TooManyEntries { entries });
    }
    // The records borrow from the archive, which goes; their places in the file stay.
    let mut names = Vec::new();
    for record in records(&archive) {
        let record = record?;
        let start = record.central_directory_offset() + CENTRAL_RECORD_BYTES;
        let start = usize::try_from(start).map_err(|_| ZipError::BadDirectory)?;
        let name = bytes.get(start..start + record.file_path().len()).ok_or(ZipError::BadDirectory)?;
        names.push(std::str::from_utf8(name).map_err(|_| ZipError::BadDirectory)?);
    }
    Ok(names)
}

/// Finds the directory, and checks that no reader could find another one.
pub(super) fn open(bytes: &[u8]) -> Result<ZipSliceArchive<&[u8]>, ZipError> {
    let end = end_record(bytes)?;
    let archive = ZipArchive::from_slice(bytes).map_err(|_| ZipError::BadDirectory)?;
    let found = (archive.eocd_offset(), archive.directory_offset(), archive.entries_hint());
    if found == (end.offset as u64, end.directory, end.entries) {
        Ok(archive)
    } else {
        Err(ZipError::BadDirectory)
    }
}

/// The central records: exactly as many as the end record says, filling exactly the room that it says.
pub(super) fn records<'a, 'b: 'a>(
    archive: &'a ZipSliceArchive<&'b [u8]>,
) -> impl Iterator<Item = Result<ZipFileHeaderRecord<'a>, ZipError>> {
    let expected = archive.entries_hint();
    let mut iterator = archive.entries();
    let (mut seen, mut end, mut ended) = (0, archive.directory_offset(), false);
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let record = match iterator.next_entry() {
            Ok(Some(record)) if seen < expected => record,
            // Also when the records end early: rawzip lets a signature record close the directory.
            Ok(None) if seen == expected && Some(end) == directory_end(archive) => return None,
            _ => {
                ended = true;
                return Some(Err(ZipError::BadDirectory));
            }
        };
        seen += 1;
        let variable = record.file_path().len()
            + record.extra_fields().remaining_bytes().len()
            + record.comment().as_bytes().len();
        end = record.central_directory_offset() + CENTRAL_RECORD_BYTES + variable as u64;
        Some(Ok(record))
    })
}

/// Where the directory ends: at the end record, or at the ZIP64 record if there is one.
fn directory_end(archive: &ZipSliceArchive<&[u8]>) -> Option<u64> {
    let offset = usize::try_from(archive.eocd_offset()).ok()?;
    let end = read_end(archive.get_ref(), offset).ok()?;
    Some(end.directory_end)
}

/// What the end record says.
struct End {
    offset: usize,
    directory: u64,
    directory_end: u64,
    entries: u64,
}

fn end_record(bytes: &[u8]) -> Result<End, ZipError> {
    let tail = bytes.len().saturating_sub(MAX_END_BYTES);
    let region = bytes.get(tail..).unwrap_or_default();
    let is_signature = |window: &[u8]| window == END_RECORD;
    let found: Vec<usize> = region
        .windows(END_RECORD.len())
        .enumerate()
        .filter(|(_, window)| is_signature(window))
        .map(|(index, _)| tail + index)
        .collect();
    let Some(last) = found.last() else { return Err(ZipError::NotZip) };
    let reaches_end = |offset: &&usize| {
        u16_at(bytes, *offset + 20)
            .is_some_and(|comment| *offset + END_RECORD_BYTES + usize::from(comment) == bytes.len())
    };
    let ends: Vec<&usize> = found.iter().filter(reaches_end).collect();
    match ends.as_slice() {
        [] => return Err(ZipError::TrailingData),
        [only] if *only == last => {}
        _ => return Err(ZipError::AmbiguousEnd),
    }
    let end = read_end(bytes, *last)?;
    if end.entries == 0 {
        return Err(ZipError::Empty);
    }
    if !bytes.starts_with(LOCAL_HEADER) {
        return Err(ZipError::PrefixData);
    }
    Ok(end)
}

/// Reads the end record at `offset`, and the ZIP64 record before it if there is one.
fn read_end(bytes: &[u8], offset: usize) -> Result<End, ZipError> {
    let short = |at: usize| u16_at(bytes, offset + at).ok_or(ZipError::BadDirectory);
    let long = |at: usize| u32_at(bytes, offset + at).ok_or(ZipError::BadDirectory);
    let (disk, directory_disk, entries_here, entries) = (short(4)?, short(6)?, short(8)?, short(10)?);
    let (size, start) = (long(12)?, long(16)?);

    let locator = offset.checked_sub(ZIP64_LOCATOR_BYTES).filter(|at| starts_with(bytes, *at, ZIP64_LOCATOR));
    let Some(locator) = locator else {
        if disk != 0 || directory_disk != 0 || entries_here != entries {
            return Err(ZipError::Split);
        }
        return finish(offset, offset as u64, u64::from(start), u64::from(size), u64::from(entries));
    };

    let damaged = || ZipError::BadDirectory;
    let record = locator.checked_sub(ZIP64_RECORD_BYTES).ok_or_else(damaged)?;
    let big = |at: usize| u64_at(bytes, record + at).ok_or_else(damaged);
    let wide = (big(24)?, big(40)?, big(48)?);
    // The locator points at the record, which fills the room up to the locator.
    let placed = starts_with(bytes, record, ZIP64_RECORD)
        && u64_at(bytes, locator + 8) == Some(record as u64)
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
    finish(offset, record as u64, wide.2, wide.1, wide.0)
}

fn finish(
    offset: usize,
    directory_end: u64,
    directory: u64,
    size: u64,
    entries: u64,
) -> Result<End, ZipError> {
    let end = directory.checked_add(size).ok_or(ZipError::BadDirectory)?;
    if end < directory_end && entries > 0 {
        // The directory lies further back than the end record says: something was put in front of the archive.
        return Err(ZipError::PrefixData);
    }
    if end != directory_end && entries > 0 {
        return Err(ZipError::BadDirectory);
    }
    Ok(End { offset, directory, directory_end, entries })
}

fn starts_with(bytes: &[u8], at: usize, signature: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(signature))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
