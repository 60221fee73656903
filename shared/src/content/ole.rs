//! Tells the old Office formats apart: all of them are compound files (MS-CFB) with the same signature.
//!
//! A file system in a file: the root folder holds a stream whose name says which program the file belongs to. Only
//! the root's entries are read, within fixed limits; the tables that a hostile file can make endless are never
//! loaded. `infer` goes by the root's class id instead, which programs leave empty, and reads those tables first.
//!
//! Of a file that is not in memory, what is needed is asked for in few rounds: the header; the chain that lists the
//! allocation table; that table's sectors, many at a time; the directory's.

use std::collections::HashSet;
use std::ops::Range;

use crate::partial::{Partial, Unread};

/// The signature of every compound file.
pub(super) const SIGNATURE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

/// The most directory sectors that are looked at: 16,384 entries of the old sector size. A document has dozens.
const MAX_DIRECTORY_SECTORS: usize = 4_096;
/// The most steps in the chain that lists the allocation table's sectors: enough for 64 MiB of the old sector size.
const MAX_TABLE_STEPS: usize = 8;
/// How many of the allocation table's sectors are asked for at once: enough for 4 MiB of the old sector size.
const TABLE_SECTORS_AT_ONCE: usize = 64;
/// How many of the allocation table's sectors the header lists itself (MS-CFB 2.2).
const TABLE_SECTORS_IN_HEADER: usize = 109;
/// One entry of the directory (MS-CFB 2.6.1).
const ENTRY_BYTES: usize = 128;

/// The streams that say what a file is, and the media types that stand for it.
const STREAMS: [(&str, &str); 5] = [
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
];

/// The media type of a compound file, if it is exactly one of the known ones.
pub(super) fn media_type(file: &Partial<'_>) -> Result<Option<&'static str>, Unread> {
    let Some(file) = CompoundFile::open(file)? else { return Ok(None) };
    let names = file.root_streams()?;
    let mut found =
        STREAMS.iter().filter(|(stream, _)| names.iter().any(|name| name == stream)).map(|(_, kind)| *kind);
    let Some(first) = found.next() else { return Ok(None) };
    Ok(found.all(|other| other == first).then_some(first))
}

struct CompoundFile<'a> {
    file: &'a Partial<'a>,
    header: &'a [u8],
    sector_bytes: usize,
}

impl<'a> CompoundFile<'a> {
    fn open(file: &'a Partial<'a>) -> Result<Option<Self>, Unread> {
        const HEADER_BYTES: u64 = 512;
        let header = file.read(0..HEADER_BYTES)?;
        let sector_bytes = match u16_at(header, 30) {
            Some(9) => 512,
            Some(12) => 4_096,
            _ => return Ok(None),
        };
        Ok(header.starts_with(SIGNATURE).then_some(Self { file, header, sector_bytes }))
    }

    /// The names of the streams that lie in the root folder.
    fn root_streams(&self) -> Result<Vec<String>, Unread> {
        let directory = self.directory()?;
        let entry = |index: usize| -> Option<&[u8]> {
            let per_sector = self.sector_bytes / ENTRY_BYTES;
            let sector = directory.get(index / per_sector)?;
            sector.get((index % per_sector) * ENTRY_BYTES..)?.get(..ENTRY_BYTES)
        };
        let link = |entry: &[u8], at: usize| u32_at(entry, at).and_then(|id| usize::try_from(id).ok());

        // The entries of a folder are a tree of left and right siblings below the folder's child.
        let mut streams = Vec::new();
        let mut waiting: Vec<usize> = entry(0).and_then(|root| link(root, 76)).into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(index) = waiting.pop() {
            let Some(found) = entry(index).filter(|_| seen.insert(index)) else { continue };
            const STREAM: u8 = 2;
            if found.get(66) == Some(&STREAM) {
                streams.push(name(found));
            }
            waiting.extend(link(found, 68).into_iter().chain(link(found, 72)));
        }
        Ok(streams)
    }

    /// The sectors of the directory, in their order.
    fn directory(&self) -> Result<Vec<&'a [u8]>, Unread> {
        // The chain first: its sectors can then be read at once.
        let mut places = Vec::new();
        let mut next = u32_at(self.header, 48);
        while let Some((number, place)) = next.and_then(|number| Some((number, self.place(number)?))) {
            places.push(place);
            if places.len() == MAX_DIRECTORY_SECTORS {
                break;
            }
            next = self.following(number)?;
        }
        self.file.require(&places)?;
        places.into_iter().map(|place| self.file.read(place)).collect()
    }

    /// The sector that follows this one in its chain, from the allocation table.
    fn following(&self, sector: u32) -> Result<Option<u32>, Unread> {
        let per_sector = self.sector_bytes / 4;
        let Ok(sector) = usize::try_from(sector) else { return Ok(None) };
        let Some(number) = self.table_sector(sector / per_sector)? else { return Ok(None) };
        let Some(place) = self.place(number) else { return Ok(None) };
        match self.file.read(place) {
            Ok(table) => Ok(u32_at(table, sector % per_sector * 4)),
            Err(_) => Err(self.table_sectors_around(sector / per_sector)?),
        }
    }

    /// Asks for a sector of the allocation table, and for its neighbours, which a long chain needs too.
    fn table_sectors_around(&self, index: usize) -> Result<Unread, Unread> {
        let first = index - index % TABLE_SECTORS_AT_ONCE;
        let sectors_in_file = usize::try_from(self.file.size()).unwrap_or(usize::MAX) / self.sector_bytes;
        let last = sectors_in_file / (self.sector_bytes / 4);
        let mut places = Vec::new();
        for index in first..=last.min(first + TABLE_SECTORS_AT_ONCE - 1).max(index) {
            places.extend(self.table_sector(index)?.and_then(|number| self.place(number)));
        }
        Ok(Unread::Ranges(places))
    }

    /// Where the allocation table's sector of this index lies: the header lists the first ones, a chain the others.
    fn table_sector(&self, index: usize) -> Result<Option<u32>, Unread> {
        if index < TABLE_SECTORS_IN_HEADER {
            return Ok(u32_at(self.header, 76 + index * 4));
        }
        let per_sector = self.sector_bytes / 4 - 1;
        let (steps, place) =
            ((index - TABLE_SECTORS_IN_HEADER) / per_sector, (index - TABLE_SECTORS_IN_HEADER) % per_sector);
        if steps > MAX_TABLE_STEPS {
            return Ok(None);
        }
        let mut list = self.sector(u32_at(self.header, 68))?;
        for _ in 0..steps {
            list = self.sector(list.and_then(|list| u32_at(list, per_sector * 4)))?;
        }
        Ok(list.and_then(|list| u32_at(list, place * 4)))
    }

    fn sector(&self, number: Option<u32>) -> Result<Option<&'a [u8]>, Unread> {
        number.and_then(|number| self.place(number)).map(|place| self.file.read(place)).transpose()
    }

    /// Where a sector lies, if the file has it. Sector 0 follows the header, which has the size of a sector.
    fn place(&self, number: u32) -> Option<Range<u64>> {
        let sector_bytes = self.sector_bytes as u64;
        let start = (u64::from(number) + 1) * sector_bytes;
        Some(start..start + sector_bytes).filter(|place| place.end <= self.file.size())
    }
}

/// The name of an entry: UTF-16, its length in bytes with a final NUL.
fn name(entry: &[u8]) -> String {
    let bytes = usize::from(u16_at(entry, 64).unwrap_or(0)).saturating_sub(2).min(62);
    let units = entry.get(..bytes).unwrap_or_default().chunks_exact(2);
    let units = units.filter_map(|unit| u16_at(unit, 0));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Option<&'static str> {
        media_type(&Partial::whole(bytes)).unwrap()
    }

    /// A compound file of three sectors whose root holds these streams, empty.
    pub(in crate::content) fn compound(streams: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0xff; 512 * 3];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[30..32].copy_from_slice(&9u16.to_le_bytes());
        bytes[48..52].copy_from_slice(&1u32.to_le_bytes());
        bytes[76..80].copy_from_slice(&0u32.to_le_bytes());
        // The allocation table is sector 0; the directory is sector 1 and ends there.
        bytes[512 + 4..512 + 8].copy_from_slice(&0xffff_fffeu32.to_le_bytes());
        for index in 0..=streams.len() {
            let name = if index == 0 { "Root Entry" } else { streams[index - 1] };
            let entry = &mut bytes[1_024 + index * ENTRY_BYTES..][..ENTRY_BYTES];
            for (place, unit) in name.encode_utf16().enumerate() {
                entry[place * 2..place * 2 + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry[64..66].copy_from_slice(&(name.len() as u16 * 2 + 2).to_le_bytes());
            entry[66] = if index == 0 { 5 } else { 2 };
            let next = if index < streams.len() { index as u32 + 1 } else { u32::MAX };
            let at = if index == 0 { 76 } else { 72 };
            entry[at..at + 4].copy_from_slice(&next.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_root_streams_tell_the_formats_apart() {
        let table = [
            (&["WordDocument", "1Table"][..], Some("application/msword")),
            (&["Workbook"], Some("application/vnd.ms-excel")),
            (&["Book", "Workbook"], Some("application/vnd.ms-excel")),
            (&["Current User", "PowerPoint Document"], Some("application/vnd.ms-powerpoint")),
            (&["__properties_version1.0"], Some("application/vnd.ms-outlook")),
            // An encrypted .docx, an installer, and something that pretends to be two.
            (&["EncryptedPackage", "EncryptionInfo"], None),
            (&["anything"], None),
            (&["Workbook", "WordDocument"], None),
            (&[], None),
        ];
        for (streams, expected) in table {
            assert_eq!(of(&compound(streams)), expected, "{streams:?}");
        }
    }

    #[test]
    fn loops_and_damage_end() {
        let good = compound(&["Workbook", "a", "b"]);
        let mut looping = good.clone();
        // The directory's chain leads to itself, and an entry's siblings to each other.
        looping[512 + 4..512 + 8].copy_from_slice(&1u32.to_le_bytes());
        looping[1_024 + 3 * ENTRY_BYTES + 68..][..4].copy_from_slice(&1u32.to_le_bytes());
        assert_eq!(of(&looping), Some("application/vnd.ms-excel"));
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x81;
            let _ = of(&damaged);
            let _ = of(&good[..at]);
        }
    }
}
