//! The two records that describe an entry, as they stand: the directory's and the one at the entry's place.
//!
//! They are read here and not by a crate, since crates find them by themselves, in a file that is all there.

use super::bytes::{u16_at, u32_at, u64_at};

/// The fixed part of a central record, before name, extra fields and comment (APPNOTE 4.3.12).
pub(super) const CENTRAL_BYTES: usize = 46;
/// The fixed part of a local header, before name and extra fields (APPNOTE 4.3.7).
pub(super) const LOCAL_BYTES: usize = 30;
/// A local header's signature.
pub(super) const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";

/// Compression methods (APPNOTE 4.4.5).
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

const CENTRAL_SIGNATURE: &[u8] = b"PK\x01\x02";
/// The extra field that holds what does not fit into 32 bits (APPNOTE 4.5.3).
const ZIP64_FIELD: u16 = 1;

/// What both records say of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) declared: u64,
}

impl Described {
    /// The fields as both kinds of header have them, from the flags on (APPNOTE 4.3.7, 4.3.12).
    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        Some(Self {
            flags: u16_at(bytes, start)?,
            method: u16_at(bytes, start + 2)?,
            crc: u32_at(bytes, start + 8)?,
            compressed: u32_at(bytes, start + 12)?.into(),
            declared: u32_at(bytes, start + 16)?.into(),
        })
    }

    /// Whether it is encrypted, in one of the ways there are (APPNOTE 4.4.4, bits 0, 6 and 13).
    pub(super) fn is_encrypted(self) -> bool {
        self.flags & (1 | 1 << 6 | 1 << 13) != 0
    }

    /// Whether sizes and checksum stand (also) behind the data (bit 3).
    pub(super) fn has_descriptor(self) -> bool {
        self.flags & 1 << 3 != 0
    }

    /// Puts the wide sizes in the place of those that refer to them; what remains of the field.
    fn widen<'a>(&mut self, mut field: &'a [u8]) -> Option<&'a [u8]> {
        for size in [&mut self.declared, &mut self.compressed] {
            if *size == u64::from(u32::MAX) {
                *size = u64_at(field, 0)?;
                field = field.get(8..)?;
            }
        }
        Some(field)
    }
}

/// A record of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Central<'a> {
    pub(super) described: Described,
    pub(super) attributes: u32,
    /// Where the local header stands.
    pub(super) offset: u64,
    pub(super) name: &'a [u8],
    pub(super) extra: &'a [u8],
    /// All of the record, with its comment.
    pub(super) length: usize,
}

impl<'a> Central<'a> {
    /// The record that these bytes begin with.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length_at = |at: usize| u16_at(bytes, at).map(usize::from);
        let (name_bytes, extra_bytes, comment_bytes) = (length_at(28)?, length_at(30)?, length_at(32)?);
        let variable = bytes.get(CENTRAL_BYTES..)?.get(..name_bytes + extra_bytes + comment_bytes)?;
        let (name, rest) = variable.split_at_checked(name_bytes)?;
        let extra = rest.get(..extra_bytes)?;
        let described = Described::at(bytes, 8)?;
        let (attributes, offset) = (u32_at(bytes, 38)?, u64::from(u32_at(bytes, 42)?));
        let length = CENTRAL_BYTES + variable.len();
        let mut record = Self { described, attributes, offset, name, extra, length };
        record.widen();
        bytes.starts_with(CENTRAL_SIGNATURE).then_some(record)
    }

    /// Reads the wide fields; one that is missing leaves the narrow one, which is then too large to be true.
    fn widen(&mut self) {
        let Some(field) = zip64_field(self.extra) else { return };
        let rest = self.described.widen(field);
        if self.offset == u64::from(u32::MAX) {
            self.offset = rest.and_then(|rest| u64_at(rest, 0)).unwrap_or(self.offset);
        }
    }
}

/// The fixed part of a local header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    pub(super) described: Described,
    pub(super) name_bytes: u16,
    pub(super) extra_bytes: u16,
}

impl Local {
    /// The header that these bytes begin with.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let described = Described::at(bytes, 6)?;
        let (name_bytes, extra_bytes) = (u16_at(bytes, 26)?, u16_at(bytes, 28)?);
        bytes.starts_with(LOCAL_SIGNATURE).then_some(Self { described, name_bytes, extra_bytes })
    }

    /// All of the header, with name and extra fields.
    pub(super) fn length(self) -> u64 {
        LOCAL_BYTES as u64 + u64::from(self.name_bytes) + u64::from(self.extra_bytes)
    }

    /// What it says, with the sizes that its extra fields hold.
    pub(super) fn described(self, extra: &[u8]) -> Described {
        let mut described = self.described;
        let _ = zip64_field(extra).map(|field| described.widen(field).is_some());
        described
    }
}

/// The extra fields, by their ids; what is no whole field any more is left out.
pub(super) fn extra_fields(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (id, length) = (u16_at(bytes, 0)?, usize::from(u16_at(bytes, 2)?));
        let (field, rest) = bytes.get(4..)?.split_at_checked(length)?;
        bytes = rest;
        Some((id, field))
    })
}

fn zip64_field(extra: &[u8]) -> Option<&[u8]> {
    extra_fields(extra).find(|(id, _)| *id == ZIP64_FIELD).map(|(_, field)| field)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rawzip::ZipArchive;

    use super::*;

    /// A ZIP of one entry whose two records hold these bytes, and both have the same extra fields.
    fn zip(fields: [u8; 38], local_fields: [u8; 22], extra: &[u8]) -> Vec<u8> {
        let extra_bytes = (extra.len() as u16).to_le_bytes();
        let mut central = [CENTRAL_SIGNATURE, &fields, &[0; 4], b"n", extra].concat();
        central[28..34].copy_from_slice(&[1, 0, extra_bytes[0], extra_bytes[1], 0, 0]);
        let mut local = [LOCAL_SIGNATURE, &local_fields, &[0; 4], b"n", extra].concat();
        local[26..30].copy_from_slice(&[1, 0, extra_bytes[0], extra_bytes[1]]);
        let (size, start) = ((central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes());
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &size, &start, &[0, 0]].concat();
        [local, central, end].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn records_are_read_as_rawzip_reads_them(
            mut fields in any::<[u8; 38]>(), local_fields in any::<[u8; 22]>(), wide in any::<[bool; 5]>(),
            zip64 in prop::collection::vec(any::<u8>(), 0..30), other in prop::collection::vec(any::<u8>(), 0..9)
        ) {
            let mut local_fields = local_fields;
            for (at, is_wide) in [(16, wide[0]), (20, wide[1])] {
                if is_wide { fields[at..at + 4].fill(0xff); }
            }
            for (at, is_wide) in [(14, wide[2]), (18, wide[3])] {
                if is_wide { local_fields[at..at + 4].fill(0xff); }
            }
            let zip64 = [&[1, 0, zip64.len() as u8, 0], zip64.as_slice()].concat();
            let extra = if wide[4] { [other, zip64].concat() } else { [zip64, other].concat() };
            let mut bytes = zip(fields, local_fields, &extra);
            // The local header's offset: the place where it is, or a reference to the wide field.
            let at = 30 + 1 + extra.len() + 42;
            bytes[at..at + 4].fill(if fields[0] % 2 == 0 { 0 } else { 0xff });

            let archive = ZipArchive::from_slice(&bytes).unwrap();
            let theirs = archive.entries().next_entry().unwrap().unwrap();
            let ours = Central::parse(&bytes[archive.directory_offset() as usize..]).unwrap();
            prop_assert_eq!(ours.name, theirs.file_path().as_bytes());
            prop_assert_eq!(ours.extra, theirs.extra_fields().remaining_bytes());
            prop_assert_eq!(ours.offset, theirs.local_header_offset());
            prop_assert_eq!(ours.attributes, theirs.external_attributes());
            let described = Described {
                flags: theirs.flags().bits(),
                method: theirs.compression_method().as_u16(),
                crc: theirs.crc32(),
                compressed: theirs.compressed_size_hint(),
                declared: theirs.uncompressed_size_hint(),
            };
            prop_assert_eq!(ours.described, described);
            prop_assert_eq!(described.has_descriptor(), theirs.flags().has_data_descriptor());
            let fields: Vec<_> = theirs.extra_fields().map(|(id, data)| (id.as_u16(), data)).collect();
            prop_assert_eq!(extra_fields(ours.extra).collect::<Vec<_>>(), fields);

            let mut entry_bytes = bytes.clone();
            entry_bytes[at - 42 + 20..at - 42 + 28].fill(0);
            entry_bytes[at..at + 4].fill(0);
            let plain = ZipArchive::from_slice(&entry_bytes).unwrap();
            let record = plain.entries().next_entry().unwrap().unwrap();
            let entry = plain.get_entry(record.wayfinder()).unwrap();
            let theirs = entry.local_header();
            let ours = Local::parse(&bytes).unwrap();
            let described = Described {
                flags: theirs.flags().bits(),
                method: theirs.compression_method().as_u16(),
                crc: theirs.crc32(),
                compressed: theirs.compressed_size_hint(),
                declared: theirs.uncompressed_size_hint(),
            };
            prop_assert_eq!(ours.described(&extra), described);
        }
    }
}
